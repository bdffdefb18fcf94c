package ledger

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path"
	"slices"
	"strings"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/note"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// Complete adds to the plan p the removal of what the ledger has beyond it,
// and names the steps that it added. What was made last goes first, so that a
// virtual address is gone before the silence about it; what waits for others
// to be gone comes behind the plan's own steps, and forwarding, which others
// may be reached by, last.
//
// The plan is for d. Where its network is "none", nothing is done about the next
// boot but of what was written under that too. A VIP that d's services still have is left where it is: somebody else
// puts it there now, and would not notice that it went.
func (l Ledger) Complete(sys System, p step.Plan, d inventory.Desired) (step.Plan, map[string]bool) {
	gone := map[string]bool{}
	has := func(list []step.Step, id string) bool {
		return slices.ContainsFunc(list, func(s step.Step) bool { return s.ID() == id })
	}
	var made, waiting, forwarding []step.Made
	var handed []step.Step
	for _, s := range l.Live {
		if has(p.Live, s.ID) {
			continue
		}
		gone[s.ID] = true
		if vip, ok := s.foreign(d); ok {
			handed = append(handed, step.Func{Name: s.ID, Probe: func(context.Context, host.Host) (step.Change, error) { return step.Change{}, nil }})
			p.Notes = append(p.Notes, note.New(note.HandedOver, vip))
			continue
		}
		to := &made
		switch {
		case s.affects(step.Forwarding):
			to = &forwarding
		case s.waits():
			to = &waiting
		}
		*to = append(*to, s.made()...)
	}
	back := sys.Back(slices.Concat(forwarding, waiting, made))
	n := len(step.Reversals(made))
	first, last := back[:n:n], back[n:]
	if len(l.IPVS) > 0 {
		if leave := sys.Leave(l.Taken(sys)); !has(p.Live, leave.ID()) {
			gone[leave.ID()] = true
			first = slices.Insert(first, 0, leave)
		}
	}
	step.Behind(last, p.Live)
	p.Live = slices.Concat(handed, first, p.Live, last)

	none := d.Network == "none"
	var boot, folders []step.Step
	var goes []string // paths
	for _, f := range slices.Backward(l.Files) {
		switch {
		case none && !f.None:
		case f.Wrote.folder():
			if used := func(s step.Step) bool { return within(f.Path, step.PathOf(s)) }; !slices.ContainsFunc(p.Boot, used) {
				folders = append(folders, folder{f.Path, f.Wrote.file(), &goes})
				goes = append(goes, f.Path)
			}
		case has(p.Boot, f.Step):
		case f.Rules:
			boot = append(boot, rules{f, l, sys})
			goes = append(goes, f.Path)
		case f.Wrote.symlink(), f.Orig.symlink():
			target := ""
			if f.Orig != nil {
				target = string(f.Orig.Data)
			}
			boot = append(boot, link{&step.LinkStep{Path: f.Path, Target: target, Notify: f.Notify}, f})
			goes = append(goes, f.Path)
		default:
			boot = append(boot, &step.FileStep{Path: f.Path, Notify: f.Notify})
			goes = append(goes, f.Path)
		}
	}
	slices.SortStableFunc(folders, func(a, b step.Step) int { return strings.Compare(b.ID(), a.ID()) }) // the inner ones first
	for _, s := range slices.Concat(boot, folders) {
		gone[s.ID()] = true
	}
	p.Boot = slices.Concat(boot, p.Boot, folders)
	for i, s := range p.Boot {
		f, ok := s.(*step.FileStep)
		if !ok {
			continue
		}
		for _, was := range l.Files {
			if (was.Step == f.ID() || was.Path == f.Path) && was.Wrote != nil && sys.Suppresses(was.Wrote.Data) {
				p.Boot[i] = silence{f, was, l, sys, none}
			}
		}
	}
	return p, gone
}

// A silence is a file of kernel settings that keeps virtual addresses from being
// answered for. Like the live ones, they stay while somebody else's address
// needs them.
type silence struct {
	*step.FileStep
	was File
	l   Ledger
	sys System
	// stay: what lvsfleet has of the network for the next boot stays.
	stay bool
}

// Check looks who is left at the next boot, but for what of lvsfleet's goes.
func (s silence) Check(ctx context.Context, h host.Host) (step.Change, error) {
	who, err := s.sys.NeedsSuppression(ctx, Bare{Host: h, Ledger: s.l, System: s.sys, Asis: s.stay})
	if err != nil {
		return step.Change{}, err
	}
	if who == "" {
		return s.FileStep.Check(ctx, h)
	}
	kept := *s.FileStep
	kept.Edits = append(slices.Clone(kept.Edits), s.sys.KeepSuppression(s.was.Wrote.Data))
	c, err := kept.Check(ctx, h)
	if err == nil {
		c.Notes = append(c.Notes, note.New(note.SuppressionStays, s.Path, who))
	}
	return c, err
}

