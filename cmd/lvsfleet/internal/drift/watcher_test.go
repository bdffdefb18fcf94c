package drift_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/drift"
	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/fleet"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
	"github.com/lvsfleet/lvsfleet/providers/note"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// A clock that is moved by hand, and by whoever sleeps by it.
type clock struct {
	mu    sync.Mutex
	t     time.Time
	slept func() // called in each sleep; nil: nothing
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = t
}

func (c *clock) add(d time.Duration) { c.set(c.Now().Add(d)) }

func (c *clock) Sleep(ctx context.Context, d time.Duration) error {
	c.add(d)
	if c.slept != nil {
		c.slept()
	}
	return ctx.Err()
}

// A world is what the hosts of a site are like.
type world struct {
	mu      sync.Mutex
	hosts   map[string]*fakeHost
	dials   map[string]int
	watches int
}

type fakeHost struct {
	off    bool  // cannot be logged in to
	err    error // what a look ends with
	cut    bool  // its open line is lost
	report agent.Report
	table  []agent.Entry
}

func newWorld(names ...string) *world {
	w := &world{hosts: map[string]*fakeHost{}, dials: map[string]int{}}
	for _, n := range names {
		w.hosts[n] = &fakeHost{}
	}
	return w
}

func (w *world) set(name string, change func(*fakeHost)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(w.hosts[name])
}

func (w *world) dial(_ context.Context, h *inventory.Host) (agent.Session, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.hosts[h.Name]
	if f.off {
		return nil, fmt.Errorf("connect to %s: refused", h.Name)
	}
	w.dials[h.Name]++
	f.cut = false
	return &session{w: w, h: f}, nil
}

type session struct {
	agent.Session
	w *world
	h *fakeHost
}

func (s *session) Watch(context.Context, *agent.Request, bool) (agent.Sighting, error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.w.watches++
	switch {
	case s.h.cut, s.h.off:
		return agent.Sighting{}, host.ErrLost
	case s.h.err != nil:
		return agent.Sighting{}, s.h.err
	}
	r := s.h.report
	r.Items = slices.Clone(r.Items)
	return agent.Sighting{Report: &r, Table: s.h.table}, nil
}

func (s *session) Close() error { return nil }

func item(layer agent.Layer, name, diff string) agent.Item {
	c := step.Change{Diff: diff, Do: []step.Op{{Kind: step.Run, Argv: []string{"true"}}}}
	if layer == agent.Live {
		c.Effects = step.RecordedEffects(nil, name, "", "x")
	}
	return agent.Item{Step: name, Layer: layer, Change: c}
}

func testSite(names ...string) *inventory.Site {
	s := &inventory.Site{Name: "t", Roles: []inventory.Role{{Name: "director"}, {Name: "web"}}}
	for i, n := range names {
		addr := fmt.Sprintf("192.0.2.%d", i+1)
		h := &inventory.Host{
			Name: n, OS: inventory.Linux, Address: addr, Connection: "ssh",
			Interfaces: []inventory.Interface{{Device: "eth0", Addresses: []netip.Prefix{netip.MustParsePrefix(addr + "/24")}}},
		}
		if n == "lb" {
			h.Roles = []string{"director"}
		} else {
			h.Roles = []string{"web"}
		}
		s.Hosts = append(s.Hosts, h)
	}
	s.Services = []*inventory.VirtualService{{
		Name: "http", Director: "director", Pool: "web", Address: netip.MustParseAddr("192.0.2.200"),
		Ports: []int{80}, Protocol: "tcp", Scheduler: "wlc", Method: inventory.DR, Weight: 3,
		VIP: inventory.Managed, Weights: inventory.Managed,
	}}
	return s
}

// A bench is a watcher of a world, and what it has told.
type bench struct {
	*drift.Watcher
	world   *world
	clock   *clock
	notices []drift.Notice
	events  []drift.Event
	o       drift.Options
}

