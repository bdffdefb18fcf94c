// Package networkmanager is the dialect of NetworkManager's keyfiles.
package networkmanager

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/linux/persist"
	"github.com/lvsfleet/lvsfleet/providers/note"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// Dialect is the dialect of NetworkManager.
type Dialect struct{}

// Name is "networkmanager".
func (Dialect) Name() string { return "networkmanager" }

// Folder is where an administrator's keyfiles lie, of root's and mode 0600.
const Folder = "/etc/NetworkManager/system-connections"

// TunnelConf keeps NetworkManager off tunl0: 1.30 and 1.42 take one that is up
// for theirs and delete its addresses when they start, 1.42 at boot too (seen
// on Debian 11 and 12).
const TunnelConf = "/etc/NetworkManager/conf.d/90-lvsfleet.conf"

// Detect finds NetworkManager's start link and the interfaces of its profiles:
// those that are active by its own word, or by their files.
func (d Dialect) Detect(ctx context.Context, h host.Host, m persist.Machine) (persist.Detection, error) {
	at, err := persist.Starts(ctx, h, "NetworkManager.service")
	if err != nil {
		return persist.Detection{}, err
	}
	f, err := Read(ctx, h, m)
	if err != nil {
		return persist.Detection{}, err
	}
	det := persist.Detection{Manager: at, Interfaces: map[string]persist.Claim{}}
	for _, p := range f.list {
		if dev := p.device(m); dev != "" && dev != "lo" && p.auto() && det.Interfaces[dev].Evidence == "" {
			det.Interfaces[dev] = persist.Claim{Evidence: p.path}
		}
	}
	if !m.Running || at == "" {
		return det, nil
	}
	active, err := f.active(ctx, h)
	if err != nil {
		return det, err
	}
	for dev, file := range active {
		switch {
		case dev == "lo":
		case strings.Contains(file, "/netplan-"):
			delete(det.Interfaces, dev) // netplan's
		default:
			det.Interfaces[dev] = persist.Claim{Evidence: file, Live: true}
		}
	}
	return det, nil
}

// active asks NetworkManager for its active profiles, by interface. A profile
// in /run that only tells what somebody else has set up is none.
func (f *Files) active(ctx context.Context, h host.Host) (map[string]string, error) {
	res, err := host.Query(ctx, h, "nmcli", "-t", "-f", "DEVICE,FILENAME", "con", "show", "--active")
	var exit *host.ExitError
	if errors.As(err, &exit) {
		return nil, nil // it does not run, or is not here to be asked
	}
	if err != nil {
		return nil, fmt.Errorf("ask NetworkManager for its profiles: %w", err)
	}
	out := map[string]string{}
	for line := range strings.Lines(string(res.Stdout)) {
		dev, file, ok := strings.Cut(strings.TrimSpace(line), ":")
		file = strings.ReplaceAll(file, `\:`, ":")
		if !ok || dev == "" || file == "" {
			continue
		}
		if strings.HasPrefix(file, "/run/") {
			text, err := persist.Content(ctx, h, file)
			if err != nil {
				return nil, err
			}
			if persist.Get(persist.Sections(text), ".nmmeta", "external") == "true" {
				continue
			}
		}
		out[dev] = file
	}
	return out, nil
}

// Read reads the keyfiles.
func (Dialect) Read(ctx context.Context, h host.Host, m persist.Machine) (persist.Files, error) {
	f, err := Read(ctx, h, m)
	if err != nil {
		return nil, err
	}
	if m.Running {
		if f.starts, err = persist.Starts(ctx, h, "NetworkManager.service"); err != nil {
			return nil, err
		}
		if f.starts != "" {
			if f.byDevice, err = f.active(ctx, h); err != nil {
				return nil, err
			}
		}
	}
	return f, nil
}

// Files are the keyfiles.
type Files struct {
	m        persist.Machine
	list     []profile
	starts   string            // what starts NetworkManager
	byDevice map[string]string // files of active profiles
}

// A profile is one keyfile.
type profile struct {
	path     string
	sections []persist.Section
}

// Read reads the keyfiles.
func Read(ctx context.Context, h host.Reader, m persist.Machine) (*Files, error) {
	f := &Files{m: m}
	for _, dir := range []string{Folder, "/run/NetworkManager/system-connections", "/usr/lib/NetworkManager/system-connections"} {
		entries, err := persist.List(ctx, h, dir)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if !strings.HasSuffix(e.Name, ".nmconnection") || e.Mode.IsDir() || strings.HasPrefix(e.Name, "netplan-") {
				continue
			}
			text, err := persist.Content(ctx, h, dir+"/"+e.Name)
			if err != nil {
				return nil, err
			}
			p := profile{dir + "/" + e.Name, persist.Sections(text)}
			if persist.Get(p.sections, ".nmmeta", "external") != "true" {
				f.list = append(f.list, p)
			}
		}
	}
	return f, nil
}

