package linux

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
)

// arping is arping(8) of iputils. It runs without the machine's lock: it asks
// the other machines of the link.
func arping(m *sim.Machine, c *sim.Call) int {
	dev, addr := "", ""
	detect, tell, quiet := false, false, false
	count := 1
	args := c.Argv[1:]
	for len(args) > 0 {
		word := args[0]
		args = args[1:]
		if !strings.HasPrefix(word, "-") || len(word) < 2 {
			if addr != "" {
				return c.Refuse()
			}
			addr = word
			continue
		}
		for rest := word[1:]; rest != ""; {
			o := rest[0]
			rest = rest[1:]
			switch o {
			case 'D':
				detect = true
			case 'U', 'A':
				tell = true
			case 'q':
				quiet = true
			case 'f', 'b':
			case 'c', 'w', 'I', 's':
				v := rest
				rest = ""
				if v == "" {
					if len(args) == 0 {
						return c.Refuse()
					}
					v, args = args[0], args[1:]
				}
				switch o {
				case 'I':
					dev = v
				case 'c':
					n, err := strconv.Atoi(v)
					if err != nil || n < 1 {
						return c.Refuse()
					}
					count = n
				}
			default:
				return c.Refuse()
			}
		}
	}
	target, err := netip.ParseAddr(addr)
	if err != nil || !target.Is4() || dev == "" {
		return c.Refuse()
	}
	source, there, mine := "0.0.0.0", false, false
	m.Locked(func() {
		if l := m.Net.Link(dev); l != nil && l.Up && l.Kind == sim.Ether {
			there = true
			mine = m.Net.Holder(target) != nil
			for _, a := range l.Addrs {
				if a.Prefix.Addr().Is4() && !detect {
					source = a.Prefix.Addr().String()
					break
				}
			}
		}
	})
	if !there {
		c.Errorf("Interface \"%s\" is down", dev)
		return 2
	}
	if tell {
		if !mine {
			c.Errorf("bind: Cannot assign requested address")
			return 2
		}
		source = target.String()
	}
	if !quiet {
		c.Printf("ARPING %s from %s %s\n", target, source, dev)
	}
	if tell {
		if m.Wire != nil {
			m.Wire.Tell(m, dev, target.String())
		}
		if !quiet {
			c.Printf("Sent %d probes (%d broadcast(s))\nReceived 0 response(s)\n", count, count)
		}
		return 0
	}
	mac := ""
	if m.Wire != nil {
		mac = m.Wire.Ask(m, dev, target.String())
	}
	answers, exit := 0, 1
	if mac != "" {
		answers, exit = 1, 0
		if !quiet {
			c.Printf("Unicast reply from %s [%s]  0.700ms\n", target, strings.ToUpper(mac))
		}
	}
	if !quiet {
		c.Printf("Sent 1 probes (1 broadcast(s))\nReceived %d response(s)\n", answers)
	}
	if detect {
		return 1 - exit // an answer means that the address is taken
	}
	return exit
}