func newBench(t *testing.T, s drift.Settings, change func(*bench)) *bench {
	t.Helper()
	b := &bench{clock: &clock{t: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}}
	var names []string
	for _, h := range s.Site.Hosts {
		names = append(names, h.Name)
	}
	b.world = newWorld(names...)
	var mu sync.Mutex
	b.o = drift.Options{
		Dial: b.world.dial, Clock: b.clock,
		Tell: func(n drift.Notice) { b.notices = append(b.notices, n) },
		Observe: func(e drift.Event) {
			mu.Lock()
			defer mu.Unlock()
			b.events = append(b.events, e)
		},
	}
	if change != nil {
		change(b)
	}
	if s.Parallel == 0 {
		s.Parallel = 4
	}
	w, err := drift.NewWatcher(s, b.o)
	if err != nil {
		t.Fatal(err)
	}
	b.Watcher = w
	t.Cleanup(w.Close)
	return b
}

// round holds one, a minute later.
func (b *bench) round(t *testing.T) drift.Notice {
	t.Helper()
	b.clock.add(time.Minute)
	before := len(b.notices)
	b.Round(t.Context())
	if len(b.notices) != before+1 {
		t.Fatalf("%d notices of a round", len(b.notices)-before)
	}
	return b.notices[before]
}

func (b *bench) host(name string) drift.Host {
	for _, h := range b.Snapshot().Hosts {
		if h.Name == name {
			return h
		}
	}
	return drift.Host{}
}

// told is a notice in short: "+rs1 live a", "-rs1 live a else".
func told(n drift.Notice) []string {
	var list []string
	for _, d := range n.Firing {
		list = append(list, strings.TrimSpace(fmt.Sprintf("+%s %s %s", d.Host, d.Class, d.Step)))
	}
	for _, d := range n.Resolved {
		list = append(list, fmt.Sprintf("-%s %s %s %s", d.Host, d.Class, d.Step, d.End))
	}
	for _, g := range n.GivenUp {
		list = append(list, "given up "+g.Host)
	}
	for _, g := range n.Resumed {
		list = append(list, "resumed "+g.Host)
	}
	slices.Sort(list)
	return list
}

