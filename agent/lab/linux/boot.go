package linux

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/agent/lab/unix"
)

// A booter replays the boot files of one machine. Like the scripts that it
// stands for, it acts through commands.
type booter struct {
	*system
	m *sim.Machine
	k kernel
}

// boot starts the kernel and runs what the release runs. What the scripts
// would print goes to /var/log/boot.log.
func (s *system) boot(m *sim.Machine) {
	s.console.Reset()
	s.units, s.started = nil, false
	b := &booter{s, m, kernelOf(m, s.era)}
	if s.era.systemd() {
		b.systemd()
	} else {
		b.sysinit()
	}
	m.FS.Put("/var/log/boot.log", 0o600, s.console.String())
}

// run runs a command and gives its exit status. What it says is logged.
func (b *booter) run(argv ...string) int {
	exit := b.m.Sub(&sim.Call{Argv: argv, Stdout: &b.console, Stderr: &b.console})
	if exit != 0 {
		fmt.Fprintf(&b.console, "+ %s: exit status %d\n", strings.Join(argv, " "), exit)
	}
	return exit
}

func (b *booter) log(format string, args ...any) { fmt.Fprintf(&b.console, format+"\n", args...) }

// script runs a file as a shell would.
func (b *booter) script(p string) {
	ctx, cancel := limited()
	defer cancel()
	sh := &unix.Shell{
		Scope: b.m.Scope(true), PID: 100,
		Call: &sim.Call{Context: ctx, Argv: []string{"sh"}, Env: func(string) string { return "" }, Dir: "/",
			Stdin: strings.NewReader(""), Stdout: &b.console, Stderr: &b.console},
	}
	if exit := sh.Run(strings.NewReader(text(b.m.FS, p)), p, nil); exit != 0 {
		b.log("+ %s: exit status %d", p, exit)
	}
}

// sysinit is System V's way: rc.sysinit, then the start links of the default
// runlevel in the order of their names (initscripts 8.31, 9.03).
func (b *booter) sysinit() {
	b.k.start(b.spec)
	const modules = "/etc/sysconfig/modules"
	for _, name := range names(b.m.FS, modules) {
		if p := modules + "/" + name; strings.HasSuffix(name, ".modules") && executable(b.m.FS, p) {
			b.script(p)
		}
	}
	b.applySysctl()
	for _, name := range b.startLinks() {
		switch {
		case strings.HasSuffix(name, "network"):
			b.network()
		case strings.HasSuffix(name, "ipvsadm"):
			b.startIPVS()
		}
	}
}

// applySysctl is what rc.sysinit and the network script call: sysctl.conf,
// from EL6 on followed by every file of sysctl.d (apply_sysctl in
// /etc/rc.d/init.d/functions).
func (b *booter) applySysctl() {
	files := []string{"/etc/sysctl.conf"}
	if b.era >= el6 {
		for _, name := range names(b.m.FS, "/etc/sysctl.d") {
			if !ignored(name) {
				files = append(files, "/etc/sysctl.d/"+name)
			}
		}
	}
	for _, f := range files {
		b.run("sysctl", "-q", "-e", "-p", f)
	}
}

// startLinks lists the S links of the default runlevel, those that lead
// somewhere.
func (b *booter) startLinks() []string {
	level := "3"
	for line := range strings.Lines(text(b.m.FS, "/etc/inittab")) {
		if f := strings.Split(strings.TrimSpace(line), ":"); len(f) >= 3 && f[2] == "initdefault" && f[0] != "" && f[0][0] != '#' {
			level = f[1]
		}
	}
	dir := "/etc/rc.d/rc" + level + ".d"
	if !exists(b.m.FS, "/etc/rc.d") {
		dir = "/etc/rc" + level + ".d"
	}
	var list []string
	if b.partial {
		list = append(list, "S10network")
	}
	entries, err := b.m.FS.ReadDir(dir)
	if err != nil {
		return list
	}
	for _, e := range entries {
		if len(e.Name) > 3 && e.Name[0] == 'S' && e.Mode&fs.ModeDir == 0 && executable(b.m.FS, dir+"/"+e.Name) {
			list = append(list, e.Name)
		}
	}
	slices.Sort(list)
	return list
}

// systemd's order: modules, settings, then the services (systemd-modules-load
// and systemd-sysctl are part of sysinit.target; modules-load.d(5)).
func (b *booter) systemd() {
	b.m.FS.RemoveAll("/run") // a file system in memory
	runFolders(b.m.FS)
	b.k.start(b.spec)
	for _, f := range merged(b.m.FS, "modules-load.d") {
		for line := range strings.Lines(text(b.m.FS, f)) {
			if line = strings.TrimSpace(line); line != "" && line[0] != '#' && line[0] != ';' {
				b.run("modprobe", line)
			}
		}
	}
	apply(b.k, settings(b.m.FS), func(string) bool { return true })
	b.earlyUnits()
	if b.networkEnabled() {
		b.network()
	} else {
		b.k.setUp(b.k.Link("lo")) // systemd brings it up itself
	}
	if b.unitEnabled("ipvsadm.service") {
		b.startUnit(b.m, "ipvsadm.service")
	} else if slices.ContainsFunc(b.startLinks(), func(s string) bool { return strings.HasSuffix(s, "ipvsadm") }) {
		b.startIPVS()
	}
}

// networkEnabled says whether initscripts' network service is started: it is
// an init script, which systemd-sysv-generator finds by its start links.
func (b *booter) networkEnabled() bool {
	return b.unitEnabled("network.service") ||
		slices.ContainsFunc(b.startLinks(), func(s string) bool { return strings.HasSuffix(s, "network") })
}

func (b *booter) unitEnabled(unit string) bool {
	return exists(b.m.FS, "/etc/systemd/system/multi-user.target.wants/"+unit)
}

// ignored are the names that initscripts pass over (__sed_discard_ignored_files
// in /etc/rc.d/init.d/functions).
func ignored(name string) bool {
	for _, end := range []string{"~", ".bak", ".orig", ".rpmnew", ".rpmorig", ".rpmsave"} {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	return false
}
