package host

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
)

var (
	testMAC  = mac{0x52, 0x54, 0x00, 0x12, 0x34, 0x56}
	testVIP  = netip.MustParseAddr("192.168.0.200")
	testVIP6 = netip.MustParseAddr("2001:db8::1:200")
)

// TestFrames holds the frames to their bytes, field by field.
func TestFrames(t *testing.T) {
	tests := []struct {
		name  string
		frame []byte
		want  string
	}{
		{"ARP probe", arpRequest(testMAC, netip.IPv4Unspecified(), testVIP), `
ffffffffffff 525400123456 0806
0001 0800 06 04 0001
525400123456 00000000
000000000000 c0a800c8`},
		{"ARP announcement", arpRequest(testMAC, testVIP, testVIP), `
ffffffffffff 525400123456 0806
0001 0800 06 04 0001
525400123456 c0a800c8
000000000000 c0a800c8`},
		{"neighbour solicitation", solicitation(testMAC, testVIP6), `
3333ff010200 525400123456 86dd
60000000 0018 3a ff
00000000000000000000000000000000
ff0200000000000000000001ff010200
87 00 48ed 00000000
20010db8000000000000000000010200`},
		{"neighbour advertisement", advertisement(testMAC, testVIP6, true), `
333300000001 525400123456 86dd
60000000 0020 3a ff
20010db8000000000000000000010200
ff020000000000000000000000000001
88 00 f06e a0000000
20010db8000000000000000000010200
02 01 525400123456`},
	}
	for _, tt := range tests {
		want := strings.Join(strings.Fields(tt.want), "")
		if got := hex.EncodeToString(tt.frame); got != want {
			t.Errorf("%s\n got %s\nwant %s", tt.name, got, want)
		}
	}
	if f := advertisement(testMAC, testVIP6, false); f[14+40+4] != naOverride {
		t.Errorf("a host says that it is a router: flags %#x", f[14+40+4])
	}
}

func TestAnswers(t *testing.T) {
	reply := arpRequest(testMAC, testVIP, netip.IPv4Unspecified())
	reply[21] = 2
	if who, addr, ok := arpSender(append(reply, make([]byte, 18)...)); !ok || who != testMAC || addr != testVIP {
		t.Errorf("reply: %x %s %v", who, addr, ok)
	}
	if _, _, ok := arpSender(arpRequest(testMAC, netip.IPv4Unspecified(), testVIP)); ok {
		t.Error("somebody else's probe reads as an answer")
	}
	na := advertisement(testMAC, testVIP6, false)
	if who, addr, ok := advertised(append(na, 0, 0)); !ok || who != testMAC || addr != testVIP6 {
		t.Errorf("advertisement: %x %s %v", who, addr, ok)
	}
	for name, change := range map[string]func([]byte) []byte{
		"a wrong checksum":         func(b []byte) []byte { b[60] ^= 1; return b },
		"one that a router passed": func(b []byte) []byte { b[21] = 64; return b },
		"a solicitation":           func([]byte) []byte { return solicitation(testMAC, testVIP6) },
		"a short one":              func(b []byte) []byte { return b[:70] },
		"an option without end":    func(b []byte) []byte { b[14+40+25] = 0; return b },
		"ARP":                      func([]byte) []byte { return reply },
	} {
		if _, _, ok := advertised(change(append([]byte(nil), na...))); ok {
			t.Errorf("%s reads as an answer", name)
		}
	}
}

func FuzzNeighbourFrames(f *testing.F) {
	f.Add(arpRequest(testMAC, testVIP, testVIP))
	f.Add(solicitation(testMAC, testVIP6))
	f.Add(advertisement(testMAC, testVIP6, true))
	f.Fuzz(func(t *testing.T, frame []byte) {
		if _, addr, ok := arpSender(frame); ok && (!addr.Is4() || addr.IsUnspecified()) {
			t.Fatalf("ARP from %s", addr)
		}
		if _, addr, ok := advertised(frame); ok && (!addr.Is6() || addr.IsMulticast()) {
			t.Fatalf("advertisement of %s", addr)
		}
	})
}
