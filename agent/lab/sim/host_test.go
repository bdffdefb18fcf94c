package sim_test

import (
	"testing"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/agent/lab/unix"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/host/hosttest"
)

func machine() *sim.Machine {
	m := &sim.Machine{
		Name: "rs1", Identity: host.Identity{OS: host.Linux, Release: "6.12.0", Machine: "x86_64"},
		FS: sim.NewFS(), Commands: unix.Commands(), Free: unix.Free(), Loader: unix.Load, Boot: func(*sim.Machine) {},
	}
	for _, dir := range []string{"/tmp/test", "/var/run", "/root"} {
		m.FS.MkdirAll(dir)
	}
	m.Reboot()
	return m
}

func TestMachineIsAHost(t *testing.T) {
	hosttest.Conformance(t, func(*testing.T) hosttest.Subject {
		return hosttest.Subject{Host: machine(), Dir: "/tmp/test"}
	})
}

func TestSessionIsAHost(t *testing.T) {
	hosttest.Conformance(t, func(t *testing.T) hosttest.Subject {
		s := machine().NewSession()
		t.Cleanup(s.End)
		return hosttest.Subject{Host: s, Dir: "/tmp/test"}
	})
}
