package freebsd

import (
	"math/bits"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// A Link is one interface as ifconfig(8) prints it.
type Link struct {
	Name  string
	Flags []string // "UP", "POINTOPOINT", "RUNNING", ...
	Addrs []Addr   // in the kernel's order
	// Local and Remote are the outer ends of a gif; invalid where it has none.
	Local, Remote netip.Addr
	// IPv6Off is the nd6 option IFDISABLED: the interface drops IPv6.
	IPv6Off bool
}

// An Addr is an address of a Link.
type Addr struct {
	Prefix netip.Prefix // the address with its length, host bits kept
	Peer   netip.Addr   // of a point-to-point interface; invalid: none
}

// Up says whether the interface is up.
func (l Link) Up() bool { return slices.Contains(l.Flags, "UP") }

// Addr finds an address of the link.
func (l Link) Addr(a netip.Addr) (Addr, bool) {
	i := slices.IndexFunc(l.Addrs, func(x Addr) bool { return x.Prefix.Addr() == a })
	if i < 0 {
		return Addr{}, false
	}
	return l.Addrs[i], true
}

// Links is what `ifconfig -a` printed.
type Links []Link

// Find finds a link by name.
func (ls Links) Find(name string) (Link, bool) {
	i := slices.IndexFunc(ls, func(l Link) bool { return l.Name == name })
	if i < 0 {
		return Link{}, false
	}
	return ls[i], true
}

// ByEnds finds the link with the outer ends.
func (ls Links) ByEnds(e ends) (Link, bool) {
	i := slices.IndexFunc(ls, func(l Link) bool { return ends{l.Local, l.Remote} == e })
	if i < 0 {
		return Link{}, false
	}
	return ls[i], true
}

// ParseIfconfig reads the output of `ifconfig -a`, of 2006 (lines end in a
// blank, no metric) to today, with masks in any of the formats that
// IFCONFIG_FORMAT can ask for. Lines that it does not know are passed over:
// every release adds some.
func ParseIfconfig(out string) Links {
	var links Links
	for line := range strings.Lines(out) {
		line = strings.TrimRight(line, "\r\n")
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		if line[0] != ' ' && line[0] != '\t' {
			name, ok := strings.CutSuffix(f[0], ":")
			if ok && name != "" && len(f) > 1 && strings.HasPrefix(f[1], "flags=") {
				links = append(links, Link{Name: name, Flags: angle(f[1])})
			}
			continue
		}
		if len(links) == 0 {
			continue
		}
		l := &links[len(links)-1]
		switch f[0] {
		case "inet", "inet6":
			if a, ok := parseAddr(f[0] == "inet6", f[1:]); ok {
				l.Addrs = append(l.Addrs, a)
			}
		case "tunnel":
			if len(f) >= 5 && (f[1] == "inet" || f[1] == "inet6") && f[3] == "-->" {
				local, err1 := netip.ParseAddr(f[2])
				remote, err2 := netip.ParseAddr(f[4])
				if err1 == nil && err2 == nil {
					l.Local, l.Remote = local, remote
				}
			}
		case "nd6":
			l.IPv6Off = slices.Contains(angle(line), "IFDISABLED")
		}
	}
	return links
}

// angle gives the words of "...<A,B,C>...".
func angle(s string) []string {
	_, s, ok := strings.Cut(s, "<")
	if !ok {
		return nil
	}
	s, _, _ = strings.Cut(s, ">")
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' })
}

// parseAddr reads "A netmask M", "A --> B netmask M", "A/LEN", "A prefixlen N"
// and what follows. An address without any mask does not occur in output.
func parseAddr(six bool, f []string) (Addr, bool) {
	if len(f) == 0 {
		return Addr{}, false
	}
	addr, length, ok := cutLength(f[0])
	if !ok || addr.Is6() != six {
		return Addr{}, false
	}
	a := Addr{}
	for i := 1; i+1 < len(f); i++ {
		switch f[i] {
		case "-->":
			peer, n, ok := cutLength(f[i+1])
			if !ok {
				return Addr{}, false
			}
			a.Peer = peer
			if n >= 0 {
				length = n
			}
		case "netmask":
			if n, ok := maskLength(f[i+1]); ok {
				length = n
			}
		case "prefixlen":
			if n, err := strconv.Atoi(f[i+1]); err == nil {
				length = n
			}
		}
	}
	a.Prefix = netip.PrefixFrom(addr.WithZone(""), length)
	return a, a.Prefix.IsValid()
}

// cutLength reads "A" (length -1) or "A/LEN".
func cutLength(s string) (addr netip.Addr, length int, ok bool) {
	text, tail, slash := strings.Cut(s, "/")
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}, 0, false
	}
	if !slash {
		return addr, -1, true
	}
	length, err = strconv.Atoi(tail)
	return addr, length, err == nil && length >= 0 && length <= addr.BitLen()
}

// maskLength reads a mask as 0xffffff00 or 255.255.255.0.
func maskLength(s string) (int, bool) {
	var m uint32
	if hex, ok := strings.CutPrefix(strings.ToLower(s), "0x"); ok {
		n, err := strconv.ParseUint(hex, 16, 32)
		if err != nil {
			return 0, false
		}
		m = uint32(n)
	} else {
		a, err := netip.ParseAddr(s)
		if err != nil || !a.Is4() {
			return 0, false
		}
		b := a.As4()
		m = uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	}
	n := bits.LeadingZeros32(^m)
	return n, bits.OnesCount32(m) == n
}