func expect(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func TestDifferencesAreClassedAndToldOnce(t *testing.T) {
	b := newBench(t, drift.Settings{Site: testSite("lb", "rs1")}, nil)
	expect(t, "at first", told(b.round(t)))
	if h := b.host("rs1"); h.State != drift.Clean || !h.Warm || !h.Seen.Equal(b.clock.Now()) {
		t.Errorf("%+v", h)
	}
	b.world.set("lb", func(h *fakeHost) {
		h.report.Items = []agent.Item{item(agent.Live, "ipvs", "-a"), item(agent.Boot, "file:/etc/sysconfig/ipvsadm", "-b")}
	})
	b.world.set("rs1", func(h *fakeHost) { h.report.Items = []agent.Item{item(agent.Live, "sysctl:x", "-c")} })
	expect(t, "drifted", told(b.round(t)), "+lb ipvs ipvs", "+lb boot file:/etc/sysconfig/ipvsadm", "+rs1 live sysctl:x")
	first := b.clock.Now()
	b.world.set("rs1", func(h *fakeHost) { h.report.Items = []agent.Item{item(agent.Live, "sysctl:x", "-d")} })
	expect(t, "still", told(b.round(t)))
	h := b.host("rs1")
	if h.State != drift.Drifted || len(h.Drifts) != 1 || !h.Since.Equal(first) {
		t.Fatalf("%+v", h)
	}
	if d := h.Drifts[0]; !d.First.Equal(first) || !d.Last.Equal(b.clock.Now()) || d.Diff != "-d" || !d.Gone.IsZero() {
		t.Errorf("%+v", d)
	}
	b.world.set("rs1", func(h *fakeHost) { h.report.Items = nil })
	expect(t, "gone", told(b.round(t)), "-rs1 live sysctl:x else")
	list, err := b.Timeline(t.Context(), time.Time{}, 2)
	if err != nil || len(list) != 2 {
		t.Errorf("%v, %v", list, err)
	}
}

func TestForeignSettingsAreDriftOnceTheyAppear(t *testing.T) {
	b := newBench(t, drift.Settings{Site: testSite("lb", "rs1")}, nil)
	seen := func(notes ...note.Note) {
		b.world.set("lb", func(h *fakeHost) {
			h.report.Items = []agent.Item{{Step: "ipvs", Layer: agent.Live, Change: step.Change{Notes: notes}}}
		})
	}
	foreign := func(service, with string) note.Note {
		return note.New(note.ForeignService, "the IPVS table", service, with)
	}
	seen(foreign("TCP 1", "1 real server"))
	expect(t, "what was there", told(b.round(t)))
	seen(foreign("TCP 1", "2 real servers"), foreign("TCP 2", "1 real server"))
	expect(t, "what appears", told(b.round(t)), "+lb foreign ipvs")
	seen(foreign("TCP 1", "3 real servers"), foreign("TCP 2", "7 real servers"))
	expect(t, "what changes", told(b.round(t)))
	if h := b.host("lb"); len(h.Notes) != 2 || h.State != drift.Drifted || !strings.Contains(h.Drifts[0].Diff, "with 7") {
		t.Errorf("%+v", h)
	}
	seen(foreign("TCP 1", "3 real servers"))
	expect(t, "what goes", told(b.round(t)), "-lb foreign ipvs else")
}

// What only this build wants is told and is no drift: nobody is alerted.
func TestWhatIsNewWithThisVersionIsNoDrift(t *testing.T) {
	b := newBench(t, drift.Settings{Site: testSite("lb", "rs1")}, nil)
	unit := item(agent.Boot, "file:/etc/unit", "+x")
	unit.New = true
	b.world.set("rs1", func(h *fakeHost) { h.report.Items = []agent.Item{unit} })
	expect(t, "new with this version", told(b.round(t)))
	if h := b.host("rs1"); h.State != drift.Clean || len(h.Drifts) != 0 || len(h.Notes) != 1 || !strings.Contains(h.Notes[0], "file:/etc/unit is new with this version") {
		t.Errorf("%+v", h)
	}
	b.world.set("rs1", func(h *fakeHost) { h.report.Items = []agent.Item{unit, item(agent.Live, "sysctl:x", "-c")} })
	expect(t, "and drift beside it", told(b.round(t)), "+rs1 live sysctl:x")
}

func TestALostLineIsOpenedAgainAndAHostThatIsGoneIsToldOnce(t *testing.T) {
	b := newBench(t, drift.Settings{Site: testSite("lb", "rs1")}, nil)
	b.round(t)
	b.round(t)
	if n := b.world.dials["rs1"]; n != 1 {
		t.Errorf("%d logins in two rounds", n)
	}
	b.world.set("rs1", func(h *fakeHost) { h.cut = true })
	expect(t, "a lost line", told(b.round(t)))
	if n := b.world.dials["rs1"]; n != 2 {
		t.Errorf("%d logins", n)
	}
	b.world.set("rs1", func(h *fakeHost) {
		h.off = true
		h.report.Items = []agent.Item{item(agent.Live, "sysctl:x", "-c")}
	})
	seen := b.clock.Now()
	expect(t, "gone", told(b.round(t)), "+rs1 unreachable")
	expect(t, "still", told(b.round(t)))
	h := b.host("rs1")
	if h.State != drift.Unreachable || h.Warm || !h.Seen.Equal(seen) || !strings.Contains(h.Error, "refused") || !strings.Contains(h.Drifts[0].Diff, "refused") {
		t.Errorf("%+v", h)
	}
	if s := b.Snapshot(); !s.Success.Equal(seen) || !s.Time.Equal(b.clock.Now()) {
		t.Errorf("success %v, time %v", s.Success, s.Time)
	}
	b.world.set("rs1", func(h *fakeHost) { h.off = false })
	expect(t, "back, and drifted", told(b.round(t)), "-rs1 unreachable  else", "+rs1 live sysctl:x")
	b.world.set("rs1", func(h *fakeHost) { h.err = errors.New("plan: refused") })
	expect(t, "cannot be looked at", told(b.round(t)), "+rs1 unreachable")
	if h := b.host("rs1"); h.State != drift.Failed || len(h.Drifts) != 2 || !h.Warm {
		t.Errorf("%+v", h)
	}
}

func TestAHostUnderChangeIsBusyAndItsDriftsStay(t *testing.T) {
	b := newBench(t, drift.Settings{Site: testSite("lb", "rs1")}, func(b *bench) {
		b.o.Changed = func(name string, since time.Time) bool { return name == "rs1" && !since.After(b.clock.Now()) }
	})
	b.world.set("rs1", func(h *fakeHost) { h.report.Items = []agent.Item{item(agent.Live, "sysctl:x", "-c")} })
	b.round(t)
	b.world.set("rs1", func(h *fakeHost) {
		h.report.UnderWay, h.report.Items = "op@ctl", []agent.Item{item(agent.Live, "sysctl:y", "-c")}
	})
	expect(t, "busy", told(b.round(t)))
	if h := b.host("rs1"); h.State != drift.Busy || len(h.Drifts) != 1 || !strings.Contains(h.Notes[0], "op@ctl") {
		t.Errorf("%+v", h)
	}
	if differs, untold := b.Snapshot().Findings(); differs || !untold {
		t.Errorf("differs %v, untold %v", differs, untold)
	}
	b.world.set("rs1", func(h *fakeHost) { h.report = agent.Report{} })
	expect(t, "done", told(b.round(t)), "-rs1 live sysctl:x converge")
}

func TestServicesJoinTheTableAndTheInventory(t *testing.T) {
	b := newBench(t, drift.Settings{Site: testSite("lb", "rs1", "rs2", "rs3")}, nil)
	key := ipvs.Key{Protocol: "tcp", Addr: netip.MustParseAddr("192.0.2.200"), Port: 80}
	dest := func(a string, weight int) ipvs.Destination {
		return ipvs.Destination{DestKey: ipvs.DestKey{Addr: netip.MustParseAddr(a), Port: 80}, Method: ipvs.DR, Weight: weight}
	}
	b.world.set("lb", func(h *fakeHost) {
		h.table = []agent.Entry{
			{Service: key, Dest: dest("192.0.2.2", 3), Active: 4, Inactive: 5, Persistent: 6, Counts: ipvs.Counts{Connections: 7, InBytes: 8, OutBytes: 9}},
			{Service: key, Dest: dest("192.0.2.3", 0)},
			{Service: key, Dest: dest("203.0.113.9", 1)},
			{Service: ipvs.Key{Mark: 9}, Dest: dest("192.0.2.3", 1)},
		}
	})
	b.round(t)
	want := []drift.Service{{Director: "lb", Name: "http", Key: "tcp 192.0.2.200:80", Real: []drift.Real{
		{Host: "rs1", Address: "192.0.2.2", Method: "dr", Weight: 3, Want: 3, Active: 4, Inactive: 5, Persistent: 6, Connections: 7, InBytes: 8, OutBytes: 9},
		{Host: "rs2", Address: "192.0.2.3", Method: "dr", Weight: 0, Want: 3},
		{Host: "rs3", Address: "192.0.2.4", Method: "dr", Weight: -1, Want: 3},
		{Host: "", Address: "203.0.113.9", Method: "dr", Weight: 1, Want: -1},
	}}}
	if d := cmp.Diff(want, b.Snapshot().Services); d != "" {
		t.Error(d)
	}
}

// rounds runs the watcher until it has held n rounds.
func (b *bench) rounds(t *testing.T, n int, each func(round int)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	b.clock.slept = func() {
		if each != nil {
			each(len(b.notices))
		}
		if len(b.notices) >= n {
			cancel()
		}
	}
	b.Run(ctx)
}

func TestRoundsComeWhenTheyAreDue(t *testing.T) {
	cron, err := drift.Cron("*/15 * * * *")
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]drift.Schedule{"every": drift.Every(15 * time.Minute), "cron": cron} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, drift.Settings{Site: testSite("lb", "rs1"), Schedule: s}, nil)
			begin := b.clock.Now()
			b.rounds(t, 4, nil)
			for i, n := range b.notices {
				if want := begin.Add(time.Duration(i) * 15 * time.Minute); !n.Time.Equal(want) {
					t.Errorf("round %d at %v, want %v", i, n.Time, want)
				}
			}
		})
	}
}

