//go:build linux

package main

import (
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
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
	s := &screen{t: t, keys: keys, lines: []string{""}}
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(s, keys) // Linux ends it with EIO
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = keys.Close()
		<-read
	})
	return s
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
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 2 {
		t.Errorf("%v\n%s", err, s.text())
	}
	if shown := s.text(); strings.Contains(shown, "sesame") || strings.Contains(shown, "[###") || !strings.Contains(shown, "rs181") {
		t.Errorf("it shows\n%s", shown)
	}
}

func TestAQuestionCanBeInterrupted(t *testing.T) {
	cmd, s := ask(t)
	s.typed("\x03")
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 1 {
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
