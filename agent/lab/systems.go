package lab

import (
	"slices"

	"github.com/lvsfleet/lvsfleet/agent/lab/freebsd"
	"github.com/lvsfleet/lvsfleet/agent/lab/linux"
	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/agent/lab/solaris"
	"github.com/lvsfleet/lvsfleet/agent/lab/unix"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
)

// What a host without a release is: a current one that lvsfleet can manage
// for good. For Solaris that is illumos, which still reads the hostname files
// at boot, where Oracle's 11 does not.
const (
	currentLinux   = "6.12.0"
	currentFreeBSD = "14.3-RELEASE"
	currentSolaris = "5.11"
)

// newMachine makes the machine of h and boots it. A Solaris of release 5.11 is
// illumos; Oracle's is not simulated.
func newMachine(h inventory.Host, base map[string]host.File) *sim.Machine {
	m := systemOf(h, base)
	m.Common = unix.Common
	if h.Become != "" {
		m.Free[h.Become] = unix.Become(h.Become)
	}
	return m
}

func systemOf(h inventory.Host, base map[string]host.File) *sim.Machine {
	spec := sim.Spec{Name: h.Name, OS: h.OS, Release: h.Release, Interfaces: h.Interfaces, Base: base}
	switch h.OS {
	case inventory.FreeBSD:
		if spec.Release == "" {
			spec.Release = currentFreeBSD
		}
		return freebsd.New(spec)
	case inventory.Solaris:
		if spec.Release == "" {
			spec.Release = currentSolaris
		}
		spec.Illumos = spec.Release == currentSolaris
		return solaris.New(spec)
	default:
		if spec.Release == "" {
			spec.Release = currentLinux
		}
		return linux.New(spec)
	}
}

// runsAgents says whether a current Go binary runs on the system: Go 1.26
// needs Linux 3.2, FreeBSD 12, Solaris 11 or illumos.
func runsAgents(id host.Identity) bool {
	switch id.OS {
	case host.Linux:
		return !host.Older(id.Release, 3, 2, 0)
	case host.FreeBSD:
		return !host.Older(id.Release, 12, 0, 0)
	}
	return !host.Older(id.Release, 5, 11, 0)
}

func contains(list []string, s string) bool { return slices.Contains(list, s) }
