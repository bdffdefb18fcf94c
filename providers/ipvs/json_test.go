package ipvs_test

import (
	"encoding/json"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lvsfleet/lvsfleet/providers/ipvs"
)

// TestJSON holds the form that lies in journals and ledgers: what is there
// must be read by the build that comes next.
func TestJSON(t *testing.T) {
	want := ipvs.Edit{
		Verb: ipvs.EditDest, AnyWeight: true,
		Service: &ipvs.Service{Key: ipvs.Key{Protocol: "tcp", Addr: netip.MustParseAddr("192.0.2.1"), Port: 80}},
		Dest: ipvs.Destination{
			DestKey: ipvs.DestKey{Addr: netip.MustParseAddr("10.0.0.1"), Port: 80},
			Weight:  5, Method: ipvs.TUN, Tunnel: ipvs.GUE, TunnelPort: 6080, TunnelFlags: ipvs.TunnelCsum,
		},
		WasDest: &ipvs.Destination{DestKey: ipvs.DestKey{Addr: netip.MustParseAddr("10.0.0.1"), Port: 80}, Method: ipvs.DR},
	}
	for _, text := range []string{
		`{"verb":"edit-dest","service":{"key":{"protocol":"tcp","addr":"192.0.2.1","port":80},"scheduler":""},` +
			`"dest":{"addr":"10.0.0.1","port":80,"method":"tun","weight":5,"tunnel":"gue","tunnel_port":6080,"tunnel_flags":1},` +
			`"was_dest":{"addr":"10.0.0.1","port":80,"method":"dr","weight":0},"any_weight":true}`,
		mustJSON(t, want),
	} {
		var got ipvs.Edit
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if d := cmp.Diff(want, got, equal()); d != "" {
			t.Errorf("%s: %s", text, d)
		}
	}
	for _, text := range []string{
		`{"verb":"edit-dest"}`, // of no service
		`{"verb":"edit-dest","service":null}`,
		`{"verb":"flush","service":{}}`,
		`{"verb":"add-dest","service":{},"dest":{"method":"carrier-pigeon"}}`,
		`{"verb":"add-dest","service":{},"dest":{"tunnel":"subway"}}`,
		`{"verb":7,"service":{}}`,
	} {
		var got ipvs.Edit
		if err := json.Unmarshal([]byte(text), &got); err == nil {
			t.Errorf("%s is taken for %+v", text, got)
		}
	}
	for _, none := range []ipvs.Verb{0, ipvs.DeleteDest + 1} {
		if text, err := json.Marshal(ipvs.Edit{Verb: none, Service: &ipvs.Service{}}); err == nil {
			t.Errorf("verb %d is written as %s", none, text)
		}
	}
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
