// Package sim is one simulated machine: a file system and a kernel's network
// state in memory, and the commands of its operating system over them. The
// commands print what the real ones print, and refuse what they do not know:
// a fake that answers everything proves nothing.
package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/lvsfleet/lvsfleet/providers/host"
)

// A Command is one program. It reads and changes the Machine, whose lock it
// holds, and returns its exit status.
type Command func(m *Machine, c *Call) int

// A Call is one invocation of a Command.
type Call struct {
	Context context.Context
	Argv    []string // Argv[0] as it was typed
	Env     func(name string) string
	Dir     string
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer
}

// Printf writes to standard output.
func (c *Call) Printf(format string, args ...any) { fmt.Fprintf(c.Stdout, format, args...) }

// Errorf writes a line to standard error, after "NAME: ".
func (c *Call) Errorf(format string, args ...any) {
	name := c.Argv[0][strings.LastIndexByte(c.Argv[0], '/')+1:]
	fmt.Fprintf(c.Stderr, name+": "+format+"\n", args...)
}

// Refuse reports an argv that the fake does not know, loudly, so that a test
// that strays from what is modelled fails instead of passing by luck.
func (c *Call) Refuse() int {
	fmt.Fprintf(c.Stderr, "lvsfleet lab: %q is not modelled\n", c.Argv)
	return RefusedExit
}

// RefusedExit is the exit status of what a fake does not know.
const RefusedExit = 86

// A Machine is one simulated host. Its exported fields are guarded by its
// lock: Locked runs a function under it.
type Machine struct {
	mu sync.Mutex

	Name     string
	Identity host.Identity
	FS       *FS
	Net      *Net
	Commands map[string]Command // by base name
	// Boot replays the boot files onto a fresh Net.
	Boot func(m *Machine)
	// Wire is the world around the machine; nil: alone.
	Wire Wire

	boots int
	down  bool
}

// A Wire is the links that machines share.
type Wire interface {
	// Ask asks the link on which m's device dev lies who answers for addr
	// (an address as text); "" nobody does. m's lock is not held.
	Ask(m *Machine, dev, addr string) (mac string)
	// Tell announces that m's dev holds addr.
	Tell(m *Machine, dev, addr string)
}

// Locked runs f with the machine to itself.
func (m *Machine) Locked(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
}

// Reboot drops all live state and replays the boot files. /var/run loses its
// files and keeps its folders.
func (m *Machine) Reboot() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.boots++
	m.FS.ClearFiles("/var/run")
	m.Net = NewNet()
	m.Boot(m)
}

// Exec runs one command of the machine with the streams of c.
func (m *Machine) Exec(c *Call) int {
	name := c.Argv[0][strings.LastIndexByte(c.Argv[0], '/')+1:]
	cmd, ok := m.Commands[name]
	if !ok {
		fmt.Fprintf(c.Stderr, "%s: command not found\n", c.Argv[0])
		return 127
	}
	if c.Env == nil {
		c.Env = func(string) string { return "" }
	}
	if c.Context == nil {
		c.Context = context.Background()
	}
	if c.Stdin == nil {
		c.Stdin = strings.NewReader("")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return cmd(m, c)
}

// Run makes a Machine a host.Runner.
func (m *Machine) Run(ctx context.Context, cmd host.Cmd) (host.Result, error) {
	if err := ctx.Err(); err != nil {
		return host.Result{}, err
	}
	if len(cmd.Argv) == 0 {
		return host.Result{}, errors.New("empty argv")
	}
	var stdout, stderr bytes.Buffer
	exit := m.Exec(&Call{
		Context: ctx, Argv: cmd.Argv, Stdin: bytes.NewReader(cmd.Stdin),
		Stdout: &stdout, Stderr: &stderr, Dir: "/",
	})
	res := host.Result{Stdout: stdout.Bytes(), Stderr: stderr.Bytes(), Exit: exit}
	if exit != 0 {
		return res, &host.ExitError{Host: m.Name, Argv: cmd.Argv, Exit: exit, Stderr: stderr.String()}
	}
	return res, nil
}

// ReadFile, ReadDir, Write, Rename and Remove make it a host.Host.

// ReadFile reads a file of the machine.
func (m *Machine) ReadFile(_ context.Context, path string) (host.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.FS.ReadFile(path)
}

// ReadDir lists a folder of the machine.
func (m *Machine) ReadDir(_ context.Context, path string) ([]host.Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.FS.ReadDir(path)
}

// Write makes a file, folder or link on the machine.
func (m *Machine) Write(_ context.Context, path string, f host.File) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.FS.Write(path, f)
}

// Rename renames on the machine.
func (m *Machine) Rename(_ context.Context, from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.FS.Rename(from, to)
}

// Remove removes on the machine.
func (m *Machine) Remove(_ context.Context, path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.FS.Remove(path)
}
