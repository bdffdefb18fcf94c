package labtest

import (
	"errors"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers"
	"github.com/lvsfleet/lvsfleet/providers/host"
)

// root is where the machines of these tests have what lvsfleet remembers: in a
// folder that no State looks into.
const root = "/var/log/lvsfleet"

// numbered are the names of what keeps its number while it is in force, however
// many before it have gone: kernels do not rename.
var numbered = regexp.MustCompile(`(lo:|lo0:|eth0:|lvs|gif|ip\.tun)[0-9]+|(tunl0):[0-9]+`)

// likeness is a state in which the numbers do not matter.
func likeness(state []string) []string {
	var out []string
	for _, line := range state {
		out = append(out, numbered.ReplaceAllString(line, "$1$2"))
	}
	slices.Sort(out)
	return out
}

// GivesBack says whether what lvsfleet makes can be taken away again by a later
// run, all of it or a part, at once and after a reboot, to the last byte and
// with what others have written beside it left.
func (c Case) GivesBack(t *testing.T) {
	whole := agent.ToConverge(c.Desired)
	nothing := agent.ToRemove(c.Desired)
	t.Run("all", func(t *testing.T) {
		m := c.Machine()
		before := c.see(m)
		c.become(t, m, "r1", whole)
		c.become(t, m, "r2", nothing)
		c.same(t, before, c.see(m))
		if left := left(m); left != "" {
			t.Errorf("the ledger still has %s", left)
		}
		if c.become(t, m, "r3", nothing) {
			t.Error("there was more to do")
		}
		m.Reboot()
		fresh := c.Machine()
		fresh.Reboot()
		c.same(t, c.see(fresh), c.see(m))
	})
	t.Run("all, after a reboot", func(t *testing.T) {
		fresh := c.Machine()
		fresh.Reboot()
		m := c.Machine()
		c.become(t, m, "r1", whole)
		m.Reboot()
		c.become(t, m, "r2", nothing)
		c.same(t, c.see(fresh), c.see(m))
	})
	t.Run("beside what others wrote", func(t *testing.T) {
		const theirs = "# theirs\n"
		m, fresh := c.Machine(), c.Machine()
		c.become(t, m, "r1", whole)
		var paths []string
		fresh.Locked(func() {
			fresh.FS.Walk("/etc", func(p string, f host.File) {
				if f.Mode.IsRegular() && takesComments(p) && !strings.Contains(p, "/run/lvsfleet/") {
					paths = append(paths, p)
				}
			})
		})
		for _, x := range []*sim.Machine{m, fresh} {
			x.Locked(func() {
				for _, p := range paths {
					f, err := x.FS.ReadFile(p)
					if err != nil {
						t.Error(err)
						continue
					}
					x.FS.Put(p, f.Mode, string(f.Data)+theirs)
				}
			})
		}
		if c.become(t, m, "r2", whole) {
			t.Error("a remark of somebody's is something to do")
		}
		c.become(t, m, "r3", nothing)
		c.same(t, c.see(fresh), c.see(m))
	})
	for name, d := range lesser(c.Desired) {
		less := agent.ToConverge(d)
		t.Run("without "+name, func(t *testing.T) {
			want := c.Machine()
			c.become(t, want, "r1", less)
			m := c.Machine()
			c.become(t, m, "r1", whole)
			c.become(t, m, "r2", less)
			c.same(t, likeness(c.see(want)), likeness(c.see(m)))
			if c.become(t, m, "r3", less) {
				t.Error("there was more to do")
			}
			c.become(t, m, "r4", nothing)
			c.same(t, c.see(c.Machine()), c.see(m))

			want.Reboot()
			m = c.Machine()
			c.become(t, m, "r1", whole)
			m.Reboot()
			c.become(t, m, "r2", less)
			m.Reboot()
			c.same(t, likeness(c.see(want)), likeness(c.see(m)))
		})
	}
}

func takesComments(p string) bool {
	return strings.HasSuffix(p, ".conf") || strings.HasSuffix(p, "/hosts") || strings.HasSuffix(p, "/netmasks") || strings.HasPrefix(p, "/etc/sysconfig/network")
}

// lesser are wishes that ask for a part of d.
func lesser(d inventory.Desired) map[string]inventory.Desired {
	list := map[string]inventory.Desired{}
	if n := len(d.VIPs); n > 0 {
		for i, name := range map[int]string{0: "its first VIP", n - 1: "its last VIP"} {
			less := d
			gone := d.VIPs[i].Addr
			less.VIPs = slices.Delete(slices.Clone(d.VIPs), i, i+1)
			less.Decaps = nil
			for _, c := range d.Decaps {
				c.VIPs = slices.DeleteFunc(slices.Clone(c.VIPs), func(a netip.Addr) bool { return a == gone })
				if len(c.VIPs) > 0 {
					less.Decaps = append(less.Decaps, c)
				}
			}
			list[name] = less
		}
	}
	if len(d.Gateways) > 0 && len(d.NATOf) == 0 {
		less := d
		less.Gateways = nil
		list["its gateway"] = less
	}
	if len(d.Tunnels) > 0 {
		less := d
		less.Tunnels = d.Tunnels[1:]
		list["a tunnel"] = less
	}
	if d.Director != nil {
		less := d
		less.Director, less.IPForward4 = nil, nil
		list["its director's role"] = less
		if len(d.Director.Services) > 1 {
			less := d
			dir := *d.Director
			dir.Services = dir.Services[1:]
			less.Director = &dir
			list["a service"] = less
		}
	}
	return list
}

// see is the state of a machine without what lvsfleet keeps until the next
// boot.
func (c Case) see(m *sim.Machine) []string {
	m.Locked(func() {
		var mine []string
		m.FS.Walk("/", func(p string, f host.File) {
			if strings.Contains(p, "/run/lvsfleet/") && f.Mode.IsRegular() {
				mine = append(mine, p)
			}
		})
		for _, p := range mine {
			_ = m.FS.Remove(p) // it was there just now
		}
	})
	return strings.Split(c.State(m), "\n")
}

func (c Case) same(t *testing.T, want, got []string) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// become runs a whole transaction, and says whether there was anything to do.
func (c Case) become(t *testing.T, m *sim.Machine, run string, req agent.Request) bool {
	t.Helper()
	s := m.NewSession()
	defer s.End()
	on := func(h host.Host) *agent.Engine { return &agent.Engine{Host: h, Plan: providers.Plan, Root: root} }
	e := on(s)
	begun, err := e.Begin(t.Context(), agent.Transaction{Run: run, Request: req}, nil)
	differs := err == nil && begun.Differs
	if differs {
		if err = e.Apply(t.Context(), nil); err == nil {
			fresh := on(m.NewSession())
			err = errors.Join(fresh.Finish(t.Context(), run, true, nil), fresh.Close())
		}
	}
	if err = errors.Join(err, e.Close()); err != nil {
		t.Fatalf("%s: %v", run, err)
	}
	return differs
}

// left is what the ledger has.
func left(m *sim.Machine) (text string) {
	m.Locked(func() {
		if f, err := m.FS.ReadFile(root + "/ledger.json"); err == nil {
			text = string(f.Data)
		}
	})
	return text
}
