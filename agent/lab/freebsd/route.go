package freebsd

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
)

// A routeCall is one call of route(8).
type routeCall struct {
	kernel
	c              *sim.Call
	numeric, quiet bool
	verb           string
	six, host      bool
	iface          bool // -iface: the gateway names a device
	mtu            int
	words          []string // destination and gateway
}

func (s system) route(m *sim.Machine, c *sim.Call) int {
	r := &routeCall{kernel: s.on(m), c: c}
	args := c.Argv[1:]
	for len(args) > 0 && strings.HasPrefix(args[0], "-") && len(args[0]) == 2 {
		switch args[0] {
		case "-n":
			r.numeric = true
		case "-q":
			r.quiet = true
		default:
			return c.Refuse()
		}
		args = args[1:]
	}
	if len(args) == 0 {
		return c.Refuse()
	}
	r.verb, args = args[0], args[1:]
	for len(args) > 0 {
		switch args[0] {
		case "-inet":
			r.six = false
		case "-inet6":
			r.six = true
		case "-net":
			r.host = false
		case "-host":
			r.host = true
		case "-iface", "-interface":
			r.iface = true
		case "-mtu":
			if len(args) < 2 {
				return c.Refuse()
			}
			n, err := strconv.Atoi(args[1])
			if err != nil {
				return c.Refuse()
			}
			r.mtu, args = n, args[1:]
		default:
			if strings.HasPrefix(args[0], "-") {
				return c.Refuse()
			}
			r.words = append(r.words, args[0])
		}
		args = args[1:]
	}
	if len(r.words) == 0 || len(r.words) > 2 {
		return c.Refuse()
	}
	switch r.verb {
	case "get", "show":
		if len(r.words) != 1 {
			return c.Refuse()
		}
		return r.get()
	case "add", "change", "delete":
		return r.edit()
	}
	return c.Refuse()
}

