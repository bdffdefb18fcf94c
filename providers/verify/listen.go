package verify

import (
	"encoding/hex"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// A Socket is one that waits for clients.
type Socket struct {
	Protocol string     // "tcp", "udp", "sctp"
	Addr     netip.Addr // zero: every address of its families
	Port     int
	V4, V6   bool // the families in which it takes clients
}

// Accepts says whether clients of addr and port come to s.
func (s Socket) Accepts(protocol string, addr netip.Addr, port int) bool {
	if s.Protocol != protocol || s.Port != port {
		return false
	}
	if s.Addr.IsValid() {
		return s.Addr == addr
	}
	return addr.Is6() && s.V6 || addr.Is4() && s.V4
}

// parseProcNet reads /proc/net/tcp, udp, tcp6 or udp6 (proc_net_tcp(5)): of
// TCP what is in state 0A (LISTEN), of UDP what is in state 07 (unconnected).
// A wildcard of IPv6 counts for IPv4 too: the file does not tell IPV6_V6ONLY,
// and few sockets have it.
func parseProcNet(protocol, text string) []Socket {
	var list []Socket
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 4 || !strings.HasSuffix(f[0], ":") {
			continue
		}
		if protocol == "tcp" && f[3] != "0A" || protocol == "udp" && f[3] != "07" {
			continue
		}
		addr, port, ok := hexAddrPort(f[1])
		if !ok {
			continue
		}
		list = append(list, socket(protocol, addr, port))
	}
	return list
}

// socket makes one of an address, the unspecified ones being wildcards.
func socket(protocol string, addr netip.Addr, port int) Socket {
	s := Socket{Protocol: protocol, Port: port, V4: addr.Is4() || addr.IsUnspecified(), V6: addr.Is6()}
	if !addr.IsUnspecified() {
		s.Addr = addr.Unmap().WithZone("")
	}
	return s
}

// hexAddrPort reads "0100007F:0050". The kernel prints the address in 32-bit
// words of the machine's order, and the port as a number (tcp_ipv4.c,
// tcp_ipv6.c). The machine is taken for a little-endian one, as every Linux is
// that lvsfleet has an agent for; wildcards are the same on all.
func hexAddrPort(s string) (netip.Addr, int, bool) {
	a, p, ok := strings.Cut(s, ":")
	port, err := strconv.ParseUint(p, 16, 16)
	raw, herr := hex.DecodeString(a)
	if !ok || err != nil || herr != nil || len(raw) != 4 && len(raw) != 16 {
		return netip.Addr{}, 0, false
	}
	for i := 0; i < len(raw); i += 4 {
		slices.Reverse(raw[i : i+4])
	}
	addr, _ := netip.AddrFromSlice(raw)
	return addr, int(port), true
}

// parseSCTPEndpoints reads /proc/net/sctp/eps (net/sctp/proc.c): the state of
// the socket (SST) is 10 for one that listens, its port is LPORT, and the
// addresses follow the inode, every one that it is bound to.
func parseSCTPEndpoints(text string) []Socket {
	var list []Socket
	var header []string
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) > 0 && f[0] == "ENDPT" {
			header = f
			continue
		}
		state, port, addrs := slices.Index(header, "SST"), slices.Index(header, "LPORT"), slices.Index(header, "LADDRS")
		if state < 0 || port < 0 || addrs < 0 || len(f) <= addrs || f[state] != "10" {
			continue
		}
		n, err := strconv.ParseUint(f[port], 10, 16)
		if err != nil {
			continue
		}
		for _, a := range f[addrs:] {
			if addr, err := netip.ParseAddr(a); err == nil {
				list = append(list, socket("sctp", addr, int(n)))
			}
		}
	}
	return list
}

// parseNetstat reads `netstat -an` of FreeBSD and Solaris: TCP that says
// LISTEN, and UDP that has no other end. FreeBSD has one table, whose lines
// begin with protocol and family ("tcp4", "tcp46"); Solaris one for each,
// under a heading ("TCP: IPv4"), and a socket that takes both families stands
// in both, or in that of IPv6 alone.
func parseNetstat(text string) []Socket {
	var list []Socket
	heading, six := "", false
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		if name, ok := strings.CutSuffix(f[0], ":"); ok {
			heading, six = "", len(f) > 1 && f[1] == "IPv6"
			if name == "TCP" || name == "UDP" {
				heading = strings.ToLower(name)
			}
			continue
		}
		protocol, local := heading, f[0]
		v4, v6 := !six || heading != "", six
		if name := strings.TrimRight(f[0], "46"); name == "tcp" || name == "udp" {
			if len(f) < 5 {
				continue
			}
			protocol, local = name, f[3]
			family := f[0][len(name):]
			v4, v6 = family != "6", strings.Contains(family, "6")
			f = f[3:]
		} else if heading == "" {
			continue
		}
		switch {
		case protocol == "tcp" && f[len(f)-1] != "LISTEN":
			continue
		case protocol == "udp" && !unconnected(f[1:]):
			continue
		}
		if s, ok := dotted(protocol, local, v4, v6); ok {
			list = append(list, s)
		}
	}
	return list
}

// unconnected says whether a UDP line has no other end: "*.*" on FreeBSD; on
// Solaris the column is empty, and what follows is the state "Idle".
func unconnected(rest []string) bool {
	return len(rest) == 0 || rest[0] == "*.*" || rest[0] == "Idle"
}

// dotted reads "*.80", "192.168.0.200.80" and "fe80::1%em0.80".
func dotted(protocol, local string, v4, v6 bool) (Socket, bool) {
	i := strings.LastIndexByte(local, '.')
	if i < 0 {
		return Socket{}, false
	}
	port, err := strconv.ParseUint(local[i+1:], 10, 16)
	if err != nil {
		return Socket{}, false
	}
	s := Socket{Protocol: protocol, Port: int(port), V4: v4, V6: v6}
	if local[:i] == "*" {
		return s, true
	}
	addr, err := netip.ParseAddr(local[:i])
	if err != nil {
		return Socket{}, false
	}
	s.Addr = addr.Unmap().WithZone("")
	return s, true
}
