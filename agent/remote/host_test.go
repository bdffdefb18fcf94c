package remote

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"mvdan.cc/sh/v3/syntax"

	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/host/hosttest"
)

// loginShells are the login shells to test with: /bin/sh, and what
// LVSFLEET_LOGIN_SHELLS names ("/bin/csh:/bin/tcsh"), since not every machine
// has a csh.
func loginShells() []string {
	return append([]string{"/bin/sh"}, filepath.SplitList(os.Getenv("LVSFLEET_LOGIN_SHELLS"))...)
}

func TestHostConforms(t *testing.T) {
	for _, shell := range loginShells() {
		t.Run(shell, func(t *testing.T) { conforms(t, shell) })
	}
}

func conforms(t *testing.T, shell string) {
	s := startServer(t, func(s *server) { s.shell = shell })
	conn := s.connect(t)
	hosttest.Conformance(t, func(t *testing.T) hosttest.Subject {
		h := NewHost("rs1", conn)
		t.Cleanup(func() { _ = h.Close() })
		return hosttest.Subject{Host: h, Dir: place(t), UID: os.Geteuid(), GID: os.Getegid()}
	})
}

func TestHostCommands(t *testing.T) {
	for _, shell := range loginShells() {
		t.Run(shell, func(t *testing.T) { commands(t, shell) })
	}
}

func commands(t *testing.T, shell string) {
	s := startServer(t, func(s *server) { s.shell = shell })
	h := NewHost("rs1", s.connect(t))
	for name, c := range map[string]struct {
		cmd            host.Cmd
		stdout, stderr string
		exit           int
	}{
		"no input":  {host.Cmd{Argv: []string{"cat"}}, "", "", 0},
		"input":     {host.Cmd{Argv: []string{"cat"}, Stdin: []byte("a\nb")}, "a\nb", "", 0},
		"a failure": {host.Cmd{Argv: []string{"sh", "-c", "echo out; echo err >&2; exit 3"}}, "out\n", "err\n", 3},
		"odd words": {host.Cmd{Argv: []string{"printf", "[%s]", "", "a b", "$HOME", "it's", "`x`", "!1", "\\", "*", "~", "\t"}},
			"[][a b][$HOME][it's][`x`][!1][\\][*][~][\t]", "", 0},
		"the language": {host.Cmd{Argv: []string{"sh", "-c", "echo $LC_ALL $IFCONFIG_FORMAT"}}, "C inet:hex\n", "", 0},
	} {
		res, err := h.Run(t.Context(), c.cmd)
		if string(res.Stdout) != c.stdout || string(res.Stderr) != c.stderr || res.Exit != c.exit {
			t.Errorf("%s: %q %q %d", name, res.Stdout, res.Stderr, res.Exit)
		}
		var exit *host.ExitError
		if errors.As(err, &exit) != (c.exit != 0) || err != nil && (exit.Host != "rs1" || exit.Argv[0] != c.cmd.Argv[0]) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := h.Run(t.Context(), host.Cmd{Argv: []string{"echo", "a\nb"}}); err == nil {
		t.Error("a newline was sent to a login shell")
	}
	_, err := h.Run(t.Context(), host.Cmd{Argv: []string{"sleep", "1000"}, Timeout: 100 * time.Millisecond})
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "sleep 1000") {
		t.Errorf("a command that does not end: %v", err)
	}
}

