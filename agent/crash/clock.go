package main

import (
	"context"
	"sync"
	"time"
)

// A clock stands until it is thawed; from then on whoever waits makes it go.
type clock struct {
	thawed chan struct{}
	thaw   func()

	mu  sync.Mutex
	now time.Duration
}

func newClock() *clock {
	c := &clock{thawed: make(chan struct{})}
	c.thaw = sync.OnceFunc(func() { close(c.thawed) })
	return c
}

func (c *clock) Now() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-c.thawed:
	case <-ctx.Done():
		return ctx.Err()
	}
	c.mu.Lock()
	c.now += d
	c.mu.Unlock()
	time.Sleep(50 * time.Microsecond)
	return ctx.Err()
}
