package solaris

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/step"
	"github.com/lvsfleet/lvsfleet/templates"
)

const (
	nodeName  = "/etc/nodename"
	hostsFile = "/etc/hosts"
)

// OwnFiles names the files that give a host its own addresses and name at
// boot: those of its interfaces, and those in which their names are looked up.
func OwnFiles(d inventory.Desired) []string {
	list := []string{nodeName, hostsFile}
	for _, i := range d.Interfaces {
		list = append(list, hostnamePath(i.Device))
	}
	return list
}

// own says that the inventory names addr as the host's own.
func (p *planner) own(addr netip.Addr) bool {
	for _, i := range p.d.Interfaces {
		for _, a := range i.Addresses {
			if a.Addr() == addr {
				return true
			}
		}
	}
	return false
}

// ownLive verifies the host's own addresses: each on its interface, or a
// logical one of it, with its length. They are never set.
func (p *planner) ownLive() error {
	for _, dev := range p.d.Interfaces {
		var has []string
		found := map[netip.Prefix]bool{}
		there := false
		for _, i := range p.f.Interfaces {
			if device(i.Name) != dev.Device {
				continue
			}
			there = true
			if i.Addr.IsValid() && i.Zone == "" {
				has = append(has, fmt.Sprintf("%s/%d", i.Addr, i.Bits))
				found[netip.PrefixFrom(i.Addr.WithZone(""), i.Bits)] = true
			}
		}
		if !there {
			return step.Refuse("correct the inventory, or plumb it", "there is no interface %s", dev.Device)
		}
		for _, want := range dev.Addresses {
			if !found[want] {
				return step.Refuse("correct the inventory, or the host: lvsfleet never sets a host's own addresses",
					"%s does not have %s (%s)", dev.Device, want, orNone(has))
			}
		}
	}
	return nil
}

func orNone(has []string) string {
	if len(has) == 0 {
		return "it has no address"
	}
	return "it has " + strings.Join(has, ", ")
}

// ownBoot verifies that boot will give the host its own IPv4 addresses, and
// plans hostname.IF, with a line in hosts(4), for an interface that has no
// configuration at all. What illumos keeps with ipadm is not read: an
// interface that ipadm knows is left to it.
func (p *planner) ownBoot() error {
	for _, dev := range p.d.Interfaces {
		want := slices.DeleteFunc(slices.Clone(dev.Addresses), func(a netip.Prefix) bool { return !a.Addr().Is4() })
		if len(want) == 0 {
			continue
		}
		var files, has, wrong []string
		found := map[netip.Prefix]bool{}
		for _, b := range p.boot {
			if device(b.Name) != dev.Device {
				continue
			}
			files = append(files, hostnamePath(b.Name))
			if text := faults(b); text != "" {
				wrong = append(wrong, text)
			}
			for _, a := range b.Addrs {
				state := ""
				if !a.Up {
					state = ", down"
				} else {
					found[netip.PrefixFrom(a.Addr, a.Bits)] = true
				}
				has = append(has, fmt.Sprintf("%s/%d%s", a.Addr, a.Bits, state))
			}
		}
		if len(files) == 0 {
			if slices.Contains(p.f.Boot.DHCP, dev.Device) {
				return step.Refuse("give it a fixed address at boot", "/etc/dhcp.%s: boot asks DHCP for the address of %s", dev.Device, dev.Device)
			}
			if ipadmKnows(p.f.Boot.IPAdm, dev.Device) {
				continue
			}
			if err := p.writeOwn(dev.Device, want); err != nil {
				return err
			}
			continue
		}
		for _, a := range want {
			if !found[a] {
				return step.Refuse("correct the inventory, or the file: lvsfleet never changes a host's own addresses",
					"%s will not give %s its address %s at boot: %s%s", strings.Join(files, ", "), dev.Device, a, orNone(has), strings.Join(wrong, ""))
			}
		}
	}
	return nil
}

// writeOwn plans the file of an interface that has none. One address takes the
// one-line form, which boot brings up by itself; several need `up` and
// `broadcast +` written out.
func (p *planner) writeOwn(dev string, want []netip.Prefix) error {
	for _, a := range want {
		if mask, ok := p.reader.Netmasks.Lookup(a.Addr()); ok && maskBits(mask) != a.Bits() {
			return step.Refuse("correct the inventory, or /etc/inet/netmasks",
				"/etc/inet/netmasks gives %s the mask %s at boot, the inventory says /%d", a.Addr(), maskText(mask), a.Bits())
		}
		p.name(a.Addr(), p.d.Host)
	}
	text, err := ownText(want)
	if err != nil {
		return err
	}
	p.ownFiles = append(p.ownFiles, p.hostnameFile(dev, text, func(b BootInterface) bool {
		for _, a := range want {
			if !slices.ContainsFunc(b.Addrs, func(h BootAddr) bool { return h.Up && netip.PrefixFrom(h.Addr, h.Bits) == a }) {
				return false
			}
		}
		return true
	}, func(BootInterface) bool { return false }))
	return nil
}

func ownText(want []netip.Prefix) ([]byte, error) {
	switch len(want) {
	case 0:
		return nil, nil
	case 1:
		return hostText(want[0])
	}
	var more []templates.Values
	for _, p := range want[1:] {
		more = append(more, templates.Values{"Address": p.String()})
	}
	return templates.Render("solaris/hostname.several.tmpl", templates.Values{"First": want[0].String()}, more...)
}

// hostText is the text of a hostname file with one address.
func hostText(p netip.Prefix) ([]byte, error) {
	return templates.Render("solaris/hostname.tmpl", templates.Values{"Address": p.Addr().String(), "Length": strconv.Itoa(p.Bits())})
}
