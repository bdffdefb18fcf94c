package agent_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// serve starts an agent on a process of m, and gives a session with it.
func serve(t *testing.T, m *sim.Machine, p agent.Planner) (*agent.Client, net.Conn, *sim.Session, <-chan error) {
	t.Helper()
	here, there := net.Pipe()
	s := m.NewSession()
	ended := make(chan error, 1)
	go func() {
		err := agent.Server{Host: s, Build: "b1", Plan: p}.Serve(context.Background(), there, there)
		s.End()
		_ = there.Close()
		ended <- err
	}()
	c := agent.NewClient(here, "b1")
	t.Cleanup(func() { _ = c.Close() })
	return c, here, s, ended
}

func TestAnAgentDoesWhatTheEngineDoes(t *testing.T) {
	m := newMachine()
	after := wanted(t)
	c, _, _, ended := serve(t, m, plan)
	local, err := engineOn(m.NewSession()).Check(t.Context(), tx("").Request)
	if err != nil {
		t.Fatal(err)
	}
	remote, err := c.Check(t.Context(), tx("").Request)
	if err != nil {
		t.Fatal(err)
	}
	if agent.Fingerprint(local) != agent.Fingerprint(remote) || !cmp.Equal(local.Identity, remote.Identity) {
		t.Error(cmp.Diff(local, remote))
	}
	var phases []string
	progress := func(e agent.Event) {
		if len(phases) == 0 || phases[len(phases)-1] != e.Phase {
			phases = append(phases, e.Phase)
		}
	}
	if _, err := c.Begin(t.Context(), tx("r1"), progress); err != nil {
		t.Fatal(err)
	}
	if err := c.Apply(t.Context(), progress); err != nil {
		t.Fatal(err)
	}
	fresh, _, _, _ := serve(t, m, plan)
	if err := fresh.Finish(t.Context(), "r1", true, progress); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(after, look(m)); diff != "" {
		t.Error(diff)
	}
	want := "lease check stage do verify do verify do verify commit verify"
	if got := strings.Join(phases, " "); got != want {
		t.Errorf("progress: %s", got)
	}
}

