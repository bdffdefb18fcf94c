package verify

import (
	"encoding/binary"
	"net/netip"
)

// quotes says whether an ICMP message, as a raw socket gives it (with the IP
// header in IPv4, raw(7), and without in IPv6), says "destination unreachable"
// of a TCP packet to that end from that port.
func quotes(message []byte, from uint16, to netip.AddrPort) bool {
	const tcp = 6
	if to.Addr().Is6() {
		const head, quoted = 8, 40
		if len(message) < head+quoted+4 || message[0] != 1 || message[head+6] != tcp {
			return false
		}
		addr, _ := netip.AddrFromSlice(message[head+24 : head+40])
		return addr == to.Addr() && ports(message[head+quoted:], from, to.Port())
	}
	icmp, ok := payload(message)
	if !ok || len(icmp) < 8 || icmp[0] != 3 {
		return false
	}
	inner := icmp[8:]
	segment, ok := payload(inner)
	if !ok || len(segment) < 4 || inner[9] != tcp {
		return false
	}
	addr, _ := netip.AddrFromSlice(inner[16:20])
	return addr == to.Addr() && ports(segment, from, to.Port())
}

// payload is what follows an IPv4 header.
func payload(packet []byte) ([]byte, bool) {
	if len(packet) < 20 || packet[0]>>4 != 4 {
		return nil, false
	}
	n := int(packet[0]&15) * 4
	if n < 20 || len(packet) < n {
		return nil, false
	}
	return packet[n:], true
}

func ports(segment []byte, from, to uint16) bool {
	return binary.BigEndian.Uint16(segment) == from && binary.BigEndian.Uint16(segment[2:]) == to
}
