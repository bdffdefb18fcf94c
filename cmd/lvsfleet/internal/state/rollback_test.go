package state

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestWhatIsToBeTakenBack(t *testing.T) {
	on := func(names ...string) (hosts []HostRun) {
		for _, n := range names {
			name, left := strings.CutPrefix(n, "-")
			hosts = append(hosts, HostRun{Host: name, Committed: !left})
		}
		return hosts
	}
	run := func(id string, hosts ...string) Run {
		return Run{ID: id, Verb: "converge", Result: Done, Hosts: on(hosts...)}
	}
	back := func(id, of, result string) Run {
		return Run{ID: id, Verb: Rollback, Of: of, Result: result, Hosts: on("rs1")}
	}
	for _, tt := range []struct {
		name string
		runs []Run // the oldest first
		id   string
		want string // an ID, or a part of the error
	}{
		{"nothing yet", nil, "", "no run to take back"},
		{"the last", []Run{run("a", "rs1"), run("b", "rs1")}, "", "b"},
		{"one that left nothing is none", []Run{run("a", "rs1"), run("b", "-rs1")}, "", "a"},
		{"nor is one that was taken back", []Run{run("a", "rs1"), run("b", "rs1"), back("c", "b", Done)}, "", "a"},
		{"one taken back in part still is", []Run{run("a", "rs1"), run("b", "rs1"), back("c", "b", "failed in part")}, "", "b"},
		{"all were taken back", []Run{run("a", "rs1"), back("b", "a", Done)}, "", "no run to take back"},
		{"by name", []Run{run("a", "rs1"), run("b", "rs2")}, "a", "a"},
		{"by name, a later one on one of its hosts", []Run{run("a", "rs1", "rs2"), run("b", "rs2", "rs3")}, "a", "run b has changed rs2 since"},
		{"by name, the later one taken back", []Run{run("a", "rs1"), run("b", "rs1"), back("c", "b", Done)}, "a", "a"},
		{"by name, taken back", []Run{run("a", "rs1"), back("b", "a", Done)}, "a", "run a has been taken back by run b"},
		{"by name, a rollback", []Run{run("a", "rs1"), back("b", "a", Done)}, "b", "took run a back itself"},
		{"by name, nothing left", []Run{run("a", "-rs1")}, "a", "left nothing"},
		{"a removal", []Run{run("a", "rs1"), {ID: "b", Verb: Remove, Result: Done, Hosts: on("rs1")}}, "", "took lvsfleet off"},
		{"before a removal", []Run{run("a", "rs1"), {ID: "b", Verb: Remove, Result: Done, Hosts: on("rs1")}}, "a", "run b has changed rs1 since"},
		{"no such", []Run{run("a", "rs1")}, "x", "no such run"},
		{"no name", []Run{run("a", "rs1")}, "../a", "no such run"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := OpenHistory(t.TempDir())
			for i, r := range tt.runs {
				r.Time = time.Unix(int64(i), 0)
				if err := h.Add(r); err != nil {
					t.Fatal(err)
				}
			}
			got, err := h.ToTakeBack(tt.id)
			switch {
			case err == nil && got.ID == tt.want:
			case err == nil || len(tt.want) == 1 || !strings.Contains(err.Error(), tt.want):
				t.Errorf("got %q, %v, want %q", got.ID, err, tt.want)
			}
			if tt.id == "x" && !errors.Is(err, ErrNoRun) {
				t.Errorf("%v", err)
			}
		})
	}
}
