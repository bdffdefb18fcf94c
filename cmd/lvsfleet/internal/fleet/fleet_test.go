package fleet

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
	"github.com/lvsfleet/lvsfleet/providers/note"
	"github.com/lvsfleet/lvsfleet/providers/step"
	"github.com/lvsfleet/lvsfleet/providers/verify"
)

// A world is the state behind fake sessions: for each host which of its
// settings are in force. It refuses what the engine would refuse.
type world struct {
	t  *testing.T
	mu sync.Mutex

	done  map[string]bool // "host/stage" in force
	lease map[string]string
	log   []string
	fail  map[string]error // by "VERB HOST" or "VERB HOST N", the Nth call
	calls map[string]int
	// settles: hosts on which beginning rolls all forward.
	settles map[string]bool
	open    map[string][]*session // by host: a fresh one commits what another began
}

func newWorld(t *testing.T) *world {
	return &world{t: t, done: map[string]bool{}, lease: map[string]string{}, fail: map[string]error{}, calls: map[string]int{}, open: map[string][]*session{}}
}

// record logs one call and gives the failure that the test asked for.
func (w *world) record(verb, host string) error {
	w.calls[verb+" "+host]++
	w.log = append(w.log, verb+" "+host)
	if err := w.fail[fmt.Sprintf("%s %s %d", verb, host, w.calls[verb+" "+host])]; err != nil {
		return err
	}
	return w.fail[verb+" "+host]
}

func (w *world) dial(_ context.Context, h *inventory.Host) (agent.Session, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.record("dial", h.Name); err != nil {
		return nil, err
	}
	s := &session{w: w, host: h.Name}
	w.open[h.Name] = append(w.open[h.Name], s)
	return s, nil
}

type session struct {
	unable
	w     *world
	host  string
	run   string
	begun []string // what Apply would put in force
	owner bool
}

// unable is what a session of the tests cannot do.
type unable struct{}

var errUnable = errors.New("the session of this test cannot")

func (unable) Table(context.Context, ...ipvs.Key) ([]agent.Entry, error) { return nil, errUnable }

func (unable) Watch(context.Context, *agent.Request, bool) (agent.Sighting, error) {
	return agent.Sighting{}, errUnable
}

// Verify can prove nothing.
func (unable) Verify(_ context.Context, v agent.Verification) ([]verify.Result, error) {
	results := make([]verify.Result, len(v.Checks))
	for i := range results {
		results[i] = verify.NotProvable(errUnable.Error())
	}
	return results, nil
}

// Cut has nothing to end: nothing here waits.
func (unable) Cut() {}

func (unable) Clean(context.Context, bool) error { return errUnable }

// parts says what of the host the desired state is about.
func (s *session) parts(d inventory.Desired) []string {
	parts := []string{s.host + "/machine"}
	if d.Director == nil {
		return parts
	}
	for _, svc := range d.Director.Services {
		for _, r := range svc.Real {
			if !r.Hold {
				parts = append(parts, s.host+"/"+svc.Name+"->"+r.Host)
			}
		}
	}
	return parts
}

func (s *session) report(d inventory.Desired) agent.Report {
	r := agent.Report{Identity: host.Identity{OS: string(d.OS)}}
	for _, p := range s.parts(d) {
		var c step.Change
		if !s.w.done[p] {
			c = step.Change{Diff: "+" + p, Do: []step.Op{{Kind: step.Run, Argv: []string{"make", p}}}, Effects: []step.Effect{{Kind: step.Support, Act: step.Gains}}}
		}
		r.Items = append(r.Items, agent.Item{Step: p, Layer: agent.Live, Change: c})
	}
	return r
}

func (s *session) Check(_ context.Context, req agent.Request) (agent.Report, error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	return s.report(req.Desired), s.w.record("check", s.host)
}

func (s *session) Begin(_ context.Context, tx agent.Transaction, _ func(agent.Event)) (agent.Begun, error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if err := s.w.record("begin", s.host); err != nil {
		return agent.Begun{}, err
	}
	if h := s.w.lease[s.host]; h != "" && h != tx.Run {
		return agent.Begun{}, &host.TakenError{Path: "lease", Holder: h}
	}
	s.w.lease[s.host], s.owner, s.run = tx.Run, true, tx.Run
	s.begun = s.parts(tx.Request.Desired)
	settled := ""
	if s.w.settles[s.host] && s.w.calls["begin "+s.host] == 1 {
		settled = "rolled forward"
		for _, p := range s.begun {
			s.w.done[p] = true
		}
	}
	return begun(s.report(tx.Request.Desired), settled), nil
}

