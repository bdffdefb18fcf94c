//go:build linux

package standin

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
)

// protocol marks the routes that the mirror has made (rtnetlink(7): above
// RTPROT_STATIC, for who sets it to use).
const protocol = 99

// mirrored makes the namespace's network what the machine's is: the addresses
// and state of cards and loopback, tunnels with their ends, routes. IPv6 is
// not mirrored. It comes before every command of every script, most of which
// change nothing: then nothing is asked of the kernel.
func (v *Machine) mirrored() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	var links []sim.Link
	var routes []sim.Route
	v.m.Locked(func() {
		for _, l := range v.m.Net.Links {
			c := *l
			c.Addrs, c.Flags = slices.Clone(l.Addrs), nil
			links = append(links, c)
		}
		routes = slices.Clone(v.m.Net.Routes)
	})
	if v.shown != nil && reflect.DeepEqual(links, v.shown.links) && reflect.DeepEqual(routes, v.shown.routes) {
		return nil
	}
	v.shown = nil
	var errs []error
	tunnels := map[string]bool{}
	for _, l := range links {
		if l.Kind == sim.IPTunnel && l.Local.IsValid() && l.Remote.IsValid() && l.Local.Is4() {
			tunnels[l.Name] = true
		}
	}
	if err := dropTunnels(tunnels); err != nil {
		errs = append(errs, err)
	}
	for _, l := range links {
		if err := mirrorLink(l, tunnels[l.Name]); err != nil {
			errs = append(errs, fmt.Errorf("mirror %s: %w", l.Name, err))
		}
	}
	if err := mirrorRoutes(routes); err != nil {
		errs = append(errs, fmt.Errorf("mirror routes: %w", err))
	}
	if len(errs) == 0 {
		v.shown = &network{links, routes}
	}
	return errors.Join(errs...)
}

// A network is what the kernel has been shown.
type network struct {
	links  []sim.Link
	routes []sim.Route
}

// dropTunnels takes the tunnels away that the machine has no more. tunl0 is
// the module's.
func dropTunnels(keep map[string]bool) error {
	list, err := netlink.LinkList()
	if err != nil {
		return err
	}
	for _, l := range list {
		if name := l.Attrs().Name; l.Type() == "ipip" && name != "tunl0" && !keep[name] {
			if err := netlink.LinkDel(l); err != nil {
				return fmt.Errorf("drop tunnel %s: %w", name, err)
			}
		}
	}
	return nil
}

func mirrorLink(l sim.Link, tunnel bool) error {
	name, isUp := l.Name, l.Up
	switch l.Kind {
	case sim.Loopback:
		if name != "lo0" {
			return errors.New("a second loopback is not modelled")
		}
		name, isUp = "lo", true
	case sim.IPTunnel:
		if !tunnel {
			return nil // nothing comes out of a tunnel without ends
		}
		if err := makeTunnel(l); err != nil {
			return err
		}
	}
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	set := netlink.LinkSetDown
	if isUp {
		set = netlink.LinkSetUp
	}
	if err := set(link); err != nil {
		return err
	}
	return mirrorAddrs(link, l.Addrs)
}

// makeTunnel makes an IP-in-IP device with these ends. It takes packets from
// its far end alone, as gif(4) and tun(7M) do.
func makeTunnel(l sim.Link) error {
	local, remote := net.IP(l.Local.AsSlice()), net.IP(l.Remote.AsSlice())
	if old, err := netlink.LinkByName(l.Name); err == nil {
		if t, ok := old.(*netlink.Iptun); ok && t.Local.Equal(local) && t.Remote.Equal(remote) {
			return nil
		}
		if err := netlink.LinkDel(old); err != nil {
			return err
		}
	}
	return netlink.LinkAdd(&netlink.Iptun{LinkAttrs: netlink.LinkAttrs{Name: l.Name}, Local: local, Remote: remote, PMtuDisc: 1})
}

func mirrorAddrs(link netlink.Link, list []sim.Addr) error {
	have, err := netlink.AddrList(link, netlink.FAMILY_V4)
	if err != nil {
		return err
	}
	want := map[string]*netlink.Addr{}
	for _, a := range list {
		if a.Down || !a.Prefix.IsValid() || !a.Prefix.Addr().Is4() || a.Prefix.Addr().IsUnspecified() || a.Prefix.Addr().IsLoopback() {
			continue
		}
		n := &netlink.Addr{IPNet: ipnet(a.Prefix)}
		if a.Peer.IsValid() {
			n.IPNet, n.Peer = ipnet(netip.PrefixFrom(a.Prefix.Addr(), 32)), ipnet(netip.PrefixFrom(a.Peer, 32))
		}
		want[key(*n)] = n
	}
	for _, h := range have {
		k := key(h)
		if want[k] == nil && !h.IP.IsLoopback() {
			if err := netlink.AddrDel(link, &h); err != nil {
				return fmt.Errorf("take %s away: %w", k, err)
			}
		}
		delete(want, k)
	}
	for k, n := range want {
		if err := netlink.AddrAdd(link, n); err != nil {
			return fmt.Errorf("add %s: %w", k, err)
		}
	}
	return nil
}

// key says what an address is. Without a peer the kernel reports the address
// itself as one.
func key(a netlink.Addr) string {
	s := a.IPNet.String()
	if a.Peer != nil && a.Peer.String() != s {
		s += " peer " + a.Peer.String()
	}
	return s
}

// mirrorRoutes makes the routes that go by a gateway. Of several with one
// destination the first counts, as in FreeBSD's table.
func mirrorRoutes(list []sim.Route) error {
	filter := &netlink.Route{Protocol: protocol, Table: unix.RT_TABLE_MAIN}
	have, err := netlink.RouteListFiltered(netlink.FAMILY_V4, filter, netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TABLE)
	if err != nil {
		return err
	}
	want := map[string]*netlink.Route{}
	for i, r := range list {
		if !r.Gateway.IsValid() || !r.Gateway.Is4() {
			continue
		}
		n := &netlink.Route{Dst: ipnet(r.Dst.Masked()), Gw: net.IP(r.Gateway.AsSlice()), Protocol: protocol, Priority: i + 1}
		want[routeKey(*n)] = n
	}
	for _, h := range have {
		k := routeKey(h)
		if want[k] == nil {
			if err := netlink.RouteDel(&h); err != nil {
				return fmt.Errorf("delete %s: %w", k, err)
			}
		}
		delete(want, k)
	}
	for k, n := range want {
		if err := netlink.RouteAdd(n); err != nil {
			return fmt.Errorf("add %s: %w", k, err)
		}
	}
	return nil
}

func routeKey(r netlink.Route) string {
	dst := "0.0.0.0/0"
	if r.Dst != nil {
		dst = r.Dst.String()
	}
	return fmt.Sprintf("%s via %s metric %d", dst, r.Gw, r.Priority)
}

func ipnet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
