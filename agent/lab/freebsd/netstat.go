package freebsd

import (
	"strings"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
)

// netstat is netstat(1): the routing table, and who listens.
func (s system) netstat(m *sim.Machine, c *sim.Call) int {
	four, six := true, true
	letters := ""
	args := c.Argv[1:]
	for len(args) > 0 {
		word := args[0]
		args = args[1:]
		switch {
		case word == "-f" || word == "-p":
			if len(args) == 0 {
				return c.Refuse()
			}
			switch args[0] {
			case "inet":
				six = false
			case "inet6":
				four = false
			case "tcp":
				letters += "t"
			default:
				return c.Refuse()
			}
			args = args[1:]
		case strings.HasPrefix(word, "-") && strings.Trim(word[1:], "rna46") == "":
			letters += word[1:]
			if strings.Contains(word, "4") {
				six = false
			}
			if strings.Contains(word, "6") {
				four = false
			}
		default:
			return c.Refuse()
		}
	}
	has := func(b string) bool { return strings.Contains(letters, b) }
	switch {
	case has("r") && has("n") && !has("a"):
		s.on(m).routes(c, four, six)
	case has("a") && has("n") && !has("r"):
		sockets(m, c, four, has("t"))
	default:
		return c.Refuse()
	}
	return 0
}

// routes prints the table; the columns Refs and Use were there until 9.
func (k kernel) routes(c *sim.Call, four, six bool) {
	c.Printf("Routing tables\n")
	for _, want := range []struct {
		show, six     bool
		title         string
		wide, gateway int
	}{{four, false, "Internet", 18, 18}, {six, true, "Internet6", 33, 29}} {
		table := k.table(want.six)
		if !want.show || len(table) == 0 && want.six {
			continue
		}
		c.Printf("\n%s:\n", want.title)
		switch {
		case k.era.major < 10:
			c.Printf("%-*s %-*s Flags    Refs      Use  Netif Expire\n", want.wide, "Destination", want.gateway, "Gateway")
		case k.era.scripts() == scripts10:
			c.Printf("%-*s %-*s Flags      Netif Expire\n", want.wide, "Destination", want.gateway, "Gateway")
		default:
			c.Printf("%-*s %-*s Flags     Netif Expire\n", want.wide, "Destination", want.gateway, "Gateway")
		}
		for _, e := range table {
			dst, gateway := k.names(e)
			switch {
			case k.era.major < 10:
				c.Printf("%-*s %-*s %-6s %5d %8d %6s\n", want.wide, dst, want.gateway, gateway, e.flags, 0, 0, e.dev)
			case k.era.scripts() == scripts10:
				c.Printf("%-*s %-*s %-6s %9s\n", want.wide, dst, want.gateway, gateway, e.flags, e.dev)
			default:
				c.Printf("%-*s %-*s %-6s %8s\n", want.wide, dst, want.gateway, gateway, e.flags, e.dev)
			}
		}
	}
}

// sockets prints who listens.
func sockets(m *sim.Machine, c *sim.Call, four, tcpOnly bool) {
	c.Printf("Active Internet connections (including servers)\n")
	c.Printf("%-5s %-6s %-6s %-22s %-22s %s\n", "Proto", "Recv-Q", "Send-Q", "Local Address", "Foreign Address", "(state)")
	version := "4"
	if !four {
		version = "6"
	}
	for _, l := range append([]sim.Listener{{Protocol: "tcp", Port: 22}}, m.Listeners...) {
		state := ""
		if l.Protocol == "tcp" {
			state = "LISTEN"
		} else if tcpOnly {
			continue
		}
		line := []any{l.Protocol + version, 0, 0, "*." + itoa(l.Port), "*.*", state}
		c.Printf("%-5s %6d %6d %-22s %-22s %s\n", line...)
	}
}
