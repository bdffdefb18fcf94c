package inventory

import (
	"strings"
	"testing"
)

func TestNames(t *testing.T) {
	long := strings.Repeat("a", 253)
	tests := []struct {
		what string
		is   func(string) bool
		good []string
		bad  []string
	}{
		{"name", isName, []string{"a", "9", "rs-1.example_x", long}, []string{"", "-a", ".a", "_a", "a b", "a;b", "a/b", "\u00fc", "a\n", long + "a"}},
		{"device", isDevice, []string{"eth0", "eth0.100", "br-lan", "ip.tun0"}, []string{"", "0eth", "eth0:0", "eth 0", "eth/0", "-x"}},
		{"host name", isHostName, []string{"rs", "rs.example.net", "rs.example.net.", "_a.b", "192.168.0.x"}, []string{"", ".", "a..b", "-a", "a-.b", "192.168.0.256", "192.168.0.1.2", "10", "a b", "a;b", strings.Repeat("a", 64), "fe80::1"}},
	}
	for _, tt := range tests {
		for _, s := range tt.good {
			if !tt.is(s) {
				t.Errorf("%q is a %s", s, tt.what)
			}
		}
		for _, s := range tt.bad {
			if tt.is(s) {
				t.Errorf("%q is no %s", s, tt.what)
			}
		}
	}
}