// parse reads an address or net, blanks behind it allowed as inet_aton(3)
// allows them.
func (r *routeCall) parse(word string) (netip.Prefix, bool) {
	text := strings.TrimRight(word, " \t\r\n\v\f")
	if text == "default" {
		if r.six {
			return netip.MustParsePrefix("::/0"), true
		}
		return netip.MustParsePrefix("0.0.0.0/0"), true
	}
	if p, err := netip.ParsePrefix(text); err == nil {
		return p.Masked(), p.Addr().Is6() == r.six
	}
	a, err := netip.ParseAddr(text)
	if err != nil || a.Is6() != r.six {
		r.c.Errorf("bad address: %s", word)
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(a, a.BitLen()), true
}

const badAddress = 68 // EX_NOHOST

func (r *routeCall) edit() int {
	dst, ok := r.parse(r.words[0])
	if !ok {
		return badAddress
	}
	var gateway netip.Addr
	dev := ""
	if len(r.words) == 2 && r.iface {
		dev = r.words[1]
		if r.m.Net.Link(dev) == nil {
			r.c.Errorf("bad address: %s", dev)
			return badAddress
		}
	} else if len(r.words) == 2 {
		g, ok := r.parse(r.words[1])
		if !ok {
			return badAddress
		}
		gateway = g.Addr()
	}
	switch r.verb {
	case "add":
		return r.say(r.add(dst, gateway, dev))
	case "change":
		return r.say(r.change(dst, gateway))
	}
	return r.say(r.delete(dst, gateway))
}

// What the routing socket answers.
const (
	enetunreach = errno("Network is unreachable")
	einval      = errno("Invalid argument")
	esrch       = errno("not in table")
	inTable     = errno("route already in table")
)

// say prints what was done, or why not. Some of it goes to standard output
// even when it is an error.
func (r *routeCall) say(err error) int {
	if r.quiet {
		if err != nil {
			return 1
		}
		return 0
	}
	kind := "net"
	dest, _, isNet := strings.Cut(r.words[0], "/")
	if r.host || !isNet && dest != "default" {
		kind = "host"
	}
	line := fmt.Sprintf("%s %s %s", r.verb, kind, dest)
	if len(r.words) == 2 {
		line += ": gateway " + strings.TrimRight(r.words[1], "\r")
	}
	if err == nil {
		r.c.Printf("%s\n", line)
		return 0
	}
	if r.era.major >= 8 {
		line += " fib 0"
	}
	r.c.Printf("%s: %v\n", line, err)
	if !r.era.multipath() {
		old := map[error]string{esrch: "No such process", inTable: "File exists"}[err]
		if old == "" {
			old = err.Error()
		}
		r.c.Errorf("writing to routing socket: %s", old)
		return 1
	}
	switch {
	case errors.Is(err, esrch):
		r.c.Errorf("route has not been found")
	case errors.Is(err, inTable):
	default:
		r.c.Errorf("writing to routing socket: %v", err)
	}
	return 1
}

// to lists the static routes to dst, in the order of their next hops.
func (k kernel) to(dst netip.Prefix) []*sim.Route {
	var list []*sim.Route
	for i := range k.m.Net.Routes {
		if k.m.Net.Routes[i].Dst == dst {
			list = append(list, &k.m.Net.Routes[i])
		}
	}
	slices.SortFunc(list, func(a, b *sim.Route) int { return a.Metric - b.Metric })
	return list
}

func (r *routeCall) add(dst netip.Prefix, gateway netip.Addr, dev string) error {
	if !gateway.IsValid() && dev == "" {
		return einval
	}
	if dev == "" {
		l := r.towards(gateway)
		if l == nil {
			return enetunreach
		}
		dev = l.Name
	} else if r.m.Net.Holder(dst.Addr()) != nil && dst.IsSingleIP() {
		return inTable // the route of the address itself
	}
	there := r.to(dst)
	for _, o := range there {
		if o.Gateway == gateway {
			return inTable
		}
	}
	if len(there) > 0 && r.m.Net.Sysctls["net.route.multipath"] != "1" {
		return inTable
	}
	r.m.Net.Routes = append(r.m.Net.Routes, sim.Route{Dst: dst, Gateway: gateway, Dev: dev, MTU: r.mtu, Metric: r.hop()})
	return nil
}

// hop gives the lowest number that no next hop has: the kernel shows the
// routes to one destination in the order of those (nhop.c). Metric keeps it.
func (r *routeCall) hop() int {
	for n := 0; ; n++ {
		if !slices.ContainsFunc(r.m.Net.Routes, func(o sim.Route) bool { return o.Metric == n }) {
			return n
		}
	}
}

// change needs to know which route is meant: of several, that with the gateway.
func (r *routeCall) change(dst netip.Prefix, gateway netip.Addr) error {
	there := r.to(dst)
	if gateway.IsValid() && r.towards(gateway) == nil && len(there) > 0 {
		return enetunreach
	}
	var target *sim.Route
	switch {
	case len(there) == 1:
		target = there[0]
	case len(there) > 1:
		for _, o := range there {
			if o.Gateway == gateway {
				target = o
			}
		}
	}
	if target == nil {
		return esrch
	}
	if gateway.IsValid() {
		target.Gateway, target.Dev = gateway, r.towards(gateway).Name
	}
	if r.mtu != 0 {
		target.MTU = r.mtu
	}
	return nil
}

func (r *routeCall) delete(dst netip.Prefix, gateway netip.Addr) error {
	there := r.to(dst)
	if !gateway.IsValid() && len(there) != 1 {
		return esrch
	}
	for _, o := range there {
		if !gateway.IsValid() || o.Gateway == gateway {
			gone := *o
			r.m.Net.Routes = slices.DeleteFunc(r.m.Net.Routes, func(x sim.Route) bool { return x == gone })
			return nil
		}
	}
	return esrch
}

// get prints the route to an address: of several to one destination the first.
func (r *routeCall) get() int {
	p, ok := r.parse(r.words[0])
	if !ok {
		return badAddress
	}
	best, ok := r.lookup(p.Addr())
	isDefault := p.Bits() == 0
	if isDefault {
		// "default" asks for the default route itself.
		ok = len(r.to(p)) > 0
		if ok {
			best = r.entryOf(r.to(p)[0])
		}
	}
	if !ok {
		if r.era.multipath() {
			r.c.Errorf("route has not been found")
			return 255
		}
		r.c.Errorf("writing to routing socket: No such process")
		return 1
	}
	asked, dest, netmask := p.Addr().String(), best.dst.Addr().String(), maskText(best.dst)
	if !r.numeric && best.dst.Bits() == 0 {
		dest, netmask = "default", "default"
		if isDefault {
			asked = "default"
		}
	}
	r.c.Printf("   route to: %s\ndestination: %s\n", asked, dest)
	if !strings.Contains(best.flags, "H") {
		r.c.Printf("       mask: %s\n", netmask)
	}
	if best.gateway.IsValid() {
		r.c.Printf("    gateway: %s\n", best.gateway)
	}
	if r.era.major >= 8 {
		r.c.Printf("        fib: 0\n")
	}
	r.c.Printf("  interface: %s\n      flags: <%s>\n", best.dev, best.longFlags())
	mtu := best.mtu
	if l := r.m.Net.Link(best.dev); mtu == 0 && l != nil {
		mtu = l.MTU
	}
	if r.era.major < 8 {
		r.c.Printf(" recvpipe  sendpipe  ssthresh  rtt,msec    rttvar  hopcount      mtu     expire\n")
		r.c.Printf("%8d  %8d  %8d  %8d  %8d  %8d  %8d  %8d \n", 0, 0, 0, 0, 0, 0, mtu, 0)
		return 0
	}
	r.c.Printf(" recvpipe  sendpipe  ssthresh  rtt,msec    mtu        weight    expire\n")
	r.c.Printf("%8d  %8d  %8d  %8d  %8d  %8d  %8d \n", 0, 0, 0, 0, mtu, best.weight, 0)
	return 0
}

func maskText(p netip.Prefix) string {
	if p.Addr().Is4() {
		return dotted(p.Bits())
	}
	b := [16]byte{}
	for i := range p.Bits() {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom16(b).String()
}
