package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"time"

	"github.com/lvsfleet/lvsfleet/agent"
)

// A Run is one run that began to change something, as it is remembered.
type Run struct {
	ID        string    `json:"id"`
	Time      time.Time `json:"time"`
	Ended     time.Time `json:"ended,omitzero"` // zero: an older record, which does not say
	Who       string    `json:"who"`
	Verb      string    `json:"verb"`         // "converge", "rollback", "remove", "repair"
	Of        string    `json:"of,omitempty"` // the run that a rollback took back
	Site      string    `json:"site"`         // as it was named
	Inventory string    `json:"inventory"`    // its hash
	Result    string    `json:"result"`       // "done", "failed in part", "incomplete", "unfinished"
	Hosts     []HostRun `json:"hosts"`
}

// A HostRun is what a run did to one host.
type HostRun struct {
	Host    string `json:"host"`
	Status  string `json:"status"`
	Changes int    `json:"changes"`
	Error   string `json:"error,omitempty"`
	// Committed: something that the run changed here was still in force when
	// it ended; of an unfinished run, it may be.
	Committed bool         `json:"committed,omitempty"`
	Items     []agent.Item `json:"items,omitempty"` // the steps that did not hold before
}

// Changes counts the steps that the run changed on all hosts.
func (r Run) Changes() int {
	n := 0
	for _, h := range r.Hosts {
		n += h.Changes
	}
	return n
}

// End is when the run was over or, where that is not recorded, when it began.
func (r Run) End() time.Time {
	if r.Ended.IsZero() {
		return r.Time
	}
	return r.Ended
}

// On says whether the run was about the host, and what it did there.
func (r Run) On(host string) (HostRun, bool) {
	for _, h := range r.Hosts {
		if h.Host == host {
			return h, true
		}
	}
	return HostRun{}, false
}

// Committed lists the hosts on which the run left something.
func (r Run) Committed() []string {
	var names []string
	for _, h := range r.Hosts {
		if h.Committed {
			names = append(names, h.Host)
		}
	}
	return names
}

// A History is the record of a site's runs in DIR/history: a file for each,
// written as it begins and again as it ends. It holds what hosts have in their files, so
// it is its owner's alone.
type History struct{ dir string }

// OpenHistory gives the history in the state folder dir, which need not be
// there yet.
func OpenHistory(dir string) History { return History{filepath.Join(dir, "history")} }

// Modified is when a run was last added; zero: never. What it gives is the
// same as long as nothing has changed.
func (h History) Modified() time.Time {
	info, err := os.Stat(h.dir)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// runID is what names a run, and so its file.
var runID = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z-]*$`)

// ErrNoRun is a run that the history does not have.
var ErrNoRun = errors.New("no such run in the history")

// Unfinished is the result of a run that goes on, or was cut off, and its
// status on each host.
const Unfinished = "unfinished"

// Ready says why no run can be recorded; nil: one can.
func (h History) Ready() error {
	if err := os.MkdirAll(h.dir, 0o700); err != nil {
		return fmt.Errorf("make the folder of the history: %w", err)
	}
	f, err := os.CreateTemp(h.dir, ".run-*.tmp")
	if err != nil {
		return fmt.Errorf("write to the history: %w", err)
	}
	if err := errors.Join(f.Close(), os.Remove(f.Name())); err != nil {
		return fmt.Errorf("write to the history: %w", err)
	}
	return nil
}

// Add records a run: an unfinished one for the first time, any other for the
// first time or in the stead of its unfinished self.
func (h History) Add(r Run) error {
	if !runID.MatchString(r.ID) {
		return fmt.Errorf("record run: %q does not name one", r.ID)
	}
	if err := os.MkdirAll(h.dir, 0o700); err != nil {
		return fmt.Errorf("record run: %w", err)
	}
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return fmt.Errorf("record run: %w", err)
	}
	tmp, err := os.CreateTemp(h.dir, ".run-*.tmp") // mode 0600
	if err != nil {
		return fmt.Errorf("record run: %w", err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(append(text, '\n'))
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		put := os.Link // which does not replace: what is recorded stays
		if old, oerr := h.Run(r.ID); oerr == nil && old.Result == Unfinished && r.Result != Unfinished && old.Who == r.Who {
			put = os.Rename
		}
		err = put(tmp.Name(), filepath.Join(h.dir, r.ID+".json"))
	}
	if err != nil {
		return fmt.Errorf("record run: %w", err)
	}
	return nil
}

// Run reads one run.
func (h History) Run(id string) (Run, error) {
	if !runID.MatchString(id) {
		return Run{}, fmt.Errorf("%q: %w", id, ErrNoRun)
	}
	text, err := os.ReadFile(filepath.Join(h.dir, id+".json"))
	if errors.Is(err, fs.ErrNotExist) {
		return Run{}, fmt.Errorf("%s: %w", id, ErrNoRun)
	}
	if err != nil {
		return Run{}, fmt.Errorf("read run: %w", err)
	}
	var r Run
	if err := json.Unmarshal(text, &r); err != nil {
		return Run{}, fmt.Errorf("read run %s: %w", id, err)
	}
	return r, nil
}

// Runs reads all runs since a time, the newest first. A record that cannot be
// read is an error beside those that can.
func (h History) Runs(since time.Time) ([]Run, error) {
	entries, err := os.ReadDir(h.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	var runs []Run
	var errs []error
	for _, e := range entries {
		id, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok || !runID.MatchString(id) {
			continue
		}
		r, err := h.Run(id)
		if err != nil {
			errs = append(errs, err)
		} else if !r.Time.Before(since) {
			runs = append(runs, r)
		}
	}
	sort.SliceStable(runs, func(i, j int) bool { return runs[i].Time.After(runs[j].Time) })
	return runs, errors.Join(errs...)
}
