package lab_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/agent/lab"
	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/verify"
)

// servers are real servers of every system that is simulated, old and new.
func servers(subnet string, gateway string) []*inventory.Host {
	var list []*inventory.Host
	for _, h := range []struct {
		name, dev, release string
		os                 inventory.OS
	}{
		{"160", "eth0", "2.6.15", inventory.Linux},
		{"161", "eth0", "", inventory.Linux},
		{"162", "eth0", "2.6.32", inventory.Linux},
		{"170", "lnc0", "5.4-RELEASE", inventory.FreeBSD},
		{"171", "em0", "", inventory.FreeBSD},
		{"172", "em0", "13.2-RELEASE", inventory.FreeBSD},
		{"180", "pcn0", "5.10", inventory.Solaris},
		{"181", "e1000g0", "", inventory.Solaris},
	} {
		host := &inventory.Host{
			Name: "rs" + h.name, OS: h.os, Release: h.release, Roles: []string{"web"}, Address: subnet + h.name, Connection: "ssh",
			Interfaces: card(h.dev, subnet+h.name+"/24"),
		}
		if gateway != "" {
			host.Gateway = netip.MustParseAddr(gateway)
		}
		list = append(list, host)
	}
	return list
}

func card(dev, addr string) []inventory.Interface {
	return []inventory.Interface{{Device: dev, Addresses: []netip.Prefix{netip.MustParsePrefix(addr)}}}
}

// cluster is a site of one service by that method, with one director.
func cluster(method inventory.Method) *inventory.Site {
	lb := &inventory.Host{Name: "lb", OS: inventory.Linux, Roles: []string{"director"}, Connection: "ssh"}
	service := &inventory.VirtualService{
		Name: "http", Director: "director", Pool: "web", Ports: []int{80}, Protocol: "tcp", Scheduler: "wlc",
		Method: method, Weight: 1, VIP: inventory.Managed, Weights: inventory.Managed, Proof: true,
	}
	s := &inventory.Site{
		Name: string(method), Roles: []inventory.Role{{Name: "director"}, {Name: "web"}},
		Services: []*inventory.VirtualService{service},
	}
	vip, address, gateway := "192.168.0.200", "192.168.0.254", "192.168.0.252"
	lb.Interfaces = card("eth0", "192.168.0.254/24")
	switch method {
	case inventory.NAT:
		vip, gateway = "192.168.10.254", ""
		lb.Interfaces = append(card("eth0", "192.168.10.254/24"), card("eth1", "192.168.0.254/24")...)
	case inventory.TUN:
		vip, address, gateway = "192.168.10.200", "192.168.10.100", "192.168.0.1"
		lb.Interfaces = card("eth0", "192.168.10.100/24")
		lb.Gateway = netip.MustParseAddr("192.168.10.1")
	}
	lb.Address, service.Address = address, netip.MustParseAddr(vip)
	s.Hosts = append([]*inventory.Host{lb}, servers("192.168.0.", gateway)...)
	return s
}

// A bench is a lab whose hosts are as the site says.
type bench struct {
	*testing.T
	lab  *lab.Lab
	site *inventory.Site
}

