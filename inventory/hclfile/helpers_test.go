package hclfile_test

import (
	stdnetip "net/netip"

	"github.com/google/go-cmp/cmp"
)

func addr(s string) stdnetip.Addr { return stdnetip.MustParseAddr(s) }

func prefixes(of ...string) []stdnetip.Prefix {
	var out []stdnetip.Prefix
	for _, s := range of {
		out = append(out, stdnetip.MustParsePrefix(s))
	}
	return out
}

// netip compares addresses as values.
func netip() []cmp.Option {
	return []cmp.Option{
		cmp.Comparer(func(a, b stdnetip.Addr) bool { return a == b }),
		cmp.Comparer(func(a, b stdnetip.Prefix) bool { return a == b }),
	}
}
