package solaris

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/note"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// wishes refuses what lvsfleet has no facts for on these systems.
func (p *planner) wishes() error {
	if p.d.Director != nil {
		return step.Refuse("directors are Linux", "IPVS is in the Linux kernel alone")
	}
	for _, v := range p.d.VIPs {
		if !v.Addr.Is4() {
			return step.Refuse("take the host out of the pool", "the VIP %s: IPv6 VIPs are not done on Solaris", v.Addr)
		}
	}
	for _, gw := range p.d.Gateways {
		if !gw.Is4() {
			return step.Refuse("leave the gateway out", "the gateway %s: IPv6 routes are not done on Solaris", gw)
		}
	}
	if p.d.IPForward6 != nil {
		return step.Refuse("leave ip_forward out", "IPv6 forwarding is not done on Solaris")
	}
	var carried []netip.Addr
	for _, t := range p.d.Decaps {
		for _, a := range append([]netip.Addr{t.Local, t.Remote}, t.VIPs...) {
			if !a.Is4() {
				return step.Refuse("take the host out of the pool", "the tunnel %s to %s: IPv6 tunnels are not done on Solaris", t.Local, t.Remote)
			}
		}
		for _, v := range t.VIPs {
			if slices.Contains(carried, v) {
				return step.Refuse("give the service one director", "the VIP %s comes by several tunnels: not done on Solaris", v)
			}
			carried = append(carried, v)
			if !p.peer(v).Is4() {
				return step.Refuse("set tunnel_peer to an IPv4 address", "the VIP %s has no far inside address, which an ip.tun needs", v)
			}
		}
	}
	for _, t := range p.d.Tunnels {
		for _, a := range []netip.Addr{t.Local, t.Remote, t.Inside, t.FarInside} {
			if !a.Is4() {
				return step.Refuse("leave the tunnel out", "tunnel %q: %s: IPv6 tunnels are not done on Solaris", t.Name, a)
			}
		}
	}
	return nil
}

// hostModel: a VIP on the loopback is reached through another interface, which
// a host of the strong model drops.
func (p *planner) hostModel() error {
	if p.f.HostModel != "strong" {
		return nil
	}
	if p.f.Identity.Release == "5.10" {
		return step.Refuse("ndd -set /dev/ip ip_strict_dst_multihoming 0, also where it is set at boot",
			"ip_strict_dst_multihoming is 1: packets for a VIP on the loopback are dropped")
	}
	return step.Refuse("ipadm set-prop -p hostmodel=weak ipv4",
		"hostmodel is strong: packets for a VIP on the loopback are dropped")
}

// forwarding is verified, never set: what makes it last (routeadm) is kept by
// SMF and is no file.
func (p *planner) forwarding() error {
	if p.d.IPForward4 == nil || p.f.Forwarding == nil || *p.d.IPForward4 == *p.f.Forwarding {
		return nil
	}
	verb, is := "-e", "off"
	if *p.f.Forwarding {
		verb, is = "-d", "on"
	}
	return step.Refuse(fmt.Sprintf("routeadm -u %s ipv4-forwarding, or leave ip_forward out", verb),
		"IPv4 forwarding is %s, and lvsfleet only verifies it on Solaris", is)
}

// liveVIPs refuses VIPs that answer ARP, or that a zone holds.
func (p *planner) liveVIPs() error {
	for _, v := range p.d.VIPs {
		for _, i := range p.f.Interfaces {
			if i.Addr != v.Addr {
				continue
			}
			if err := silent(i); err != nil {
				return err
			}
		}
	}
	return nil
}

// readBoot reads the hostname files as the next boot will, with the netmasks
// of this plan.
func (p *planner) readBoot() {
	masks := p.f.Boot.Netmasks
	for _, addr := range p.hostMasks() {
		if addr.Is4() {
			masks = keepHostMask(masks, addr)
		}
	}
	p.reader = p.f.reader(masks)
	for _, file := range p.f.Boot.Hostname {
		if plainName.MatchString(file.Interface) || tunnelName.MatchString(file.Interface) {
			p.boot = append(p.boot, p.reader.Read(file.Interface, file.Data))
		}
	}
}

