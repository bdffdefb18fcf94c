package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/lvsfleet/lvsfleet/agent/journal"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
	"github.com/lvsfleet/lvsfleet/providers/ledger"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// Reverts says how much of a run a transaction takes back. The zero value: all
// of it.
//
// The IPVS table, with the rules for the next boot, goes back apart from the
// machine: its entries in the order of what they lead to, a part at a time.
type Reverts struct {
	Part Part `json:"part,omitempty"`
	// Stages are those of the run whose transactions are taken back, as far
	// as they are about the machine; none: all.
	Stages []inventory.Stage `json:"stages,omitempty"`
	// Hold are entries that stay as they are for now: in the live table as
	// they are found, in the rules not there. Keep are entries that stay as
	// the run has made them: what earlier parts have taken back of them is
	// made again.
	Hold []inventory.Withdrawal `json:"hold,omitempty"`
	Keep []inventory.Withdrawal `json:"keep,omitempty"`
}

// A Part is a part of what a run has changed on a host.
type Part string

// The parts. A host that is no director has a machine alone.
const (
	All     Part = ""
	Table   Part = "table"
	Machine Part = "machine"
)

// planBack makes the plan that takes the run back: the mirror of what its
// journals tell. What earlier attempts have done of that to the table and to
// files stands between, and is taken back first: what is left is their sum.
func (e *Engine) planBack(ctx context.Context, h host.Host, req Request) (step.Plan, error) {
	run, back := req.Of, *req.Reverts
	if err := e.identify(ctx); err != nil {
		return step.Plan{}, err
	}
	sys := providers.SystemOf(e.id.OS)
	store, err := e.store(ctx)
	if err != nil {
		return step.Plan{}, err
	}
	past, err := store.Since(ctx, run)
	if err != nil {
		return step.Plan{}, err
	}
	past = slices.DeleteFunc(past, func(p journal.Settled) bool { return p.Claim != journal.Commit })
	if !slices.ContainsFunc(past, func(p journal.Settled) bool { return p.Run == run && p.Undoes == "" }) {
		return step.Plan{}, nil
	}
	if err := untouched(past, run); err != nil {
		return step.Plan{}, err
	}
	var live, boot []step.Made
	rules := "" // the file's step, where it matters
	if back.Part != All || len(back.Stages) > 0 {
		if rules, err = sys.RulesStep(ctx, h, e.id, req.Desired.Network); err != nil {
			return step.Plan{}, err
		}
	}
	var book *ledgerBack
	hold, both := places(sys, back.Hold), places(sys, slices.Concat(back.Hold, back.Keep))
	for _, p := range past {
		own := p.Undoes == run
		if !own && p.Run != run {
			continue
		}
		j, err := store.Read(ctx, p)
		if err != nil {
			return step.Plan{}, err
		}
		machine := !own && back.Part != Table && (len(back.Stages) == 0 || slices.Contains(back.Stages, inventory.Stage(p.Stage)))
		left := both
		if own {
			left = hold
		}
		for _, r := range j.Steps() {
			switch {
			case !ofTable(r):
				if machine {
					live = append(live, made(r))
				}
			case back.Part != Machine:
				m := made(r)
				if own {
					m = staying(m)
				}
				live = append(live, left.spare(m)...)
			}
		}
		for _, r := range j.Files() {
			switch {
			case r.Step == ledgerStep:
				if !own && book == nil {
					book = &ledgerBack{ledger.Path(store.Root), r.Undo[0].File}
				}
			case r.Step == rules && back.Part != Machine, r.Step != rules && machine, rules == "" && own:
				boot = append(boot, filed(r))
			}
		}
	}
	plan := step.Plan{Live: sys.Back(live), Boot: step.Reversals(boot)}
	for i, s := range plan.Boot {
		if s.ID() == rules && len(back.Hold) > 0 {
			plan.Boot[i] = withoutHeld{s, sys, back.Hold}
		}
	}
	if book != nil && back.Part == All {
		plan.Boot = append(plan.Boot, *book)
	}
	return plan, nil
}

// ofTable says whether the live step is about the IPVS table.
func ofTable(r journal.Record) bool {
	return slices.ContainsFunc(r.Do, func(o step.Op) bool { return o.Kind == step.IPVS })
}

func made(r journal.Record) step.Made {
	m := filed(r)
	m.Change.Effects = step.RecordedEffects(r.Effects, r.Step, r.Was, r.Want)
	return m
}

// filed is made of what is put in place for the next boot.
func filed(r journal.Record) step.Made {
	return step.Made{Step: r.Step, Change: step.Change{Do: r.Do, Undo: r.Undo, Was: r.Was, Want: r.Want}}
}

