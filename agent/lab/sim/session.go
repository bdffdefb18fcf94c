package sim

import (
	"context"
	"fmt"
	"net/netip"
	"path"
	"strconv"
	"strings"
	"sync"

	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
)

// A Session is a Machine as one process on it has it: a host.Host with locks,
// neighbours and an IPVS table, all of which end with the process. After End,
// or a reboot, nothing that still runs can change the machine.
type Session struct{ *view }

// view is the host.Host beneath, kept apart so that a Session offers nothing
// of the Machine but that.
type view struct {
	m     *Machine
	boot  int
	pid   int
	mu    sync.Mutex
	ended bool
	exit  func()
}

// NewSession starts a process on m.
func (m *Machine) NewSession() *Session {
	pid, exit := m.Start()
	v := &view{m: m, boot: m.Boots(), pid: pid, exit: exit}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.views == nil {
		m.views = map[int]*view{}
	}
	m.views[pid] = v
	return &Session{view: v}
}

// End is the death of the process: its locks are free.
func (s *Session) End() {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.exit()
	s.m.free(s.view)
	s.m.Locked(func() {
		if s.m.views[s.pid] == s.view {
			delete(s.m.views, s.pid)
		}
	})
}

// alive runs f unless the process is dead, and gives ErrLost when it died
// meanwhile: what f did, it did, but nobody hears of it.
func (v *view) alive(f func() error) error {
	lost := fmt.Errorf("%s: %w", v.m.Name, host.ErrLost)
	if v.gone() {
		return lost
	}
	err := f()
	if v.gone() {
		return lost
	}
	return err
}

func (v *view) gone() bool {
	v.mu.Lock()
	ended := v.ended
	v.mu.Unlock()
	return ended || v.m.Boots() != v.boot
}

// Run runs a command of the machine.
func (v *view) Run(ctx context.Context, cmd host.Cmd) (res host.Result, err error) {
	err = v.alive(func() (err error) { res, err = v.m.Run(ctx, cmd); return })
	return res, err
}

// ReadFile reads a file of the machine.
func (v *view) ReadFile(ctx context.Context, path string) (f host.File, err error) {
	err = v.alive(func() (err error) { f, err = v.m.ReadFile(ctx, path); return })
	return f, err
}

// ReadDir lists a folder of the machine.
func (v *view) ReadDir(ctx context.Context, path string) (list []host.Entry, err error) {
	err = v.alive(func() (err error) { list, err = v.m.ReadDir(ctx, path); return })
	return list, err
}

// Write makes a file, folder or link on the machine.
func (v *view) Write(ctx context.Context, path string, f host.File) error {
	return v.alive(func() error { return v.m.Write(ctx, path, f) })
}

// Rename renames on the machine.
func (v *view) Rename(ctx context.Context, from, to string) error {
	return v.alive(func() error { return v.m.Rename(ctx, from, to) })
}

// Remove removes on the machine.
func (v *view) Remove(ctx context.Context, path string) error {
	return v.alive(func() error { return v.m.Remove(ctx, path) })
}

// Lock takes a lock that the end of the session frees.
func (v *view) Lock(_ context.Context, path, holder string) (release func(), err error) {
	err = v.alive(func() (err error) { release, err = v.m.lock(v, path, holder); return })
	return release, err
}

// Holder tells who holds the lock at path.
func (v *view) Holder(ctx context.Context, path string) (holder string, err error) {
	err = v.alive(func() (err error) { holder, err = v.m.Holder(ctx, path); return })
	return holder, err
}

// Probe asks the link of dev who has addr.
func (v *view) Probe(ctx context.Context, dev string, addr netip.Addr) (mac string, err error) {
	err = v.alive(func() (err error) { mac, err = v.m.Probe(ctx, dev, addr); return })
	return mac, err
}

// Announce tells the link of dev that addr is here.
func (v *view) Announce(ctx context.Context, dev string, addr netip.Addr) error {
	return v.alive(func() error { return v.m.Announce(ctx, dev, addr) })
}

