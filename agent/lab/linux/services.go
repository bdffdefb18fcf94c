package linux

import (
	"fmt"
	"strings"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
)

// systemctl is systemctl(1), for reading (is-enabled, cat), daemon-reload and
// what manage knows.
// Units keep what systemd last read of them: a drop-in counts at shutdown only
// after daemon-reload.
func (s *system) systemctl(m *sim.Machine, c *sim.Call) int {
	args := c.Argv[1:]
	if len(args) == 1 && args[0] == "daemon-reload" {
		s.reload(m.FS)
		return 0
	}
	if len(args) != 2 {
		return c.Refuse()
	}
	unit := args[1]
	if !strings.Contains(unit, ".") {
		unit += ".service"
	}
	b := &booter{s, m, kernelOf(m, s.era)}
	switch args[0] {
	case "cat":
		files := unitFiles(m.FS, unit)
		if len(files) == 0 {
			fmt.Fprintf(c.Stderr, "No files found for %s.\n", unit)
			return 1
		}
		for i, f := range files {
			if i > 0 {
				c.Printf("\n")
			}
			c.Printf("# %s\n%s", f, text(m.FS, f))
		}
		return 0
	case "is-enabled":
		enabled := b.unitEnabled(unit)
		switch {
		case unit == "network.service" && len(unitFiles(m.FS, unit)) == 0 && exists(m.FS, "/etc/rc.d/init.d/network"):
			fmt.Fprintf(c.Stderr, "network.service is not a native service, redirecting to systemd-sysv-install.\nExecuting: /usr/lib/systemd/systemd-sysv-install is-enabled network\n")
			enabled = b.networkEnabled()
		case len(unitFiles(m.FS, unit)) == 0:
			fmt.Fprintf(c.Stderr, "Failed to get unit file state for %s: No such file or directory\n", unit)
			return 1
		}
		if enabled {
			c.Printf("enabled\n")
			return 0
		}
		c.Printf("disabled\n")
		return 1
	}
	return s.manage(m, c, args[0], unit)
}

// chkconfig is chkconfig(8) --list NAME.
func chkconfig(m *sim.Machine, c *sim.Call) int {
	if len(c.Argv) != 3 || c.Argv[1] != "--list" {
		return c.Refuse()
	}
	name := c.Argv[2]
	if !exists(m.FS, "/etc/rc.d/init.d/"+name) {
		c.Errorf("error reading information on service %s: No such file or directory", name)
		return 1
	}
	c.Printf("%-14s", name)
	for i := range 7 {
		state := "off"
		for _, link := range names(m.FS, fmt.Sprintf("/etc/rc.d/rc%d.d", i)) {
			if len(link) > 3 && link[0] == 'S' && link[3:] == name {
				state = "on"
			}
		}
		c.Printf("\t%d:%s", i, state)
	}
	c.Printf("\n")
	return 0
}
