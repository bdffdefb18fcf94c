package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/fleet"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// Hosts that differ alike are one block; what a host says is no line of ours.
func TestShortFoldsHostsThatDifferAlike(t *testing.T) {
	item := func(name, was, want, diff string) agent.Item {
		return agent.Item{Step: name, Layer: agent.Live, Change: step.Change{
			Was: was, Want: want, Diff: diff, Do: []step.Op{{Kind: step.Run, Argv: []string{"x"}}},
		}}
	}
	host := func(name string, items ...agent.Item) fleet.Finding {
		return fleet.Finding{Host: name, Reached: true, Report: agent.Report{Items: items}}
	}
	long := strings.Repeat("x", longest+1)
	var out bytes.Buffer
	p := &printer{globals: &globals{streams: streams{out: &out}}}
	p.short([]fleet.Finding{
		host("a", item("arp_ignore", "0", "1", "-0\n+1\n")),
		host("b", item("arp_ignore", "0\nc\n  live made up", "1", "--- x\n+++ x\n-0\n-c\n+1\n")),
		host("c", item("arp_ignore", "0", "1", "-0\n+1\n")),
		host("d"),
		host("e", item("route", "via y", "", "-via y\n"), item("motd", long, "", "-"+long+"\n")),
	})
	want := `a, c
  live arp_ignore 0 -> 1

b
  live arp_ignore +1 -2

e
  live route via y -> none
  live motd +0 -1

5 hosts: 4 differ
`
	if out.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", out.String(), want)
	}
}
