// Package hosttest holds what tests of everything above host.Host share: a
// Host with canned answers, and the conformance suite that every Host passes.
package hosttest

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"sort"
	"strings"
	"sync"

	"github.com/lvsfleet/lvsfleet/providers/host"
)

// A Canned is a Host whose commands answer what a test wrote down and whose
// files live in a map. A command that was not written down fails the call with
// an error that names it. It has no state: for that there is the simulated
// machine.
type Canned struct {
	mu    sync.Mutex
	Name  string
	Runs  map[string]host.Result // by argv joined with single spaces
	Files map[string]host.File   // by absolute path; links have fs.ModeSymlink
	Log   []string               // every argv that ran
}

// Text is a canned answer: standard output, exit 0.
func Text(stdout string) host.Result { return host.Result{Stdout: []byte(stdout)} }

// Fail is a canned failure.
func Fail(exit int, stderr string) host.Result {
	return host.Result{Stderr: []byte(stderr), Exit: exit}
}

// Regular is a file of root's with mode 0644.
func Regular(content string) host.File { return host.File{Mode: 0o644, Data: []byte(content)} }

// Run answers from Runs.
func (c *Canned) Run(_ context.Context, cmd host.Cmd) (host.Result, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := strings.Join(cmd.Argv, " ")
	c.Log = append(c.Log, key)
	res, ok := c.Runs[key]
	if !ok {
		return host.Result{}, fmt.Errorf("canned host: no answer for %q", key)
	}
	if res.Exit != 0 {
		return res, &host.ExitError{Host: c.Name, Argv: cmd.Argv, Exit: res.Exit, Stderr: string(res.Stderr)}
	}
	return res, nil
}

func (c *Canned) follow(p string) string {
	for range 20 {
		f, ok := c.Files[p]
		if !ok || f.Mode&fs.ModeSymlink == 0 {
			break
		}
		target := string(f.Data)
		if !path.IsAbs(target) {
			target = path.Join(path.Dir(p), target)
		}
		p = target
	}
	return p
}

// ReadFile reads from Files, links followed.
func (c *Canned) ReadFile(_ context.Context, p string) (host.File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.follow(p)
	f, ok := c.Files[at]
	if !ok {
		return host.File{}, &fs.PathError{Op: "open", Path: p, Err: fs.ErrNotExist}
	}
	f.Path, f.Data = at, slices.Clone(f.Data)
	return f, nil
}

// ReadDir lists what Files has directly or further below dir.
func (c *Canned) ReadDir(_ context.Context, dir string) ([]host.Entry, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	dir = path.Clean(dir)
	prefix := strings.TrimSuffix(dir, "/") + "/"
	found := map[string]host.Entry{}
	for p, f := range c.Files {
		rest, ok := strings.CutPrefix(p, prefix)
		if !ok || rest == "" {
			continue
		}
		name, deeper, nested := strings.Cut(rest, "/")
		switch {
		case nested && deeper != "":
			found[name] = host.Entry{Name: name, Mode: fs.ModeDir | 0o755}
		default:
			e := host.Entry{Name: name, Mode: f.Mode}
			if f.Mode&fs.ModeSymlink != 0 {
				e.Link = string(f.Data)
			}
			found[name] = e
		}
	}
	_, itself := c.Files[dir]
	if len(found) == 0 && !itself && dir != "/" {
		return nil, &fs.PathError{Op: "open", Path: dir, Err: fs.ErrNotExist}
	}
	var list []host.Entry
	for _, e := range found {
		list = append(list, e)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	return list, nil
}

// Write puts f into Files.
func (c *Canned) Write(_ context.Context, p string, f host.File) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.Files[p]; ok {
		return &fs.PathError{Op: "open", Path: p, Err: fs.ErrExist}
	}
	c.Files[p] = f
	return nil
}

// Rename moves within Files.
func (c *Canned) Rename(_ context.Context, from, to string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	f, ok := c.Files[from]
	if !ok {
		return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
	}
	delete(c.Files, from)
	c.Files[to] = f
	return nil
}

// Remove removes from Files.
func (c *Canned) Remove(_ context.Context, p string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.Files, p)
	return nil
}
