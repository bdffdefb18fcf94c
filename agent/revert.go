package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/lvsfleet/lvsfleet/agent/journal"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/director"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// A Reverter is a Session that can look at the way back from a run. Every
// Session is one; it is apart since few callers need it.
type Reverter interface {
	// CheckRevert is Check of the way back from what run has changed on the
	// host and was committed: nothing, where it changed nothing here. It
	// refuses where a later run has changed the host, and where a file is
	// neither as it was made nor as before. What others have changed since in
	// live state is left, and noted.
	CheckRevert(ctx context.Context, run string) (Report, error)
}

var (
	_ Reverter = (*Engine)(nil)
	_ Reverter = (*Client)(nil)
)

// Reverts says how much of a run a transaction takes back. The zero value: all
// of it.
type Reverts struct {
	// Stages are those whose transactions are taken back; none: all.
	Stages []inventory.Stage `json:"stages,omitempty"`
	// Table: only the live IPVS table and the rules for the next boot.
	Table bool `json:"table,omitempty"`
	// Hold are entries, with Table, that stay as they are for now: in the
	// live table as they are found, in the rules not there.
	Hold []inventory.Withdrawal `json:"hold,omitempty"`
}

// tablePart says whether the stage edits the IPVS table and the rules alone
// when it is a part of taking a run back.
func tablePart(s inventory.Stage) bool { return s == inventory.Withdraw || s == inventory.Admit }

// CheckRevert looks at the way back.
func (e *Engine) CheckRevert(ctx context.Context, run string) (Report, error) {
	ctx, leave, err := e.enter(ctx)
	if err != nil {
		return Report{}, err
	}
	defer leave()
	if !journal.ValidRun(run) {
		return Report{}, fmt.Errorf("%q does not name a run", run)
	}
	report, _, err := e.look(ctx, Transaction{Undoes: run, Reverts: &Reverts{}}, Live, Boot)
	if err != nil {
		return Report{}, err
	}
	return report, e.state(ctx, &report)
}

// look plans and checks what the transaction is to do.
func (e *Engine) look(ctx context.Context, tx Transaction, layers ...Layer) (Report, step.Plan, error) {
	if tx.Reverts == nil {
		return e.check(ctx, tx.Desired, layers...)
	}
	cache := host.NewCache(e.Host)
	plan, err := e.planBack(ctx, cache, tx)
	if err != nil {
		return Report{}, step.Plan{}, fmt.Errorf("plan: %w", err)
	}
	r := Report{Identity: e.id, Notes: plan.Notes}
	return e.checkSteps(ctx, cache, r, plan, layers...)
}

// planBack makes the plan that takes the run back: the mirror of what its
// journals tell. What earlier attempts have done of that to the table and to
// files stands between, and is taken back first: what is left is their sum.
func (e *Engine) planBack(ctx context.Context, h host.Host, tx Transaction) (step.Plan, error) {
	run, back := tx.Undoes, *tx.Reverts
	if err := e.identify(ctx); err != nil {
		return step.Plan{}, err
	}
	store, err := e.store(ctx)
	if err != nil {
		return step.Plan{}, err
	}
	past, err := store.Since(ctx, run)
	if err != nil {
		return step.Plan{}, err
	}
	past = slices.DeleteFunc(past, func(p journal.Settled) bool { return p.Claim != journal.Commit })
	if err := untouched(past, run); err != nil {
		return step.Plan{}, err
	}
	var live, boot []step.Made
	for _, p := range past {
		stage := inventory.Stage(p.Stage)
		part := func(s inventory.Stage) bool { return len(back.Stages) == 0 || slices.Contains(back.Stages, s) }
		own := p.Undoes == run
		switch {
		case own && tablePart(stage) && part(inventory.Admit):
		case !own && p.Run == run && part(stage):
		default:
			continue
		}
		j, err := store.Read(ctx, p)
		if err != nil {
			return step.Plan{}, err
		}
		for _, r := range j.Steps() {
			live = append(live, made(r))
		}
		for _, r := range j.Files() {
			boot = append(boot, made(r))
		}
	}
	if tx.Continues && e.tx != nil && e.tx.journal != nil {
		for _, r := range e.tx.journal.Steps() { // what is lent goes with its entry
			live = append(live, made(r))
		}
	}
	var rules string
	if back.Table {
		if rules, err = director.RulesFile(ctx, h, e.id); err != nil {
			return step.Plan{}, err
		}
		live = onlyTable(live, back.Hold)
		boot = slices.DeleteFunc(boot, func(m step.Made) bool { return m.Step != "file:"+rules })
	}
	plan := step.Plan{Live: step.Reversals(live), Boot: step.Reversals(boot)}
	if len(back.Hold) > 0 {
		for i, s := range plan.Boot {
			plan.Boot[i] = withoutHeld{s, back.Hold}
		}
	}
	return plan, nil
}

func made(r journal.Record) step.Made {
	return step.Made{Step: r.Step, Change: step.Change{Do: r.Do, Undo: r.Undo, Was: r.Was, Want: r.Want}}
}

// untouched refuses a host that a later run has changed, which has not been
// taken back itself.
func untouched(past []journal.Settled, run string) error {
	back := map[string]bool{}
	for _, p := range past {
		back[p.Undoes] = true
	}
	for _, p := range past {
		if p.Run != run && p.Undoes == "" && !back[p.Run] {
			return step.Refuse("take that back first: lvsfleet rollback --run "+p.Run,
				"run %s of %s has changed this host since", p.Run, p.Who)
		}
	}
	return nil
}

// onlyTable keeps of the changes those of the IPVS table, but for what is
// held: a held entry, and a service that has one, is not touched.
func onlyTable(list []step.Made, hold []inventory.Withdrawal) []step.Made {
	type place struct {
		service ipvs.Key
		server  ipvs.DestKey
	}
	held, keeps := map[place]bool{}, map[ipvs.Key]bool{}
	for _, w := range hold {
		held[place{director.KeyOf(w), destOf(w)}] = true
		keeps[director.KeyOf(w)] = true
	}
	edits := func(ops []step.Op) []step.Op {
		var out []step.Op
		for _, op := range ops {
			if op.Kind != step.IPVS {
				continue
			}
			op.Edits = slices.DeleteFunc(slices.Clone(op.Edits), func(e ipvs.Edit) bool {
				if e.Verb == ipvs.DeleteService {
					return keeps[e.Service.Key]
				}
				return held[place{e.Service.Key, e.Dest.DestKey}]
			})
			if len(op.Edits) > 0 {
				out = append(out, op)
			}
		}
		return out
	}
	var out []step.Made
	for _, m := range list {
		m.Change.Do, m.Change.Undo = edits(m.Change.Do), edits(m.Change.Undo)
		if len(m.Change.Undo) > 0 {
			out = append(out, m)
		}
	}
	return out
}

func destOf(w inventory.Withdrawal) ipvs.DestKey {
	return ipvs.DestKey{Addr: w.Server, Port: uint16(w.ServerPort)}
}

// withoutHeld is the way back of the rules file, but for entries that must not
// be there yet.
type withoutHeld struct {
	step.Step
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
	f.Data = director.DropRules(f.Data, w.hold)
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
