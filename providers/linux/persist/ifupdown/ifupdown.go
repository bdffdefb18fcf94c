// Package ifupdown is the dialect of /etc/network/interfaces, which three
// programs read: ifupdown, ifupdown2 and ifupdown-ng.
package ifupdown

import (
	"context"
	"net"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/linux/persist"
	"github.com/lvsfleet/lvsfleet/providers/note"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// Dialect is the dialect of one of the programs: "ifupdown", "ifupdown2" or
// "ifupdown-ng".
type Dialect struct{ Program string }

// The programs.
const (
	Classic = "ifupdown"
	Two     = "ifupdown2"
	NG      = "ifupdown-ng"
)

// Main is the file that they all read.
const Main = "/etc/network/interfaces"

// Name is that of the program.
func (d Dialect) Name() string { return d.Program }

// program finds out which of them is on h; "" none.
func program(ctx context.Context, h host.Reader) (string, error) {
	entries, err := persist.List(ctx, h, "/etc/network")
	if err != nil {
		return "", err
	}
	there := func(name string) bool {
		return slices.ContainsFunc(entries, func(e host.Entry) bool { return e.Name == name })
	}
	switch {
	case !there("interfaces"):
		return "", nil
	case there("ifupdown2"):
		return Two, nil
	case there("ifupdown-ng.conf"):
		return NG, nil
	}
	return Classic, nil
}

// Detect looks whether this is the program of h, and which interfaces it
// brings up: those that its own state lists, or that the files bring up.
func (d Dialect) Detect(ctx context.Context, h host.Host, m persist.Machine) (persist.Detection, error) {
	is, err := program(ctx, h)
	if err != nil || is != d.Program {
		return persist.Detection{}, err
	}
	det := persist.Detection{Interfaces: map[string]persist.Claim{}}
	if det.Manager, err = persist.Starts(ctx, h, "networking.service"); err != nil {
		return det, err
	}
	if det.Manager == "" {
		entries, err := persist.List(ctx, h, "/etc/rcS.d")
		if err != nil {
			return det, err
		}
		for _, e := range entries {
			if strings.HasPrefix(e.Name, "S") && strings.HasSuffix(e.Name, "networking") {
				det.Manager = "/etc/rcS.d/" + e.Name
			}
		}
	}
	f, err := Read(ctx, h, d.Program)
	if err != nil {
		return det, err
	}
	for _, s := range f.stanzas {
		if dev := persist.Device(s.name); dev != "lo" && f.up(s.name) && s.method != "manual" && det.Interfaces[dev].Evidence == "" {
			det.Interfaces[dev] = persist.Claim{Evidence: s.file}
		}
	}
	for _, state := range []string{"/run/network/ifstate", "/run/ifstate"} {
		text, err := persist.Content(ctx, h, state)
		if err != nil {
			return det, err
		}
		for line := range strings.Lines(string(text)) { // "eth0=eth0", "eth0=eth0 1 explicit"
			dev, _, ok := strings.Cut(strings.TrimSpace(line), "=")
			if c, named := det.Interfaces[dev]; ok && named {
				c.Live = true
				det.Interfaces[dev] = c
			}
		}
	}
	return det, nil
}

// Read reads the files, if they are this program's.
func (d Dialect) Read(ctx context.Context, h host.Host, _ persist.Machine) (persist.Files, error) {
	is, err := program(ctx, h)
	if err != nil {
		return nil, err
	}
	if is != d.Program {
		return &Files{program: d.Program}, nil
	}
	f, err := Read(ctx, h, d.Program)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Files are the stanzas of all files.
type Files struct {
	program string
	stanzas []stanza
	auto    []string // patterns of interfaces that come up at boot, or when they appear
	seen    []string // files
}

// A stanza is an "iface".
type stanza struct {
	file    string
	name    string // "eth0", "lo:0"
	family  string // "inet", "inet6"
	method  string // "static", "loopback", "dhcp", ...
	options [][2]string
}

// Read reads Main and what it sources.
func Read(ctx context.Context, h host.Reader, program string) (*Files, error) {
	f := &Files{program: program}
	if err := f.read(ctx, h, Main, 0); err != nil {
		return nil, err
	}
	return f, nil
}

// deepest bounds files that source each other.
const deepest = 10

func (f *Files) read(ctx context.Context, h host.Reader, file string, depth int) error {
	if depth > deepest || slices.Contains(f.seen, file) {
		return nil
	}
	text, err := persist.Content(ctx, h, file)
	if err != nil || text == nil {
		return err
	}
	f.seen = append(f.seen, file)
	at := -1 // the stanza that options belong to
	for line := range strings.Lines(strings.ReplaceAll(string(text), "\\\n", " ")) {
		w := strings.Fields(line)
		if len(w) == 0 || w[0][0] == '#' {
			continue
		}
		switch {
		case w[0] == "auto" || strings.HasPrefix(w[0], "allow-"):
			at = -1
			if w[0] == "auto" || w[0] == "allow-auto" || w[0] == "allow-hotplug" {
				f.auto = append(f.auto, w[1:]...)
			}
		case w[0] == "iface" && len(w) > 1:
			s := stanza{file: file, name: w[1]}
			if len(w) > 3 {
				s.family, s.method = w[2], w[3]
			}
			f.stanzas = append(f.stanzas, s)
			at = len(f.stanzas) - 1
		case w[0] == "mapping" || w[0] == "no-auto-down" || w[0] == "no-scripts" || w[0] == "rename" || w[0] == "template":
			at = -1
		case (w[0] == "source" || w[0] == "source-directory") && len(w) > 1:
			at = -1
			for _, pattern := range w[1:] {
				if err := f.source(ctx, h, path.Join(path.Dir(file), pattern), pattern, w[0] == "source-directory", depth); err != nil {
					return err
				}
			}
		case at >= 0:
			f.stanzas[at].options = append(f.stanzas[at].options, [2]string{w[0], strings.Join(w[1:], " ")})
		}
	}
	return nil
}

// source reads what a line names. A folder gives only names of letters, digits,
// "_" and "-" (interfaces(5)).
func (f *Files) source(ctx context.Context, h host.Reader, full, said string, folder bool, depth int) error {
	if strings.HasPrefix(said, "/") {
		full = path.Clean(said)
	}
	dir, pattern := path.Dir(full), path.Base(full)
	if folder {
		dir, pattern = full, "*"
	}
	entries, err := persist.List(ctx, h, dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		ok, err := path.Match(pattern, e.Name)
		if err != nil || !ok || e.Mode.IsDir() || strings.HasPrefix(e.Name, ".") || folder && strings.Trim(e.Name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != "" {
			continue
		}
		if err := f.read(ctx, h, dir+"/"+e.Name, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// up says whether the interface comes up at boot.
func (f *Files) up(name string) bool {
	return name == "lo" || slices.ContainsFunc(f.auto, func(p string) bool {
		ok, err := path.Match(p, name)
		return ok && err == nil
	})
}

// addresses are those of a stanza: by "address", and by "up ip addr add".
func (f *Files) addresses(s stanza) []persist.Address {
	var out []persist.Address
	dev := persist.Device(s.name)
	mask := ""
	for _, o := range s.options {
		if o[0] == "netmask" {
			mask = o[1]
		}
	}
	for _, o := range s.options {
		switch o[0] {
		case "address":
			// The loopback's own method takes none, in ifupdown.
			if s.method == "loopback" && f.program == Classic || s.method == "dhcp" || s.method == "manual" {
				continue
			}
			if a, bits, ok := withMask(o[1], mask); ok {
				out = append(out, persist.Address{Addr: a, Bits: bits, Dev: dev, Label: s.name, File: s.file})
			}
		case "up", "post-up", "pre-up":
			if a, ok := added(strings.Fields(o[1])); ok {
				a.File = s.file
				out = append(out, a)
			}
		}
	}
	return out
}

func withMask(text, mask string) (netip.Addr, int, bool) {
	if p, err := netip.ParsePrefix(text); err == nil {
		return p.Addr(), p.Bits(), true
	}
	a, err := netip.ParseAddr(text)
	if err != nil {
		return a, 0, false
	}
	if n, err := strconv.Atoi(mask); err == nil && n >= 0 && n <= a.BitLen() {
		return a, n, true
	}
	if m, err := netip.ParseAddr(mask); err == nil && m.Is4() {
		if n, size := net.IPMask(m.AsSlice()).Size(); size == 32 {
			return a, n, true
		}
	}
	return a, -1, true
}

// added reads "ip addr add ADDR/LEN [label L] dev DEV".
func added(w []string) (persist.Address, bool) {
	if len(w) > 0 && path.Base(w[0]) == "ip" {
		w = w[1:]
	} else {
		return persist.Address{}, false
	}
	w = slices.DeleteFunc(slices.Clone(w), func(s string) bool { return s == "-4" || s == "-6" })
	if len(w) < 3 || w[0] != "a" && w[0] != "addr" && w[0] != "address" || w[1] != "add" && w[1] != "replace" {
		return persist.Address{}, false
	}
	a, bits, ok := withMask(w[2], "")
	if !ok {
		return persist.Address{}, false
	}
	if bits < 0 {
		bits = a.BitLen() // ip(8)
	}
	out := persist.Address{Addr: a, Bits: bits}
	for i := 3; i+1 < len(w); i++ {
		switch w[i] {
		case "dev":
			out.Dev = w[i+1]
		case "label":
			out.Label = w[i+1]
		}
	}
	if out.Label == "" {
		out.Label = out.Dev
	}
	return out, out.Dev != ""
}

// Addresses are those of stanzas that come up at boot.
func (f *Files) Addresses() []persist.Address {
	var out []persist.Address
	for _, s := range f.stanzas {
		if f.up(s.name) {
			out = append(out, f.addresses(s)...)
		}
	}
	return out
}

// Labels are the names with a colon.
func (f *Files) Labels() []string {
	var out []string
	add := func(label string) {
		if strings.Contains(label, ":") && !slices.Contains(out, label) {
			out = append(out, label)
		}
	}
	for _, s := range f.stanzas {
		add(s.name)
		for _, a := range f.addresses(s) {
			add(a.Label)
		}
	}
	return out
}

// Takes is never so: what is up stays as it is.
func (f *Files) Takes(string) (file string, wildcard, ok bool) { return "", false, false }

// Settings are the kernel settings of "up sysctl -w KEY=VALUE".
func (f *Files) Settings() []persist.Setting {
	var out []persist.Setting
	for _, s := range f.stanzas {
		for _, o := range s.options {
			w := strings.Fields(o[1])
			if o[0] != "up" && o[0] != "pre-up" && o[0] != "post-up" || len(w) < 2 || path.Base(w[0]) != "sysctl" || !f.up(s.name) {
				continue
			}
			for _, word := range w[1:] {
				if key, value, ok := strings.Cut(word, "="); ok {
					out = append(out, persist.Setting{Key: key, Value: value, File: s.file})
				}
			}
		}
	}
	return out
}

// Own are the files of the interfaces' stanzas.
func (f *Files) Own(devs []string) []string {
	var out []string
	for _, s := range f.stanzas {
		if slices.Contains(devs, s.name) && !slices.Contains(out, s.file) {
			out = append(out, s.file)
		}
	}
	return out
}

// Plan compares the own addresses.
func (f *Files) Plan(w persist.Want, out *persist.Out) error {
	for _, i := range w.Interfaces {
		var have []netip.Prefix
		file, dynamic := "", false
		for _, s := range f.stanzas {
			if persist.Device(s.name) != i.Device || !f.up(s.name) {
				continue
			}
			if file == "" {
				file = s.file
			}
			dynamic = dynamic || s.method == "dhcp" || s.method == "auto"
			for _, a := range f.addresses(s) {
				if a.Dev != i.Device {
					continue
				}
				bits := a.Bits
				if k := slices.IndexFunc(i.Addresses, func(p netip.Prefix) bool { return p.Addr() == a.Addr }); bits < 0 && k >= 0 {
					bits = i.Addresses[k].Bits() // the class of the address, which is not ours to judge
				}
				have = append(have, netip.PrefixFrom(a.Addr, max(bits, 0)))
			}
		}
		if file == "" {
			out.Note(note.NoStanza, i.Device)
			continue
		}
		if err := persist.CompareOwn(i, file, have, dynamic, out); err != nil {
			return err
		}
	}
	if len(w.Gateways) > 0 || len(w.Director) > 0 {
		return step.Refuse("set it there by hand", "lvsfleet does not write routes and addresses of interfaces for %s", f.program)
	}
	return nil
}
