package sim

import (
	"context"
	"errors"
	"net/netip"

	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
)

// IPVS is the table of a Linux machine; others have none.
func (m *Machine) IPVS() (ipvs.Table, error) {
	if m.Identity.OS != host.Linux {
		return nil, errors.New("open IPVS: only Linux has it")
	}
	return table{m: m, guard: func(f func() error) error { return f() }}, nil
}

// table is Net.IPVS as netlink gives it.
type table struct {
	m     *Machine
	guard func(func() error) error
}

// Dump reads every service.
func (t table) Dump(ctx context.Context) (list []ipvs.Service, err error) {
	err = t.guard(func() (err error) {
		t.m.Locked(func() { list, err = t.m.memory().Dump(ctx) })
		return err
	})
	return list, err
}

// Apply makes the edits one by one where somebody watches, so that a machine
// that goes down between two of them keeps the first.
func (t table) Apply(ctx context.Context, edits []ipvs.Edit) error {
	if t.m.Watch == nil {
		return t.guard(func() (err error) {
			t.m.Locked(func() { err = t.m.EditIPVS(ctx, edits...) })
			return err
		})
	}
	for i, e := range edits {
		err := t.guard(func() (err error) {
			if err := t.m.watch(Access{Op: "ipvs", Path: e.Verb.String()}); err != nil {
				return err
			}
			t.m.Locked(func() { err = t.m.EditIPVS(ctx, e) })
			return err
		})
		if failed := new(ipvs.EditError); errors.As(err, &failed) {
			failed.Index = i
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// memory is the kernel's table. A kernel before 2.6.37 turns a real server
// that is an address of its own into a local one.
func (m *Machine) memory() *ipvs.Memory {
	mem := &ipvs.Memory{Services: m.Net.IPVS}
	if host.Older(m.Identity.Release, 2, 6, 37) {
		mem.Local = func(a netip.Addr) bool { return m.Net.Holder(a) != nil }
	}
	return mem
}

// EditIPVS makes edits as the kernel does, modules loaded as they are needed,
// and gives an *ipvs.EditError for what it refuses. The lock is held: it is for
// commands.
func (m *Machine) EditIPVS(ctx context.Context, edits ...ipvs.Edit) error {
	mem := m.memory()
	err := mem.Apply(ctx, edits)
	m.Net.IPVS = mem.Services
	for _, s := range mem.Services {
		m.Net.Modules["ip_vs"] = true
		m.Net.Modules["ip_vs_"+s.Scheduler] = true
	}
	return err
}
