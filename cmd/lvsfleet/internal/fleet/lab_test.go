package fleet

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/agent/lab"
	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/agent/remote"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
)

// A labFleet is the simulated fleet, whole: every byte goes over SSH.
type labFleet struct {
	t   *testing.T
	lab *lab.Lab
	dir string

	mu     sync.Mutex
	served map[ipvs.Key]bool
	leaves map[ipvs.Key]bool // services that are to end
	events []string          // "STAGE PHASE HOST STEP" of what changes something
	now    time.Time
	asleep func() // called in every Sleep of a drain; nil: nothing
	goes   string // the VIP of a service that need not be served

	removing bool // see Fleet
	limit    []string
}

// labSite is a director and a real server of each system.
func labSite(method inventory.Method, gateway string, pool ...string) *inventory.Site {
	h := func(name string, os inventory.OS, release, dev, addr string, roles ...string) *inventory.Host {
		return &inventory.Host{
			Name: name, OS: os, Release: release, Address: addr, Roles: roles, Connection: "ssh",
			Gateway:    netip.MustParseAddr(gateway),
			Interfaces: []inventory.Interface{{Device: dev, Addresses: []netip.Prefix{netip.MustParsePrefix(addr + "/24")}}},
		}
	}
	role := func(name string) []string {
		for _, p := range pool {
			if p == name {
				return []string{"web"}
			}
		}
		return nil
	}
	lb := h("lb", inventory.Linux, "", "eth0", "192.168.0.254", "director")
	lb.Gateway = netip.MustParseAddr("192.168.0.252")
	return &inventory.Site{
		Name: "t", Roles: []inventory.Role{{Name: "director"}, {Name: "web"}},
		Hosts: []*inventory.Host{
			lb,
			h("rs160", inventory.Linux, "", "eth0", "192.168.0.160", role("rs160")...),
			h("rs170", inventory.FreeBSD, "", "em0", "192.168.0.170", role("rs170")...),
			h("rs180", inventory.Solaris, "5.10", "pcn0", "192.168.0.180", role("rs180")...),
		},
		Services: []*inventory.VirtualService{labService("http", "192.168.0.200", method)},
		Rollout:  inventory.Rollout{Batch: []inventory.Share{{N: 1}, {N: 50, Percent: true}}, Drain: 30, OnFailure: "host", ConfirmTimeout: 60},
	}
}

func labService(name, vip string, method inventory.Method) *inventory.VirtualService {
	return &inventory.VirtualService{
		Name: name, Director: "director", Pool: "web", Address: netip.MustParseAddr(vip),
		Ports: []int{80}, Protocol: "tcp", Scheduler: "wlc", Method: method, Weight: 3,
		TunnelPeer: netip.MustParseAddr("10.9.9.9"), VIP: inventory.Managed, Weights: inventory.Managed,
	}
}

func (l *labFleet) Now() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now
}

// Sleep lets time pass: a connection of each entry without a weight ends.
func (l *labFleet) Sleep(ctx context.Context, d time.Duration) error {
	l.mu.Lock()
	l.now = l.now.Add(d)
	l.mu.Unlock()
	if l.asleep != nil {
		l.asleep()
	}
	l.entries(func(_ ipvs.Key, e *ipvs.Destination) {
		if e.Weight == 0 && e.Active > 0 {
			e.Active--
		}
	})
	return ctx.Err()
}

func (l *labFleet) entries(f func(ipvs.Key, *ipvs.Destination)) {
	m := l.lab.Machine("lb")
	m.Locked(func() {
		for i := range m.Net.IPVS {
			if m.Net.IPVS[i].Key.Mark != 0 {
				continue // a proof's, for a moment
			}
			for j := range m.Net.IPVS[i].Dests {
				f(m.Net.IPVS[i].Key, &m.Net.IPVS[i].Dests[j])
			}
		}
	})
}

func (l *labFleet) table() string {
	var text string
	m := l.lab.Machine("lb")
	m.Locked(func() { text = ipvs.Format(ipvs.Sorted(m.Net.IPVS)) })
	return text
}

