package linux

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/lvsfleet/lvsfleet/providers/linux/systemd"
	"github.com/lvsfleet/lvsfleet/providers/note"
	"github.com/lvsfleet/lvsfleet/providers/step"
	"github.com/lvsfleet/lvsfleet/templates"
)

// Unit brings the virtual addresses of a real server up at boot, and its
// tunnels, where no file of the network's own has them: before any network, so
// that nobody is ever answered for them, and in one place whoever else brings
// the network up. On loopback and tunnels the managers of networks leave alone
// what they do not know.
const Unit = "lvsfleet.service"

// unit plans the unit. A command that fails keeps those after it from running,
// so an address never comes up without its silence. In it are commands that
// systemd 219 and the tools of its time know, and that may be repeated. It has
// no setting of a card, which is not there yet, and which would fail it.
func (p *planner) unit() error {
	var start, stop []string
	var all []string
	for _, s := range p.settings() {
		if s.live != nil && strings.HasPrefix(s.Key, "net.ipv4.conf.all.arp_") {
			all = append(all, s.Key+"="+s.Value)
		}
	}
	if len(all) > 0 {
		start = append(start, "/sbin/sysctl -q -w "+strings.Join(all, " "))
	}
	if p.tunnelled() || len(p.tunnels) > 0 {
		start = append(start, "-/sbin/modprobe -q ipip")
	}
	if p.tunnelled() {
		start = append(start, "/sbin/ip link set "+tunnelDevice+" up")
	}
	for _, six := range []bool{false, true} {
		for _, v := range p.vips {
			if v.addr.Is6() != six || v.kept != "" {
				continue
			}
			ip, label := "/sbin/ip address ", ""
			if six {
				ip = "/sbin/ip -6 address "
			} else if v.label != v.dev {
				label = " label " + v.label
			}
			at := v.prefix().String() + " dev " + v.dev
			start = append(start, ip+"replace "+at+label)
			stop = append(stop, "-"+ip+"del "+at)
		}
	}
	for _, t := range p.tunnels {
		start = append(start,
			fmt.Sprintf("-/sbin/ip tunnel add %s mode ipip local %s remote %s", t.Interface, t.Local, t.Remote),
			"/sbin/ip link set "+t.Interface+" up",
			fmt.Sprintf("/sbin/ip address replace %s peer %s dev %s", t.Inside, t.FarInside, t.Interface))
		stop = append(stop, "-/sbin/ip tunnel del "+t.Interface)
	}
	if len(start) == 0 {
		return nil
	}
	if !p.f.Running {
		return step.Refuse(`network = "none" in the host's block makes live settings only`,
			"systemd does not run here, and no file of this host's network brings virtual addresses up as they must be")
	}
	var list []templates.Values
	for _, s := range start {
		list = append(list, templates.Values{"Line": "ExecStart=" + s})
	}
	for i := range stop {
		list = append(list, templates.Values{"Line": "ExecStop=" + stop[len(stop)-1-i]})
	}
	p.addBoot(systemd.Unit(Unit, func([]byte) ([]byte, error) {
		return templates.Render("linux/lvsfleet.service.tmpl", nil, list...)
	}, true)...)
	return nil
}

// keptAt looks at an address that a file brings up where the unit would have
// it: it is left there if it is there to stay.
func (p *planner) keptAt(at *placement, file string, bits int, lost string) error {
	switch {
	case lost != "":
		return step.Refuse(fmt.Sprintf("take it out there; %s brings it up then", Unit),
			"%s has the virtual address %s on %s, where it does not last: %s", file, at.addr, at.dev, lost)
	case bits >= 0 && bits != at.addr.BitLen():
		return step.Refuse(fmt.Sprintf("write %s there, or take it out: %s brings it up then", netip.PrefixFrom(at.addr, at.addr.BitLen()), Unit),
			"%s puts the virtual address %s with /%d on %s, which makes a whole network local", file, at.addr, bits, at.dev)
	}
	at.kept = file
	p.note(note.FileKeepsVIP, file, at.addr)
	return nil
}
