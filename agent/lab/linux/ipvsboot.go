package linux

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
)

const unitDir = "/usr/lib/systemd/system/"

// ipvsUnit is the unit that EL7 and later ship with ipvsadm.
const ipvsUnit = `[Unit]
Description=Initialise the Linux Virtual Server
After=syslog.target network.target

[Service]
Type=oneshot
ExecStart=/bin/bash -c "exec /sbin/ipvsadm-restore < /etc/sysconfig/ipvsadm"
ExecStop=/bin/bash -c "exec /sbin/ipvsadm-save -n > /etc/sysconfig/ipvsadm"
ExecStop=/sbin/ipvsadm -C
RemainAfterExit=yes

[Install]
WantedBy=multi-user.target
`

// unitFiles are the unit and its drop-ins, in the order in which systemd reads
// them (systemd.unit(5)): /etc beats /run beats /usr/lib, drop-ins by name.
func unitFiles(f *sim.FS, unit string) []string {
	dirs := []string{"/etc/systemd/system/", "/run/systemd/system/", unitDir}
	var files []string
	for _, dir := range dirs {
		if exists(f, dir+unit) {
			files = append(files, dir+unit)
			break
		}
	}
	found := map[string]string{}
	var order []string
	for _, dir := range dirs {
		for _, name := range names(f, dir+unit+".d") {
			if strings.HasSuffix(name, ".conf") && found[name] == "" {
				found[name] = dir + unit + ".d/" + name
				order = append(order, name)
			}
		}
	}
	for _, name := range sorted(order) {
		files = append(files, found[name])
	}
	return files
}

// service runs one command line of the unit, of the forms that it has.
func (s *system) service(m *sim.Machine, line string) bool {
	w := strings.Fields(strings.NewReplacer(`"`, " ", "'", " ").Replace(strings.TrimLeft(line, "-@+!")))
	var argv []string
	in, out := "", ""
	for i := 0; i < len(w); i++ {
		switch {
		case w[i] == "<" && i+1 < len(w):
			i++
			in = w[i]
		case w[i] == ">" && i+1 < len(w):
			i++
			out = w[i]
		case w[i] == "exec" || strings.HasSuffix(w[i], "/bash") || strings.HasSuffix(w[i], "/sh") || w[i] == "-c" && len(argv) == 0:
		default:
			argv = append(argv, w[i])
		}
	}
	if len(argv) == 0 {
		return false
	}
	stdin := ""
	if in != "" {
		if !exists(m.FS, in) {
			fmt.Fprintf(&s.console, "bash: %s: No such file or directory\n", in)
			return false
		}
		stdin = text(m.FS, in)
	}
	var saved strings.Builder
	c := &sim.Call{Argv: argv, Stdin: strings.NewReader(stdin), Stdout: &s.console, Stderr: &s.console}
	if out != "" {
		c.Stdout = &saved
	}
	exit := m.Sub(c)
	if out != "" {
		m.FS.Put(out, 0o600, saved.String())
	}
	return exit == 0
}

// startIPVS starts the init script, Red Hat's or Debian's.
func (b *booter) startIPVS() {
	if b.debian() {
		vars := b.source(nil, "/etc/default/ipvsadm")
		if vars["AUTO"] != "true" {
			return
		}
		b.restore("/etc/ipvsadm.rules")
		return
	}
	const rules = "/etc/sysconfig/ipvsadm"
	if !exists(b.m.FS, rules) {
		b.log("ipvsadm: %s is not there", rules)
		return
	}
	b.restore(rules)
	b.started = true
}

func (s *system) debianTree(f *sim.FS) bool { return exists(f, "/etc/debian_version") }

func (b *booter) debian() bool { return b.debianTree(b.m.FS) }

// restore flushes the table and loads the rules of a file, comments left out.
func (b *booter) restore(file string) {
	b.run("ipvsadm", "-C")
	var rules strings.Builder
	for line := range strings.Lines(text(b.m.FS, file)) {
		if t := strings.TrimSpace(line); t != "" && t[0] != '#' {
			rules.WriteString(line)
		}
	}
	exit := b.m.Sub(&sim.Call{Argv: []string{"ipvsadm-restore"}, Stdin: strings.NewReader(rules.String()),
		Stdout: &b.console, Stderr: &b.console})
	if exit != 0 {
		b.log("+ ipvsadm-restore < %s: exit status %d", file, exit)
	}
}

// halt is an orderly shutdown. systemd runs what it had read of the unit when
// it last looked; Red Hat's older script saves where it is told to
// (/etc/sysconfig/ipvsadm-config).
func (s *system) halt(m *sim.Machine) {
	for _, name := range slices.Sorted(maps.Keys(s.units)) {
		s.stopUnit(m, name)
	}
	if !s.started || s.debianTree(m.FS) || s.era.systemd() {
		return
	}
	b := &booter{s, m, kernelOf(m, s.era)}
	if vars := b.source(nil, "/etc/sysconfig/ipvsadm-config"); s.era >= el6 && vars["IPVS_SAVE_ON_STOP"] == "yes" {
		s.service(m, "/sbin/ipvsadm-save -n > /etc/sysconfig/ipvsadm")
	}
}
