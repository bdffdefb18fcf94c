package agent

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lvsfleet/lvsfleet/providers/host"
)

// A Client is a Session with an agent at the other end of a stream.
type Client struct {
	conn  io.ReadWriteCloser
	build string
	out   *frameWriter

	mu      sync.Mutex
	next    uint64
	waiting map[uint64]*pending
	lost    error         // why nothing more comes; nil: it still may
	ended   chan struct{} // closed when the reader has ended
	met     bool          // the agent has said its name
	while   func() bool   // see RenewWhile
	begun   bool          // it may have something to end before it goes

	nonces chan string  // the latest that is not answered yet, or none
	kept   atomic.Int64 // bytes of long responses that have come and are not passed on

	asked *Request // what Watch has asked; nil: nothing
	seen  string   // the name of what it has answered
}

var _ Session = (*Client)(nil)

// The time that an agent gets to stop what is no longer wanted.
const (
	closeGrace  = 15 * time.Second
	cancelGrace = 2 * time.Minute
)

// NewClient talks to the agent at the other end of conn, which must be of that
// build ("": any). It returns at once: who is there is found out with the first
// answer, a *NoAgentError where it is nobody.
func NewClient(conn io.ReadWriteCloser, build string) *Client {
	c := &Client{
		conn: conn, build: build, waiting: map[uint64]*pending{}, ended: make(chan struct{}),
		out: newFrameWriter(conn, hello(clientMagic, build)), nonces: make(chan string, 1),
	}
	go c.read()
	go c.renew()
	return c
}

// A heard is a response, decoded where it is short.
type heard struct {
	res   response
	frame []byte // else
}

// maxHeard is how many responses may wait for a long one before them: with one
// request at a time that are a few events.
const maxHeard = 64

// read hears what the agent says until it ends.
func (c *Client) read() {
	r := bufio.NewReader(c.conn)
	said, passed := make(chan heard, maxHeard), make(chan error, 1)
	go func() { passed <- c.pass(said) }()
	err := c.hear(r, said)
	close(said)
	if perr := <-passed; perr != nil {
		err = perr
	}
	c.mu.Lock()
	c.lost = err
	c.mu.Unlock()
	close(c.ended)
}

// hear reads responses. A nonce is answered at once; everything else goes on in
// its order, and what is long is decoded there, not here.
func (c *Client) hear(r *bufio.Reader, said chan<- heard) error {
	build, err := awaitHello(r)
	if err != nil {
		return err
	}
	if c.build != "" && build != c.build {
		return &NoAgentError{Build: build, Want: c.build}
	}
	c.mu.Lock()
	c.met = true
	c.mu.Unlock()
	for frames := (&frameReader{r: r, most: maxAnswer}); ; {
		frame, err := frames.next()
		h := heard{frame: frame}
		switch {
		case err != nil:
		case isLong(frame):
			if c.kept.Add(int64(len(frame))) > maxAnswer {
				err = errors.New("it answers faster than it is asked")
			}
		default:
			h.frame, err = nil, decodeAnswer(frame, &h.res)
		}
		if err == nil && len(h.res.Nonce) > maxNonce {
			err = fmt.Errorf("a nonce has %d bytes", len(h.res.Nonce))
		}
		switch {
		case err != nil:
			_ = c.conn.Close() // whoever is still passed on its events may take their time
			return ended(err)
		case h.res.Nonce != "":
			c.latest(h.res.Nonce)
		default:
			said <- h
		}
	}
}

// ended is the end of the stream.
func ended(err error) error { return fmt.Errorf("%w: the agent ended (%w)", host.ErrLost, err) }

// pass passes responses on to those who wait for them. One that cannot be
// decoded ends the stream.
func (c *Client) pass(said <-chan heard) (err error) {
	for h := range said {
		if h.frame != nil && err == nil {
			if err = decodeAnswer(h.frame, &h.res); err != nil {
				err = ended(err)
				_ = c.conn.Close()
			}
		}
		c.kept.Add(-int64(len(h.frame)))
		if err != nil {
			continue
		}
		c.mu.Lock()
		p := c.waiting[h.res.ID]
		if h.res.Done {
			delete(c.waiting, h.res.ID) // one answer each
		}
		c.mu.Unlock()
		switch {
		case p == nil:
		case h.res.Done:
			p.done <- h.res
		case h.res.Event != nil:
			p.event(*h.res.Event)
		}
	}
	return err
}

// RenewWhile sets what is asked before a nonce of the host's guard is
// answered: while it gives true, the guard holds still. Without it, or with
// nil, every nonce is answered for as long as this process lives. It is called
// from a goroutine of the client's, about every eighth part of the transaction's
// ConfirmTimeout, and may take its time.
func (c *Client) RenewWhile(progress func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.while = progress
}

// latest leaves a nonce to be answered. One before it that was not answered yet
// is of no more use: the guard knows its last one alone.
func (c *Client) latest(nonce string) {
	select {
	case <-c.nonces:
	default:
	}
	c.nonces <- nonce // nobody else sends: there is room
}

