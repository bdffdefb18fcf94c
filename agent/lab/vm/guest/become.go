//go:build linux

package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lvsfleet/lvsfleet/agent/lab/vm/fabric"
)

// becoming makes the checks of a login that is not root's, on hosts with a real
// sudo: a director and a real server.
func (s *suite) becoming() {
	name := func(text string) string { return "become: " + text }
	const site = "/root/become.hcl"
	var c cluster
	for _, c = range clusters() {
		if c.name == "dr" {
			break
		}
	}
	c.hosts = slices.DeleteFunc(c.hosts, func(h fabric.Spec) bool { return h.Name == "rs170" || h.Name == "rs180" })
	c.share = map[string]int{"rs160": fetches}
	if !s.check(name("the hosts boot"), func() error { return s.build(c) }) {
		return
	}
	if !s.check(name("converge by a login that is not root's"), func() error { return s.converge(site) }) {
		return
	}
	s.check(name("40 fetches are served"), func() error { return s.shares(c) })
	s.check(name("a second converge does nothing"), func() error { return s.unchanged(site) })
	s.check(name("nobody but root can read what is left on the hosts"), func() error {
		for _, host := range c.servers() {
			out, err := s.fabric.Run(host, "ls", "-ldn", "/var/lib/lvsfleet")
			if err != nil {
				return err
			}
			if f := strings.Fields(out); len(f) < 4 || f[0] != "drwx------" || f[2] != "0" || f[3] != "0" {
				return fmt.Errorf("%s: %s", host, out)
			}
			strays, err := s.fabric.Run(host, "find", "/tmp", "/var", "/etc", "-user", "ops")
			if err != nil {
				return err
			}
			if strays != "" {
				return fmt.Errorf("%s: of the login's own there is\n%s", host, strays)
			}
		}
		return nil
	})
}
