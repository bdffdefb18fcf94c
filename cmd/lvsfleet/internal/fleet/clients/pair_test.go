package clients

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/inventory/hclfile"
)

// A cluster is a site in the words of the generator.
type cluster struct {
	gateway  string // of real servers that serve by DR or TUN
	hosts    []server
	services []service
	batch    string
}

type server struct {
	name, os, addr string
	roles          []string
}

type service struct {
	name, director, addr, protocol, method, scheduler string
	port, weight, persistence                         int
	pool                                              string
}

// drainTime is what the clusters' rollout gives a drain, in seconds.
const drainTime = 5

func (c cluster) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "rollout {\n  batch = [%s]\n  drain = %d\n}\n", c.batch, drainTime)
	nat := slices.ContainsFunc(c.services, func(s service) bool { return s.method == "nat" })
	for _, r := range []string{"d1", "d2"} {
		fmt.Fprintf(&b, "role %q {}\n", r)
	}
	for _, r := range []string{"web", "shop"} {
		if nat {
			fmt.Fprintf(&b, "role %q {}\n", r)
		} else {
			fmt.Fprintf(&b, "role %q { gateway = %q }\n", r, c.gateway)
		}
	}
	for _, h := range c.hosts {
		dev := map[string]string{"linux": "eth0", "freebsd": "em0", "solaris": "net0"}[h.os]
		fmt.Fprintf(&b, "host %q {\n  os = %q\n  roles = [%s]\n  address = %q\n  interface %q { address = \"%s/24\" }\n}\n",
			h.name, h.os, quoted(h.roles), h.addr, dev, h.addr)
	}
	for _, s := range c.services {
		fmt.Fprintf(&b, "virtual_service %q {\n  director = %q\n  pool = %q\n  address = %q\n  port = %d\n  protocol = %q\n  method = %q\n  scheduler = %q\n  weight = %d\n",
			s.name, s.director, s.pool, s.addr, s.port, s.protocol, s.method, s.scheduler, s.weight)
		if s.persistence > 0 {
			fmt.Fprintf(&b, "  persistence_timeout = %d\n", s.persistence)
		}
		b.WriteString("}\n")
	}
	return b.String()
}

func quoted(list []string) string {
	var q []string
	for _, s := range list {
		q = append(q, fmt.Sprintf("%q", s))
	}
	return strings.Join(q, ", ")
}

func (c cluster) clone() cluster {
	c.hosts, c.services = slices.Clone(c.hosts), slices.Clone(c.services)
	for i := range c.hosts {
		c.hosts[i].roles = slices.Clone(c.hosts[i].roles)
	}
	return c
}

func pick[T any](r *rand.Rand, list ...T) T { return list[r.IntN(len(list))] }

// first makes a cluster.
func first(r *rand.Rand) cluster {
	c := cluster{gateway: "10.9.4.251", batch: pick(r, `1`, `1, "50%"`, `"50%"`)}
	c.hosts = append(c.hosts, server{"lb1", "linux", "10.9.4.1", []string{"d1"}})
	if r.IntN(2) == 0 {
		c.hosts = append(c.hosts, server{"lb2", "linux", "10.9.4.2", []string{"d2"}})
	}
	for i := range 1 + r.IntN(3) {
		roles := []string{"web"}
		if r.IntN(3) == 0 {
			roles = append(roles, "shop")
		}
		c.hosts = append(c.hosts, server{fmt.Sprintf("w%d", i+1), pick(r, "linux", "linux", "linux", "freebsd", "solaris"), fmt.Sprintf("10.9.4.%d", 11+i), roles})
	}
	method := pick(r, "nat", "dr", "dr", "tun")
	for i := range 1 + r.IntN(2) {
		c.services = append(c.services, service{
			name: pick(r, "http", "mail") + fmt.Sprint(i), director: "d1", addr: fmt.Sprintf("10.9.4.%d", 100+i), port: pick(r, 80, 25),
			protocol: pick(r, "tcp", "tcp", "udp"), method: method, scheduler: "wlc", weight: pick(r, 1, 3), pool: "web",
		})
	}
	return c
}

// The changes that a site may see, by name.
var changes = []struct {
	name string
	make func(*rand.Rand, *cluster)
}{
	{vipChanges, func(r *rand.Rand, c *cluster) { c.services[0].addr = "10.9.4.120" }},
	{"the VIP moves to the other director", func(r *rand.Rand, c *cluster) {
		for i := range c.services {
			c.services[i].director = "d2"
		}
	}},
	{"the method changes", func(r *rand.Rand, c *cluster) {
		m := pick(r, "nat", "dr", "tun")
		for i := range c.services {
			c.services[i].method = m
		}
	}},
	{"one service's method changes", func(r *rand.Rand, c *cluster) {
		// A real server by NAT answers by its director, whatever else it serves:
		// no site mixes the two.
		if !slices.ContainsFunc(c.services, func(s service) bool { return s.method == "nat" }) {
			c.services[0].method = pick(r, "dr", "tun")
		}
	}},
	{"the port changes", func(r *rand.Rand, c *cluster) { c.services[0].port = 443 }},
	{"the protocol changes", func(r *rand.Rand, c *cluster) { c.services[0].protocol = "udp" }},
	{"the scheduler changes", func(r *rand.Rand, c *cluster) { c.services[0].scheduler = "rr" }},
	{"persistence comes", func(r *rand.Rand, c *cluster) { c.services[0].persistence = 300 }},
	{"the weight changes", func(r *rand.Rand, c *cluster) { c.services[0].weight = pick(r, 0, 2, 7) }},
	{"the pool is swapped", func(r *rand.Rand, c *cluster) { c.services[0].pool = "shop" }},
	{"a real server leaves", func(r *rand.Rand, c *cluster) { c.hosts[len(c.hosts)-1].roles = nil }},
	{"a real server comes", func(r *rand.Rand, c *cluster) {
		c.hosts = append(c.hosts, server{"w9", pick(r, "linux", "freebsd"), "10.9.4.19", []string{"web"}})
	}},
	{"a service goes", func(r *rand.Rand, c *cluster) { c.services = c.services[1:] }},
	{"a service comes", func(r *rand.Rand, c *cluster) {
		s := c.services[0]
		s.name, s.addr = "fresh", "10.9.4.130"
		c.services = append(c.services, s)
	}},
	{"a service is renamed", func(r *rand.Rand, c *cluster) { c.services[0].name = "other" }},
	{"the gateway changes", func(r *rand.Rand, c *cluster) { c.gateway = pick(r, "10.9.4.252", "10.9.4.253") }},
}

// A pair is a site before and after, and what was changed.
type pair struct {
	before, after *inventory.Site
	told          []string
	texts         [2]string
}

// pairOf makes the pair of a seed; false where the inventory refuses it.
func pairOf(t testing.TB, dir string, r *rand.Rand) (pair, bool) {
	c := first(r)
	a := c.clone()
	var p pair
	for range 1 + r.IntN(2) {
		if len(a.services) == 0 {
			break
		}
		ch := pick(r, changes...)
		ch.make(r, &a)
		p.told = append(p.told, ch.name)
	}
	p.texts = [2]string{c.text(), a.text()}
	if p.texts[0] == p.texts[1] {
		return p, false
	}
	p.before, p.after = load(t, dir, p.texts[0]), load(t, dir, p.texts[1])
	return p, p.before != nil && p.after != nil
}

func load(t testing.TB, dir, text string) *inventory.Site {
	t.Helper()
	file := filepath.Join(dir, "site.hcl")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r := hclfile.Load(file, hclfile.Input{})
	return r.Site
}
