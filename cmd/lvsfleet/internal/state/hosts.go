package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lvsfleet/lvsfleet/inventory"
)

// Hosts are the hosts that a site has had, in DIR/hosts.json: how to reach one
// whose block has left the inventory, so that it can still be cleaned.
type Hosts struct{ file string }

// OpenHosts gives the hosts in the state folder dir, which need not be there
// yet.
func OpenHosts(dir string) Hosts { return Hosts{filepath.Join(dir, "hosts.json")} }

// Read gives the hosts by name: what is needed to reach one and to know it
// again. A file that is not there has none.
func (h Hosts) Read() (map[string]inventory.Host, error) {
	text, err := os.ReadFile(h.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the site's hosts: %w", err)
	}
	var hosts map[string]inventory.Host
	if err := json.Unmarshal(text, &hosts); err != nil {
		return nil, fmt.Errorf("read the site's hosts: %s: %w", h.file, err)
	}
	return hosts, nil
}

// Remember adds hosts, or what has changed about them. Their Roles are those in
// which they are directors: one that has left may still have clients.
func (h Hosts) Remember(list []inventory.Host) error {
	return h.change(func(hosts map[string]inventory.Host) {
		for _, one := range list {
			hosts[one.Name] = inventory.Host{
				Name: one.Name, OS: one.OS, Release: one.Release, Address: one.Address, SSH: one.SSH,
				Agent: one.Agent, Connection: one.Connection, Become: one.Become, Network: one.Network,
				Interfaces: bare(one.Interfaces), Roles: one.Roles,
			}
		}
	})
}

func bare(list []inventory.Interface) []inventory.Interface {
	list = slices.Clone(list)
	for i := range list {
		list[i].Src = inventory.Source{}
	}
	return list
}

// Forget gives hosts up.
func (h Hosts) Forget(names ...string) error {
	return h.change(func(hosts map[string]inventory.Host) {
		for _, n := range names {
			delete(hosts, n)
		}
	})
}

// change reads, changes and replaces the file whole, where there is a change.
func (h Hosts) change(f func(map[string]inventory.Host)) error {
	hosts, err := h.Read()
	if err != nil {
		return err
	}
	if hosts == nil {
		hosts = map[string]inventory.Host{}
	}
	before, err := json.MarshalIndent(hosts, "", "  ")
	if err != nil {
		return fmt.Errorf("remember the site's hosts: %w", err)
	}
	f(hosts)
	after, err := json.MarshalIndent(hosts, "", "  ")
	if err != nil {
		return fmt.Errorf("remember the site's hosts: %w", err)
	}
	if bytes.Equal(before, after) {
		return nil
	}
	if err := replace(h.file, append(after, '\n')); err != nil {
		return fmt.Errorf("remember the site's hosts: %w", err)
	}
	return nil
}

// Departed are the hosts that are remembered and that the site has no more, by
// name. One whose machine the site knows by another name has not left it.
func Departed(remembered map[string]inventory.Host, site *inventory.Site) []inventory.Host {
	named := make(map[string]bool, len(site.Hosts))
	for _, h := range site.Hosts {
		named[h.Name] = true
	}
	var list []inventory.Host
	for name, h := range remembered {
		if !named[name] && !slices.ContainsFunc(site.Hosts, func(o *inventory.Host) bool { return SameMachine(h, *o) }) {
			list = append(list, h)
		}
	}
	slices.SortFunc(list, func(a, b inventory.Host) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// SameMachine says whether two hosts are reached at one place, or share an
// address.
func SameMachine(a, b inventory.Host) bool {
	if a.Address == b.Address && a.SSH.Port == b.SSH.Port && a.Connection == b.Connection {
		return true
	}
	for _, i := range a.Interfaces {
		for _, p := range i.Addresses {
			for _, j := range b.Interfaces {
				if slices.Contains(j.Addresses, p) {
					return true
				}
			}
		}
	}
	return false
}