// begun is what a session tells of a transaction that has begun.
func begun(r agent.Report, settled string) agent.Begun {
	return agent.Begun{Differs: agent.Differs(r), FreshLogin: agent.NeedsFreshLogin(r), Settled: settled}
}

func (s *session) Apply(context.Context, func(agent.Event)) error {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if !s.owner {
		s.w.t.Errorf("apply on %s without a lease", s.host)
	}
	return s.w.record("apply", s.host)
}

func (s *session) Finish(_ context.Context, run string, commit bool, _ func(agent.Event)) error {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	verb := "commit"
	if !commit {
		verb = "undo"
	}
	if s.w.lease[s.host] != run {
		s.w.t.Errorf("%s on %s: the lease is %q's", verb, s.host, s.w.lease[s.host])
	}
	if s.owner && commit {
		s.w.t.Errorf("commit on %s over the session that changed it", s.host)
	}
	if err := s.w.record(verb, s.host); err != nil {
		return err
	}
	if commit {
		for _, o := range s.w.open[s.host] {
			for _, p := range o.begun {
				s.w.done[p] = true
			}
		}
	}
	return nil
}

func (s *session) Close() error {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if s.owner {
		s.owner = false
		delete(s.w.lease, s.host)
	}
	return nil
}

func site() *inventory.Site {
	yes := true
	prefix := netip.MustParsePrefix
	h := func(name string, addr string, roles ...string) *inventory.Host {
		return &inventory.Host{
			Name: name, OS: inventory.Linux, Address: addr, Roles: roles, Connection: "ssh",
			Interfaces: []inventory.Interface{{Device: "eth0", Addresses: []netip.Prefix{prefix(addr + "/24")}}},
		}
	}
	lb := h("lb", "10.0.0.1", "director")
	lb.IPForward = &yes
	return &inventory.Site{
		Name:  "t",
		Roles: []inventory.Role{{Name: "director"}, {Name: "web"}},
		Hosts: []*inventory.Host{lb, h("rs1", "10.0.0.11", "web"), h("rs2", "10.0.0.12", "web"), h("rs3", "10.0.0.13", "web")},
		Services: []*inventory.VirtualService{{
			Name: "http", Director: "director", Pool: "web", Address: netip.MustParseAddr("10.0.0.1"),
			Ports: []int{80}, Protocol: "tcp", Scheduler: "wlc", Method: inventory.NAT, Weight: 1,
			VIP: inventory.Managed, Weights: inventory.Managed, Proof: true,
		}},
	}
}

func newFleet(w *world) *Fleet {
	return &Fleet{Site: site(), Dial: w.dial, Parallel: 4, Run: "run-1", Who: "test"}
}

func statuses(o Outcome) map[string]Status {
	m := map[string]Status{}
	for _, r := range o.Results {
		m[r.Host] = r.Status
	}
	return m
}

func (w *world) index(entry string) int { return slices.Index(w.log, entry) }

func TestConvergeGoesThroughTheStagesInOrder(t *testing.T) {
	w := newWorld(t)
	out, err := newFleet(w).Converge(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]Status{"lb": Changed, "rs1": Changed, "rs2": Changed, "rs3": Changed}, statuses(out)); diff != "" {
		t.Error(diff)
	}
	// Every host has begun before any is changed; the director is prepared
	// before a real server changes, and admits after the last of them.
	lastBegin := 0
	for _, h := range []string{"lb", "rs1", "rs2", "rs3"} {
		lastBegin = max(lastBegin, w.index("begin "+h))
	}
	first := slices.IndexFunc(w.log, func(s string) bool { return strings.HasPrefix(s, "apply") })
	if first < lastBegin || w.log[first] != "apply lb" {
		t.Errorf("order: %q", w.log)
	}
	var commits []string
	for _, l := range w.log {
		if strings.HasPrefix(l, "commit") {
			commits = append(commits, l)
		}
	}
	if len(commits) != 5 || commits[0] != "commit lb" || commits[4] != "commit lb" {
		t.Errorf("commits: %q", commits)
	}
	if len(w.lease) != 0 {
		t.Errorf("leases left: %v", w.lease)
	}

	w.log = nil
	out, err = newFleet(w).Converge(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range out.Results {
		if r.Status != Unchanged {
			t.Errorf("%s is %s by the second run", r.Host, r.Status)
		}
	}
	for _, l := range w.log {
		if verb, _, _ := strings.Cut(l, " "); verb != "dial" && verb != "check" {
			t.Errorf("a run with nothing to do did %q", l)
		}
	}
	if out.Begun {
		t.Error("a run with nothing to do has begun")
	}
}

