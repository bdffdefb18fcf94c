package ledger

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/host/hosttest"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// What a later build added is there again after this one has written the
// ledger, as long as what it is about is.
func TestUnknownFieldsAreKept(t *testing.T) {
	const later = `{"version":1,"lineage":{"a":[1,2]},
		"live":[{"id":"a","since":"2027","records":[{"was":"0","want":"1","do":[],"undo":[],"why":"x\"y"}]},
			{"id":"b","since":"2028","records":[{"was":"0","want":"1","do":[],"undo":[]}]}],
		"files":[{"path":"/etc/conf","step":"file:/etc/conf","dialect":"netplan","wrote":{"mode":420,"data":"b3Vycwo="}}],
		"ipvs":[{"key":{"protocol":"tcp","addr":"192.0.2.1","port":80},"checker":"keepalived"}]}`
	l, err := decode([]byte(later))
	if err != nil {
		t.Fatal(err)
	}
	h := &hosttest.Canned{Name: "h", Files: map[string]host.File{"/etc/conf": {Mode: 0o644, Data: []byte("ours\n")}}}
	changed := live("a", "1", "2")
	gone := Change{Step: "b", Gone: true, Change: step.Change{Do: []step.Op{{Kind: step.Run}}}}
	n := l.Next(noSystem{}, inventory.Desired{}, true, []Change{changed, gone, file(t, h, &step.FileStep{Path: "/etc/conf", Edits: line("more")})})
	f, err := n.File()
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(f.Data) {
		t.Fatalf("no JSON: %s", f.Data)
	}
	for _, want := range []string{`"lineage":{"a":[1,2]}`, `"since":"2027"`, `"why":"x\"y"`, `"dialect":"netplan"`, `"checker":"keepalived"`} {
		if !strings.Contains(string(f.Data), want) {
			t.Errorf("%s is lost: %s", want, f.Data)
		}
	}
	if strings.Contains(string(f.Data), "2028") {
		t.Errorf("what is taken back is still there: %s", f.Data)
	}
	again, err := decode(f.Data)
	if err != nil {
		t.Fatal(err)
	}
	g, err := again.File()
	if err != nil || string(g.Data) != string(f.Data) {
		t.Errorf("written again it differs: %v\n%s\n%s", err, f.Data, g.Data)
	}
}

func FuzzKept(f *testing.F) {
	f.Add([]byte(`{"version":1,"x":{},"live":[{"id":"a","y":1,"records":[{"do":null,"undo":null,"z":[]}]}]}`))
	f.Add([]byte(`{"version":1,"files":[{"path":"/x","step":"y"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := decode(text)
		if err != nil {
			return
		}
		out, err := l.File()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Decode(out)
		if err != nil {
			t.Fatalf("%s became %s: %v", text, out.Data, err)
		}
		twice, err := again.File()
		if err != nil || (out == nil) != (twice == nil) || out != nil && string(out.Data) != string(twice.Data) {
			t.Fatalf("%s, then %s: %v", out.Data, twice.Data, err)
		}
	})
}
