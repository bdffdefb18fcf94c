package fleet

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/fleet/plan"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
)

// A scene is what is to change in a town of four real servers behind two
// directors.
type scene struct {
	name    string
	pool    []string // real servers that the inventory names; nil: all four
	method  inventory.Method
	before  string // the tables, as ipvsadm -Sn prints them
	steps   []string
	changes []string // hosts that those steps are for; nil: all of the pool
	// fits says whether a real server serves the entry; nil: it does, but for
	// the middle of its change.
	fits func(host, state string, e ipvs.Destination) bool
}

const vip = "192.0.2.1"

// table writes a table in which each host has the method and weight 2.
func table(method string, hosts ...int) string {
	text := "-A -t " + vip + ":80 -s wlc\n"
	for _, n := range hosts {
		text += fmt.Sprintf("-a -t %s:80 -r 10.0.0.%d:80 %s -w 2\n", vip, 10+n, method)
	}
	return text
}

// byMethod: before its change a real server takes DR, after it TUN.
func byMethod(_, state string, e ipvs.Destination) bool {
	return state == "before" && e.Method == ipvs.DR || state == "after" && e.Method == ipvs.TUN
}

func scenes() []scene {
	return []scene{
		{name: "another gateway", method: inventory.DR, before: table("-g", 1, 2, 3, 4), steps: []string{"route:default"}},
		{name: "the VIP is mended on two", method: inventory.DR, before: table("-g", 1, 2, 3, 4), steps: []string{"address:" + vip}, changes: []string{"rs2", "rs3"}},
		{name: "from dr to tun", method: inventory.TUN, before: table("-g", 1, 2, 3, 4), steps: []string{"tunnel:a-b", "gif0:" + vip}, fits: byMethod},
		{name: "one goes", pool: []string{"rs1", "rs2", "rs3"}, method: inventory.DR, before: table("-g", 1, 2, 3, 4), steps: []string{"sysctl:x"}},
		{name: "one goes while the others change", pool: []string{"rs1", "rs2", "rs3"}, method: inventory.DR, before: table("-g", 1, 2, 3, 4), steps: []string{"route:default"}},
		{name: "one for another", pool: []string{"rs2"}, method: inventory.DR, before: table("-g", 1), steps: []string{"vip:" + vip}},
		{name: "one comes", method: inventory.DR, before: table("-g", 1, 2, 3), steps: []string{"lo0:" + vip}, changes: []string{"rs4"}},
		{name: "one comes while the only one changes", pool: []string{"rs1", "rs3"}, method: inventory.DR, before: table("-g", 3), steps: []string{"route:default"}},
		{name: "nothing is there yet", method: inventory.DR, steps: []string{"vip:" + vip}},
	}
}

func (s scene) town(t *testing.T) *town {
	t.Helper()
	w := &town{
		t: t, tables: map[string]*ipvs.Memory{}, state: map[string]string{}, steps: map[string][]string{},
		counts: map[netip.Addr]int{}, first: map[place2]bool{}, fail: map[string]error{},
		now: time.Unix(1e9, 0), hits: map[string]bool{}, drained: map[string]bool{}, past: map[string][]deed{},
		undone: map[string]bool{},
	}
	for n := 1; n <= 4; n++ {
		name := fmt.Sprintf("rs%d", n)
		w.state[name] = "before"
		pool := s.pool == nil || slices.Contains(s.pool, name)
		if pool && (s.changes == nil || slices.Contains(s.changes, name)) {
			w.steps[name] = s.steps
			w.hits[name] = disturbing(s.steps)
		}
		w.counts[netip.AddrFrom4([4]byte{10, 0, 0, byte(10 + n)})] = 3
	}
	w.fits = s.fits
	if w.fits == nil {
		w.fits = func(host, state string, _ ipvs.Destination) bool { return state != "between" || !w.hits[host] }
	}
	for _, dir := range []string{"lb1", "lb2"} {
		services, err := ipvs.ParseRules([]byte(s.before))
		if err != nil {
			t.Fatal(err)
		}
		w.tables[dir] = &ipvs.Memory{Services: services}
	}
	w.look("at first")
	return w
}

