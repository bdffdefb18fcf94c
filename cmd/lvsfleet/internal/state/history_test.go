package state

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestHistoryIsWrittenOnceAndReadNewestFirst(t *testing.T) {
	dir := t.TempDir()
	h := OpenHistory(dir)
	if runs, err := h.Runs(time.Time{}); err != nil || len(runs) != 0 {
		t.Fatalf("a history that is not there: %v, %v", runs, err)
	}
	day := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	first := Run{ID: "20260102T030405Z-a", Time: day, Who: "op@ctl", Verb: "converge", Result: "done", Hosts: []HostRun{{Host: "rs1", Status: "changed", Changes: 3}}}
	second := Run{ID: "20260103T030405Z-b", Time: day.Add(24 * time.Hour), Result: "rolled back"}
	for _, r := range []Run{first, second} {
		if err := h.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	if at := h.Modified(); at.IsZero() || !OpenHistory(filepath.Join(dir, "none")).Modified().IsZero() {
		t.Errorf("modified %v", at)
	}
	changed := first
	changed.Result = "other"
	if err := h.Add(changed); err == nil {
		t.Error("a recorded run was written again")
	}
	runs, err := h.Runs(time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]Run{second, first}, runs); d != "" {
		t.Error(d)
	}
	if runs, _ = h.Runs(day.Add(time.Hour)); len(runs) != 1 || runs[0].ID != second.ID {
		t.Errorf("since: %v", runs)
	}
	info, err := os.Stat(filepath.Join(dir, "history", first.ID+".json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	left, _ := filepath.Glob(filepath.Join(dir, "history", ".run-*"))
	if len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestAnUnfinishedRunIsReplacedByItsEndAlone(t *testing.T) {
	h := OpenHistory(t.TempDir())
	if err := h.Ready(); err != nil {
		t.Fatal(err)
	}
	begun := Run{ID: "20260102T030405Z-a", Who: "op@ctl pid 1", Verb: "converge", Result: Unfinished, Hosts: []HostRun{{Host: "rs1", Status: Unfinished, Committed: true}}}
	if err := h.Add(begun); err != nil {
		t.Fatal(err)
	}
	if of, err := h.ToTakeBack(""); err != nil || of.ID != begun.ID {
		t.Errorf("to take back: %v, %v", of.ID, err)
	}
	another := begun
	another.Who = "op@ctl pid 2"
	if h.Add(begun) == nil || h.Add(another) == nil {
		t.Error("two runs of one name")
	}
	if another.Result = Done; h.Add(another) == nil {
		t.Error("it ended for another one")
	}
	ended := begun
	ended.Result, ended.Hosts = Done, []HostRun{{Host: "rs1", Status: "changed", Changes: 1, Committed: true}}
	if err := h.Add(ended); err != nil {
		t.Fatal(err)
	}
	if got, err := h.Run(begun.ID); err != nil || !cmp.Equal(got, ended) {
		t.Errorf("%v\n%s", err, cmp.Diff(ended, got))
	}
	if h.Add(begun) == nil || h.Add(ended) == nil {
		t.Error("what has ended was written again")
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if OpenHistory(file).Ready() == nil {
		t.Error("a file is ready to hold a history")
	}
}

func TestHistoryRefusesWhatNamesNoRun(t *testing.T) {
	h := OpenHistory(t.TempDir())
	for _, id := range []string{"", "../x", "a/b", ".hidden", "-x"} {
		if err := h.Add(Run{ID: id}); err == nil {
			t.Errorf("%q was recorded", id)
		}
		if _, err := h.Run(id); !errors.Is(err, ErrNoRun) {
			t.Errorf("%q: %v", id, err)
		}
	}
	if _, err := h.Run("nosuch"); !errors.Is(err, ErrNoRun) {
		t.Errorf("%v", err)
	}
}

func TestOneDamagedRecordDoesNotHideTheOthers(t *testing.T) {
	dir := t.TempDir()
	h := OpenHistory(dir)
	if err := h.Add(Run{ID: "good", Time: time.Unix(1, 0)}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "history", "bad.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	runs, err := h.Runs(time.Time{})
	if err == nil || len(runs) != 1 || runs[0].ID != "good" {
		t.Errorf("%v, %v", runs, err)
	}
}
