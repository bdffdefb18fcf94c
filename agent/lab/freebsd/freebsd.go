// Package freebsd is a simulated FreeBSD: its commands and what it does with
// its files at boot, from 5.x to 16, as transcripts of a real 13.2 (testdata)
// and the sources of the other eras have it.
package freebsd

import (
	"fmt"
	"maps"
	"net/netip"
	"strings"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/agent/lab/unix"
	"github.com/lvsfleet/lvsfleet/providers/host"
)

// New makes a machine, lays its file system and boots it.
func New(spec sim.Spec) *sim.Machine {
	arch := spec.Arch
	if arch == "" {
		arch = "amd64"
		if host.Older(spec.Release, 5, 5, 0) {
			arch = "i386"
		}
	}
	s := system{spec: spec, era: eraOf(spec.Release)}
	m := &sim.Machine{
		Name:     spec.Name,
		Identity: host.Identity{OS: host.FreeBSD, Release: spec.Release, Machine: arch},
		FS:       sim.NewFS(),
		Commands: s.commands(),
		Free:     unix.Free(),
		Loader:   unix.Load,
		Boot:     s.boot,
	}
	m.Free["csh"] = csh
	if s.era.major <= 13 {
		m.Shell = "csh" // root's, until 14
	}
	s.install(m.FS)
	if err := spec.Lay(m.FS); err != nil {
		panic(fmt.Sprintf("lab: host %s: %v", spec.Name, err)) // a map of absolute paths can be laid
	}
	m.Reboot()
	return m
}

// A system is a FreeBSD of one release with its cards.
type system struct {
	spec sim.Spec
	era  era
}

func (s system) commands() map[string]sim.Command {
	c := unix.Commands()
	maps.Copy(c, map[string]sim.Command{
		"freebsd-version": s.version,
		"getent":          s.getent,
		"ifconfig":        s.ifconfig,
		"kldload":         kldload,
		"kldstat":         kldstat,
		"netstat":         s.netstat,
		"route":           s.route,
		"service":         func(_ *sim.Machine, c *sim.Call) int { return c.Refuse() },
		"sysctl":          s.sysctl,
	})
	if s.era.major >= 10 {
		c["sysrc"] = s.sysrc // since 9.2
	} else {
		delete(c, "freebsd-version") // since 10.0
	}
	return c
}

// install lays what a fresh system has.
func (s system) install(f *sim.FS) {
	for _, dir := range []string{"/bin", "/boot", "/etc", "/root", "/sbin", "/tmp", "/usr/local/etc", "/var/db", "/var/run", "/var/tmp"} {
		f.MkdirAll(dir)
	}
	if s.era.major >= 10 {
		f.MkdirAll("/etc/rc.conf.d")
	}
	var rc strings.Builder
	fmt.Fprintf(&rc, "hostname=\"%s\"\n", s.spec.Name)
	v6 := false
	for _, card := range s.spec.Interfaces {
		alias := 0
		first4, first6 := true, true
		for _, a := range card.Addresses {
			switch {
			case a.Addr().Is4() && first4:
				fmt.Fprintf(&rc, "ifconfig_%s=\"inet %s netmask %s\"\n", card.Device, a.Addr(), dotted(a.Bits()))
				first4 = false
			case a.Addr().Is4():
				fmt.Fprintf(&rc, "ifconfig_%s_alias%d=\"inet %s netmask %s\"\n", card.Device, alias, a.Addr(), dotted(a.Bits()))
				alias++
			case s.era.major < 9:
				v6 = true
				name := "ipv6_ifconfig_" + card.Device
				if !first6 {
					name = fmt.Sprintf("%s_alias%d", name, alias)
					alias++
				}
				fmt.Fprintf(&rc, "%s=\"%s prefixlen %d\"\n", name, a.Addr(), a.Bits())
				first6 = false
			case first6:
				fmt.Fprintf(&rc, "ifconfig_%s_ipv6=\"inet6 %s prefixlen %d\"\n", card.Device, a.Addr(), a.Bits())
				first6 = false
			default:
				fmt.Fprintf(&rc, "ifconfig_%s_alias%d=\"inet6 %s prefixlen %d\"\n", card.Device, alias, a.Addr(), a.Bits())
				alias++
			}
		}
	}
	if v6 {
		rc.WriteString("ipv6_enable=\"YES\"\n")
	}
	rc.WriteString("sshd_enable=\"YES\"\n")
	f.Put("/etc/rc.conf", 0o644, rc.String())
	f.Put("/etc/defaults/rc.conf", 0o444, s.era.defaults())
	f.Put("/etc/sysctl.conf", 0o644, "# $FreeBSD$\n#\n#  This file is read when going to multi-user and its contents piped thru\n#  ``sysctl'' to adjust kernel values.  ``man 5 sysctl.conf'' for details.\n#\n")
	f.Put("/etc/hosts", 0o644, "::1\t\t\tlocalhost localhost.my.domain\n127.0.0.1\t\tlocalhost localhost.my.domain\n")
	f.Put("/boot/loader.conf", 0o644, "")
}

func (s system) version(_ *sim.Machine, c *sim.Call) int {
	if len(c.Argv) != 1 {
		return c.Refuse()
	}
	c.Printf("%s\n", s.spec.Release)
	return 0
}

// getent knows root, for who wants to know his shell.
func (s system) getent(m *sim.Machine, c *sim.Call) int {
	if strings.Join(c.Argv[1:], " ") != "passwd root" {
		return c.Refuse()
	}
	shell := "/bin/sh"
	if m.Shell == "csh" {
		shell = "/bin/csh"
	}
	c.Printf("root::0:0:Charlie &:/root:%s\n", shell)
	return 0
}

func kldload(m *sim.Machine, c *sim.Call) int {
	set, args, ok := unix.Flags(c, "n")
	if !ok {
		return sim.RefusedExit
	}
	if len(args) != 1 || args[0] != "if_gif" {
		return c.Refuse()
	}
	if m.Net.Modules[args[0]] && !set['n'] {
		c.Errorf("can't load %s: module already loaded or in kernel", args[0])
		return 1
	}
	m.Net.Modules[args[0]] = true
	return 0
}

func kldstat(m *sim.Machine, c *sim.Call) int {
	set, args, ok := unix.Flags(c, "qmn")
	if !ok {
		return sim.RefusedExit
	}
	if !set['q'] || len(args) != 1 {
		return c.Refuse()
	}
	if m.Net.Modules[args[0]] {
		return 0
	}
	return 1
}

// dotted is a mask in dotted form.
func dotted(bits int) string {
	m := mask(bits)
	return netip.AddrFrom4([4]byte{byte(m >> 24), byte(m >> 16), byte(m >> 8), byte(m)}).String()
}

func mask(bits int) uint32 { return uint32(0xffffffff << (32 - bits)) }