func TestAClockThatJumpsKeepsNoRoundWaiting(t *testing.T) {
	b := newBench(t, drift.Settings{Site: testSite("lb", "rs1"), Schedule: drift.Every(10 * time.Minute)}, nil)
	jumped := 0
	b.rounds(t, 6, func(round int) {
		switch {
		case round == 2 && jumped == 0:
			jumped = 1
			b.clock.add(-5 * time.Hour)
		case round == 4 && jumped == 1:
			jumped = 2
			b.clock.add(3*time.Hour + time.Minute)
		}
	})
	if d := b.notices[2].Time.Sub(b.notices[1].Time.Add(-5 * time.Hour)); d < 0 || d > 11*time.Minute {
		t.Errorf("after the clock was set back a round came %v later", d)
	}
	if d := b.notices[4].Time.Sub(b.notices[3].Time); d < 3*time.Hour || d > 3*time.Hour+2*time.Minute {
		t.Errorf("after the clock was set forward a round came %v later", d)
	}
	if b.Missed() == 0 || b.Missed() > 20 {
		t.Errorf("%d rounds missed", b.Missed())
	}
}

func TestARoundThatTakesTooLongMissesOthers(t *testing.T) {
	b := newBench(t, drift.Settings{Site: testSite("lb", "rs1"), Schedule: drift.Every(10 * time.Minute)}, func(b *bench) {
		dial := b.o.Dial
		b.o.Dial = func(ctx context.Context, h *inventory.Host) (agent.Session, error) {
			if h.Name == "rs1" {
				b.clock.add(25 * time.Minute)
			}
			return dial(ctx, h)
		}
	})
	var problems []string
	b.rounds(t, 2, func(round int) {
		if round == 1 && problems == nil {
			problems = b.Snapshot().Problems
		}
	})
	if b.Missed() != 2 || len(problems) != 1 || !strings.Contains(problems[0], "2 rounds were missed") {
		t.Errorf("%d missed, %q", b.Missed(), problems)
	}
	if p := b.Snapshot().Problems; len(p) != 0 {
		t.Errorf("after a round on time: %q", p)
	}
}

