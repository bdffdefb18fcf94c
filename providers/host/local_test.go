package host_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/host/hosttest"
)

func localSubject(t *testing.T) hosttest.Subject {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return hosttest.Subject{Host: &host.Local{}, Dir: dir, UID: os.Geteuid(), GID: os.Getegid()}
}

func TestLocalConforms(t *testing.T) { hosttest.Conformance(t, localSubject) }

func TestLocalCommandsSeeAFixedEnvironment(t *testing.T) {
	t.Setenv("IFCONFIG_FORMAT", "inet:cidr")
	t.Setenv("LC_ALL", "de_DE.UTF-8")
	l := &host.Local{}
	res, err := l.Run(t.Context(), host.Cmd{Argv: []string{"env"}})
	if err != nil {
		t.Fatal(err)
	}
	want := "PATH=" + host.AdminPath + "\nLC_ALL=C\nHOME=/\nTERM=dumb\n"
	if string(res.Stdout) != want {
		t.Errorf("environment:\n%s", res.Stdout)
	}
}

func TestLocalCommands(t *testing.T) {
	l := &host.Local{Name: "rs1"}
	for name, c := range map[string]struct {
		cmd            host.Cmd
		stdout, stderr string
		exit           int
	}{
		"no input": {host.Cmd{Argv: []string{"cat"}}, "", "", 0},
		"input":    {host.Cmd{Argv: []string{"cat"}, Stdin: []byte("x")}, "x", "", 0},
		"a failure": {
			host.Cmd{Argv: []string{"sh", "-c", "echo out; echo err >&2; exit 3"}}, "out\n", "err\n", 3,
		},
		"a signal":     {host.Cmd{Argv: []string{"sh", "-c", "kill -9 $$"}}, "", "", 137},
		"no such file": {host.Cmd{Argv: []string{"/no/such/file"}}, "", "fork/exec /no/such/file: no such file or directory\n", 127},
		"no shell":     {host.Cmd{Argv: []string{"echo", "$HOME;", "'"}}, "$HOME; '\n", "", 0},
	} {
		res, err := l.Run(t.Context(), c.cmd)
		if string(res.Stdout) != c.stdout || string(res.Stderr) != c.stderr || res.Exit != c.exit {
			t.Errorf("%s: %q %q %d", name, res.Stdout, res.Stderr, res.Exit)
		}
		var exit *host.ExitError
		if errors.As(err, &exit) != (c.exit != 0) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLocalEndsACommandWithAllItsChildren(t *testing.T) {
	l := &host.Local{}
	pidFile := filepath.Join(t.TempDir(), "pid")
	_, err := l.Run(t.Context(), host.Cmd{
		Argv:    []string{"sh", "-c", "sleep 1000 & echo $! >" + pidFile + "; wait"},
		Timeout: 300 * time.Millisecond,
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("run: %v", err)
	}
	pid, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	// It has been sent its signal; on a busy machine it takes a moment to die,
	// and it stays a zombie until its new parent looks.
	var status []byte
	for range 100 {
		status, err = os.ReadFile("/proc/" + strings.TrimSpace(string(pid)) + "/stat")
		if err != nil || strings.Contains(string(status), ") Z ") {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Errorf("the child still runs: %s", status)
}

func TestLocalLockIsSeenByOtherProcessesAndDiesWithItsHolder(t *testing.T) {
	if path := os.Getenv("LVSFLEET_TEST_LOCK"); path != "" { // the other process
		l := &host.Local{}
		if _, err := l.Lock(t.Context(), path, "the other process"); err != nil {
			t.Fatal(err)
		}
		os.Stdout.WriteString("held\n")
		_, _ = os.Stdin.Read(make([]byte, 1))
		return
	}
	path := filepath.Join(t.TempDir(), "run", "lease")
	other := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	other.Env = append(os.Environ(), "LVSFLEET_TEST_LOCK="+path)
	if _, err := other.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	l := &host.Local{}
	if got, err := l.Holder(t.Context(), path); got != "the other process" || err != nil {
		t.Errorf("holder: %q %v", got, err)
	}
	var taken *host.TakenError
	if _, err := l.Lock(t.Context(), path, "me"); !errors.As(err, &taken) || taken.Holder != "the other process" {
		t.Errorf("lock: %v", err)
	}
	if err := other.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = other.Wait()
	if got, err := l.Holder(t.Context(), path); got != "" || err != nil {
		t.Errorf("holder after its death: %q %v", got, err)
	}
	release, err := l.Lock(t.Context(), path, "me")
	if err != nil {
		t.Fatalf("lock after its death: %v", err)
	}
	release()
}

func TestLocalLockSeesOneThatIsHeldWithoutAnAgent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lease")
	dir := host.LockFolder(path)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	put := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sleeper := exec.CommandContext(t.Context(), "sleep", "1000")
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	put("holder", "a login\n")
	put("pid", strconv.Itoa(sleeper.Process.Pid)+"\n")
	l := &host.Local{}
	var taken *host.TakenError
	if _, err := l.Lock(t.Context(), path, "me"); !errors.As(err, &taken) || taken.Holder != "a login" {
		t.Errorf("lock: %v", err)
	}
	if err := sleeper.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = sleeper.Wait()
	release, err := l.Lock(t.Context(), path, "me")
	if err != nil {
		t.Fatalf("lock when it has ended: %v", err)
	}
	release()
}
