package labtest

import (
	"strings"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/providers/host"
)

// Look is all that a person could tell a machine by, a line each: its View, and
// the names of all that lvsfleet keeps there for itself.
func Look(m *sim.Machine) []string {
	v := m.View()
	lines := strings.Split(v.Files+v.Live, "\n")
	m.Locked(func() {
		m.FS.Walk("/", func(p string, _ host.File) {
			if strings.Contains(p, "/lvsfleet") {
				lines = append(lines, p)
			}
		})
	})
	return lines
}
