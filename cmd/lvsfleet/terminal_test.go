//go:build linux

package main

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"github.com/lvsfleet/lvsfleet/agent/lab"
	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/fleet"
)

// A screen is what a terminal shows. It knows what lvsfleet writes, and refuses
// anything else.
type screen struct {
	t    *testing.T
	keys *os.File // what is written to it is typed
	cmd  *exec.Cmd
	read chan struct{} // closed when all that it shows has come

	mu     sync.Mutex
	lines  []string
	row    int
	column int
	escape string // a control sequence that has begun
}

// onScreen starts a command on a terminal of its own.
func onScreen(t *testing.T, cmd *exec.Cmd) *screen {
	t.Helper()
	cmd.Env = append(cmd.Environ(), "TERM=xterm", "NO_COLOR=1")
	keys, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 40, Cols: 100})
	if err != nil {
		t.Fatal(err)
	}
	s := &screen{t: t, keys: keys, cmd: cmd, read: make(chan struct{}), lines: []string{""}}
	go func() {
		defer close(s.read)
		_, _ = io.Copy(s, keys) // Linux ends it with EIO
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = keys.Close()
		<-s.read
	})
	return s
}

// wait waits for the command's end, and for all that it has written before.
func (s *screen) wait() error {
	err := s.cmd.Wait()
	select {
	case <-s.read:
	case <-time.After(labDeadline):
		s.t.Error("somebody else still has the terminal")
	}
	return err
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range string(p) {
		switch {
		case s.escape != "":
			s.control(c)
		case c == '\x1b':
			s.escape = string(c)
		case c == '\r':
			s.column = 0
		case c == '\n':
			s.column = 0
			if s.row++; s.row == len(s.lines) {
				s.lines = append(s.lines, "")
			}
		case c == '\t': // in files that are shown
			s.column = (s.column/8 + 1) * 8
		case c < ' ':
			s.t.Errorf("the terminal gets %q", c)
		default:
			line := []rune(s.lines[s.row])
			for len(line) <= s.column {
				line = append(line, ' ')
			}
			line[s.column] = c
			s.lines[s.row] = string(line)
			s.column++
		}
	}
	return len(p), nil
}

// control takes a control sequence on (ECMA-48: CUU, ED).
func (s *screen) control(c rune) {
	if s.escape += string(c); c != 'A' && c != 'J' {
		if c != '[' && (c < '0' || c > '9') {
			s.t.Errorf("the terminal gets %q", s.escape)
			s.escape = ""
		}
		return
	}
	n, _ := strconv.Atoi(s.escape[2 : len(s.escape)-1])
	s.escape = ""
	if c == 'A' {
		s.row = max(0, s.row-max(1, n))
		return
	}
	s.lines = s.lines[:s.row+1]
	s.lines[s.row] = string([]rune(s.lines[s.row])[:min(s.column, len([]rune(s.lines[s.row])))])
}

func (s *screen) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.TrimRight(strings.Join(s.lines, "\n"), "\n")
}

// await waits until what the screen shows ends in text.
func (s *screen) await(text string) {
	s.t.Helper()
	for deadline := time.Now().Add(labDeadline); !strings.HasSuffix(s.text(), text); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("no %q at the end of\n%s", text, s.text())
		}
	}
}

func (s *screen) typed(text string) {
	s.t.Helper()
	if _, err := s.keys.WriteString(text); err != nil {
		s.t.Fatal(err)
	}
}

