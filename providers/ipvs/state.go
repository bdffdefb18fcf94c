package ipvs

import "slices"

// A state is a table that edits can be tried on. It copies a service of the
// table beneath only when an edit concerns it.
type state struct {
	index map[Key]int // into below
	below []Service
	own   map[Key]*entry // nil: deleted
}

type entry struct {
	head  Service // without real servers
	dests map[DestKey]Destination
	named *Service // see name
}

// name is the service of edits that only name it: one for all of them.
func (e *entry) name(k Key) *Service {
	if e == nil {
		return &Service{Key: k}
	}
	if e.named == nil {
		e.named = &Service{Key: k}
	}
	return e.named
}

func newState(services []Service) *state {
	st := &state{index: make(map[Key]int, len(services)), below: services, own: map[Key]*entry{}}
	for i, s := range services {
		st.index[s.Key] = i
	}
	return st
}

// get gives the service with the key; nil if there is none.
func (st *state) get(k Key) *entry {
	if e, ok := st.own[k]; ok {
		return e
	}
	i, ok := st.index[k]
	if !ok {
		return nil
	}
	s := st.below[i]
	e := &entry{head: header(s), dests: make(map[DestKey]Destination, len(s.Dests))}
	for _, d := range s.Dests {
		e.dests[d.DestKey] = d
	}
	st.own[k] = e
	return e
}

// do makes the edit, whatever was there.
func (st *state) do(e Edit) {
	now := st.get(e.Service.Key)
	switch e.Verb {
	case AddService, EditService:
		if now == nil {
			now = &entry{dests: map[DestKey]Destination{}}
			st.own[e.Service.Key] = now
		}
		now.head = header(*e.Service)
	case DeleteService:
		st.own[e.Service.Key] = nil
	case AddDest, EditDest:
		if now == nil {
			return
		}
		d := e.Dest
		if old, there := now.dests[d.DestKey]; there {
			if e.AnyWeight {
				d.Weight = old.Weight
			}
			d.Active, d.Inactive, d.Persistent, d.Counts = old.Active, old.Inactive, old.Persistent, old.Counts
		}
		now.dests[d.DestKey] = d
	case DeleteDest:
		if now != nil {
			delete(now.dests, e.Dest.DestKey)
		}
	}
}

// services gives the table as it is now, sorted.
func (st *state) services() []Service {
	out := make([]Service, 0, len(st.below))
	for _, s := range st.below {
		if _, changed := st.own[s.Key]; !changed {
			out = append(out, s)
		}
	}
	for _, e := range st.own {
		if e != nil {
			out = append(out, e.service())
		}
	}
	return Sorted(out)
}

func (e *entry) service() Service {
	s := e.head
	for _, d := range e.dests {
		s.Dests = append(s.Dests, d)
	}
	s.Dests = sortedDests(s.Dests)
	return s
}

// sorted gives the real servers in order.
func (e *entry) sorted() []Destination { return e.service().Dests }

// After gives the table that the edits make of have, sorted.
func After(have []Service, edits []Edit) []Service {
	st := newState(have)
	for _, e := range edits {
		st.do(e)
	}
	return st.services()
}

// Inverse gives the edits that put have back exactly as it was after edits
// were made, in the order to make them. Each carries what the entry must be
// for that (WasService, WasDest), so that Make passes over what is so already
// and never undoes what somebody else has done since.
func Inverse(have []Service, edits []Edit) []Edit {
	st := newState(have)
	undo := make([]Edit, 0, len(edits)) // turned round
	for _, e := range edits {
		undo = st.inverse(undo, e)
		st.do(e)
	}
	slices.Reverse(undo)
	return undo
}

// inverse appends what would undo e, made on the present state, the last edit
// first.
func (st *state) inverse(undo []Edit, e Edit) []Edit {
	now := st.get(e.Service.Key)
	key := now.name(e.Service.Key)
	var old Destination
	there := false
	if now != nil {
		old, there = now.dests[e.Dest.DestKey]
		old = old.rule()
	}
	switch e.Verb {
	case AddService, EditService:
		left := header(*e.Service)
		if now == nil {
			return append(undo, Edit{Verb: DeleteService, Service: &left, WasService: &left})
		}
		was := now.head
		return append(undo, Edit{Verb: EditService, Service: &was, WasService: &left})
	case DeleteService:
		if now == nil {
			return undo
		}
		dests := now.sorted()
		for i := len(dests) - 1; i >= 0; i-- {
			undo = append(undo, Edit{Verb: AddDest, Service: key, Dest: dests[i].rule()})
		}
		was := now.head
		return append(undo, Edit{Verb: AddService, Service: &was})
	case AddDest, EditDest:
		left := e.Dest
		if !there {
			return append(undo, Edit{Verb: DeleteDest, Service: key, Dest: left, WasDest: &left, AnyWeight: e.AnyWeight})
		}
		return append(undo, Edit{Verb: EditDest, Service: key, Dest: old, WasDest: &left, AnyWeight: e.AnyWeight})
	case DeleteDest:
		if there {
			undo = append(undo, Edit{Verb: AddDest, Service: key, Dest: old, AnyWeight: e.AnyWeight})
		}
	}
	return undo
}
