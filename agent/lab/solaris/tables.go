package solaris

import (
	"net/netip"
	"strconv"
	"strings"
)

// maskBits reads a mask: dotted, or hexadecimal with 0x. One with holes is
// not modelled.
func maskBits(s string) (int, bool) {
	var v uint32
	if hex, ok := strings.CutPrefix(s, "0x"); ok {
		n, err := strconv.ParseUint(hex, 16, 32)
		if err != nil {
			return 0, false
		}
		v = uint32(n)
	} else {
		a, err := netip.ParseAddr(s)
		if err != nil || !a.Is4() {
			return 0, false
		}
		v = number(a)
	}
	for n := range 33 {
		if v == mask(n) {
			return n, true
		}
	}
	return 0, false
}

func number(a netip.Addr) uint32 {
	b := a.As4()
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

func mask(bits int) uint32 {
	if bits == 0 {
		return 0
	}
	return ^uint32(0) << (32 - bits)
}

// netmaskOf looks a up in the text of netmasks(4) as getnetmaskbyaddr does
// (nss_files netmasks.c): the address itself is the key first, then with one
// bit after the other cleared from its end; an entry counts if its mask leaves
// exactly its net of the address.
func netmaskOf(file string, a netip.Addr) (bits int, ok bool) {
	entries := map[uint32]int{}
	for line := range strings.Lines(file) {
		line, _, _ = strings.Cut(line, "#")
		w := strings.Fields(line)
		if len(w) < 2 {
			continue
		}
		net, err := netip.ParseAddr(w[0])
		n, good := maskBits(w[1])
		if err != nil || !net.Is4() || !good {
			continue
		}
		if _, twice := entries[number(net)]; !twice {
			entries[number(net)] = n
		}
	}
	v := number(a)
	for cleared := range 32 {
		key := v & mask(32-cleared)
		if n, found := entries[key]; found && v&mask(n) == key {
			return n, true
		}
	}
	return 0, false
}

// hostsTable reads hosts(4); the first entry of a name counts.
func hostsTable(file string) map[string]netip.Addr {
	found := map[string]netip.Addr{}
	for line := range strings.Lines(file) {
		line, _, _ = strings.Cut(line, "#")
		w := strings.Fields(line)
		if len(w) < 2 {
			continue
		}
		a, err := netip.ParseAddr(w[0])
		if err != nil || !a.Is4() {
			continue
		}
		for _, name := range w[1:] {
			if _, twice := found[name]; !twice {
				found[name] = a
			}
		}
	}
	return found
}