// untouched refuses a host that a later run has changed, which has not been
// taken back itself.
func untouched(past []journal.Settled, run string) error {
	back := map[string]bool{}
	for _, p := range past {
		back[p.Undoes] = true
	}
	last := 0
	for i, p := range past {
		if p.Run == run && p.Undoes == "" {
			last = i
		}
	}
	for _, p := range past[last+1:] {
		if p.Run != run && p.Undoes == "" && !back[p.Run] {
			return step.Refuse("take that back first: lvsfleet rollback --run "+p.Run,
				"run %s of %s has changed this host since", p.Run, p.Who)
		}
	}
	return nil
}

// A place is an entry's in the table.
type place struct {
	service ipvs.Key
	server  ipvs.DestKey
}

// heldPlaces are entries that are not to be touched, and their services.
type heldPlaces struct {
	entries  map[place]bool
	services map[ipvs.Key]bool
}

func places(sys ledger.System, list []inventory.Withdrawal) heldPlaces {
	p := heldPlaces{map[place]bool{}, map[ipvs.Key]bool{}}
	for _, w := range list {
		key, dest := sys.Entry(w)
		p.entries[place{key, dest}] = true
		p.services[key] = true
	}
	return p
}

// spare gives the change of the table without its edits of the places. A
// service that has one does not go. Where nothing is left, nothing is given.
func (p heldPlaces) spare(m step.Made) []step.Made {
	edits := func(ops []step.Op) []step.Op {
		var out []step.Op
		for _, op := range ops {
			op.Edits = slices.DeleteFunc(slices.Clone(op.Edits), func(e ipvs.Edit) bool {
				if e.Verb == ipvs.DeleteService {
					return p.services[e.Service.Key]
				}
				return p.entries[place{e.Service.Key, e.Dest.DestKey}]
			})
			if len(op.Edits) > 0 {
				out = append(out, op)
			}
		}
		return out
	}
	m.Change.Do, m.Change.Undo = edits(m.Change.Do), edits(m.Change.Undo)
	if len(m.Change.Undo) == 0 {
		return nil
	}
	return []step.Made{m}
}

// staying gives the change of the table by an earlier attempt so that services
// which it has made again stay: they are to be there in the end, and what this
// attempt adds to them must not be in the way.
func staying(m step.Made) step.Made {
	undo := slices.Clone(m.Change.Undo)
	for i := range undo {
		undo[i].Edits = slices.DeleteFunc(slices.Clone(undo[i].Edits), func(e ipvs.Edit) bool { return e.Verb == ipvs.DeleteService })
	}
	m.Change.Undo = undo
	return m
}

// ledgerBack is the step of the ledger as it was before a run, which goes back
// last of all, with the last part. Nobody but lvsfleet writes it, and no later
// run has: what is there now may be less than the run had meant
// (Engine.leaveOut).
type ledgerBack struct {
	path   string
	before *host.File // nil: there was none
}

// ID is what the ledger is called in a journal.
func (ledgerBack) ID() string { return ledgerStep }

// Check has no diff: the ledger is nothing for people to read.
func (l ledgerBack) Check(ctx context.Context, h host.Host) (step.Change, error) {
	file := step.FileStep{Path: l.path, Mode: 0o600, Edits: []step.Edit{func([]byte) ([]byte, error) {
		if l.before == nil {
			return nil, nil
		}
		return l.before.Data, nil
	}}}
	c, err := file.Check(ctx, h)
	c.Diff = ""
	return c, err
}

// withoutHeld is the way back of the rules file, but for entries that must not
// be there yet.
type withoutHeld struct {
	step.Step
	sys  ledger.System
	hold []inventory.Withdrawal
}

// Check looks first whether the file may be touched at all.
func (w withoutHeld) Check(ctx context.Context, h host.Host) (step.Change, error) {
	c, err := w.Step.Check(ctx, h)
	if err != nil || c.Holds() {
		return c, err
	}
	i := slices.IndexFunc(c.Do, func(o step.Op) bool { return o.Kind == step.Write && o.File.Mode.IsRegular() })
	if i < 0 {
		return c, nil
	}
	f := *c.Do[i].File
	f.Data = w.sys.DropRules(f.Data, w.hold)
	now, err := h.ReadFile(ctx, c.Do[i].Path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return step.Change{}, fmt.Errorf("read %s: %w", c.Do[i].Path, err)
	}
	if err == nil && step.SumOf(now) == step.SumOf(f) {
		return step.Change{}, nil
	}
	was, is := step.SumOf(*c.Do[i].File), step.SumOf(f)
	c.Do, c.Undo = slices.Clone(c.Do), slices.Clone(c.Undo)
	c.Do[i].File = &f
	for k := range c.Undo {
		if c.Undo[k].Expect == was {
			c.Undo[k].Expect = is
		}
	}
	c.Diff = step.Diff(c.Do[i].Path, now.Data, f.Data)
	return c, nil
}
