package linux

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
)

// An ipCall is one run of ip(8).
type ipCall struct {
	k       kernel
	c       *sim.Call
	family  int // 0: either
	oneline bool
	details bool
}

// errRefused is an argument that the fake does not know.
var errRefused = errors.New("not modelled")

// A usageError is what ip(8) itself finds wrong, with its exit status.
type usageError struct {
	text string
	exit int
}

func (e *usageError) Error() string { return e.text }

func usage(exit int, format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...), exit}
}

// ip is ip(8): addresses, links, routes and IP-in-IP tunnels.
func ip(e era) sim.Command {
	return func(m *sim.Machine, c *sim.Call) int {
		p := &ipCall{k: kernelOf(m, e), c: c}
		args := c.Argv[1:]
	options:
		for len(args) > 0 && strings.HasPrefix(args[0], "-") {
			switch args[0] {
			case "-4":
				p.family = 4
			case "-6":
				p.family = 6
			case "-f", "-family":
				if len(args) < 2 {
					return c.Refuse()
				}
				switch args[1] {
				case "inet":
					p.family = 4
				case "inet6":
					p.family = 6
				default:
					return c.Refuse()
				}
				args = args[1:]
			case "-o", "-oneline":
				p.oneline = true
			case "-d", "-details":
				p.details = true
			case "-V", "-Version":
				c.Printf("ip utility, iproute2-%s\n", map[era]string{fc5: "ss051107", el6: "ss091226", el7: "ss170501", current: "6.1.0"}[e])
				return 0
			case "--":
				args = args[1:]
				break options
			default:
				return c.Refuse()
			}
			args = args[1:]
		}
		if len(args) == 0 {
			return c.Refuse()
		}
		err := p.object(args[0], args[1:])
		var use *usageError
		var k *kernelError
		switch {
		case err == nil:
			return 0
		case errors.Is(err, errRefused):
			return c.Refuse()
		case errors.As(err, &use):
			fmt.Fprintln(c.Stderr, use.text)
			return use.exit
		case errors.As(err, &k) && k.explained != "" && e >= current:
			fmt.Fprintf(c.Stderr, "Error: %s\n", k.explained)
			return 2
		}
		fmt.Fprintf(c.Stderr, "RTNETLINK answers: %v\n", err)
		return 2
	}
}

func (p *ipCall) object(name string, args []string) error {
	switch name {
	case "a", "addr", "address":
		return p.addr(args)
	case "l", "link":
		return p.link(args)
	case "r", "ro", "route":
		return p.route(args)
	case "tun", "tunl", "tunnel":
		return p.tunnel(args)
	}
	return errRefused
}

// verb takes the first argument as the command, show by default.
func verb(args []string) (string, []string) {
	if len(args) == 0 {
		return "show", nil
	}
	switch args[0] {
	case "show", "list", "ls", "lst":
		return "show", args[1:]
	}
	return args[0], args[1:]
}

// words walks over arguments.
type words struct{ rest []string }

func (w *words) next() (string, bool) {
	if len(w.rest) == 0 {
		return "", false
	}
	s := w.rest[0]
	w.rest = w.rest[1:]
	return s, true
}

// value is the argument of a keyword.
func (w *words) value() (string, error) {
	s, ok := w.next()
	if !ok {
		return "", usage(255, `Command line is not complete. Try option "help"`)
	}
	return s, nil
}

// prefix parses an address with or without a length.
func (p *ipCall) prefix(s string) (netip.Prefix, bool, error) {
	bad := func() error {
		if p.k.era < current {
			return usage(1, `Error: an inet prefix is expected rather than "%s".`, s)
		}
		return usage(1, `Error: %s prefix is expected rather than "%s".`, map[int]string{0: "any valid", 4: "inet", 6: "inet6"}[p.family], s)
	}
	if s == "default" || s == "any" || s == "all" {
		if p.family == 6 {
			return netip.PrefixFrom(netip.IPv6Unspecified(), 0), true, nil
		}
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0), true, nil
	}
	host, _, hasLen := strings.Cut(s, "/")
	if !hasLen {
		a, err := netip.ParseAddr(host)
		if err != nil || a.Zone() != "" || p.family == 6 && a.Is4() || p.family == 4 && !a.Is4() {
			return netip.Prefix{}, false, bad()
		}
		return netip.PrefixFrom(a, a.BitLen()), false, nil
	}
	pre, err := netip.ParsePrefix(s)
	if err != nil || p.family == 6 && pre.Addr().Is4() || p.family == 4 && !pre.Addr().Is4() {
		return netip.Prefix{}, false, bad()
	}
	return pre, true, nil
}

func (p *ipCall) address(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		if p.k.era < current {
			return netip.Addr{}, usage(1, `Error: an inet address is expected rather than "%s".`, s)
		}
		return netip.Addr{}, usage(1, `Error: any valid address is expected rather than "%s".`, s)
	}
	return a, nil
}

// device finds the link that a change names.
func (p *ipCall) device(name string) (*sim.Link, error) {
	if l := p.k.Link(name); l != nil {
		return l, nil
	}
	return nil, usage(1, `Cannot find device "%s"`, name)
}

// shown finds the link that a listing names.
func (p *ipCall) shown(name string) (*sim.Link, error) {
	if l := p.k.Link(name); l != nil {
		return l, nil
	}
	return nil, usage(1, `Device "%s" does not exist.`, name)
}

// record prints the lines of one entry: with -o on one line, a backslash in
// the place of each newline.
func (p *ipCall) record(lines ...string) {
	sep := "\n"
	if p.oneline {
		sep = `\`
	}
	p.c.Printf("%s\n", strings.Join(lines, sep))
}

// wants says whether the family is asked for.
func (p *ipCall) wants(a netip.Addr) bool {
	return p.family == 0 || (p.family == 6) == family6(a)
}
