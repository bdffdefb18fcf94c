package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"maps"

	"github.com/lvsfleet/lvsfleet/providers/host"
)

// A Config says how to reach the hosts of a lab. It overrides every ssh and
// connection setting of the site, so that nothing leaves the lab.
type Config struct {
	Hosts        map[string]Endpoint `json:"hosts"`
	IdentityFile string              `json:"identity_file"` // absolute
	KnownHosts   string              `json:"known_hosts"`   // absolute
}

// An Endpoint is where a host's SSH server listens.
type Endpoint struct {
	Address string `json:"address"`
	Port    int    `json:"port"`
	User    string `json:"user"`
}

// The files of a lab's folder.
const (
	configFile    = "lab.json"
	sshConfigFile = "ssh_config" // written last: when it is there, the lab is ready
	identityFile  = "id_ed25519"
	knownFile     = "known_hosts"
	lockFile      = "lab.lock" // held while the lab runs; the file stays
)

// Open reads how to reach the lab whose folder is dir. A lab that is not
// ready, or was stopped, is an error that says so.
func Open(dir string) (Config, error) {
	if _, err := os.Stat(filepath.Join(dir, sshConfigFile)); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return Config{}, fmt.Errorf("open lab %s: no lab runs there: start it with `lvsfleet lab SITE --dir %s`", dir, dir)
		}
		return Config{}, fmt.Errorf("open lab %s: %w", dir, err)
	}
	text, err := os.ReadFile(filepath.Join(dir, configFile))
	if err != nil {
		return Config{}, fmt.Errorf("open lab %s: %w", dir, err)
	}
	var c Config
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return Config{}, fmt.Errorf("open lab %s: read %s: %w", dir, configFile, err)
	}
	return c, nil
}

// write makes the folder's files; ssh_config is last and whole at once.
func (c Config) write(dir string, identity, known []byte) error {
	text, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", configFile, err)
	}
	for _, f := range []struct {
		name string
		data []byte
	}{
		{identityFile, identity},
		{knownFile, known},
		{configFile, append(text, '\n')},
		{sshConfigFile, c.sshConfig()},
	} {
		if err := replaceFile(filepath.Join(dir, f.name), f.data); err != nil {
			return err
		}
	}
	return nil
}

func replaceFile(path string, data []byte) error {
	tmp := path + ".tmp"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// sshConfig is a ssh_config(5) for the stock OpenSSH client.
func (c Config) sshConfig() []byte {
	var b bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(c.Hosts)) {
		h := c.Hosts[name]
		fmt.Fprintf(&b, "Host %s\n", name)
		for _, line := range [][2]string{
			{"HostName", h.Address},
			{"Port", strconv.Itoa(h.Port)},
			{"User", h.User},
			{"IdentityFile", `"` + c.IdentityFile + `"`},
			{"UserKnownHostsFile", `"` + c.KnownHosts + `"`},
			{"GlobalKnownHostsFile", "/dev/null"},
			{"StrictHostKeyChecking", "yes"},
			{"IdentitiesOnly", "yes"},
			{"BatchMode", "yes"},
			{"ControlMaster", "no"},
		} {
			fmt.Fprintf(&b, "\t%s %s\n", line[0], line[1])
		}
	}
	return b.Bytes()
}

// ReadBase reads a tree of what hosts have in /etc: DIR/HOST/etc/... . Links
// are kept as they are; owners are root, since a copy has not kept them.
func ReadBase(dir string) (map[string]map[string]host.File, error) {
	hosts, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read base %s: %w", dir, err)
	}
	base := map[string]map[string]host.File{}
	for _, h := range hosts {
		root := filepath.Join(dir, h.Name())
		etc := filepath.Join(root, "etc")
		if info, err := os.Lstat(etc); err != nil || !info.IsDir() {
			continue
		}
		files := map[string]host.File{}
		err := filepath.WalkDir(etc, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			f, ok, err := readBaseFile(path, d)
			if ok {
				files["/"+filepath.ToSlash(rel)] = f
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("read base %s: %w", dir, err)
		}
		base[h.Name()] = files
	}
	return base, nil
}

// readBaseFile reads one name of a base; sockets, pipes and devices are no
// part of it.
func readBaseFile(path string, d fs.DirEntry) (f host.File, ok bool, err error) {
	info, err := d.Info()
	if err != nil {
		return f, false, err
	}
	f.Mode = info.Mode() & (fs.ModeDir | fs.ModeSymlink | fs.ModePerm)
	switch {
	case info.Mode().IsRegular():
		f.Data, err = os.ReadFile(path)
	case info.Mode()&fs.ModeSymlink != 0:
		var target string
		target, err = os.Readlink(path)
		f.Data = []byte(target)
	case !info.IsDir():
		return f, false, nil
	}
	return f, err == nil, err
}

// Context is done when the lab is closed.
func (l *Lab) Context() context.Context { return l.ctx }
