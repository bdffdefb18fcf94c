package ipvs

import "slices"

// A Want is a service as it must be.
type Want struct {
	Service // with the real servers that must be there, and no others
	// Hold names real servers that are left as they are found, present or
	// absent. They do not stand in Dests.
	Hold []DestKey
	// AnyWeight: the weights belong to somebody else. One is given to a real
	// server that is added, and never changed after.
	AnyWeight bool
	// AnyMembers: somebody else, a health checker, decides which real servers are
	// there. They are added once, with the service; later none is added and none
	// is deleted.
	AnyMembers bool
	// Join names real servers that are added even so.
	Join []DestKey
	// Gone: the service must not be there.
	Gone bool
}

// Diff gives the least edits that turn have into want, and the services of
// have that want does not name, which the edits leave alone. A service's edit
// does not touch its real servers, a real server's change is one edit, nothing
// is deleted to be added again, and nothing is ever flushed: a connection that
// is not concerned never notices.
//
// The order is that of the keys. Within a service real servers are added
// first, changed next, set to weight 0 after that, and deleted last, so that
// it is never without those that it keeps or gets. Services are deleted last
// of all.
func Diff(have []Service, want []Want) (edits []Edit, foreign []Service) {
	at := make(map[shortKey]int, len(have))
	for i := range have {
		at[have[i].Key.short()] = i
	}
	named := make([]bool, len(have))
	var gone []change
	var d differ
	var last *Want
	for _, n := range ordered(want) {
		w := &want[n]
		if last != nil && last.Key == w.Key {
			continue // said twice: the first counts
		}
		last = w
		i, there := at[w.Key.short()]
		if there {
			named[i] = true
		}
		switch {
		case w.Gone && there:
			gone = append(gone, change{DeleteService, &have[i], w, nil})
		case w.Gone:
		case there:
			d.change(&have[i], w)
		default:
			d.add(w)
		}
	}
	for i := range have {
		if !named[i] {
			foreign = append(foreign, have[i])
		}
	}
	slices.SortFunc(foreign, func(a, b Service) int { return a.Key.Compare(b.Key) })
	d.all.add(gone...)
	return d.all.edits(), foreign
}

// ordered gives the places in want in the order of the keys.
func ordered(want []Want) []int {
	order := make([]int, len(want))
	for i := range order {
		order[i] = i
	}
	by := func(a, b int) int { return want[a].Key.Compare(want[b].Key) }
	if !slices.IsSortedFunc(order, by) {
		slices.SortStableFunc(order, by)
	}
	return order
}

// header is the service without its real servers.
func header(s Service) Service {
	s.Dests = nil
	return s
}

// A change is an edit in few words: those of a table may be many, and Edit is
// large. One of a service says what it is to be (or, with DeleteService, is),
// one of a real server what that is to be (or is).
type change struct {
	verb    Verb
	service *Service
	want    *Want
	dest    *Destination
}

// edits makes edits of the changes. Those of a service's real servers share
// what names it.
func (p *pieces) edits() []Edit {
	if p.n == 0 {
		return nil
	}
	edits := make([]Edit, 0, p.n)
	var named *Service
	var of *Want
	for _, list := range append(p.full, p.last) {
		for i := range list {
			c := &list[i]
			edits = append(edits, Edit{Verb: c.verb})
			e := &edits[len(edits)-1]
			switch {
			case c.verb == DeleteService:
				s := header(*c.service)
				e.Service = &s
			case c.dest == nil:
				s := header(*c.service).Normal()
				e.Service = &s
			default:
				if of != c.want {
					named, of = &Service{Key: c.want.Key}, c.want
				}
				e.Service, e.Dest, e.AnyWeight = named, c.dest.Normal(), c.want.AnyWeight
			}
		}
	}
	return edits
}

// A differ collects changes; its lists are used again for each service.
type differ struct {
	all                 pieces
	edit, quiet, remove []change
}

// A pieces is a list of changes that grows without being copied: the memory of
// a large one is dear, being new.
type pieces struct {
	full [][]change
	last []change
	n    int
}

func (p *pieces) add(list ...change) {
	for _, c := range list {
		if len(p.last) == cap(p.last) {
			p.full = append(p.full, p.last)
			p.last = make([]change, 0, min(max(16, 2*cap(p.last)), 2048))
		}
		p.last = append(p.last, c)
	}
	p.n += len(list)
}

func (d *differ) add(w *Want) {
	d.all.add(change{AddService, &w.Service, w, nil})
	dests := sortedDests(w.Dests)
	for i := range dests {
		d.all.add(change{AddDest, nil, w, &dests[i]})
	}
}

// sameDests says whether the real servers are surely the same, one by one.
func sameDests(have []Destination, w *Want) bool {
	if len(have) != len(w.Dests) || len(w.Hold) > 0 {
		return false
	}
	for i := range have {
		if !sameDest(&have[i], &w.Dests[i], w.AnyWeight) {
			return false
		}
	}
	return true
}

// change walks through what is there and what is wanted side by side, both in
// order.
func (d *differ) change(have *Service, w *Want) {
	if !sameService(have, &w.Service) {
		d.all.add(change{EditService, &w.Service, w, nil})
	}
	if sameDests(have.Dests, w) {
		return
	}
	d.edit, d.quiet, d.remove = d.edit[:0], d.quiet[:0], d.remove[:0]
	now, wanted, hold := sortedDests(have.Dests), sortedDests(w.Dests), w.Hold
	if len(hold) > 1 {
		hold = slices.SortedFunc(slices.Values(hold), DestKey.Compare)
	}
	held := func(k DestKey) bool {
		_, found := slices.BinarySearchFunc(hold, k, DestKey.Compare)
		return found
	}
	for i, j := 0, 0; i < len(now) || j < len(wanted); {
		order := 0
		switch {
		case i == len(now):
			order = 1
		case j == len(wanted):
			order = -1
		default:
			order = now[i].DestKey.Compare(wanted[j].DestKey)
		}
		switch {
		case order < 0:
			if !w.AnyMembers && !held(now[i].DestKey) {
				d.remove = append(d.remove, change{DeleteDest, nil, w, &now[i]})
			}
			i++
			continue
		case held(wanted[j].DestKey):
		case order > 0 && w.AnyMembers && !slices.Contains(w.Join, wanted[j].DestKey):
		case order > 0:
			d.all.add(change{AddDest, nil, w, &wanted[j]})
		case !sameDest(&now[i], &wanted[j], w.AnyWeight):
			d.changeDest(&now[i], &wanted[j], w)
		}
		if order == 0 {
			i++
		}
		for j++; j < len(wanted) && wanted[j].DestKey == wanted[j-1].DestKey; j++ {
			// said twice: the first counts
		}
	}
	d.all.add(d.edit...)
	d.all.add(d.quiet...)
	d.all.add(d.remove...)
}

func (d *differ) changeDest(now, dest *Destination, w *Want) {
	if w.AnyWeight && dest.Weight != now.Weight {
		kept := *dest
		kept.Weight = now.Weight
		dest = &kept
	}
	if dest.Weight == 0 && now.Weight != 0 {
		d.quiet = append(d.quiet, change{EditDest, nil, w, dest})
	} else {
		d.edit = append(d.edit, change{EditDest, nil, w, dest})
	}
}
