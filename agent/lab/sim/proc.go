package sim

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
