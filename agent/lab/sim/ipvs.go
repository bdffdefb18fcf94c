package sim

import (
	"context"
	"errors"
	"slices"
	"syscall"

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
	err = t.guard(func() error {
		if err := ctx.Err(); err != nil {
			return err
		}
		t.m.mu.Lock()
		defer t.m.mu.Unlock()
		for _, s := range t.m.Net.IPVS {
			s.Dests = slices.Clone(s.Dests)
			list = append(list, s)
		}
		return nil
	})
	return list, err
}

// Apply makes the edits one by one.
func (t table) Apply(ctx context.Context, edits []ipvs.Edit) error {
	return t.guard(func() error {
		for i, e := range edits {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := t.m.watch(Access{Op: "ipvs", Path: string(e.Verb)}); err != nil {
				return err
			}
			if err := t.m.editIPVS(e); err != nil {
				return &ipvs.EditError{Index: i, Edit: e, Err: err}
			}
		}
		return nil
	})
}

func (m *Machine) editIPVS(e ipvs.Edit) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.EditIPVS(e)
}

// EditIPVS makes one edit, or gives the kernel's error: EEXIST for what is
// there, ESRCH for a service that is not, ENOENT for a real server that is not
// (net/netfilter/ipvs/ip_vs_ctl.c). The lock is held: it is for commands.
//
// A kernel before 2.6.37 turns a real server that is an address of its own
// into a local one, whatever its method.
func (m *Machine) EditIPVS(e ipvs.Edit) error {
	n := m.Net
	at := slices.IndexFunc(n.IPVS, func(s ipvs.Service) bool { return s.Key == e.Service.Key })
	if e.Verb == ipvs.AddService {
		if at >= 0 {
			return syscall.EEXIST
		}
		n.Modules["ip_vs"] = true
		n.Modules["ip_vs_"+e.Service.Scheduler] = true
		s := e.Service
		s.Dests = nil
		n.IPVS = append(n.IPVS, s)
		return nil
	}
	if at < 0 {
		return syscall.ESRCH
	}
	s := &n.IPVS[at]
	d := slices.IndexFunc(s.Dests, func(d ipvs.Destination) bool { return d.DestKey == e.Dest.DestKey })
	dest := e.Dest
	if host.Older(m.Identity.Release, 2, 6, 37) && dest.Addr.IsValid() && n.Holder(dest.Addr) != nil {
		dest.Method = ipvs.Local
	}
	switch e.Verb {
	case ipvs.EditService:
		next := e.Service
		next.Dests = s.Dests
		*s = next
		n.Modules["ip_vs_"+next.Scheduler] = true
	case ipvs.DeleteService:
		n.IPVS = slices.Delete(n.IPVS, at, at+1)
	case ipvs.AddDest:
		if d >= 0 {
			return syscall.EEXIST
		}
		s.Dests = append(s.Dests, dest)
	case ipvs.EditDest:
		if d < 0 {
			return syscall.ENOENT
		}
		dest.Active, dest.Inactive, dest.Persistent = s.Dests[d].Active, s.Dests[d].Inactive, s.Dests[d].Persistent
		s.Dests[d] = dest
	case ipvs.DeleteDest:
		if d < 0 {
			return syscall.ENOENT
		}
		s.Dests = slices.Delete(s.Dests, d, d+1)
	default:
		return syscall.EINVAL
	}
	return nil
}