func disturbing(steps []string) bool {
	return slices.ContainsFunc(steps, func(s string) bool { return !strings.HasPrefix(s, "sysctl:") })
}

func (s scene) fleet(w *town) *Fleet {
	h := func(name, addr string, roles ...string) *inventory.Host {
		return &inventory.Host{
			Name: name, OS: inventory.Linux, Address: addr, Roles: roles, Connection: "ssh",
			Interfaces: []inventory.Interface{{Device: "eth0", Addresses: []netip.Prefix{netip.MustParsePrefix(addr + "/24")}}},
		}
	}
	site := &inventory.Site{
		Name: "t", Roles: []inventory.Role{{Name: "director"}, {Name: "web"}},
		Hosts: []*inventory.Host{h("lb1", "10.0.0.1", "director"), h("lb2", "10.0.0.2", "director")},
		Services: []*inventory.VirtualService{{
			Name: "http", Director: "director", Pool: "web", Address: netip.MustParseAddr(vip),
			Ports: []int{80}, Protocol: "tcp", Scheduler: "wlc", Method: s.method, Weight: 2,
			TunnelPeer: netip.MustParseAddr("10.9.9.9"),
			VIP:        inventory.Managed, Weights: inventory.Managed,
		}},
		Rollout: inventory.Rollout{Batch: []inventory.Share{{N: 1}, {N: 50, Percent: true}}, Drain: 30, OnFailure: "host"},
	}
	for n := 1; n <= 4; n++ {
		name := fmt.Sprintf("rs%d", n)
		var roles []string
		if s.pool == nil || slices.Contains(s.pool, name) {
			roles = []string{"web"}
		}
		site.Hosts = append(site.Hosts, h(name, fmt.Sprintf("10.0.0.%d", 10+n), roles...))
	}
	return &Fleet{Site: site, Dial: w.dial, Parallel: 1, Run: "run-1", Who: "test", Clock: w}
}

// wanted is what the tables are at the end.
func (s scene) wanted() string {
	how := map[inventory.Method]string{inventory.DR: "-g", inventory.TUN: "-i"}[s.method]
	var hosts []int
	for n := 1; n <= 4; n++ {
		if s.pool == nil || slices.Contains(s.pool, fmt.Sprintf("rs%d", n)) {
			hosts = append(hosts, n)
		}
	}
	text := table(how, hosts...)
	return "lb1:\n" + text + "lb2:\n" + text
}