func TestALineThatIsCutUndoes(t *testing.T) {
	m := newMachine()
	before := look(m)
	c, line, _, ended := serve(t, m, plan)
	if _, err := c.Begin(t.Context(), tx("r1"), nil); err != nil {
		t.Fatal(err)
	}
	if err := c.Apply(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	_ = line.Close()
	<-ended
	if diff := cmp.Diff(before, look(m)); diff != "" {
		t.Error(diff)
	}
	if left := append(temps(m), openRuns(m)...); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestALineThatIsCutInMidStepUndoes(t *testing.T) {
	m := newMachine()
	before := look(m)
	c, line, _, ended := serve(t, m, plan)
	if _, err := c.Begin(t.Context(), tx("r1"), nil); err != nil {
		t.Fatal(err)
	}
	m.Watch = func(a sim.Access) error {
		if a.Op == "run" && strings.HasSuffix(strings.Join(a.Argv, " "), "b=2") {
			_ = line.Close()
		}
		return nil
	}
	err := c.Apply(t.Context(), nil)
	var undo *agent.UndoError
	if !errors.As(err, &undo) || !errors.Is(err, host.ErrLost) {
		t.Errorf("apply: %v", err)
	}
	<-ended
	if diff := cmp.Diff(before, look(m)); diff != "" {
		t.Error(diff)
	}
}

func TestAnAgentThatDies(t *testing.T) {
	m := newMachine()
	after := wanted(t)
	c, _, s, _ := serve(t, m, plan)
	if _, err := c.Begin(t.Context(), tx("r1"), nil); err != nil {
		t.Fatal(err)
	}
	m.Watch = func(a sim.Access) error {
		if a.Op == "run" && strings.HasSuffix(strings.Join(a.Argv, " "), "b=2") {
			s.End()
		}
		return nil
	}
	err := c.Apply(t.Context(), nil)
	var undo *agent.UndoError
	if !errors.As(err, &undo) {
		t.Errorf("apply: %v", err)
	}
	m.Watch = nil
	if _, err := converge(t, m, "r2"); err != nil || look(m) != after {
		t.Errorf("the next run: %v", err)
	}
}

func TestCancelCrossesTheWire(t *testing.T) {
	m := newMachine()
	before := look(m)
	ctx, cancel := context.WithCancel(t.Context())
	slow := func(_ context.Context, h host.Host, want inventory.Desired) (step.Plan, host.Identity, error) {
		p, id, err := plan(context.Background(), h, want)
		p.Live = append(p.Live, step.Func{Name: "endless", Probe: func(ctx context.Context, h host.Host) (step.Change, error) {
			res, err := h.Run(ctx, host.Cmd{Argv: []string{"sysctl", "-n", "a"}})
			if string(res.Stdout) == "1\n" { // after the first step: hangs until it is not wanted
				cancel()
				<-ctx.Done()
				return step.Change{}, ctx.Err()
			}
			return step.Change{Do: []step.Op{{Kind: step.Run, Argv: []string{"sysctl", "-w", "c=3"}}}}, err
		}})
		return p, id, err
	}
	c, _, _, _ := serve(t, m, slow)
	if _, err := c.Begin(ctx, tx("r1"), nil); err != nil {
		t.Fatal(err)
	}
	if err := c.Apply(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("apply: %v", err)
	}
	if diff := cmp.Diff(before, look(m)); diff != "" {
		t.Error(diff)
	}
	if _, err := c.Check(t.Context(), tx("").Request); err != nil {
		t.Errorf("the session is of no more use: %v", err)
	}
}

type stream struct {
	io.Reader
	io.Writer
}

func (stream) Close() error { return nil }

func TestNobodyThere(t *testing.T) {
	for name, c := range map[string]struct{ said, want string }{
		"csh without it": {"/x: Command not found.\n", "no agent answers; the host says \"/x: Command not found.\""},
		"silence":        {"", "no agent answers: EOF"},
		"another build":  {"lvsfleet-agent/1 b2\n", "the agent there is of build b2, not b1"},
	} {
		s := agent.NewClient(stream{strings.NewReader(c.said), io.Discard}, "b1")
		_, err := s.Check(t.Context(), agent.ToAdd(inventory.Desired{}))
		var nobody *agent.NoAgentError
		if !errors.As(err, &nobody) || err.Error() != c.want {
			t.Errorf("%s: %v", name, err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("%s: close: %v", name, err)
		}
	}
}

func TestAnAgentThatNoControllerSpeaksTo(t *testing.T) {
	for in, want := range map[string]string{
		"":                              "",
		"GET / HTTP/1.0\r\n":            "no controller speaks here",
		"lvsfleet-controller/1 other\n": "the controller wants build other",
		"lvsfleet-controller/1 b1\n\xff\xff\xff\xff": "more than",
		strings.Repeat("x", 1000):                    "no controller speaks here",
	} {
		var out bytes.Buffer
		err := agent.Server{Host: newMachine(), Build: "b1", Plan: plan}.Serve(t.Context(), strings.NewReader(in), &out)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", in, err)
		}
		if out.String() != "lvsfleet-agent/1 b1\n" {
			t.Errorf("%q: it says %q", in, out.String())
		}
	}
}

func TestCalledAsAProgram(t *testing.T) {
	program := []byte("the agent's own file")
	sum := sha256.Sum256(program)
	final := agent.BinaryPath("/var/lib/lvsfleet", "abc")
	tmp := agent.NewBinaryPath("/var/lib/lvsfleet", "r")
	call := func(m *sim.Machine, argv []string) (status int, out, diag string) {
		var o, d bytes.Buffer
		status = agent.Main(t.Context(), m, argv, strings.NewReader(""), &o, &d)
		return status, o.String(), d.String()
	}
	m := newMachine()
	m.FS.Put(tmp, 0o700, string(program))
	others := agent.NewBinaryPath("/var/lib/lvsfleet", "other")
	m.FS.Put(others, 0o700, "somebody's, half written")
	if status, out, diag := call(m, agent.InstallArgs(tmp, sum, final)); status != 0 || out != "lvsfleet-agent/1 abc\n" {
		t.Errorf("install: %d %q %q", status, out, diag)
	}
	if f, err := m.FS.ReadFile(final); err != nil || !bytes.Equal(f.Data, program) {
		t.Errorf("installed: %v", err)
	}
	if _, err := m.FS.ReadFile(others); err != nil {
		t.Error("what somebody else writes is gone")
	}
	if status, out, _ := call(m, agent.ServeArgs(final)); status != 0 || out != "lvsfleet-agent/1 abc\n" {
		t.Errorf("serve: %d %q", status, out)
	}
	m.FS.Put(tmp, 0o700, string(program[1:]))
	if status, _, diag := call(m, agent.InstallArgs(tmp, sum, final)); status != 1 || !strings.Contains(diag, "not what was sent") {
		t.Errorf("damaged: %d %q", status, diag)
	}
	if _, err := m.FS.ReadFile(tmp); err == nil {
		t.Error("what was damaged is still there")
	}
	for _, argv := range [][]string{{final}, {final, "x"}, {tmp, "install", "x", "/etc/passwd"}, {"/bin/sh", "install", "x", final}} {
		if status, _, diag := call(m, argv); status != 1 || diag == "" {
			t.Errorf("%q: %d", argv, status)
		}
	}
}

// Controllers of several builds use one host side by side; what none has pushed
// for long goes.
func TestAFewBuildsLieSideBySide(t *testing.T) {
	m := newMachine()
	program := []byte("the agent's own file")
	tmp := agent.NewBinaryPath("/var/lib/lvsfleet", "r")
	install := func(builds ...string) {
		t.Helper()
		for _, b := range builds {
			m.FS.Put(tmp, 0o700, string(program))
			var out, diag bytes.Buffer
			argv := agent.InstallArgs(tmp, sha256.Sum256(program), agent.BinaryPath("/var/lib/lvsfleet", b))
			if status := agent.Main(t.Context(), m, argv, strings.NewReader(""), &out, &diag); status != 0 {
				t.Fatalf("install %s: %s", b, diag.String())
			}
		}
	}
	expect := func(builds ...string) {
		t.Helper()
		entries, err := m.FS.ReadDir(agent.BinaryDir("/var/lib/lvsfleet"))
		if err != nil {
			t.Fatal(err)
		}
		var have []string
		for _, e := range entries {
			if b, ok := strings.CutPrefix(e.Name, agent.BinaryPrefix); ok {
				have = append(have, b)
			}
		}
		if diff := cmp.Diff(builds, have); diff != "" {
			t.Error(diff)
		}
	}
	install("b")
	expect("b")
	install("a", "c")
	expect("a", "b", "c")
	install("d")
	expect("a", "c", "d")
	install("b") // somebody still wants it
	expect("b", "c", "d")
	install("a", "b") // b is there, but damaged: it is the newest now
	expect("a", "b", "d")
	// Of one that no list names nobody knows any more who wants it.
	m.FS.Put(agent.BinaryPath("/var/lib/lvsfleet", "z"), 0o700, "")
	install("e")
	expect("a", "b", "e")
}
