package kernel

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// onMachine is the way to read this machine's kernel: netlink. What it does not
// tell whole, or not at once, is r's to tell.
func onMachine(r Reader) Reader { return byNetlink{r} }

type byNetlink struct{ other Reader }

// scopes are RT_SCOPE_* by the names of iproute2's rt_scopes.
var scopes = map[int]string{unix.RT_SCOPE_UNIVERSE: "global", unix.RT_SCOPE_SITE: "site", unix.RT_SCOPE_LINK: "link", unix.RT_SCOPE_HOST: "host", unix.RT_SCOPE_NOWHERE: "nowhere"}

// names are the links' by their numbers.
func names() (map[int]string, []netlink.Link, error) {
	links, err := netlink.LinkList()
	if err != nil { // one that was cut short, too
		return nil, nil, err
	}
	by := map[int]string{}
	for _, l := range links {
		by[l.Attrs().Index] = l.Attrs().Name
	}
	return by, links, nil
}

func family(v6 bool) int {
	if v6 {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

// Addrs reads RTM_GETADDR.
func (k byNetlink) Addrs(ctx context.Context, v6 bool) ([]Addr, error) {
	by, _, err := names()
	if err != nil {
		return k.other.Addrs(ctx, v6)
	}
	found, err := netlink.AddrList(nil, family(v6))
	if err != nil {
		return k.other.Addrs(ctx, v6)
	}
	// The kernel lists by device as ip does, but for where its table of them
	// has wrapped round.
	slices.SortStableFunc(found, func(a, b netlink.Addr) int { return cmp.Compare(a.LinkIndex, b.LinkIndex) })
	var list []Addr
	for _, f := range found {
		p, ok := prefix(f.IPNet)
		scope, known := scopes[f.Scope]
		dev := by[f.LinkIndex]
		if !ok || dev == "" {
			return k.other.Addrs(ctx, v6)
		}
		if !known {
			scope = strconv.Itoa(f.Scope)
		}
		a := Addr{Dev: dev, Prefix: p, Scope: scope, Secondary: !v6 && f.Flags&unix.IFA_F_SECONDARY != 0}
		if f.Peer != nil && !f.Peer.IP.Equal(f.IP) {
			if far, ok := netip.AddrFromSlice(f.Peer.IP); ok {
				// The length is the peer's net; the address itself is one address.
				a.Peer, a.Prefix = far.Unmap(), netip.PrefixFrom(p.Addr(), p.Addr().BitLen())
			}
		}
		if brd, ok := netip.AddrFromSlice(f.Broadcast); ok && !v6 {
			a.Broadcast = brd.Unmap().String()
		}
		if !v6 && (f.Label == dev || strings.HasPrefix(f.Label, dev+":")) {
			a.Label = f.Label
		}
		list = append(list, a)
	}
	return list, nil
}

func prefix(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	a, ok := netip.AddrFromSlice(n.IP)
	bits, size := n.Mask.Size()
	a = a.Unmap()
	return netip.PrefixFrom(a, bits), ok && size == a.BitLen()
}

// Links reads RTM_GETLINK.
func (k byNetlink) Links(ctx context.Context) ([]Link, error) {
	_, links, err := names()
	if err != nil {
		return k.other.Links(ctx)
	}
	var list []Link
	for _, l := range links {
		at := l.Attrs()
		one := Link{Index: at.Index, Name: at.Name, Up: at.Flags&net.FlagUp != 0}
		if at.EncapType == "ether" {
			one.MAC = "00:00:00:00:00:00" // which is given as none
			if len(at.HardwareAddr) > 0 {
				one.MAC = at.HardwareAddr.String()
			}
		}
		list = append(list, one)
	}
	return list, nil
}

// protos are RTPROT_* by the names of iproute2's rt_protos; of a route that
// somebody has set by hand nothing is said.
var protos = map[int]string{
	unix.RTPROT_BOOT: "", unix.RTPROT_REDIRECT: "redirect", unix.RTPROT_KERNEL: "kernel",
	unix.RTPROT_STATIC: "static", unix.RTPROT_DHCP: "dhcp", unix.RTPROT_RA: "ra",
}

// Defaults reads RTM_GETROUTE. A route of which more is to be said than its
// words here could set again, and those of IPv6, are ip's to tell.
func (k byNetlink) Defaults(ctx context.Context, v6 bool) ([]Route, error) {
	if v6 {
		return k.other.Defaults(ctx, v6)
	}
	by, _, err := names()
	if err != nil {
		return k.other.Defaults(ctx, v6)
	}
	found, err := netlink.RouteListFiltered(unix.AF_INET, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return k.other.Defaults(ctx, v6)
	}
	var list []Route
	for _, f := range found {
		if ones := 0; f.Dst != nil {
			if ones, _ = f.Dst.Mask.Size(); ones != 0 || !f.Dst.IP.IsUnspecified() {
				continue
			}
		}
		r, ok := plain(f, by)
		if !ok {
			return k.other.Defaults(ctx, v6)
		}
		list = append(list, r)
	}
	return list, nil
}

// plain gives a default route of which all can be told.
func plain(f netlink.Route, by map[int]string) (Route, bool) {
	r := Route{Metric: f.Priority}
	proto, known := protos[int(f.Protocol)]
	scope, named := scopes[int(f.Scope)]
	dev := by[f.LinkIndex]
	onlink := f.Flags&unix.RTNH_F_ONLINK != 0
	if !known || !named || dev == "" || f.Type != unix.RTN_UNICAST || f.Flags&^(unix.RTNH_F_ONLINK|unix.RTNH_F_LINKDOWN) != 0 {
		return r, false
	}
	rest := f
	rest.LinkIndex, rest.Dst, rest.Src, rest.Gw, rest.Protocol, rest.Scope = 0, nil, nil, nil, 0, 0
	rest.Priority, rest.Family, rest.Table, rest.Type, rest.Flags = 0, 0, 0, 0, 0
	if !reflect.DeepEqual(rest, netlink.Route{}) {
		return r, false
	}
	if via, ok := netip.AddrFromSlice(f.Gw); ok {
		r.Via = append(r.Via, via.Unmap())
		r.Spec = append(r.Spec, "via", via.Unmap().String())
	}
	r.Spec = append(r.Spec, "dev", dev)
	if proto != "" {
		r.Spec = append(r.Spec, "proto", proto)
	}
	if f.Scope != netlink.SCOPE_UNIVERSE {
		r.Spec = append(r.Spec, "scope", scope)
	}
	if src, ok := netip.AddrFromSlice(f.Src); ok {
		r.Spec = append(r.Spec, "src", src.Unmap().String())
	}
	if f.Priority != 0 {
		r.Spec = append(r.Spec, "metric", strconv.Itoa(f.Priority))
	}
	if onlink {
		r.Spec = append(r.Spec, "onlink")
	}
	return r, true
}

// Tunnels reads RTM_GETLINK.
func (k byNetlink) Tunnels(ctx context.Context) ([]Tunnel, error) {
	_, links, err := names()
	if err != nil {
		return k.other.Tunnels(ctx)
	}
	var list []Tunnel
	for _, l := range links {
		t, ok := l.(*netlink.Iptun)
		if !ok {
			continue
		}
		end := func(ip net.IP) netip.Addr {
			a, ok := netip.AddrFromSlice(ip)
			if a = a.Unmap(); !ok || a.IsUnspecified() {
				return netip.Addr{}
			}
			return a
		}
		list = append(list, Tunnel{Name: t.Name, Local: end(t.Local), Remote: end(t.Remote)})
	}
	return list, nil
}
