package sim

import (
	"bytes"
	"context"
	"errors"

	"github.com/lvsfleet/lvsfleet/providers/host"
)

// Run makes a Machine a host.Runner.
func (m *Machine) Run(ctx context.Context, cmd host.Cmd) (host.Result, error) {
	if err := ctx.Err(); err != nil {
		return host.Result{}, err
	}
	if len(cmd.Argv) == 0 || cmd.Argv[0] == "" {
		return host.Result{}, errors.New("run: empty argv")
	}
	var stdout, stderr bytes.Buffer
	exit := m.Exec(&Call{
		Context: ctx, Argv: cmd.Argv, Stdin: bytes.NewReader(cmd.Stdin),
		Stdout: &stdout, Stderr: &stderr, Dir: "/",
	})
	if err := ctx.Err(); err != nil {
		return host.Result{}, err
	}
	res := host.Result{Stdout: stdout.Bytes(), Stderr: stderr.Bytes(), Exit: exit}
	if exit != 0 {
		return res, &host.ExitError{Host: m.Name, Argv: cmd.Argv, Exit: exit, Stderr: stderr.String()}
	}
	return res, nil
}

// ReadFile reads a file of the machine.
func (m *Machine) ReadFile(_ context.Context, path string) (host.File, error) {
	if err := m.watch(Access{Op: "read", Path: path}); err != nil {
		return host.File{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.FS.ReadFile(path)
}

// ReadDir lists a folder of the machine.
func (m *Machine) ReadDir(_ context.Context, path string) ([]host.Entry, error) {
	if err := m.watch(Access{Op: "readdir", Path: path}); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.FS.ReadDir(path)
}

// Write makes a file, folder or link on the machine.
func (m *Machine) Write(_ context.Context, path string, f host.File) error {
	if err := m.watch(Access{Op: "write", Path: path}); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.FS.Write(path, f)
}

// Rename renames on the machine.
func (m *Machine) Rename(_ context.Context, from, to string) error {
	if err := m.watch(Access{Op: "rename", Path: to}); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.FS.Rename(from, to)
}

// Remove removes on the machine.
func (m *Machine) Remove(_ context.Context, path string) error {
	if err := m.watch(Access{Op: "remove", Path: path}); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.FS.Remove(path)
}
