package lab

// Faults are what can be wrong with the way to a host. What can be wrong on it
// is the machine's: sim.Machine.Fail, its Watch, and Full and ReadOnly of its
// file system.
type Faults struct {
	RefuseLogins bool // no new login; connections that are there stay
	Unreachable  bool // no new connection
	// AgentFrames is the number of the frame that an agent started from now on
	// dies at, instead of writing it; 1 is the first. 0: none.
	AgentFrames int
}

// SetFaults replaces the faults of a host.
func (l *Lab) SetFaults(host string, f Faults) {
	s := l.servers[host]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = f
}

// Vanish makes a host unreachable in mid-session: every connection breaks, and
// no new one can be made until SetFaults says otherwise. What runs on the
// machine runs on.
func (l *Lab) Vanish(host string) {
	s := l.servers[host]
	s.mu.Lock()
	s.faults.Unreachable = true
	s.mu.Unlock()
	s.drop()
}

func (s *server) fault() Faults {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.faults
}
