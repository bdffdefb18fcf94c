package freebsd

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// edit turns the text of /etc/rc.conf into what it must be. old is nil where
// there is no file.
func (p *planner) edit(old []byte) ([]byte, error) {
	c, err := newConf(p.f, old)
	if err != nil {
		return nil, err
	}
	for _, write := range []func(*conf) error{
		p.bootInterfaces, p.bootTunnels, p.bootVIPs, p.bootRoutes, p.bootForwarding,
	} {
		if err := write(c); err != nil {
			return nil, err
		}
	}
	if old == nil && len(c.rc.Bytes()) == 0 {
		return nil, nil
	}
	return c.rc.Bytes(), nil
}

// bootInterfaces compares the host's own addresses with the boot files, and
// writes them only for an interface that those do not know at all.
func (p *planner) bootInterfaces(c *conf) error {
	for _, i := range p.d.Interfaces {
		dev := i.Device
		if !c.configured(dev) {
			if slices.Contains(p.f.StartIf, dev) {
				continue // a script of its own configures it; noted
			}
			if err := p.writeInterface(c, i); err != nil {
				return err
			}
			continue
		}
		text := c.value(ifVar("ifconfig_%s", dev))
		if text == "" && c.era != era6 {
			text = c.value("ifconfig_DEFAULT")
		}
		addrs := c.addrs(dev)
		for _, want := range i.Addresses {
			if want.Addr().Is6() && !modernIPv6(p.f.Release) {
				continue
			}
			if slices.ContainsFunc(addrs, func(a bootAddr) bool { return a.Prefix == want }) {
				continue
			}
			if slices.Contains(p.f.StartIf, dev) {
				continue
			}
			if isDHCP(text) {
				return step.Refuse("mend the inventory, or give "+dev+" its address in rc.conf",
					"rc.conf has %s ask for its address by DHCP, where the inventory says %s", dev, want)
			}
			return step.Refuse("mend the inventory, or rc.conf",
				"rc.conf does not give %s the address %s that the inventory says", dev, want)
		}
	}
	return nil
}

func (p *planner) writeInterface(c *conf, i inventory.Interface) error {
	first := map[bool]bool{}
	for _, a := range i.Addresses {
		six := a.Addr().Is6()
		if six && !modernIPv6(p.f.Release) {
			return p.oldIPv6()
		}
		name := ifVar("ifconfig_%s", i.Device)
		if six {
			name += "_ipv6"
		}
		if first[six] {
			_, free, _ := c.aliases(i.Device)
			name = fmt.Sprintf("%s%d", ifVar("ifconfig_%s_alias", i.Device), free)
		}
		first[six] = true
		if err := c.set(name, bootSpec(Addr{Prefix: a})); err != nil {
			return err
		}
	}
	return nil
}

// bootSpec is an address as rc.conf holds it. IPv4 has the mask in full, IPv6
// its length: the spellings that every release reads.
func bootSpec(a Addr) string {
	s := family(a.Prefix.Addr()) + " " + a.Prefix.Addr().String()
	if a.Prefix.Addr().Is4() {
		if a.Peer.IsValid() {
			s += " " + a.Peer.String()
		}
		return s + " netmask " + dottedMask(a.Prefix.Bits())
	}
	if a.Peer.IsValid() {
		return fmt.Sprintf("%s %s prefixlen %d", s, a.Peer, a.Prefix.Bits())
	}
	return fmt.Sprintf("%s/%d", s, a.Prefix.Bits())
}

// bootVIPs puts every VIP on lo0, unless the gif that it arrives by holds it.
func (p *planner) bootVIPs(c *conf) error {
	if len(p.d.VIPs) == 0 {
		return nil
	}
	if err := p.elsewhere(c); err != nil {
		return err
	}
	carried := bootVIPs(c.gifs())
	lo := newAliases(c, "lo0", c.addrs("lo0"))
	for _, v := range p.d.VIPs {
		if carries(p.tunnels, v.Addr, carried) {
			continue
		}
		if err := p.loopback(c); err != nil {
			return err
		}
		if err := lo.add(single(v.Addr)); err != nil {
			return err
		}
	}
	return nil
}

// loopback refuses a lo0 that would not come up as a VIP needs it.
func (p *planner) loopback(c *conf) error {
	own := c.value("ifconfig_lo0")
	if own != "" && !slices.ContainsFunc(parseSpec("", own), func(a bootAddr) bool {
		return a.Prefix.Addr() == netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}) {
		return step.Refuse("take ifconfig_lo0 out of rc.conf: the VIP becomes an alias",
			"ifconfig_lo0=%q leaves lo0 without 127.0.0.1 at boot", own)
	}
	ifs := c.list("network_interfaces")
	// The tree of May 2014 (10) adds lo0 by itself, that of 2006 does not.
	if host.Older(p.f.Release, 10, 0, 0) && p.f.Release != "" && !slices.ContainsFunc(ifs, func(s string) bool { return strings.EqualFold(s, "auto") || s == "lo0" }) {
		return step.Refuse("add lo0 to network_interfaces in rc.conf",
			"network_interfaces=%q leaves out lo0, which is not configured at boot then", strings.Join(ifs, " "))
	}
	return nil
}

var ifconfigVar = regexp.MustCompile(`^(?:ifconfig|ipv6_ifconfig|ipv4_addrs)_([A-Za-z0-9_]+?)(_alias[0-9]+|_aliases|_ipv6)?$`)

