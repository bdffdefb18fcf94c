package linux

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
)

// A unit is what systemd knows of a service: what it has read of its files,
// and what became of it. A file that changed is another unit's until
// daemon-reload.
type unit struct {
	start, stop []string
	state       string // "inactive", "active" or "failed"
	last        string // the last line of its journal
}

// wantedUnits are the services that the links of multi-user.target start, but
// for those that lead nowhere, or to /dev/null.
func wantedUnits(f *sim.FS) []string {
	const dir = "/etc/systemd/system/multi-user.target.wants"
	var list []string
	entries, err := f.ReadDir(dir)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name, ".service") && e.Mode&fs.ModeDir == 0 && !masked(f, e.Name) && len(unitFiles(f, e.Name)) > 0 {
			list = append(list, e.Name)
		}
	}
	return list
}

// masked says whether a link to /dev/null hides the unit (systemd.unit(5)).
func masked(f *sim.FS, name string) bool {
	n, err := f.Stat("/etc/systemd/system/"+name, false)
	return err == nil && n.Mode&fs.ModeSymlink != 0 && string(n.Data) == "/dev/null"
}

// early says whether the unit is ordered before any network: it has no default
// dependencies, and comes before network-pre.target, which every manager of a
// network comes after.
func early(f *sim.FS, name string) bool {
	before := strings.Join(unitValues(f, name, "Unit", "Before"), " ")
	off := unitValues(f, name, "Unit", "DefaultDependencies")
	return len(off) > 0 && off[len(off)-1] == "no" && slices.Contains(strings.Fields(before), "network-pre.target")
}

// earlyUnits starts what comes before any network. Systemd itself brings the
// loopback up first of all.
func (b *booter) earlyUnits() {
	for _, name := range wantedUnits(b.m.FS) {
		if early(b.m.FS, name) {
			b.k.setUp(b.k.Link("lo"))
			b.startUnit(b.m, name)
		}
	}
}

// known gives what systemd has read of a unit; of one that it has not seen yet
// it reads the files.
func (s *system) known(f *sim.FS, name string) *unit {
	if s.units == nil {
		s.units = map[string]*unit{}
	}
	u := s.units[name]
	if u == nil && len(unitFiles(f, name)) > 0 {
		u = &unit{state: "inactive"}
		u.read(f, name)
		s.units[name] = u
	}
	return u
}

func (u *unit) read(f *sim.FS, name string) {
	u.start, u.stop = unitCommands(f, name, "ExecStart"), unitCommands(f, name, "ExecStop")
}

// reload is daemon-reload. A unit whose files are gone is forgotten once it is
// not active.
func (s *system) reload(f *sim.FS) {
	for name, u := range s.units {
		switch {
		case len(unitFiles(f, name)) > 0:
			u.read(f, name)
		case u.state != "active":
			delete(s.units, name)
		default:
			u.start, u.stop = nil, nil
		}
	}
}

// startUnit starts a unit of Type=oneshot with RemainAfterExit. A command that
// fails keeps those after it from running, but for one with "-"; the unit is
// not active then, and not stopped at shutdown.
func (s *system) startUnit(m *sim.Machine, name string) bool {
	u := s.known(m.FS, name)
	if u == nil {
		return false
	}
	if u.state == "active" {
		return true
	}
	for _, cmd := range u.start {
		from := s.console.Len()
		if s.service(m, cmd) || strings.HasPrefix(cmd, "-") {
			continue
		}
		said := strings.Split(strings.TrimSpace(s.console.String()[from:]), "\n")
		u.state, u.last = "failed", said[len(said)-1]
		fmt.Fprintf(&s.console, "%s: failed: %s\n", name, cmd)
		return false
	}
	u.state = "active"
	return true
}

// stopUnit stops a unit that is active.
func (s *system) stopUnit(m *sim.Machine, name string) {
	u := s.units[name]
	if u == nil || u.state != "active" {
		return
	}
	for _, cmd := range u.stop {
		if !s.service(m, cmd) && !strings.HasPrefix(cmd, "-") {
			break
		}
	}
	u.state = "inactive"
}

// unitValues gives the values of a setting of a section of a unit and its
// drop-ins: each assignment adds one, an empty one starts afresh.
func unitValues(f *sim.FS, name, section, key string) []string {
	var list []string
	for _, file := range unitFiles(f, name) {
		in := ""
		for line := range strings.Lines(text(f, file)) {
			line = strings.TrimSpace(line)
			if strings.HasPrefix(line, "[") {
				in = line
				continue
			}
			k, value, ok := strings.Cut(line, "=")
			if !ok || in != "["+section+"]" || strings.TrimSpace(k) != key {
				continue
			}
			if value = strings.TrimSpace(value); value == "" {
				list = nil
			} else {
				list = append(list, value)
			}
		}
	}
	return list
}

// unitCommands gives the command lines of a service.
func unitCommands(f *sim.FS, name, key string) []string {
	return unitValues(f, name, "Service", key)
}

// manage is what systemctl(1) does to units: start, stop, restart,
// reset-failed, is-failed, is-active.
func (s *system) manage(m *sim.Machine, c *sim.Call, verb, name string) int {
	u := s.known(m.FS, name)
	switch verb {
	case "is-failed", "is-active":
		state := "inactive"
		if u != nil {
			state = u.state
		}
		c.Printf("%s\n", state)
		if state == strings.TrimPrefix(verb, "is-") {
			return 0
		}
		if verb == "is-active" {
			return 3
		}
		return 1
	case "start", "restart":
		if u == nil {
			fmt.Fprintf(c.Stderr, "Failed to %s %s: Unit %s not found.\n", verb, name, name)
			return 5
		}
		if verb == "restart" {
			s.stopUnit(m, name)
		}
		if !s.startUnit(m, name) {
			fmt.Fprintf(c.Stderr, "Job for %s failed because the control process exited with error code.\nSee \"systemctl status %s\" and \"journalctl -xeu %s\" for details.\n", name, name, name)
			return 1
		}
		return 0
	case "stop":
		if u == nil {
			fmt.Fprintf(c.Stderr, "Failed to stop %s: Unit %s not loaded.\n", name, name)
			return 5
		}
		s.stopUnit(m, name)
		return 0
	case "reset-failed":
		if u == nil {
			fmt.Fprintf(c.Stderr, "Failed to reset failed state of unit %s: Unit %s not loaded.\n", name, name)
			return 1
		}
		if u.state == "failed" {
			u.state = "inactive"
		}
		return 0
	}
	return c.Refuse()
}

// journalctl is journalctl(1), for the last line of a unit's journal.
func (s *system) journalctl(m *sim.Machine, c *sim.Call) int {
	want := []string{"--no-pager", "-q", "-o", "cat", "-n", "1", "-u"}
	if len(c.Argv) != len(want)+2 || !slices.Equal(c.Argv[1:len(want)+1], want) {
		return c.Refuse()
	}
	if u := s.units[c.Argv[len(want)+1]]; u != nil && u.last != "" {
		c.Printf("%s\n", u.last)
	}
	return 0
}
