// Package linux simulates Linux as Red Hat's releases run it: Fedora Core 5,
// Enterprise Linux 6 and 7, and a current one whose network is still brought
// up by initscripts. The kernel's side (kernel, conf, modules) is apart from
// the commands that reach it (ip, sysctl, modprobe, ...), and the boot runs
// those very commands as the scripts of each release do.
//
// Texts and exit statuses are those of iproute2 6.1 and procps 4.0 on a Linux
// 6.18 kernel for a current system; of iproute2 and procps as the older
// releases shipped them for those (their sources).
//
// Left out, since nothing here depends on it: link-local IPv6 addresses, DHCP,
// bonds, bridges, static-routes files, NetworkManager, duplicate address
// detection when an interface comes up at boot.
package linux

import (
	"fmt"
	"io/fs"
	"net/netip"
	"strings"

	"github.com/lvsfleet/lvsfleet/agent/lab/ipvsadm"
	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/agent/lab/unix"
	"github.com/lvsfleet/lvsfleet/providers/host"
)

// New makes a machine as its release is freshly installed, or with spec.Base
// in the place of /etc, and boots it.
func New(spec sim.Spec) *sim.Machine {
	e := eraOf(spec.Release)
	arch := spec.Arch
	if arch == "" {
		arch = "x86_64"
		if e == fc5 {
			arch = "i686"
		}
	}
	s := &system{spec: spec, era: e}
	m := &sim.Machine{
		Name:     spec.Name,
		Identity: host.Identity{OS: host.Linux, Release: spec.Release, Machine: arch},
		FS:       sim.NewFS(),
		Net:      sim.NewNet(),
		Boot:     s.boot,
		Halt:     s.halt,
	}
	fresh(m.FS, spec, e)
	if err := spec.Lay(m.FS); err != nil {
		panic(fmt.Sprintf("lab: %s: %v", spec.Name, err)) // a mistake in the lab: /etc was just emptied
	}
	if s.debianTree(m.FS) { // its ipvsadm has an init script and no unit
		_ = m.FS.Remove(unitDir + "ipvsadm.service")
	}
	s.partial = !exists(m.FS, "/etc/rc.d") && !exists(m.FS, "/etc/init.d") && !exists(m.FS, "/etc/systemd")
	m.FS.Live = func(p string) (string, bool) {
		if name, ok := strings.CutPrefix(p, "/proc/net/"); ok && name != "ip_vs" {
			return sockets(m, name)
		}
		return kernel{Net: m.Net, era: e}.file(p)
	}
	m.FS.MkdirAll("/proc/net") // where those files are: who resolves a path looks at each folder
	m.Commands = unix.Commands()
	for name, c := range map[string]sim.Command{
		"ip": ip(e), "sysctl": sysctl(e), "modprobe": modprobe(e), "lsmod": lsmod, "chkconfig": chkconfig,
		"systemctl": s.systemctl, "journalctl": s.journalctl,
	} {
		m.Commands[name] = c
	}
	if e < el7 {
		delete(m.Commands, "systemctl")
		delete(m.Commands, "journalctl")
	}
	loads := func(m *sim.Machine, module string) bool { return kernelOf(m, e).load(module) == nil }
	for name, c := range ipvsadm.Commands(e.ipvsadm(), loads) {
		m.Commands[name] = c
	}
	m.Free = unix.Free()
	m.Free["arping"], m.Free["ping"] = arping, ping
	m.Loader = unix.Load
	m.Locked(func() { m.Boot(m) })
	return m
}

// A system is what a release remembers outside of the kernel.
type system struct {
	spec sim.Spec
	era  era
	// units are those that systemd has read in this boot, by name.
	units map[string]*unit
	// started says that the init script of ipvsadm was started.
	started bool
	// partial: the base is a part of /etc that says nothing of start scripts.
	// The network is taken to be enabled.
	partial bool
	console strings.Builder
}

// exists says whether p is there, links followed.
func exists(f *sim.FS, p string) bool {
	_, err := f.Stat(p, true)
	return err == nil
}

// executable says whether p is a file that may be run.
func executable(f *sim.FS, p string) bool {
	st, err := f.Stat(p, true)
	return err == nil && st.Mode.IsRegular() && st.Mode&0o111 != 0
}

// names lists the files of a folder, sorted; none where there is no folder.
func names(f *sim.FS, dir string) []string {
	entries, err := f.ReadDir(dir)
	if err != nil {
		return nil
	}
	var list []string
	for _, e := range entries {
		if e.Mode&fs.ModeDir == 0 {
			list = append(list, e.Name)
		}
	}
	return list
}

// cardAddr is the address that a card's Ethernet address is made of.
func cardAddr(list []netip.Prefix) netip.Addr {
	if len(list) == 0 {
		return netip.Addr{}
	}
	return list[0].Addr()
}

// text reads a file; "" where there is none.
func text(f *sim.FS, p string) string {
	file, err := f.ReadFile(p)
	if err != nil {
		return ""
	}
	return string(file.Data)
}
