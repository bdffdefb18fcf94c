package host

import (
	"context"
	"time"
)

// A Spawner starts processes that do not belong to the login. Every Host on
// which changes are made offers it; found with As.
type Spawner interface {
	// Spawn starts argv in a session of its own, with no streams, and returns
	// once it has been started. That the login ends means nothing to it.
	Spawn(ctx context.Context, argv []string) error
}

// Processes are a machine's, as one of them sees them: a Host that is a
// process on the machine itself offers it; found with As.
type Processes interface {
	PID() int // one's own
	Alive(pid int) bool
	// Kill ends a process, and what it has running, at once. One that is not
	// there is no error.
	Kill(pid int) error
}

// A Clock is one that nobody sets: it only goes on, at its own pace. A Host
// may offer one; found with As, else Uptime is it.
type Clock interface {
	Now() time.Duration // since some moment that does not move
	Sleep(ctx context.Context, d time.Duration) error
}

// ClockOf gives the clock of h.
func ClockOf(h Host) Clock {
	if c, ok := As[Clock](h); ok {
		return c
	}
	return Uptime()
}

// Uptime is this machine's own monotonic clock.
func Uptime() Clock { return uptime{} }

type uptime struct{}

// began is where Uptime counts from; only its monotonic reading matters.
var began = time.Now()

func (uptime) Now() time.Duration { return time.Since(began) }

func (uptime) Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
