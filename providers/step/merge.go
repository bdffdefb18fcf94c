package step

import (
	"bytes"

	"github.com/pmezard/go-difflib/difflib"
)

// Merge applies what leads from wrote to want to the file as it is now, line
// by line: wrote is what lvsfleet last put there, want what it should have
// been, and whatever else is in now somebody else has done. nil is no file.
//
// A line of wrote that somebody has changed is theirs, and stays; kept says
// that there was one which want has otherwise. One that they added, also right
// beside such a line, stays anyway.
func Merge(wrote, want, now []byte) (out []byte, kept bool) {
	switch {
	case same(now, wrote):
		return want, false
	case same(now, want), same(wrote, want):
		return now, false
	case now == nil:
		return nil, want != nil
	}
	w, n, p := split(wrote), split(want), split(now)
	at := places(w, p)
	// drop are lines of now that go, instead is what comes in their place.
	drop := make([]bool, len(p))
	before := make([][]string, len(p)+1)
	for _, op := range difflib.NewMatcherWithJunk(w, n, false, nil).GetOpCodes() {
		gone, come := w[op.I1:op.I2], n[op.J1:op.J2]
		switch {
		case op.Tag == 'e':
		case len(gone) == 0:
			i := behind(at, op.I1)
			if !begins(p[i:], come) {
				before[i] = append(before[i], come...)
			}
		case len(come) == 0 || len(come) == len(gone):
			for k := range gone {
				i := at[op.I1+k]
				switch {
				case i < 0:
					kept = kept || edited(at, op.I1+k, len(p))
				default:
					drop[i] = true
					if len(come) > 0 {
						before[i] = append(before[i], come[k])
					}
				}
			}
		case all(at[op.I1:op.I2]):
			for k := range gone {
				drop[at[op.I1+k]] = true
			}
			before[at[op.I1]] = append(before[at[op.I1]], come...)
		default:
			kept = true
		}
	}
	var lines []string
	for i := range before {
		lines = append(lines, before[i]...)
		if i < len(p) && !drop[i] {
			lines = append(lines, p[i])
		}
	}
	if len(lines) == 0 && want == nil {
		return nil, kept
	}
	out = []byte{}
	for i, l := range lines {
		out = append(out, l...)
		if i < len(lines)-1 && l[len(l)-1] != '\n' {
			out = append(out, '\n')
		}
	}
	return out, kept
}

// same compares two files.
func same(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }

// split takes text apart behind its newlines.
func split(text []byte) []string {
	var list []string
	for line := range bytes.Lines(text) {
		list = append(list, string(line))
	}
	return list
}

// places tells where each line of w stands in p; -1 nowhere.
func places(w, p []string) []int {
	at := make([]int, len(w))
	for i := range at {
		at[i] = -1
	}
	for _, m := range difflib.NewMatcherWithJunk(w, p, false, nil).GetMatchingBlocks() {
		for k := range m.Size {
			at[m.A+k] = m.B + k
		}
	}
	return at
}

// behind is the place behind the last line before i that is there.
func behind(at []int, i int) int {
	for i--; i >= 0; i-- {
		if at[i] >= 0 {
			return at[i] + 1
		}
	}
	return 0
}

// edited says whether somebody has put something in the place of the line i,
// which is not there: nothing else would be between its neighbours.
func edited(at []int, i, end int) bool {
	next := end
	for k := i + 1; k < len(at); k++ {
		if at[k] >= 0 {
			next = at[k]
			break
		}
	}
	return next > behind(at, i)
}

func begins(p, come []string) bool {
	if len(p) < len(come) {
		return false
	}
	for i := range come {
		if p[i] != come[i] {
			return false
		}
	}
	return true
}

func all(at []int) bool {
	for _, i := range at {
		if i < 0 {
			return false
		}
	}
	return true
}
