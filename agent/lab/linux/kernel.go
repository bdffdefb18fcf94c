package linux

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
)

// A kernel is what the commands ask: the state of a machine, changed by the
// rules of its era. Every method either makes its whole change or none.
type kernel struct {
	*sim.Net
	era era
	// appear is told of a device that has come, as udev is; nil: nobody is.
	appear func(dev string)
}

// kernelOf gives the kernel of m, with udev beside it where systemd runs.
func kernelOf(m *sim.Machine, e era) kernel {
	k := kernel{Net: m.Net, era: e}
	if e.systemd() {
		k.appear = func(dev string) { udev(m.FS, kernel{Net: m.Net, era: e}, dev) }
	}
	return k
}

// A kernelError is what netlink answers: an errno's text, and the explanation
// that kernels give since 4.12.
type kernelError struct{ errno, explained string }

func (e *kernelError) Error() string { return e.errno }

// The errnos that the kernel answers with, by strerror(3).
const (
	eexist      = "File exists"
	enoent      = "No such file or directory"
	esrch       = "No such process"
	enodev      = "No such device"
	einval      = "Invalid argument"
	enetunreach = "Network is unreachable"
	enotavail   = "Cannot assign requested address"
	enetdown    = "Network is down"
)

// family6 says whether a is IPv6.
func family6(a netip.Addr) bool { return a.Is6() && !a.Is4In6() }

// subnet is the net that a makes its link reach.
func subnet(a sim.Addr) netip.Prefix {
	if a.Peer.IsValid() {
		return netip.PrefixFrom(a.Peer, a.Prefix.Bits()).Masked()
	}
	return a.Prefix.Masked()
}

// secondary says whether the i-th address of l is secondary: the same net with
// the same length is held by an earlier one (inet_insert_ifa, devinet.c).
func secondary(l *sim.Link, i int) bool {
	a := l.Addrs[i]
	if family6(a.Prefix.Addr()) {
		return false
	}
	for _, b := range l.Addrs[:i] {
		if !family6(b.Prefix.Addr()) && subnet(a) == subnet(b) {
			return true
		}
	}
	return false
}

// addAddr adds an address (__inet_insert_ifa in devinet.c, inet6_addr_add in
// addrconf.c). replace makes an address that is there already no error; its
// label and broadcast address stay as they are.
func (k kernel) addAddr(dev string, a sim.Addr, replace bool) error {
	l := k.Link(dev)
	if l == nil {
		return &kernelError{errno: enodev}
	}
	six := family6(a.Prefix.Addr())
	if six && k.Sysctls[confKey(6, dev, "disable_ipv6")] == "1" {
		return &kernelError{"Permission denied", "ipv6: IPv6 is disabled on this device."}
	}
	for _, b := range l.Addrs {
		if b.Prefix != a.Prefix && (!six || b.Prefix.Addr() != a.Prefix.Addr()) || b.Peer != a.Peer {
			continue
		}
		if replace {
			return nil
		}
		if six {
			return &kernelError{eexist, "ipv6: address already assigned."}
		}
		return &kernelError{eexist, "ipv4: Address already assigned."}
	}
	if a.Label == "" {
		a.Label = dev
	}
	if six {
		a.Label = ""
		l.Addrs = append([]sim.Addr{a}, l.Addrs...) // ipv6_link_dev_addr sorts by scope, then the newest first
		slices.SortStableFunc(l.Addrs, func(x, y sim.Addr) int { return order(x) - order(y) })
		return nil
	}
	l.Flags[decoupled] = true
	at, second := 0, false
	for i, b := range l.Addrs {
		if family6(b.Prefix.Addr()) {
			continue
		}
		if subnet(b) == subnet(a) {
			second = true
		}
		if !secondary(l, i) && hostScope(b) >= hostScope(a) {
			at = i + 1
		}
	}
	if second {
		at = 0
		for i, b := range l.Addrs {
			if !family6(b.Prefix.Addr()) {
				at = i + 1
			}
		}
	}
	l.Addrs = slices.Insert(l.Addrs, at, a)
	return nil
}

// order sorts IPv4 before IPv6, and there global before host scope.
func order(a sim.Addr) int {
	switch {
	case !family6(a.Prefix.Addr()):
		return 0
	case a.Prefix.Addr().IsLoopback():
		return 2
	}
	return 1
}

// hostScope is 1 for an address of scope host, which ip(8) gives 127/8.
func hostScope(a sim.Addr) int {
	if a.Scope == "host" || a.Scope == "" && a.Prefix.Addr().IsLoopback() {
		return 1
	}
	return 0
}

