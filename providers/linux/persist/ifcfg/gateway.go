package ifcfg

import (
	"net/netip"
	"slices"

	"github.com/lvsfleet/lvsfleet/providers/linux/persist"
	"github.com/lvsfleet/lvsfleet/providers/note"
)

// NetworkFile holds what concerns all interfaces. Without it the network
// service does nothing, so a new one says NETWORKING=yes too.
const NetworkFile = "/etc/sysconfig/network"

// gateways adds the edits that make each gateway the default route at
// boot. ifup-eth sources /etc/sysconfig/network and then the interface's file,
// whose GATEWAY wins; it takes a GATEWAY only if it lies in the interface's
// first net, and GATEWAYDEV limits that to one interface. So: GATEWAY in the
// common file, a GATEWAY in the interface's own file changed with it, and
// where another interface has a gateway of its own, GATEWAYDEV.
func (p *planner) gateways() {
	var sets [][2]string
	for _, gw := range p.w.Gateways {
		if gw.Addr.Is6() {
			sets = append(sets, p.gateway6(gw.Addr)...)
			continue
		}
		sets = append(sets, p.gateway4(gw.Addr, gw.Dev)...)
	}
	if p.boot6() && !slices.ContainsFunc(sets, func(s [2]string) bool { return s[0] == "NETWORKING_IPV6" }) {
		sets = append(sets, [2]string{"NETWORKING_IPV6", "yes"})
	}
	if len(sets) == 0 && p.f.network != nil {
		return
	}
	if s, _ := parseShell(p.f.network).get("NETWORKING"); isNo(s) {
		p.out.Note(note.NetworkingNo, NetworkFile, s)
	}
	p.out.Edit(NetworkFile, func(old []byte) ([]byte, error) {
		if old == nil {
			old = []byte("NETWORKING=yes\n")
		}
		return setAll(old, sets), nil
	})
}

// boot6 says whether an IPv6 address is to come up at boot, which old
// initscripts do only where IPv6 is switched on.
func (p *planner) boot6() bool {
	is6 := func(v persist.VIP) bool { return v.Addr.Is6() }
	return slices.ContainsFunc(p.w.Real, is6) || slices.ContainsFunc(p.w.Director, is6)
}

func setAll(text []byte, sets [][2]string) []byte {
	f := parseShell(text)
	for _, s := range sets {
		if s[0] == "NETWORKING_IPV6" {
			if now, _ := f.get(s[0]); isYes(now) {
				continue
			}
		}
		f = f.set(s[0], s[1])
	}
	return f.text
}

// gateway4 gives the settings of the common file and edits the interfaces'.
func (p *planner) gateway4(gw netip.Addr, dev string) [][2]string {
	sets := [][2]string{{"GATEWAY", gw.String()}}
	for _, r := range p.f.routes {
		p.out.Note(note.FileHasRoute, r)
	}
	common := parseShell(p.f.network)
	only, _ := common.get("GATEWAYDEV")
	if only != "" && dev != "" && only != dev {
		sets = append(sets, [2]string{"GATEWAYDEV", dev})
		only = dev
	}
	for _, c := range p.f.files {
		if c.dev == dev && dev != "" {
			p.ownGateway(c, gw)
			continue
		}
		if why := c.defaultRoute(gw); why != "" && only == "" {
			if dev == "" {
				p.out.Note(note.FileMayWin, c.path(), why)
				continue
			}
			only = dev
			sets = append(sets, [2]string{"GATEWAYDEV", dev})
		}
	}
	return sets
}

// defaultRoute says how the file would bring another default route than by gw
// up at boot; "" it would not. An alias' own GATEWAY is put in the place of
// what is there (ifup-aliases).
func (c file) defaultRoute(gw netip.Addr) string {
	for _, name := range []string{"ONBOOT", "ONPARENT", "DEFROUTE"} {
		if s, ok := c.vars.get(name); ok && isNo(s) {
			return ""
		}
	}
	if s, _ := c.vars.get("GATEWAY"); s != "" && s != gw.String() {
		return "GATEWAY=" + s
	}
	if s, _ := c.vars.get("BOOTPROTO"); s == "dhcp" || s == "bootp" {
		return "BOOTPROTO=" + s
	}
	return ""
}

// ownGateway mends the file of the interface that leads to the gateway.
func (p *planner) ownGateway(c file, gw netip.Addr) {
	var sets [][2]string
	if own, has := c.vars.get("GATEWAY"); has && own != gw.String() {
		sets = append(sets, [2]string{"GATEWAY", gw.String()})
	}
	if s, ok := c.vars.get("DEFROUTE"); ok && isNo(s) {
		sets = append(sets, [2]string{"DEFROUTE", "yes"})
	}
	if proto, _ := c.vars.get("BOOTPROTO"); proto == "dhcp" || proto == "bootp" {
		p.out.Note(note.DHCPMayWin, c.path(), proto)
	}
	if len(c.addrs) > 0 && c.addrs[0].bits >= 0 && !netip.PrefixFrom(c.addrs[0].addr, c.addrs[0].bits).Masked().Contains(gw) {
		p.out.Note(note.GatewayNotInNet, gw, c.path())
	}
	if len(sets) > 0 {
		p.out.Edit(c.path(), func(old []byte) ([]byte, error) {
			if old == nil {
				return nil, nil
			}
			return setAll(old, sets), nil
		})
	}
}

// gateway6 is IPV6_DEFAULTGW, which the interface's file may override
// (sysconfig.txt).
func (p *planner) gateway6(gw netip.Addr) [][2]string {
	for _, c := range p.f.files {
		if own, ok := c.vars.get("IPV6_DEFAULTGW"); ok && own != "" && !sameGateway(own, gw) {
			p.out.Edit(c.path(), func(old []byte) ([]byte, error) {
				if old == nil {
					return nil, nil
				}
				return setAll(old, [][2]string{{"IPV6_DEFAULTGW", gw.String()}}), nil
			})
		}
	}
	sets := [][2]string{{"NETWORKING_IPV6", "yes"}}
	if now, ok := parseShell(p.f.network).get("IPV6_DEFAULTGW"); !ok || !sameGateway(now, gw) {
		sets = append(sets, [2]string{"IPV6_DEFAULTGW", gw.String()})
	}
	return sets
}

// sameGateway compares "fe80::1%eth0" with an address: the scope is only a
// device.
func sameGateway(text string, gw netip.Addr) bool {
	a, err := netip.ParseAddr(text)
	return err == nil && a.WithZone("") == gw
}