func TestAnotherInventoryIsLookedAtAtOnce(t *testing.T) {
	b := newBench(t, drift.Settings{Site: testSite("lb", "rs1", "rs2"), Schedule: drift.Every(time.Hour)}, nil)
	b.world.set("rs2", func(h *fakeHost) { h.report.Items = []agent.Item{item(agent.Live, "sysctl:x", "-c")} })
	begin := b.clock.Now()
	b.rounds(t, 2, func(round int) {
		if round == 1 {
			b.Reload(drift.Settings{Site: testSite("lb", "rs1"), Schedule: drift.Every(time.Hour), Parallel: 1})
		}
	})
	if d := b.notices[1].Time.Sub(begin); d > 2*time.Minute {
		t.Errorf("%v later", d)
	}
	expect(t, "the second round", told(b.notices[1]), "-rs2 live sysctl:x else")
	if s := b.Snapshot(); len(s.Hosts) != 2 {
		t.Errorf("%+v", s.Hosts)
	}
	if n := b.world.dials["rs1"]; n != 1 {
		t.Errorf("%d logins to a host that stayed as it was", n)
	}
}

func TestALimitThatNamesNobodyKeepsTheOldSettings(t *testing.T) {
	b := newBench(t, drift.Settings{Site: testSite("lb", "rs1"), Schedule: drift.Every(time.Hour)}, nil)
	b.rounds(t, 2, func(round int) {
		if round == 1 {
			b.Reload(drift.Settings{Site: testSite("lb", "rs1"), Limit: []string{"nobody"}, Schedule: drift.Every(time.Second)})
		}
	})
	if p := b.Snapshot().Problems; len(p) != 1 || !strings.Contains(p[0], "nobody") {
		t.Errorf("%q", p)
	}
	if d := b.notices[1].Time.Sub(b.notices[0].Time); d != time.Hour {
		t.Errorf("a round after %v", d)
	}
}

