package remote_test

import (
	"strings"
	"testing"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/agent/remote"
)

// namedAgents are those of a build of that name.
type namedAgents struct {
	remote.Agents
	build string
}

func (a namedAgents) Hash() string { return a.build }

// A watcher of one build and a converge of another take turns at a host: each
// pushes its agent once.
func TestTwoBuildsTakeTurns(t *testing.T) {
	f := startFleet(t)
	m := f.Machine("linux")
	ran := executed(m)
	for range 3 {
		for _, build := range []string{"old", "new"} {
			d := &remote.Dialer{Agents: namedAgents{remote.LabAgents(), build}, Memory: &memory{of: map[string]string{}}}
			s, err := d.Dial(t.Context(), f.target("linux"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Check(t.Context(), agent.ToAdd(f.want("linux"))); err != nil {
				t.Error(err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	pushed := 0
	for _, argv := range ran() {
		if strings.HasPrefix(argv, agent.BinaryDir("/var/lib/lvsfleet")) && strings.Contains(argv, " install ") {
			pushed++
		}
	}
	if pushed != 2 {
		t.Errorf("%d agents were pushed for two builds", pushed)
	}
}
