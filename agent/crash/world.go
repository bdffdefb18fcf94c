package main

import (
	"fmt"
	"path/filepath"

	"github.com/lvsfleet/lvsfleet/agent/lab"
	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/inventory/hclfile"
	"github.com/lvsfleet/lvsfleet/providers/host"
)

// A subject is one host of one site.
type subject struct {
	site string
	host inventory.Host
	want inventory.Desired
}

func (s subject) String() string { return s.site + "/" + s.host.Name }

// subjects are the hosts of the sites at paths.
func subjects(paths ...string) ([]subject, error) {
	var all []subject
	for _, p := range paths {
		r := hclfile.Load(p, hclfile.Input{})
		if r.Site == nil {
			return nil, fmt.Errorf("load %s: %v", p, r.Diags)
		}
		desired := r.Site.Desired()
		for _, h := range r.Site.Hosts {
			all = append(all, subject{site: filepath.Base(filepath.Dir(p)), host: *h, want: desired[h.Name]})
		}
	}
	return all, nil
}

// machine is the host before lvsfleet comes.
func (s subject) machine() *sim.Machine { return lab.Offline(s.host, nil) }

// A view is everything of a machine that a transaction may change.
type view = sim.View

func look(m *sim.Machine) view { return m.View() }

// strays are temporary files on m.
func strays(m *sim.Machine) []string {
	var found []string
	m.Locked(func() {
		m.FS.Walk("/", func(p string, _ host.File) {
			if host.IsTemp(filepath.Base(p)) {
				found = append(found, p)
			}
		})
	})
	return found
}
