package main

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/fleet"
)

// A host that still has something of lvsfleet's is not forgotten, or nobody
// would know that it is to be cleaned.
func TestOnlyAHostThatIsCleanIsForgotten(t *testing.T) {
	out := fleet.Outcome{Results: []fleet.Result{
		{Host: "changed", Status: fleet.Changed},
		{Host: "failed", Status: fleet.Failed, Err: errors.New("no")},
		{Host: "kept", Status: fleet.Changed, Kept: true},
		{Host: "partly", Status: fleet.Partly},
		{Host: "unchanged", Status: fleet.Unchanged},
		{Host: "waits", Status: fleet.NotBegun},
	}}
	if d := cmp.Diff([]string{"changed", "unchanged"}, cleaned(out, nil)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"unchanged"}, cleaned(out, []string{"kept", "unchanged"})); d != "" {
		t.Errorf("with a limit: %s", d)
	}
}
