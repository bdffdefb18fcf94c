package step_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/lvsfleet/lvsfleet/providers/step"
)

func TestMerge(t *testing.T) {
	none := "none" // no file
	file := func(s string) []byte {
		if s == none {
			return nil
		}
		return []byte(s)
	}
	for _, tt := range []struct {
		name, wrote, want, now, out string
		kept                        bool
	}{
		{name: "untouched", wrote: "a\nours\n", want: "a\n", now: "a\nours\n", out: "a\n"},
		{name: "untouched, made by us", wrote: "ours\n", want: none, now: "ours\n", out: none},
		{name: "taken away by somebody", wrote: "ours\n", want: none, now: none, out: none},
		{name: "theirs after ours", wrote: "a\nours\n", want: "a\n", now: "a\nours\nb\n", out: "a\nb\n"},
		{name: "theirs before ours", wrote: "a\nours\n", want: "a\n", now: "a\nb\nours\n", out: "a\nb\n"},
		{name: "theirs on both sides", wrote: "ours\n", want: "", now: "b\nours\nc\n", out: "b\nc\n"},
		{name: "theirs between ours", wrote: "a\nours\nalso\n", want: "a\n", now: "a\nours\nb\nalso\n", out: "a\nb\n"},
		{name: "theirs in a file of ours", wrote: "x\ny\n", want: none, now: "x\ny\nb\n", out: "b\n"},
		{name: "an edited line of ours", wrote: "a\nours=1\n", want: "a\n", now: "a\nours=2\n", out: "a\nours=2\n", kept: true},
		{name: "a line of ours that they took away", wrote: "a\nours\nz\n", want: "a\nz\n", now: "a\nz\n", out: "a\nz\n"},
		{name: "one of ours edited, one not", wrote: "a\nx=1\ny=1\n", want: "a\n", now: "a\nx=1\ny=2\n", out: "a\ny=2\n", kept: true},
		{name: "a value that was changed in place", wrote: "a\nk=YES # c\nz\n", want: "a\nk=NO # c\nz\n", now: "a\nk=YES # c\nz\nb\n", out: "a\nk=NO # c\nz\nb\n"},
		{name: "a value that they changed since", wrote: "a\nk=YES\nz\n", want: "a\nk=NO\nz\n", now: "a\nk=MAYBE\nz\n", out: "a\nk=MAYBE\nz\n", kept: true},
		{name: "a line of theirs that we took", wrote: "a\nz\n", want: "a\nm\nz\n", now: "a\nz\nb\n", out: "a\nm\nz\nb\n"},
		{name: "which they put back", wrote: "a\nz\n", want: "a\nm\nz\n", now: "a\nm\nz\nb\n", out: "a\nm\nz\nb\n"},
		{name: "the newline that we added", wrote: "a\nours\n", want: "a", now: "a\nours\n", out: "a"},
		{name: "the newline, with theirs behind", wrote: "a\nours\n", want: "a", now: "a\nours\nb\n", out: "a\nb\n"},
		{name: "numbers that move up", wrote: "a\nn0=x\nn1=y\n", want: "a\nn0=y\n", now: "a\nn0=x\nn1=y\nb\n", out: "a\nn0=y\nb\n"},
		{name: "a file that we took away", wrote: none, want: "a\n", now: none, out: "a\n"},
		{name: "which they made anew", wrote: none, want: "a\n", now: "b\n", out: "a\nb\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, kept := step.Merge(file(tt.wrote), file(tt.want), file(tt.now))
			if !bytes.Equal(out, file(tt.out)) || (out == nil) != (file(tt.out) == nil) || kept != tt.kept {
				t.Errorf("%q %v, want %q %v", out, kept, tt.out, tt.kept)
			}
		})
	}
}

func FuzzMerge(f *testing.F) {
	f.Add("a\nours\n", "a\n", "a\nb\nours\nc\n", false)
	f.Add("a\nk=1\nz", "a\nk=2\n", "k=3\na\n", false)
	f.Add("x\n", "", "x\ny", true)
	f.Add("", "a\nb\n", "b\na\n", false)
	f.Fuzz(func(t *testing.T, wrote, want, now string, absent bool) {
		w, p := []byte(wrote), []byte(now)
		n := []byte(want)
		if absent {
			n = nil
		}
		equal := func(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }
		if out, kept := step.Merge(w, n, w); !equal(out, n) || kept {
			t.Fatalf("nobody touched it, and it became %q, not %q", out, n)
		}
		if out, kept := step.Merge(w, n, n); !equal(out, n) || kept {
			t.Fatalf("it was so, and became %q", out)
		}
		if out, _ := step.Merge(w, w, p); !equal(out, p) {
			t.Fatalf("nothing was to be done, and it became %q", out)
		}
		out, _ := step.Merge(w, n, p)
		// What is in now more often than in wrote, somebody else has put there.
		count := func(text []byte) map[string]int {
			m := map[string]int{}
			for l := range strings.Lines(string(text)) {
				m[strings.TrimSuffix(l, "\n")]++
			}
			return m
		}
		ours, left := count(w), count(out)
		for l, c := range count(p) {
			if left[l] < c-ours[l] {
				t.Fatalf("%q was there %d times, %d of them ours, and is %d times in %q", l, c, ours[l], left[l], out)
			}
		}
		// Nothing comes from nowhere.
		wanted := count(n)
		for l, c := range left {
			if c > count(p)[l]+wanted[l] {
				t.Fatalf("%q is there %d times", l, c)
			}
		}
	})
}
