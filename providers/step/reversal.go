package step

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
	"github.com/lvsfleet/lvsfleet/providers/note"
)

// A Made is a change that has been made, as it is remembered.
type Made struct {
	Step   string // its ID
	Change Change // without diff
}

// Reversals are the steps that take changes back, the last that was made
// first. Those of one ID become one step.
//
// They go by state. What is no longer as it was made is left: of a live
// setting that is told of as a note, a file is refused (*Refusal), as it would
// be undone by half.
func Reversals(made []Made) []Step {
	var list []*reversal
	for _, m := range slices.Backward(made) {
		back := m.Change.Mirror()
		if i := slices.IndexFunc(list, func(r *reversal) bool { return r.id == m.Step }); i >= 0 {
			c := &list[i].change
			c.Do, c.Undo = chain(c.Do, back.Do), chain(back.Undo, c.Undo)
			c.Want = back.Want
			c.Effects = both(c.Effects, back.Effects)
			continue
		}
		list = append(list, &reversal{id: m.Step, change: back, before: list[:len(list):len(list)]})
	}
	steps := make([]Step, len(list))
	for i, r := range list {
		steps[i] = r
	}
	return steps
}

// chain gives the operations of two changes that follow each other. A file
// that the second finds as the first leaves it is written once.
func chain(first, second []Op) []Op {
	out := slices.Clone(first)
	for _, op := range second {
		if op.Kind == Notify { // once, after everything
			out = slices.DeleteFunc(out, func(o Op) bool { return o.Kind == Notify && slices.Equal(o.Argv, op.Argv) })
		}
		i := slices.IndexFunc(out, func(o Op) bool {
			return op.Path != "" && o.Path == op.Path && (op.Expect == "" || o.leaves() == op.Expect)
		})
		if i < 0 {
			out = append(out, op)
			continue
		}
		if op.Expect != "" {
			op.Expect = out[i].Expect
		}
		out[i] = op
	}
	return out
}

// leaves is the Sum of what a Write or Remove leaves.
func (o Op) leaves() Sum {
	if o.Kind == Write {
		return nodeSum(*o.File)
	}
	return Absent
}

type reversal struct {
	id     string
	change Change
	before []*reversal // those that come first
	own    []Step      // steps of the plan that come first too
}

// Behind has the reversals among steps come after steps of a plan, which may take
// away what they wait for: a VIP that moves off the tunnel that goes.
func Behind(steps, own []Step) {
	for _, s := range steps {
		if r, ok := s.(*reversal); ok {
			r.own = own
		}
	}
}

// ID is that of what was made.
func (r *reversal) ID() string { return r.id }

// A need is what is left to do of a reversal.
type need struct {
	ops     bool // of Run, Write and Remove
	waits   bool // so far it may not be done yet
	edits   []ipvs.Edit
	have    []ipvs.Service // the table that edits are of
	changed []note.Note    // what somebody else has changed in the table
}

func (n need) any() bool { return n.ops || n.waits || len(n.edits) > 0 }

// Check looks at what is left to do. An operation that has to wait for another
// (Cond.Guard) counts while one that comes before may still bring that about.
func (r *reversal) Check(ctx context.Context, h host.Host) (Change, error) {
	n, err := r.need(ctx, h)
	if err != nil {
		return Change{}, err
	}
	var c Change
	c.Notes = append(c.Notes, n.changed...)
	if n.waits && !n.ops {
		coming, err := r.coming(ctx, h)
		if err != nil {
			return Change{}, err
		}
		if !coming {
			c.Notes = append(c.Notes, note.New(note.StaysNeeded, r.id))
			n.waits = false
		}
	}
	if !n.any() {
		if len(c.Notes) == 0 && r.live() {
			c.Notes = append(c.Notes, note.New(note.NotAsMade, r.id))
		}
		return c, nil
	}
	if c.Diff, err = r.diff(ctx, h, n); err != nil {
		return Change{}, err
	}
	c.Was, c.Want, c.Effects = r.change.Was, r.change.Want, r.change.Effects
	// Of the table just what is left, and back from what is there now.
	table := TableChange(n.have, n.edits)
	c.Do = append(notIPVS(r.change.Do), table.Do...)
	c.Undo = append(table.Undo, notIPVS(r.change.Undo)...)
	return c, nil
}

// live says whether it is about live state, where the changes of others are
// told of. A part that has nothing to undo (a module) is not worth a word.
func (r *reversal) live() bool {
	return slices.ContainsFunc(r.change.Do, func(o Op) bool { return o.Kind == Run || o.Kind == IPVS })
}

