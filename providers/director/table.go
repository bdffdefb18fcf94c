package director

import (
	"context"
	"fmt"

	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
	"github.com/lvsfleet/lvsfleet/providers/note"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// table is the step of the live IPVS table: one dump, one operation.
type table struct {
	want []ipvs.Want
	part bool // of what is wanted: of others' services nothing can be said
}

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
	c := step.TableChange(have, edits)
	if !t.part {
		c.Notes = foreignNotes("the IPVS table", foreign)
	}
	return c, nil
}

// maxForeign is how many services of others are named one by one.
const maxForeign = 10

// foreignNotes tell of each service that is nobody's here.
func foreignNotes(where string, foreign []ipvs.Service) []note.Note {
	var notes []note.Note
	for i, s := range foreign {
		if i == maxForeign {
			notes = append(notes, note.New(note.ForeignServices, where, len(foreign)-i))
			break
		}
		servers := fmt.Sprintf("%d real servers", len(s.Dests))
		if len(s.Dests) == 1 {
			servers = "1 real server"
		}
		notes = append(notes, note.New(note.ForeignService, where, s.Key, servers))
	}
	return notes
}
