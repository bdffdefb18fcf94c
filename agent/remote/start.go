package remote

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/lvsfleet/lvsfleet/agent"
)

// A process is a program on the host, as the stream that its standard input
// and output are.
type process struct {
	s      *ssh.Session
	in     io.WriteCloser
	out    io.Reader
	stderr *tail
	done   chan struct{} // closed when it has ended
	close  func() error
}

// start runs argv in place of the login shell, by root's rights.
func start(conn *ssh.Client, argv []string, root *privilege) (*process, error) {
	line, first, err := root.command(argv)
	if err != nil {
		return nil, err
	}
	s, err := conn.NewSession()
	if err != nil {
		return nil, fmt.Errorf("open a session: %w", err)
	}
	p := &process{s: s, stderr: &tail{}, done: make(chan struct{})}
	s.Stderr = p.stderr
	fail := func(err error) (*process, error) {
		_ = s.Close()
		return nil, fmt.Errorf("start %s: %w", argv[0], err)
	}
	if p.in, err = s.StdinPipe(); err != nil {
		return fail(err)
	}
	if p.out, err = s.StdoutPipe(); err != nil {
		return fail(err)
	}
	if err := s.Start(line); err != nil {
		return fail(err)
	}
	if len(first) > 0 {
		if _, err := p.in.Write(first); err != nil {
			return fail(err)
		}
	}
	go func() {
		_ = s.Wait() // its status says less than what it wrote
		close(p.done)
	}()
	p.close = sync.OnceValue(func() error {
		// Not its input alone: x/crypto's channels do not bear that while
		// somebody writes. The program sees its input end all the same.
		if err := s.Close(); err != nil && !errors.Is(err, io.EOF) { // EOF: the other side was first
			return err
		}
		return nil
	})
	return p, nil
}

func (p *process) Read(b []byte) (int, error)  { return p.out.Read(b) }
func (p *process) Write(b []byte) (int, error) { return p.in.Write(b) }
func (p *process) Close() error                { return p.close() }

// tail keeps the first of what is written, for an error message.
type tail struct {
	mu   sync.Mutex
	text strings.Builder
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	const most = 2000
	if room := most - t.text.Len(); room > 0 {
		t.text.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(t.text.String())
}

// telling adds to an agent that is not there what the host wrote to standard
// error: "not found", "Permission denied", ...
func (p *process) telling(err error) error {
	var none *agent.NoAgentError
	if !errors.As(err, &none) || none.Err == nil {
		return err // what talks without end does not end
	}
	none.Garbage = p.withStderr(none.Garbage)
	return err
}

// withStderr adds what has come by standard error to what has by standard
// output, which has ended.
func (p *process) withStderr(said string) string {
	select { // it may come later
	case <-p.done:
	case <-time.After(settle):
	}
	if more := p.stderr.String(); more != "" {
		said = strings.TrimSpace(said + "\n" + more)
	}
	return said
}
