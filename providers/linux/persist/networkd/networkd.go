// Package networkd is the dialect of systemd-networkd: files NAME.network in
// /etc/systemd/network, /run and /usr/lib, with their drop-ins.
package networkd

import (
	"context"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"

	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/linux/persist"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// Dialect is the dialect of networkd.
type Dialect struct{}

// Name is "networkd".
func (Dialect) Name() string { return "networkd" }

// Folders are where networkd looks for files, the first that has a name wins
// (systemd.network(5)).
var Folders = []string{"/etc/systemd/network", "/run/systemd/network", "/usr/local/lib/systemd/network", "/usr/lib/systemd/network"}

// LoopbackFile keeps networkd off the loopback where a file of the operator's
// matches it among others. It sorts before theirs.
const LoopbackFile = "/etc/systemd/network/05-lvsfleet.network"

// Lost is why an address on the loopback in a file of networkd's is not to be
// relied on: 247 deletes all of lo, 127.0.0.1 too, at a reload after the file
// has changed; 257 deletes on lo what is in no file when it takes lo over; in
// between an address that is taken out stays (seen on Debian 11, 12 and 13).
const Lost = "systemd-networkd takes addresses of the loopback away at reloads and restarts, which of them depends on its version"

// Detect finds networkd's own start link, and the interfaces whose file it is.
// Files that netplan rendered are netplan's.
func (d Dialect) Detect(ctx context.Context, h host.Host, m persist.Machine) (persist.Detection, error) {
	at, err := persist.Starts(ctx, h, "systemd-networkd.service", "systemd-networkd.socket", "dbus-org.freedesktop.network1.service")
	if err != nil {
		return persist.Detection{}, err
	}
	f, err := Read(ctx, h, m)
	if err != nil {
		return persist.Detection{}, err
	}
	det := persist.Detection{Manager: at, Interfaces: map[string]persist.Claim{}}
	for _, dev := range f.devs {
		if file := f.of(dev); file != nil && dev != "lo" && !file.unmanaged() && !rendered(file.path) {
			det.Interfaces[dev] = persist.Claim{Evidence: file.path}
		}
	}
	if !m.Running || at == "" {
		return det, nil
	}
	// What networkd itself says of a link (private to it, the same from 247 to
	// 257): one that it leaves alone is nobody's by it.
	for _, l := range m.Links {
		text, err := persist.Content(ctx, h, fmt.Sprintf("/run/systemd/netif/links/%d", l.Index))
		if err != nil || text == nil || l.Index == 0 {
			if err != nil {
				return det, err
			}
			continue
		}
		state, file := "", ""
		for line := range strings.Lines(string(text)) {
			switch k, v, _ := strings.Cut(strings.TrimSpace(line), "="); k {
			case "ADMIN_STATE":
				state = v
			case "NETWORK_FILE":
				file = v
			}
		}
		switch {
		case l.Name == "lo":
		case state == "unmanaged" || file != "" && rendered(file):
			delete(det.Interfaces, l.Name)
		case file != "":
			det.Interfaces[l.Name] = persist.Claim{Evidence: file, Live: true}
		}
	}
	return det, nil
}

// rendered says whether netplan made the file.
func rendered(p string) bool {
	return strings.HasPrefix(p, "/run/") && strings.HasPrefix(path.Base(p), "10-netplan-")
}

// Read reads the files.
func (Dialect) Read(ctx context.Context, h host.Host, m persist.Machine) (persist.Files, error) {
	f, err := Read(ctx, h, m)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Files are the .network files, in the order in which they are tried.
type Files struct {
	list  []file
	links []persist.Link
	devs  []string // that there are, or that a file names
}

// A file is one of them with its drop-ins.
type file struct {
	path     string
	sections []persist.Section
}

// Read reads the files.
func Read(ctx context.Context, h host.Reader, m persist.Machine) (*Files, error) {
	f := &Files{links: m.Links}
	found := map[string]string{}      // by name
	dropIns := map[string]host.File{} // by path behind the folder
	var names, extra []string
	for _, dir := range Folders {
		entries, err := persist.List(ctx, h, dir)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			switch {
			case strings.HasSuffix(e.Name, ".network") && !e.Mode.IsDir():
				if found[e.Name] == "" {
					found[e.Name] = dir + "/" + e.Name
					names = append(names, e.Name)
				}
			case strings.HasSuffix(e.Name, ".network.d"):
				inside, err := persist.List(ctx, h, dir+"/"+e.Name)
				if err != nil {
					return nil, err
				}
				for _, i := range inside {
					key := e.Name + "/" + i.Name
					if _, there := dropIns[key]; there || !strings.HasSuffix(i.Name, ".conf") {
						continue
					}
					text, err := persist.Content(ctx, h, dir+"/"+key)
					if err != nil {
						return nil, err
					}
					dropIns[key] = host.File{Data: text}
					extra = append(extra, key)
				}
			}
		}
	}
	slices.Sort(names)
	slices.Sort(extra)
	for _, n := range names {
		text, err := persist.Content(ctx, h, found[n])
		if err != nil {
			return nil, err
		}
		one := file{found[n], persist.Sections(text)}
		if len(one.sections) == 0 { // empty, or a link to /dev/null: masked
			continue
		}
		for _, key := range extra {
			if strings.HasPrefix(key, n+".d/") {
				one.sections = append(one.sections, persist.Sections(dropIns[key].Data)...)
			}
		}
		f.list = append(f.list, one)
	}
	f.devs = []string{"lo"}
	add := func(dev string) {
		if dev != "" && !slices.Contains(f.devs, dev) {
			f.devs = append(f.devs, dev)
		}
	}
	for _, l := range m.Links {
		add(l.Name)
	}
	for _, one := range f.list {
		for _, w := range strings.Fields(persist.Get(one.sections, "Match", "Name")) {
			if !strings.ContainsAny(w, "*?[!") {
				add(w)
			}
		}
	}
	return f, nil
}

// of is the file that networkd takes for dev; nil none.
func (f *Files) of(dev string) *file {
	i := slices.IndexFunc(f.links, func(l persist.Link) bool { return l.Name == dev })
	link := persist.Link{Name: dev}
	if i >= 0 {
		link = f.links[i]
	}
	for k := range f.list {
		if f.list[k].matches(link) {
			return &f.list[k]
		}
	}
	return nil
}

// matches judges [Match] as far as a name, an Ethernet address and a type go.
// What else a file asks for it is taken to find: an interface that may be
// somebody's is not nobody's.
func (f file) matches(l persist.Link) bool {
	any := false
	for _, s := range f.sections {
		for _, k := range s.Keys {
			if s.Name != "Match" || k.Value == "" {
				continue
			}
			any = true
			switch k.Name {
			case "Name":
				if !globs(k.Value, l.Name) {
					return false
				}
			case "MACAddress", "PermanentMACAddress":
				if l.MAC == "" || !slices.Contains(strings.Fields(strings.ToLower(k.Value)), l.MAC) {
					return false
				}
			case "Type":
				kind := "ether"
				if l.Name == "lo" {
					kind = "loopback"
				} else if l.MAC == "" {
					continue // not known
				}
				if !globs(k.Value, kind) {
					return false
				}
			default:
				if l.Name == "lo" { // no path, no driver, no kind
					return false
				}
			}
		}
	}
	return any
}

// globs says whether one of the shell patterns of a list matches; with "!" at
// its beginning, that none does.
func globs(list, name string) bool {
	list, not := strings.CutPrefix(list, "!")
	for _, p := range strings.Fields(list) {
		if ok, err := path.Match(p, name); ok && err == nil {
			return !not
		}
	}
	return not
}

func (f file) unmanaged() bool { return yes(persist.Get(f.sections, "Link", "Unmanaged")) }

func yes(s string) bool {
	return slices.Contains([]string{"yes", "true", "on", "1", "y", "t"}, strings.ToLower(s))
}

// addresses are the static ones of the file.
func (f file) addresses() (list []netip.Prefix, labels map[netip.Prefix]string) {
	labels = map[netip.Prefix]string{}
	for _, s := range f.sections {
		label := ""
		var here []netip.Prefix
		for _, k := range s.Keys {
			switch {
			case (s.Name == "Network" || s.Name == "Address") && k.Name == "Address":
				p, err := netip.ParsePrefix(k.Value)
				if a, err2 := netip.ParseAddr(k.Value); err != nil && err2 == nil {
					p, err = netip.PrefixFrom(a, a.BitLen()), nil
				}
				if k.Value == "" {
					list, here = nil, nil
				} else if err == nil {
					here = append(here, p)
				}
			case s.Name == "Address" && k.Name == "Label":
				label = k.Value
			}
		}
		for _, p := range here {
			labels[p] = label
		}
		list = append(list, here...)
	}
	return list, labels
}

// Addresses are the static ones of every interface.
func (f *Files) Addresses() []persist.Address {
	var out []persist.Address
	for _, dev := range f.devs {
		one := f.of(dev)
		if one == nil || one.unmanaged() {
			continue
		}
		list, labels := one.addresses()
		for _, p := range list {
			a := persist.Address{Addr: p.Addr(), Bits: p.Bits(), Dev: dev, Label: dev, File: one.path}
			if l := labels[p]; l != "" {
				a.Label = l
			}
			if dev == "lo" {
				a.Lost = Lost
			}
			out = append(out, a)
		}
	}
	return out
}

// Labels are those of addresses.
func (f *Files) Labels() []string {
	var out []string
	for _, one := range f.list {
		for _, s := range one.sections {
			for _, k := range s.Keys {
				if s.Name == "Address" && k.Name == "Label" && k.Value != "" {
					out = append(out, k.Value)
				}
			}
		}
	}
	return out
}

// Takes tells of the file that matches dev.
func (f *Files) Takes(dev string) (name string, wildcard, ok bool) {
	one := f.of(dev)
	if one == nil || one.unmanaged() {
		return "", false, false
	}
	return one.path, persist.Get(one.sections, "Match", "Name") != dev, true
}

// Settings are none that concern silence.
func (f *Files) Settings() []persist.Setting { return nil }

// Own are the files of the interfaces.
func (f *Files) Own(devs []string) []string {
	var out []string
	for _, dev := range devs {
		if one := f.of(dev); one != nil && !slices.Contains(out, one.path) {
			out = append(out, one.path)
		}
	}
	return out
}

// Plan compares the own addresses, and keeps networkd's hands off what is on
// the loopback. It is not told of that: files that matter at a reload or a
// restart are read by it.
func (f *Files) Plan(w persist.Want, out *persist.Out) error {
	for _, i := range w.Interfaces {
		one := f.of(i.Device)
		if one == nil {
			continue
		}
		list, _ := one.addresses()
		dhcp := persist.Get(one.sections, "Network", "DHCP")
		dynamic := dhcp != "" && dhcp != "no" && dhcp != "false"
		if err := persist.CompareOwn(i, one.path, list, dynamic, out); err != nil {
			return err
		}
	}
	if len(w.Gateways) > 0 || len(w.Director) > 0 {
		return step.Refuse("set it there by hand", "lvsfleet does not write routes and addresses of interfaces for systemd-networkd")
	}
	return f.Loopback(w, out)
}

// Loopback keeps networkd off the loopback if w has addresses there.
func (f *Files) Loopback(w persist.Want, out *persist.Out) error {
	if !slices.ContainsFunc(w.Real, func(v persist.VIP) bool { return v.Dev == "lo" }) {
		return nil
	}
	name, wildcard, ok := f.Takes("lo")
	switch {
	case !ok:
		return nil
	case !wildcard: // the operator's own addresses would be gone with Unmanaged
		out.Edit(Folders[0]+"/"+path.Base(name)+".d/lvsfleet.conf", func([]byte) ([]byte, error) {
			return []byte(persist.Header + "what is on the loopback and in no file stays\n[Network]\nKeepConfiguration=yes\n"), nil
		})
		return nil
	case path.Base(name) < path.Base(LoopbackFile):
		return step.Refuse("give it a name that sorts behind "+path.Base(LoopbackFile), "%s matches the loopback among others, and systemd-networkd would take addresses away there", name)
	}
	out.Edit(LoopbackFile, func([]byte) ([]byte, error) {
		return []byte(persist.Header + "systemd-networkd leaves the loopback alone, which " + name + " matches too\n[Match]\nName=lo\n\n[Link]\nUnmanaged=yes\n"), nil
	})
	return nil
}
