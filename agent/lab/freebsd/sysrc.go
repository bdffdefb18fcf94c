package freebsd

import (
	"regexp"
	"strings"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/agent/lab/unix"
)

// sysrc is sysrc(8) as far as it reads: lvsfleet edits rc.conf by itself.
func (s system) sysrc(m *sim.Machine, c *sim.Call) int {
	set, args, ok := unix.Flags(c, "niq")
	if !ok {
		return sim.RefusedExit
	}
	if len(args) == 0 {
		return c.Refuse()
	}
	name := regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	v, ok := s.source(m, rcFiles()...)
	if !ok {
		return c.Refuse() // it prints what the shell says, line and all
	}
	exit := 0
	for _, arg := range args {
		if !name.MatchString(arg) || strings.Contains(arg, "=") {
			return c.Refuse()
		}
		value, there := v[arg]
		switch {
		case !there && !set['q'] && !set['i']:
			c.Errorf("unknown variable '%s'", arg)
			exit = 1
		case !there:
			exit = 1
		case set['n']:
			c.Printf("%s\n", value)
		default:
			c.Printf("%s: %s\n", arg, value)
		}
	}
	return exit
}