func TestClientsAreServedThroughout(t *testing.T) {
	for _, s := range scenes() {
		t.Run(s.name, func(t *testing.T) {
			w := s.town(t)
			w.smooth = true
			out, err := s.fleet(w).Converge(context.Background(), nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range out.Results {
				if r.Err != nil {
					t.Errorf("%s: %v", r.Host, r.Err)
				}
			}
			if d := cmp.Diff(s.wanted(), w.text()); d != "" {
				t.Error(d)
			}
			for name := range w.steps {
				if w.state[name] != "after" {
					t.Errorf("%s is as %s", name, w.state[name])
				}
			}
			w.log = nil
			if _, err := s.fleet(w).Converge(context.Background(), nil); err != nil {
				t.Fatal(err)
			}
			for _, l := range w.log {
				if verb, _, _ := strings.Cut(l, " "); verb != "dial" && verb != "check" {
					t.Errorf("a second run did %q", l)
				}
			}
		})
	}
}

// The controller dies at every one of its calls. Nobody is left with a weight
// that was lent, and the next run goes on.
func TestAControllerThatDiesLeavesClientsServed(t *testing.T) {
	for _, s := range scenes() {
		t.Run(s.name, func(t *testing.T) {
			for at := 1; ; at++ {
				w := s.town(t)
				w.dieAt = at
				_, _ = s.fleet(w).Converge(context.Background(), nil)
				if !w.dead {
					if at < 12 {
						t.Errorf("only %d calls", at)
					}
					return
				}
				if text := w.text(); strings.Contains(text, "-w 0") {
					t.Fatalf("dead at call %d (%s): a weight is left at 0:\n%s", at, w.log[len(w.log)-1], text)
				}
				w.look(fmt.Sprintf("after the death at call %d (%s)", at, w.log[len(w.log)-1]))
				w.dead, w.dieAt, w.open = false, 0, nil
				f := s.fleet(w)
				f.Run = "run-2"
				if _, err := f.Converge(context.Background(), nil); err != nil {
					t.Fatalf("the run after call %d: %v", at, err)
				}
				if d := cmp.Diff(s.wanted(), w.text()); d != "" {
					t.Fatalf("the run after call %d:\n%s", at, d)
				}
			}
		})
	}
}

// A director's line is cut at every call. It gives back what it lent; no real
// server is committed after that which it would send clients to.
func TestADirectorThatIsLostEndsTheBatch(t *testing.T) {
	for _, s := range scenes() {
		t.Run(s.name, func(t *testing.T) {
			for at := 1; ; at++ {
				w := s.town(t)
				w.lose, w.loseAt = "lb2", at
				_, _ = s.fleet(w).Converge(context.Background(), nil)
				if w.calls < at {
					return
				}
				if text := w.text(); strings.Contains(text, "-w 0") {
					t.Fatalf("lost at call %d: a weight is left at 0:\n%s", at, text)
				}
				w.loseAt, w.lose = 0, ""
				w.look(fmt.Sprintf("after lb2 was lost at call %d (%s)", at, w.log[at-1]))
				w.open = nil
				f := s.fleet(w)
				f.Run = "run-2"
				if _, err := f.Converge(context.Background(), nil); err != nil {
					t.Fatalf("the run after call %d: %v", at, err)
				}
				if d := cmp.Diff(s.wanted(), w.text()); d != "" {
					t.Fatalf("the run after call %d:\n%s", at, d)
				}
			}
		})
	}
}

// A real server fails: it is as before, and so is its entry.
func TestARealServerThatFailsGetsItsWeightBack(t *testing.T) {
	for _, verb := range []string{"apply", "commit"} {
		for _, s := range scenes() {
			t.Run(verb+" "+s.name, func(t *testing.T) {
				w := s.town(t)
				w.fail[verb+" rs2"] = errNo
				f := s.fleet(w)
				f.Site.Rollout.MaxFailures = 9
				out, err := f.Converge(context.Background(), nil)
				if err != nil {
					t.Fatal(err)
				}
				if len(w.steps["rs2"]) == 0 {
					return
				}
				if statuses(out)["rs2"] != Failed {
					t.Errorf("rs2 is %s", statuses(out)["rs2"])
				}
				if w.state["rs2"] != "before" {
					t.Errorf("rs2 is as %s", w.state["rs2"])
				}
				line := func(text string) string {
					for l := range strings.Lines(text) {
						if strings.Contains(l, "10.0.0.12:80") {
							return l
						}
					}
					return ""
				}
				if d := cmp.Diff(line(s.before), line(w.text())); d != "" {
					t.Errorf("its entry: %s", d)
				}
			})
		}
	}
}

// A director that is lost in mid-drain: nobody of the batch is touched.
func TestNobodyChangesWhoseDrainWasCutShort(t *testing.T) {
	s := scenes()[0]
	w := s.town(t)
	if _, err := s.fleet(w).Converge(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
	at := slices.Index(w.log, "apply lb2") + 1
	if w.log[at] != "table lb1" {
		t.Fatalf("what follows the loan: %q", w.log[at:])
	}
	w = s.town(t)
	w.lose, w.loseAt = "lb2", at+1
	out, err := s.fleet(w).Converge(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	// It is asked again in the end, and has given all back.
	if w.applies() != "" || statuses(out)["lb2"] != Failed {
		t.Errorf("changed: %s; lb2 is %s", w.applies(), statuses(out)["lb2"])
	}
}

// What was lent is looked at once more before each commit, on every director: a
// real server that somebody gives connections again meanwhile is undone.
func TestADrainIsLookedAtBeforeTheCommit(t *testing.T) {
	for _, tt := range []struct {
		name    string
		dirs    []string
		change  func(s *ipvs.Service, n int) // of the entry of rs1
		commits bool
	}{
		{"nobody is at it", nil, nil, true},
		{"a weight by hand on the first director", []string{"lb1"}, func(s *ipvs.Service, n int) { s.Dests[n].Weight = 1 }, false},
		{"a weight by hand on the second director", []string{"lb2"}, func(s *ipvs.Service, n int) { s.Dests[n].Weight = 2 }, false},
		{"a weight by hand on both", []string{"lb1", "lb2"}, func(s *ipvs.Service, n int) { s.Dests[n].Weight = 100 }, false},
		{"an entry that somebody deletes", []string{"lb2"}, func(s *ipvs.Service, n int) { s.Dests = slices.Delete(s.Dests, n, n+1) }, true},
		{"the weight of another", []string{"lb1"}, func(s *ipvs.Service, n int) { s.Dests[(n+1)%len(s.Dests)].Weight = 7 }, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := scenes()[0]
			w := s.town(t)
			w.theirs = map[string]bool{}
			w.before = map[string]func(){"apply rs1": func() {
				for _, dir := range tt.dirs {
					w.theirs[dir] = true
					for i := range w.tables[dir].Services {
						svc := &w.tables[dir].Services[i]
						tt.change(svc, slices.IndexFunc(svc.Dests, func(d ipvs.Destination) bool { return w.hostOf(d.Addr) == "rs1" }))
					}
				}
			}}
			f := s.fleet(w)
			f.Site.Rollout.MaxFailures = 9
			out, err := f.Converge(context.Background(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if len(w.before) > 0 {
				t.Fatal("rs1 was never changed")
			}
			want := Failed
			if tt.commits {
				want = Changed
			}
			if got := statuses(out)["rs1"]; got != want {
				t.Errorf("rs1 is %s, want %s", got, want)
			}
			if (w.state["rs1"] == "after") != tt.commits || slices.Contains(w.log, "commit rs1") != tt.commits {
				t.Errorf("rs1 is as %s, committed: %v", w.state["rs1"], slices.Contains(w.log, "commit rs1"))
			}
			for _, r := range out.Results {
				if r.Host == "rs1" && !tt.commits && !errors.Is(r.Err, errNotHeld) {
					t.Errorf("rs1: %v", r.Err)
				}
			}
		})
	}
}

// What takes itself back has the guards that it began with: a director's waits
// long enough for a loan that comes only then.
func TestADirectorMayHaveToLendOnTheWayBack(t *testing.T) {
	s := scenes()[0]
	f := s.fleet(s.town(t))
	members, err := f.members()
	if err != nil {
		t.Fatal(err)
	}
	r := newRun(f, members, "")
	for failure, factor := range map[string]time.Duration{"host": 1, "fleet": loanFactor} {
		f.Site.Rollout.OnFailure = failure
		if got, want := r.confirm(r.byName["lb1"]), factor*r.confirm(r.byName["rs1"]); got != want {
			t.Errorf("%s: %s, want %s", failure, got, want)
		}
	}
}

// A real server's guard is told to hold still only while those of its
// directors will for longer.
func TestALoanOutlastsTheRealServerItIsFor(t *testing.T) {
	s := scenes()[0]
	w := s.town(t)
	f := s.fleet(w)
	f.Site.Rollout.ConfirmTimeout = 60
	asked := 0
	f.Observe = func(e Event) {
		if e.Phase != PhaseDrain || e.Host != "lb1" || asked > 0 {
			return
		}
		asked++
		if !f.Renew("rs1") {
			t.Error("rs1 is not renewed although the loan is new")
		}
		w.now = w.now.Add(89 * time.Second)
		if !f.Renew("rs1") || !f.Renew("rs4") {
			t.Error("not renewed within the time")
		}
		f.Renew("lb1")
		w.now = w.now.Add(2 * time.Second)
		if f.Renew("rs1") {
			t.Error("rs1 is renewed although lb2 was not for 91 s")
		}
		if !f.Renew("rs4") {
			t.Error("rs4 is not renewed, for which nothing is lent")
		}
		f.Renew("lb2")
		if !f.Renew("rs1") {
			t.Error("rs1 is not renewed although all directors were")
		}
	}
	if _, err := f.Converge(context.Background(), nil); err != nil || asked != 1 {
		t.Fatal(err, asked)
	}
	if !f.Renew("rs1") {
		t.Error("not renewed after the run")
	}
}

func TestBatchesCountTheDisturbed(t *testing.T) {
	share := func(n int) inventory.Share { return inventory.Share{N: n} }
	percent := func(n int) inventory.Share { return inventory.Share{N: n, Percent: true} }
	for _, tt := range []struct {
		batch []inventory.Share
		total int
		want  []int
	}{
		{[]inventory.Share{share(1), percent(25), percent(50)}, 8, []int{1, 2, 4, 4}},
		{[]inventory.Share{percent(10)}, 3, []int{1, 1, 1}},
		{[]inventory.Share{percent(100)}, 5, []int{5}},
		{[]inventory.Share{share(3)}, 2, []int{3}},
		{nil, 4, []int{4}},
	} {
		for n, want := range tt.want {
			if got := plan.Size(tt.batch, n, tt.total); got != want {
				t.Errorf("%v of %d: batch %d has %d, want %d", tt.batch, tt.total, n, got, want)
			}
		}
	}
}

// applies lists the hosts in the order in which they were changed.
func (w *town) applies() string {
	var list []string
	for _, l := range w.log {
		if name, ok := strings.CutPrefix(l, "apply rs"); ok {
			list = append(list, name)
		}
	}
	return strings.Join(list, " ")
}

func TestTheFirstIsTheCanary(t *testing.T) {
	s := scenes()[0]
	w := s.town(t)
	w.fail["apply rs1"] = errNo
	out, err := s.fleet(w).Converge(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if w.applies() != "1" {
		t.Errorf("changed: %s", w.applies())
	}
	want := map[string]Status{"lb1": Unchanged, "lb2": Unchanged, "rs1": Failed, "rs2": Skipped, "rs3": Skipped, "rs4": Skipped}
	if d := cmp.Diff(want, statuses(out)); d != "" {
		t.Error(d)
	}
	if strings.Contains(w.text(), "-w 0") {
		t.Error(w.text())
	}

	w = s.town(t)
	w.fail["apply rs1"] = errNo
	f := s.fleet(w)
	f.Site.Rollout.MaxFailures = 1
	if _, err := f.Converge(context.Background(), nil); err != nil || w.applies() != "1 2 3 4" {
		t.Errorf("with one failure allowed: %v, changed %s", err, w.applies())
	}
}

func TestADrainWaitsForConnectionsUntilItsDeadline(t *testing.T) {
	s := scenes()[1]
	for _, tt := range []struct {
		drain, left int
		want        time.Duration
	}{{30, 2, 2 * time.Second}, {5, 1000, 5 * time.Second}, {0, 1000, 0}} {
		w := s.town(t)
		f := s.fleet(w)
		f.Site.Rollout.Batch = []inventory.Share{{N: 2}}
		f.Site.Rollout.Drain = tt.drain
		w.counts = map[netip.Addr]int{netip.MustParseAddr("10.0.0.12"): tt.left * 2} // each director sees one go
		var shown []int
		f.Observe = func(e Event) {
			if e.Phase == PhaseDrain && e.Host == "lb1" {
				shown = append(shown, e.Connections)
			}
		}
		if _, err := f.Converge(context.Background(), nil); err != nil {
			t.Fatal(err)
		}
		if w.slept != tt.want {
			t.Errorf("drain = %d with %d connections took %s, want %s; shown %v", tt.drain, tt.left, w.slept, tt.want, shown)
		}
		if (len(shown) > 0) != (tt.drain > 0) {
			t.Errorf("shown: %v", shown)
		}
	}
}

func TestASoleRealServerNeedsConsent(t *testing.T) {
	s := scene{pool: []string{"rs1"}, method: inventory.DR, before: table("-g", 1), steps: []string{"route:default"}}
	w := s.town(t)
	out, err := s.fleet(w).Converge(context.Background(), nil)
	var o *OutageError
	if !errors.Is(err, ErrPreflight) || !errors.As(err, &o) || o.Host != "rs1" || out.Begun {
		t.Fatalf("%v, begun %v", err, out.Begun)
	}
	if want := "outage: while rs1 changes, nobody else serves TCP 192.0.2.1:80 on lb1, TCP 192.0.2.1:80 on lb2 (--allow-outage agrees to it)"; o.Error() != want {
		t.Errorf("told: %s", o)
	}
	for _, res := range out.Results {
		if (res.Err != nil) != (res.Host == "rs1") {
			t.Errorf("%s: %v", res.Host, res.Err)
		}
	}
	for _, l := range w.log {
		if strings.HasPrefix(l, "begin") {
			t.Errorf("did %q", l)
		}
	}
	w = s.town(t)
	w.outages = true
	f := s.fleet(w)
	f.AllowOutage = true
	shown := 0
	if _, err := f.Converge(context.Background(), func(found []Finding) (bool, error) {
		for _, f := range found {
			shown += len(f.Outages)
		}
		return true, nil
	}); err != nil || shown != 2 || w.state["rs1"] != "after" {
		t.Errorf("%v, outages shown %d, rs1 is as %s", err, shown, w.state["rs1"])
	}
	if d := cmp.Diff(s.wanted(), w.text()); d != "" {
		t.Error(d)
	}
}

func TestTwoOfTwoGoOneByOneWhateverTheBatch(t *testing.T) {
	s := scene{pool: []string{"rs1", "rs2"}, method: inventory.DR, before: table("-g", 1, 2), steps: []string{"route:default"}}
	w := s.town(t)
	f := s.fleet(w)
	f.Site.Rollout.Batch = []inventory.Share{{N: 100, Percent: true}}
	if _, err := f.Converge(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
	i, j := slices.Index(w.log, "commit rs1"), slices.Index(w.log, "apply rs2")
	if i < 0 || j < i {
		t.Errorf("order: %q", w.log)
	}
}

func TestNobodyIsDisturbedWhoseDirectorIsSkipped(t *testing.T) {
	s := scenes()[0]
	w := s.town(t)
	w.fail["dial lb2"] = errNo
	f := s.fleet(w)
	f.SkipUnreachable = true
	out, err := f.Converge(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if w.applies() != "" {
		t.Errorf("changed: %s; %v", w.applies(), statuses(out))
	}
}

func TestWhatGoesIsLeftWithALimitToOthers(t *testing.T) {
	s := scenes()[4] // rs4 goes
	w := s.town(t)
	f := s.fleet(w)
	f.Limit = []string{"rs1"}
	if _, err := f.Converge(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
	if w.applies() != "1" || !strings.Contains(w.text(), "10.0.0.14:80") {
		t.Errorf("changed %s:\n%s", w.applies(), w.text())
	}
}
