package host

import (
	"context"
	"strings"
	"sync"
)

// A Cache remembers what it read until something is changed through it, so
// that many checks that look at one file or one command's output ask once.
// Commands are remembered only where Query says that they just read.
//
// It is safe for concurrent use.
type Cache struct {
	h     Host
	mu    sync.Mutex
	runs  map[string]cached[Result]
	known map[string]cached[any] // Remember
	files map[string]cached[File]
	dirs  map[string]cached[[]Entry]
}

type cached[T any] struct {
	v   T
	err error
}

// NewCache caches h.
func NewCache(h Host) *Cache {
	c := &Cache{h: h}
	c.Forget()
	return c
}

// Forget drops everything: the machine may have changed.
func (c *Cache) Forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.runs = map[string]cached[Result]{}
	c.known = map[string]cached[any]{}
	c.files = map[string]cached[File]{}
	c.dirs = map[string]cached[[]Entry]{}
}

// Unwrap gives the Host beneath.
func (c *Cache) Unwrap() Host { return c.h }

// Run runs cmd as a change: what is remembered is forgotten. Reading commands
// go through Query.
func (c *Cache) Run(ctx context.Context, cmd Cmd) (Result, error) {
	c.Forget()
	defer c.Forget()
	return c.h.Run(ctx, cmd)
}

// query runs argv, which must only read, once.
func (c *Cache) query(ctx context.Context, argv []string) (Result, error) {
	key := strings.Join(argv, "\x00")
	c.mu.Lock()
	got, ok := c.runs[key]
	c.mu.Unlock()
	if ok {
		return got.v, got.err
	}
	res, err := c.h.Run(ctx, Cmd{Argv: argv})
	if ctx.Err() == nil {
		c.mu.Lock()
		c.runs[key] = cached[Result]{res, err}
		c.mu.Unlock()
	}
	return res, err
}

// ReadFile reads path once.
func (c *Cache) ReadFile(ctx context.Context, path string) (File, error) {
	c.mu.Lock()
	got, ok := c.files[path]
	c.mu.Unlock()
	if ok {
		return got.v, got.err
	}
	f, err := c.h.ReadFile(ctx, path)
	if ctx.Err() == nil {
		c.mu.Lock()
		c.files[path] = cached[File]{f, err}
		c.mu.Unlock()
	}
	return f, err
}

// ReadDir lists path once.
func (c *Cache) ReadDir(ctx context.Context, path string) ([]Entry, error) {
	c.mu.Lock()
	got, ok := c.dirs[path]
	c.mu.Unlock()
	if ok {
		return got.v, got.err
	}
	d, err := c.h.ReadDir(ctx, path)
	if ctx.Err() == nil {
		c.mu.Lock()
		c.dirs[path] = cached[[]Entry]{d, err}
		c.mu.Unlock()
	}
	return d, err
}

// Write writes, and forgets.
func (c *Cache) Write(ctx context.Context, path string, f File) error {
	defer c.Forget()
	return c.h.Write(ctx, path, f)
}

// Rename renames, and forgets.
func (c *Cache) Rename(ctx context.Context, from, to string) error {
	defer c.Forget()
	return c.h.Rename(ctx, from, to)
}

// Remove removes, and forgets.
func (c *Cache) Remove(ctx context.Context, path string) error {
	defer c.Forget()
	return c.h.Remove(ctx, path)
}

// Query runs argv, which must only read, and gives its result: from memory
// where h is, or wraps, a Cache that has it.
func Query(ctx context.Context, h Host, argv ...string) (Result, error) {
	if c, ok := As[*Cache](h); ok {
		return c.query(ctx, argv)
	}
	return h.Run(ctx, Cmd{Argv: argv})
}

// Remember gives what read, which must only read, gives: from memory where h
// is, or wraps, a Cache that has something by that name, which is always of one
// type.
func Remember[T any](ctx context.Context, h Host, name string, read func() (T, error)) (T, error) {
	c, ok := As[*Cache](h)
	if !ok {
		return read()
	}
	c.mu.Lock()
	got, ok := c.known[name]
	c.mu.Unlock()
	if ok {
		v, _ := got.v.(T)
		return v, got.err
	}
	v, err := read()
	if ctx.Err() == nil {
		c.mu.Lock()
		c.known[name] = cached[any]{v, err}
		c.mu.Unlock()
	}
	return v, err
}