// Release gives the plan that takes the addresses away, live alone, and names
// its steps.
func (l Ledger) Release(addrs []netip.Addr) (step.Plan, map[string]bool) {
	var made []step.Made
	gone := map[string]bool{}
	for _, s := range l.Live {
		for _, a := range addrs {
			if s.is(step.VIP, a) {
				made, gone[s.ID] = append(made, s.made()...), true
			}
		}
	}
	return step.Plan{Live: step.Reversals(made)}, gone
}

// made are the changes of the step.
func (s Step) made() []step.Made {
	var list []step.Made
	for _, r := range s.Records {
		list = append(list, step.Made{Step: s.ID, Change: step.Change{Was: r.Was, Want: r.Want, Do: r.Do, Undo: r.Undo, Effects: r.effects(s.ID)}})
	}
	return list
}

// effects are those of the record of the step id.
func (r Record) effects(id string) []step.Effect {
	return step.RecordedEffects(r.Effects, id, r.Was, r.Want)
}

// affects says whether the step has an effect of the kind.
func (s Step) affects(k step.EffectKind) bool {
	return slices.ContainsFunc(s.Records, func(r Record) bool {
		return slices.ContainsFunc(r.effects(s.ID), func(e step.Effect) bool { return e.Kind == k })
	})
}

// is says whether the step has an effect of the kind on the address.
func (s Step) is(k step.EffectKind, a netip.Addr) bool {
	return slices.ContainsFunc(s.Records, func(r Record) bool {
		return slices.ContainsFunc(r.effects(s.ID), func(e step.Effect) bool { return e.Kind == k && e.Addr == a })
	})
}

// foreign says whether the step is the VIP of a service of d, which is a
// director's, and which.
func (s Step) foreign(d inventory.Desired) (netip.Addr, bool) {
	if d.Director == nil {
		return netip.Addr{}, false
	}
	for _, v := range d.Director.Services {
		if v.Addr.IsValid() && s.is(step.VIP, v.Addr) {
			return v.Addr, true
		}
	}
	return netip.Addr{}, false
}

// waits says whether something else must be gone before the step can be taken
// back.
func (s Step) waits() bool {
	guards := func(o step.Op) bool { return slices.ContainsFunc(o.If, func(c step.Cond) bool { return c.Guard }) }
	return slices.ContainsFunc(s.Records, func(r Record) bool { return slices.ContainsFunc(r.Undo, guards) })
}

// A folder that lvsfleet made goes when nothing is left in it but what goes
// with it.
type folder struct {
	path string
	made *host.File
	goes *[]string
}

// ID is "folder:" and the path.
func (f folder) ID() string { return "folder:" + f.path }

// Check looks into it.
func (f folder) Check(ctx context.Context, h host.Host) (step.Change, error) {
	entries, err := h.ReadDir(ctx, f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return step.Change{}, nil
	}
	if err != nil {
		return step.Change{}, fmt.Errorf("list %s: %w", f.path, err)
	}
	for _, e := range entries {
		if p := path.Join(f.path, e.Name); !slices.Contains(*f.goes, p) && !host.IsTemp(e.Name) {
			return step.Change{Notes: []note.Note{note.New(note.FolderStays, f.path, e.Name)}}, nil
		}
	}
	return step.Change{
		Diff: step.Diff(f.path, []byte("a folder\n"), nil),
		Do:   []step.Op{{Kind: step.Remove, Path: f.path, File: f.made}},
		Undo: []step.Op{{Kind: step.Write, Path: f.path, File: f.made, Expect: step.Absent}},
	}, nil
}

// A link is given back where it is still what was made of it.
type link struct {
	*step.LinkStep
	was File
}

// Check compares what is there with what was put there.
func (l link) Check(ctx context.Context, h host.Host) (step.Change, error) {
	now, err := step.Lstat(ctx, h, l.Path)
	there := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return step.Change{}, fmt.Errorf("look at %s: %w", l.Path, err)
	}
	is := func(n *Node) bool {
		if n == nil || !there {
			return n == nil && !there
		}
		return now.Mode&fs.ModeSymlink != 0 && string(now.Data) == string(n.Data)
	}
	switch {
	case is(l.was.Orig):
		return step.Change{}, nil
	case !is(l.was.Wrote):
		return step.Change{Notes: []note.Note{note.New(note.LinkChanged, l.Path)}}, nil
	}
	return l.LinkStep.Check(ctx, h)
}

// rules is a table of rules that is given back.
type rules struct {
	was File
	l   Ledger
	sys System
}

// ID is that of the file.
func (r rules) ID() string { return r.was.Step }

// Check compares the file.
func (r rules) Check(ctx context.Context, h host.Host) (step.Change, error) {
	f, err := h.ReadFile(ctx, r.was.Path)
	now := &f
	if errors.Is(err, fs.ErrNotExist) {
		now = nil
	} else if err != nil {
		return step.Change{}, fmt.Errorf("read %s: %w", r.was.Path, err)
	}
	s := step.FileStep{Path: r.was.Path, Rules: true, Edits: []step.Edit{func([]byte) ([]byte, error) {
		return content(r.l.orig(r.was, now, r.sys)), nil
	}}}
	return s.Check(ctx, h)
}
