package ledger

import (
	"io/fs"
	"path"
	"slices"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// A Change is one step of a transaction as it was found.
type Change struct {
	Step string
	Boot bool
	// Gone: the step is one of Removals.
	Gone bool
	step.Change
}

// Next is the ledger once the changes are made, for d to hold: all that is
// wanted of the host where whole is set, else a part.
func (l Ledger) Next(sys System, d inventory.Desired, whole bool, changes []Change) Ledger {
	n := Ledger{Live: slices.Clone(l.Live), Files: slices.Clone(l.Files), IPVS: slices.Clone(l.IPVS), Steps: l.Steps, None: l.None, rest: l.rest}
	n.For = d.Parts()
	if !whole {
		n.For = slices.Concat(l.For, n.For)
		slices.Sort(n.For)
		n.For = slices.Compact(n.For)
	}
	for _, c := range changes {
		switch {
		case c.Boot:
			n.boot(sys, l, c, none(d))
		case c.Gone:
			// What has to stay, and is told of, is still ours.
			if !c.Holds() || len(c.Notes) == 0 {
				n.Live = slices.DeleteFunc(n.Live, func(s Step) bool { return s.ID == c.Step })
			}
		}
		if !c.Boot {
			n.table(c)
		}
		if !c.Boot && !c.Gone {
			n.live(c)
		}
	}
	return n
}

// Planned is the ledger with the IDs of all steps that were planned for d: all
// that is wanted of the host where whole is set, else a part.
func (l Ledger) Planned(d inventory.Desired, ids []string, whole bool) Ledger {
	l.None = none(d)
	if !whole {
		ids = slices.Concat(l.Steps, ids)
	}
	l.Steps = slices.Clone(ids)
	slices.Sort(l.Steps)
	l.Steps = slices.Compact(l.Steps)
	return l
}

// none says whether nothing of the network is wanted at the next boot.
func none(d inventory.Desired) bool { return d.Network == "none" }

// Asked says whether the ledger's contents were made for all that d asks for.
func (l Ledger) Asked(d inventory.Desired) bool {
	was := l.None
	if l.Steps == nil { // of a build that did not say: it wrote nothing for the next boot then
		was = len(l.Files) == 0
	}
	return was == none(d) && !slices.ContainsFunc(d.Parts(), func(p string) bool { return !slices.Contains(l.For, p) })
}

// NewWish says whether what c lacks is lvsfleet's own new wish: the host is as an
// earlier build has left it, and that build did not want it so, or at all. It is
// to be asked where the ledger's contents were made for the same (Shrinks,
// Asked): then it is this build that is another one. Rules of IPVS follow the
// services, and are none.
func (l Ledger) NewWish(c Change) bool {
	planned := slices.Contains(l.Steps, c.Step)
	if !c.Boot {
		// Of runtime state what an earlier build would have recorded.
		gain := func(e step.Effect) bool { return e.Kind == step.Support && e.Act == step.Gains }
		return !planned && len(c.Undo) > 0 && len(c.Effects) > 0 &&
			!slices.ContainsFunc(c.Effects, func(e step.Effect) bool { return !gain(e) }) &&
			!slices.ContainsFunc(l.Live, func(s Step) bool { return s.ID == c.Step })
	}
	some := false
	for _, o := range c.Do {
		if o.Kind == step.Notify {
			continue
		}
		var before *host.File
		for _, u := range c.Undo {
			if u.Path == o.Path && u.Kind == step.Write {
				before = u.File
			}
		}
		switch rec := l.file(o.Path); {
		case rec != nil && (rec.Rules || !same(before, rec.Wrote)),
			rec == nil && (planned || before != nil || o.Kind != step.Write):
			return false
		}
		some = true
	}
	return some
}

// Without is the ledger l, which came after before, where the files at the
// paths were not written after all: what was to go with them is still to go.
func (l Ledger) Without(before Ledger, paths []string) Ledger {
	l.For = slices.Concat(before.For, l.For)
	slices.Sort(l.For)
	l.For = slices.Compact(l.For)
	left := func(f File) bool { return slices.Contains(paths, f.Path) }
	l.Files = slices.DeleteFunc(slices.Clone(l.Files), left)
	for _, f := range before.Files {
		if left(f) {
			l.Files = append(l.Files, f)
		}
	}
	return l
}

// live records a change of a live step.
func (n *Ledger) live(c Change) {
	if len(c.Undo) == 0 || slices.ContainsFunc(c.Do, func(o step.Op) bool { return o.Kind == step.IPVS }) {
		return // nothing is taken back, or it is in the table
	}
	i := slices.IndexFunc(n.Live, func(s Step) bool { return s.ID == c.Step })
	rec := Record{Was: c.Was, Want: c.Want, Do: c.Do, Undo: c.Undo, Effects: c.Effects}
	if i < 0 {
		n.Live = append(n.Live, Step{ID: c.Step, Records: []Record{rec}})
		return
	}
	records := n.Live[i].Records
	if records[len(records)-1].Want == c.Want {
		return // mended
	}
	if k := slices.IndexFunc(records, func(r Record) bool { return r.Was == c.Want }); k >= 0 {
		records = records[:k] // as it was before that record
	} else {
		records = append(slices.Clip(records), rec)
	}
	if len(records) == 0 {
		n.Live = slices.Delete(n.Live, i, i+1)
		return
	}
	n.Live[i].Records = records
}

// table records the services of the IPVS table that the change is about.
func (n *Ledger) table(c Change) {
	if !slices.ContainsFunc(c.Do, func(o step.Op) bool { return o.Kind == step.IPVS }) {
		return
	}
	find := func(list []ipvs.Service, k ipvs.Key) *ipvs.Service {
		if i := slices.IndexFunc(list, func(s ipvs.Service) bool { return s.Key == k }); i >= 0 {
			return &list[i]
		}
		return nil
	}
	now := slices.Clone(c.Before)
	for _, o := range c.Do {
		now = ipvs.After(now, o.Edits)
	}
	seen := map[ipvs.Key]bool{}
	for _, o := range c.Do {
		for _, e := range o.Edits {
			k := e.Service.Key
			if seen[k] {
				continue
			}
			seen[k] = true
			i := slices.IndexFunc(n.IPVS, func(s Service) bool { return s.Key == k })
			var orig *ipvs.Service
			if i >= 0 {
				orig = n.IPVS[i].Orig
			} else {
				orig = find(c.Before, k)
			}
			after := find(now, k)
			back := after == nil && orig == nil || after != nil && orig != nil &&
				ipvs.Format([]ipvs.Service{*after}) == ipvs.Format([]ipvs.Service{*orig})
			switch {
			case back && i >= 0:
				n.IPVS = slices.Delete(n.IPVS, i, i+1)
			case !back && i < 0:
				n.IPVS = append(n.IPVS, Service{Key: k, Orig: orig})
			}
		}
	}
	slices.SortFunc(n.IPVS, func(a, b Service) int { return a.Key.Compare(b.Key) })
}

// boot records the files of a boot step. l is the ledger before.
func (n *Ledger) boot(sys System, l Ledger, c Change, none bool) {
	var notify [][]string
	for _, o := range c.Do {
		if o.Kind == step.Notify {
			notify = append(notify, o.Argv)
		}
	}
	for _, o := range c.Do {
		if o.Kind == step.Notify {
			continue
		}
		var before *host.File
		for _, u := range c.Undo {
			if u.Path == o.Path && u.Kind == step.Write {
				before = u.File
			}
		}
		f := File{Path: o.Path, Step: c.Step, Orig: nodeOf(before), Rules: c.Rules, Notify: notify, None: none}
		i := slices.IndexFunc(n.Files, func(f File) bool { return f.Path == o.Path })
		if i >= 0 {
			f.rest = n.Files[i].rest
			f.Orig, f.Rules, f.None = nodeOf(l.orig(n.Files[i], before, sys)), f.Rules || n.Files[i].Rules, none || n.Files[i].None
		}
		if o.Kind == step.Write {
			f.Wrote = nodeOf(o.File)
		}
		if same(f.Orig.file(), f.Wrote) {
			n.Files = slices.DeleteFunc(n.Files, func(f File) bool { return f.Path == o.Path })
			continue
		}
		if f.Rules && f.Wrote != nil {
			f.Wrote.Sum, f.Wrote.Data = step.SumOf(*o.File), nil
		}
		if i >= 0 {
			n.Files[i] = f
		} else {
			n.Files = append(n.Files, f)
		}
	}
}

// within says whether a path is below a folder.
func within(dir, p string) bool {
	for p = path.Dir(p); ; p = path.Dir(p) {
		if p == dir {
			return true
		}
		if p == "/" || p == "." {
			return false
		}
	}
}

func (n *Node) folder() bool  { return n != nil && n.Mode.IsDir() }
func (n *Node) symlink() bool { return n != nil && n.Mode&fs.ModeSymlink != 0 }
