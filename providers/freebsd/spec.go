package freebsd

import (
	"net/netip"
	"strconv"
	"strings"
)

// A bootAddr is an address that a variable of rc.conf gives to an interface.
type bootAddr struct {
	variable string
	Addr
	alone bool // the variable holds nothing else
}

// parseSpec reads the addresses from a value of ifconfig_IF, ifconfig_IF_aliasN
// or the like: what ifconfig(8) takes after the interface. An address without
// mask has that of its class, or /64 (what ifconfig then does).
func parseSpec(variable, text string) []bootAddr {
	f := strings.Fields(text)
	var list []bootAddr
	six := false
	current := 0 // addresses from here on take the mask
	for i := 0; i < len(f); i++ {
		word := f[i]
		switch word {
		case "inet", "inet6":
			six = word == "inet6"
			if i+1 < len(f) {
				n, used := specAddr(variable, f[i+1:], six)
				if used > 0 {
					current = len(list)
					list = append(list, n...)
					i += used
				}
			}
			continue
		case "netmask", "prefixlen":
			if i+1 < len(f) {
				i++
				length, ok := maskLength(f[i])
				if word == "prefixlen" {
					n, err := strconv.Atoi(f[i])
					length, ok = n, err == nil
				}
				for j := current; ok && j < len(list); j++ {
					list[j].Prefix = netip.PrefixFrom(list[j].Prefix.Addr(), length)
				}
			}
			continue
		case "tunnel":
			i += 2
			continue
		}
		if takesAddress(word) {
			i++ // it is another's
			continue
		}
		// No "inet": works, with a warning from 2014 on, wherever it stands among
		// the options (ifconfig(8): what is no option is an address).
		if n, used := specAddr(variable, f[i:], false); used > 0 {
			current = len(list)
			list = append(list, n...)
			i += used - 1
		}
	}
	if len(list) == 1 {
		list[0].alone = true
	}
	return list
}

// takesAddress says that the option is followed by an address that is not the
// interface's own (ifconfig(8)).
func takesAddress(option string) bool {
	switch option {
	case "broadcast", "peer", "syncpeer", "vxlanlocal", "vxlanremote", "vxlangroup", "lladdr", "ether", "link", "description", "descr", "name", "group", "pass":
		return true
	}
	return false
}

// specList reads a value of ipv4_addrs_IF (rc.conf(5)): addresses with their
// lengths, A.B.C.D-E/LEN for several.
func specList(variable, text string) []bootAddr {
	var list []bootAddr
	for _, word := range strings.Fields(text) {
		n, _ := specAddr(variable, []string{word}, false)
		list = append(list, n...)
	}
	if len(list) == 1 {
		list[0].alone = true
	}
	return list
}

// specAddr reads "A", "A/LEN", "A.B.C.D-E/LEN", each perhaps followed by the
// far address of a point-to-point interface. It says how many words it used.
func specAddr(variable string, f []string, six bool) (list []bootAddr, used int) {
	text, tail, slash := strings.Cut(f[0], "/")
	first, last, isRange := strings.Cut(text, "-")
	addr, err := netip.ParseAddr(first)
	if err != nil || addr.Is6() != six {
		return nil, 0
	}
	length := classful(addr)
	if slash {
		n, err := strconv.Atoi(tail)
		if err != nil || n < 0 || n > addr.BitLen() {
			return nil, 0
		}
		length = n
	}
	a := Addr{Prefix: netip.PrefixFrom(addr.WithZone(""), length)}
	used = 1
	if len(f) > 1 {
		if peer, err := netip.ParseAddr(f[1]); err == nil && peer.Is6() == six {
			a.Peer = peer
			used = 2
		}
	}
	list = []bootAddr{{variable: variable, Addr: a}}
	if !isRange || six {
		return list, used
	}
	end, err := strconv.Atoi(last)
	if err != nil || end > 255 {
		return list, used
	}
	for b := addr.As4(); int(b[3]) < end; {
		b[3]++
		list = append(list, bootAddr{variable: variable, Addr: Addr{Prefix: netip.PrefixFrom(netip.AddrFrom4(b), length)}})
	}
	return list, used
}

// classful is the length that ifconfig gives to an address without a mask.
func classful(a netip.Addr) int {
	if a.Is6() {
		return 64
	}
	switch b := a.As4()[0]; {
	case b < 128:
		return 8
	case b < 192:
		return 16
	}
	return 24
}

// specEnds finds "tunnel LOCAL REMOTE" in what ifconfig(8) is given.
func specEnds(text string) (ends, bool) {
	f := strings.Fields(text)
	for i := 0; i+2 < len(f); i++ {
		if f[i] == "tunnel" {
			return parseEnds(f[i+1], f[i+2])
		}
	}
	return ends{}, false
}

func parseEnds(local, remote string) (ends, bool) {
	l, err1 := netip.ParseAddr(local)
	r, err2 := netip.ParseAddr(remote)
	return ends{l, r}, err1 == nil && err2 == nil
}

// isDHCP says whether a value of ifconfig_IF asks for DHCP (rc.conf(5)).
func isDHCP(text string) bool {
	for _, w := range strings.Fields(text) {
		switch strings.ToUpper(w) {
		case "DHCP", "SYNCDHCP", "NOSYNCDHCP":
			return true
		}
	}
	return false
}
