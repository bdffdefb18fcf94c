package sim

import (
	"context"
	"time"

	"github.com/lvsfleet/lvsfleet/providers/host"
)

// Start makes a process; its number stands in $$ and answers kill -0 until
// exit is called or the machine reboots.
func (m *Machine) Start() (pid int, exit func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.procs == nil {
		m.procs = map[int]bool{}
	}
	if m.pid == 0 {
		m.pid = 700 // what a booted system has reached, more or less
	}
	m.pid++
	pid, boot := m.pid, m.boots
	m.procs[pid] = true
	return pid, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.boots == boot {
			delete(m.procs, pid)
		}
	}
}

// Alive says whether there is a process of that number. The lock is held: it
// is for commands.
func (m *Machine) Alive(pid int) bool { return pid == 1 || m.procs[pid] }

// Mortal gives a function that says whether the process pid, which is alive
// now, has been killed since, or died with a reboot. One that has ended by
// itself was not: what it left running runs on.
func (m *Machine) Mortal(pid int) (dead func() bool) {
	boot := m.Boots()
	return func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.boots != boot || m.killed[pid]
	}
}

// Kill ends a process, whatever it is, in mid-command.
func (m *Machine) Kill(pid int) {
	m.mu.Lock()
	v := m.views[pid]
	if m.killed == nil {
		m.killed = map[int]bool{}
	}
	m.killed[pid] = true
	delete(m.procs, pid)
	m.mu.Unlock()
	if v != nil {
		(&Session{view: v}).End()
	}
}

// Spawn starts argv as a process that belongs to nobody.
func (m *Machine) Spawn(_ context.Context, argv []string) error {
	life := m.Life
	if life == nil {
		life = context.Background()
	}
	go m.Exec(&Call{Context: life, Argv: argv})
	return nil
}

// Now is the machine's clock's.
func (m *Machine) Now() time.Duration { return m.clock().Now() }

// Sleep waits by the machine's clock.
func (m *Machine) Sleep(ctx context.Context, d time.Duration) error { return m.clock().Sleep(ctx, d) }

func (m *Machine) clock() host.Clock {
	if m.Clock != nil {
		return m.Clock
	}
	return host.Uptime()
}

// PID is the process's own number.
func (v *view) PID() int { return v.pid }

// Alive says whether there is a process of that number.
func (v *view) Alive(pid int) (alive bool) {
	v.m.Locked(func() { alive = v.m.Alive(pid) })
	return alive
}

// Kill ends a process.
func (v *view) Kill(pid int) error {
	return v.alive(func() error { v.m.Kill(pid); return nil })
}

// Spawn starts a process that outlives this one.
func (v *view) Spawn(ctx context.Context, argv []string) error {
	return v.alive(func() error { return v.m.Spawn(ctx, argv) })
}

// Now is the machine's clock's.
func (v *view) Now() time.Duration { return v.m.Now() }

// Sleep waits by the machine's clock; a process that dies does not wake.
func (v *view) Sleep(ctx context.Context, d time.Duration) error {
	return v.alive(func() error { return v.m.Sleep(ctx, d) })
}
