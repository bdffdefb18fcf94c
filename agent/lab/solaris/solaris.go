// Package solaris simulates SunOS: Solaris 10 (5.10), whose boot scripts are
// those of the ON tree of 2009, and illumos (5.11), which still reads the same
// files by slightly different rules. Oracle's Solaris 11, which does not, is
// not simulated.
//
// Outputs follow the sources of ifconfig(1M), route(1M) and netstat(1M); what
// they print on failure, where no source was at hand, is worded by this
// package, with an exit status other than 0.
//
// Left out, since nothing here depends on it: DHCP, RARP, IPMP, IPv6 other
// than the loopback's on illumos, in.routed, zones.
package solaris

import (
	"fmt"
	"strings"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/agent/lab/unix"
	"github.com/lvsfleet/lvsfleet/providers/host"
)

// New makes a machine as its release is freshly installed, or with spec.Base
// in the place of /etc, and boots it.
func New(spec sim.Spec) *sim.Machine {
	arch := spec.Arch
	if arch == "" {
		arch = "i86pc"
	}
	s := &system{spec: spec}
	m := &sim.Machine{
		Name:     spec.Name,
		Identity: host.Identity{OS: host.Solaris, Illumos: spec.Illumos, Release: spec.Release, Machine: arch},
		FS:       sim.NewFS(),
		Net:      sim.NewNet(),
		Boot:     s.boot,
		Loader:   unix.Load,
	}
	fresh(m.FS, spec)
	if err := spec.Lay(m.FS); err != nil {
		panic(fmt.Sprintf("lab: %s: %v", spec.Name, err)) // a mistake in the lab: /etc was just emptied
	}
	m.Commands = unix.Commands()
	refuse := func(_ *sim.Machine, c *sim.Call) int { return c.Refuse() }
	for name, c := range map[string]sim.Command{
		"ifconfig": s.ifconfig, "route": routeCommand, "netstat": s.netstat, "ndd": ndd,
		"svcs": refuse, "svcadm": refuse, "svccfg": refuse, "dladm": refuse, "routeadm": refuse,
	} {
		m.Commands[name] = c
	}
	m.Free = unix.Free()
	if spec.Illumos {
		m.Commands["ipadm"] = ipadm
	} else {
		m.Free["sh"] = unix.Sh(true)
	}
	m.Locked(func() { m.Boot(m) })
	return m
}

// A system is what a machine is beside its kernel's state.
type system struct {
	spec    sim.Spec
	console strings.Builder
}

// isCard says whether the machine has the hardware, or makes it on demand.
func (s *system) isCard(name string) bool {
	if name == "lo0" || tunnelName.MatchString(name) {
		return true
	}
	for _, i := range s.spec.Interfaces {
		if i.Device == name {
			return true
		}
	}
	return false
}

func exists(f *sim.FS, p string) bool {
	_, err := f.Stat(p, true)
	return err == nil
}

// text reads a file; "" where there is none.
func text(f *sim.FS, p string) string {
	file, err := f.ReadFile(p)
	if err != nil {
		return ""
	}
	return string(file.Data)
}
