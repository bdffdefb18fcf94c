package drift_test

import (
	"testing"

	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/drift"
	"github.com/lvsfleet/lvsfleet/providers/note"
)

// Receivers of alerts know a drift by its subject: it stays while the drift is
// there, also over an update.
func TestSubjects(t *testing.T) {
	for want, d := range map[string]drift.Drift{
		"sysctl:x": {Class: drift.ClassLive, Step: "sysctl:x", Diff: "-1\n+2\n"},
		"ipvs: the IPVS table has TCP 192.0.2.1:80, which": {
			Class: drift.ClassForeign, Step: "ipvs", Diff: "the IPVS table has TCP 192.0.2.1:80 with 2 real servers, which",
		},
		"ipvs: foreign_service the IPVS table TCP 192.0.2.1:80": {
			Class: drift.ClassForeign, Step: "ipvs", Code: note.ForeignService, About: "the IPVS table TCP 192.0.2.1:80", Diff: "in any words",
		},
	} {
		if got := d.Subject(); got != want {
			t.Errorf("%+v: %q, want %q", d, got, want)
		}
	}
}
