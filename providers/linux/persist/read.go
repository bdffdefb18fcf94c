package persist

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/note"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// List lists a folder; one that is not there is empty.
func List(ctx context.Context, h host.Reader, dir string) ([]host.Entry, error) {
	entries, err := h.ReadDir(ctx, dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}
	return entries, nil
}

// Content reads a file; nil where there is none.
func Content(ctx context.Context, h host.Reader, path string) ([]byte, error) {
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

// Starts finds the link by which systemd starts one of the units at boot; ""
// there is none. A unit that is masked is not started.
func Starts(ctx context.Context, h host.Reader, units ...string) (string, error) {
	const dir = "/etc/systemd/system"
	top, err := List(ctx, h, dir)
	if err != nil {
		return "", err
	}
	masked := func(unit string) bool {
		return slices.ContainsFunc(top, func(e host.Entry) bool { return e.Name == unit && e.Link == "/dev/null" })
	}
	for _, t := range top {
		if !strings.HasSuffix(t.Name, ".wants") {
			continue
		}
		entries, err := List(ctx, h, dir+"/"+t.Name)
		if err != nil {
			return "", err
		}
		for _, e := range entries {
			if slices.Contains(units, e.Name) && !masked(e.Name) {
				return dir + "/" + t.Name + "/" + e.Name, nil
			}
		}
	}
	return "", nil
}

// CompareOwn compares the addresses that the inventory gives an interface with
// those that its file brings up, have. With dynamic, addresses come by DHCP or
// from a router as well. Own addresses are never written over.
func CompareOwn(i inventory.Interface, file string, have []netip.Prefix, dynamic bool, out *Out) error {
	for _, want := range i.Addresses {
		if slices.Contains(have, want) {
			continue
		}
		var same []string
		wrong := false
		for _, p := range have {
			if p.Addr().Is6() == want.Addr().Is6() {
				same = append(same, p.String())
			}
			wrong = wrong || p.Addr() == want.Addr()
		}
		if wrong || len(same) > 0 && !dynamic {
			return step.Refuse("correct the inventory, or the file: own addresses are not rewritten",
				"%s gives %s the address %s, the inventory %s", file, i.Device, strings.Join(same, ", "), want)
		}
		out.Note(note.AddressNotInFile, file, want, i.Device)
	}
	return nil
}

// Section is a part of a file of the form that units and keyfiles have:
// "[Name]" and lines "Key=Value".
type Section struct {
	Name string
	Keys []Key
}

// A Key is one assignment.
type Key struct{ Name, Value string }

// Sections reads such a file. Comments begin with "#" or ";"; a line that ends
// with a backslash goes on (systemd.syntax(7)).
func Sections(text []byte) []Section {
	var list []Section
	text = bytes.ReplaceAll(text, []byte("\\\n"), []byte(" "))
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
		case line[0] == '[' && line[len(line)-1] == ']':
			list = append(list, Section{Name: line[1 : len(line)-1]})
		default:
			name, value, ok := strings.Cut(line, "=")
			if !ok || len(list) == 0 {
				continue
			}
			s := &list[len(list)-1]
			s.Keys = append(s.Keys, Key{strings.TrimSpace(name), strings.TrimSpace(value)})
		}
	}
	return list
}

// Get gives the last value of a key in the sections of a name; "" there is none.
func Get(list []Section, section, key string) string {
	value := ""
	for _, s := range list {
		for _, k := range s.Keys {
			if s.Name == section && k.Name == key {
				value = k.Value
			}
		}
	}
	return value
}
