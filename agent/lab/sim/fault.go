package sim

import "slices"

// A Fault is what a command does instead of its work.
type Fault struct {
	Missing bool     // there is no such command
	Args    []string // only where each of them is among the arguments; nil: always
	Exit    int
	Stdout  string
	Stderr  string
	// Then does the command's work all the same, after the text above; Exit
	// is then the command's own.
	Then bool
	// Times is how often it strikes; 0: until Mend.
	Times int
}

// Fail makes the command of that base name fail as f says.
func (m *Machine) Fail(name string, f Fault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.faults == nil {
		m.faults = map[string][]Fault{}
	}
	m.faults[name] = append(m.faults[name], f)
}

// Mend takes every fault of commands away.
func (m *Machine) Mend() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults = nil
}

// fault finds the fault that strikes argv, if one does.
func (m *Machine) fault(name string, argv []string) (f Fault, struck bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := m.faults[name]
	for i := range list {
		if !subset(list[i].Args, argv[1:]) {
			continue
		}
		f = list[i]
		if list[i].Times > 0 {
			if list[i].Times--; list[i].Times == 0 {
				m.faults[name] = slices.Delete(list, i, i+1)
			}
		}
		return f, true
	}
	return Fault{}, false
}

func subset(want, have []string) bool {
	for _, w := range want {
		if !slices.Contains(have, w) {
			return false
		}
	}
	return true
}