// ask starts lvsfleet diff on a terminal, for hosts that take a key whose
// passphrase is "sesame", and waits for its question.
func ask(t *testing.T) (*exec.Cmd, *screen) {
	t.Helper()
	site, labDir, _ := startLab(t)
	config, err := lab.Open(labDir)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(config.IdentityFile)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.ParseRawPrivateKey(text)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte("sesame"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config.IdentityFile, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := self(t, "lvsfleet", "diff", site, "--lab", labDir, "--state", t.TempDir())
	s := onScreen(t, cmd)
	s.await("Passphrase for " + config.IdentityFile + ": ")
	modes, err := unix.IoctlGetTermios(int(s.keys.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	if modes.Lflag&unix.ECHO != 0 {
		t.Error("it asks before what is typed is hidden")
	}
	return cmd, s
}

func TestAQuestionStaysOnTheScreenUntilItIsAnswered(t *testing.T) {
	cmd, s := ask(t)
	asked := s.text()
	time.Sleep(350 * time.Millisecond) // the time of three pictures of the progress
	if now := s.text(); now != asked {
		t.Fatalf("the question was\n%s\nand became\n%s", asked, now)
	}
	s.typed("sesame\n")
	if err := s.wait(); cmd.ProcessState.ExitCode() != 2 {
		t.Errorf("%v\n%s", err, s.text())
	}
	if shown := s.text(); strings.Contains(shown, "sesame") || strings.Contains(shown, "[###") || !strings.Contains(shown, "rs181") {
		t.Errorf("it shows\n%s", shown)
	}
}

func TestAQuestionCanBeInterrupted(t *testing.T) {
	cmd, s := ask(t)
	s.typed("\x03")
	if err := s.wait(); cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("%v\n%s", err, s.text())
	}
	modes, err := unix.IoctlGetTermios(int(s.keys.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	if modes.Lflag&unix.ECHO == 0 {
		t.Error("the terminal is left without echo")
	}
}

// A director that only loses entries is shown, and asked about, too.
func TestWhatARemovalDoesToADirectorIsAskedAbout(t *testing.T) {
	site, labDir, _ := startLab(t)
	state := t.TempDir()
	if out, err := self(t, "lvsfleet", "converge", site, "--lab", labDir, "--state", state, "--yes").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := self(t, "lvsfleet", "remove", site, "--lab", labDir, "--state", state, "--host", "rs170")
	s := onScreen(t, cmd)
	s.await("Take lvsfleet off 1 host, and drain and delete its entries on 1 director? [y/N] ")
	if shown := s.text(); strings.Count(shown, "\n    --a -t 192.168.0.200:80 -r 192.168.0.170:80 ") != 2 {
		t.Errorf("not the entry in the table and in its rules file:\n%s", shown)
	}
	s.typed("y\n")
	if err := s.wait(); err != nil || !strings.HasSuffix(s.text(), "2 hosts: 2 changed") {
		t.Errorf("%v\n%s", err, s.text())
	}
}

func TestAWarningStaysOnTheScreen(t *testing.T) {
	s := &screen{t: t, lines: []string{""}}
	g := &globals{streams: streams{err: s}}
	p := newProgress(g, 2)
	p.live = true
	warn := g.warnOnce()
	p.start()
	for i := range 3 {
		p.observe(fleet.Event{Host: "lb", Phase: "check"})
		time.Sleep(150 * time.Millisecond)
		warn("lb", fmt.Sprintf("mind %d", i))
	}
	p.stop()
	if got, want := s.text(), "lb: warning: mind 0\nlb: warning: mind 1\nlb: warning: mind 2"; got != want {
		t.Errorf("it shows\n%s\nnot\n%s", got, want)
	}
}

func TestJSONOnATerminalChangesNothingUnasked(t *testing.T) {
	site, labDir, _ := startLab(t)
	cmd := self(t, "lvsfleet", "converge", site, "--json", "--lab", labDir, "--state", t.TempDir())
	s := onScreen(t, cmd)
	if err := s.wait(); cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("%v\n%s", err, s.text())
	}
	s.await("add --yes to go ahead (lvsfleet diff --json shows what would change)")
}

// The question of a run whose standard error is a file is put on the terminal
// that is left, and Ctrl-C leaves its line.
func TestAQuestionGoesToTheTerminal(t *testing.T) {
	site, labDir, _ := startLab(t)
	cmd := self(t, "lvsfleet", "converge", site, "--lab", labDir, "--state", t.TempDir())
	messages, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer messages.Close()
	cmd.Stderr = messages
	s := onScreen(t, cmd)
	s.await("Change 5 hosts? [y/N] ")
	s.typed("\x03")
	if err := s.wait(); cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("%v\n%s", err, s.text())
	}
	s.await("5 hosts: 5 not changed; declined, nothing was changed")
	if shown := s.text(); !strings.Contains(shown, "Change 5 hosts? [y/N] ^C\nlb ") {
		t.Errorf("it shows\n%s", shown)
	}
}

// A run of which nothing is left to tell is in the history all the same, and
// what it had committed is taken back.
func TestARunThatIsKilledCanBeTakenBack(t *testing.T) {
	site, labDir, _ := startLab(t)
	state := t.TempDir()
	on := func(args ...string) *exec.Cmd {
		return self(t, "lvsfleet", append(args, "--lab", labDir, "--state", state, "-var", "confirm_timeout=10")...)
	}
	look := func() string {
		_, out := outcome(on("diff", site, "--json"))
		lb, servers, _ := strings.Cut(out, "\n") // on lb modules stay that were loaded
		if !strings.HasPrefix(lb, `{"host":"lb"`) {
			t.Errorf("the first host is %s", lb)
		}
		return servers
	}
	before := look()
	cmd := on("converge", site)
	startUntil(t, cmd, "lb: admit: do") // the real servers have committed
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if _, out := outcome(on("history", "--site", site)); !strings.Contains(out, " unfinished") {
		t.Fatalf("the history: %s", out)
	}
	if look() == before {
		t.Fatal("the run has changed nothing")
	}
	// The hosts that are still at it undo that by themselves first.
	for deadline := time.Now().Add(labDeadline); ; time.Sleep(100 * time.Millisecond) {
		status, out := outcome(on("rollback", site, "--yes"))
		if status == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("exit %d: %s", status, out)
		}
	}
	if now := look(); now != before {
		t.Errorf("it is\n%s\nand was\n%s", now, before)
	}
}

// A line that drops, or a window that is closed, ends a run as Ctrl-C does: what
// has begun is finished, and what was done is remembered.
func TestAHangupEndsARunInOrder(t *testing.T) {
	// A signal that is caught here is not ignored by what is started, as it
	// were if these tests are run by nohup(1).
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGHUP)
	defer signal.Stop(caught)
	site, labDir, _ := startLab(t)
	state := t.TempDir()
	on := func(args ...string) *exec.Cmd {
		return self(t, "lvsfleet", append(args, "--lab", labDir, "--state", state)...)
	}
	cmd := on("converge", site)
	var result bytes.Buffer
	cmd.Stdout = &result
	lines := startUntil(t, cmd, "lb: prepare: do")
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() {
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 3 || !strings.Contains(result.String(), "interrupted: the next run goes on from here") {
		t.Errorf("%v\n%s", err, result.String())
	}
	if status, out := outcome(on("history", "--site", site)); status != 0 || !strings.Contains(out, "failed in part") {
		t.Errorf("exit %d: %s", status, out)
	}
	if status, out := outcome(on("converge", site)); status != 0 {
		t.Errorf("the next run: exit %d: %s", status, out)
	}
}