func converged(t *testing.T, site *inventory.Site) *bench {
	t.Helper()
	l, err := lab.Start(t.Context(), site, lab.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	b := &bench{t, l, site}
	for i := len(site.Hosts) - 1; i >= 0; i-- { // the director, which is the first, at last
		b.converge(site.Hosts[i].Name)
	}
	return b
}

func (b *bench) converge(name string) {
	b.Helper()
	process := b.lab.Machine(name).NewSession()
	defer process.End()
	e := &agent.Engine{Host: process, Plan: providers.Plan}
	defer e.Close()
	tx := agent.Transaction{Run: "run-1", Who: "test", Request: agent.ToAdd(b.site.Desired()[name])}
	if _, err := e.Begin(b.Context(), tx, nil); err != nil {
		b.Fatalf("begin on %s: %v", name, err)
	}
	if err := e.Apply(b.Context(), nil); err != nil {
		b.Fatalf("change %s: %v", name, err)
	}
	if err := e.Finish(b.Context(), "run-1", true, nil); err != nil {
		b.Fatalf("commit on %s: %v", name, err)
	}
}

// plain is a host as it is reached without an agent: it has locks, and neither
// neighbours nor sockets.
type plain struct {
	host.Host
	host.Locker
}

// found tells, for each real server and the service itself (""), which kinds
// of check are not proven, and how they ended.
func (b *bench) found(agents bool) map[string]string {
	b.Helper()
	places := verify.Places(b.site)
	byHost := map[string][]*verify.Check{}
	results := map[*verify.Check]verify.Result{}
	for _, p := range places {
		for _, c := range p.Checks {
			if _, twice := results[c]; !twice {
				results[c] = verify.Result{}
				byHost[c.Host] = append(byHost[c.Host], c)
			}
		}
	}
	for name, checks := range byHost {
		process := b.lab.Machine(name).NewSession()
		e := &agent.Engine{Host: process, Plan: providers.Plan}
		if !agents {
			e.Host = plain{process, process}
		}
		v := agent.Verification{Run: "run-2", Who: "test"}
		for _, c := range checks {
			v.Checks = append(v.Checks, *c)
		}
		got, err := e.Verify(b.Context(), v)
		if err != nil {
			b.Errorf("verify %s: %v", name, err)
		}
		for i, c := range checks {
			results[c] = got[i]
		}
		if err := e.Close(); err != nil {
			b.Error(err)
		}
		process.End()
	}
	all := map[string]string{}
	for _, p := range places {
		var words []string
		for _, c := range p.Checks {
			if r := results[c]; r.Status != verify.Proven {
				words = append(words, string(c.Kind)+" "+string(r.Status))
				b.Logf("%s: %s", p.Host, r.Detail)
			}
		}
		if len(words) > 0 {
			all[p.Host] = strings.Join(words, ", ")
		}
	}
	return all
}

func (b *bench) run(name string, argv ...string) {
	b.Helper()
	if _, err := b.lab.Machine(name).Run(b.Context(), host.Cmd{Argv: argv}); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) net(name string, f func(*sim.Net)) {
	m := b.lab.Machine(name)
	m.Locked(func() { f(m.Net) })
}

// same compares what is broken with what should be.
func (b *bench) same(what string, got, want map[string]string) {
	b.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		b.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// state is what a verification must leave as it was: the kernel's, and every
// file, but for what a lease and the mark of a boot leave behind.
func state(m *sim.Machine) (text string) {
	m.Locked(func() {
		for _, l := range m.Net.Links { // the lab's own note of who wrote a setting
			delete(l.Flags, "conf: accept_local")
		}
		data, err := json.Marshal(m.Net)
		if err != nil {
			panic(err)
		}
		text = string(data)
		m.FS.Walk("/", func(p string, f host.File) {
			if !strings.HasPrefix(p, host.RunDir+"/") {
				text += fmt.Sprintf("\n%s %v %d %d %q", p, f.Mode, f.UID, f.GID, f.Data)
			}
		})
	})
	return text
}

func methods(t *testing.T, run func(*bench)) {
	for _, method := range []inventory.Method{inventory.NAT, inventory.DR, inventory.TUN} {
		t.Run(string(method), func(t *testing.T) { run(converged(t, cluster(method))) })
	}
}

func TestEveryPathIsProven(t *testing.T) {
	methods(t, func(b *bench) {
		before := map[string]string{}
		for _, h := range b.site.Hosts {
			before[h.Name] = state(b.lab.Machine(h.Name))
		}
		b.same("with the agent", b.found(true), map[string]string{})
		for _, h := range b.site.Hosts {
			if diff := cmp.Diff(before[h.Name], state(b.lab.Machine(h.Name))); diff != "" {
				b.Errorf("%s was changed:\n%s", h.Name, diff)
			}
		}
	})
}

// A drained real server is proven as well: clients' services are not asked.
func TestPathsAreProvenAtWeightZero(t *testing.T) {
	methods(t, func(b *bench) {
		b.net("lb", func(n *sim.Net) {
			for i := range n.IPVS[0].Dests {
				n.IPVS[0].Dests[i].Weight = 0
			}
		})
		b.same("drained", b.found(true), map[string]string{})
	})
}

func TestWithoutAnAgentPathsAreNotProvable(t *testing.T) {
	methods(t, func(b *bench) {
		want := map[string]string{}
		if b.site.Name == "nat" {
			b.run("lb", "sysctl", "-w", "net.ipv4.ip_forward=0")
			want[""] = "alone not provable, forward broken"
		} else {
			want[""] = "alone not provable"
		}
		for _, h := range b.site.Hosts[1:] {
			want[h.Name] = "path not provable"
		}
		b.lab.Machine("rs171").Listeners = nil
		want["rs171"] = "listener warning, path not provable"
		b.same("agentless", b.found(false), want)
	})
}

func TestListenerMissing(t *testing.T) {
	for _, required := range []bool{false, true} {
		site := cluster(inventory.DR)
		site.Services[0].RequireListener = required
		b := converged(t, site)
		want := map[string]string{}
		for _, h := range site.Hosts[1:] {
			b.lab.Machine(h.Name).Listeners = nil
			want[h.Name] = "listener warning"
			if required {
				want[h.Name] = "listener broken"
			}
		}
		b.same(fmt.Sprintf("required %v", required), b.found(true), want)
	}
}

// vipGone takes the VIP away from every real server, each by its own system's
// kernel.
func (b *bench) vipGone() {
	vip := b.site.Services[0].Address
	for _, h := range b.site.Hosts[1:] {
		b.net(h.Name, func(n *sim.Net) {
			for _, l := range n.Links {
				l.Addrs = slices.DeleteFunc(l.Addrs, func(a sim.Addr) bool { return a.Prefix.IsValid() && a.Prefix.Addr() == vip })
			}
		})
	}
}

func (b *bench) all(what string) map[string]string {
	want := map[string]string{}
	for _, h := range b.site.Hosts[1:] {
		want[h.Name] = what
	}
	return want
}

func TestVIPMissing(t *testing.T) {
	for _, method := range []inventory.Method{inventory.DR, inventory.TUN} {
		b := converged(t, cluster(method))
		b.vipGone()
		b.same(string(method), b.found(true), b.all("path broken"))
	}
}

func TestWrongTunnelEnd(t *testing.T) {
	b := converged(t, cluster(inventory.TUN))
	for _, h := range b.site.Hosts[1:] {
		b.net(h.Name, func(n *sim.Net) {
			for _, l := range n.Links {
				if l.Kind == sim.IPTunnel && l.Remote.IsValid() {
					l.Remote = netip.MustParseAddr("192.168.10.101")
				}
			}
		})
	}
	want := b.all("path broken")
	for _, name := range []string{"rs160", "rs161", "rs162"} {
		delete(want, name) // tunl0 takes packets from any director
		b.run(name, "sysctl", "-w", "net.ipv4.conf.all.rp_filter=1", "net.ipv4.conf.tunl0.rp_filter=1")
		want[name] = "path broken"
	}
	b.same("ends and filters", b.found(true), want)
}

func TestWrongGateway(t *testing.T) {
	b := converged(t, cluster(inventory.NAT))
	for _, h := range b.site.Hosts[1:] {
		b.net(h.Name, func(n *sim.Net) {
			for i := range n.Routes {
				n.Routes[i].Gateway = netip.MustParseAddr("192.168.0.1")
			}
		})
	}
	// The director's own segment answers without the gateway.
	b.same("gateway", b.found(true), b.all("gateway broken"))
	b.same("gateway, agentless", b.found(false), func() map[string]string {
		want := b.all("gateway broken, path not provable")
		want[""] = "alone not provable"
		return want
	}())
}

func TestSecondDefaultRoute(t *testing.T) {
	b := converged(t, cluster(inventory.NAT))
	b.net("rs180", func(n *sim.Net) {
		n.Routes = append(n.Routes, sim.Route{Dst: netip.MustParsePrefix("0.0.0.0/0"), Gateway: netip.MustParseAddr("192.168.0.1"), Dev: "pcn0"})
	})
	b.same("two defaults", b.found(true), map[string]string{"rs180": "gateway broken"})
}

func TestSilenceOff(t *testing.T) {
	b := converged(t, cluster(inventory.DR))
	b.run("rs161", "sysctl", "-w", "net.ipv4.conf.all.arp_ignore=0", "net.ipv4.conf.eth0.arp_ignore=0")
	b.same("one that answers", b.found(true), map[string]string{"": "alone broken"})
}

func TestForwardingOff(t *testing.T) {
	b := converged(t, cluster(inventory.NAT))
	b.run("lb", "sysctl", "-w", "net.ipv4.ip_forward=0")
	b.same("forwarding", b.found(true), map[string]string{"": "forward broken"})
}

func TestServerDown(t *testing.T) {
	methods(t, func(b *bench) {
		b.net("rs171", func(n *sim.Net) { n.Link("em0").Up = false })
		want := map[string]string{"rs171": "reach broken, path broken"}
		switch b.site.Name {
		case "tun":
			want["rs171"] = "reach not provable, path broken" // a router is between
		}
		b.same("down", b.found(true), want)
	})
}

func TestProbe(t *testing.T) {
	site := cluster(inventory.DR)
	s := site.Services[0]
	s.Protocol, s.Ports = "udp", []int{53}
	b := converged(t, site)
	b.same("no probe", b.found(true), b.all("path not provable"))
	s.Probe = &inventory.Probe{Send: "version", Expect: "lab"}
	b.same("an answer of another kind", b.found(true), b.all("path warning"))
	for _, h := range site.Hosts[1:] {
		b.lab.Machine(h.Name).Listeners[0].Says = "lab"
	}
	b.same("the expected answer", b.found(true), map[string]string{})
}

func TestNotProvable(t *testing.T) {
	site := cluster(inventory.NAT)
	site.Services[0].RealServers = []inventory.RealServer{{Host: "lb"}}
	b := converged(t, site)
	b.same("the director serves too", b.found(true), map[string]string{"lb": "path not provable"})

	site = cluster(inventory.DR)
	site.Services[0].Proof = false
	b = converged(t, site)
	b.same("switched off", b.found(true), b.all("path not provable"))
}

// A proof that is cut off leaves nothing for good: the next one takes it back.
func TestProofIsCutOff(t *testing.T) {
	b := converged(t, cluster(inventory.DR))
	m := b.lab.Machine("lb")
	before := state(m)
	paths := agent.Verification{Run: "run-2", Who: "test"}
	for _, p := range verify.Places(b.site) {
		for _, c := range p.Checks {
			if c.Kind == verify.Path {
				paths.Checks = append(paths.Checks, *c)
			}
		}
	}
	verifyOnce := func(s *sim.Session) error {
		e := &agent.Engine{Host: s, Plan: providers.Plan}
		_, err := e.Verify(t.Context(), paths)
		return errors.Join(err, e.Close())
	}
	for at := 1; ; at++ {
		process := m.NewSession()
		n := 0
		var mu sync.Mutex
		m.Watch = func(a sim.Access) error {
			if a.Op == "read" || a.Op == "readdir" {
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			if n++; n == at {
				go process.End()
				return host.ErrLost
			}
			if n > at {
				return host.ErrLost
			}
			return nil
		}
		err := verifyOnce(process)
		m.Watch = nil
		process.End()
		if err == nil && n < at {
			break
		}
		again := m.NewSession()
		if err := verifyOnce(again); err != nil {
			t.Fatalf("after a death at access %d: %v", at, err)
		}
		again.End()
		// What was settled after a death stands in the history, as every
		// other transaction.
		m.Locked(func() {
			entries, _ := m.FS.ReadDir("/var/lib/lvsfleet/history")
			for _, f := range entries {
				if strings.Contains(f.Name, "-proof") {
					m.FS.RemoveAll("/var/lib/lvsfleet/history/" + f.Name)
				}
			}
		})
		if diff := cmp.Diff(before, state(m)); diff != "" {
			t.Fatalf("after a death at access %d:\n%s", at, diff)
		}
		if at > 2000 {
			t.Fatal("it never ends")
		}
	}
}

func TestVerifyIsRefusedWhileAChangeIsUnderWay(t *testing.T) {
	b := converged(t, cluster(inventory.DR))
	m := b.lab.Machine("lb")
	release, err := m.NewSession().Lock(t.Context(), agent.Lease, "op@elsewhere, run x, since now")
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	e := &agent.Engine{Host: m.NewSession(), Plan: providers.Plan}
	var list []verify.Check
	for _, p := range verify.Places(b.site) {
		for _, c := range p.Checks {
			if c.Host == "lb" {
				list = append(list, *c)
			}
		}
	}
	got, err := e.Verify(t.Context(), agent.Verification{Run: "run-2", Who: "test", Checks: list})
	var taken *host.TakenError
	if !errors.As(err, &taken) || len(got) != len(list) {
		t.Fatalf("%d results, %v", len(got), err)
	}
	for i, c := range list {
		if (got[i].Status == verify.Unproven) != (c.Kind == verify.Path) {
			t.Errorf("%s: %s, %s", c.Kind, got[i].Status, got[i].Detail)
		}
	}
}
