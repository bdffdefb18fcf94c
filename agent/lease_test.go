package agent_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/providers/host"
)

// leased is a machine on which guards can be started, whose guards can be
// killed, and on which it is seen what is done under whose lease.
type leased struct {
	*sim.Machine
	clock *stopwatch

	mu     sync.Mutex
	guards []*sim.Session
	other  *sim.Session
	done   []string // operations on what the plan is about, in order
	// under says of each of them who held the lease: "" nobody.
	under []string
	at    func(deed string) bool // the access before which lose happens; nil: none
	lose  func()
}

const somebody = "somebody@elsewhere pid 1, run r9, since 2001-01-01T00:00:00.000Z"

func newLeased(t *testing.T) *leased {
	t.Helper()
	w := &leased{}
	w.Machine, w.clock = guarded()
	w.Loader = func(m *sim.Machine, c *sim.Call, _ host.File) int {
		p := m.NewSession()
		w.mu.Lock()
		w.guards = append(w.guards, p)
		w.mu.Unlock()
		defer p.End()
		return agent.Main(c.Context, p, c.Argv, c.Stdin, c.Stdout, c.Stderr)
	}
	w.Watch = func(a sim.Access) error {
		deed := ""
		switch {
		case a.Op == "run" && slices.Contains(a.Argv, "-w"):
			deed = a.Argv[2]
		case a.Op == "rename" && strings.HasPrefix(a.Path, "/etc/"):
			deed = a.Path
		case a.Op == "remove" && strings.HasPrefix(a.Path, "/etc/") && !strings.Contains(a.Path, ".lvsfleet-"):
			deed = "rm " + a.Path
		}
		moment := deed
		if moment == "" {
			moment = strings.Join(append([]string{a.Op, a.Path}, a.Argv...), " ")
		}
		w.mu.Lock()
		lose := w.lose
		if w.at != nil && w.at(moment) {
			w.at = nil
		} else {
			lose = nil
		}
		w.mu.Unlock()
		if lose != nil {
			lose()
		}
		if deed != "" {
			by, err := w.Holder(t.Context(), agent.Lease)
			if err != nil {
				t.Error(err)
			}
			w.mu.Lock()
			w.done, w.under = append(w.done, deed), append(w.under, by)
			w.mu.Unlock()
		}
		return nil
	}
	return w
}

// kill ends the guards.
func (w *leased) kill() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, g := range w.guards {
		g.End()
	}
}

// rob ends the guards, and somebody else takes the lease.
func (w *leased) rob(t *testing.T) {
	w.kill()
	w.other = w.NewSession()
	if _, err := w.other.Lock(t.Context(), agent.Lease, somebody); err != nil {
		t.Error(err)
	}
}

// loseAt has the guard die, or somebody else have the lease, before the first
// access of which it holds.
func (w *leased) loseAt(t *testing.T, how string, at func(string) bool) {
	w.lose = w.kill
	if how == "somebody else's" {
		w.lose = func() { w.rob(t) }
	}
	w.at = at
}