func TestCronIsUnderstoodOrRefused(t *testing.T) {
	for _, text := range []string{"", "nonsense", "61 * * * *", "* * * *", "* * * * * *", "0 0 30 2 *"} {
		if _, err := drift.Cron(text); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", text)) {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{"*/15 * * * *", "@hourly", "0 4 * * MON-FRI", "CRON_TZ=Europe/Berlin 0 4 * * *"} {
		if _, err := drift.Cron(text); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzCron(f *testing.F) {
	f.Add("*/15 * * * *")
	f.Add("CRON_TZ=UTC @daily")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := drift.Cron(text)
		if err != nil {
			return
		}
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		if n := s.Next(now); !n.IsZero() && !n.After(now) {
			t.Fatalf("%q is due at %v, asked at %v", text, n, now)
		}
	})
}

// repairing is a watcher that repairs.
func repairing(t *testing.T, most int, converge func(b *bench, hosts []string) (fleet.Outcome, error)) *bench {
	return newBench(t, drift.Settings{Site: testSite("lb", "rs1", "rs2"), Repair: true, RepairMax: most}, func(b *bench) {
		b.o.Converge = func(_ context.Context, _ *inventory.Site, hosts []string) (fleet.Outcome, error) {
			return converge(b, hosts)
		}
	})
}

func broken(h *fakeHost) { h.report.Items = []agent.Item{item(agent.Live, "sysctl:x", "-c")} }

func TestWhatDriftedIsRepairedWithinBounds(t *testing.T) {
	var runs [][]string
	b := repairing(t, 1, func(b *bench, hosts []string) (fleet.Outcome, error) {
		runs = append(runs, hosts)
		out := fleet.Outcome{}
		for _, name := range hosts {
			b.world.set(name, func(h *fakeHost) { h.report = agent.Report{} })
			out.Results = append(out.Results, fleet.Result{Host: name, Status: fleet.Changed})
		}
		return out, nil
	})
	b.round(t)
	b.world.set("rs1", broken)
	b.world.set("rs2", broken)
	expect(t, "one a round", told(b.round(t)), "+rs1 live sysctl:x", "+rs2 live sysctl:x", "-rs1 live sysctl:x repaired")
	expect(t, "the other", told(b.round(t)), "-rs2 live sysctl:x repaired")
	expect(t, "nothing more", told(b.round(t)))
	if fmt.Sprint(runs) != "[[rs1] [rs2]]" {
		t.Errorf("%v", runs)
	}
}

// A repair converges the whole host: where that would do what nobody has seen
// yet, a person is waited for.
func TestWhatIsNewWithThisVersionIsNotRepaired(t *testing.T) {
	repairs := 0
	b := repairing(t, 1, func(b *bench, hosts []string) (fleet.Outcome, error) {
		repairs++
		b.world.set("rs1", func(h *fakeHost) { h.report = agent.Report{} })
		return fleet.Outcome{Results: []fleet.Result{{Host: "rs1", Status: fleet.Changed}}}, nil
	})
	unit := item(agent.Boot, "file:/etc/unit", "+x")
	unit.New = true
	b.world.set("rs1", func(h *fakeHost) { h.report.Items = []agent.Item{unit, item(agent.Live, "sysctl:x", "-c")} })
	b.round(t)
	if repairs != 0 || b.host("rs1").State != drift.Drifted {
		t.Fatalf("%d repairs, %+v", repairs, b.host("rs1"))
	}
	b.world.set("rs1", broken) // somebody has converged, and it drifts
	b.round(t)
	if repairs != 1 {
		t.Errorf("%d repairs", repairs)
	}
}

