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
		return []Effect{toward(Tunnel, netip.Addr{})}
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
