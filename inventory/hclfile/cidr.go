package hclfile

import (
	"fmt"
	"math/big"
	"net"

	"github.com/apparentlymart/go-cidr/cidr"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/gocty"
)

func prefixParam() function.Parameter { return function.Parameter{Name: "prefix", Type: cty.String} }

func numberParam(name string) function.Parameter {
	return function.Parameter{Name: name, Type: cty.Number}
}

// parseNet reads "192.168.0.0/24". net.ParseCIDR refuses numbers with leading
// zeros, which some systems read as octal.
func parseNet(v cty.Value) (*net.IPNet, error) {
	_, n, err := net.ParseCIDR(v.AsString())
	if err != nil {
		return nil, function.NewArgErrorf(0, "%q is not a network such as 192.168.0.0/24", v.AsString())
	}
	return n, nil
}

// cidrHost is cidrhost(prefix, number): an address within a network; a
// negative number counts from its end.
func cidrHost() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{prefixParam(), numberParam("hostnum")},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			n, err := parseNet(args[0])
			if err != nil {
				return cty.UnknownVal(cty.String), err
			}
			num := new(big.Int)
			if err := gocty.FromCtyValue(args[1], &num); err != nil {
				return cty.UnknownVal(cty.String), function.NewArgError(1, err)
			}
			ip, err := cidr.HostBig(n, num)
			if err != nil {
				return cty.UnknownVal(cty.String), err
			}
			return cty.StringVal(ip.String()), nil
		},
	})
}

// cidrNetmask is cidrnetmask(prefix): the mask of an IPv4 network.
func cidrNetmask() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{prefixParam()},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			n, err := parseNet(args[0])
			if err != nil {
				return cty.UnknownVal(cty.String), err
			}
			if len(n.Mask) != net.IPv4len {
				return cty.UnknownVal(cty.String), function.NewArgErrorf(0, "IPv6 networks have a length, no mask")
			}
			return cty.StringVal(net.IP(n.Mask).String()), nil
		},
	})
}

// cidrSubnet is cidrsubnet(prefix, newbits, number): the number-th network
// that is newbits longer.
func cidrSubnet() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{prefixParam(), numberParam("newbits"), numberParam("netnum")},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			n, err := parseNet(args[0])
			if err != nil {
				return cty.UnknownVal(cty.String), err
			}
			var bits int
			if err := gocty.FromCtyValue(args[1], &bits); err != nil {
				return cty.UnknownVal(cty.String), function.NewArgError(1, err)
			}
			num := new(big.Int)
			if err := gocty.FromCtyValue(args[2], &num); err != nil {
				return cty.UnknownVal(cty.String), function.NewArgError(2, err)
			}
			if bits < 0 || num.Sign() < 0 {
				return cty.UnknownVal(cty.String), function.NewArgErrorf(1, "newbits and netnum cannot be negative")
			}
			sub, err := cidr.SubnetBig(n, bits, num)
			if err != nil {
				return cty.UnknownVal(cty.String), err
			}
			return cty.StringVal(sub.String()), nil
		},
	})
}

// cidrSubnets is cidrsubnets(prefix, newbits...): networks one after another.
func cidrSubnets() function.Function {
	newbits := numberParam("newbits")
	return function.New(&function.Spec{
		Params:   []function.Parameter{prefixParam()},
		VarParam: &newbits,
		Type:     function.StaticReturnType(cty.List(cty.String)),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			unknown := cty.UnknownVal(cty.List(cty.String))
			n, err := parseNet(args[0])
			if err != nil {
				return unknown, err
			}
			length, full := n.Mask.Size()
			var out []cty.Value
			var last *net.IPNet
			for i, arg := range args[1:] {
				var bits int
				if err := gocty.FromCtyValue(arg, &bits); err != nil {
					return unknown, function.NewArgError(i+1, err)
				}
				if bits < 1 || length+bits > full {
					return unknown, function.NewArgErrorf(i+1, "newbits is from 1 to %d here", full-length)
				}
				if last == nil {
					last, err = cidr.Subnet(n, bits, 0)
				} else {
					var wrapped bool
					if last, wrapped = cidr.NextSubnet(last, length+bits); wrapped || !n.Contains(last.IP) {
						err = fmt.Errorf("%s has no room for so many networks", n)
					}
				}
				if err != nil {
					return unknown, err
				}
				out = append(out, cty.StringVal(last.String()))
			}
			if len(out) == 0 {
				return cty.ListValEmpty(cty.String), nil
			}
			return cty.ListVal(out), nil
		},
	})
}
