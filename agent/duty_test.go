package agent_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/providers/host"
)

// A leap is a clock on which whoever sleeps has slept at once. What happens at a
// time happens before it is told.
type leap struct {
	now time.Duration
	at  map[time.Duration]func()
}

func (l *leap) Now() time.Duration { return l.now }

func (l *leap) Sleep(ctx context.Context, d time.Duration) error {
	for end := l.now + d; l.now < end; l.now += 100 * time.Millisecond {
		if f := l.at[l.now]; f != nil {
			delete(l.at, l.now)
			f()
		}
	}
	if l.now > 10*time.Minute {
		return errors.New("it holds on for ever")
	}
	return ctx.Err()
}

// A guard's whole duty, by the clock: how long it holds the lease, and what it
// does to the host and to the session as it goes.
func TestAGuardKeepsItsTime(t *testing.T) {
	const timeout, sec = 60 * time.Second, time.Second
	say := func(t *testing.T, m *sim.Machine, name, line string) {
		t.Helper()
		if err := host.Replace(t.Context(), m, host.RunDir+"/guard."+name, host.File{Mode: 0o600, Data: []byte(line)}); err != nil {
			t.Error(err)
		}
	}
	nonce := func(t *testing.T, m *sim.Machine) string {
		t.Helper()
		f, err := m.ReadFile(t.Context(), host.RunDir+"/guard.nonce")
		if err != nil {
			t.Error(err)
		}
		return string(f.Data)
	}
	type scene struct {
		*sim.Machine
		t      *testing.T
		boss   *sim.Session
		holder string
		first  string // nonce
	}
	answer := func(s *scene) { say(s.t, s.Machine, "word", nonce(s.t, s.Machine)) }
	for _, tt := range []struct {
		name    string
		at      map[time.Duration]func(*scene)
		fails   int // the first tries at the undo
		spare   bool
		ends    time.Duration // within half a second
		boss    bool          // lives
		undone  bool
		problem string
	}{
		{name: "nobody says a word", ends: 60 * sec, undone: true},
		{name: "nobody says a word, and the session has other hosts", spare: true, ends: 60 * sec, undone: true, boss: true},
		{name: "a word late", at: map[time.Duration]func(*scene){59 * sec: answer}, ends: 119 * sec, undone: true},
		{name: "a word too late", at: map[time.Duration]func(*scene){61 * sec: answer}, ends: 60 * sec, undone: true},
		{name: "three words", at: map[time.Duration]func(*scene){20 * sec: answer, 70 * sec: answer, 125 * sec: answer}, ends: 185 * sec, undone: true},
		{name: "one word for ever", at: map[time.Duration]func(*scene){
			10 * sec: func(s *scene) { s.first = nonce(s.t, s.Machine); answer(s) },
			30 * sec: func(s *scene) { say(s.t, s.Machine, "word", s.first) },
			65 * sec: func(s *scene) { say(s.t, s.Machine, "word", s.first) },
		}, ends: 70 * sec, undone: true},
		{name: "a word that nobody asked for", at: map[time.Duration]func(*scene){30 * sec: func(s *scene) { say(s.t, s.Machine, "word", "0123\n") }}, ends: 60 * sec, undone: true},
		{name: "half a word", at: map[time.Duration]func(*scene){30 * sec: func(s *scene) {
			say(s.t, s.Machine, "word", strings.TrimSpace(nonce(s.t, s.Machine)))
		}}, ends: 60 * sec, undone: true},
		{name: "the session is done", at: map[time.Duration]func(*scene){10 * sec: func(s *scene) { say(s.t, s.Machine, "done", s.holder+"\n") }}, ends: 10 * sec, undone: true, boss: true},
		{name: "another session is done", at: map[time.Duration]func(*scene){10 * sec: func(s *scene) { say(s.t, s.Machine, "done", "x, run r0, since 2000\n") }}, ends: 60 * sec, undone: true},
		{name: "the session dies", at: map[time.Duration]func(*scene){20 * sec: func(s *scene) { s.boss.End() }}, ends: 20 * sec, undone: true},
		{name: "the session dies that was answered", at: map[time.Duration]func(*scene){20 * sec: answer, 30 * sec: func(s *scene) { s.boss.End() }}, ends: 30 * sec, undone: true},
		{name: "an undo that fails twice", fails: 2, ends: 63 * sec, undone: true},
		{name: "an undo that fails always", fails: 99, ends: 70 * sec, problem: "struck"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMachine()
			before := look(m)
			dies := m.NewSession()
			inForce(t, engineOn(dies))
			dies.End()

			s := &scene{Machine: m, t: t, boss: m.NewSession(), holder: "op@controller pid 7, run r1, since 2026-01-01T00:00:00.000Z"}
			clock := &leap{at: map[time.Duration]func(){}}
			for when, f := range tt.at {
				clock.at[when] = func() { f(s) }
			}
			m.Clock = clock
			tries := 0
			m.Watch = func(a sim.Access) error {
				if a.Op == "run" && a.Argv[len(a.Argv)-1] == "c=0" {
					if tries++; tries <= tt.fails {
						return errTrap
					}
				}
				return nil
			}
			duty, err := json.Marshal(agent.Duty{Run: "r1", Holder: s.holder, Root: "/var/lib/lvsfleet", Timeout: timeout, Boss: s.boss.PID(), Spare: tt.spare})
			if err != nil {
				t.Fatal(err)
			}
			p := m.NewSession()
			err = agent.RunGuard(t.Context(), p, string(duty))
			p.End()
			if tt.problem == "" && err != nil || tt.problem != "" && !strings.Contains(fmt.Sprint(err), tt.problem) {
				t.Errorf("it ended with %v", err)
			}
			if clock.now < tt.ends || clock.now > tt.ends+sec/2 {
				t.Errorf("it held on for %s, want %s", clock.now, tt.ends)
			}
			if (look(m) == before) != tt.undone {
				t.Errorf("undone: %v", !tt.undone)
			}
			if m.Alive(s.boss.PID()) != tt.boss {
				t.Errorf("the session lives: %v", !tt.boss)
			}
			if held(t, m) {
				t.Error("the lease is still held")
			}
		})
	}
}
