package solaris

import (
	"net/netip"
	"slices"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/step"
	"github.com/lvsfleet/lvsfleet/templates"
)

// tunnels plans the tunnels that LVS directors fill, then the plain ones.
func (p *planner) tunnels() error {
	for _, d := range p.d.Decaps {
		if err := p.decap(d); err != nil {
			return err
		}
	}
	for _, t := range p.d.Tunnels {
		if err := p.plain(t); err != nil {
			return err
		}
	}
	return nil
}

// decap plans one tunnel from a director. A tunnel must carry an address to be
// up: the first VIP that is not on the loopback already (if all are, the
// tunnel shares one, as a point-to-point interface may). A tunnel with these
// ends that is there is taken as it is, whatever it carries.
func (p *planner) decap(d inventory.Decap) error {
	live, isLive := tunnelWith(p.f.Interfaces, d.Local, d.Remote)
	boot, isBoot := p.bootTunnel(d.Local, d.Remote)
	// Ours to correct is a file that names the VIPs, or the ends alone, and
	// beside them at most the far inside address.
	ours := func(b BootInterface) bool {
		others := map[netip.Addr]bool{}
		for _, a := range b.Named {
			if a != b.Src && a != b.Dst && a != d.Local && a != d.Remote && !slices.Contains(d.VIPs, a) {
				others[a] = true
			}
		}
		namesVIP := slices.ContainsFunc(b.Named, func(a netip.Addr) bool { return slices.Contains(d.VIPs, a) })
		return namesVIP && len(others) <= 1 || len(b.Named) > 0 && len(others) == 0
	}
	// A live tunnel with the right ends and a VIP says whose the file of its
	// name is, in which the ends are wrong.
	if isLive && !isBoot && slices.Contains(d.VIPs, live.Addr) {
		for _, b := range p.boot {
			if b.Name == live.Name && slices.Contains(b.Named, live.Addr) && ours(b) {
				boot, isBoot = b, true
			}
		}
	}

	carry := netip.Addr{}
	prefer := func(a netip.Addr) {
		if !carry.IsValid() && slices.Contains(d.VIPs, a) {
			carry = a
		}
	}
	prefer(live.Addr)
	for _, a := range boot.Addrs {
		prefer(a.Addr)
	}
	for _, v := range d.VIPs {
		if !p.onLoopback(v) {
			prefer(v)
		}
	}
	for _, v := range d.VIPs {
		prefer(v)
	}

	good := func(b BootInterface) bool {
		if b.Src != d.Local || b.Dst != d.Remote {
			return false
		}
		return slices.ContainsFunc(b.Addrs, func(a BootAddr) bool {
			return a.Up && (a.Bits == 32 || !slices.Contains(d.VIPs, a.Addr))
		})
	}
	// The boot file that is right says whose the interface of its name is:
	// where that carries a VIP but has lost its ends, they are set again.
	reclaim := false
	if isBoot && !isLive && good(boot) {
		for _, i := range p.f.Interfaces {
			if i.Name == boot.Name && i.Tunnel && slices.Contains(d.VIPs, i.Addr) {
				reclaim, carry = true, i.Addr
			}
		}
	}
	liveName, bootName := boot.Name, boot.Name
	if !reclaim {
		liveName, bootName = p.pickTunnel(live.Name, boot.Name)
	}
	tun := &tunnel{
		local: d.Local, remote: d.Remote, carry: carry, peer: p.peer(carry),
		mine: d.VIPs, name: liveName, reclaim: reclaim,
	}
	// The VIP that it was made for is not wanted any more.
	tun.stale = isLive && live.Addr.IsValid() && !slices.Contains(d.VIPs, live.Addr) && slices.Contains(p.f.Made, tun.ID())
	p.tuns = append(p.tuns, tun)
	switch {
	case isLive && live.Addr.IsValid() && !tun.stale:
		p.carriedLive = append(p.carriedLive, live.Addr)
	default:
		p.carriedLive = append(p.carriedLive, carry)
	}
	if p.f.Boot == nil {
		return nil
	}
	if isBoot && good(boot) {
		for _, v := range d.VIPs {
			if boot.carries(v) {
				p.carriedBoot = append(p.carriedBoot, v)
			}
		}
	} else {
		p.carriedBoot = append(p.carriedBoot, carry)
	}
	want, err := tunnelText(d.Local, d.Remote, carry, p.peer(carry))
	if err != nil {
		return err
	}
	p.tunFiles = append(p.tunFiles, p.hostnameFile(bootName, want, good, ours))
	return nil
}

