// Package netplan is the dialect of netplan: YAML in /etc/netplan, from which
// files of networkd or NetworkManager are rendered.
package netplan

import (
	"context"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/linux/persist"
	"github.com/lvsfleet/lvsfleet/providers/linux/persist/networkd"
	"github.com/lvsfleet/lvsfleet/providers/note"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// Dialect is the dialect of netplan.
type Dialect struct{}

// Name is "netplan".
func (Dialect) Name() string { return "netplan" }

// Folders are where netplan looks; of one name the first counts, and all are
// merged in the order of their names (netplan-generate(8)).
var Folders = []string{"/etc/netplan", "/run/netplan", "/lib/netplan"}

// Detect finds the files, and the interfaces that they name.
func (d Dialect) Detect(ctx context.Context, h host.Host, m persist.Machine) (persist.Detection, error) {
	f, err := Read(ctx, h, m)
	if err != nil || len(f.list) == 0 {
		return persist.Detection{}, err
	}
	det := persist.Detection{Manager: f.list[0], Interfaces: map[string]persist.Claim{}}
	for _, i := range f.interfaces {
		if i.dev != "lo" {
			// The managers under it say that it is so: they do not claim it.
			det.Interfaces[i.dev] = persist.Claim{Evidence: i.file}
		}
	}
	return det, nil
}

// Read reads the files.
func (Dialect) Read(ctx context.Context, h host.Host, m persist.Machine) (persist.Files, error) {
	f, err := Read(ctx, h, m)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Files are what the YAML says.
type Files struct {
	list       []string // files, in the order in which they are merged
	bad        string   // why one of them cannot be read; "" all can
	interfaces []iface
	under      *networkd.Files // what networkd is given besides; nil: nothing is rendered for it
}

// An iface is what all files say of one interface.
type iface struct {
	dev     string
	file    string // the first that names it
	addrs   []address
	dynamic bool
	manager string // the renderer
}

type address struct {
	netip.Prefix
	label, file string
}

// Read reads the files.
func Read(ctx context.Context, h host.Reader, m persist.Machine) (*Files, error) {
	f := &Files{}
	found := map[string]string{}
	var names []string
	for _, dir := range Folders {
		entries, err := persist.List(ctx, h, dir)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if strings.HasSuffix(e.Name, ".yaml") && !e.Mode.IsDir() && found[e.Name] == "" {
				found[e.Name] = dir + "/" + e.Name
				names = append(names, e.Name)
			}
		}
	}
	slices.Sort(names)
	renderer := "networkd"
	for _, n := range names {
		file := found[n]
		f.list = append(f.list, file)
		text, err := persist.Content(ctx, h, file)
		if err != nil {
			return nil, err
		}
		var doc document
		if err := yaml.Unmarshal(text, &doc); err != nil {
			if f.bad == "" {
				f.bad = fmt.Sprintf("%s: %v", file, err)
			}
			continue
		}
		if doc.Network.Renderer != "" {
			renderer = doc.Network.Renderer
		}
		for _, kind := range []map[string]definition{doc.Network.Ethernets, doc.Network.Bonds, doc.Network.Bridges, doc.Network.VLANs,
			doc.Network.Dummies, doc.Network.Tunnels, doc.Network.VRFs} {
			ids := make([]string, 0, len(kind))
			for id := range kind {
				ids = append(ids, id)
			}
			slices.Sort(ids)
			for _, id := range ids {
				f.add(file, id, kind[id], m)
			}
		}
	}
	networkdToo := false
	for i := range f.interfaces {
		if f.interfaces[i].manager == "" {
			f.interfaces[i].manager = renderer
		}
		networkdToo = networkdToo || f.interfaces[i].manager == "networkd"
	}
	if networkdToo {
		var err error
		if f.under, err = networkd.Read(ctx, h, m); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// A document is what is read of a file.
type document struct {
	Network struct {
		Renderer  string                `yaml:"renderer"`
		Ethernets map[string]definition `yaml:"ethernets"`
		Bonds     map[string]definition `yaml:"bonds"`
		Bridges   map[string]definition `yaml:"bridges"`
		VLANs     map[string]definition `yaml:"vlans"`
		Dummies   map[string]definition `yaml:"dummy-devices"`
		Tunnels   map[string]definition `yaml:"tunnels"`
		VRFs      map[string]definition `yaml:"vrfs"`
	} `yaml:"network"`
}

type definition struct {
	Renderer string `yaml:"renderer"`
	Match    struct {
		Name string `yaml:"name"`
		MAC  string `yaml:"macaddress"`
	} `yaml:"match"`
	SetName   string      `yaml:"set-name"`
	Addresses []yaml.Node `yaml:"addresses"`
	DHCP4     yaml.Node   `yaml:"dhcp4"`
	DHCP6     yaml.Node   `yaml:"dhcp6"`
}

// add merges what a file says of one definition: lists are joined, all else is
// taken from the later one.
func (f *Files) add(file, id string, d definition, m persist.Machine) {
	devs := []string{id}
	switch {
	case d.SetName != "":
		devs = []string{d.SetName}
	case d.Match.Name != "" || d.Match.MAC != "":
		devs = nil
		for _, l := range m.Links {
			ok, err := path.Match(d.Match.Name, l.Name)
			if (d.Match.Name == "" || ok && err == nil) && (d.Match.MAC == "" || strings.EqualFold(d.Match.MAC, l.MAC)) {
				devs = append(devs, l.Name)
			}
		}
		if len(devs) == 0 && d.Match.Name != "" && !strings.ContainsAny(d.Match.Name, "*?[") {
			devs = []string{d.Match.Name}
		}
	}
	for _, dev := range devs {
		k := slices.IndexFunc(f.interfaces, func(i iface) bool { return i.dev == dev })
		if k < 0 {
			f.interfaces = append(f.interfaces, iface{dev: dev, file: file})
			k = len(f.interfaces) - 1
		}
		i := &f.interfaces[k]
		if d.Renderer != "" {
			i.manager = d.Renderer
		}
		i.dynamic = i.dynamic || yes(d.DHCP4.Value) || yes(d.DHCP6.Value)
		for _, n := range d.Addresses {
			text, label := n.Value, ""
			if n.Kind == yaml.MappingNode && len(n.Content) == 2 { // {"192.0.2.1/24": {label: "eth0:1"}}
				text = n.Content[0].Value
				var more struct {
					Label string `yaml:"label"`
				}
				if err := n.Content[1].Decode(&more); err == nil {
					label = more.Label
				}
			}
			if p, err := netip.ParsePrefix(text); err == nil {
				i.addrs = append(i.addrs, address{p, label, file})
			}
		}
	}
}

func yes(s string) bool {
	return slices.Contains([]string{"true", "yes", "on", "y"}, strings.ToLower(s))
}

// Addresses are the static ones.
func (f *Files) Addresses() []persist.Address {
	var out []persist.Address
	for _, i := range f.interfaces {
		for _, a := range i.addrs {
			one := persist.Address{Addr: a.Addr(), Bits: a.Bits(), Dev: i.dev, Label: i.dev, File: a.file}
			if a.label != "" {
				one.Label = a.label
			}
			switch {
			case i.dev != "lo":
			case i.manager == "NetworkManager":
				// Rendered as a profile for Ethernet (seen with 0.106 and 1.1.2).
				one.Lost = "NetworkManager never brings it up, and `netplan apply` deletes 127.0.0.1"
			default:
				one.Lost = networkd.Lost
			}
			out = append(out, one)
		}
	}
	return out
}

// Labels are those of addresses.
func (f *Files) Labels() []string {
	var out []string
	for _, i := range f.interfaces {
		for _, a := range i.addrs {
			if a.label != "" {
				out = append(out, a.label)
			}
		}
	}
	return out
}

// Takes tells of the file that names dev.
func (f *Files) Takes(dev string) (file string, wildcard, ok bool) {
	for _, i := range f.interfaces {
		if i.dev == dev {
			return i.file, false, true
		}
	}
	return "", false, false
}

// Settings are none.
func (f *Files) Settings() []persist.Setting { return nil }

// Own are the files that name the interfaces.
func (f *Files) Own(devs []string) []string {
	var out []string
	for _, i := range f.interfaces {
		if slices.Contains(devs, i.dev) && !slices.Contains(out, i.file) {
			out = append(out, i.file)
		}
	}
	return out
}

// Plan compares the own addresses, and keeps what renders for off the loopback.
func (f *Files) Plan(w persist.Want, out *persist.Out) error {
	if f.bad != "" {
		return step.Refuse("mend it: netplan renders nothing at all at the next boot", "%s", f.bad)
	}
	for _, i := range w.Interfaces {
		k := slices.IndexFunc(f.interfaces, func(have iface) bool { return have.dev == i.Device })
		if k < 0 {
			out.Note(note.NoNetplanFile, i.Device)
			continue
		}
		var have []netip.Prefix
		for _, a := range f.interfaces[k].addrs {
			have = append(have, a.Prefix)
		}
		if err := persist.CompareOwn(i, f.interfaces[k].file, have, f.interfaces[k].dynamic, out); err != nil {
			return err
		}
	}
	if len(w.Gateways) > 0 || len(w.Director) > 0 {
		return step.Refuse("set it there by hand", "lvsfleet does not write routes and addresses of interfaces for netplan")
	}
	// No host with this renderer was booted yet with a VIP of lvsfleet's.
	for _, i := range w.Interfaces {
		if slices.ContainsFunc(f.interfaces, func(have iface) bool { return have.dev == i.Device && have.manager == "NetworkManager" }) && len(w.Real) > 0 {
			return step.Refuse(`use the renderer networkd, or network = "none" for live settings only`,
				"netplan renders %s for NetworkManager, which lvsfleet does not set up virtual addresses beside yet", i.Device)
		}
	}
	onLo := slices.ContainsFunc(w.Real, func(v persist.VIP) bool { return v.Dev == "lo" })
	for _, i := range f.interfaces {
		if onLo && i.dev == "lo" && i.manager == "NetworkManager" {
			return step.Refuse("take lo out there", "%s has lo with the renderer NetworkManager: `netplan apply` deletes every address of it, 127.0.0.1 too", i.file)
		}
	}
	if f.under != nil {
		return f.under.Loopback(w, out)
	}
	return nil
}
