package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

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

// own are the folders that lvsfleet keeps for itself, and logs.
func own(p string) bool {
	// What a system writes down of its boots is no part of it.
	for _, dir := range []string{"/var/lib/lvsfleet", "/var/db/lvsfleet", host.RunDir, "/run/lvsfleet", "/var/log"} {
		if p == dir || strings.HasPrefix(p, dir+"/") {
			return true
		}
	}
	return false
}

// A view is everything of a machine that a transaction may change: files with
// modes and owners, and the live state, but not lvsfleet's own folders, loaded
// modules and the idle devices that they bring, which stay.
type view struct{ files, live string }

func look(m *sim.Machine) view {
	var v view
	m.Locked(func() {
		var b strings.Builder
		m.FS.Walk("/", func(p string, n host.File) {
			if !own(p) && !strings.HasPrefix(filepath.Base(p), ".lvsfleet-") {
				fmt.Fprintf(&b, "%s %v %d:%d %q\n", p, n.Mode, n.UID, n.GID, n.Data)
			}
		})
		v.files = b.String()
		v.live = live(m.Net)
	})
	return v
}

func live(n *sim.Net) string {
	c := *n
	c.Modules = nil
	if len(c.Routes) == 0 {
		c.Routes = nil
	}
	if len(c.IPVS) == 0 {
		c.IPVS = nil
	}
	c.Links = slices.DeleteFunc(slices.Clone(n.Links), func(l *sim.Link) bool {
		return l.Kind == sim.IPTunnel && !l.Up && len(l.Addrs) == 0 && !l.Remote.IsValid()
	})
	for i, l := range c.Links {
		one := *l
		one.Flags = map[string]bool{}
		for k, v := range l.Flags {
			// That a setting was once made by hand is the simulation's own.
			if !strings.HasPrefix(k, "conf: ") {
				one.Flags[k] = v
			}
		}
		c.Links[i] = &one
	}
	c.Sysctls = map[string]string{}
	for k, value := range n.Sysctls {
		if !strings.Contains(k, ".tunl0.") && !strings.HasPrefix(k, "net.ipv4.vs.") {
			c.Sysctls[k] = value
		}
	}
	text, err := json.MarshalIndent(c, "", " ")
	if err != nil {
		panic(err) // plain data
	}
	return string(text)
}

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
