package drift_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/agent/lab"
	"github.com/lvsfleet/lvsfleet/agent/remote"
	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/drift"
	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/drift/history"
	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/fleet"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
)

var (
	soakHosts  = flag.Int("soak.hosts", 12, "hosts of the soak test")
	soakRounds = flag.Int("soak.rounds", 60, "rounds of the soak test")
	soakSeed   = flag.Uint64("soak.seed", 1, "what goes wrong when in the soak test")
)

// soakSite is a DR cluster of n hosts of every system, one of them a director.
func soakSite(n int) *inventory.Site {
	s := testSite()
	s.Services[0].TunnelPeer = netip.MustParseAddr("192.0.0.8")
	s.Services[0].Address = netip.MustParseAddr("10.0.255.1")
	s.Rollout = inventory.Rollout{Batch: []inventory.Share{{N: 1}}, OnFailure: "host", ConfirmTimeout: 60}
	for i := range n {
		h := &inventory.Host{Name: fmt.Sprintf("rs%03d", i), Connection: "ssh", Roles: []string{"web"}}
		dev := "eth0"
		switch {
		case i == 0:
			h.Name, h.OS, h.Roles = "lb", inventory.Linux, []string{"director"}
		case i%20 == 7: // without an agent
			h.OS, h.Release, dev = inventory.Solaris, "5.10", "pcn0"
		case i%3 == 1:
			h.OS, dev = inventory.FreeBSD, "em0"
		default:
			h.OS = inventory.Linux
		}
		h.Address = fmt.Sprintf("10.0.%d.%d", 1+i/200, 1+i%200)
		h.Interfaces = []inventory.Interface{{Device: dev, Addresses: []netip.Prefix{netip.MustParsePrefix(h.Address + "/16")}}}
		s.Hosts = append(s.Hosts, h)
	}
	return s
}

// An injury is what can go wrong on a host of a system, and how it is mended
// behind the watcher's back.
func injury(h *inventory.Host) (class drift.Class, hurt, mend string) {
	switch {
	case h.Name == "lb":
		return drift.ClassIPVS, "ipvsadm -e -t 10.0.255.1:80 -r 10.0.1.3:80 -g -w 9", "ipvsadm -e -t 10.0.255.1:80 -r 10.0.1.3:80 -g -w 3"
	case h.OS == inventory.FreeBSD:
		return drift.ClassLive, "ifconfig lo0 inet 10.0.255.1 -alias", "ifconfig lo0 inet 10.0.255.1 netmask 255.255.255.255 alias"
	case h.OS == inventory.Solaris:
		return drift.ClassLive, "ifconfig lo0 removeif 10.0.255.1", "ifconfig lo0 addif 10.0.255.1 netmask 255.255.255.255 up"
	}
	return drift.ClassLive, "sysctl -w net.ipv4.conf.all.arp_ignore=0", "sysctl -w net.ipv4.conf.all.arp_ignore=1"
}

// A fullStore is a history whose disk is full at times.
type fullStore struct {
	*history.DB
	full bool
}

var errFull = fmt.Errorf("write: %w", syscall.ENOSPC)

func (s *fullStore) Save(ctx context.Context, d []drift.Drift) error {
	if s.full {
		return errFull
	}
	return s.DB.Save(ctx, d)
}

// usage is what a process holds.
type usage struct{ goroutines, files, heap int }

func (u usage) String() string {
	return fmt.Sprintf("%d goroutines, %d files, %d KB", u.goroutines, u.files, u.heap/1024)
}

func measure(t *testing.T) usage {
	t.Helper()
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	files := 0
	if entries, err := os.ReadDir("/proc/self/fd"); err == nil {
		files = len(entries)
	}
	return usage{runtime.NumGoroutine(), files, int(m.HeapAlloc)}
}