// renew answers nonces, one at a time, for as long as the agent speaks.
func (c *Client) renew() {
	for {
		select {
		case nonce := <-c.nonces:
			c.answer(nonce)
		case <-c.ended:
			return
		}
	}
}

// answer says the guard's nonce again.
func (c *Client) answer(nonce string) {
	c.mu.Lock()
	while := c.while
	c.mu.Unlock()
	if while == nil || while() {
		_ = c.out.send(request{Method: methodWord, Nonce: nonce}) // a line that is dead renews nothing
	}
}

// A pending request waits for its answer.
type pending struct {
	done chan response // with room for the one that is Done

	mu       sync.Mutex
	progress func(Event) // nil: nobody listens, or not any more
}

func (p *pending) event(e Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.progress != nil {
		p.progress(e)
	}
}

func (p *pending) mute() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.progress = nil
}

// call asks for what is answered with a report, or with nothing.
func (c *Client) call(ctx context.Context, req request, progress func(Event)) (Report, error) {
	res, err := c.ask(ctx, req, progress)
	if res.Report == nil {
		return Report{}, err
	}
	return *res.Report, err
}

// ask asks and waits for the answer. When ctx ends the agent is told, and
// gets time to put back what it was at.
func (c *Client) ask(ctx context.Context, req request, progress func(Event)) (response, error) {
	if err := ctx.Err(); err != nil {
		return response{}, err
	}
	p := &pending{done: make(chan response, 1), progress: progress}
	defer p.mute()
	c.mu.Lock()
	c.begun = c.begun || req.Method != methodCheck && req.Method != methodWatch && req.Method != methodOutline
	c.next++
	req.ID = c.next
	c.waiting[req.ID] = p
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.waiting, req.ID)
	}()
	sent := make(chan error, 1)
	go func() { sent <- c.out.send(req) }()

	wanted := ctx.Done()
	var patience <-chan time.Time
	for {
		select {
		case res := <-p.done:
			return res, fromWire(res.Error)
		case <-c.ended:
			select { // the answer may have come just before the end
			case res := <-p.done:
				return res, fromWire(res.Error)
			default:
				return response{}, c.lost
			}
		case err := <-sent:
			if err == nil {
				continue
			}
			// What the other end said before it went tells more.
			select {
			case <-c.ended:
				return response{}, c.lost
			case <-time.After(closeGrace):
				return response{}, fmt.Errorf("%w: %w", host.ErrLost, err)
			}
		case <-wanted:
			wanted = nil
			go func() { _ = c.out.send(request{ID: req.ID, Method: methodCancel}) }()
			timer := time.NewTimer(cancelGrace)
			defer timer.Stop()
			patience = timer.C
		case <-patience:
			return response{}, fmt.Errorf("%w: no answer after %w", host.ErrLost, ctx.Err())
		}
	}
}

// Check asks the agent to.
func (c *Client) Check(ctx context.Context, req Request) (Report, error) {
	return c.call(ctx, request{Method: methodCheck, Request: &req}, nil)
}

// Begin asks the agent to. A line that is lost leaves nothing in force: the
// agent sweeps what it staged as it ends.
func (c *Client) Begin(ctx context.Context, tx Transaction, progress func(Event)) (Begun, error) {
	res, err := c.ask(ctx, request{Method: methodBegin, Tx: &tx}, progress)
	return res.Begun, err
}

// Apply asks the agent to. A line that is lost leaves the agent to undo; that
// it did cannot be seen from here.
func (c *Client) Apply(ctx context.Context, progress func(Event)) error {
	_, err := c.call(ctx, request{Method: methodApply}, progress)
	return unseen(err, "what was begun: the agent undoes it as it ends, else the next run does")
}

// Finish asks the agent to.
func (c *Client) Finish(ctx context.Context, run string, commit bool, progress func(Event)) error {
	_, err := c.call(ctx, request{Method: methodFinish, Run: run, Commit: commit}, progress)
	if commit {
		return err // the session that began knows which way it went
	}
	return unseen(err, "not seen to the end: the agent goes on with it, else the next run does")
}

// unseen makes of a lost line an undo of which nobody knows the end.
func unseen(err error, what string) error {
	var undo *UndoError
	if err == nil || !errors.Is(err, host.ErrLost) || errors.As(err, &undo) {
		return err
	}
	return &UndoError{Cause: err, Failed: []string{what}}
}

// Cut ends the line.
func (c *Client) Cut() { _ = c.conn.Close() }

// Close lets the agent end what runs and what is open, within bounds, and
// closes the stream; one that was only asked to check just sees the stream end.
// Its error is an undo that was not complete.
func (c *Client) Close() error {
	c.mu.Lock()
	ask := c.met && c.begun && c.lost == nil
	c.mu.Unlock()
	if !ask {
		return c.conn.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), cancelGrace)
	defer cancel()
	_, err := c.call(ctx, request{Method: methodClose}, nil)
	_ = c.conn.Close()
	if errors.Is(err, host.ErrLost) {
		return nil // the agent ends by itself
	}
	return err
}
