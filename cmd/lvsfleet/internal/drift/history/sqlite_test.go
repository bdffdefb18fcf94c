//go:build !solaris

package history

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/drift"
)

var day = time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)

func sample(host string, at time.Time) drift.Drift {
	return drift.Drift{Host: host, Step: "sysctl:x", Class: drift.ClassLive, Diff: "-1\n+2\n", First: at, Last: at.Add(time.Minute)}
}

func open(t *testing.T) *DB {
	t.Helper()
	d := Open(filepath.Join(t.TempDir(), "state dir, 100%? #1", File))
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func save(t *testing.T, d *DB, drifts ...drift.Drift) []drift.Drift {
	t.Helper()
	if err := d.Save(t.Context(), drifts); err != nil {
		t.Fatal(err)
	}
	return drifts
}

func TestDriftsAreKeptAndForgotten(t *testing.T) {
	d := open(t)
	kept := save(t, d, sample("rs1", day), sample("rs2", day.Add(time.Hour)))
	if kept[0].ID == 0 || kept[0].ID == kept[1].ID {
		t.Fatalf("%+v", kept)
	}
	kept[0].Gone, kept[0].End, kept[0].Last = day.Add(2*time.Hour), drift.EndConverge, day.Add(90*time.Minute)
	save(t, d, kept[0])
	if err := d.Close(); err != nil { // another process
		t.Fatal(err)
	}
	there, err := d.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]drift.Drift{kept[1]}, there); diff != "" {
		t.Error(diff)
	}
	for name, c := range map[string]struct {
		f    Filter
		want []drift.Drift
	}{
		"all":        {Filter{}, []drift.Drift{kept[1], kept[0]}},
		"one":        {Filter{Limit: 1}, []drift.Drift{kept[1]}},
		"of a host":  {Filter{Host: "rs1"}, []drift.Drift{kept[0]}},
		"since then": {Filter{Since: day.Add(3 * time.Hour)}, []drift.Drift{kept[1]}},
		"nobody's":   {Filter{Host: "x' OR 1 --"}, nil},
	} {
		got, err := Read(t.Context(), d.path, c.f)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if err := d.Forget(t.Context(), day.Add(3*time.Hour)); err != nil {
		t.Fatal(err)
	}
	left, err := d.Timeline(t.Context(), time.Time{}, 100)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]drift.Drift{kept[1]}, left); diff != "" {
		t.Errorf("what is still there was forgotten: %s", diff)
	}
}

func TestTheMemoIsTheLastOne(t *testing.T) {
	d := open(t)
	if text, err := d.Memo(t.Context()); err != nil || text != nil {
		t.Errorf("%q, %v", text, err)
	}
	for _, text := range []string{"{}", `{"a":1}`} {
		if err := d.SetMemo(t.Context(), []byte(text)); err != nil {
			t.Fatal(err)
		}
		if got, err := d.Memo(t.Context()); err != nil || string(got) != text {
			t.Errorf("%q, %v", got, err)
		}
	}
}

func TestTheHistoryIsItsOwnersAlone(t *testing.T) {
	d := open(t)
	save(t, d, sample("rs1", day))
	entries, err := os.ReadDir(filepath.Dir(d.path))
	if err != nil || len(entries) == 0 {
		t.Fatal(entries, err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", e.Name(), info.Mode(), err)
		}
	}
}

func TestAHugeDiffIsShortened(t *testing.T) {
	d := open(t)
	huge := sample("rs1", day)
	huge.Diff = strings.Repeat("é", longestDiff)
	save(t, d, huge)
	got, err := d.Open(t.Context())
	if err != nil || len(got) != 1 || len(got[0].Diff) > longestDiff+100 || !strings.HasSuffix(got[0].Diff, "é\n... shortened\n") {
		t.Errorf("%d bytes, %v", len(got[0].Diff), err)
	}
}

