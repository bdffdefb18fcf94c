package providers_test

import (
	"net/netip"
	"os"
	"testing"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/host/hosttest"
)

// A director whose network is nobody's at boot has its rules there all the
// same: what it gives up for good goes from them too.
func TestAnEntryThatGoesGoesFromTheRulesOfTheNextBoot(t *testing.T) {
	const rules = "-A -t 192.0.2.1:80 -s wlc\n-a -t 192.0.2.1:80 -r 192.0.2.11:80 -g -w 1\n"
	gone := []inventory.Withdrawal{{Protocol: "tcp", Addr: netip.MustParseAddr("192.0.2.1"), Port: 80,
		Server: netip.MustParseAddr("192.0.2.11"), ServerPort: 80, Gone: true}}
	for network, want := range map[string]int{"none": 1, "": 1} {
		c := &hosttest.Canned{Name: "lb", Runs: map[string]host.Result{
			"uname -s -r -m -v": hosttest.Text("Linux 6.1.0 #1 SMP x86_64\n"),
		}, Files: map[string]host.File{
			"/run/systemd/system":     {Mode: os.ModeDir | 0o755},
			"/etc/debian_version":     hosttest.Regular("12.5\n"),
			"/etc/init.d/ipvsadm":     hosttest.Regular("#!/bin/sh\n"),
			"/etc/ipvsadm.rules":      hosttest.Regular(rules),
			"/usr/sbin/ipvsadm":       {Mode: 0o755},
			"/etc/default/ipvsadm":    hosttest.Regular("AUTO=\"false\"\n"),
			"/etc/network/interfaces": hosttest.Regular("auto lo\n"),
		}}
		p, err := providers.Withdraw(t.Context(), c, inventory.Desired{Host: "lb", OS: inventory.Linux, Network: network}, gone)
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Boot) != want {
			t.Errorf("network %q: %d boot steps, want %d", network, len(p.Boot), want)
		}
	}
}