// IPVS is the table of the machine.
func (v *view) IPVS() (ipvs.Table, error) {
	if _, err := v.m.IPVS(); err != nil {
		return nil, err
	}
	return table{m: v.m, guard: v.alive}, nil
}

// lock is one that is held.
type lock struct {
	owner  *view // nil: the Machine itself, as its own Host
	holder string
}

// Lock takes a lock for whoever uses the Machine itself as a Host: until it
// is released or the machine reboots.
func (m *Machine) Lock(_ context.Context, path, holder string) (func(), error) {
	_, exit := m.Start() // kill -0 of the number in the file finds it
	release, err := m.lock(nil, path, holder)
	if err != nil {
		exit()
		return nil, err
	}
	return func() { release(); exit() }, nil
}

// Holder tells who holds the lock at path; "" nobody.
func (m *Machine) Holder(_ context.Context, path string) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.holder(path), nil
}

func (m *Machine) lock(owner *view, file, holder string) (release func(), err error) {
	if err := m.watch(Access{Op: "lock", Path: file}); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if by := m.holder(file); by != "" {
		return nil, &host.TakenError{Path: file, Holder: by}
	}
	if m.FS.ReadOnly || m.FS.Full {
		if err := m.FS.Write(file, host.File{Mode: 0o600}); err != nil {
			return nil, fmt.Errorf("lock %s: %w", file, err)
		}
	}
	m.FS.MkdirMode(path.Dir(file), 0o700)
	pid := m.pid
	if owner != nil {
		pid = owner.pid
	}
	m.FS.Put(file, 0o600, fmt.Sprintf("%s\n%d\n", holder, pid))
	if m.locks == nil {
		m.locks = map[string]*lock{}
	}
	l := &lock{owner: owner, holder: holder}
	m.locks[file] = l
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.locks[file] == l {
			delete(m.locks, file)
			m.FS.Put(file, 0o600, "")
		}
	}, nil
}

// holder tells who holds a lock: by the lock itself, or by the folder that a
// login without an agent makes in its stead (host.LockFolder).
func (m *Machine) holder(file string) string {
	if l := m.locks[file]; l != nil {
		return l.holder
	}
	dir := host.LockFolder(file)
	text, err := m.FS.ReadFile(path.Join(dir, "pid"))
	pid, perr := strconv.Atoi(strings.TrimSpace(string(text.Data)))
	if err != nil || perr != nil || !m.Alive(pid) {
		return ""
	}
	by, _ := m.FS.ReadFile(path.Join(dir, "holder"))
	if name := strings.TrimSpace(string(by.Data)); name != "" {
		return name
	}
	return fmt.Sprintf("process %d", pid)
}

// free frees what v holds.
func (m *Machine) free(v *view) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for p, l := range m.locks {
		if l.owner == v {
			delete(m.locks, p)
		}
	}
}

// Probe asks the world who has addr; a machine without a world is alone.
func (m *Machine) Probe(ctx context.Context, dev string, addr netip.Addr) (string, error) {
	if err := m.reach(ctx, "probe", dev); err != nil || m.Wire == nil {
		return "", err
	}
	return m.Wire.Ask(m, dev, addr.String()), nil
}

// Announce tells the world that addr is on dev.
func (m *Machine) Announce(ctx context.Context, dev string, addr netip.Addr) error {
	if err := m.reach(ctx, "announce", dev); err != nil || m.Wire == nil {
		return err
	}
	m.Wire.Tell(m, dev, addr.String())
	return nil
}

// reach says whether m has dev, as the socket that probes would.
func (m *Machine) reach(ctx context.Context, op, dev string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := m.watch(Access{Op: op, Path: dev}); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if l := m.Net.Link(dev); l == nil || l.Kind != Ether {
		return fmt.Errorf("%s on %s: no such Ethernet device", op, dev)
	}
	return nil
}