func TestOneHostThatCannotBeReachedEndsTheRunBeforeAnything(t *testing.T) {
	for _, verb := range []string{"dial", "check", "begin"} {
		t.Run(verb, func(t *testing.T) {
			w := newWorld(t)
			w.fail[verb+" rs2"] = errors.New("no")
			out, err := newFleet(w).Converge(context.Background(), nil)
			if !errors.Is(err, ErrPreflight) {
				t.Errorf("error: %v", err)
			}
			if out.Begun || len(w.done) != 0 || len(w.lease) != 0 {
				t.Errorf("begun %v, done %v, leases %v", out.Begun, w.done, w.lease)
			}
		})
	}
}

func TestSkipUnreachableHoldsWhatWasLeftOut(t *testing.T) {
	w := newWorld(t)
	w.fail["dial rs2"] = errors.New("no route")
	f := newFleet(w)
	f.SkipUnreachable = true
	out, err := f.Converge(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]Status{"lb": Changed, "rs1": Changed, "rs2": Skipped, "rs3": Changed}, statuses(out)); diff != "" {
		t.Error(diff)
	}
	if w.done["lb/http->rs2"] || !w.done["lb/http->rs1"] {
		t.Errorf("the director was pointed at: %v", w.done)
	}
}

func TestTheRealServersOfASkippedDirectorAreLeft(t *testing.T) {
	w := newWorld(t)
	w.fail["dial lb"] = errors.New("no route")
	f := newFleet(w)
	f.SkipUnreachable = true
	out, err := f.Converge(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range out.Results {
		if r.Status != Skipped {
			t.Errorf("%s is %s", r.Host, r.Status)
		}
	}
	if len(w.done) != 0 {
		t.Errorf("done: %v", w.done)
	}
}

func TestAFailedRealServerIsNotAdmittedAndTheOthersFinish(t *testing.T) {
	w := newWorld(t)
	w.fail["apply rs2"] = errors.New("ifconfig: no")
	out, err := newFleet(w).Converge(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]Status{"lb": Changed, "rs1": Changed, "rs2": Failed, "rs3": Changed}, statuses(out)); diff != "" {
		t.Error(diff)
	}
	if w.done["lb/http->rs2"] || !w.done["lb/http->rs3"] {
		t.Errorf("done: %v", w.done)
	}
}