// elsewhere refuses a VIP that boot gives to an interface that answers ARP for
// it.
func (p *planner) elsewhere(c *conf) error {
	vips := map[netip.Addr]bool{}
	for _, v := range p.d.VIPs {
		vips[v.Addr] = true
	}
	for _, name := range c.names() {
		m := ifconfigVar.FindStringSubmatch(name)
		if m == nil || strings.HasPrefix(m[1], "lo") || strings.HasPrefix(m[1], "gif") {
			continue
		}
		given := parseSpec(name, c.value(name))
		if strings.HasPrefix(name, "ipv4_addrs_") {
			given = specList(name, c.value(name))
		}
		for _, a := range given {
			if vips[a.Prefix.Addr()] {
				return step.Refuse("take it out of rc.conf",
					"%s gives the VIP %s to %s at boot, which would answer ARP for it", name, a.Prefix.Addr(), m[1])
			}
		}
	}
	return nil
}

// aliases writes the numbered aliases of one interface.
type aliases struct {
	c     *conf
	dev   string
	there map[netip.Addr][]bootAddr
	free  int          // the first free number
	used  map[int]bool // those beyond it that are not
	wake  bool         // taking the first free number brings others to life
}

// newAliases begins with the addresses that dev has at boot.
func newAliases(c *conf, dev string, there []bootAddr) *aliases {
	a := &aliases{c: c, dev: dev, there: map[netip.Addr][]bootAddr{}, used: map[int]bool{}}
	for _, x := range there {
		a.there[x.Prefix.Addr()] = append(a.there[x.Prefix.Addr()], x)
	}
	reached, free, asleep := c.aliases(dev)
	a.free, a.wake = free, len(asleep) > 0
	for _, x := range reached {
		a.used[x.n] = true
	}
	return a
}

// add gives the interface an address. One that stands alone in a numbered
// alias with another mask is corrected there; otherwise it takes the first
// free number.
func (a *aliases) add(want Addr) error {
	prefix := ifVar("ifconfig_%s_alias", a.dev)
	wrong := ""
	for _, x := range a.there[want.Prefix.Addr()] {
		if x.Addr == want {
			return nil
		}
		if x.alone && strings.HasPrefix(x.variable, prefix) && x.variable != ifVar("ifconfig_%s_aliases", a.dev) {
			wrong = x.variable
		}
	}
	if wrong != "" {
		return a.c.set(wrong, bootSpec(want))
	}
	if err := a.c.set(fmt.Sprintf("%s%d", prefix, a.free), bootSpec(want)); err != nil {
		return err
	}
	if a.wake {
		*a = *newAliases(a.c, a.dev, a.c.addrs(a.dev))
		return nil
	}
	for a.used[a.free] = true; a.used[a.free]; a.free++ {
	}
	return nil
}

// bootTunnels makes the gifs come up. The form is the one that every era of
// FreeBSD brings up: cloned_interfaces creates, ifconfig_gifN sets the ends,
// and netif, having configured an interface, marks it up itself, so that
// neither an address on it nor "up" is needed (seen at a boot of 13.2).
func (p *planner) bootTunnels(c *conf) error {
	for _, t := range p.tunnels {
		is := slices.ContainsFunc(c.gifs(), func(g bootGif) bool { return g.name == t.boot && g.ends == t.ends })
		if !is {
			if err := c.addToList("cloned_interfaces", t.boot); err != nil {
				return err
			}
			if err := c.set("ifconfig_"+t.boot, t.ends.spec()); err != nil {
				return err
			}
		}
		if err := p.bootInside(c, t); err != nil {
			return err
		}
	}
	return nil
}

// bootInside is what a gif needs beyond its ends.
func (p *planner) bootInside(c *conf, t *tunnel) error {
	six := "ifconfig_" + t.boot + "_ipv6"
	for _, in := range t.insides {
		a := single(in.here)
		a.Peer = in.far
		if in.here.Is6() && !c.has(six) {
			if err := c.set(six, bootSpec(a)); err != nil {
				return err
			}
			continue
		}
		var there []bootAddr
		for _, g := range c.gifs() {
			if g.name == t.boot {
				there = g.addrs
			}
		}
		if err := newAliases(c, t.boot, there).add(a); err != nil {
			return err
		}
	}
	if t.six && !c.ipv6On(t.boot) {
		return c.set(six, "inet6 -ifdisabled")
	}
	return nil
}

func (p *planner) bootRoutes(c *conf) error {
	for _, gw := range p.d.Gateways {
		name := "defaultrouter"
		if gw.Is6() {
			name = "ipv6_defaultrouter"
		}
		if strings.TrimSpace(c.value(name)) == gw.String() {
			continue
		}
		if err := c.set(name, gw.String()); err != nil {
			return err
		}
	}
	return nil
}

func (p *planner) bootForwarding(c *conf) error {
	for _, w := range []struct {
		want *bool
		name string
	}{{p.d.IPForward4, "gateway_enable"}, {p.d.IPForward6, "ipv6_gateway_enable"}} {
		if w.want == nil || c.yes(w.name) == *w.want {
			continue
		}
		text := "NO"
		if *w.want {
			text = "YES"
		}
		if err := c.set(w.name, text); err != nil {
			return err
		}
	}
	return nil
}
