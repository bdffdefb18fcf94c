package step

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"net/netip"
	"strings"

	"github.com/lvsfleet/lvsfleet/providers/ipvs"
)

// TableChange is the change that the edits make of the IPVS table have; the
// zero Change where there are none. It shows the services that they concern,
// as `ipvsadm -Sn` would before and after.
func TableChange(have []ipvs.Service, edits []ipvs.Edit) Change {
	if len(edits) == 0 {
		return Change{}
	}
	concerned := map[ipvs.Key]bool{}
	var order []ipvs.Key
	for _, e := range edits {
		if !concerned[e.Service.Key] {
			concerned[e.Service.Key] = true
			order = append(order, e.Service.Key)
		}
	}
	var was []ipvs.Service
	for _, s := range have {
		if concerned[s.Key] {
			was = append(was, s)
		}
	}
	text := func(services []ipvs.Service) map[ipvs.Key][]byte {
		m := make(map[ipvs.Key][]byte, len(order))
		for _, s := range services {
			if concerned[s.Key] {
				m[s.Key] = []byte(ipvs.Format([]ipvs.Service{s}))
			}
		}
		return m
	}
	before, after := text(was), text(ipvs.After(have, edits))
	wasSum, wantSum := sha256.New(), sha256.New()
	var b strings.Builder
	for _, k := range order {
		b.WriteString(Diff("ipvs "+k.String(), before[k], after[k]))
		wasSum.Write(before[k])
		wantSum.Write(after[k])
	}
	// The rules of a large director are no short text.
	short := func(n int, h hash.Hash) string {
		if n == 0 {
			return ""
		}
		return fmt.Sprintf("rules %x", h.Sum(nil)[:16])
	}
	return Change{
		Diff: b.String(),
		Was:  short(len(before), wasSum), Want: short(len(after), wantSum),
		Before:  was,
		Effects: []Effect{Alter(IPVSTable, netip.Addr{})},
		Do:      []Op{{Kind: IPVS, Edits: edits}},
		Undo:    []Op{{Kind: IPVS, Edits: ipvs.Inverse(have, edits)}},
	}
}