// delAddr removes an address. A primary one takes its secondaries with it,
// unless promote_secondaries is set (__inet_del_ifa), and the routes that
// select it as their source. A prefix without a valid length (any) matches
// whatever length the address has.
func (k kernel) delAddr(dev string, p netip.Prefix, peer netip.Addr, any bool) error {
	l := k.Link(dev)
	if l == nil {
		return &kernelError{errno: enodev}
	}
	at := slices.IndexFunc(l.Addrs, func(a sim.Addr) bool {
		if any {
			return a.Prefix.Addr() == p.Addr()
		}
		return a.Prefix == p && (!peer.IsValid() || a.Peer == peer)
	})
	if at < 0 {
		if family6(p.Addr()) {
			return &kernelError{enotavail, "ipv6: address not found."}
		}
		return &kernelError{enotavail, "ipv4: Address not found."}
	}
	k.dropAddr(l, at)
	return nil
}

func (k kernel) dropAddr(l *sim.Link, at int) {
	gone := []sim.Addr{l.Addrs[at]}
	promote := k.Sysctls[confKey(4, "all", "promote_secondaries")] == "1" ||
		k.Sysctls[confKey(4, l.Name, "promote_secondaries")] == "1"
	primary := !secondary(l, at) && !family6(gone[0].Prefix.Addr())
	l.Addrs = slices.Delete(l.Addrs, at, at+1)
	if primary && !promote {
		l.Addrs = slices.DeleteFunc(l.Addrs, func(a sim.Addr) bool {
			if family6(a.Prefix.Addr()) || subnet(a) != subnet(gone[0]) {
				return false
			}
			gone = append(gone, a)
			return true
		})
	}
	left4 := slices.ContainsFunc(l.Addrs, func(a sim.Addr) bool { return !family6(a.Prefix.Addr()) })
	k.Routes = slices.DeleteFunc(k.Routes, func(r sim.Route) bool {
		for _, a := range gone {
			if r.Src == a.Prefix.Addr() {
				return true
			}
		}
		// The last address takes the routes of its device (fib_disable_ip).
		return r.Dev == l.Name && !left4 && !family6(r.Dst.Addr())
	})
}

// flush removes the IPv4 addresses of dev that have the label.
func (k kernel) flush(dev string, match func(sim.Addr) bool) {
	l := k.Link(dev)
	if l == nil {
		return
	}
	for i := len(l.Addrs) - 1; i >= 0; i-- {
		if i < len(l.Addrs) && match(l.Addrs[i]) {
			k.dropAddr(l, i)
		}
	}
}

// setUp brings a link up. The loopback gets its own addresses by that, where
// it has none (inetdev_event, addrconf_notify).
func (k kernel) setUp(l *sim.Link) {
	if l.Up {
		return
	}
	l.Up = true
	if l.Kind != sim.Loopback {
		return
	}
	if !slices.ContainsFunc(l.Addrs, func(a sim.Addr) bool { return !family6(a.Prefix.Addr()) }) {
		_ = k.addAddr(l.Name, sim.Addr{Prefix: netip.MustParsePrefix("127.0.0.1/8")}, true)
	}
	_ = k.addAddr(l.Name, sim.Addr{Prefix: netip.MustParsePrefix("::1/128")}, true)
}

// setDown takes a link down, and the routes through it.
func (k kernel) setDown(l *sim.Link) {
	l.Up = false
	k.Routes = slices.DeleteFunc(k.Routes, func(r sim.Route) bool { return r.Dev == l.Name })
}

// addLink makes a device appear, with its part of net.*.conf.
func (k kernel) addLink(l *sim.Link) *sim.Link {
	k.Add(l)
	k.bearConf(l.Name)
	if k.appear != nil {
		k.appear(l.Name)
	}
	return l
}

// delLink makes it go.
func (k kernel) delLink(name string) {
	k.Delete(name)
	for _, six := range []int{4, 6} {
		prefix := confKey(six, name, "")
		for key := range k.Sysctls {
			if strings.HasPrefix(key, prefix) {
				delete(k.Sysctls, key)
			}
		}
	}
}

// addTunnel makes an IP-in-IP device (ip_tunnel_create in ip_tunnel.c): one of
// a name, one of a pair of ends.
func (k kernel) addTunnel(name string, local, remote netip.Addr) error {
	if err := k.load("ipip"); err != nil {
		return &kernelError{errno: enodev}
	}
	for _, l := range k.Links {
		if l.Name == name || l.Kind == sim.IPTunnel && l.Local == local && l.Remote == remote {
			return &kernelError{errno: eexist}
		}
	}
	k.addLink(&sim.Link{Name: name, Kind: sim.IPTunnel, MTU: 1480, Local: local, Remote: remote})
	return nil
}
