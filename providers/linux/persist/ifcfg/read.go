// Package ifcfg is the dialect of Red Hat's initscripts (Fedora Core 5 to the
// network-scripts package of today): ifcfg files, and /etc/sysconfig/network.
package ifcfg

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"

	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/linux/persist"
	"github.com/lvsfleet/lvsfleet/providers/note"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// Dialect is the dialect of initscripts.
type Dialect struct{}

// Name is "ifcfg".
func (Dialect) Name() string { return "ifcfg" }

// Detect looks for the network service's start link. Each interface that a
// file names comes up with it.
func (d Dialect) Detect(ctx context.Context, h host.Host, m persist.Machine) (persist.Detection, error) {
	at, err := service(ctx, h)
	if err != nil || at == "" {
		return persist.Detection{}, err
	}
	det := persist.Detection{Manager: at, Interfaces: map[string]persist.Claim{}}
	f, err := read(ctx, h, m)
	if err != nil {
		return det, err
	}
	for _, c := range f.files {
		if dev := persist.Device(c.dev); dev != "lo" && det.Interfaces[dev].Evidence == "" {
			det.Interfaces[dev] = persist.Claim{Evidence: c.path()}
		}
	}
	return det, nil
}

// service finds what starts the network service; "" nothing.
func service(ctx context.Context, h host.Reader) (string, error) {
	for _, dir := range []string{"/etc/rc.d/rc3.d", "/etc/rc.d/rc5.d", "/etc/rc3.d", "/etc/rc5.d", "/etc/systemd/system/multi-user.target.wants"} {
		entries, err := list(ctx, h, dir)
		if err != nil {
			return "", err
		}
		for _, e := range entries {
			if IsLink(e.Name, "network") || e.Name == "network.service" {
				return dir + "/" + e.Name, nil
			}
		}
	}
	return "", nil
}

// IsLink recognises a start link of System V's init: S, two digits, the name.
func IsLink(entry, service string) bool {
	rest, ok := strings.CutPrefix(entry, "S")
	return ok && len(rest) > 2 && rest[0] >= '0' && rest[0] <= '9' && rest[1] >= '0' && rest[1] <= '9' && rest[2:] == service
}

