package step

import (
	"net/netip"
	"strings"
)

// RecordedEffects are the effects of a live change that was recorded in a
// ledger or a journal. Builds before effects recorded none: they are read off
// the ID that the step had, with what was to be known of the states before and
// after. This is the only place where an ID means anything (house_test.go
// holds that): those that steps have today are names alone.
func RecordedEffects(recorded []Effect, id, was, want string) []Effect {
	if len(recorded) > 0 {
		return recorded
	}
	kind, what, _ := strings.Cut(id, ":")
	toward := func(k EffectKind, a netip.Addr) Effect { return Toward(was, want, k, a) }
	addr, err := netip.ParseAddr(what)
	switch {
	case id == "ipvs":
		return []Effect{Alter(IPVSTable, netip.Addr{})}
	case kind == "route" && what == "default":
		return []Effect{toward(DefaultRoute, Unspecified(false))}
	case kind == "route" && what == "default6", kind == "route6" && what == "default":
		return []Effect{toward(DefaultRoute, Unspecified(true))}
	case strings.HasPrefix(kind, "gif") && err == nil:
		return []Effect{toward(VIP, addr), toward(Tunnel, netip.Addr{})}
	case kind == "tunnel", kind == "link", strings.HasPrefix(kind, "gif"):
		return tunnelEffects(was, want)
	case (kind == "address" || kind == "lo0" || kind == "vip") && err == nil:
		return []Effect{toward(VIP, addr)}
	case kind == "sysctl":
		return []Effect{sysctlEffect(what, was, want)}
	}
	return []Effect{toward(Support, netip.Addr{})}
}

// sysctlEffect knows the kernel settings of Linux and FreeBSD that builds
// before effects changed.
func sysctlEffect(key, was, want string) Effect {
	switch key {
	case "net.ipv4.ip_forward", "net.inet.ip.forwarding":
		return Switched(was, want, Forwarding, Unspecified(false))
	case "net.ipv6.conf.all.forwarding", "net.inet6.ip6.forwarding":
		return Switched(was, want, Forwarding, Unspecified(true))
	}
	if strings.HasSuffix(key, "arp_ignore") || strings.HasSuffix(key, "arp_announce") {
		return Switched(was, want, ARPSuppression, netip.Addr{})
	}
	return Alter(Support, netip.Addr{})
}

// tunnelEffects reads the states of a tunnel's device: a tunnel that is down
// takes no packets, and what Solaris has of one says which address it carries,
// as ifconfig does.
func tunnelEffects(was, want string) []Effect {
	off := func(v string) string {
		if v == "down" || v == "IPv6 off" {
			return ""
		}
		return v
	}
	carried := func(v string) (a netip.Addr) {
		if _, rest, ok := strings.Cut(v, "inet "); ok {
			word, _, _ := strings.Cut(rest, " ")
			a, _ = netip.ParseAddr(word)
		}
		return a
	}
	list := []Effect{Toward(off(was), off(want), Tunnel, netip.Addr{})}
	switch a, b := carried(was), carried(want); {
	case a == b && b.IsValid():
		list = append(list, Alter(VIP, a))
	default:
		if a.IsValid() {
			list = append(list, Lose(VIP, a))
		}
		if b.IsValid() {
			list = append(list, Gain(VIP, b))
		}
	}
	return list
}