func TestAnIncompleteUndoIsSaid(t *testing.T) {
	w := newWorld(t)
	w.fail["apply rs1"] = &agent.UndoError{Cause: errors.New("x"), Failed: []string{"route"}}
	out, err := newFleet(w).Converge(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := statuses(out)["rs1"]; got != Incomplete {
		t.Errorf("rs1 is %s", got)
	}
}

func TestAHostThatCannotBeLoggedInToAnewIsUndone(t *testing.T) {
	w := newWorld(t)
	w.fail["dial rs3 2"] = errors.New("timed out")
	out, err := newFleet(w).Converge(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if statuses(out)["rs3"] != Failed || w.index("undo rs3") < 0 || w.done["rs3/machine"] {
		t.Errorf("status %s, log %q", statuses(out)["rs3"], w.log)
	}
	if w.done["lb/http->rs3"] {
		t.Error("the director was pointed at a real server that was undone")
	}
}

func TestNATRealServersAreLeftWhereTheirDirectorFailedToForward(t *testing.T) {
	w := newWorld(t)
	w.fail["apply lb 1"] = errors.New("sysctl: no")
	out, err := newFleet(w).Converge(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"rs1", "rs2", "rs3"} {
		if statuses(out)[name] != Skipped || w.index("apply "+name) >= 0 {
			t.Errorf("%s is %s", name, statuses(out)[name])
		}
	}
}

func TestLimitTakesTheDirectorAlongForThatRealServerAlone(t *testing.T) {
	w := newWorld(t)
	f := newFleet(w)
	f.Limit = []string{"rs1"}
	if _, err := f.Converge(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
	if !w.done["lb/http->rs1"] || w.done["lb/http->rs2"] || w.done["rs2/machine"] {
		t.Errorf("done: %v", w.done)
	}
	f.Limit = []string{"nobody"}
	if _, err := f.Converge(context.Background(), nil); !errors.Is(err, ErrUnknownHost) {
		t.Errorf("an unknown limit: %v", err)
	}
}

func TestWhoDeclinesChangesNothing(t *testing.T) {
	w := newWorld(t)
	out, err := newFleet(w).Converge(context.Background(), func([]Finding) (bool, error) { return true, ErrDeclined })
	if !errors.Is(err, ErrDeclined) || out.Begun || w.index("begin lb") >= 0 {
		t.Errorf("%v, begun %v, log %q", err, out.Begun, w.log)
	}
}

func TestTwoRunsAtOnceTheSecondIsToldByWhom(t *testing.T) {
	w := newWorld(t)
	w.lease["lb"] = "alice's run"
	_, err := newFleet(w).Converge(context.Background(), nil)
	var taken *host.TakenError
	if !errors.As(err, &taken) || taken.Holder != "alice's run" {
		t.Errorf("error: %v", err)
	}
	if w.index("begin rs1") >= 0 {
		t.Error("the rest was begun although the first was taken")
	}
}

func TestCancelStopsBetweenTransactions(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(context.Background())
	f := newFleet(w)
	f.Parallel = 1
	f.Observe = func(e Event) {
		if e.Host == "rs1" && e.Stage == inventory.Change && e.Phase == PhaseDone {
			cancel()
		}
	}
	out, err := f.Converge(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := statuses(out)
	want := map[string]Status{"lb": Partly, "rs1": Changed, "rs2": NotBegun, "rs3": NotBegun}
	if diff := cmp.Diff(want, got); diff != "" || w.done["lb/http->rs1"] || !out.Interrupted {
		t.Errorf("%s, done %v, interrupted: %v", diff, w.done, out.Interrupted)
	}
}

func TestCancelBeforeAnyChangeIsNoSkippedHost(t *testing.T) {
	for _, phase := range []string{PhaseConnect, PhaseCheck, "begin"} {
		t.Run(phase, func(t *testing.T) {
			w := newWorld(t)
			ctx, cancel := context.WithCancel(context.Background())
			f := newFleet(w)
			f.Parallel, f.SkipUnreachable = 1, true
			f.Observe = func(e Event) {
				if e.Host == "rs2" && e.Phase == phase {
					cancel()
					w.mu.Lock()
					defer w.mu.Unlock()
					w.fail["dial rs2"], w.fail["check rs2"] = ctx.Err(), ctx.Err()
				}
			}
			var approve func([]Finding) (bool, error)
			if phase == "begin" {
				approve = func([]Finding) (bool, error) {
					cancel()
					w.fail["begin lb"] = ctx.Err()
					return false, nil
				}
			}
			out, err := f.Converge(ctx, approve)
			if !errors.Is(err, ErrPreflight) {
				t.Errorf("error %v, %v", err, statuses(out))
			}
			for _, r := range out.Results {
				if r.Status != NotBegun {
					t.Errorf("%s is %s: %v", r.Host, r.Status, r.Err)
				}
			}
			if w.index("apply lb") >= 0 {
				t.Errorf("it went on: %q", w.log)
			}
		})
	}
}

// What an interrupted run had committed is rolled forward when the next one
// begins, and then there may be nothing left to do.
func TestSettlingCanBeAllThatWasToDo(t *testing.T) {
	w := newWorld(t)
	w.settles = map[string]bool{"lb": true, "rs2": true}
	out, err := newFleet(w).Converge(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range out.Results {
		if r.Status != Changed || r.Err != nil {
			t.Errorf("%s: %s, %v", r.Host, r.Status, r.Err)
		}
		if settled := slices.Contains(note.Texts(r.Report.Notes), "rolled forward"); settled != w.settles[r.Host] {
			t.Errorf("%s: notes %q", r.Host, r.Report.Notes)
		}
	}
	for _, never := range []string{"apply rs2", "commit rs2", "apply lb"} {
		if w.index(never) >= 0 {
			t.Errorf("%s: there was no transaction", never)
		}
	}
}

func TestSurveyChangesNothingAndClosesWhatItOpened(t *testing.T) {
	w := newWorld(t)
	w.fail["check rs2"] = errors.New("refused")
	found, err := newFleet(w).Survey(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		if (f.Err != nil) != (f.Host == "rs2") {
			t.Errorf("%s: %v", f.Host, f.Err)
		}
	}
	for _, l := range w.log {
		if verb, _, _ := strings.Cut(l, " "); verb != "dial" && verb != "check" {
			t.Errorf("a survey did %q", l)
		}
	}
}
