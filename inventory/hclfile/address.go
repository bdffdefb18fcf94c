package hclfile

import (
	"fmt"
	"math/big"
	"net/netip"
	"strings"

	"github.com/lvsfleet/lvsfleet/inventory"
)

// parseAddr reads an address; why says what is wrong, with a hint.
func parseAddr(s string) (a netip.Addr, why string) {
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}, inventory.AddrHint(s)
	}
	return a, unfit(a)
}

// unfit says why no host can have the address.
func unfit(a netip.Addr) string {
	switch {
	case a.Zone() != "":
		return "an address with a zone (%) holds on one host only."
	case a.Is4In6():
		return fmt.Sprintf("write the IPv4 address as such: %s.", a.Unmap())
	case a.IsUnspecified():
		return "that is the address of nobody."
	case a.IsMulticast():
		return "that is a multicast address."
	case a.IsLoopback():
		return "that is a loopback address."
	case a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "that is the broadcast address."
	}
	return ""
}

// parseOwn reads a host's own address with its length.
func parseOwn(s string) (netip.Prefix, string) {
	p, err := netip.ParsePrefix(s)
	if err == nil {
		return p, unfit(p.Addr())
	}
	addr, length, slash := strings.Cut(s, "/")
	a, why := parseAddr(addr)
	switch {
	case why != "":
		return netip.Prefix{}, why
	case !slash:
		return netip.Prefix{}, fmt.Sprintf("its length is missing: %s/%d, if that is its network's.", a, usual(a))
	}
	return netip.Prefix{}, fmt.Sprintf("%q is no length of a network: 0 to %d.", length, a.BitLen())
}

func usual(a netip.Addr) int {
	if a.Is6() {
		return 64
	}
	return 24
}

// parseNetwork reads a network such as 10.0.0.0/8.
func parseNetwork(s string) (netip.Prefix, string) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		if a, aerr := netip.ParseAddr(s); aerr == nil {
			return netip.Prefix{}, fmt.Sprintf("its length is missing: %s/%d is this address alone.", a, a.BitLen())
		}
		return netip.Prefix{}, "a network such as 192.168.10.0/24 is expected."
	}
	return p.Masked(), ""
}

// parseMask reads a length or an IPv4 mask.
func parseMask(s string) (length int, ok bool) {
	s = strings.TrimPrefix(s, "/")
	if a, err := netip.ParseAddr(s); err == nil && a.Is4() {
		b := a.As4()
		bits := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
		for length < 32 && bits&(1<<(31-length)) != 0 {
			length++
		}
		return length, bits<<length == 0
	}
	n, ok := new(big.Int).SetString(s, 10)
	if !ok || !n.IsInt64() || n.Int64() < 0 || n.Int64() > 128 {
		return 0, false
	}
	return int(n.Int64()), true
}

func bigFloat(n int64) *big.Float { return new(big.Float).SetInt64(n) }
