package state

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Done is the result of a run that did all that it was to do.
const Done = "done"

// Rollback is the verb of a run that took another one back.
const Rollback = "rollback"

// Remove is the verb of a run that took lvsfleet off hosts, with all that they
// remembered of earlier runs.
const Remove = "remove"

// ErrNothing is a history that has nothing to take back.
var ErrNothing = errors.New("there is no run to take back")

// ToTakeBack finds the run that a rollback is of: that of the ID, or, where it
// is "", the last one that changed something. A run that has been taken back,
// and one that took another back, changed nothing that is left. It is refused
// where a later run has changed one of its hosts.
func (h History) ToTakeBack(id string) (Run, error) {
	runs, err := h.Runs(time.Time{})
	if err != nil {
		return Run{}, err
	}
	back := map[string]string{} // the run that took it back
	for _, r := range runs {
		if r.Verb == Rollback && r.Result == Done {
			back[r.Of] = r.ID
		}
	}
	open := func(r Run) bool {
		return r.Verb != Rollback && back[r.ID] == "" && len(r.Committed()) > 0
	}
	at := slices.IndexFunc(runs, func(r Run) bool {
		if id != "" {
			return r.ID == id
		}
		return open(r)
	})
	switch {
	case at < 0 && id != "":
		return Run{}, fmt.Errorf("%s: %w", id, ErrNoRun)
	case at < 0:
		return Run{}, ErrNothing
	case runs[at].Verb == Rollback:
		return Run{}, fmt.Errorf("run %s took run %s back itself: converge makes that so again", id, runs[at].Of)
	case runs[at].Verb == Remove:
		return Run{}, fmt.Errorf("run %s took lvsfleet off its hosts, and they remember nothing: converge makes them so again", runs[at].ID)
	case back[runs[at].ID] != "":
		return Run{}, fmt.Errorf("run %s has been taken back by run %s", id, back[runs[at].ID])
	case !open(runs[at]):
		return Run{}, fmt.Errorf("run %s left nothing to take back: %w", id, ErrNothing)
	}
	for _, later := range runs[:at] {
		if !open(later) {
			continue
		}
		var both []string
		for _, name := range runs[at].Committed() {
			if slices.Contains(later.Committed(), name) {
				both = append(both, name)
			}
		}
		if len(both) > 0 {
			return Run{}, fmt.Errorf("run %s has changed %s since: take that back first", later.ID, strings.Join(both, ", "))
		}
	}
	return runs[at], nil
}
