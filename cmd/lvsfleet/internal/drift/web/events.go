package web

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// events tells a client, for as long as it listens, that something has
// changed: it then reads its page again.
func (p *page) events(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodHead {
		w.Header().Set("Content-Type", "text/event-stream")
		return
	}
	select {
	case p.streams <- struct{}{}:
		defer func() { <-p.streams }()
	default:
		w.Header().Set("Retry-After", "30")
		http.Error(w, "too many pages are open; this one can be reloaded", http.StatusServiceUnavailable)
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)()

	changes := p.source.Changes(ctx)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // a proxy must not keep it back
	s := stream{w: w, control: http.NewResponseController(w), patience: p.opts.Heartbeat}
	if !s.send("retry: 5000\n\n") {
		return
	}
	beat := time.NewTicker(p.opts.Heartbeat)
	defer beat.Stop()
	// While the pace holds events back, changes wait in the channel, where they
	// become one.
	var ready <-chan struct{}
	pace := time.NewTimer(0)
	defer pace.Stop()
	for n := 1; ; {
		select {
		case <-ctx.Done():
			return
		case <-beat.C:
			if !s.send(": still here\n\n") {
				return
			}
		case <-pace.C:
			ready = changes
		case _, more := <-ready:
			if !more || !s.send(fmt.Sprintf("event: change\ndata: %d\n\n", n)) {
				return
			}
			n++
			ready = nil
			pace.Reset(p.opts.Pace)
		}
	}
}

// A stream is one client's.
type stream struct {
	w        http.ResponseWriter
	control  *http.ResponseController
	patience time.Duration
}

// send writes and flushes, and says whether the client still takes it. A
// client that takes nothing for two heartbeats is given up.
func (s *stream) send(text string) bool {
	// A writer without deadlines is one of a test, or keeps its own.
	_ = s.control.SetWriteDeadline(time.Now().Add(2 * s.patience))
	if _, err := s.w.Write([]byte(text)); err != nil {
		return false
	}
	return s.control.Flush() == nil
}
