package ipvs

import (
	"cmp"
	"slices"
)

// known are the flags that are part of the rules. The kernel reports
// IP_VS_SVC_F_HASHED (0x0002) besides, which only says that the service is in
// its hash table.
const known = Persistent | OnePacket | Sched1 | Sched2 | Sched3

// Normal gives the service in the one form that comparison knows: no flag of
// the kernel's own, the full netmask as 0, and neither time-out nor netmask
// where nothing persists. The real servers are left as they are.
func (s Service) Normal() Service {
	s.Flags &= known
	if s.Flags&Persistent == 0 {
		s.Timeout, s.Netmask, s.OddMask = 0, 0, 0
	}
	full := 32
	if s.Key.IPv6() {
		full = 128
	}
	if s.Netmask == full {
		s.Netmask = 0
	}
	if s.Netmask >= 0 {
		s.OddMask = 0
	}
	return s
}

// Normal gives the real server without what its method has no use for.
func (d Destination) Normal() Destination {
	if d.Method != TUN || d.Tunnel == "" {
		d.Tunnel, d.TunnelPort, d.TunnelFlags = "", 0, 0
	}
	if d.Tunnel == "gre" {
		d.TunnelPort = 0
	}
	d.Active, d.Inactive, d.Persistent = 0, 0, 0
	return d
}

// sameService compares all but the real servers.
func sameService(a, b Service) bool {
	a, b = a.Normal(), b.Normal()
	return a.Key == b.Key && a.Scheduler == b.Scheduler && a.Flags == b.Flags &&
		a.Timeout == b.Timeout && a.Netmask == b.Netmask && a.OddMask == b.OddMask && a.Engine == b.Engine
}

// sameDest compares two entries of one real server. Kernels before 2.6.37 make
// the method of the director's own address Local, whatever was asked for, so
// Local equals every method.
func sameDest(a, b Destination, anyWeight bool) bool {
	a, b = a.Normal(), b.Normal()
	if anyWeight {
		a.Weight = b.Weight
	}
	if a.Method == Local || b.Method == Local {
		a.Method, a.Tunnel, a.TunnelPort, a.TunnelFlags = b.Method, b.Tunnel, b.TunnelPort, b.TunnelFlags
	}
	return a == b
}

// protocolNumbers are those of IANA, by which ipvsadm sorts.
func protocolNumber(p string) uint16 {
	switch p {
	case "tcp":
		return 6
	case "udp":
		return 17
	case "sctp":
		return 132
	}
	return 0
}

// Compare orders keys as ipvsadm lists them: marks last, then by family,
// protocol, address and port.
func (k Key) Compare(o Key) int {
	six := func(k Key) int {
		if k.IPv6() {
			return 1
		}
		return 0
	}
	return cmp.Or(
		cmp.Compare(k.Mark, o.Mark),
		cmp.Compare(six(k), six(o)),
		cmp.Compare(protocolNumber(k.Protocol), protocolNumber(o.Protocol)),
		k.Addr.Compare(o.Addr),
		cmp.Compare(k.Port, o.Port),
	)
}

// Compare orders real servers by address and port.
func (k DestKey) Compare(o DestKey) int {
	return cmp.Or(k.Addr.Compare(o.Addr), cmp.Compare(k.Port, o.Port))
}

// Sorted gives the services, and the real servers of each, in the order in
// which ipvsadm lists them. The argument is left as it is.
func Sorted(services []Service) []Service {
	out := slices.Clone(services)
	for i := range out {
		out[i].Dests = sortedDests(out[i].Dests)
	}
	slices.SortFunc(out, func(a, b Service) int { return a.Key.Compare(b.Key) })
	return out
}

func sortedDests(dests []Destination) []Destination {
	by := func(a, b Destination) int { return a.DestKey.Compare(b.DestKey) }
	if slices.IsSortedFunc(dests, by) {
		return dests
	}
	dests = slices.Clone(dests)
	slices.SortFunc(dests, by)
	return dests
}