// auto says whether the profile comes up at boot.
func (p profile) auto() bool {
	return persist.Get(p.sections, "connection", "autoconnect") != "false"
}

// device is the interface that the profile is for: by its name, or by its
// Ethernet address; "" any.
func (p profile) device(m persist.Machine) string {
	if dev := persist.Get(p.sections, "connection", "interface-name"); dev != "" {
		return dev
	}
	for _, section := range []string{"ethernet", "802-3-ethernet"} {
		mac := strings.ToLower(persist.Get(p.sections, section, "mac-address"))
		for _, l := range m.Links {
			if mac != "" && l.MAC == mac {
				return l.Name
			}
		}
	}
	return ""
}

// addresses are the static ones: "address1=A/24,GATEWAY".
func (p profile) addresses() []netip.Prefix {
	var list []netip.Prefix
	for _, s := range p.sections {
		if s.Name != "ipv4" && s.Name != "ipv6" {
			continue
		}
		for _, k := range s.Keys {
			if !strings.HasPrefix(k.Name, "address") || strings.Trim(k.Name[len("address"):], "0123456789es") != "" {
				continue
			}
			for part := range strings.SplitSeq(k.Value, ";") {
				text, _, _ := strings.Cut(part, ",")
				if p, err := netip.ParsePrefix(strings.TrimSpace(text)); err == nil {
					list = append(list, p)
				}
			}
		}
	}
	return list
}

// Addresses are the static ones of profiles that come up.
func (f *Files) Addresses() []persist.Address {
	var out []persist.Address
	for _, p := range f.list {
		dev := p.device(f.m)
		if dev == "" || !p.auto() {
			continue
		}
		for _, a := range p.addresses() {
			one := persist.Address{Addr: a.Addr(), Bits: a.Bits(), Dev: dev, Label: dev, File: p.path}
			if dev == "lo" {
				one.Lost = "NetworkManager before 1.42 does not load a profile of the loopback"
			}
			out = append(out, one)
		}
	}
	return out
}

// Labels are none: NetworkManager gives none.
func (f *Files) Labels() []string { return nil }

// Takes says that NetworkManager takes tunl0 for its own.
func (f *Files) Takes(dev string) (file string, wildcard, ok bool) {
	return f.starts, true, dev == persist.TunnelDevice
}

// Settings are none.
func (f *Files) Settings() []persist.Setting { return nil }

// of is the profile of an interface: the active one, else the first that comes
// up.
func (f *Files) of(dev string) *profile {
	var first *profile
	for i := range f.list {
		p := &f.list[i]
		if p.device(f.m) != dev || !p.auto() {
			continue
		}
		if f.byDevice[dev] == p.path {
			return p
		}
		if first == nil {
			first = p
		}
	}
	return first
}

// Own are the profiles of the interfaces.
func (f *Files) Own(devs []string) []string {
	var out []string
	for _, dev := range devs {
		if p := f.of(dev); p != nil {
			out = append(out, p.path)
		}
	}
	return out
}

// Plan compares the own addresses, and keeps NetworkManager off tunl0 where
// that has virtual addresses.
func (f *Files) Plan(w persist.Want, out *persist.Out) error {
	for _, i := range w.Interfaces {
		if err := f.compare(i, out); err != nil {
			return err
		}
	}
	if len(w.Gateways) > 0 || len(w.Director) > 0 {
		return step.Refuse("set it there by hand", "lvsfleet does not write routes and addresses of interfaces for NetworkManager")
	}
	if slices.ContainsFunc(w.Real, func(v persist.VIP) bool { return v.Dev == persist.TunnelDevice }) {
		conf := out.Edit(TunnelConf, func([]byte) ([]byte, error) {
			return []byte(persist.Header + "NetworkManager leaves the tunnel device alone\n[device-lvsfleet]\nmatch-device=interface-name:" + persist.TunnelDevice + "\nmanaged=0\n"), nil
		})
		if f.m.Running {
			conf.Notify = [][]string{{"nmcli", "general", "reload", "conf"}}
		}
	}
	return nil
}

func (f *Files) compare(i inventory.Interface, out *persist.Out) error {
	if file := f.byDevice[i.Device]; strings.HasPrefix(file, "/etc/sysconfig/network-scripts/") {
		return step.Refuse(`network = "none" in the host's block makes live settings only`,
			"%s is an ifcfg file that NetworkManager brings up (its plugin ifcfg-rh), which lvsfleet does not know well enough", file)
	}
	p := f.of(i.Device)
	if p == nil {
		out.Note(note.NoKeyfile, i.Device)
		return nil
	}
	method := persist.Get(p.sections, "ipv4", "method")
	return persist.CompareOwn(i, p.path, p.addresses(), method == "" || method == "auto", out)
}
