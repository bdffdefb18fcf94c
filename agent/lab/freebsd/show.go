package freebsd

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
)

// ifFlags are the interface flags that ifconfig names, in its order
// (net/if.h).
func ifFlags() []struct {
	bit  uint32
	name string
} {
	return []struct {
		bit  uint32
		name string
	}{
		{0x1, "UP"}, {0x2, "BROADCAST"}, {0x8, "LOOPBACK"}, {0x10, "POINTOPOINT"}, {0x40, "RUNNING"},
		{0x800, "SIMPLEX"}, {0x4000, "LINK2"}, {0x8000, "MULTICAST"}, {0x1000000, "LOWER_UP"},
	}
}

func (p *ifconfigCall) flags(l *sim.Link) string {
	bits := uint32(0x8000)
	switch l.Kind {
	case sim.Ether:
		bits |= 0x802
		if p.era.major >= 10 && p.era.major < 14 {
			bits |= 0x20 // has a number and no name
		}
	case sim.Loopback:
		bits |= 0x8
	case sim.IPTunnel:
		bits |= 0x10
	}
	if l.Up {
		bits |= 0x1
	}
	if p.isRunning(l) {
		bits |= 0x40
		if p.era.major >= 14 {
			bits |= 0x1000000
		}
	}
	if l.Flags[link2] {
		bits |= 0x4000
	}
	var names []string
	for _, f := range ifFlags() {
		if bits&f.bit != 0 {
			names = append(names, f.name)
		}
	}
	return fmt.Sprintf("%x<%s>", bits, strings.Join(names, ","))
}

func groupOf(l *sim.Link) string {
	switch l.Kind {
	case sim.Loopback:
		return "lo"
	case sim.IPTunnel:
		return "gif"
	}
	return ""
}

// options is the line of a link's capabilities, by driver.
func (p *ifconfigCall) options(l *sim.Link) string {
	switch {
	case p.era.major < 10:
		return ""
	case l.Kind == sim.Loopback:
		return "680003<RXCSUM,TXCSUM,LINKSTATE,RXCSUM_IPV6,TXCSUM_IPV6>"
	case l.Kind == sim.IPTunnel:
		return "80000<LINKSTATE>"
	case strings.HasPrefix(l.Name, "vtnet"):
		return "80028<VLAN_MTU,JUMBO_MTU,LINKSTATE>"
	case strings.HasPrefix(l.Name, "em"):
		return "481209b<RXCSUM,TXCSUM,VLAN_MTU,VLAN_HWTAGGING,VLAN_HWCSUM,WOL_MAGIC,VLAN_HWFILTER,NOMAP>"
	}
	return "8<VLAN_MTU>"
}

// show prints a link as 13.2 does, or with af its addresses of that family
// alone. Before 12 the lines of addresses ended in a space, before 7 there was
// no metric.
func (p *ifconfigCall) show(l *sim.Link, af string) {
	metric := " metric 0"
	if p.era.scripts() == scripts6 && p.era.major < 7 {
		metric = ""
	}
	p.c.Printf("%s: flags=%s%s mtu %d\n", l.Name, p.flags(l), metric, l.MTU)
	if o := p.options(l); o != "" {
		p.c.Printf("\toptions=%s\n", o)
	}
	if af != "" {
		p.addresses(l, af)
		return
	}
	modern := p.era.major >= 10
	if l.Kind == sim.Ether && modern {
		p.c.Printf("\tether %s\n", l.MAC)
	}
	if l.Kind == sim.IPTunnel && l.Local.IsValid() {
		family := "inet"
		if l.Local.Is6() {
			family = "inet6"
		}
		p.c.Printf("\ttunnel %s %s --> %s\n", family, l.Local, l.Remote)
	}
	p.addresses(l, "")
	if l.Kind == sim.Ether && !modern {
		p.c.Printf("\tether %s\n", l.MAC)
	}
	if g := groupOf(l); g != "" && modern {
		p.c.Printf("\tgroups: %s\n", g)
	}
	if l.Flags[ignoreSource] {
		p.c.Printf("\toptions=2<IGNORE_SOURCE>\n")
	}
	if l.Kind == sim.Ether {
		media := "1000baseT <full-duplex>"
		if strings.HasPrefix(l.Name, "vtnet") {
			media = "10Gbase-T <full-duplex>"
		}
		p.c.Printf("\tmedia: Ethernet autoselect (%s)\n\tstatus: active\n", media)
	}
	if modern {
		nd6 := "21<PERFORMNUD,AUTO_LINKLOCAL>"
		if l.Flags[ifdisabled] {
			nd6 = "29<PERFORMNUD,IFDISABLED,AUTO_LINKLOCAL>"
		}
		p.c.Printf("\tnd6 options=%s\n", nd6)
	}
}

// addresses prints them family by family, the one first that came first
// (sortifaddrs in ifconfig.c); old ifconfigs put IPv6 first, as every page that
// quotes them shows.
func (p *ifconfigCall) addresses(l *sim.Link, af string) {
	if len(l.Addrs) == 0 {
		return
	}
	six := l.Addrs[0].Prefix.Addr().Is6() || p.era.scripts() == scripts6
	for _, want := range []bool{six, !six} {
		if af == "inet" && want || af == "inet6" && !want {
			continue
		}
		for _, a := range l.Addrs {
			if a.Prefix.Addr().Is6() == want {
				p.address(l, a)
			}
		}
	}
}

func (p *ifconfigCall) address(l *sim.Link, a sim.Addr) {
	end := "\n"
	if p.era.major < 12 {
		end = " \n"
	}
	peer := ""
	if a.Peer.IsValid() {
		peer = " --> " + a.Peer.String()
	}
	formats := strings.Split(p.format, ",")
	if a.Prefix.Addr().Is6() {
		length := fmt.Sprintf(" prefixlen %d", a.Prefix.Bits())
		if slices.Contains(formats, "inet6:cidr") {
			peer, length = fmt.Sprintf("%s/%d", peer, a.Prefix.Bits()), ""
		}
		zone, scope := "", ""
		if a.Prefix.Addr().IsLinkLocalUnicast() {
			zone, scope = "%"+l.Name, fmt.Sprintf(" scopeid 0x%x", l.Index)
			if l.Flags[tentative] {
				scope = " tentative" + scope
			}
		}
		p.c.Printf("\tinet6 %s%s%s%s%s%s", a.Prefix.Addr(), zone, peer, length, scope, end)
		return
	}
	netmask := fmt.Sprintf(" netmask 0x%08x", mask(a.Prefix.Bits()))
	switch {
	case slices.Contains(formats, "inet:cidr"):
		netmask = fmt.Sprintf("/%d", a.Prefix.Bits())
	case slices.Contains(formats, "inet:dotted"):
		netmask = " netmask " + dotted(a.Prefix.Bits())
	}
	broadcast := ""
	if l.Kind == sim.Ether {
		broadcast = " broadcast " + lastOf(a.Prefix).String()
	}
	p.c.Printf("\tinet %s%s%s%s%s", a.Prefix.Addr(), peer, netmask, broadcast, end)
}

func lastOf(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().As4()
	m := mask(p.Bits())
	for i := range b {
		b[i] |= ^byte(m >> (24 - 8*i))
	}
	return netip.AddrFrom4(b)
}
