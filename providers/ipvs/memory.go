package ipvs

import (
	"context"
	"net/netip"
	"slices"
)

// A Memory is a table in memory that takes and refuses what the kernel takes
// and refuses. It belongs to whoever holds it: it has no lock of its own. The
// zero value is an empty table.
type Memory struct {
	Services []Service
	// Schedulers says whether the kernel has, or can load, a scheduler. nil:
	// all those that Linux has.
	Schedulers func(name string) bool
	// Local says whether an address is the machine's own. It makes the table
	// that of a kernel before 2.6.37, which shows Local for such a real
	// server whatever was asked for. nil: a later kernel, which does not.
	Local func(netip.Addr) bool
}

// KernelSchedulers are the schedulers of Linux 6 (net/netfilter/ipvs/Kconfig).
func KernelSchedulers() []string {
	return []string{"rr", "wrr", "lc", "wlc", "fo", "ovf", "lblc", "lblcr", "dh", "sh", "mh", "sed", "nq", "twos"}
}

// Dump gives a copy of the table, sorted.
func (m *Memory) Dump(ctx context.Context) ([]Service, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	out := Sorted(m.Services)
	for i := range out {
		out[i].Dests = slices.Clone(out[i].Dests)
	}
	return out, nil
}

// Apply makes the edits until one is refused.
func (m *Memory) Apply(ctx context.Context, edits []Edit) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	schedulers := m.Schedulers
	if schedulers == nil {
		schedulers = func(name string) bool { return slices.Contains(KernelSchedulers(), name) }
	}
	st := newState(m.Services)
	for i, e := range edits {
		err := refuse(e)
		if err == nil {
			if errno := st.kernelRules(e, schedulers); errno != 0 {
				err = explain(e.Verb, errno)
			}
		}
		if err != nil {
			m.Services = st.services()
			return &EditError{Index: i, Edit: e, Err: err}
		}
		e.AnyWeight = false // Make has settled it
		s := e.Service.Normal()
		e.Service = &s
		e.Dest = e.Dest.Normal()
		if m.Local != nil && m.Local(e.Dest.Addr) && (e.Verb == AddDest || e.Verb == EditDest) {
			e.Dest.Method = Local
		}
		st.do(e)
	}
	m.Services = st.services()
	return nil
}