// Every operation of the live part needs the lease, at every moment at which it
// can be lost. Whose guard died is undone; what is somebody else's is left alone
// altogether.
func TestEveryOperationNeedsTheLease(t *testing.T) {
	journaled := func(n int) func(string) bool {
		seen := 0
		return func(m string) bool {
			if strings.HasPrefix(m, "write /var/lib/lvsfleet/journal/r1/0") || strings.HasPrefix(m, "rename /var/lib/lvsfleet/journal/r1/.") {
				seen++
			}
			return seen == n
		}
	}
	checked := func(key string, after string) func(w *leased) func(string) bool {
		return func(w *leased) func(string) bool {
			return func(m string) bool {
				return strings.HasSuffix(m, "sysctl -n "+key) && (after == "" || slices.Contains(w.done, after))
			}
		}
	}
	for _, moment := range []struct {
		name string
		at   func(w *leased) func(string) bool
		done []string
	}{
		{"while the first step is journaled", func(*leased) func(string) bool { return journaled(1) }, nil},
		{"while the first step is verified", checked("a", "a=1"), []string{"a=1"}},
		{"while the second step is verified", checked("b", "b=2"), []string{"a=1", "b=2"}},
		{"while the last step is verified", checked("c", "c=3"), []string{"a=1", "b=2", "c=3"}},
	} {
		for _, how := range []string{"nobody's", "somebody else's"} {
			t.Run(moment.name+" it becomes "+how, func(t *testing.T) {
				w := newLeased(t)
				before := look(w.Machine)
				e := guardedEngine(w.NewSession())
				if _, err := e.Begin(t.Context(), tx("r1"), nil); err != nil {
					t.Fatal(err)
				}
				w.mu.Lock()
				w.loseAt(t, how, moment.at(w))
				w.mu.Unlock()
				err := e.Apply(t.Context(), nil)
				if w.at != nil {
					t.Fatal("the moment never came")
				}
				var taken *host.TakenError
				switch {
				case err == nil:
					t.Error("it was applied")
				case how == "nobody's" && !strings.Contains(err.Error(), "guard is gone"):
					t.Errorf("apply: %v", err)
				case how == "somebody else's" && !errors.As(err, &taken):
					t.Errorf("apply: %v", err)
				}
				forward := w.done[:min(len(moment.done), len(w.done))]
				if d := cmp.Diff(moment.done, forward); d != "" && len(moment.done)+len(forward) > 0 {
					t.Errorf("done: %s", d)
				}
				back := w.done[len(forward):]
				if how == "somebody else's" && len(back) > 0 {
					t.Errorf("under somebody else's lease: %v", back)
				}
				for i, deed := range back {
					if v := deed[strings.IndexByte(deed, '=')+1:]; v != "0" {
						t.Errorf("with no guard: %s", deed)
					}
					if w.under[len(forward)+i] == "" {
						t.Errorf("%s was undone under nobody's lease", deed)
					}
				}
				if how == "nobody's" && look(w.Machine) != before {
					t.Error(cmp.Diff(before, look(w.Machine)))
				}
				// Nor does the end of the session, or a commit, change a thing.
				if how == "somebody else's" {
					n := len(w.done)
					if err := engineOn(w.NewSession()).Finish(t.Context(), "r1", true, nil); !errors.As(err, &taken) {
						t.Errorf("finish: %v", err)
					}
					_ = e.Close()
					if len(w.done) > n {
						t.Errorf("at the end: %v", w.done[n:])
					}
				} else if err := e.Close(); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// Every rename of a commit needs the lease: under somebody else's there is no
// more of them, and where the guard died the session that commits takes it.
func TestEveryRenameNeedsTheLease(t *testing.T) {
	order := []string{"/etc/one.conf", "/etc/new.d/deep/new.conf", "/etc/link", "/etc/rc.d/S10new", "rm /etc/gone.conf", "/etc/two.conf"}
	for _, who := range []string{"a fresh session", "its own session"} {
		for _, how := range []string{"nobody's", "somebody else's"} {
			for n, last := range order {
				if n == len(order)-1 && how == "somebody else's" {
					continue // nothing comes after it
				}
				t.Run(who+" commits, and it becomes "+how+" with "+last, func(t *testing.T) {
					w := newLeased(t)
					e := guardedEngine(w.NewSession())
					inForce(t, e)
					w.mu.Lock()
					w.done, w.under = nil, nil
					// It is lost before the rename, which has asked already.
					w.loseAt(t, how, func(m string) bool { return m == last })
					w.mu.Unlock()
					commits := e
					if who == "a fresh session" {
						commits = engineOn(w.NewSession())
					}
					err := commits.Finish(t.Context(), "r1", true, nil)
					if w.at != nil {
						t.Fatalf("it never came: %v", w.done)
					}
					var taken *host.TakenError
					if how == "somebody else's" {
						if !errors.As(err, &taken) {
							t.Errorf("finish: %v", err)
						}
						if d := cmp.Diff(order[:n+1], w.done); d != "" {
							t.Errorf("done: %s", d)
						}
						return
					}
					if err != nil {
						t.Errorf("finish: %v", err)
					}
					if d := cmp.Diff(order, w.done); d != "" {
						t.Errorf("done: %s", d)
					}
					for i := n + 1; i < len(order); i++ {
						if i < len(w.under) && !strings.Contains(w.under[i], ", run r1, ") {
							t.Errorf("%s under %q", order[i], w.under[i])
						}
					}
				})
			}
		}
	}
}

// Whose guard is dead is not committed, whoever asks.
func TestWhoseGuardIsDeadIsUndone(t *testing.T) {
	for _, who := range []string{"a fresh session", "its own session"} {
		t.Run(who, func(t *testing.T) {
			w := newLeased(t)
			before := look(w.Machine)
			e := guardedEngine(w.NewSession())
			inForce(t, e)
			w.kill()
			free(t, w.Machine)
			commits := e
			if who == "a fresh session" {
				commits = engineOn(w.NewSession())
			}
			if err := commits.Finish(t.Context(), "r1", true, nil); !errors.Is(err, agent.ErrUndone) {
				t.Errorf("finish: %v", err)
			}
			if d := cmp.Diff(before, look(w.Machine)); d != "" {
				t.Error(d)
			}
			if err := e.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// What was live went with the boot: the same values in the next one are
// somebody's own.
func TestWhatIsLiveIsNotUndoneInAnotherBoot(t *testing.T) {
	for _, marked := range []bool{false, true} { // by whoever was there since
		w := newLeased(t)
		s := w.NewSession()
		e := guardedEngine(s)
		inForce(t, e)
		w.PowerCycle()
		w.kill()
		s.End()
		if marked {
			if err := host.Replace(t.Context(), w.NewSession(), host.RunDir+"/boot", host.File{Mode: 0o600, Data: []byte(strings.Repeat("0", 32) + "\n")}); err != nil {
				t.Fatal(err)
			}
		}
		for _, v := range []string{"a=1", "b=2", "c=3"} {
			k, v, _ := strings.Cut(v, "=")
			w.Locked(func() { w.Net.Sysctls[k] = v })
		}
		w.mu.Lock()
		w.done = nil
		w.mu.Unlock()
		next := tx("r2")
		next.Request.Desired.Release = "nothing"
		settler := engineOn(w.NewSession())
		begun, err := settler.Begin(t.Context(), next, nil)
		if err != nil || !strings.Contains(begun.Settled, "run r1") {
			t.Errorf("settled %q, %v", begun.Settled, err)
		}
		if len(w.done) > 0 || !strings.HasPrefix(look(w.Machine), "a=1\nb=2\nc=3\n") {
			t.Errorf("undone: %v", w.done)
		}
		if left := append(temps(w.Machine), openRuns(w.Machine)...); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
		if err := settler.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Nor is it committed in another boot, even where the lease is held for its run.
func TestNothingIsCommittedInAnotherBoot(t *testing.T) {
	w := newLeased(t)
	s := w.NewSession()
	e := guardedEngine(s)
	before := files(look(w.Machine))
	inForce(t, e)
	w.PowerCycle()
	w.kill()
	s.End()
	if _, err := w.NewSession().Lock(t.Context(), agent.Lease, "op@controller pid 7, run r1, since 2026-01-01T00:00:00.000Z"); err != nil {
		t.Fatal(err)
	}
	if err := engineOn(w.NewSession()).Finish(t.Context(), "r1", true, nil); !errors.Is(err, agent.ErrUndone) {
		t.Errorf("finish: %v", err)
	}
	if now := files(look(w.Machine)); now != before {
		t.Error(cmp.Diff(before, now))
	}
}
