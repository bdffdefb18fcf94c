package linux

import (
	"bytes"
	"strings"
	"testing"
)

func FuzzSysctlFile(f *testing.F) {
	f.Add("# x\nnet.ipv4.ip_forward = 0 # c\n-net/ipv4/conf/eth0.1/arp_ignore=1\n;a=b\n", "net.ipv4.ip_forward", "1")
	f.Add("a.b=", "a.b", "1")
	f.Fuzz(func(t *testing.T, text, key, value string) {
		for _, s := range parseSysctl([]byte(text)) {
			if s.start > s.end || text[s.start:s.end] != s.value {
				t.Fatalf("%q: %+v", text, s)
			}
		}
		plain := func(s string) bool {
			return s != "" && strings.IndexFunc(s, func(r rune) bool {
				return r > 127 || !(r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z') && r != '.' && r != '/'
			}) < 0
		}
		if !plain(key) || !plain(value) {
			return
		}
		out := addSysctl([]byte(text), key, value)
		if again := addSysctl(out, key, value); !bytes.Equal(again, out) {
			t.Fatalf("set twice: %q, then %q", out, again)
		}
		if !bytes.Contains(out, []byte(value)) {
			t.Fatalf("%q has no %q", out, value)
		}
	})
}