func TestADamagedHistoryIsPutAside(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, path string){
		"no database": func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte(strings.Repeat("not a database ", 1000)), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"overwritten in the middle": func(t *testing.T, path string) {
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			info, _ := f.Stat()
			for at := int64(4096); at < info.Size(); at += 4096 {
				if _, err := f.WriteAt([]byte(strings.Repeat("\xff", 4096)), at); err != nil {
					t.Fatal(err)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t)
			save(t, d, sample("rs1", day))
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			damage(t, d.path)
			if _, err := Read(t.Context(), d.path, Filter{}); err == nil || !strings.Contains(err.Error(), d.path) {
				t.Errorf("a damaged history is read: %v", err)
			}
			if _, err := d.Open(t.Context()); err == nil {
				t.Fatal("a damaged history is read")
			}
			aside, _ := filepath.Glob(d.path + ".damaged-*Z")
			if len(aside) != 1 || len(d.Problems()) != 1 || !strings.Contains(d.Problems()[0], aside[0]) {
				t.Fatalf("put aside: %q; %q", aside, d.Problems())
			}
			// What was there keeps its number in the new one.
			old := sample("rs1", day)
			old.ID = 77
			save(t, d, old)
			if got, err := d.Open(t.Context()); err != nil || len(got) != 1 || got[0].ID != 77 {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

func TestALockedHistoryIsAnErrorForNow(t *testing.T) {
	d := open(t)
	save(t, d, sample("rs1", day))
	other, err := sql.Open("sqlite", source(d.path, "rw"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	tx, err := other.BeginTx(t.Context(), nil) // immediate
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	more := []drift.Drift{sample("rs2", day)}
	if err := d.Save(ctx, more); err == nil || !strings.Contains(err.Error(), "locked") || more[0].ID != 0 {
		t.Errorf("%v, %+v", err, more)
	}
	if list, err := d.Timeline(ctx, time.Time{}, 10); err != nil || len(list) != 1 {
		t.Errorf("readers are locked out: %v, %v", list, err)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	save(t, d, more...)
	if len(d.Problems()) != 0 {
		t.Errorf("%q", d.Problems())
	}
}

func TestAFullDiskIsAnErrorForNow(t *testing.T) {
	d := open(t)
	save(t, d, sample("rs1", day))
	var pages int
	if err := d.db.QueryRow("PRAGMA page_count").Scan(&pages); err != nil {
		t.Fatal(err)
	}
	limit := func(n int) {
		var got int
		if err := d.db.QueryRow("PRAGMA max_page_count = " + strconv.Itoa(n)).Scan(&got); err != nil || got != n {
			t.Fatal(got, err)
		}
	}
	limit(pages)
	big := sample("rs2", day)
	big.Diff = strings.Repeat("x", longestDiff)
	batch := []drift.Drift{big, sample("rs3", day)}
	if err := d.Save(t.Context(), batch); err == nil || !strings.Contains(err.Error(), "full") {
		t.Fatalf("%v", err)
	}
	if list, err := d.Open(t.Context()); err != nil || len(list) != 1 {
		t.Errorf("a part was written: %v, %v", list, err)
	}
	limit(pages + 1000)
	save(t, d, batch...)
	if list, err := d.Open(t.Context()); err != nil || len(list) != 3 {
		t.Errorf("%v, %v", list, err)
	}
}

func TestAHistoryThatIsDeletedIsBegunAnew(t *testing.T) {
	d := open(t)
	save(t, d, sample("rs1", day))
	if err := os.RemoveAll(filepath.Dir(d.path)); err != nil {
		t.Fatal(err)
	}
	save(t, d, sample("rs2", day))
	if got, err := Read(t.Context(), d.path, Filter{}); err != nil || len(got) != 1 || got[0].Host != "rs2" {
		t.Errorf("%v, %v", got, err)
	}
}

func TestANewerHistoryIsLeftAlone(t *testing.T) {
	d := open(t)
	save(t, d, sample("rs1", day))
	if _, err := d.db.Exec("PRAGMA user_version = 9"); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := d.Save(t.Context(), []drift.Drift{sample("rs2", day)}); err == nil || !strings.Contains(err.Error(), "version is 9") {
		t.Errorf("%v", err)
	}
	if _, err := Read(t.Context(), d.path, Filter{}); err == nil || !strings.Contains(err.Error(), "version is 9") {
		t.Errorf("%v", err)
	}
	if aside, _ := filepath.Glob(d.path + ".damaged*"); len(aside) != 0 {
		t.Errorf("%q", aside)
	}
}

func TestAHistoryThatIsNotThereIsEmpty(t *testing.T) {
	if list, err := Read(t.Context(), filepath.Join(t.TempDir(), File), Filter{}); err != nil || list != nil {
		t.Errorf("%v, %v", list, err)
	}
}
