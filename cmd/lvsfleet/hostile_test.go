package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/drift"
	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/fleet"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/note"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// Whatever a host says, its lines are indented beneath its name: none of them
// looks like lvsfleet's own, of another host.
func TestAHostCannotForgeTheLinesOfAnother(t *testing.T) {
	const forged = "x\nrs2 (linux 6.1)\n  live sysctl:forged\r\x1b[2J\u202eabc\u2028rs3\u0085rs4\u200b"
	report := agent.Report{
		Identity: host.Identity{OS: forged, Release: forged}, UnderWay: forged, Unsettled: forged,
		Notes: []note.Note{note.New(note.Settled, forged), {Code: note.Code(forged)}}, Transient: []string{forged},
		Items: []agent.Item{{Step: forged, Layer: agent.Layer(forged), Change: step.Change{
			Diff: forged, Notes: []note.Note{note.New(note.LinesEdited, forged)}, Do: []step.Op{{Kind: step.Run, Argv: []string{"echo", forged}}},
		}}},
	}
	var out bytes.Buffer
	g := &globals{streams: streams{out: &out, err: &out}}
	p := newPrinter(g, true)
	p.finding(&out, fleet.Finding{Host: "rs1", Report: report, Err: errors.New(forged), Outages: []string{forged}})
	p.drift(&out, drift.Drift{Class: drift.ClassForeign, Diff: forged, Step: forged, First: time.Now()}, time.Now())
	p.drift(&out, drift.Drift{Class: "unwanted", Diff: forged, Step: forged, First: time.Now()}, time.Now())
	printOutcome(g, fleet.Outcome{Results: []fleet.Result{{Host: "rs1", Status: fleet.Failed, Report: report, Err: errors.New(forged)}}}, nil)
	exitStatus(errors.New(forged), &out)
	g.warnOnce()("rs1", forged)
	pr := newProgress(g, 1)
	for _, e := range []fleet.Event{{Host: "rs1", Phase: "do", Step: forged}, {Host: "rs1", Phase: "do", Step: forged, Error: forged}, {Host: "rs1", Phase: fleet.PhaseDone, Error: forged}} {
		pr.observe(e)
	}
	text := out.String()
	if n := strings.Count(text, "forged"); n < 15 {
		t.Errorf("only %d texts are shown", n)
	}
	for line := range strings.Lines(text) {
		switch {
		case strings.HasPrefix(line, "rs1"), strings.HasPrefix(line, " "), line == "\n", strings.HasPrefix(line, "lvsfleet: x"), line == "1 host: 1 failed\n":
		default:
			t.Errorf("a line of its own: %q", line)
		}
	}
	if i := strings.IndexAny(text, "\r\x1b\u202e\u2028\u0085\u200b"); i >= 0 {
		t.Errorf("%q is shown as it is", text[i:min(i+8, len(text))])
	}
}