func TestADriftThatComesBackIsNotRepairedInALoop(t *testing.T) {
	repairs := 0
	b := repairing(t, 0, func(b *bench, hosts []string) (fleet.Outcome, error) {
		repairs++
		b.world.set("rs1", func(h *fakeHost) { h.report = agent.Report{} })
		return fleet.Outcome{Results: []fleet.Result{{Host: "rs1", Status: fleet.Changed}}}, nil
	})
	var at []time.Duration
	begin := b.clock.Now()
	givenUp := 0
	for range 300 { // five hours, a round a minute, broken again each time
		b.world.set("rs1", broken)
		before := repairs
		n := b.round(t)
		if repairs > before {
			at = append(at, b.clock.Now().Sub(begin))
		}
		givenUp += len(n.GivenUp)
	}
	if repairs != 3 || givenUp != 1 {
		t.Errorf("%d repairs at %v, given up %d times", repairs, at, givenUp)
	}
	if len(at) == 3 && (at[1]-at[0] < 10*time.Minute || at[2]-at[1] < 20*time.Minute) {
		t.Errorf("repairs at %v", at)
	}
	if p := b.Snapshot().Problems; len(p) != 1 || !strings.Contains(p[0], "rs1 drifts again after 3 repairs") {
		t.Errorf("%q", p)
	}
	// A day of quiet, and it counts as new.
	b.world.set("rs1", func(h *fakeHost) { h.report = agent.Report{} })
	b.round(t)
	b.clock.add(25 * time.Hour)
	expect(t, "a day later", told(b.round(t)), "resumed rs1")
	b.world.set("rs1", broken)
	b.round(t)
	if repairs != 4 {
		t.Errorf("%d repairs", repairs)
	}
}

func TestAnotherDriftIsRepairedAtOnce(t *testing.T) {
	repairs := 0
	b := repairing(t, 0, func(b *bench, _ []string) (fleet.Outcome, error) {
		repairs++
		b.world.set("rs1", func(h *fakeHost) { h.report = agent.Report{} })
		return fleet.Outcome{Results: []fleet.Result{{Host: "rs1", Status: fleet.Changed}}}, nil
	})
	for _, name := range []string{"a", "b", "c", "d"} {
		b.world.set("rs1", func(h *fakeHost) { h.report.Items = []agent.Item{item(agent.Live, name, "-c")} })
		b.round(t)
	}
	if repairs != 4 || b.host("rs1").State != drift.Clean {
		t.Errorf("%d repairs, %+v", repairs, b.host("rs1"))
	}
	// Those that were repaired before are not others.
	for range 20 {
		for _, name := range []string{"a", "b"} {
			b.world.set("rs1", func(h *fakeHost) { h.report.Items = []agent.Item{item(agent.Live, name, "-c")} })
			b.round(t)
		}
	}
	if repairs > 6 {
		t.Errorf("%d repairs in a loop", repairs)
	}
}

func TestARepairThatFailsIsTriedLaterAndTold(t *testing.T) {
	repairs := 0
	b := repairing(t, 0, func(*bench, []string) (fleet.Outcome, error) {
		repairs++
		return fleet.Outcome{}, errors.New("nothing was changed: rs2 refuses")
	})
	b.world.set("rs1", broken)
	gave := 0
	for range 120 {
		gave += len(b.round(t).GivenUp)
	}
	if repairs != 3 || gave != 1 {
		t.Errorf("%d repairs, given up %d times", repairs, gave)
	}
	if p := b.Snapshot().Problems; len(p) != 1 || !strings.Contains(p[0], "rs2 refuses") {
		t.Errorf("%q", p)
	}
}

// A shelf is a store in memory that can be out of order.
type shelf struct {
	drift.Store
	broken error
	kept   map[int64]drift.Drift
	memo   []byte
	last   int64
}

func (s *shelf) Open(context.Context) (list []drift.Drift, err error) {
	for _, d := range s.kept {
		if d.Gone.IsZero() {
			list = append(list, d)
		}
	}
	return list, s.broken
}

func (s *shelf) Save(_ context.Context, drifts []drift.Drift) error {
	if s.broken != nil {
		return s.broken
	}
	for i := range drifts {
		if drifts[i].ID == 0 {
			s.last++
			drifts[i].ID = s.last
		}
		s.kept[drifts[i].ID] = drifts[i]
	}
	return nil
}

func (s *shelf) Timeline(context.Context, time.Time, int) ([]drift.Drift, error) {
	return nil, s.broken
}

func (s *shelf) Memo(context.Context) ([]byte, error) { return s.memo, s.broken }

func (s *shelf) SetMemo(_ context.Context, text []byte) error {
	s.memo = text
	return s.broken
}

func (s *shelf) Forget(context.Context, time.Time) error { return s.broken }

