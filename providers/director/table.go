package director

import (
	"context"
	"fmt"
	"strings"

	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// table is the step of the live IPVS table: one dump, one operation.
type table struct{ want []ipvs.Want }

// TableStep is the ID of the step of the live table.
const TableStep = "ipvs"

// ID is TableStep.
func (t table) ID() string { return TableStep }

// Check reads the table and compares it in memory.
func (t table) Check(ctx context.Context, h host.Host) (step.Change, error) {
	k, err := ipvs.Open(h)
	if err != nil {
		return step.Change{}, fmt.Errorf("open the IPVS table: %w", err)
	}
	have, err := k.Dump(ctx)
	if err != nil {
		return step.Change{}, fmt.Errorf("read the IPVS table: %w", err)
	}
	edits, foreign := ipvs.Diff(have, t.want)
	c := step.Change{Notes: foreignNotes("the IPVS table", foreign)}
	if len(edits) == 0 {
		return c, nil
	}
	c.Diff = tableDiff(have, edits)
	c.Do = []step.Op{{Kind: step.IPVS, Edits: edits}}
	c.Undo = []step.Op{{Kind: step.IPVS, Edits: ipvs.Inverse(have, edits)}}
	return c, nil
}

// tableDiff shows the services that the edits concern, as `ipvsadm -Sn` would
// before and after.
func tableDiff(have []ipvs.Service, edits []ipvs.Edit) string {
	concerned := map[ipvs.Key]bool{}
	var order []ipvs.Key
	for _, e := range edits {
		if !concerned[e.Service.Key] {
			concerned[e.Service.Key] = true
			order = append(order, e.Service.Key)
		}
	}
	text := func(services []ipvs.Service) map[ipvs.Key][]byte {
		m := make(map[ipvs.Key][]byte, len(order))
		for _, s := range services {
			if concerned[s.Key] {
				m[s.Key] = []byte(ipvs.Format([]ipvs.Service{s}))
			}
		}
		return m
	}
	before, after := text(have), text(ipvs.After(have, edits))
	var b strings.Builder
	for _, k := range order {
		b.WriteString(step.Diff("ipvs "+k.String(), before[k], after[k]))
	}
	return b.String()
}

// maxForeign is how many services of others are named one by one.
const maxForeign = 10

// foreignNotes are a sentence for each service that is nobody's here.
func foreignNotes(where string, foreign []ipvs.Service) []string {
	var notes []string
	for i, s := range foreign {
		if i == maxForeign {
			notes = append(notes, fmt.Sprintf("%s has %d more services that the inventory does not name: left as they are", where, len(foreign)-i))
			break
		}
		servers := fmt.Sprintf("%d real servers", len(s.Dests))
		if len(s.Dests) == 1 {
			servers = "1 real server"
		}
		notes = append(notes, fmt.Sprintf("%s has %s with %s, which the inventory does not name: left as it is", where, s.Key, servers))
	}
	return notes
}