// plain plans this host's end of a tunnel that is no LVS matter.
func (p *planner) plain(t inventory.PlainEnd) error {
	if t.Interface != "" && unit(tunnelName, t.Interface) < 0 {
		return step.Refuse("name it ip.tun0, ip.tun1, ..., or leave the name out",
			"tunnel %q: %s is no name of a tunnel on Solaris", t.Name, t.Interface)
	}
	live, isLive := tunnelWith(p.f.Interfaces, t.Local, t.Remote)
	boot, isBoot := p.bootTunnel(t.Local, t.Remote)
	if isLive && live.Addr.IsValid() && (live.Addr != t.Inside || live.Peer != t.FarInside) {
		return step.Refuse("correct the inventory, or take the tunnel away",
			"tunnel %q: %s has these ends already and carries %s --> %s", t.Name, live.Name, live.Addr, live.Peer)
	}
	liveName, bootName := live.Name, boot.Name
	if !isLive && t.Interface != "" {
		if p.numbers.live[t.Interface] {
			return step.Refuse("choose another name", "tunnel %q: %s is there and has other ends", t.Name, t.Interface)
		}
		liveName = t.Interface
		p.numbers.live[liveName] = true
	}
	if !isBoot && t.Interface != "" && p.f.Boot != nil {
		if p.numbers.boot[t.Interface] {
			return step.Refuse("choose another name", "tunnel %q: %s is there and has other ends", t.Name, hostnamePath(t.Interface))
		}
		bootName = t.Interface
		p.numbers.boot[bootName] = true
	}
	liveName, bootName = p.pickTunnel(liveName, bootName)
	p.tuns = append(p.tuns, &tunnel{
		local: t.Local, remote: t.Remote, carry: t.Inside, peer: t.FarInside,
		mine: []netip.Addr{t.Inside}, name: liveName,
	})
	if p.f.Boot == nil {
		return nil
	}
	want, err := tunnelText(t.Local, t.Remote, t.Inside, t.FarInside)
	if err != nil {
		return err
	}
	good := func(b BootInterface) bool {
		return b.Src == t.Local && b.Dst == t.Remote && slices.ContainsFunc(b.Addrs, func(a BootAddr) bool {
			return a.Up && a.Addr == t.Inside && a.Peer == t.FarInside && a.Bits == 32
		})
	}
	p.tunFiles = append(p.tunFiles, p.hostnameFile(bootName, want, good, func(b BootInterface) bool {
		return b.onlyNames(t.Local, t.Remote, t.Inside, t.FarInside)
	}))
	return nil
}

// pickTunnel gives the names of a tunnel that is at live and boot ("" nowhere).
func (p *planner) pickTunnel(live, boot string) (liveName, bootName string) {
	if live != "" && (boot != "" || p.f.Boot == nil) {
		return live, boot
	}
	follow := live
	if unit(tunnelName, follow) < 0 {
		follow = "" // illumos: made with dladm, under a name that hostname files cannot have
	}
	liveName, bootName = p.numbers.place("ip.tun", 0, follow, boot)
	if live != "" {
		liveName = live
	}
	return liveName, bootName
}

// bootTunnel finds the file that makes a tunnel between two outer addresses:
// one that works rather than one that only names them.
func (p *planner) bootTunnel(local, remote netip.Addr) (BootInterface, bool) {
	found, ok := BootInterface{}, false
	for _, b := range p.boot {
		if b.Src == local && b.Dst == remote && (!ok || len(found.Addrs) == 0) {
			found, ok = b, true
		}
	}
	return found, ok
}

// onLoopback says that a VIP is on the loopback already, live or at boot.
func (p *planner) onLoopback(vip netip.Addr) bool {
	for _, i := range p.f.Interfaces {
		if i.Addr == vip && isLoopback(i.Name) {
			return true
		}
	}
	for _, b := range p.boot {
		if isLoopback(b.Name) && b.carries(vip) {
			return true
		}
	}
	return false
}

// peer is the far inside address that goes with a VIP.
func (p *planner) peer(vip netip.Addr) netip.Addr {
	for _, v := range p.d.VIPs {
		if v.Addr == vip {
			return v.Peer
		}
	}
	return netip.Addr{}
}

func tunnelText(local, remote, inside, peer netip.Addr) ([]byte, error) {
	return templates.Render("solaris/hostname.ip.tun.tmpl", templates.Values{
		"Local": local.String(), "Remote": remote.String(), "Address": inside.String(), "Peer": peer.String(),
	})
}
