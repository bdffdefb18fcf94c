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
	ch      ssh.Channel
	stderr  *tail
	done    chan struct{} // closed when it has ended
	silence *time.Timer   // until its first word
	close   func() error
}

// firstWord is how long a program may take for its first word. An agent says
// its name as soon as it runs.
const firstWord = time.Minute

// A stream is a channel for one program.
type stream struct {
	ssh.Channel
	requests <-chan *ssh.Request
}

func openStream(conn *ssh.Client) opening[stream] {
	return open(func() (stream, error) {
		ch, requests, err := conn.OpenChannel("session", nil)
		return stream{ch, requests}, err
	})
}

// start runs argv on a channel in place of the login shell, by root's rights. It does not
// wait to be told that it runs, which would take a round trip: what is written
// to it follows close behind (nothing in RFC 4254, 5.2 and 6.5, bars that). One
// that the server does not start is one without a word.
func start(on opening[stream], argv []string, root *privilege) (*process, error) {
	line, first, err := root.command(argv)
	if err != nil {
		return nil, err
	}
	o := <-on
	if o.err != nil {
		return nil, fmt.Errorf("open a session: %w", o.err)
	}
	ch := o.ch
	p := &process{ch: ch, stderr: &tail{}, done: make(chan struct{})}
	p.close = sync.OnceValue(func() error {
		p.silence.Stop()
		// Not its input alone: x/crypto's channels do not bear that while
		// somebody writes. The program sees its input end all the same.
		if err := ch.Close(); err != nil && !errors.Is(err, io.EOF) { // EOF: the other side was first
			return err
		}
		return nil
	})
	p.silence = time.AfterFunc(firstWord, func() { _ = ch.Close() })
	// Its status, which comes as a request, says less than what it wrote.
	go ssh.DiscardRequests(ch.requests)
	go func() {
		_, _ = io.Copy(p.stderr, ch.Stderr())
		close(p.done)
	}()
	_, err = ch.SendRequest("exec", false, ssh.Marshal(struct{ Command string }{line}))
	if err == nil && len(first) > 0 {
		_, err = ch.Write(first)
	}
	if err != nil {
		_ = p.close()
		return nil, fmt.Errorf("start %s: %w", argv[0], err)
	}
	return p, nil
}

func (p *process) Read(b []byte) (int, error) {
	n, err := p.ch.Read(b)
	if n > 0 {
		p.silence.Stop()
	}
	return n, err
}

func (p *process) Write(b []byte) (int, error) { return p.ch.Write(b) }
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
	select { // standard error may come after standard output has ended
	case <-p.done:
	case <-time.After(settle):
	}
	if said := p.stderr.String(); said != "" {
		none.Garbage = strings.TrimSpace(none.Garbage + "\n" + said)
	}
	return err
}