// TestSoak watches a simulated fleet for many rounds in which hosts vanish,
// their SSH servers restart or refuse new logins, disks fill, the clock jumps,
// and settings are changed and put back behind its back. Every injury is found
// once and its end once, and nothing grows. `make soak` does it at length.
func TestSoak(t *testing.T) {
	site := soakSite(*soakHosts)
	dir := t.TempDir()
	simulated, err := lab.Start(t.Context(), site, lab.Options{Dir: filepath.Join(dir, "lab")})
	if err != nil {
		t.Fatal(err)
	}
	defer simulated.Close()
	config, err := lab.Open(filepath.Join(dir, "lab"))
	if err != nil {
		t.Fatal(err)
	}
	d := &remote.Dialer{Agents: remote.LabAgents()}
	dial := func(ctx context.Context, h *inventory.Host) (agent.Session, error) {
		e := config.Hosts[h.Name]
		return d.Dial(ctx, remote.Target{
			Name: h.Name, OS: h.OS, Release: h.Release, Address: e.Address, Port: e.Port, User: e.User,
			IdentityFiles: []string{config.IdentityFile}, KnownHosts: []string{config.KnownHosts},
			ConnectTimeout: time.Minute, // a machine that does other work as well is no injury
		})
	}
	f := &fleet.Fleet{Site: site, Parallel: 32, Run: "soak", Who: "test", Dial: dial}
	d.Renew = f.Renew
	out, err := f.Converge(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range out.Results {
		if r.Err != nil {
			t.Fatalf("%s: %v", r.Host, r.Err)
		}
	}
	d.Renew = nil

	store := &fullStore{DB: history.Open(filepath.Join(dir, history.File))}
	defer store.Close()
	c := &clock{t: time.Now()}
	fired, resolved := map[string]int{}, map[string]int{}
	name := func(d drift.Drift) string { return d.Host + " " + string(d.Class) }
	w, err := drift.NewWatcher(drift.Settings{Site: site, Parallel: 32}, drift.Options{
		Dial: dial, Store: store, Clock: c,
		Tell: func(n drift.Notice) {
			for _, d := range n.Firing {
				fired[name(d)]++
			}
			for _, d := range n.Resolved {
				resolved[name(d)]++
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()

	r := rand.New(rand.NewPCG(*soakSeed, 2))
	run := func(h *inventory.Host, command string) {
		t.Helper()
		if _, err := simulated.Machine(h.Name).Run(t.Context(), host.Cmd{Argv: strings.Fields(command)}); err != nil {
			t.Fatalf("%s: %s: %v", h.Name, command, err)
		}
	}
	type trouble struct {
		until int
		over  func()
	}
	troubles := map[string]trouble{} // by host
	want := map[string]int{}
	full := 0 // rounds that the disk stays full
	var before usage
	w.Round(t.Context())
	if s := w.Snapshot(); len(fired) != 0 {
		t.Fatalf("drift before anything was done: %v\n%+v", fired, s.Hosts[0])
	}
	for round := range *soakRounds {
		c.add(time.Minute)
		switch {
		case r.IntN(50) == 0:
			c.add(time.Duration(r.IntN(48)-24) * time.Hour)
		case r.IntN(25) == 0:
			full = 1 + r.IntN(3)
		}
		store.full = full > 0
		full = max(0, full-1)
		// Twice all that is wrong ends, so that what the process holds can be
		// compared: after a quarter, and at the end.
		calm := round >= *soakRounds-8 || round < *soakRounds/4 && round >= *soakRounds/4-8
		touched := map[string]bool{} // in this round: one thing at a time
		for _, h := range site.Hosts {
			if tr, ok := troubles[h.Name]; ok && (round >= tr.until || calm) {
				tr.over()
				delete(troubles, h.Name)
				touched[h.Name] = true // nobody could tell the next from one that goes on
			}
		}
		for range 1 + *soakHosts/40 {
			h := site.Hosts[r.IntN(len(site.Hosts))]
			if _, busy := troubles[h.Name]; busy || calm || touched[h.Name] {
				continue
			}
			touched[h.Name] = true // one that must log in anew, say, and may not
			until := round + 1 + r.IntN(6)
			m := simulated.Machine(h.Name)
			switch r.IntN(6) {
			case 0, 1:
				class, hurt, mend := injury(h)
				run(h, hurt)
				want[h.Name+" "+string(class)]++
				troubles[h.Name] = trouble{until, func() { run(h, mend) }}
			case 2: // it vanishes
				simulated.Vanish(h.Name)
				want[h.Name+" "+string(drift.ClassUnreachable)]++
				troubles[h.Name] = trouble{until, func() { simulated.SetFaults(h.Name, lab.Faults{}) }}
			case 3: // its SSH server restarts, every connection lost
				simulated.Vanish(h.Name)
				simulated.SetFaults(h.Name, lab.Faults{})
			case 4: // who is in stays in
				simulated.SetFaults(h.Name, lab.Faults{RefuseLogins: true})
				troubles[h.Name] = trouble{until, func() { simulated.SetFaults(h.Name, lab.Faults{}) }}
			case 5:
				m.Locked(func() { m.FS.Full = true })
				troubles[h.Name] = trouble{until, func() { m.Locked(func() { m.FS.Full = false }) }}
			}
		}
		w.Round(t.Context())
		if round == *soakRounds/4-1 {
			before = measure(t)
		}
	}
	s := w.Snapshot()
	for _, h := range s.Hosts {
		if h.State != drift.Clean || !h.Warm {
			t.Errorf("%s is %s at the end (%s): %+v", h.Name, h.State, h.Error, h.Drifts)
		}
	}
	if len(s.Problems) != 0 {
		t.Errorf("problems at the end: %q", s.Problems)
	}
	injuries := 0
	for _, k := range keysOf(want, fired, resolved) {
		injuries += want[k]
		if fired[k] != want[k] || resolved[k] != want[k] {
			t.Errorf("%s: %d times, told %d times, its end %d times", k, want[k], fired[k], resolved[k])
		}
	}
	kept, err := history.Read(t.Context(), filepath.Join(dir, history.File), history.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	recorded := map[string]int{}
	for _, d := range kept {
		recorded[name(d)]++
		if d.Gone.IsZero() || d.End != drift.EndElse {
			t.Errorf("recorded: %+v", d)
		}
	}
	for _, k := range keysOf(want, recorded) {
		if recorded[k] != want[k] {
			t.Errorf("%s: %d times, recorded %d times:", k, want[k], recorded[k])
			for _, d := range kept {
				if name(d) == k {
					t.Logf("%+v", d)
				}
			}
		}
	}
	after := measure(t)
	t.Logf("%d hosts, %d rounds, %d injuries; after a quarter %v, at the end %v", len(site.Hosts), *soakRounds, injuries, before, after)
	if after.goroutines > before.goroutines+8 {
		t.Errorf("goroutines: %d after a quarter, %d at the end", before.goroutines, after.goroutines)
	}
	if after.files > before.files+4 {
		t.Errorf("open files: %d after a quarter, %d at the end", before.files, after.files)
	}
	if after.heap > before.heap*5/4+8<<20 {
		t.Errorf("memory: %d KB after a quarter, %d KB at the end", before.heap/1024, after.heap/1024)
	}
	if injuries == 0 {
		t.Error("nothing went wrong")
	}
}

func keysOf(maps ...map[string]int) []string {
	seen := map[string]bool{}
	var list []string
	for _, m := range maps {
		for k := range m {
			if !seen[k] {
				seen[k] = true
				list = append(list, k)
			}
		}
	}
	return list
}