func TestALostLineIsSaidToBeLost(t *testing.T) {
	s := startServer(t, nil)
	h := NewHost("rs1", s.connect(t))
	dir := place(t)
	if _, err := h.ReadDir(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := h.Run(t.Context(), host.Cmd{Argv: []string{"sh", "-c", "echo >" + dir + "/up; sleep 1000"}})
		ended <- err
	}()
	for {
		if _, err := os.Stat(filepath.Join(dir, "up")); err == nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	s.cut()
	if err := <-ended; !errors.Is(err, host.ErrLost) {
		t.Errorf("a command that ran: %v", err)
	}
	var exit *host.ExitError
	for name, do := range map[string]func() error{
		"run":    func() error { _, err := h.Run(t.Context(), host.Cmd{Argv: []string{"true"}}); return err },
		"read":   func() error { _, err := h.ReadFile(t.Context(), "/etc/passwd"); return err },
		"list":   func() error { _, err := h.ReadDir(t.Context(), "/"); return err },
		"write":  func() error { return h.Write(t.Context(), dir+"/x", host.File{}) },
		"rename": func() error { return h.Rename(t.Context(), dir+"/x", dir+"/y") },
		"remove": func() error { return h.Remove(t.Context(), dir+"/x") },
		"lock":   func() error { _, err := h.Lock(t.Context(), dir+"/l", "me"); return err },
		"holder": func() error { _, err := h.Holder(t.Context(), dir+"/l"); return err },
	} {
		if err := do(); !errors.Is(err, host.ErrLost) || errors.As(err, &exit) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestALockDiesWithItsLogin(t *testing.T) {
	s := startServer(t, nil)
	path := filepath.Join(place(t), "run", "lease")
	first := NewHost("rs1", s.connect(t))
	if _, err := first.Lock(t.Context(), path, "first"); err != nil {
		t.Fatal(err)
	}
	s.cut()
	second := NewHost("rs1", s.connect(t))
	// The shell there ends when it sees that its input has.
	for {
		by, err := second.Holder(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		if by == "" {
			break
		}
	}
	release, err := second.Lock(t.Context(), path, "second")
	if err != nil {
		t.Fatal(err)
	}
	release()
}

func TestALockWhoseHolderWasKilledIsTakenOver(t *testing.T) {
	s := startServer(t, nil)
	h := NewHost("rs1", s.connect(t))
	path := filepath.Join(place(t), "lease")
	if _, err := h.Lock(t.Context(), path, "first"); err != nil {
		t.Fatal(err)
	}
	pid, err := os.ReadFile(filepath.Join(host.LockFolder(path), "pid"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Run(t.Context(), host.Cmd{Argv: []string{"sh", "-c", "kill -9 " + strings.TrimSpace(string(pid))}}); err != nil {
		t.Fatal(err)
	}
	for {
		by, err := h.Holder(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		if by == "" {
			break
		}
	}
	release, err := h.Lock(t.Context(), path, "second")
	if err != nil {
		t.Fatal(err)
	}
	if by, err := h.Holder(t.Context(), path); by != "second" || err != nil {
		t.Errorf("holder: %q %v", by, err)
	}
	release()
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestAnAgentsLockIsSeenWithoutOne(t *testing.T) {
	s := startServer(t, nil)
	h := NewHost("rs1", s.connect(t))
	path := filepath.Join(place(t), "lease")
	local := &host.Local{}
	release, err := local.Lock(t.Context(), path, "an agent")
	if err != nil {
		t.Fatal(err)
	}
	var taken *host.TakenError
	if _, err := h.Lock(t.Context(), path, "me"); !errors.As(err, &taken) || taken.Holder != "an agent" {
		t.Errorf("lock: %v", err)
	}
	if by, err := h.Holder(t.Context(), path); by != "an agent" || err != nil {
		t.Errorf("holder: %q %v", by, err)
	}
	release()
	free, err := h.Lock(t.Context(), path, "me")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := local.Lock(t.Context(), path, "an agent"); !errors.As(err, &taken) || taken.Holder != "me" {
		t.Errorf("the agent's lock: %v", err)
	}
	free()
}

func TestOnlyOneOfManyTakesALock(t *testing.T) {
	s := startServer(t, nil)
	path := filepath.Join(place(t), "lease")
	// A stale lock is there, so that all of them want to take it over.
	if err := os.Mkdir(host.LockFolder(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(host.LockFolder(path), "pid"), []byte("999999999\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const many = 6
	got := make(chan error, many)
	for i := range many {
		h := NewHost("rs1", s.connect(t))
		go func() {
			_, err := h.Lock(t.Context(), path, "number "+strconv.Itoa(i))
			got <- err
		}()
	}
	held := 0
	for range many {
		err := <-got
		var taken *host.TakenError
		switch {
		case err == nil:
			held++
		case !errors.As(err, &taken):
			t.Error(err)
		}
	}
	if held != 1 {
		t.Errorf("%d hold it", held)
	}
}

// V7 Bourne shell knows none of what POSIX added.
func TestScriptsAreForOldShells(t *testing.T) {
	for name, text := range Scripts() {
		f, err := syntax.NewParser(syntax.Variant(syntax.LangPOSIX)).Parse(strings.NewReader(text), name)
		if err != nil {
			t.Fatal(err)
		}
		bad := func(n syntax.Node, what string) { t.Errorf("%s: %s: %s", name, n.Pos(), what) }
		syntax.Walk(f, func(n syntax.Node) bool {
			switch n := n.(type) {
			case *syntax.CmdSubst:
				if !n.Backquotes {
					bad(n, "$( )")
				}
			case *syntax.ArithmExp:
				bad(n, "$(( ))")
			case *syntax.FuncDecl:
				bad(n, "a function")
			case *syntax.Stmt:
				if n.Negated {
					bad(n, "!")
				}
			case *syntax.ParamExp:
				if n.Length || n.Exp != nil && strings.ContainsAny(n.Exp.Op.String(), "#%") {
					bad(n, "${ }")
				}
			case *syntax.CallExpr:
				for i, w := range n.Args {
					switch lit := w.Lit(); {
					case i == 0 && (lit == "local" || lit == "setsid" || lit == "command" || lit == "printf"):
						bad(n, lit)
					case n.Args[0].Lit() == "test" && lit == "-e":
						bad(n, "test -e")
					}
				}
			}
			return true
		})
	}
}
