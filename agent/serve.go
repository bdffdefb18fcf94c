package agent

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/lvsfleet/lvsfleet/providers"
	"github.com/lvsfleet/lvsfleet/providers/host"
)

// A Server is an agent: an Engine that is asked over a stream.
type Server struct {
	Host  host.Host
	Build string  // content hash of the build; "": any controller is served
	Plan  Planner // nil: providers.Plan
	Root  string  // as Engine.Root
	// Guard is as Engine.Guard; nil: no guards.
	Guard func(ctx context.Context, h host.Host, d Duty) ([]string, error)
}

// Serve is what the agent does with its standard input and output: it says its
// name, serves one controller until the stream ends, then undoes what was
// begun and not decided.
func Serve(ctx context.Context, h host.Host, in io.Reader, out io.Writer) error {
	return Server{Host: h}.Serve(ctx, in, out)
}

// Serve serves one controller. The end of in is an end like any other: what
// was begun and not decided is undone, and its error returned.
func (s Server) Serve(ctx context.Context, in io.Reader, out io.Writer) error {
	if _, err := io.WriteString(out, hello(agentMagic, s.Build)); err != nil {
		return fmt.Errorf("greet the controller: %w", err)
	}
	r := bufio.NewReader(in)
	line, err := ReadLine(r, maxHello)
	if err != nil && line == "" {
		return nil // looked whether it runs, and went
	}
	rest, ok := strings.CutPrefix(line, clientMagic)
	if !ok || !strings.HasSuffix(rest, "\n") {
		return fmt.Errorf("no controller speaks here: it says %q", shorten(line))
	}
	if build := buildOf(strings.TrimSuffix(rest, "\n")); build != "" && s.Build != "" && build != s.Build {
		return fmt.Errorf("the controller wants build %s; this is %s", build, s.Build)
	}
	plan := s.Plan
	if plan == nil {
		plan = providers.Plan
	}
	c := &conversation{
		engine: &Engine{Host: s.Host, Plan: plan, Root: s.Root, Guard: s.Guard},
		out:    newFrameWriter(out, ""),
		words:  make(chan string, 1),
	}
	c.engine.Renew = c.renew
	return c.serve(ctx, r)
}

// A conversation is one controller's.
type conversation struct {
	engine *Engine
	out    *frameWriter
	words  chan string // nonces that the controller has said again

	watched *Request // what is asked about by watch; one request at a time

	mu      sync.Mutex
	cancels map[uint64]context.CancelFunc // of what was asked and is not answered
}

func (c *conversation) serve(ctx context.Context, in io.Reader) error {
	// The engine's methods take turns by themselves; the reader is never kept
	// waiting, so that it sees the line end.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var running sync.WaitGroup
	queue := make(chan func(), 16)
	running.Go(func() {
		for f := range queue {
			f()
		}
	})
	c.cancels = map[uint64]context.CancelFunc{}
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		// A signal ends what runs and what is open; the reader may stay
		// blocked in a stream that nobody closes.
		_ = c.engine.Close()
		close(ended)
	})
	failed := make(chan error, 1)
	go func() {
		defer close(queue)
		for frames := (&frameReader{r: in}); ; {
			frame, err := frames.next()
			var req request
			long := isLong(frame)
			switch {
			case err != nil:
			case long:
				req, err = headOf(frame)
			default:
				err = decode(frame, &req)
			}
			if err != nil {
				failed <- err
				return
			}
			if req.Method == methodCancel {
				c.cancel(req.ID)
				continue
			}
			if req.Method == methodWord {
				select {
				case c.words <- req.Nonce:
				default: // nobody waits for that many
				}
				continue
			}
			if req.Method == methodClose {
				err := c.engine.Close()
				_ = c.send(response{ID: req.ID, Done: true, Error: toWire(err)})
				failed <- io.EOF
				return
			}
			reqCtx, done := c.begin(ctx, req.ID)
			queue <- func() {
				defer done()
				if long {
					if err := decode(frame, &req); err != nil {
						_ = c.send(response{ID: req.ID, Done: true, Error: toWire(err)})
						return
					}
				}
				c.answer(reqCtx, req)
			}
		}
	}()
	select {
	case <-ended:
		return ctx.Err()
	case err := <-failed:
		stop()
		undo := c.engine.Close()
		running.Wait()
		if errors.Is(err, io.EOF) {
			return undo
		}
		return errors.Join(err, undo)
	}
}

// renew has the controller say the nonce again. What it said of an older one
// counts for nothing.
func (c *conversation) renew(ctx context.Context, nonce string) bool {
	if c.send(response{Nonce: nonce}) != nil {
		return false
	}
	for {
		select {
		case said := <-c.words:
			if said == nonce {
				return true
			}
		case <-ctx.Done():
			return false
		}
	}
}

func (c *conversation) begin(ctx context.Context, id uint64) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cancels[id] = cancel
	return ctx, func() {
		c.cancel(id)
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.cancels, id)
	}
}

func (c *conversation) cancel(id uint64) {
	c.mu.Lock()
	cancel := c.cancels[id]
	c.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}

func (c *conversation) send(r response) error { return c.out.send(r) }

// answer does what is asked. A line that takes no answer has ended; the reader
// sees that too.
func (c *conversation) answer(ctx context.Context, req request) {
	res := response{ID: req.ID, Done: true}
	progress := func(e Event) { _ = c.send(response{ID: req.ID, Event: &e}) }
	var report Report
	var err error
	switch {
	case req.Method == methodCheck && req.Request != nil:
		report, err = c.engine.Check(ctx, *req.Request)
		res.Report = &report
	case req.Method == methodBegin && req.Tx != nil:
		res.Begun, err = c.engine.Begin(ctx, *req.Tx, progress)
	case req.Method == methodApply:
		err = c.engine.Apply(ctx, progress)
	case req.Method == methodFinish:
		err = c.engine.Finish(ctx, req.Run, req.Commit, progress)
	case req.Method == methodTable:
		res.Table, err = c.engine.Table(ctx, req.Services...)
	case req.Method == methodClean:
		err = c.engine.Clean(ctx, req.KeepHistory)
	case req.Method == methodWatch:
		res, err = c.watch(ctx, req)
		res.ID, res.Done = req.ID, true
	case req.Method == methodOutline:
		res.Outlines, err = c.engine.Outline(ctx)
	case req.Method == methodVerify && req.Verify != nil:
		res.Results, err = c.engine.Verify(ctx, *req.Verify)
	default:
		err = fmt.Errorf("request %q is not understood", req.Method)
	}
	res.Error = toWire(err)
	if err := c.send(res); err != nil && (res.Report != nil || res.Table != nil) {
		// What cannot be encoded must not leave the controller waiting.
		_ = c.send(response{ID: req.ID, Done: true, Error: toWire(err)})
	}
}
