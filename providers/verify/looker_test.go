package verify_test

import (
	"net/netip"
	"testing"

	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/host/hosttest"
	"github.com/lvsfleet/lvsfleet/providers/verify"
)

// A list of sockets has a line for each connection, and a host may have
// thousands of services.
func TestManyChecksAskOnceWhoListens(t *testing.T) {
	h := &hosttest.Canned{Runs: map[string]host.Result{
		"netstat -an -f inet": hosttest.Text("tcp4       0      0 192.0.2.1.80           *.*                    LISTEN\n"),
	}}
	l := verify.NewLooker(h, host.Identity{OS: host.FreeBSD, Release: "13.2-RELEASE"})
	for port, want := range map[int]verify.Status{80: verify.Proven, 81: verify.Warned, 82: verify.Warned} {
		r, err := l.Look(t.Context(), verify.Check{
			Kind: verify.Listener, Protocol: "tcp", Addr: netip.MustParseAddr("192.0.2.1"), Port: port,
		})
		if err != nil || r.Status != want {
			t.Errorf("port %d: %+v, %v", port, r, err)
		}
	}
	if len(h.Log) != 1 {
		t.Errorf("asked %q", h.Log)
	}
}
