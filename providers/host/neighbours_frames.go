package host

import (
	"encoding/binary"
	"net/netip"
)

// A mac is an Ethernet address.
type mac = [6]byte

// The frames of neighbour questions and announcements, as they go over
// Ethernet. Building and reading them is the same on every system.
const (
	etherTypeARP  = 0x0806
	etherTypeIPv6 = 0x86dd

	arpFrameLen = 14 + 28

	protoICMPv6    = 58
	icmpSolicit    = 135 // RFC 4861, 4.3
	icmpAdvertise  = 136 // RFC 4861, 4.4
	naRouter       = 0x80
	naOverride     = 0x20
	optTargetLink  = 2   // RFC 4861, 4.6.1
	neighbourLimit = 255 // hop limit: no router has passed it on (RFC 4861, 7.1)
)

func broadcast() mac { return mac{0xff, 0xff, 0xff, 0xff, 0xff, 0xff} }

// arpRequest is a request from src for target with the sender address sender
// (RFC 826): a probe with 0.0.0.0 (RFC 5227, 2.1.1), an announcement with the
// target itself (RFC 5227, 2.3).
func arpRequest(src mac, sender, target netip.Addr) []byte {
	b := ethernet(broadcast(), src, etherTypeARP)
	b = append(b, 0, 1, 8, 0, 6, 4, 0, 1) // Ethernet, IPv4, their lengths, request
	b = append(b, src[:]...)
	b = append(b, sender.AsSlice()...)
	b = append(b, 0, 0, 0, 0, 0, 0)
	return append(b, target.AsSlice()...)
}

func ethernet(dst, src mac, kind uint16) []byte {
	b := append([]byte(nil), dst[:]...)
	b = append(b, src[:]...)
	return binary.BigEndian.AppendUint16(b, kind)
}

// arpSender reads who an ARP frame comes from: request or reply, its sender
// has the sender address. ok is false for anything else, a probe included,
// whose sender claims nothing.
func arpSender(frame []byte) (who mac, addr netip.Addr, ok bool) {
	if len(frame) < arpFrameLen || binary.BigEndian.Uint16(frame[12:]) != etherTypeARP {
		return who, addr, false
	}
	p := frame[14:]
	if string(p[:6]) != "\x00\x01\x08\x00\x06\x04" {
		return who, addr, false
	}
	if op := binary.BigEndian.Uint16(p[6:]); op != 1 && op != 2 {
		return who, addr, false
	}
	copy(who[:], p[8:14])
	addr = netip.AddrFrom4([4]byte(p[14:18]))
	return who, addr, addr != netip.IPv4Unspecified()
}

// solicitation asks who has target from the unspecified address, as duplicate
// address detection does (RFC 4862, 5.4.2): without the option that would tell
// the asker's own address.
func solicitation(src mac, target netip.Addr) []byte {
	t := target.As16()
	// The solicited-node group (RFC 4291, 2.7.1), and its address on
	// Ethernet (RFC 2464, 7).
	group := netip.AddrFrom16([16]byte{0: 0xff, 1: 2, 11: 1, 12: 0xff, 13: t[13], 14: t[14], 15: t[15]})
	body := append([]byte{icmpSolicit, 0, 0, 0, 0, 0, 0, 0}, t[:]...)
	return neighbourFrame(src, groupMAC(group), netip.IPv6Unspecified(), group, body)
}

// advertisement tells all nodes that src has addr (RFC 4861, 7.2.6),
// unsolicited, to override what they remember. router is whether src forwards
// packets.
func advertisement(src mac, addr netip.Addr, router bool) []byte {
	flags := byte(naOverride)
	if router {
		flags |= naRouter
	}
	all := netip.IPv6LinkLocalAllNodes()
	body := append([]byte{icmpAdvertise, 0, 0, 0, flags, 0, 0, 0}, addr.AsSlice()...)
	body = append(body, optTargetLink, 1)
	body = append(body, src[:]...)
	return neighbourFrame(src, groupMAC(all), addr, all, body)
}

// groupMAC is the Ethernet address of an IPv6 multicast group (RFC 2464, 7).
func groupMAC(group netip.Addr) mac {
	g := group.As16()
	return mac{0x33, 0x33, g[12], g[13], g[14], g[15]}
}

func neighbourFrame(src, dst mac, from, to netip.Addr, body []byte) []byte {
	b := ethernet(dst, src, etherTypeIPv6)
	b = append(b, 0x60, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(len(body)))
	b = append(b, protoICMPv6, neighbourLimit)
	b = append(b, from.AsSlice()...)
	b = append(b, to.AsSlice()...)
	binary.BigEndian.PutUint16(body[2:], ^checksum(from, to, body))
	return append(b, body...)
}

// checksum is the ones' complement sum of the pseudo-header and body (RFC
// 8200, 8.1), not complemented: 0xffff for a body that holds a right one.
func checksum(from, to netip.Addr, body []byte) uint16 {
	sum := uint32(len(body)) + protoICMPv6
	add := func(b []byte) {
		for len(b) > 1 {
			sum += uint32(b[0])<<8 | uint32(b[1])
			b = b[2:]
		}
		if len(b) == 1 {
			sum += uint32(b[0]) << 8
		}
	}
	add(from.AsSlice())
	add(to.AsSlice())
	add(body)
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}

// advertised reads a neighbour advertisement: the address that it is about,
// and the Ethernet address that has it, from its option or, where that is left
// out, from the frame. What RFC 4861, 7.1.2, calls invalid is not ok.
func advertised(frame []byte) (who mac, addr netip.Addr, ok bool) {
	if len(frame) < 14+40+24 || binary.BigEndian.Uint16(frame[12:]) != etherTypeIPv6 {
		return who, addr, false
	}
	ip := frame[14:]
	length := int(binary.BigEndian.Uint16(ip[4:]))
	if ip[0]>>4 != 6 || ip[6] != protoICMPv6 || ip[7] != neighbourLimit || length < 24 || length > len(ip)-40 {
		return who, addr, false
	}
	body := ip[40 : 40+length] // Ethernet may have padded it
	from, to := netip.AddrFrom16([16]byte(ip[8:24])), netip.AddrFrom16([16]byte(ip[24:40]))
	if body[0] != icmpAdvertise || body[1] != 0 || checksum(from, to, body) != 0xffff {
		return who, addr, false
	}
	copy(who[:], frame[6:12])
	addr = netip.AddrFrom16([16]byte(body[8:24]))
	for opts := body[24:]; len(opts) > 0; {
		if len(opts) < 8 || opts[1] == 0 || int(opts[1])*8 > len(opts) {
			return who, addr, false
		}
		if opts[0] == optTargetLink {
			copy(who[:], opts[2:8])
		}
		opts = opts[int(opts[1])*8:]
	}
	return who, addr, !addr.IsMulticast()
}
