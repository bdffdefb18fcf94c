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
	if d.Method != TUN || d.Tunnel == IPIP {
		d.Tunnel, d.TunnelPort, d.TunnelFlags = IPIP, 0, 0
	}
	if d.Tunnel == GRE {
		d.TunnelPort = 0
	}
	return d.rule()
}

// rule gives the real server without what was only read with it.
func (d Destination) rule() Destination {
	d.Active, d.Inactive, d.Persistent, d.Counts = 0, 0, 0, nil
	return d
}

// sameService compares all but the real servers.
func sameService(a, b *Service) bool {
	if a.Key == b.Key && a.Scheduler == b.Scheduler && a.Flags == b.Flags && a.Timeout == b.Timeout &&
		a.Netmask == b.Netmask && a.OddMask == b.OddMask && a.Engine == b.Engine {
		return true // as nearly all are
	}
	x, y := a.Normal(), b.Normal()
	return x.Key == y.Key && x.Scheduler == y.Scheduler && x.Flags == y.Flags &&
		x.Timeout == y.Timeout && x.Netmask == y.Netmask && x.OddMask == y.OddMask && x.Engine == y.Engine
}

// sameDest compares two entries of one real server. Kernels before 2.6.37 make
// the method of the director's own address Local, whatever was asked for, so
// Local equals every method.
func sameDest(a, b *Destination, anyWeight bool) bool {
	if a.DestKey != b.DestKey || a.Upper != b.Upper || a.Lower != b.Lower || a.Weight != b.Weight && !anyWeight {
		return false
	}
	if a.Method == Local || b.Method == Local {
		return true
	}
	if a.Method != b.Method {
		return false
	}
	if a.Method != TUN || a.Tunnel == IPIP && b.Tunnel == IPIP {
		return true
	}
	x, y := a.Normal(), b.Normal()
	return x.Tunnel == y.Tunnel && x.TunnelPort == y.TunnelPort && x.TunnelFlags == y.TunnelFlags
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

// A shortKey is a Key in a form that is quick to hash.
type shortKey struct {
	addr     [16]byte
	mark     uint32
	port     uint16
	protocol uint8
	family   uint8
}

func (k *Key) short() shortKey {
	s := shortKey{mark: k.Mark, port: k.Port, protocol: uint8(protocolNumber(k.Protocol))}
	if k.Addr.IsValid() {
		s.addr = k.Addr.As16()
	}
	switch {
	case k.Addr.Is4():
		s.family = 4
	case k.IPv6():
		s.family = 6
	}
	return s
}

// Compare orders keys as ipvsadm lists them: marks last, then by family,
// protocol, address and port.
func (k Key) Compare(o Key) int {
	switch {
	case k.Mark != o.Mark:
		return cmp.Compare(k.Mark, o.Mark)
	case k.IPv6() != o.IPv6():
		if o.IPv6() {
			return -1
		}
		return 1
	case k.Protocol != o.Protocol:
		return cmp.Compare(protocolNumber(k.Protocol), protocolNumber(o.Protocol))
	case k.Addr != o.Addr:
		return k.Addr.Compare(o.Addr)
	}
	return cmp.Compare(k.Port, o.Port)
}

// Compare orders real servers by address and port.
func (k DestKey) Compare(o DestKey) int {
	if k.Addr == o.Addr {
		return cmp.Compare(k.Port, o.Port)
	}
	return k.Addr.Compare(o.Addr)
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
	for i := 1; i < len(dests); i++ {
		if dests[i-1].DestKey.Compare(dests[i].DestKey) > 0 {
			dests = slices.Clone(dests)
			slices.SortStableFunc(dests, by)
			break
		}
	}
	return dests
}
