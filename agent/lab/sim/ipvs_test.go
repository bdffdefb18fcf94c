package sim_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
	"github.com/lvsfleet/lvsfleet/providers/ipvs/ipvstest"
)

func TestTableIsTheKernels(t *testing.T) {
	ipvstest.Run(t, ipvstest.Lacks{}, func(t *testing.T) ipvs.Table {
		table, err := ipvs.Open(machine().NewSession())
		if err != nil {
			t.Fatal(err)
		}
		return table
	})
}

func service() ipvs.Service {
	return ipvs.Service{Key: ipvs.Key{Protocol: "tcp", Addr: netip.MustParseAddr("192.0.2.1"), Port: 80}, Scheduler: "wlc"}
}

func TestTableGoesWithTheProcessAndTheBoot(t *testing.T) {
	m := machine()
	s := m.NewSession()
	table, err := s.IPVS()
	if err != nil {
		t.Fatal(err)
	}
	if err := table.Apply(t.Context(), []ipvs.Edit{{Verb: ipvs.AddService, Service: new(service())}}); err != nil {
		t.Fatal(err)
	}
	s.End()
	if err := table.Apply(t.Context(), []ipvs.Edit{{Verb: ipvs.DeleteService, Service: new(service())}}); !errors.Is(err, host.ErrLost) {
		t.Errorf("a dead process edits: %v", err)
	}
	table, err = m.IPVS()
	if err != nil {
		t.Fatal(err)
	}
	if list, err := table.Dump(t.Context()); err != nil || len(list) != 1 {
		t.Errorf("%v, %v", list, err)
	}
	m.Reboot()
	if list, err := table.Dump(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("after the boot: %v, %v", list, err)
	}
}

func TestProcessesEnd(t *testing.T) {
	m := machine()
	s := m.NewSession()
	if _, err := s.Lock(t.Context(), "/var/run/lvsfleet/lease", "one"); err != nil {
		t.Fatal(err)
	}
	other := m.NewSession()
	var taken *host.TakenError
	if _, err := other.Lock(t.Context(), "/var/run/lvsfleet/lease", "two"); !errors.As(err, &taken) || taken.Holder != "one" {
		t.Errorf("taken twice: %v", err)
	}
	s.End()
	if _, err := other.Lock(t.Context(), "/var/run/lvsfleet/lease", "two"); err != nil {
		t.Errorf("the dead holds it: %v", err)
	}
	m.Reboot()
	if _, err := other.ReadFile(t.Context(), "/var/run/lvsfleet/lease"); !errors.Is(err, host.ErrLost) {
		t.Errorf("a process outlived the boot: %v", err)
	}
	if by, err := m.Holder(context.Background(), "/var/run/lvsfleet/lease"); err != nil || by != "" {
		t.Errorf("%q holds it after the boot, %v", by, err)
	}
}

func TestWatchStrikesBeforeAnythingIsDone(t *testing.T) {
	m := machine()
	struck := errors.New("struck")
	m.Watch = func(a sim.Access) error {
		if a.Op == "write" {
			return struck
		}
		return nil
	}
	if err := m.Write(t.Context(), "/tmp/x", host.File{Mode: 0o644}); !errors.Is(err, struck) {
		t.Errorf("%v", err)
	}
	m.Watch = nil
	if err := m.Write(t.Context(), "/tmp/x", host.File{Mode: 0o644}); err != nil {
		t.Errorf("%v", err)
	}
}
