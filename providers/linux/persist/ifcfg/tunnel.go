package ifcfg

import (
	"bytes"
	"net/netip"
	"strconv"

	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/linux/persist"
	"github.com/lvsfleet/lvsfleet/providers/note"
	"github.com/lvsfleet/lvsfleet/providers/step"
	"github.com/lvsfleet/lvsfleet/templates"
)

// tunnelFile says whether the file is for a tunnel with these ends.
func tunnelFile(vars *shellFile, from, to netip.Addr) bool {
	local, _ := vars.get("MY_OUTER_IPADDR")
	remote, _ := vars.get("PEER_OUTER_IPADDR")
	return local == from.String() && remote == to.String()
}

// tunnels adds the file of each plain tunnel, in the form TYPE=IPIP of
// ifup-tunnel, which came with initscripts 8.38 in August 2006: after Fedora
// Core 5.
func (p *planner) tunnels() {
	for _, t := range p.w.Tunnels {
		if host.Older(p.f.release, 2, 6, 18) {
			p.out.Note(note.TunnelNotAtBoot, strconv.Quote(t.Name))
			continue
		}
		name := t.Interface
		for _, c := range p.f.files {
			if c.dev == t.Interface {
				name = c.name
			}
		}
		p.out.Edit(scripts+"ifcfg-"+name, func(old []byte) ([]byte, error) {
			if old == nil || bytes.HasPrefix(old, []byte(persist.Header)) {
				return templates.Render("linux/ifcfg-tunnel.tmpl", templates.Values{
					"Name": t.Name, "Peer": t.Peer, "Interface": t.Interface, "Local": t.Local.String(), "Remote": t.Remote.String(),
					"Inside": t.Inside.String(), "FarInside": t.FarInside.String(),
				})
			}
			if f := parseShell(old); tunnelFile(f, t.Local, t.Remote) {
				return setAll(old, [][2]string{
					{"MY_INNER_IPADDR", t.Inside.String()}, {"PEER_INNER_IPADDR", t.FarInside.String()},
				}), nil
			}
			return nil, step.Refuse("name another interface for the tunnel, or none",
				"%sifcfg-%s is not of tunnel %q", scripts, name, t.Name)
		})
	}
}