// coming says whether an operation that comes before is still to be done.
func (r *reversal) coming(ctx context.Context, h host.Host) (bool, error) {
	coming := false
	for _, b := range r.before {
		n, err := b.need(ctx, h)
		if err != nil {
			return false, err
		}
		coming = coming || n.ops || len(n.edits) > 0 || n.waits && coming
	}
	for _, s := range r.own {
		if coming {
			break
		}
		c, err := s.Check(ctx, h)
		if err != nil {
			return false, err
		}
		coming = slices.ContainsFunc(c.Effects, func(e Effect) bool { return e.Kind == VIP && e.Act != Gains })
	}
	return coming, nil
}

// need asks the conditions.
func (r *reversal) need(ctx context.Context, h host.Host) (need, error) {
	var n need
	var edits []ipvs.Edit
	for i, op := range r.change.Do {
		switch op.Kind {
		case Run:
			needed, waits, err := op.needed(ctx, h)
			if err == nil && needed {
				needed, err = r.last(ctx, h, i)
			}
			if err != nil {
				return need{}, err
			}
			n.ops, n.waits = n.ops || needed && !waits, n.waits || needed && waits
		case Write, Remove:
			done, err := op.Ready(ctx, h)
			if errors.Is(err, ErrChanged) {
				return need{}, Refuse("put it back by hand, or leave all of it", "%s is neither as it was made nor as before: somebody has changed it since", op.Path)
			}
			if err != nil {
				return need{}, err
			}
			n.ops = n.ops || !done
		case IPVS:
			edits = append(edits, op.Edits...)
		case Announce, Notify:
		}
	}
	if len(edits) == 0 {
		return n, nil
	}
	t, err := ipvs.Open(h)
	if err != nil {
		return need{}, fmt.Errorf("open the IPVS table: %w", err)
	}
	if n.have, err = t.Dump(ctx); err != nil {
		return need{}, fmt.Errorf("read the IPVS table: %w", err)
	}
	todo, errs := ipvs.Left(n.have, edits)
	n.edits = todo
	for _, err := range errs {
		n.changed = append(n.changed, note.New(note.EntryChanged, err))
	}
	return n, nil
}

// last says whether what the operation sets is not set again by a later one that
// finds it so. Several changes of one setting became one step: the values that it
// had in between lead to the last one, and are nothing to come back to from there.
func (r *reversal) last(ctx context.Context, h host.Host, i int) (bool, error) {
	if !r.change.Do[i].sets() {
		return true, nil
	}
	for _, op := range r.change.Do[i+1:] {
		if op.Kind != Run || !op.sets() || !slices.Equal(op.If[0].Argv, r.change.Do[i].If[0].Argv) {
			continue
		}
		if needed, _, err := op.needed(ctx, h); err != nil || !needed {
			return false, err
		}
	}
	return true, nil
}

// sets says whether the operation is for a value that is not there yet: it asks
// for nothing else.
func (o Op) sets() bool { return len(o.If) == 1 && o.If[0].Not && !o.If[0].Guard }

// needed asks the conditions of a command: whether it is to be run, and
// whether it still waits for others. One that only waits follows others and
// is never needed for itself.
func (o Op) needed(ctx context.Context, h host.Host) (needed, waits bool, err error) {
	if !slices.ContainsFunc(o.If, func(c Cond) bool { return !c.Guard }) {
		return false, false, nil
	}
	for _, c := range o.If {
		ok, err := c.Holds(ctx, h)
		switch {
		case err != nil:
			return false, false, err
		case c.Guard:
			waits = waits || !ok
		case !ok:
			return false, false, nil
		default:
			needed = true
		}
	}
	return needed, waits, nil
}

func notIPVS(ops []Op) []Op {
	return slices.DeleteFunc(slices.Clone(ops), func(o Op) bool { return o.Kind == IPVS })
}

// diff shows the change: files from what is there now.
func (r *reversal) diff(ctx context.Context, h host.Host, n need) (string, error) {
	text := TableChange(n.have, n.edits).Diff
	told := false // the setting itself
	for _, op := range r.change.Do {
		switch op.Kind {
		case Run:
			if !told {
				text += LiveDiff(r.id, r.change.Was, r.change.Want)
			}
			told = true
		case Write, Remove:
			now, err := Lstat(ctx, h, op.Path)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return "", fmt.Errorf("look at %s: %w", op.Path, err)
			}
			var before, after []byte
			if err == nil {
				before = shown(now)
			}
			if op.Kind == Write {
				after = shown(*op.File)
			}
			text += Diff(op.Path, before, after)
		case IPVS, Announce, Notify:
		}
	}
	return text, nil
}

// shown is a file, link or folder as a diff shows it.
func shown(f host.File) []byte {
	switch {
	case f.Mode&fs.ModeSymlink != 0:
		return []byte("-> " + string(f.Data) + "\n")
	case f.Mode.IsDir():
		return []byte("a folder\n")
	case f.Data == nil:
		return []byte{}
	}
	return f.Data
}
