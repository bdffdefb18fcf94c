// Package earlier holds what builds before this one left on hosts and on a
// controller: journals, ledgers, histories. Tests ask this build to go on with
// it. testdata/generate says how it came about.
package earlier

import (
	"bytes"
	"compress/gzip"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/inventory/hclfile"
)

//go:embed testdata/*.gz testdata/*.hcl
var data embed.FS

// The runs of the fixtures that end in one host's transaction: First has made
// the host what its site says, Second is the one behind it.
const (
	First  = "20260101T000000Z-aaaaaa"
	Second = "20260102T000000Z-bbbbbb"
)

// A Fixture is what was left on one host.
type Fixture struct {
	Site string `json:"site"`
	Host string `json:"host"`
	// State says what the last transaction had come to: "committed"; "undone";
	// "open", with all of its runtime part in force; "claimed", which is open,
	// and decided to be committed; "removing", "reverting", "withdrawn" and
	// "yielding" are open ones of Second. "watched" is a host of the site that
	// the controller's fixture is about.
	State string   `json:"state"`
	Agent bool     `json:"agent"` // its guard was an agent's, not a shell
	Files []File   `json:"files"` // what differs from a fresh machine
	Net   *sim.Net `json:"net"`   // the kernel's state
}

// A File is one that was left.
type File struct {
	Path string      `json:"path"`
	Gone bool        `json:"gone,omitempty"` // it was taken away
	Mode fs.FileMode `json:"mode,omitempty"`
	UID  int         `json:"uid,omitempty"`
	GID  int         `json:"gid,omitempty"`
	Data string      `json:"data,omitempty"`
	Raw  []byte      `json:"raw,omitempty"` // of the controller's
}

func (f Fixture) String() string {
	guard := "sh"
	if f.Agent {
		guard = "agent"
	}
	return fmt.Sprintf("%s/%s/%s/%s", f.Site, f.Host, f.State, guard)
}

func read(name string, v any) error {
	packed, err := data.ReadFile("testdata/" + name)
	if err != nil {
		return err
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	if err := json.NewDecoder(z).Decode(v); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

// Hosts gives the fixtures of a set: "dr", "nat", "tun", "eras" (sites of which each
// host was left in several states) or "watched".
func Hosts(set string) ([]Fixture, error) {
	var list []Fixture
	err := read(set+".json.gz", &list)
	return list, err
}

// Site is one of the sites "dr", "nat", "tun" and "eras".
func Site(name string) (*inventory.Site, error) {
	dir, err := os.MkdirTemp("", "site")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "site.hcl")
	if err := WriteSite(name, path); err != nil {
		return nil, err
	}
	r := hclfile.Load(path, hclfile.Input{})
	if r.Site == nil {
		return nil, fmt.Errorf("load the site %s: %v", name, r.Diags)
	}
	return r.Site, nil
}

// WriteSite writes the inventory of a site to a file.
func WriteSite(name, path string) error {
	text, err := data.ReadFile("testdata/" + name + ".hcl")
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}

// Restore makes a fresh machine the one that was left. Who ran there has ended,
// and no process that comes has its number.
func (f Fixture) Restore(m *sim.Machine) {
	for range 100 {
		m.NewSession().End()
	}
	m.Locked(func() {
		for _, n := range f.Files {
			if n.Gone {
				_ = m.FS.Remove(n.Path) // it may have gone with its folder
				continue
			}
			m.FS.Put(n.Path, n.Mode, n.Data)
			if n.UID != 0 || n.GID != 0 {
				if err := m.FS.Chown(n.Path, n.UID, n.GID); err != nil {
					panic(fmt.Sprintf("%s: %s: %v", f, n.Path, err)) // it was put there
				}
			}
		}
		*m.Net = *f.Net
	})
}

// Controller writes the state folder of the controller of the watched hosts.
func Controller(dir string) error {
	var files []File
	if err := read("controller.json.gz", &files); err != nil {
		return err
	}
	for _, f := range files {
		path := filepath.Join(dir, filepath.FromSlash(f.Path))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, f.Raw, 0o600); err != nil {
			return err
		}
	}
	return nil
}