// bootVIPs refuses hostname files that put a VIP where it answers ARP.
func (p *planner) bootVIPs() error {
	for _, b := range p.boot {
		if isLoopback(b.Name) || tunnelName.MatchString(b.Name) {
			continue
		}
		for _, v := range p.d.VIPs {
			if slices.ContainsFunc(b.Addrs, func(a BootAddr) bool { return a.Addr == v.Addr }) {
				return step.Refuse("take it out of the file", "%s puts the VIP %s on %s at boot, where it answers ARP",
					hostnamePath(b.Name), v.Addr, b.Name)
			}
		}
	}
	return nil
}

// strays deals with copies beside the files that count: net-physical takes
// hostname.*[0-9]. Solaris 10 skips names with a further dot, other than
// those of tunnels; illumos plumbs them as interfaces.
func (p *planner) strays() error {
	ours := []string{`lo0(:[0-9]+)?`, `ip\.tun[0-9]+`}
	for _, i := range p.d.Interfaces {
		ours = append(ours, regexp.QuoteMeta(i.Device)+`(:[0-9]+)?`)
	}
	stray := regexp.MustCompile(`^(` + strings.Join(ours, "|") + `)[^0-9:].*[0-9]$`)
	for _, f := range p.f.Boot.Hostname {
		if !stray.MatchString(f.Interface) || tunnelName.MatchString(f.Interface) || plainName.MatchString(f.Interface) {
			continue
		}
		if p.f.Identity.Illumos || strings.HasPrefix(f.Interface, "ip.") {
			return step.Refuse("move it out of /etc", "%s looks like a copy, and boot takes it for an interface", f.path())
		}
		p.note(note.LooksLikeCopy, f.path())
	}
	return nil
}

// staticRoutes refuses another default route that `route -p` keeps: boot adds
// it beside the one of /etc/defaultrouter.
func (p *planner) staticRoutes() error {
	for _, gw := range p.d.Gateways {
		for line := range strings.Lines(string(p.f.Boot.Static)) {
			w := fields(line)
			isDefault := slices.Contains(w, "default") || slices.Contains(w, "0.0.0.0") || slices.Contains(w, "0.0.0.0/0")
			if isDefault && !slices.Contains(w, "-inet6") && !slices.Contains(w, gw.String()) {
				return step.Refuse("route -p delete "+strings.Join(w, " "),
					"/etc/inet/static_routes adds another default route at boot: %q", clip(strings.Join(w, " ")))
			}
		}
	}
	return nil
}

// leftAlone reports addresses on the loopback that no part of the inventory
// names, such as the VIP of another cluster that was copied by mistake.
func (p *planner) leftAlone() {
	if len(p.d.VIPs) == 0 {
		return
	}
	known := func(a netip.Addr) bool {
		if !a.IsValid() || a.IsLoopback() {
			return true
		}
		for _, v := range p.d.VIPs {
			if v.Addr == a {
				return true
			}
		}
		return p.own(a)
	}
	for _, i := range p.f.Interfaces {
		if i.Tunnel && p.strange(i) {
			p.note(note.ForeignEnds, i.Name, i.Addr)
		}
		if isLoopback(i.Name) && !i.IPv6 && i.Zone == "" && !known(i.Addr) {
			p.note(note.ForeignAddress, i.Name, i.Addr)
		}
	}
	for _, b := range p.boot {
		for _, a := range b.Addrs {
			if isLoopback(b.Name) && !known(a.Addr) {
				p.note(note.ForeignAtBoot, hostnamePath(b.Name), a.Addr)
			}
		}
	}
}

// strange says that a tunnel carries a VIP, has other ends than any that is
// wanted, and is not about to be given them.
func (p *planner) strange(i Interface) bool {
	isVIP := slices.ContainsFunc(p.d.VIPs, func(v inventory.VIP) bool { return v.Addr == i.Addr })
	wanted := slices.ContainsFunc(p.d.Decaps, func(d inventory.Decap) bool { return d.Local == i.Src && d.Remote == i.Dst })
	reclaimed := slices.ContainsFunc(p.tuns, func(s step.Step) bool {
		t, ok := s.(*tunnel)
		return ok && t.reclaim && t.name == i.Name
	})
	return isVIP && !wanted && !reclaimed && !slices.Contains(p.leaving(), i.Name)
}
