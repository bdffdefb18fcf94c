package journal

import (
	"bytes"
	"testing"

	"github.com/lvsfleet/lvsfleet/providers/step"
)

func FuzzDecode(f *testing.F) {
	for _, e := range []Entry{
		{Kind: Begin, Header: &Header{Run: "r1", Who: "me", Boot: "b"}},
		{Kind: Stage, Files: []Record{{Step: "file:/x", Staged: []string{""}}}},
		{Kind: Live, Step: &Record{Step: "s", Do: []step.Op{{Kind: step.Run, Argv: []string{"x"}}}}},
		{Kind: Note, Text: "t\n"},
	} {
		data, err := encode(1, e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("lvsfleet-journal-1 1 0 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := decode(1, data)
		if err != nil {
			return
		}
		// Whatever is taken as whole says the same when it is written again.
		again, err := encode(1, e)
		if err != nil {
			t.Fatal(err)
		}
		back, err := decode(1, again)
		if err != nil {
			t.Fatalf("%q: %v", again, err)
		}
		if twice, _ := encode(1, back); !bytes.Equal(again, twice) {
			t.Fatalf("%q became %q", again, twice)
		}
		if _, err := decode(2, data); err == nil {
			t.Fatal("an entry passed for another one")
		}
		if _, err := decode(1, data[:len(data)-1]); err == nil {
			t.Fatal("an entry passed without its end")
		}
	})
}
