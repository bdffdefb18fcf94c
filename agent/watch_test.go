package agent_test

import (
	"io"
	"net"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
)

// counting counts what the controller writes and reads.
type counting struct {
	net.Conn
	writes, out, in atomic.Int64
}

func (c *counting) Write(p []byte) (int, error) {
	c.writes.Add(1)
	c.out.Add(int64(len(p)))
	return c.Conn.Write(p)
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.in.Add(int64(n))
	return n, err
}

// watched starts an agent whose stream is counted.
func watched(t *testing.T, m *sim.Machine) (*agent.Client, *counting) {
	t.Helper()
	here, there := net.Pipe()
	line := &counting{Conn: here}
	s := m.NewSession()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = agent.Server{Host: s, Plan: plan}.Serve(t.Context(), there, there)
		s.End()
		_ = there.Close()
	}()
	c := agent.NewClient(line, "")
	t.Cleanup(func() { _ = c.Close(); <-ended })
	return c, line
}

func TestAWatchThatFindsNothingNewCostsOneSmallMessageEachWay(t *testing.T) {
	m := newMachine()
	c, line := watched(t, m)
	want := tx("").Request
	first, err := c.Watch(t.Context(), &want, false)
	if err != nil || first.Report == nil {
		t.Fatalf("%+v, %v", first, err)
	}
	checked, err := engineOn(m.NewSession()).Check(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	if agent.Fingerprint(checked) != agent.Fingerprint(*first.Report) {
		t.Error(cmp.Diff(checked, *first.Report))
	}
	for range 3 {
		writes, out, in := line.writes.Load(), line.out.Load(), line.in.Load()
		again, err := c.Watch(t.Context(), &want, false)
		if err != nil || again.Report != nil {
			t.Fatalf("as before: %+v, %v", again, err)
		}
		if n := line.writes.Load() - writes; n != 1 {
			t.Errorf("%d writes", n)
		}
		if o, i := line.out.Load()-out, line.in.Load()-in; o > 128 || i > 128 {
			t.Errorf("%d bytes out, %d in", o, i)
		}
	}
	m.Locked(func() { m.Net.Sysctls["a"] = "7" })
	if s, err := c.Watch(t.Context(), &want, false); err != nil || s.Report == nil || s.Report.Items[0].Change.Holds() {
		t.Errorf("after a change: %+v, %v", s, err)
	}
	if s, err := c.Watch(t.Context(), &want, false); err != nil || s.Report != nil {
		t.Errorf("as changed: %+v, %v", s, err)
	}
	// Another question is asked whole.
	other := want
	other.Desired.Release = "nothing"
	if s, err := c.Watch(t.Context(), &other, false); err != nil || s.Report == nil || len(s.Report.Items) != 0 {
		t.Errorf("another question: %+v, %v", s, err)
	}
	if s, err := c.Watch(t.Context(), &want, false); err != nil || s.Report == nil || len(s.Report.Items) != 9 {
		t.Errorf("and back: %+v, %v", s, err)
	}
}

func TestAWatchLeavesNothingToEnd(t *testing.T) {
	m := newMachine()
	c, line := watched(t, m)
	want := tx("").Request
	if _, err := c.Watch(t.Context(), &want, false); err != nil {
		t.Fatal(err)
	}
	before := line.out.Load()
	if err := c.Close(); err != nil || line.out.Load() != before {
		t.Errorf("%v; %d bytes to say goodbye", err, line.out.Load()-before)
	}
	if _, err := c.Watch(t.Context(), &want, false); err == nil {
		t.Error("a closed session watches")
	}
	if _, err := io.ReadAll(line); err == nil {
		t.Error("the stream is open")
	}
}

func TestAWatchThatFailsIsAskedWholeAgain(t *testing.T) {
	m := newMachine()
	c, _ := watched(t, m)
	want := tx("").Request
	if _, err := c.Watch(t.Context(), &want, true); err != nil {
		t.Fatal(err)
	}
	broken := false
	m.Watch = func(a sim.Access) error {
		if broken && a.Op == "run" {
			return errTrap
		}
		return nil
	}
	broken = true
	if _, err := c.Watch(t.Context(), &want, true); err == nil {
		t.Fatal("a machine that runs nothing was looked at")
	}
	broken = false
	if s, err := c.Watch(t.Context(), &want, true); err != nil || s.Report == nil {
		t.Errorf("%+v, %v", s, err)
	}
}
