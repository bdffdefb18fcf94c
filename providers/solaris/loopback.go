package solaris

import (
	"net/netip"
	"slices"

	"github.com/lvsfleet/lvsfleet/providers/note"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// leaving are the names of live tunnels that lvsfleet made and that are not wanted
// any more: they are unplumbed, and what they carry goes with them.
func (p *planner) leaving() []string {
	var names []string
	for _, i := range p.f.Interfaces {
		if !i.Tunnel || i.IPv6 {
			continue
		}
		id := (&tunnel{local: i.Src, remote: i.Dst}).ID()
		wanted := slices.ContainsFunc(p.tuns, func(s step.Step) bool { return s.ID() == id })
		if !wanted && slices.Contains(p.f.Made, id) {
			names = append(names, i.Name)
		}
	}
	return names
}

// staying are the interfaces without those of the names.
func staying(list []Interface, leaving []string) []Interface {
	return slices.DeleteFunc(slices.Clone(list), func(i Interface) bool { return slices.Contains(leaving, i.Name) })
}

// loopback plans the VIPs that no tunnel carries: each a logical interface of
// lo0 and a file hostname.lo0:N of one line, with the same N where both have
// to be made.
func (p *planner) loopback() error {
	leaving := p.leaving()
	for _, v := range p.d.VIPs {
		vip := v.Addr
		at, isLive := holder(staying(p.f.Interfaces, leaving), vip)
		bootAt, isBoot := "", false
		for _, b := range p.boot {
			if b.carries(vip) || unit(unitName, b.Name) >= 0 && b.onlyNames(vip) {
				bootAt, isBoot = b.Name, true
				break
			}
		}
		needLive := !slices.Contains(p.carriedLive, vip)
		needBoot := p.f.Boot != nil && !slices.Contains(p.carriedBoot, vip)
		if p.f.Boot != nil {
			p.name(vip, vipName(vip))
		}
		if needBoot && ipadmNames(p.f.Boot.IPAdm, vip) {
			needBoot = false
			p.note(note.BootHasVIP, "ipadm", vip)
		}
		if !needLive && !needBoot {
			continue
		}
		hint, bootHint := "", ""
		if isLive {
			hint = at.Name
		}
		if isBoot {
			bootHint = bootAt
		}
		liveName, bootName := p.pick(hint, bootHint, needLive && !isLive, needBoot && !isBoot)
		if needLive {
			p.vips = append(p.vips, &loopbackVIP{vip, liveName, leaving})
		}
		if !needBoot {
			continue
		}
		file, err := p.loopbackFile(bootName, vip)
		if err != nil {
			return err
		}
		p.vipFiles = append(p.vipFiles, file)
	}
	return nil
}

// pick gives the names for a VIP that is at live and boot ("" nowhere), of
// which some have to be made. A tunnel's name, or lo0's own, is no number to
// follow.
func (p *planner) pick(live, boot string, makeLive, makeBoot bool) (liveName, bootName string) {
	if !makeLive && !makeBoot {
		return live, boot
	}
	follow := func(name string) string {
		if unit(unitName, name) < 0 {
			return ""
		}
		return name
	}
	switch {
	case makeLive && makeBoot:
		return p.numbers.place("lo0:", 1, "", "")
	case makeLive:
		if follow(boot) == "" {
			liveName, _ = p.numbers.place("lo0:", 1, "", "")
			return liveName, boot
		}
		liveName, _ = p.numbers.place("lo0:", 1, "", boot)
		return liveName, boot
	}
	if follow(live) == "" {
		_, bootName = p.numbers.place("lo0:", 1, "", "")
		return live, bootName
	}
	_, bootName = p.numbers.place("lo0:", 1, live, "")
	return live, bootName
}

// loopbackFile is the boot step of a VIP: what is there stays if it brings the
// VIP up; a hostname.lo0:N that names nothing but the VIP is corrected.
func (p *planner) loopbackFile(name string, vip netip.Addr) (step.Step, error) {
	want, err := hostText(netip.PrefixFrom(vip, 32))
	if err != nil {
		return nil, err
	}
	return p.hostnameFile(name, want,
		func(b BootInterface) bool { return b.carries(vip) },
		func(b BootInterface) bool { return b.onlyNames(vip) }), nil
}

// hostnameFile is the step of one hostname.IF, which boot must find good. It
// is written where it is not there, and corrected where it is ours to.
func (p *planner) hostnameFile(name string, want []byte, good, ours func(BootInterface) bool) step.Step {
	reader, path := p.reader, hostnamePath(name)
	return &step.FileStep{Path: path, Edits: []step.Edit{func(old []byte) ([]byte, error) {
		if old == nil {
			return want, nil
		}
		switch b := reader.Read(name, old); {
		case good(b):
			return old, nil
		case ours(b):
			return want, nil
		default:
			return nil, step.Refuse("correct it by hand", "%s does not do at boot what the inventory says%s", path, faults(b))
		}
	}}}
}

// faults says what is wrong with a file, if that is known.
func faults(b BootInterface) string {
	text := ""
	for _, f := range b.Faults {
		text += ": " + f
	}
	return text
}
