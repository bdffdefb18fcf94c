package sim

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/lvsfleet/lvsfleet/providers/host"
)

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

// A View is everything of a machine that a transaction may change: files with
// modes and owners, and the live state, but not lvsfleet's own folders, loaded
// modules and the idle devices that they bring, which stay.
type View struct{ Files, Live string }

// View looks at the machine as it is now.
func (m *Machine) View() View {
	var v View
	m.Locked(func() {
		var b strings.Builder
		m.FS.Walk("/", func(p string, n host.File) {
			if !own(p) && !strings.HasPrefix(path.Base(p), ".lvsfleet-") {
				fmt.Fprintf(&b, "%s %v %d:%d %q\n", p, n.Mode, n.UID, n.GID, n.Data)
			}
		})
		v.Files = b.String()
		net := *m.Net
		if m.Identity.OS == host.FreeBSD {
			net.Routes = slices.Clone(net.Routes)
			for i := range net.Routes {
				net.Routes[i].Metric = 0 // the simulation's own: which of several next hops it is
			}
		}
		v.Live = live(&net)
	})
	return v
}

func live(n *Net) string {
	c := *n
	c.Modules = nil
	if len(c.Routes) == 0 {
		c.Routes = nil
	}
	if len(c.IPVS) == 0 {
		c.IPVS = nil
	}
	c.Links = slices.DeleteFunc(slices.Clone(n.Links), func(l *Link) bool {
		return l.Kind == IPTunnel && !l.Up && len(l.Addrs) == 0 && !l.Remote.IsValid()
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
