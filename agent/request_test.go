package agent

import (
	"encoding/json"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/lvsfleet/lvsfleet/agent/journal"
	"github.com/lvsfleet/lvsfleet/inventory"
)

// Journals of builds before requests say what was asked by flags among what the
// host must be.
func TestRequestsOfEarlierJournals(t *testing.T) {
	lb := inventory.Desired{Host: "lb", OS: inventory.Linux, Address: "10.0.0.1", Network: "none"}
	a := netip.MustParseAddr("192.0.2.1")
	entry := inventory.Withdrawal{Addr: a, Port: 80, Protocol: "tcp", Server: netip.MustParseAddr("10.0.0.11"), ServerPort: 80, Gone: true}
	const id = `"host":"lb","os":"linux","address":"10.0.0.1","network":"none"`
	for _, tt := range []struct {
		header journal.Header
		want   Request
	}{
		{journal.Header{Desired: json.RawMessage(`{` + id + `,"whole":true}`)}, ToConverge(lb)},
		{journal.Header{Desired: json.RawMessage(`{` + id + `}`)}, ToAdd(lb)},
		{journal.Header{Desired: json.RawMessage(`{` + id + `,"whole":true,"bare":true,"director":{"leaves":true}}`)}, ToRemove(lb)},
		{journal.Header{Desired: json.RawMessage(`{` + id + `,"bare":true,"yields":["192.0.2.1"],"director":{"leaves":true}}`)}, ToReleaseVIPs(lb, []netip.Addr{a})},
		{journal.Header{Desired: json.RawMessage(`{` + id + `,"director":{"withdraw":[
			{"addr":"192.0.2.1","port":80,"protocol":"tcp","server":"10.0.0.11","server_port":80,"gone":true}]}}`)}, ToWithdraw(lb, []inventory.Withdrawal{entry})},
		{
			journal.Header{Desired: json.RawMessage(`{` + id + `,"whole":true}`), Undoes: "r1", Reverts: json.RawMessage(`{"part":"table"}`)},
			ToRevert(lb, "r1", Reverts{Part: Table}),
		},
	} {
		got, err := requestOf(tt.header)
		if err != nil {
			t.Errorf("%s: %v", tt.header.Desired, err)
			continue
		}
		if d := cmp.Diff(tt.want, got, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); d != "" {
			t.Errorf("%s: %s", tt.header.Desired, d)
		}
		if err := got.valid(); err != nil {
			t.Error(err)
		}
		text, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		again, err := requestOf(journal.Header{Request: text})
		if d := cmp.Diff(got, again, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); err != nil || d != "" {
			t.Errorf("%s: %v %s", text, err, d)
		}
	}
	if _, err := requestOf(journal.Header{}); err == nil {
		t.Error("a journal that says nothing was asked for something")
	}
}

func TestRequestsThatNobodyMakes(t *testing.T) {
	for _, r := range []Request{{}, {Kind: "hold"}, {Kind: Revert, Of: "r1"}, ToRevert(inventory.Desired{}, "../r1", Reverts{})} {
		if _, err := (&Engine{}).Check(t.Context(), r); err == nil {
			t.Errorf("%+v was looked at", r)
		}
		if _, err := (&Engine{}).Begin(t.Context(), Transaction{Run: "r1", Request: r}, nil); err == nil {
			t.Errorf("%+v was begun", r)
		}
	}
}