// Read reads the files.
func (Dialect) Read(ctx context.Context, h host.Host, m persist.Machine) (persist.Files, error) {
	f, err := read(ctx, h, m)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Files are the files of initscripts.
type Files struct {
	release string
	files   []file   // sorted by name; those that initscripts ignore are left out
	routes  []string // route-* files beside them that set a default route
	network []byte   // NetworkFile; nil: not there
}

var _ persist.Native = &Files{}

func read(ctx context.Context, h host.Reader, m persist.Machine) (*Files, error) {
	f := &Files{release: m.Release}
	entries, err := list(ctx, h, Folder)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		switch name, ok := fileName(e); {
		case ok:
			text, err := content(ctx, h, scripts+e.Name)
			if err != nil {
				return nil, err
			}
			f.files = append(f.files, parse(name, text, m))
		case strings.HasPrefix(e.Name, "route-") && !Ignored(e.Name):
			text, err := content(ctx, h, scripts+e.Name)
			if err != nil {
				return nil, err
			}
			for line := range strings.Lines(string(text)) {
				if w := strings.Fields(line); len(w) > 0 && (w[0] == "default" || w[0] == "0.0.0.0/0") {
					f.routes = append(f.routes, scripts+e.Name)
					break
				}
			}
		}
	}
	slices.SortFunc(f.files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	// Where something else has the network the name may be a folder's.
	entries, err = list(ctx, h, "/etc/sysconfig")
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(entries, func(e host.Entry) bool { return scriptsOf(e) }) {
		if f.network, err = content(ctx, h, NetworkFile); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// scriptsOf says whether the entry of /etc/sysconfig is NetworkFile.
func scriptsOf(e host.Entry) bool { return e.Name == "network" && !e.Mode.IsDir() }

// list lists a folder; one that is not there is empty.
func list(ctx context.Context, h host.Reader, dir string) ([]host.Entry, error) {
	entries, err := h.ReadDir(ctx, dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}
	return entries, nil
}

// content reads a file; nil where there is none.
func content(ctx context.Context, h host.Reader, path string) ([]byte, error) {
	f, err := h.ReadFile(ctx, path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", path, err)
	case f.Data == nil:
		return []byte{}, nil
	}
	return f.Data, nil
}

// fileName is the name of the device, or of its alias, that an entry of the
// scripts' folder is the file of.
func fileName(e host.Entry) (name string, ok bool) {
	name, ok = strings.CutPrefix(e.Name, "ifcfg-")
	return name, ok && name != "" && !Ignored(name) && !e.Mode.IsDir()
}

// Ignored are the names that initscripts pass over (network-functions,
// is_ignored_file; the network script's own list).
func Ignored(name string) bool {
	for _, end := range []string{"~", ".bak", ".orig", ".rpmnew", ".rpmorig", ".rpmsave", ".swp", ".old", ".tmp", ".cfsaved"} {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	return false
}

// Addresses are the IPv4 addresses of the files.
func (f *Files) Addresses() []persist.Address {
	var list []persist.Address
	for _, c := range f.files {
		for _, a := range c.addrs {
			at := persist.Address{Addr: a.addr, Bits: a.bits, Dev: persist.Device(c.dev), Label: c.dev, File: c.path()}
			if a.slot != "" {
				at.Label = at.Dev // IPADDRn has its device's label
			}
			list = append(list, at)
		}
	}
	return list
}

// Labels are the files' names, and the devices in them.
func (f *Files) Labels() []string {
	var list []string
	for _, c := range f.files {
		for _, label := range []string{c.dev, c.name} {
			if strings.Contains(label, ":") {
				list = append(list, label)
			}
		}
	}
	return list
}

// Takes is never so: an interface without a file stays as it is.
func (f *Files) Takes(string) (file string, wildcard, ok bool) { return "", false, false }

// Settings are none.
func (f *Files) Settings() []persist.Setting { return nil }

// Own names the interfaces' files, and NetworkFile.
func (f *Files) Own(devs []string) []string { return OwnFiles(devs) }

// OwnFiles names the files that give interfaces their own addresses at boot.
func OwnFiles(devs []string) []string {
	list := []string{NetworkFile}
	for _, dev := range devs {
		list = append(list, scripts+"ifcfg-"+dev)
	}
	return list
}

// Prepare refuses a file with which dev, the device of the ipip module, would
// not come up, and says whether there is one.
func (f *Files) Prepare(dev string, out *persist.Out) (there bool, err error) {
	for _, c := range f.files {
		if c.dev != dev {
			continue
		}
		there = true
		if s, _ := c.vars.get("TYPE"); s != "" && s != "Ethernet" {
			return true, step.Refuse("remove TYPE from it, or the file", "%s has TYPE=%s, with which the scripts refuse %s", c.path(), s, dev)
		}
		if s, ok := c.vars.get("ONBOOT"); ok && isNo(s) {
			out.Note(note.OnBootNo, c.path(), s)
		}
	}
	return there, nil
}

// Devices are the devices that have a file.
func (f *Files) Devices() []string {
	var list []string
	for _, c := range f.files {
		list = append(list, c.dev)
	}
	return list
}

// Tunnel finds the device of a tunnel with these ends; "" there is none.
func (f *Files) Tunnel(local, remote netip.Addr) string {
	dev := ""
	for _, c := range f.files {
		if tunnelFile(c.vars, local, remote) {
			dev = c.dev
		}
	}
	return dev
}

// A planner adds the boot steps of one machine.
type planner struct {
	f   *Files
	w   persist.Want
	out *persist.Out
}

// Plan writes everything: own addresses of an interface that has no file at
// all, gateways, VIPs of either kind, tunnels.
func (f *Files) Plan(w persist.Want, out *persist.Out) error {
	p := &planner{f: f, w: w, out: out}
	if err := p.own(); err != nil {
		return err
	}
	p.gateways()
	p.vips()
	p.tunnels()
	return nil
}

// Quiet finds an ifcfg file that puts an IPv4 address other than the
// loopback's own on loopback or a tunnel; "" there is none.
func Quiet(ctx context.Context, h host.Reader) (string, error) {
	entries, err := h.ReadDir(ctx, Folder)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("list %s: %w", scripts, err)
	}
	for _, e := range entries {
		label, ok := fileName(e)
		if !ok {
			continue
		}
		f, err := h.ReadFile(ctx, scripts+e.Name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a link to nowhere
		}
		if err != nil {
			return "", fmt.Errorf("read %s: %w", scripts+e.Name, err)
		}
		vars := parseShell(f.Data)
		dev, _ := vars.get("DEVICE")
		if dev == "" {
			dev = label
		}
		if dev = persist.Device(dev); dev != "lo" && !strings.HasPrefix(dev, "tunl") && !strings.HasPrefix(dev, "lvs") {
			continue
		}
		for _, v := range vars.vars {
			if !strings.HasPrefix(v.name, "IPADDR") && v.name != "MY_INNER_IPADDR" {
				continue
			}
			text, _, _ := strings.Cut(v.value, "/")
			if a, err := netip.ParseAddr(text); err == nil && a.Is4() && !a.IsLoopback() {
				return scripts + e.Name, nil
			}
		}
	}
	return "", nil
}
