package remote_test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/agent/remote"
)

// A line passes connections on and counts their round trips: how often
// something was sent that may have waited for an answer. It is a moment late
// each way, so that what is sent together arrives together.
type line struct {
	mu    sync.Mutex
	trips []int // of each connection
	told  int   // of them all, by next
}

const late = 5 * time.Millisecond

// through gives the target as it is reached through the line.
func (l *line) through(t *testing.T, target remote.Target) remote.Target {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	to := net.JoinHostPort(target.Address, strconv.Itoa(target.Port))
	var open sync.WaitGroup
	t.Cleanup(func() {
		_ = listener.Close()
		open.Wait()
	})
	open.Go(func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				_ = near.Close()
				return
			}
			l.pass(&open, near, far)
		}
	})
	known, err := os.ReadFile(target.KnownHosts[0])
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	there := strings.ReplaceAll(string(known), fmt.Sprintf("]:%d ", target.Port), fmt.Sprintf("]:%d ", port))
	target.KnownHosts = []string{filepath.Join(t.TempDir(), "known_hosts")}
	if err := os.WriteFile(target.KnownHosts[0], []byte(there), 0o600); err != nil {
		t.Fatal(err)
	}
	target.Port = port
	return target
}

// pass copies both ways. Each piece carries how many round trips it is deep:
// one from the near side is one deeper than what had reached that side, one
// from the far side as deep as what had reached that.
func (l *line) pass(open *sync.WaitGroup, near, far net.Conn) {
	var mu sync.Mutex
	arrived := map[net.Conn]int{near: 1} // the first is the connection itself
	l.mu.Lock()
	me := len(l.trips)
	l.trips = append(l.trips, 1)
	l.mu.Unlock()
	copies := func(from, to net.Conn, more int) {
		type piece struct {
			due   time.Time
			data  []byte
			depth int
		}
		pieces := make(chan piece, 1024)
		open.Go(func() {
			defer close(pieces)
			for {
				b := make([]byte, 64<<10)
				n, err := from.Read(b)
				if n > 0 {
					mu.Lock()
					depth := arrived[from] + more
					mu.Unlock()
					pieces <- piece{time.Now().Add(late), b[:n], depth}
				}
				if err != nil {
					return
				}
			}
		})
		open.Go(func() {
			for p := range pieces {
				time.Sleep(time.Until(p.due))
				mu.Lock()
				arrived[to] = max(arrived[to], p.depth)
				mu.Unlock()
				if to == near { // an answer has come back
					l.deepen(me, p.depth)
				}
				if _, err := to.Write(p.data); err != nil {
					break
				}
			}
			for range pieces { // nobody takes them
			}
			_ = to.Close()
		})
	}
	copies(near, far, 1)
	copies(far, near, 0)
}

func (l *line) deepen(connection, depth int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trips[connection] = max(l.trips[connection], depth)
}

// next gives the round trips since it was last asked, of all connections
// together.
func (l *line) next() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := 0
	for _, n := range l.trips {
		all += n
	}
	n := all - l.told
	l.told = all
	return n
}

// A contact costs few round trips, of which the login is seven: with no agent
// there, with one that is remembered, and with one that nobody remembers. A
// transaction costs no more than another login beside its own three.
func TestRoundTrips(t *testing.T) {
	f := startFleet(t)
	mem := &memory{of: map[string]string{}}
	d := &remote.Dialer{Agents: remote.LabAgents(), Memory: mem}
	var l line
	target := l.through(t, f.target("linux"))
	want := f.want("linux")
	want.Gateways = []netip.Addr{netip.MustParseAddr("192.168.0.1")}
	check := func() agent.Session {
		t.Helper()
		s, err := d.Dial(t.Context(), target)
		if err != nil {
			t.Fatal(err)
		}
		if r, err := s.Check(t.Context(), agent.ToAdd(want)); err != nil || !agent.Differs(r) {
			t.Fatalf("%+v %v", r, err)
		}
		return s
	}
	within := func(what string, most int) {
		t.Helper()
		if n := l.next(); n > most || n < 3 {
			t.Errorf("%s: %d round trips, at most %d are meant", what, n, most)
		} else {
			t.Logf("%s: %d round trips", what, n)
		}
	}
	_ = check().Close()
	within("the plan, with the agent pushed", 12)
	mem.SetAgentOf("linux", "")
	_ = check().Close()
	within("the plan, with the agent forgotten", 11)
	s := check()
	defer s.Close()
	within("the plan, with the agent remembered", 10)

	if _, err := s.Begin(t.Context(), agent.Transaction{Run: "r1", Who: "me", Request: agent.ToAdd(want)}, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	fresh, err := d.Dial(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	defer fresh.Close()
	if err := fresh.Finish(t.Context(), "r1", true, nil); err != nil {
		t.Fatal(err)
	}
	within("from there to the commit", 14)
}
