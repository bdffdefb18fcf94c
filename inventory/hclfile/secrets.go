package hclfile

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"maps"
	"slices"
	"strings"

	"github.com/zclconf/go-cty/cty"
)

// sensitive marks the value of a sensitive variable, and all that is made of
// it.
type sensitive struct{}

// secrets are the texts that no diagnostic may show.
type secrets map[string]struct{}

// hidden stands in the place of a secret.
const hidden = "(sensitive)"

// add keeps v, and every text within it, out of diagnostics.
func (s secrets) add(v cty.Value) {
	v, _ = v.UnmarkDeep()
	_ = cty.Walk(v, func(_ cty.Path, v cty.Value) (bool, error) { // the function returns no error
		if !v.IsKnown() || v.IsNull() {
			return false, nil
		}
		switch v.Type() {
		case cty.String:
			for line := range strings.Lines(v.AsString()) {
				if line = strings.TrimSpace(line); line != "" {
					s[line] = struct{}{}
				}
			}
		case cty.Number:
			if !endless(v) { // which nobody shows
				s[v.AsBigFloat().Text('f', -1)] = struct{}{}
			}
		}
		return true, nil
	})
}

// sorted gives them, the longest first, so that none hides a part of another.
func (s secrets) sorted() []string {
	return slices.SortedFunc(maps.Keys(s), func(a, b string) int {
		if c := cmp.Compare(len(b), len(a)); c != 0 {
			return c
		}
		return cmp.Compare(a, b)
	})
}

// redact hides the secrets in text. One of up to three characters, which may
// be a part of any word, is hidden where it stands in quotes.
func redact(text string, secrets []string) string {
	for _, secret := range secrets {
		if len(secret) > 3 {
			text = strings.ReplaceAll(text, secret, hidden)
		} else {
			text = strings.ReplaceAll(text, `"`+secret+`"`, hidden)
		}
	}
	return text
}

// A digest names an inventory by its content.
type digest struct{ h hash.Hash }

// add takes in one named piece; its lengths go in too, so that no two lists of
// pieces look alike.
func (d *digest) add(name string, data []byte) {
	if d.h == nil {
		d.h = sha256.New()
	}
	for _, b := range [][]byte{[]byte(name), data} {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(b)))
		d.h.Write(n[:])
		d.h.Write(b)
	}
}

func (d *digest) sum() string {
	if d.h == nil {
		d.h = sha256.New()
	}
	return hex.EncodeToString(d.h.Sum(nil))
}
