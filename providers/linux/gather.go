package linux

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/linux/kernel"
	"github.com/lvsfleet/lvsfleet/providers/linux/persist"
	"github.com/lvsfleet/lvsfleet/providers/linux/persist/ifcfg"
	"github.com/lvsfleet/lvsfleet/providers/linux/systemd"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// Gather finds out what the machine is like. It only reads.
func Gather(ctx context.Context, h host.Host, id host.Identity, d inventory.Desired) (Facts, error) {
	return GatherWith(ctx, h, id, d, Dialects())
}

// GatherWith is Gather where there are the dialects of table.
func GatherWith(ctx context.Context, h host.Host, id host.Identity, d inventory.Desired, table []Entry) (Facts, error) {
	g := &gatherer{ctx: ctx, h: h, etc: map[string]fs.FileMode{}}
	f := Facts{Release: id.Release}
	for _, e := range g.dir("/etc") {
		g.etc[e.Name] = e.Mode
	}
	g.boot(&f, d)
	running, err := systemd.Runs(ctx, h)
	if err != nil {
		return Facts{}, err
	}
	f.Running = running
	f.Network, f.Evidence, f.NetworkOff = g.network()
	if g.err != nil {
		return Facts{}, g.err
	}
	addrs, err := readAddrs(ctx, h, false)
	if err != nil {
		return Facts{}, err
	}
	f.Addrs = addrs
	if m, ok := host.As[step.Maker](h); ok {
		f.Made = m.Made()
	}
	if wants6(d) {
		if addrs, err = readAddrs(ctx, h, true); err != nil {
			return Facts{}, err
		}
		f.Addrs = append(f.Addrs, addrs...)
	}
	if f.Links, err = readLinks(ctx, h); err != nil {
		return Facts{}, err
	}
	if len(d.Tunnels) > 0 {
		if f.Tunnels, err = kernel.Of(h).Tunnels(ctx); err != nil {
			return Facts{}, err
		}
	}
	f.Table = table
	if d.Network == "none" { // labels that initscripts know
		files, err := ifcfg.Dialect{}.Read(ctx, h, f.machine())
		if err != nil {
			return Facts{}, err
		}
		f.Sources = append(f.Sources, Source{Entry: Entry{Dialect: ifcfg.Dialect{}}, Files: files})
		return f, nil
	}
	if err := f.dialects(ctx, h, d, table); err != nil {
		return Facts{}, err
	}
	if f.native() == nil {
		// Whoever else brings the network up is of a time that reads these.
		if !f.SysctlD {
			f.SysctlD = true
			g.later(&f)
		}
		f.ModulesD = true
		if f.Unfit, err = g.unfit(d, f.Links); err != nil {
			return Facts{}, err
		}
	}
	return f, nil
}

// machine is what dialects are told.
func (f Facts) machine() persist.Machine {
	m := persist.Machine{Release: f.Release, Systemd: f.Systemd, Running: f.Running}
	for _, l := range f.Links {
		m.Links = append(m.Links, persist.Link{Name: l.Name, MAC: l.MAC, Index: l.Index})
	}
	for _, a := range f.Addrs {
		m.Addresses = append(m.Addresses, persist.LiveAddress{Dev: a.Dev, Prefix: a.Prefix, Label: a.Label})
	}
	return m
}

// A gatherer reads until something fails; then it reads nothing more.
type gatherer struct {
	ctx context.Context
	h   host.Host
	etc map[string]fs.FileMode // what is in /etc
	err error
}

// dir lists a folder; one that is not there is empty.
func (g *gatherer) dir(path string) []host.Entry {
	if g.err != nil {
		return nil
	}
	list, err := g.h.ReadDir(g.ctx, path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		g.err = fmt.Errorf("list %s: %w", path, err)
	}
	return list
}

// read reads a file; nil where there is none.
func (g *gatherer) read(path string) []byte {
	if g.err != nil {
		return nil
	}
	f, err := g.h.ReadFile(g.ctx, path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		g.err = fmt.Errorf("read %s: %w", path, err)
		return nil
	case f.Data == nil:
		return []byte{}
	}
	return f.Data
}

func (g *gatherer) has(name string) bool {
	_, ok := g.etc[name]
	return ok
}

// boot finds out what is read at boot. A machine of which only /etc is seen,
// or not even that, is judged by its release.
func (g *gatherer) boot(f *Facts, d inventory.Desired) {
	switch {
	case g.has("systemd"):
		f.Systemd = true
	case g.initdefault(): // System V's init, upstart; systemd's inittab is a comment
	default:
		f.Systemd = !host.Older(f.Release, 3, 0, 0)
	}
	switch {
	case g.has("modules-load.d"):
		f.ModulesD = true
	case !f.Systemd:
	default:
		// A tree that says nothing else and has the older folder is older
		// than its release claims.
		f.ModulesD = d.Release != "" || g.has("systemd") || !g.folder("/etc/sysconfig", "modules")
	}
	f.SysctlD = g.sysctlD(f, d)
	if f.SysctlD {
		g.later(f)
	}
}

