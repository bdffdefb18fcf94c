package director

import (
	"context"
	"fmt"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// Withdraw plans the stage Withdraw: the entries named are touched and nothing
// else. A weight that is lent is 0 in the live table alone: the rules file
// keeps it, so that a reboot gives it back too. An entry that goes, goes from
// both.
func Withdraw(list []inventory.Withdrawal, f Facts, boot bool) step.Plan {
	var p step.Plan
	p.Live = append(p.Live, withdrawal{list})
	for _, w := range list {
		if w.Gone && boot {
			p.Boot = append(p.Boot, dropped{f.Rules, list})
			break
		}
	}
	return p
}

// KeyOf is the service of a withdrawal in the kernel's terms.
func KeyOf(w inventory.Withdrawal) ipvs.Key {
	if w.FWMark != 0 {
		return ipvs.Key{Mark: w.FWMark, V6: w.IPv6}
	}
	return ipvs.Key{Protocol: w.Protocol, Addr: w.Addr, Port: uint16(w.Port)}
}

// edits are those that make the withdrawals so on the table. Entries that are
// not there are passed over; so is a weight that is 0 already, whoever made it
// so: it is not ours to give back.
func edits(have []ipvs.Service, list []inventory.Withdrawal) []ipvs.Edit {
	at := make(map[ipvs.Key]map[ipvs.DestKey]ipvs.Destination, len(have))
	for _, s := range have {
		at[s.Key] = make(map[ipvs.DestKey]ipvs.Destination, len(s.Dests))
		for _, d := range s.Dests {
			at[s.Key][d.DestKey] = d.Normal()
		}
	}
	var out []ipvs.Edit
	for _, w := range list {
		key := KeyOf(w)
		d, there := at[key][ipvs.DestKey{Addr: w.Server, Port: uint16(w.ServerPort)}]
		e := ipvs.Edit{Verb: ipvs.EditDest, Service: &ipvs.Service{Key: key}, Dest: d}
		switch {
		case !there:
			continue
		case w.Gone:
			e.Verb = ipvs.DeleteDest
		case d.Weight == 0:
			continue
		default:
			e.Dest.Weight = 0
		}
		out = append(out, e)
	}
	return out
}

// withdrawal is the live step.
type withdrawal struct{ list []inventory.Withdrawal }

// ID is that of the table.
func (w withdrawal) ID() string { return table{}.ID() }

// Check reads the table. The undo gives back the very weights and entries that
// were found, where nobody has changed them since.
func (w withdrawal) Check(ctx context.Context, h host.Host) (step.Change, error) {
	k, err := ipvs.Open(h)
	if err != nil {
		return step.Change{}, fmt.Errorf("open the IPVS table: %w", err)
	}
	have, err := k.Dump(ctx)
	if err != nil {
		return step.Change{}, fmt.Errorf("read the IPVS table: %w", err)
	}
	return step.TableChange(have, edits(have, w.list)), nil
}

// dropped is the step of the rules file without the entries that go.
type dropped struct {
	path string
	list []inventory.Withdrawal
}

// ID is that of the file.
func (d dropped) ID() string { return rules{path: d.path}.ID() }

// File is the path.
func (d dropped) File() string { return d.path }

// Check compares the file.
func (d dropped) Check(ctx context.Context, h host.Host) (step.Change, error) {
	file := step.FileStep{Path: d.path, Mode: 0o600, Rules: true, Edits: []step.Edit{func(old []byte) ([]byte, error) {
		return DropRules(old, d.list), nil
	}}}
	return file.Check(ctx, h)
}

// DropRules gives a rules file without the entries that go.
func DropRules(old []byte, list []inventory.Withdrawal) []byte {
	gone := map[ipvs.Key]map[ipvs.DestKey]bool{}
	for _, w := range list {
		if !w.Gone {
			continue
		}
		key := KeyOf(w)
		if gone[key] == nil {
			gone[key] = map[ipvs.DestKey]bool{}
		}
		gone[key][ipvs.DestKey{Addr: w.Server, Port: uint16(w.ServerPort)}] = true
	}
	var want []ipvs.Want
	for _, s := range loaded(readRules(old)) {
		if gone[s.Key] == nil {
			continue
		}
		keep := ipvs.Want{Service: s}
		keep.Dests = nil
		for _, d := range s.Dests {
			if !gone[s.Key][d.DestKey] {
				keep.Dests = append(keep.Dests, d)
			}
		}
		want = append(want, keep)
	}
	return editRules(old, want)
}
