package verify

import (
	"net/netip"
	"testing"
)

func header4(protocol byte, to netip.Addr) []byte {
	h := make([]byte, 20)
	h[0], h[9] = 0x45, protocol
	copy(h[16:], to.AsSlice())
	return h
}

func message4(kind, protocol byte, to netip.Addr, from, port uint16) []byte {
	m := append(header4(1, netip.MustParseAddr("10.0.0.1")), kind, 3, 0, 0, 0, 0, 0, 0)
	m = append(m, header4(protocol, to)...)
	return append(m, byte(from>>8), byte(from), byte(port>>8), byte(port))
}

func message6(kind, next byte, to netip.Addr, from, port uint16) []byte {
	m := []byte{kind, 4, 0, 0, 0, 0, 0, 0}
	h := make([]byte, 40)
	h[0], h[6] = 0x60, next
	copy(h[24:], to.AsSlice())
	return append(append(m, h...), byte(from>>8), byte(from), byte(port>>8), byte(port))
}

func TestQuotes(t *testing.T) {
	four, six := netip.MustParseAddrPort("192.0.2.1:80"), netip.MustParseAddrPort("[2001:db8::1]:80")
	other, other6 := netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("2001:db8::2")
	for name, c := range map[string]struct {
		message []byte
		to      netip.AddrPort
		want    bool
	}{
		"ours":             {message4(3, 6, four.Addr(), 40000, 80), four, true},
		"an echo":          {message4(8, 6, four.Addr(), 40000, 80), four, false},
		"of a datagram":    {message4(3, 17, four.Addr(), 40000, 80), four, false},
		"of another port":  {message4(3, 6, four.Addr(), 40001, 80), four, false},
		"to another port":  {message4(3, 6, four.Addr(), 40000, 81), four, false},
		"to somebody else": {message4(3, 6, other, 40000, 80), four, false},
		"short":            {message4(3, 6, four.Addr(), 40000, 80)[:50], four, false},
		"ours in IPv6":     {message6(1, 6, six.Addr(), 40000, 80), six, true},
		"other in IPv6":    {message6(1, 6, other6, 40000, 80), six, false},
		"an echo in IPv6":  {message6(128, 6, six.Addr(), 40000, 80), six, false},
		"datagram in IPv6": {message6(1, 17, six.Addr(), 40000, 80), six, false},
		"short in IPv6":    {message6(1, 6, six.Addr(), 40000, 80)[:51], six, false},
		"nothing":          {nil, four, false},
		"nothing in IPv6":  {nil, six, false},
	} {
		if got := quotes(c.message, 40000, c.to); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func FuzzQuotes(f *testing.F) {
	four, six := netip.MustParseAddrPort("192.0.2.1:80"), netip.MustParseAddrPort("[2001:db8::1]:80")
	f.Add(message4(3, 6, four.Addr(), 40000, 80))
	f.Add(message6(1, 6, six.Addr(), 40000, 80))
	f.Fuzz(func(t *testing.T, message []byte) {
		if quotes(message, 40000, four) && len(message) < 52 || quotes(message, 40000, six) && len(message) < 52 {
			t.Errorf("%x", message)
		}
	})
}
