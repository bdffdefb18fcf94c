package agent_test

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/providers/host"
)

// A stopwatch goes on by what it is told.
type stopwatch struct {
	mu  sync.Mutex
	now time.Duration
}

func (s *stopwatch) Now() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *stopwatch) add(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now += d
}

// Sleep looks whether there is something to do a thousand times a second,
// whatever the time is.
func (*stopwatch) Sleep(ctx context.Context, _ time.Duration) error {
	return host.Uptime().Sleep(ctx, time.Millisecond)
}

// guarded is a machine on which guards can be started.
func guarded() (*sim.Machine, *stopwatch) {
	m := newMachine()
	clock := &stopwatch{}
	m.Clock = clock
	m.FS.Put("/guard", 0o755, "")
	m.Loader = func(m *sim.Machine, c *sim.Call, _ host.File) int {
		p := m.NewSession()
		defer p.End()
		return agent.Main(c.Context, p, c.Argv, c.Stdin, c.Stdout, c.Stderr)
	}
	return m, clock
}

func guardedEngine(h host.Host) *agent.Engine {
	e := engineOn(h)
	e.Guard = agent.GuardArgs("/guard", false)
	return e
}

// await waits until something holds. What never comes fails the test that waits
// for it, instead of all of them by hanging.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited a minute: %s", what)
		}
	}
}

// free waits until nobody holds the lease.
func free(t *testing.T, m *sim.Machine) {
	t.Helper()
	await(t, "nobody holds the lease", func() bool { return !held(t, m) })
}

func held(t *testing.T, m *sim.Machine) bool {
	t.Helper()
	by, err := m.Holder(t.Context(), agent.Lease)
	if err != nil {
		t.Fatal(err)
	}
	return by != ""
}

// pass lets most of a guard's time pass, then waits until it has heard a word
// since: it changes its nonce for that.
func pass(t *testing.T, m *sim.Machine, clock *stopwatch) {
	t.Helper()
	s := m.NewSession()
	defer s.End()
	nonce := func() string {
		f, err := s.ReadFile(t.Context(), host.RunDir+"/guard.nonce")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		return string(f.Data)
	}
	clock.add(agent.DefaultConfirmTimeout * 2 / 3)
	before := nonce()
	await(t, "the guard hears a word", func() bool { n := nonce(); return n != "" && n != before })
}

// runOut lets time pass until nobody holds the lease, slowly enough for a guard
// that hears a word to hold on.
func runOut(t *testing.T, m *sim.Machine, clock *stopwatch) {
	t.Helper()
	await(t, "the guard gives up", func() bool {
		time.Sleep(5 * time.Millisecond)
		clock.add(agent.DefaultConfirmTimeout / 10)
		return !held(t, m)
	})
}

func inForce(t *testing.T, e *agent.Engine) {
	t.Helper()
	if _, err := e.Begin(t.Context(), tx("r1"), nil); err != nil {
		t.Fatal(err)
	}
	if err := e.Apply(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
}

func TestAControllerThatAnswersIsWaitedForAndOneThatDoesNotIsNot(t *testing.T) {
	m, clock := guarded()
	before := look(m)
	e := guardedEngine(m.NewSession())
	var silent atomic.Bool
	e.Renew = func(context.Context, string) bool { return !silent.Load() }
	inForce(t, e)
	for range 3 { // together more than the limit
		pass(t, m, clock)
	}
	if !held(t, m) || look(m) == before {
		t.Fatal("the guard did not wait")
	}
	silent.Store(true)
	runOut(t, m, clock)
	if look(m) != before {
		t.Error("the guard did not undo")
	}
	if err := e.Finish(t.Context(), "r1", true, nil); err == nil {
		t.Error("what its guard has undone was committed")
	}
}

func TestAnOldWordRenewsNothing(t *testing.T) {
	m, clock := guarded()
	before := look(m)
	s := m.NewSession()
	e := guardedEngine(s)
	e.Renew = func(context.Context, string) bool { return false }
	inForce(t, e)
	// Whoever is at the host can say what it likes, but not what is not known.
	if err := host.Replace(t.Context(), s, host.RunDir+"/guard.word", host.File{Mode: 0o600, Data: []byte("0123\n")}); err != nil {
		t.Fatal(err)
	}
	runOut(t, m, clock)
	if look(m) != before {
		t.Error("the guard did not undo")
	}
}

func TestOfTwoControllersOneIsToldWhoTheOtherIs(t *testing.T) {
	m, _ := guarded()
	first := guardedEngine(m.NewSession())
	inForce(t, first)
	second := guardedEngine(m.NewSession())
	var taken *host.TakenError
	_, err := second.Begin(t.Context(), tx("r2"), nil)
	if !errors.As(err, &taken) || !strings.HasPrefix(taken.Holder, "op@controller pid 7, run r1, since 2") {
		t.Fatalf("the second: %v", err)
	}
	report, err := second.Check(t.Context(), tx("r2").Request)
	if err != nil || report.UnderWay != taken.Holder {
		t.Errorf("check: under way %q, %v", report.UnderWay, err)
	}
	if err := errors.Join(first.Finish(t.Context(), "r1", true, nil), first.Close()); err != nil {
		t.Fatal(err)
	}
	// A guard that has been told to go is waited for.
	if _, err := second.Begin(t.Context(), tx("r2"), nil); err != nil {
		t.Errorf("after the first: %v", err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	free(t, m)
}

func TestARunWithNothingToDoTakesNoGuard(t *testing.T) {
	m, _ := guarded()
	var touched []sim.Access
	m.Watch = func(a sim.Access) error {
		if a.Op == "write" || a.Op == "rename" || a.Op == "remove" || a.Op == "lock" || a.Op == "run" && a.Argv[0] == "/guard" {
			touched = append(touched, a)
		}
		return nil
	}
	e := guardedEngine(m.NewSession())
	want := tx("r1").Request
	want.Desired.Release = "nothing"
	report, err := e.Check(t.Context(), want)
	if err != nil || agent.Differs(report) {
		t.Fatal(agent.Differs(report), err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if len(touched) > 0 {
		t.Errorf("a look touched %v", touched)
	}
}

func TestTheWordCrossesTheWire(t *testing.T) {
	m, clock := guarded()
	before := look(m)
	m.FS.Put("/a/lvsfleet-agent-b1", 0o755, "")
	here, there := net.Pipe()
	s := m.NewSession()
	go func() {
		_ = agent.Server{Host: s, Build: "b1", Plan: plan, Guard: agent.GuardArgs("/guard", false)}.Serve(context.Background(), there, there)
		s.End()
	}()
	c := agent.NewClient(here, "b1")
	var silent atomic.Bool
	c.RenewWhile(func() bool { return !silent.Load() })
	if _, err := c.Begin(t.Context(), tx("r1"), nil); err != nil {
		t.Fatal(err)
	}
	if err := c.Apply(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		pass(t, m, clock)
	}
	if look(m) == before {
		t.Fatal("the guard did not wait")
	}
	silent.Store(true)
	runOut(t, m, clock)
	if look(m) != before {
		t.Error("the guard did not undo")
	}
	if m.Alive(s.PID()) {
		t.Error("the guard let the agent live that had fallen silent")
	}
	_ = here.Close()
}