// observe looks at the table whenever something happens.
func (l *labFleet) observe(e Event) {
	positive := map[ipvs.Key]int{}
	weight := map[string]int{}
	l.entries(func(k ipvs.Key, d *ipvs.Destination) {
		if d.Weight > 0 {
			positive[k]++
		}
		weight["rs"+d.Addr.String()[len("192.168.0."):]] += d.Weight
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	for k := range positive {
		l.served[k] = true
	}
	for k := range l.served {
		if positive[k] == 0 && !l.leaves[k] && k.Addr.String() != l.goes {
			l.t.Errorf("%+v: nobody serves %s", e, k)
		}
	}
	if e.Phase == "do" || e.Phase == PhaseDrain {
		line := fmt.Sprintf("%s %s %s %s", e.Stage, e.Phase, e.Host, e.Step)
		if e.Phase == PhaseDrain {
			line = fmt.Sprintf("drain %d", e.Connections)
		}
		l.events = append(l.events, line)
	}
	if cut := e.Phase == "do" && e.Stage == inventory.Change && strings.HasPrefix(e.Step, "route:default"); cut && weight[e.Host] > 0 {
		l.t.Errorf("%s: its route changes while it has weight %d", e.Host, weight[e.Host])
	}
}

// run converges the lab, with nobody asked.
func (l *labFleet) run(site *inventory.Site) (*Fleet, Outcome) {
	l.t.Helper()
	f := l.fleet(site)
	out, err := f.Converge(l.t.Context(), nil)
	if err != nil {
		l.t.Fatal(err)
	}
	return f, out
}

// fleet is the lab as the site has it.
func (l *labFleet) fleet(site *inventory.Site) *Fleet {
	l.t.Helper()
	l.mu.Lock()
	l.events = nil
	l.mu.Unlock()
	config, err := lab.Open(l.dir)
	if err != nil {
		l.t.Fatal(err)
	}
	d := &remote.Dialer{Agents: remote.LabAgents()}
	f := &Fleet{
		Site: site, Parallel: 4, Run: fmt.Sprintf("run-%d", l.now.UnixNano()), Who: "test", Clock: l, Observe: l.observe,
		Removing: l.removing, Limit: l.limit,
		Dial: func(ctx context.Context, h *inventory.Host) (agent.Session, error) {
			e := config.Hosts[h.Name]
			return d.Dial(ctx, remote.Target{
				Name: h.Name, OS: h.OS, Release: h.Release, Address: e.Address, Port: e.Port, User: e.User,
				IdentityFiles: []string{config.IdentityFile}, KnownHosts: []string{config.KnownHosts},
			})
		},
	}
	d.Renew = f.Renew
	l.now = l.now.Add(time.Hour)
	return f
}

// converge brings the lab to what the site says, and gives the run.
func (l *labFleet) converge(site *inventory.Site) Outcome {
	l.t.Helper()
	f, out := l.run(site)
	for _, r := range out.Results {
		if r.Err != nil {
			l.t.Errorf("%s is %s: %v", r.Host, r.Status, r.Err)
		}
	}
	found, err := f.Survey(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	for _, h := range found {
		if h.Err != nil || h.Differs() {
			l.t.Errorf("afterwards %s differs: %v\n%v", h.Host, h.Err, h.Report.Items)
		}
	}
	rules, err := l.lab.Machine("lb").ReadFile(l.t.Context(), "/etc/sysconfig/ipvsadm")
	if err != nil || strings.Contains(string(rules.Data), "-w 0") {
		l.t.Errorf("the rules for the next boot: %v\n%s", err, rules.Data)
	}
	return out
}

// damage runs a command on each of the hosts.
func (l *labFleet) damage(commands map[string]string) {
	l.t.Helper()
	for name, c := range commands {
		if _, err := l.lab.Machine(name).Run(l.t.Context(), host.Cmd{Argv: strings.Fields(c)}); err != nil {
			l.t.Fatalf("%s: %v", name, err)
		}
	}
}

// happened says which of the events contain the words, in order.
func (l *labFleet) happened(words ...string) bool {
	i := 0
	for _, e := range l.events {
		if i < len(words) && strings.Contains(e, words[i]) {
			i++
		}
	}
	return i == len(words)
}

func rules(method string, hosts ...string) string {
	text := "-A -t 192.168.0.200:80 -s wlc\n"
	for _, h := range hosts {
		text += "-a -t 192.168.0.200:80 -r 192.168.0." + strings.TrimPrefix(h, "rs") + ":80 " + method + " -w 3\n"
	}
	return text
}

func startLab(t *testing.T, site *inventory.Site) *labFleet {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "lab")
	simulated, err := lab.Start(t.Context(), site, lab.Options{Dir: dir, Clock: sim.Hurried(5)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = simulated.Close() })
	return &labFleet{t: t, lab: simulated, dir: dir, served: map[ipvs.Key]bool{}, now: time.Unix(1e9, 0)}
}

func TestASiteThatChangesInTheLab(t *testing.T) {
	all := []string{"rs160", "rs170", "rs180"}
	first := labSite(inventory.DR, "192.168.0.252", all...)
	l := startLab(t, first)
	active := func() {
		l.entries(func(_ ipvs.Key, e *ipvs.Destination) { e.Active = 2 })
	}
	expect := func(want string) {
		t.Helper()
		if d := cmp.Diff(want, l.table()); d != "" {
			t.Error(d)
		}
	}

	l.converge(first)
	expect(rules("-g", all...))
	if l.happened("drain") {
		t.Errorf("a first run drained: %q", l.events)
	}

	active()
	l.converge(labSite(inventory.DR, "192.168.0.1", all...))
	expect(rules("-g", all...))
	for _, h := range all {
		if !l.happened("withdraw do lb ipvs", "drain 2", "drain 1", "drain 0", "change do "+h+" route:default") {
			t.Errorf("another gateway on %s: %q", h, l.events)
		}
	}

	// What is broken on each system is known for what it is to the clients.
	l.damage(map[string]string{
		"rs160": "ip addr del 192.168.0.200/32 dev lo",
		"rs170": "ifconfig lo0 inet 192.168.0.200 -alias",
		"rs180": "ifconfig lo0 removeif 192.168.0.200",
	})
	l.converge(labSite(inventory.DR, "192.168.0.1", all...))
	for _, h := range all {
		if !l.happened("withdraw do lb ipvs", "drain 0", "change do "+h) {
			t.Errorf("a VIP was mended on %s: %q", h, l.events)
		}
	}

	active()
	two := labSite(inventory.DR, "192.168.0.1", all...)
	two.Services = append(two.Services, labService("shop", "192.168.0.201", inventory.DR))
	l.converge(two)
	if l.happened("drain") || l.happened("withdraw") {
		t.Errorf("a new VIP disturbed those of the others: %q", l.events)
	}
	expect(rules("-g", all...) + strings.ReplaceAll(rules("-g", all...), "192.168.0.200", "192.168.0.201"))
	m := l.lab.Machine("lb")
	m.Locked(func() { m.Net.IPVS = m.Net.IPVS[:1] }) // back to one service
	l.served = map[ipvs.Key]bool{}

	active()
	l.converge(labSite(inventory.TUN, "192.168.0.1", all...))
	expect(rules("-i", all...))
	// FreeBSD keeps the VIP on lo0 and gets a tunnel beside it, which disturbs
	// nobody; on Linux and Solaris it moves. The VIP that nobody wants any more
	// goes from all of them.
	if !l.happened("change do rs170", "admit do lb ipvs", "withdraw do lb ipvs") {
		t.Errorf("from dr to tun on rs170: %q", l.events)
	}
	for _, h := range []string{"rs160", "rs180"} {
		if !l.happened("withdraw do lb ipvs", "drain 2", "drain 0", "withdraw do lb ipvs", "change do "+h, "admit do lb ipvs") {
			t.Errorf("from dr to tun on %s: %q", h, l.events)
		}
	}
	for _, h := range append([]string{"lb"}, all...) {
		if l.holds(h, "192.168.0.201") {
			t.Errorf("%s still has the VIP of the service that went", h)
		}
	}

	l.damage(map[string]string{
		"rs160": "ip link set tunl0 down",
		"rs170": "ifconfig gif0 down",
		"rs180": "ifconfig ip.tun0 unplumb",
	})
	l.converge(labSite(inventory.TUN, "192.168.0.1", all...))
	for _, h := range all {
		if !l.happened("withdraw do lb ipvs", "drain 0", "change do "+h) {
			t.Errorf("a tunnel was mended on %s: %q", h, l.events)
		}
	}

	active()
	l.converge(labSite(inventory.TUN, "192.168.0.1", "rs160", "rs180"))
	expect(rules("-i", "rs160", "rs180"))
	if !l.happened("withdraw do lb ipvs", "drain 2", "drain 0", "withdraw do lb ipvs") || l.happened("admit do") {
		t.Errorf("one goes: %q", l.events)
	}
}

// A client has just begun to connect when the weight goes: IPVS counts it as
// inactive until its handshake is done.
func TestADrainSeesWhoIsOnTheWayInInTheLab(t *testing.T) {
	site := func(gateway string) *inventory.Site { return labSite(inventory.DR, gateway, "rs160", "rs170") }
	l := startLab(t, site("192.168.0.252"))
	l.converge(site("192.168.0.252"))
	l.entries(func(_ ipvs.Key, e *ipvs.Destination) { e.Inactive = 1 })
	l.asleep = func() {
		l.entries(func(_ ipvs.Key, e *ipvs.Destination) {
			if e.Weight == 0 && e.Inactive == 1 {
				e.Inactive, e.Active = 0, 3
			}
		})
	}
	l.converge(site("192.168.0.1"))
	if !l.happened("drain 0", "drain 2", "drain 1", "drain 0", "change do rs160") {
		t.Errorf("%q", l.events)
	}
}

// An old director has no agent: its table is read and edited by ipvsadm. Clients
// that are bound to a real server count as much as connections.
func TestADirectorWithoutAnAgentDrainsInTheLab(t *testing.T) {
	old := func(gateway string) *inventory.Site {
		s := labSite(inventory.DR, gateway, "rs160", "rs170")
		s.Hosts[0].Release = "2.6.15"
		s.Services[0].PersistenceTimeout = 300
		return s
	}
	l := startLab(t, old("192.168.0.252"))
	l.converge(old("192.168.0.252"))
	l.entries(func(_ ipvs.Key, e *ipvs.Destination) { e.Active, e.Inactive, e.Persistent = 1, 50, 7 })
	l.converge(old("192.168.0.1"))
	if !l.happened("withdraw do lb ipvs", "drain 8", "drain 7", "change do rs160 route:default", "change do rs170 route:default") {
		t.Errorf("%q", l.events)
	}
	if l.happened("drain 0") {
		t.Errorf("a drain ended although clients were bound: %q", l.events)
	}
	if text := l.table(); strings.Count(text, "-w 3") != 2 {
		t.Error(text)
	}
}

// The line to the director is cut in mid-drain: it gives the weight back by
// itself, and nobody has been changed.
func TestADirectorThatVanishesInMidDrainGivesBackInTheLab(t *testing.T) {
	all := []string{"rs160", "rs170", "rs180"}
	l := startLab(t, labSite(inventory.DR, "192.168.0.252", all...))
	l.converge(labSite(inventory.DR, "192.168.0.252", all...))
	l.entries(func(_ ipvs.Key, e *ipvs.Destination) { e.Active = 9 })
	seen := ""
	l.asleep = func() {
		seen = l.table()
		l.lab.Vanish("lb")
		l.lab.SetFaults("lb", lab.Faults{})
	}
	_, out := l.run(labSite(inventory.DR, "192.168.0.1", all...))
	l.asleep = nil
	if strings.Count(seen, "-w 0") != 1 {
		t.Errorf("in mid-drain:\n%s", seen)
	}
	// It could be asked again: it is known to be as before.
	want := map[string]Status{"lb": Failed, "rs160": Skipped, "rs170": Skipped, "rs180": Skipped}
	if d := cmp.Diff(want, statuses(out)); d != "" {
		t.Error(d)
	}
	if l.happened("change do") {
		t.Errorf("changed: %q", l.events)
	}
	for end := time.Now().Add(20 * time.Second); strings.Contains(l.table(), "-w 0"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not given back:\n%s", l.table())
		}
	}
	l.converge(labSite(inventory.DR, "192.168.0.1", all...))
}

// A real server is lost in mid-change, and found again a while later. Until
// then nobody knows how it is, and it gets no client.
func TestWhoIsLostInMidChangeIsWaitedForInTheLab(t *testing.T) {
	all := []string{"rs160", "rs170", "rs180"}
	for _, lost := range []string{"rs160", "rs170"} { // without an agent its guard would still wait
		t.Run(lost, func(t *testing.T) {
			l := startLab(t, provenSite(inventory.DR, "192.168.0.252", all...))
			l.converge(provenSite(inventory.DR, "192.168.0.252", all...))
			address := "192.168.0." + strings.TrimPrefix(lost, "rs") + ":80"
			slept := 0
			l.asleep = func() {
				if slept++; !strings.Contains(l.table(), address+" -g -w 0") {
					t.Errorf("it has clients:\n%s", l.table())
				}
				if slept == 3 {
					l.lab.SetFaults(lost, lab.Faults{})
				}
			}
			site := provenSite(inventory.DR, "192.168.0.1", all...)
			site.Rollout.MaxFailures = 1
			out := l.breaking(site, func(host string) {
				if host == lost {
					l.lab.Vanish(lost)
				}
			})
			want := map[string]Status{"lb": Unchanged, "rs160": Changed, "rs170": Changed, "rs180": Changed}
			want[lost] = Failed
			l.became(out, want)
			if slept != 3 {
				t.Errorf("waited %d times: %v", slept, result(out, lost).Err)
			}
			if !strings.Contains(l.table(), address+" -g -w 3") {
				t.Errorf("its weight is not back:\n%s", l.table())
			}
			l.asleep = nil
			l.converge(site)
		})
	}
}

// A real server's change fails over SSH: it is put back, and its weight too.
func TestARealServerFailsInTheLab(t *testing.T) {
	all := []string{"rs160", "rs170", "rs180"}
	first := labSite(inventory.DR, "192.168.0.252", all...)
	l := startLab(t, first)
	l.converge(first)
	l.lab.Machine("rs160").Fail("ip", sim.Fault{Args: []string{"addr", "add"}, Exit: 2, Stderr: "RTNETLINK answers: Operation not permitted\n"})
	tun := labSite(inventory.TUN, "192.168.0.252", all...)
	tun.Rollout.MaxFailures = 1
	_, out := l.run(tun)
	want := map[string]Status{"lb": Changed, "rs160": Failed, "rs170": Changed, "rs180": Changed}
	if d := cmp.Diff(want, statuses(out)); d != "" {
		t.Error(d)
	}
	table := l.table()
	for _, line := range []string{"160:80 -g -w 3", "170:80 -i -w 3", "180:80 -i -w 3"} {
		if !strings.Contains(table, line) {
			t.Errorf("%q is not in the table:\n%s", line, table)
		}
	}
	l.lab.Machine("rs160").Mend()
	l.converge(tun)
}

// holds says whether the host has the address.
func (l *labFleet) holds(name, addr string) (held bool) {
	m := l.lab.Machine(name)
	m.Locked(func() {
		for _, link := range m.Net.Links {
			for _, a := range link.Addrs {
				held = held || a.Prefix.Addr().String() == addr
			}
		}
	})
	return held
}

// A service leaves the inventory: its connections end by themselves, on all
// real servers at once, then it goes from the director and its VIP from all;
// nobody is asked to agree to an outage.
func TestAServiceThatGoesIsDrainedInTheLab(t *testing.T) {
	all := []string{"rs160", "rs170", "rs180"}
	two := labSite(inventory.DR, "192.168.0.252", all...)
	two.Services = append(two.Services, labService("shop", "192.168.0.201", inventory.DR))
	l := startLab(t, two)
	l.converge(two)
	l.entries(func(k ipvs.Key, e *ipvs.Destination) {
		if k.Addr.String() == "192.168.0.201" {
			e.Active = 2
		}
	})
	l.served = map[ipvs.Key]bool{}
	one := labSite(inventory.DR, "192.168.0.252", all...)
	l.goes = "192.168.0.201"
	l.converge(one)
	if !l.happened("withdraw do lb ipvs", "drain 6", "drain 3", "drain 0", "withdraw do lb ipvs", "change do rs160 address:192.168.0.201",
		"change do rs170 lo0:192.168.0.201", "change do rs180 vip:192.168.0.201", "retire do lb address:192.168.0.201") {
		t.Errorf("%q", l.events)
	}
	if d := cmp.Diff(rules("-g", all...), l.table()); d != "" {
		t.Error(d)
	}
	for _, h := range append([]string{"lb"}, all...) {
		if l.holds(h, "192.168.0.201") {
			t.Errorf("%s still has the VIP", h)
		}
	}
	l.converge(one) // nothing is left to do
	if l.happened("do") {
		t.Errorf("again: %q", l.events)
	}
}
