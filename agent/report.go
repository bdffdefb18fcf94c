package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io/fs"

	"github.com/lvsfleet/lvsfleet/providers/step"
)

// Fingerprint identifies what would be done: every operation of every step, in
// order. Two reports with the same one ask a person the same question.
func Fingerprint(r Report) string {
	h := sha256.New()
	enc := json.NewEncoder(h)
	for _, i := range r.Items {
		if i.Change.Holds() {
			continue
		}
		// Encoding plain data into a hash does not fail.
		_ = enc.Encode([]any{i.Layer, i.Step, i.Change.Do})
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// Differs says whether anything is to be done.
func Differs(r Report) bool {
	for _, i := range r.Items {
		if !i.Change.Holds() {
			return true
		}
	}
	return false
}

// NeedsFreshLogin says whether what the report would do may cut the host off,
// so that only a login that comes after it proves that it can be reached. A
// change of nothing but the IPVS table cannot, and commits over the line that
// made it.
func NeedsFreshLogin(r Report) bool {
	for _, i := range r.Items {
		for _, op := range i.Change.Do {
			if op.Kind != step.IPVS && !op.Advisory() {
				return true
			}
		}
	}
	return false
}

// changes picks the steps of a layer that do not hold.
func (r Report) changes(l Layer) []Item {
	var items []Item
	for _, i := range r.Items {
		if i.Layer == l && !i.Change.Holds() {
			items = append(items, i)
		}
	}
	return items
}

// stageable says whether op waits as a temporary file until the commit.
func stageable(op step.Op) bool {
	return op.Kind == step.Write && op.File.Mode.Type()&^fs.ModeSymlink == 0
}