func TestAHistoryOutOfOrderStopsNothingAndIsCaughtUpWith(t *testing.T) {
	s := &shelf{kept: map[int64]drift.Drift{}, broken: errors.New("disk full")}
	b := newBench(t, drift.Settings{Site: testSite("lb", "rs1"), Retention: time.Hour}, func(b *bench) { b.o.Store = s })
	b.round(t)
	b.world.set("rs1", broken)
	expect(t, "found all the same", told(b.round(t)), "+rs1 live sysctl:x")
	b.world.set("rs1", func(h *fakeHost) { h.report = agent.Report{} })
	expect(t, "and its end", told(b.round(t)), "-rs1 live sysctl:x else")
	b.world.set("lb", broken)
	b.round(t)
	problems := 0
	for _, e := range b.events {
		if e.Problem != "" {
			problems++
		}
	}
	if p := b.Snapshot().Problems; len(p) != 1 || !strings.Contains(p[0], "disk full") || problems != 1 {
		t.Errorf("%q, told %d times", p, problems)
	}
	if list, err := b.Timeline(t.Context(), time.Time{}, 10); err != nil || len(list) != 2 {
		t.Errorf("from memory: %v, %v", list, err)
	}
	s.broken = nil
	b.round(t)
	if _, err := b.Timeline(t.Context(), time.Time{}, 10); err != nil || len(b.Snapshot().Problems) != 0 {
		t.Errorf("%v, %q", err, b.Snapshot().Problems)
	}
	if len(s.kept) != 2 || s.kept[1].Gone.IsZero() == s.kept[2].Gone.IsZero() {
		t.Errorf("%+v", s.kept)
	}

	// Another process goes on from there, and tells of nothing twice.
	again := newBench(t, drift.Settings{Site: testSite("lb", "rs1")}, func(b *bench) { b.o.Store = s })
	again.world.set("lb", broken)
	again.clock.set(b.clock.Now().Add(time.Hour))
	expect(t, "another process", told(again.round(t)))
	if d := again.host("lb").Drifts; len(d) != 1 || d[0].ID == 0 || !d[0].First.Before(b.clock.Now()) {
		t.Errorf("%+v", d)
	}
	again.world.set("lb", func(h *fakeHost) { h.report = agent.Report{} })
	expect(t, "and its end", told(again.round(t)), "-lb live sysctl:x else")
	if len(s.kept) != 2 {
		t.Errorf("%+v", s.kept)
	}
}

func TestChangesAreTold(t *testing.T) {
	b := newBench(t, drift.Settings{Site: testSite("lb", "rs1")}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	c := b.Changes(ctx)
	b.round(t)
	select {
	case <-c:
	case <-time.After(10 * time.Second):
		t.Fatal("a round changed nothing")
	}
	cancel()
	for range c { // ends
	}
	b.round(t)
}

// A hung session answers nothing until its line is cut, and cannot be closed
// before that.
type hung struct {
	agent.Session
	asked chan struct{} // closed when it is waited for
	lost  chan struct{} // closed when the line is cut
}

func (h *hung) Watch(context.Context, *agent.Request, bool) (agent.Sighting, error) {
	close(h.asked)
	<-h.lost
	return agent.Sighting{}, host.ErrLost
}

func (h *hung) Cut() { close(h.lost) }

func (h *hung) Close() error {
	<-h.lost
	return nil
}

func TestARoundThatIsToEndWaitsForNoHostAndTellsNothingOfIt(t *testing.T) {
	h := &hung{asked: make(chan struct{}), lost: make(chan struct{})}
	var events []drift.Event
	w, err := drift.NewWatcher(drift.Settings{Site: testSite("lb"), Parallel: 1}, drift.Options{
		Dial:    func(context.Context, *inventory.Host) (agent.Session, error) { return h, nil },
		Observe: func(e drift.Event) { events = append(events, e) },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.Run(ctx)
	}()
	<-h.asked
	cancel()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Fatal("it still waits")
	}
	if s := w.Snapshot(); len(events) > 0 || s.Hosts[0].State != drift.Unknown {
		t.Errorf("%v, %+v", events, s)
	}
}
