package drift

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
)

// A line is the session with one host, which stays open between rounds.
type line struct {
	mu      sync.Mutex
	session agent.Session // nil: closed
}

func (l *line) open() bool { return l.get() != nil }

func (l *line) get() agent.Session {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.session
}

func (l *line) close() {
	l.mu.Lock()
	s := l.session
	l.session = nil
	l.mu.Unlock()
	if s != nil {
		_ = s.Close() // it has begun nothing
	}
}

// A cutter is a session whose line can be cut while somebody waits for its host.
// cut has a look that waits for the host end at once.
func (l *line) cut() {
	if s := l.get(); s != nil {
		s.Cut()
	}
}

// lookLimit bounds the look at one host, login included. A host that is gone is
// known for it much sooner: its connection is asked whether it lives.
const lookLimit = 2 * time.Minute

// look asks the host what it is like, over the line that is open or over a new
// one. A line that turns out to be lost is opened again, once: it may have been
// lost long ago.
func (l *line) look(ctx context.Context, dial func(context.Context, *inventory.Host) (agent.Session, error), h *inventory.Host, want *agent.Request) (s agent.Sighting, reached bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	for {
		session := l.get()
		warm := session != nil
		if !warm {
			if session, err = dial(ctx, h); err != nil {
				return agent.Sighting{}, false, err // it names the host
			}
			l.mu.Lock()
			l.session = session
			l.mu.Unlock()
		}
		// What does not answer must not keep the round: its line is cut.
		stop := context.AfterFunc(ctx, l.cut)
		s, err = session.Watch(ctx, want, want.Desired.Director != nil)
		if !stop() || errors.Is(err, host.ErrLost) {
			l.close()
		}
		switch {
		case err == nil:
			return s, true, nil
		case ctx.Err() != nil:
			return agent.Sighting{}, true, fmt.Errorf("%s: no answer in time: %w", h.Name, context.Cause(ctx))
		case warm && errors.Is(err, host.ErrLost):
			continue
		}
		return agent.Sighting{}, !errors.Is(err, host.ErrLost), fmt.Errorf("look at %s: %w", h.Name, err)
	}
}
