package freebsd

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/providers/host"
)

func itoa(n int) string { return strconv.Itoa(n) }

// An oid is a setting that this machine has.
type oid struct {
	name, value string
	kind        oidKind
}

type oidKind int

const (
	integer oidKind = iota
	text
	readOnly
)

// oids are the settings of the release, in the kernel's order. The numbers are
// those of a real 13.2 (transcript 09-sysctl).
func (s system) oids() []oid {
	arch := s.spec.Arch
	if arch == "" {
		arch = "amd64"
	}
	list := []oid{
		{"kern.ostype", "FreeBSD", readOnly},
		{"kern.osrelease", s.spec.Release, readOnly},
		{"kern.hostname", s.spec.Name, text},
		{"kern.osreldate", itoa(s.era.major*100000 + s.era.minor*1000 + 1), readOnly},
		{"kern.ident", "GENERIC", readOnly},
		{"net.inet.ip.forwarding", "0", integer},
		{"net.inet.ip.redirect", "1", integer},
		{"net.inet.ip.ttl", "64", integer},
		{"net.inet.ip.sourceroute", "0", integer},
		{"net.inet.ip.accept_sourceroute", "0", integer},
		{"net.inet.ip.maxfragpackets", "472", integer},
		{"net.inet.ip.process_options", "1", integer},
	}
	if s.era.major >= 14 {
		list = append(list, oid{"net.inet.ip.rfc1122_strong_es", "0", integer})
	} else {
		list = append(list, oid{"net.inet.ip.check_interface", "0", integer})
	}
	list = append(list,
		oid{"net.inet.ip.intr_queue_maxlen", "256", integer},
		oid{"net.inet.tcp.mssdflt", "536", integer},
		oid{"net.inet6.ip6.forwarding", "0", integer},
		oid{"net.inet6.ip6.dad_count", "1", integer},
		oid{"net.inet6.ip6.v6only", "1", integer},
		oid{"net.inet6.ip6.accept_rtadv", "0", integer},
		oid{"net.link.gif.max_nesting", "1", integer},
	)
	if s.era.multipath() {
		list = append(list, oid{"net.route.multipath", "1", integer})
	}
	return append(list, oid{"hw.machine_arch", arch, readOnly})
}

// sysctl is sysctl(8).
func (s system) sysctl(m *sim.Machine, c *sim.Call) int {
	var bare, quiet, all, equals bool
	args := c.Argv[1:]
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		for _, b := range args[0][1:] {
			switch b {
			case 'n':
				bare = true
			case 'i', 'q':
				quiet = true
			case 'a':
				all = true
			case 'e':
				equals = true
			default:
				return c.Refuse()
			}
		}
		args = args[1:]
	}
	kinds := map[string]oidKind{}
	for _, o := range s.oids() {
		kinds[o.name] = o.kind
		if all && len(args) == 0 {
			args = append(args[:len(args):len(args)], o.name)
		}
	}
	if all && len(c.Argv) == 2 {
		args = nil
		for _, o := range s.oids() {
			args = append(args, o.name)
		}
	}
	if len(args) == 0 {
		return c.Refuse()
	}
	exit := 0
	for _, arg := range args {
		name, value, set := strings.Cut(arg, "=")
		kind, ok := kinds[name]
		switch {
		case !ok && quiet:
			continue
		case !ok:
			c.Errorf("unknown oid '%s'", name)
			exit = 1
			continue
		}
		now := m.Net.Sysctls[name]
		lead := name + ": "
		if bare {
			lead = ""
		} else if equals {
			lead = name + "="
		}
		if !set {
			c.Printf("%s%s\n", lead, now)
			continue
		}
		if err := check(kind, name, value); err != nil {
			c.Errorf("%v", err)
			exit = 1
			continue
		}
		m.Net.Sysctls[name] = value
		c.Printf("%s%s -> %s\n", lead, now, value)
	}
	return exit
}

func check(kind oidKind, name, value string) error {
	switch kind {
	case readOnly:
		return fmt.Errorf("oid '%s' is read only", name)
	case integer:
		if _, err := strconv.ParseInt(value, 0, 64); err != nil {
			return fmt.Errorf("invalid integer '%s'", value)
		}
	}
	return nil
}

// started gives the kernel's settings as it starts.
func (s system) started(m *sim.Machine) {
	for _, o := range s.oids() {
		m.Net.Sysctls[o.name] = o.value
	}
	m.Net.Sysctls["hw.machine_arch"] = m.Identity.Machine
	if host.Older(s.spec.Release, 13, 0, 0) {
		m.Net.Modules["if_gif"] = true // in GENERIC then; later loaded when a gif is made
	}
}
