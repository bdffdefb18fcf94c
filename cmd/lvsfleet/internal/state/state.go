// Package state is what the controller remembers between runs. No run needs it:
// what is lost is found out again, but for the history and for the hosts that
// have left the inventory.
package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"
)

// Dir is where the memory of a site lies by default:
// $XDG_STATE_HOME/lvsfleet/SITE, or ~/.local/state/lvsfleet/SITE (XDG Base
// Directory Specification 0.8).
func Dir(site string, getenv func(string) string) (string, error) {
	if base := getenv("XDG_STATE_HOME"); filepath.IsAbs(base) {
		return filepath.Join(base, "lvsfleet", site), nil
	}
	home := getenv("HOME")
	if home == "" {
		return "", errors.New("find the state folder: neither XDG_STATE_HOME nor HOME is set; say --state DIR")
	}
	return filepath.Join(home, ".local", "state", "lvsfleet", site), nil
}

// A Memory remembers which agent each host has, in DIR/agents.json: JSON
// objects of hosts and hashes, of which the later ones win. A new entry is an
// object behind the others, so that thousands of hosts cost a line each, and
// runs side by side keep each other's. It is safe for concurrent use. What
// cannot be read counts as not there and what cannot be written is given up: a
// run must not fail by it.
type Memory struct {
	file string

	mu     sync.Mutex
	loaded bool
	whole  bool // the file is to be written whole: it is damaged, or mostly outdated
	agents map[string]string
}

// Open gives the memory of dir, which need not be there yet.
func Open(dir string) *Memory { return &Memory{file: filepath.Join(dir, "agents.json")} }

func (m *Memory) load() {
	if m.loaded {
		return
	}
	m.loaded, m.agents = true, map[string]string{}
	text, err := os.ReadFile(m.file)
	if err != nil {
		m.whole = true
		return
	}
	entries := 0
	for d := json.NewDecoder(bytes.NewReader(text)); ; {
		var more map[string]string
		err := d.Decode(&more)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || more == nil {
			m.whole = true
			return
		}
		entries += len(more)
		maps.Copy(m.agents, more)
	}
	m.whole = entries == 0 || entries > 2*len(m.agents)
}

// AgentOf gives what SetAgentOf was told; "" nothing.
func (m *Memory) AgentOf(host string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.load()
	return m.agents[host]
}

// SetAgentOf remembers the agent of a host.
func (m *Memory) SetAgentOf(host, hash string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.load()
	if m.agents[host] == hash {
		return
	}
	m.agents[host] = hash
	m.whole = m.save(host) != nil // the next run asks the host again
}

// save writes the entry of the host.
func (m *Memory) save(host string) error {
	entries := map[string]string{host: m.agents[host]}
	if m.whole {
		entries = m.agents
	}
	text, err := json.Marshal(entries)
	if err != nil {
		return fmt.Errorf("encode state: %w", err)
	}
	text = append(text, '\n')
	if m.whole {
		return replace(m.file, text)
	}
	f, err := os.OpenFile(m.file, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	return nil
}

// replace puts text at file in one step; the folder is made, for its owner
// alone.
func replace(file string, text []byte) error {
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make state folder: %w", err)
	}
	tmp, err := os.CreateTemp(dir, "."+filepath.Base(file)+"-*.tmp")
	if err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	_, err = tmp.Write(text)
	err = errors.Join(err, tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), file)
	}
	if err != nil {
		if rm := os.Remove(tmp.Name()); rm != nil && !errors.Is(rm, fs.ErrNotExist) {
			err = errors.Join(err, rm)
		}
		return fmt.Errorf("write state: %w", err)
	}
	return nil
}
