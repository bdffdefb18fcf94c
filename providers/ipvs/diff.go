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
	at := make(map[Key]int, len(have))
	for i, s := range have {
		at[s.Key] = i
	}
	want = slices.Clone(want)
	slices.SortStableFunc(want, func(a, b Want) int { return a.Key.Compare(b.Key) })
	named := make(map[Key]bool, len(want))
	var gone []Edit
	d := differ{present: map[DestKey]Destination{}, wanted: map[DestKey]bool{}}
	for _, w := range want {
		if named[w.Key] {
			continue // said twice: the first counts
		}
		named[w.Key] = true
		i, there := at[w.Key]
		switch {
		case w.Gone && there:
			gone = append(gone, Edit{Verb: DeleteService, Service: header(have[i])})
		case w.Gone:
		case there:
			d.change(have[i], w)
		default:
			d.add(w)
		}
	}
	for _, s := range have {
		if !named[s.Key] {
			foreign = append(foreign, s)
		}
	}
	slices.SortFunc(foreign, func(a, b Service) int { return a.Key.Compare(b.Key) })
	return append(d.edits, gone...), foreign
}

// header is the service without its real servers.
func header(s Service) Service {
	s.Dests = nil
	return s
}

// A differ collects edits; its maps are used again for each service.
type differ struct {
	edits   []Edit
	present map[DestKey]Destination
	wanted  map[DestKey]bool
}

func (d *differ) add(w Want) {
	d.edits = append(d.edits, Edit{Verb: AddService, Service: header(w.Service).Normal()})
	for _, dest := range sortedDests(w.Dests) {
		d.edits = append(d.edits, destEdit(AddDest, w, dest.Normal()))
	}
}

func (d *differ) change(have Service, w Want) {
	if !sameService(have, w.Service) {
		d.edits = append(d.edits, Edit{Verb: EditService, Service: header(w.Service).Normal()})
	}
	clear(d.present)
	clear(d.wanted)
	for _, dest := range have.Dests {
		d.present[dest.DestKey] = dest
	}
	for _, k := range w.Hold {
		d.wanted[k] = true
	}
	var edit, quiet, remove []Edit
	for _, dest := range sortedDests(w.Dests) {
		if d.wanted[dest.DestKey] {
			continue // held, or said twice
		}
		d.wanted[dest.DestKey] = true
		now, there := d.present[dest.DestKey]
		dest = dest.Normal()
		switch {
		case !there:
			d.edits = append(d.edits, destEdit(AddDest, w, dest))
		case sameDest(now, dest, w.AnyWeight):
		default:
			if w.AnyWeight {
				dest.Weight = now.Weight
			}
			if dest.Weight == 0 && now.Weight != 0 {
				quiet = append(quiet, destEdit(EditDest, w, dest))
			} else {
				edit = append(edit, destEdit(EditDest, w, dest))
			}
		}
	}
	for _, dest := range have.Dests {
		if !d.wanted[dest.DestKey] {
			remove = append(remove, destEdit(DeleteDest, w, dest.Normal()))
		}
	}
	slices.SortFunc(remove, func(a, b Edit) int { return a.Dest.DestKey.Compare(b.Dest.DestKey) })
	d.edits = append(d.edits, edit...)
	d.edits = append(d.edits, quiet...)
	d.edits = append(d.edits, remove...)
}

func destEdit(v Verb, w Want, dest Destination) Edit {
	return Edit{Verb: v, Service: Service{Key: w.Key}, Dest: dest, AnyWeight: w.AnyWeight}
}
