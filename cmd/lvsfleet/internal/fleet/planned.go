package fleet

import (
	"context"
	"errors"
	"slices"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/fleet/plan"
	"github.com/lvsfleet/lvsfleet/providers/director"
)

// Plan looks at every host as Converge does, and gives the run as it will be if
// nothing fails. Nothing is changed, and no lease is taken. An outage that is not
// agreed to is in the plan, and no error; what else would end the run before
// anything is changed is one.
func (f *Fleet) Plan(ctx context.Context) (plan.Plan, error) {
	members, err := f.members()
	if err != nil {
		return plan.Plan{}, err
	}
	looked := &Fleet{
		Site: f.Site, Dial: f.Dial, Parallel: f.Parallel, Limit: f.Limit, Run: f.Run, Who: f.Who, SkipUnreachable: f.SkipUnreachable,
		Departed: f.Departed, Observe: f.Observe, Clock: f.Clock,
		AllowOutage: true, // they are told
	}
	return looked.planned(ctx, members)
}

func (f *Fleet) planned(ctx context.Context, members []*member) (plan.Plan, error) {
	r := newRun(f, members, "")
	defer r.end()
	var p plan.Plan
	shown := errors.New("the plan is made")
	err := r.carryOut(ctx, func([]Finding) (bool, error) {
		p = plan.Make(r.input())
		return false, shown
	})
	switch {
	case errors.Is(err, shown):
		return p, nil
	case err != nil:
		return plan.Plan{}, err
	}
	return plan.Make(r.input()), nil // there was nothing to do
}

// input is what preflight has found, as the planner wants it.
func (r *run) input() plan.Input {
	in := plan.Input{Batch: r.Site.Rollout.Batch}
	for _, m := range r.members {
		switch {
		case m.err != nil:
			in.LeftOut = append(in.LeftOut, plan.LeftOut{Host: m.host.Name, Why: m.err.Error()})
		case !m.director() && m.changes():
			s := plan.Server{Name: m.host.Name, Steps: open(m.report), Expands: m.expands}
			for _, e := range r.touched(m) {
				s.Touched = append(s.Touched, e.plan())
			}
			in.Servers = append(in.Servers, s)
		case m.director() && m.takesPart():
			in.Directors = append(in.Directors, r.directorInput(m))
		}
	}
	for _, o := range r.outages {
		in.Outages = append(in.Outages, plan.Outage{Host: o.Host, Services: o.Services})
	}
	return in
}

func open(r agent.Report) int {
	n := 0
	for _, i := range r.Items {
		if !i.Change.Holds() {
			n++
		}
	}
	return n
}

func (r *run) directorInput(m *member) plan.Director {
	d := plan.Director{Name: m.host.Name, Steps: open(m.report), Retires: m.want.Retires() || m.report.Removes}
	live := map[entryKey]bool{}
	leaving := r.leaving()
	for _, e := range m.entries {
		p := e.plan()
		live[entryKey{e.Service, e.Dest.DestKey}] = true
		d.Entries = append(d.Entries, p)
		switch {
		case e.going:
			d.Closing = append(d.Closing, p)
		case slices.Contains(leaving, e) && !r.replacedInBatch(e):
			d.Leaving = append(d.Leaving, p)
		}
	}
	if m.watches != nil {
		return d
	}
	for _, s := range m.services() {
		k := director.ServiceKey(s)
		for _, rs := range s.Real {
			dest := director.Destination(s, rs)
			if rs.Hold || rs.Weight == 0 || s.ForeignWeights && live[entryKey{k, dest.DestKey}] {
				continue
			}
			d.Comes = append(d.Comes, plan.Entry{Director: m.host.Name, Service: k, Dest: dest, Host: rs.Host})
		}
	}
	return d
}

// replacedInBatch says whether the entry goes with its real server's batch.
func (r *run) replacedInBatch(e *entry) bool {
	m := r.byName[e.host]
	return m != nil && m.err == nil && m.changes() && !m.director() && slices.Contains(r.touched(m), e)
}