// initdefault says whether /etc/inittab names a runlevel.
func (g *gatherer) initdefault() bool {
	if !g.has("inittab") {
		return false
	}
	for line := range strings.Lines(string(g.read("/etc/inittab"))) {
		if !strings.HasPrefix(line, "#") && strings.Contains(line, ":initdefault:") {
			return true
		}
	}
	return false
}

func (g *gatherer) folder(dir, name string) bool {
	for _, e := range g.dir(dir) {
		if e.Name == name {
			return true
		}
	}
	return false
}

// sysctlD says whether /etc/sysctl.d is read. systemd reads it; initscripts do
// since Fedora 12 or so, as the text of their functions shows, or, where that
// cannot be seen, the release (Fedora Core 5: 2.6.15, no; Enterprise Linux 6:
// 2.6.32, yes).
func (g *gatherer) sysctlD(f *Facts, d inventory.Desired) bool {
	if !f.Systemd {
		text := g.read("/etc/rc.d/init.d/functions")
		if text == nil {
			text = g.read("/etc/init.d/functions")
		}
		switch {
		case strings.Contains(string(text), "sysctl.d"):
		case strings.Contains(string(text), "sysctl"), host.Older(f.Release, 2, 6, 32):
			return false
		}
	}
	// A tree without the folder, of a release that nobody named, gets its
	// settings in the file that every era reads.
	return g.has("sysctl.d") || d.Release != "" || len(g.etc) == 0
}

// later reads the files that come after ours by name. systemd-sysctl merges
// four folders; the file of one name counts in the first that has it.
func (g *gatherer) later(f *Facts) {
	ours := sysctlFile[strings.LastIndexByte(sysctlFile, '/')+1:]
	folders := []string{"/etc/sysctl.d"}
	if f.Systemd {
		folders = append(folders, "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d")
	}
	seen := map[string]bool{}
	for _, dir := range folders {
		for _, e := range g.dir(dir) {
			if e.Name <= ours || seen[e.Name] || e.Mode.IsDir() || ifcfg.Ignored(e.Name) || f.Systemd && !strings.HasSuffix(e.Name, ".conf") {
				continue
			}
			seen[e.Name] = true
			path := dir + "/" + e.Name
			for _, s := range parseSysctl(g.read(path)) {
				f.Later = append(f.Later, Assignment{path, s.key, s.value})
			}
		}
	}
}

// network finds out who configures the network at boot, and what shows it.
func (g *gatherer) network() (name, evidence string, off bool) {
	manager := ""
	links := 0
	others := "" // a service that is enabled, and neither the network nor ours
	for _, dir := range []string{"/etc/rc.d/rc3.d", "/etc/rc.d/rc5.d", "/etc/rc3.d", "/etc/rc5.d"} {
		if under, _, _ := strings.Cut(strings.TrimPrefix(dir, "/etc/"), "/"); !g.has(under) {
			continue
		}
		for _, e := range g.dir(dir) {
			links++
			switch {
			case ifcfg.IsLink(e.Name, "network"):
				return "ifcfg", dir + "/" + e.Name, false
			case ifcfg.IsLink(e.Name, "NetworkManager"):
				manager = dir + "/" + e.Name
			}
			if e.Name != "README" && !strings.HasSuffix(e.Name, "ipvsadm") {
				others = dir
			}
		}
	}
	if mode, ok := g.etc["sysconfig"]; ok && mode.IsDir() {
		for _, e := range g.dir("/etc/sysconfig") {
			if e.Name == "network" && e.Mode.IsDir() { // SUSE's folder, where Red Hat has a file
				return "wicked", ifcfg.NetworkFile + " is a folder", false
			}
		}
	}
	wants := map[string]string{}
	if g.has("systemd") {
		for _, target := range []string{"multi-user.target.wants", "network-online.target.wants", "sockets.target.wants"} {
			dir := "/etc/systemd/system/" + target
			for _, e := range g.dir(dir) {
				wants[e.Name] = dir + "/" + e.Name
				if e.Name != "ipvsadm.service" {
					others = dir
				}
			}
		}
	}
	if at := wants["network.service"]; at != "" {
		return "ifcfg", at, false
	}
	if g.has("netplan") {
		for _, e := range g.dir("/etc/netplan") {
			if strings.HasSuffix(e.Name, ".yaml") {
				return "netplan", "/etc/netplan/" + e.Name, false
			}
		}
	}
	for _, unit := range []string{"systemd-networkd.service", "systemd-networkd.socket"} {
		if at := wants[unit]; at != "" {
			return "networkd", at, false
		}
	}
	if at := wants["NetworkManager.service"]; at != "" && manager == "" {
		manager = at
	}
	switch {
	case manager != "":
		return "networkmanager", manager, false
	case g.has("network"):
		for _, e := range g.dir("/etc/network") {
			if e.Name == "interfaces" {
				return "ifupdown", "/etc/network/interfaces", false
			}
		}
	}
	if links > 0 && g.folder("/etc/rc.d/init.d", "network") {
		return "ifcfg", "/etc/rc.d/init.d/network has no start link", true
	}
	if others != "" {
		return "ifcfg", others + " has other services", true
	}
	if g.has("debian_version") {
		return "ifcfg", "/etc/debian_version: it is Debian's, or made from it", true
	}
	return "ifcfg", "", false // what is not seen is the system's default
}
