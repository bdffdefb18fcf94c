package ipvs

import (
	"context"
	"errors"
	"fmt"
)

// ErrChanged is an entry that is neither what was seen there nor what is
// wanted: somebody has been at it meanwhile.
var ErrChanged = errors.New("changed by somebody else meanwhile")

// Make makes the edits on the table as it is now. An edit whose end is there
// already is passed over, so edits can be made twice, and undone where they
// never were made. One whose entry somebody else has changed is not made, nor
// what follows on that service: the error, beside those of the table, is an
// *EditError for each that wraps ErrChanged. The others are made all the same.
func Make(ctx context.Context, t Table, edits []Edit) error {
	if len(edits) == 0 {
		return nil
	}
	have, err := t.Dump(ctx)
	if err != nil {
		return fmt.Errorf("read the table: %w", err)
	}
	todo, from, errs := settle(have, edits)
	if err := t.Apply(ctx, todo); err != nil {
		var failed *EditError
		if errors.As(err, &failed) && failed.Index < len(from) {
			failed.Index = from[failed.Index]
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Left gives what Make would still make of the edits on have, and an
// *EditError for each that it would not, as somebody else has changed its
// entry. Several edits of one entry are one, which says what the entry must be
// for it (WasService, WasDest).
func Left(have []Service, edits []Edit) (todo []Edit, errs []error) {
	todo, _, errs = settle(have, fold(edits))
	if len(todo) == 0 {
		return nil, errs
	}
	before := newState(have)
	anyWeight := map[place]bool{}
	concerned := map[Key]bool{}
	for _, e := range todo {
		concerned[e.Service.Key] = true
		if e.AnyWeight {
			anyWeight[place{e.Service.Key, e.Dest.DestKey}] = true
		}
	}
	var want []Want
	for _, s := range After(have, todo) {
		if concerned[s.Key] {
			want = append(want, Want{Service: s})
			delete(concerned, s.Key)
		}
	}
	for k := range concerned {
		want = append(want, Want{Service: Service{Key: k}, Gone: true})
	}
	net, _ := Diff(have, want)
	todo = make([]Edit, 0, len(net))
	for _, e := range net {
		now := before.get(e.Service.Key)
		if now == nil {
			todo = append(todo, e)
			continue
		}
		switch e.Verb {
		case EditService:
			e.WasService = &now.head
		case DeleteService:
			e.WasService = &now.head
			for _, d := range now.sorted() {
				d = d.Normal()
				todo = append(todo, Edit{Verb: DeleteDest, Service: &Service{Key: e.Service.Key}, Dest: d, WasDest: &d})
			}
		case EditDest, DeleteDest:
			was := now.dests[e.Dest.DestKey].Normal()
			e.WasDest = &was
			e.AnyWeight = anyWeight[place{e.Service.Key, e.Dest.DestKey}]
		case AddService, AddDest:
		}
		todo = append(todo, e)
	}
	return todo, errs
}

// A place is an entry's in the table.
type place struct {
	service Key
	server  DestKey
}

// fold makes one edit of two that follow each other on an entry: added with
// weight 0 and then given weight 5 is added with weight 5.
func fold(edits []Edit) []Edit {
	last := map[place]int{}
	var out []Edit
	for _, e := range edits {
		at := place{e.Service.Key, e.Dest.DestKey}
		i, there := last[at]
		if there && e.Verb == EditDest && e.WasDest != nil &&
			(out[i].Verb == AddDest || out[i].Verb == EditDest) && sameDest(&out[i].Dest, e.WasDest, e.AnyWeight) {
			out[i].Dest, out[i].AnyWeight = e.Dest, out[i].AnyWeight || e.AnyWeight
			continue
		}
		last[at] = len(out)
		out = append(out, e)
	}
	return out
}

// settle sorts out which edits are still to be made on have. from gives the
// place of each in edits.
func settle(have []Service, edits []Edit) (todo []Edit, from []int, errs []error) {
	st := newState(have)
	spoilt := map[Key]bool{}
	for i, e := range edits {
		key := e.Service.Key
		if spoilt[key] {
			continue
		}
		needed, err := st.needs(e)
		if err != nil {
			spoilt[key] = e.Verb == AddService || e.Verb == EditService || e.Verb == DeleteService || st.get(key) == nil
			errs = append(errs, &EditError{Index: i, Edit: e, Err: err})
			continue
		}
		if !needed {
			continue
		}
		if e.AnyWeight && e.Verb == EditDest {
			e.Dest.Weight = st.get(key).dests[e.Dest.DestKey].Weight
		}
		st.do(e)
		todo, from = append(todo, e), append(from, i)
	}
	return todo, from, errs
}

// needs says whether e is still to be made.
func (st *state) needs(e Edit) (bool, error) {
	now := st.get(e.Service.Key)
	if now == nil {
		switch e.Verb {
		case AddService:
			return true, nil
		case DeleteService, DeleteDest:
			return false, nil
		}
		return false, fmt.Errorf("there is no such service: %w", ErrChanged)
	}
	dest, there := now.dests[e.Dest.DestKey]
	switch e.Verb {
	case AddService:
		if !sameService(&now.head, e.Service) {
			return false, fmt.Errorf("it is there, but different: %w", ErrChanged)
		}
		return false, nil
	case EditService:
		if sameService(&now.head, e.Service) {
			return false, nil
		}
		if e.WasService != nil && !sameService(&now.head, e.WasService) {
			return false, ErrChanged
		}
		return true, nil
	case DeleteService:
		if e.WasService == nil {
			return true, nil
		}
		if !sameService(&now.head, e.WasService) {
			return false, ErrChanged
		}
		if len(now.dests) > 0 {
			return false, fmt.Errorf("it has other real servers: %w", ErrChanged)
		}
		return true, nil
	case AddDest:
		if !there {
			return true, nil
		}
		if !sameDest(&dest, &e.Dest, e.AnyWeight) {
			return false, fmt.Errorf("it is there, but different: %w", ErrChanged)
		}
		return false, nil
	case EditDest:
		switch {
		case !there:
			return false, fmt.Errorf("there is no such real server: %w", ErrChanged)
		case sameDest(&dest, &e.Dest, e.AnyWeight):
			return false, nil
		case e.WasDest != nil && !sameDest(&dest, e.WasDest, e.AnyWeight):
			return false, ErrChanged
		}
		return true, nil
	case DeleteDest:
		if there && e.WasDest != nil && !sameDest(&dest, e.WasDest, e.AnyWeight) {
			return false, ErrChanged
		}
		return there, nil
	}
	return false, errors.New(e.Verb.String())
}
