package ifcfg

import (
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/linux/persist"
	"github.com/lvsfleet/lvsfleet/providers/note"
	"github.com/lvsfleet/lvsfleet/providers/step"
	"github.com/lvsfleet/lvsfleet/templates"
)

// own compares the own addresses with the boot files, and writes them
// where an interface has no file at all.
func (p *planner) own() error {
	for _, i := range p.w.Interfaces {
		var own []file // the interface's own file and its aliases'
		main := -1
		for _, c := range p.f.files {
			if persist.Device(c.dev) == i.Device {
				if c.dev == i.Device {
					main = len(own)
				}
				own = append(own, c)
			}
		}
		if main < 0 {
			p.writeOwn(i)
			continue
		}
		if err := p.compareOwn(i, own, own[main]); err != nil {
			return err
		}
	}
	return nil
}

// compareOwn refuses a file that would bring up other addresses.
func (p *planner) compareOwn(i inventory.Interface, own []file, main file) error {
	var have []string
	found := map[netip.Addr]int{}
	for _, c := range own {
		for _, a := range c.addrs {
			bits := a.bits
			if bits < 0 && c.name != main.name {
				bits = main.bits("")
			}
			found[a.addr] = bits
			have = append(have, netip.PrefixFrom(a.addr, max(bits, 0)).String())
		}
	}
	for _, name := range []string{"IPV6ADDR", "IPV6ADDR_SECONDARIES"} {
		list, _ := main.vars.get(name)
		for _, word := range strings.Fields(list) {
			if a, err := netip.ParsePrefix(word); err == nil {
				found[a.Addr()] = a.Bits()
			} else if a, err := netip.ParseAddr(word); err == nil {
				found[a] = 64 // ipv6_add_addr_on_device leaves it to the kernel; the usual net
			} else {
				continue
			}
			have = append(have, word)
		}
	}
	proto, _ := main.vars.get("BOOTPROTO")
	dynamic := proto == "dhcp" || proto == "bootp"
	for _, want := range i.Addresses {
		bits, ok := found[want.Addr()]
		switch {
		case ok && (bits == want.Bits() || bits < 0):
			// Without a mask the scripts take the address' class, which is
			// not ours to judge.
		case ok, !dynamic && slices.ContainsFunc(have, func(s string) bool { return strings.Contains(s, ":") == want.Addr().Is6() }):
			return step.Refuse("correct the inventory, or the file: own addresses are not rewritten",
				"%s gives %s the address %s, the inventory %s", main.path(), i.Device, strings.Join(have, ", "), want)
		default:
			p.out.Note(note.AddressNotInFile, main.path(), want, i.Device)
		}
	}
	return nil
}

// word is a condition of a template.
func word(is bool) string {
	if is {
		return "yes"
	}
	return ""
}

// writeOwn makes the files of an interface that has none. Further IPv4
// addresses get alias files, which every era reads.
func (p *planner) writeOwn(i inventory.Interface) {
	type form struct {
		Label, Netmask string
		Alias, VLAN    bool
		Addr           netip.Addr
		IPv6, IPv6More string
		hasAddr        bool
	}
	files := []*form{{Label: i.Device, VLAN: strings.Contains(i.Device, ".")}}
	var six []string
	for _, a := range i.Addresses {
		if a.Addr().Is6() {
			six = append(six, a.String())
			continue
		}
		f := files[0]
		if f.hasAddr {
			f = &form{Label: p.w.Labels.Free(i.Device), Alias: true}
			files = append(files, f)
		}
		f.Addr, f.hasAddr = a.Addr(), true
		f.Netmask = net.IP(net.CIDRMask(a.Bits(), 32)).String()
	}
	if len(six) > 0 {
		files[0].IPv6, files[0].IPv6More = six[0], strings.Join(six[1:], " ")
	}
	for _, f := range files {
		addr := ""
		if f.hasAddr {
			addr = f.Addr.String()
		}
		data := templates.Values{
			"Label": f.Label, "Alias": word(f.Alias), "VLAN": word(f.VLAN), "Addr": addr,
			"Netmask": f.Netmask, "IPv6": f.IPv6, "IPv6More": f.IPv6More,
		}
		p.out.Edit(scripts+"ifcfg-"+f.Label, func(old []byte) ([]byte, error) {
			if old != nil {
				return old, nil
			}
			return templates.Render("linux/ifcfg-device.tmpl", data)
		})
	}
}
