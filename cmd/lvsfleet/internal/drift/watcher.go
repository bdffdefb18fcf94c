package drift

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/fleet"
	"github.com/lvsfleet/lvsfleet/inventory"
)

// Settings are what an inventory and the command line say of the watching. They
// can be replaced while it goes on.
type Settings struct {
	Site  *inventory.Site
	Limit []string // host names, as for a run; empty: all

	Schedule  Schedule      // nil: one round
	Jitter    time.Duration // a round comes up to that much later than it is due
	Timeout   time.Duration // of a round; 0: none but that of each host
	Parallel  int           // hosts at a time, at least 1
	Repair    bool
	RepairMax int           // hosts that are repaired in a round, at most; 0: no limit
	Retention time.Duration // of drifts that are gone; 0: for ever
}

// Options are what a Watcher works with.
type Options struct {
	// Dial opens a session, which stays open between rounds.
	Dial func(ctx context.Context, h *inventory.Host) (agent.Session, error)
	// Converge makes the named hosts so, and records it; nil: nothing is
	// repaired.
	Converge func(ctx context.Context, site *inventory.Site, hosts []string) (fleet.Outcome, error)
	// Changed says whether a run of the controller that ended since then has
	// changed the host; nil: there are none.
	Changed func(host string, since time.Time) bool
	Store   Store        // nil: nothing is kept
	Tell    func(Notice) // called after each round; nil: nobody is told
	// Others gives problems of what surrounds the watcher; nil: none.
	Others func() []string
	// Observe is told of each change as it is found, and of problems as they
	// come (Event); nil: nobody.
	Observe func(Event)
	Rounds  func(took time.Duration) // told of each round; nil: nobody
	Clock   fleet.Clock              // nil: the machine's
}

// An Event is something worth a line in a log.
type Event struct {
	Time    time.Time `json:"time"`
	Drift   *Drift    `json:"drift,omitempty"`   // newly there or, with Gone, newly gone
	Problem string    `json:"problem,omitempty"` // of the watcher itself
	Note    string    `json:"note,omitempty"`
}

// A Watcher looks at a site, again and again.
type Watcher struct {
	o     Options
	clock fleet.Clock

	roundM sync.Mutex // held while a round runs, or settings are replaced

	mu       sync.Mutex
	settings Settings
	hosts    map[string]*watched
	closed   []Drift // gone, the latest last: for a timeline without a store
	unsaved  []Drift // gone and not yet written
	time     time.Time
	round    int64
	missed   int64
	running  bool
	next     time.Time
	problems map[string]string // what is wrong, by what it is about
	loaded   bool              // the store's drifts are known
	memo     memo
	memoText string
	success  time.Time
	forgot   time.Time // when the store was last told to forget
	readers  map[chan struct{}]bool
	named    map[string]string  // see owners; nil: not known yet
	notice   Notice             // of the round that runs
	events   []Event            // found, and not yet told
	pending  *Settings          // to be put in force; nil: none
	wake     context.CancelFunc // ends a sleep; nil: it does not sleep
}

// A memo is what the watcher must know of earlier processes beside the drifts.
type memo struct {
	// Noted are the foreign settings of each host that were there when it was
	// looked at for the first time: "STEP: CODE SUBJECT".
	Noted map[string][]string `json:"noted,omitempty"`
	// Known are the same as builds before codes recorded them: "STEP: SENTENCE".
	Known map[string][]string `json:"known,omitempty"`
	Tries map[string]*tries   `json:"tries,omitempty"` // repairs
}

// A watched host.
type watched struct {
	host *inventory.Host
	want *agent.Request
	line line

	// Guarded by the watcher's mu.
	state    Host // Drifts empty
	open     []*record
	services []Service
	differs  []sight   // of the last report
	noted    []sight   // foreign settings, of the last report
	busy     bool      // a change was under way
	news     bool      // a converge would do what is new with this version
	repaired time.Time // by this watcher, the last time; zero: never
}

// A record is a drift that is there.
type record struct {
	Drift
	dirty bool
}

// NewWatcher makes a watcher of the site in s. It does nothing before Run or
// Round.
func NewWatcher(s Settings, o Options) (*Watcher, error) {
	w := &Watcher{o: o, clock: o.Clock, hosts: map[string]*watched{}, problems: map[string]string{}, readers: map[chan struct{}]bool{}}
	if w.clock == nil {
		w.clock = fleet.MachineClock()
	}
	w.memo = memo{Noted: map[string][]string{}, Tries: map[string]*tries{}}
	return w, w.replace(s)
}

// replace puts other settings in force, after a round that runs.
func (w *Watcher) replace(s Settings) error {
	selected, err := fleet.Select(s.Site, s.Limit)
	if err != nil {
		return err
	}
	w.roundM.Lock()
	defer w.roundM.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	hosts := make(map[string]*watched, len(selected))
	for _, sel := range selected {
		h := w.hosts[sel.Host.Name]
		if h == nil {
			h = &watched{state: Host{Name: sel.Host.Name, State: Unknown}}
		} else if !sameWay(h.host, sel.Host) {
			h.line.close()
		}
		h.host, h.want = sel.Host, &sel.Request
		h.state.OS = string(sel.Host.OS)
		hosts[sel.Host.Name] = h
	}
	now := w.clock.Now()
	for name, h := range w.hosts {
		if hosts[name] == nil {
			h.line.close()
			for _, r := range h.open {
				w.end(r, now, EndElse)
			}
		}
	}
	if len(s.Limit) == 0 {
		maps.DeleteFunc(w.memo.Noted, func(name string, _ []string) bool { return w.loaded && hosts[name] == nil })
		maps.DeleteFunc(w.memo.Tries, func(name string, _ *tries) bool { return w.loaded && hosts[name] == nil })
	}
	w.hosts, w.settings, w.named = hosts, s, nil
	w.changed()
	return nil
}

// end takes note of a drift that is gone. The lock is held.
func (w *Watcher) end(r *record, at time.Time, how End) {
	d := r.Drift
	d.Gone, d.End = at, how
	if w.unsaved = append(w.unsaved, d); len(w.unsaved) > mostUnsaved {
		w.unsaved = slices.Clone(w.unsaved[1:])
	}
	if w.closed = append(w.closed, d); len(w.closed) > mostRemembered {
		w.closed = slices.Clone(w.closed[len(w.closed)/2:])
	}
	w.notice.Resolved = append(w.notice.Resolved, d)
	w.events = append(w.events, Event{Time: at, Drift: &d})
}

// sameWay says whether two hosts are reached in the same way.
func sameWay(a, b *inventory.Host) bool {
	x, y := *a, *b
	x.Src, y.Src = inventory.Source{}, inventory.Source{}
	x.Interfaces, y.Interfaces, x.Roles, y.Roles = nil, nil, nil, nil
	return reflect.DeepEqual(x, y)
}

// slice is how long the watcher sleeps at most: a clock that somebody sets is
// looked at again.
const slice = 30 * time.Second

// Run holds rounds until ctx ends, or for once where there is no schedule: one
// at once, then as the schedule says. It ends with every connection closed.
func (w *Watcher) Run(ctx context.Context) {
	defer w.Close()
	due := w.clock.Now()
	for {
		w.Round(ctx)
		schedule := w.now().Schedule
		if ctx.Err() != nil || schedule == nil {
			return
		}
		next, missed := following(schedule, due, w.clock.Now())
		w.miss(missed, due)
		if due = w.await(ctx, next); ctx.Err() != nil {
			return
		}
	}
}

// Reload puts other settings in force as soon as no round runs, and has what
// they say looked at then. Of several that come meanwhile the last one counts.
func (w *Watcher) Reload(s Settings) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pending = &s
	if w.wake != nil {
		w.wake()
	}
}

// await sleeps until the round that is due, and gives when that was.
func (w *Watcher) await(ctx context.Context, due time.Time) time.Time {
	jitter := time.Duration(0)
	if j := w.now().Jitter; j > 0 {
		jitter = rand.N(j)
	}
	for ctx.Err() == nil {
		nap, cancel := context.WithCancel(ctx)
		w.mu.Lock()
		pending := w.pending
		w.pending, w.wake = nil, cancel
		w.mu.Unlock()
		if pending != nil {
			cancel()
			if w.replaced(*pending) {
				return w.clock.Now()
			}
			continue
		}
		at := due.Add(jitter)
		w.setNext(at)
		left := at.Sub(w.clock.Now())
		if left > 0 {
			_ = w.clock.Sleep(nap, min(left, slice)) // ended early, it is looked why
		}
		cancel()
		if left <= 0 {
			return due
		}
		// A clock that was set back must not keep the round waiting.
		if again := w.now().Schedule.Next(w.clock.Now()); again.Before(due) {
			due = again
		}
	}
	return due
}

// replaced puts settings in force; those that cannot be are reported.
func (w *Watcher) replaced(s Settings) bool {
	err := w.replace(s)
	if err != nil {
		w.problem("settings", err.Error())
		return false
	}
	w.problem("settings", "")
	return true
}

func (w *Watcher) now() Settings {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.settings
}

func (w *Watcher) setNext(t time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.next.Equal(t) {
		w.next = t
		w.changed()
	}
}

// miss notes rounds that were due while another one ran, or while nothing did.
func (w *Watcher) miss(n int, due time.Time) {
	w.mu.Lock()
	w.missed += int64(n)
	w.mu.Unlock()
	if n == 0 {
		w.problem("schedule", "")
		return
	}
	rounds := "1 round was"
	if n > 1 {
		rounds = fmt.Sprintf("%d rounds were", n)
	}
	w.problem("schedule", fmt.Sprintf("%s missed: the one that was due at %s took until %s", rounds,
		due.Format(time.DateTime), w.clock.Now().Format(time.DateTime)))
}

// Missed is how many rounds were missed since the start.
func (w *Watcher) Missed() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.missed
}

// Problem reports what is wrong with the watching itself; "" that it is over.
func (w *Watcher) Problem(about, text string) { w.problem(about, text) }

func (w *Watcher) problem(about, text string) {
	w.mu.Lock()
	before := w.problems[about]
	if text == "" {
		delete(w.problems, about)
	} else {
		w.problems[about] = text
	}
	if before != text {
		w.changed()
	}
	w.mu.Unlock()
	if text != "" && before != text {
		w.observe(Event{Problem: text})
	}
}

func (w *Watcher) observe(e Event) {
	if w.o.Observe != nil {
		if e.Time.IsZero() {
			e.Time = w.clock.Now()
		}
		w.o.Observe(e)
	}
}

// Close ends every connection.
func (w *Watcher) Close() {
	w.roundM.Lock()
	defer w.roundM.Unlock()
	w.mu.Lock()
	hosts := slices.Collect(maps.Values(w.hosts))
	w.mu.Unlock()
	var work sync.WaitGroup
	for _, h := range hosts {
		work.Go(h.line.close)
	}
	work.Wait()
}

// changed tells the readers. The lock is held.
func (w *Watcher) changed() {
	for c := range w.readers {
		select {
		case c <- struct{}{}:
		default: // it has one to take already
		}
	}
}

// Snapshot copies what is known now.
func (w *Watcher) Snapshot() Snapshot {
	others := []string(nil)
	if w.o.Others != nil {
		others = w.o.Others()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	s := Snapshot{Site: w.settings.Site.Name, Time: w.time, Success: w.success, Round: w.round, Running: w.running, Next: w.next}
	for _, h := range w.hosts {
		state := h.state
		state.Warm = h.line.open()
		state.Notes, state.Transient = slices.Clone(state.Notes), slices.Clone(state.Transient)
		for _, r := range h.open {
			state.Drifts = append(state.Drifts, r.Drift)
		}
		slices.SortFunc(state.Drifts, byStep)
		s.Hosts = append(s.Hosts, state)
		for _, v := range h.services {
			v.Real = slices.Clone(v.Real)
			s.Services = append(s.Services, v)
		}
	}
	slices.SortFunc(s.Hosts, func(a, b Host) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortStableFunc(s.Services, func(a, b Service) int { return cmp.Compare(a.Director, b.Director) })
	for _, about := range slices.Sorted(maps.Keys(w.problems)) {
		s.Problems = append(s.Problems, w.problems[about])
	}
	for _, g := range w.held() {
		s.Problems = append(s.Problems, g.String())
	}
	s.Problems = append(s.Problems, others...)
	return s
}

func byStep(a, b Drift) int {
	return cmp.Or(cmp.Compare(order(a.Class), order(b.Class)), cmp.Compare(a.Step, b.Step), cmp.Compare(a.Diff, b.Diff))
}

// order is that in which classes are shown: the gravest first.
func order(c Class) int {
	return slices.Index([]Class{ClassUnreachable, ClassIPVS, ClassLive, ClassBoot, ClassForeign}, c)
}

// Changes is as Source has it.
func (w *Watcher) Changes(ctx context.Context) <-chan struct{} {
	c := make(chan struct{}, 1)
	w.mu.Lock()
	w.readers[c] = true
	w.mu.Unlock()
	context.AfterFunc(ctx, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.readers, c)
		close(c)
	})
	return c
}

// mostRemembered is how many drifts that are gone a watcher keeps in memory.
const mostRemembered = 1000

// Timeline is as Source has it: from the store or, where there is none or it
// cannot be read, from memory.
func (w *Watcher) Timeline(ctx context.Context, since time.Time, limit int) ([]Drift, error) {
	if w.o.Store != nil {
		list, err := w.o.Store.Timeline(ctx, since, limit)
		if err == nil {
			w.problem("timeline", "")
			return list, nil
		}
		if ctx.Err() != nil {
			return nil, err
		}
		w.problem("timeline", "the history cannot be read, what is shown is from memory: "+err.Error())
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []Drift
	for _, h := range w.hosts {
		for _, r := range h.open {
			list = append(list, r.Drift)
		}
	}
	for _, d := range w.closed {
		if !d.Gone.Before(since) {
			list = append(list, d)
		}
	}
	slices.SortStableFunc(list, func(a, b Drift) int {
		return cmp.Or(b.First.Compare(a.First), cmp.Compare(a.Host, b.Host), byStep(a, b))
	})
	return list[:min(limit, len(list))], nil
}

// load takes from the store what earlier processes knew, once.
func (w *Watcher) load(ctx context.Context) error {
	w.mu.Lock()
	done := w.loaded
	w.mu.Unlock()
	if done || w.o.Store == nil {
		return nil
	}
	open, err := w.o.Store.Open(ctx)
	if err != nil {
		return err
	}
	text, err := w.o.Store.Memo(ctx)
	if err != nil {
		return err
	}
	var m memo
	if len(text) > 0 {
		if err := json.Unmarshal(text, &m); err != nil {
			return fmt.Errorf("read the memo: %w", err)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.loaded, w.memoText = true, string(text)
	maps.Copy(w.memo.Noted, m.noted())
	for host, t := range m.Tries {
		if w.memo.Tries[host] == nil && t != nil {
			w.memo.Tries[host] = t
		}
	}
	for _, d := range open {
		h := w.hosts[d.Host]
		if h == nil {
			if len(w.settings.Limit) == 0 { // nobody's any more
				d.Gone, d.End = w.clock.Now(), EndElse
				w.unsaved = append(w.unsaved, d)
			}
			continue
		}
		k := keyOf(d)
		at := slices.IndexFunc(h.open, func(r *record) bool { return keyOf(r.Drift) == k })
		if at < 0 {
			h.open = append(h.open, &record{Drift: d})
			continue
		}
		h.open[at].ID, h.open[at].First, h.open[at].dirty = d.ID, d.First, true
	}
	return nil
}

// noted are the memo's, with those of builds before codes.
func (m memo) noted() map[string][]string {
	all := map[string][]string{}
	for host, known := range m.Known {
		list := []string{}
		for _, k := range known {
			step, text, _ := strings.Cut(k, ": ")
			list = append(list, step+": "+earlierKey(text))
		}
		all[host] = list
	}
	maps.Copy(all, m.Noted)
	return all
}

// mostUnsaved bounds what is kept for a store that does not take it.
const mostUnsaved = 10_000

// save writes what has changed; what could not be written is kept.
func (w *Watcher) save(ctx context.Context) error {
	if w.o.Store == nil {
		return nil
	}
	if err := w.load(ctx); err != nil {
		return err
	}
	w.mu.Lock()
	gone := slices.Clone(w.unsaved)
	var records []*record
	batch := slices.Clone(gone)
	for _, h := range w.hosts {
		for _, r := range h.open {
			if r.dirty {
				records = append(records, r)
				batch = append(batch, r.Drift)
			}
		}
	}
	text, err := json.Marshal(w.memo)
	retention := w.settings.Retention
	same := err == nil && string(text) == w.memoText
	w.mu.Unlock()
	if err != nil {
		return fmt.Errorf("encode the memo: %w", err)
	}
	if len(batch) > 0 {
		if err := w.o.Store.Save(ctx, batch); err != nil {
			return err
		}
		w.mu.Lock()
		w.unsaved = slices.Clone(w.unsaved[len(gone):])
		for i, r := range records {
			r.ID, r.dirty = batch[len(gone)+i].ID, false
		}
		w.mu.Unlock()
	}
	if !same {
		if err := w.o.Store.SetMemo(ctx, text); err != nil {
			return err
		}
		w.mu.Lock()
		w.memoText = string(text)
		w.mu.Unlock()
	}
	now := w.clock.Now()
	if retention <= 0 || now.Sub(w.forgot).Abs() < forgetEvery {
		return nil
	}
	if err := w.o.Store.Forget(ctx, now.Add(-retention)); err != nil {
		return err
	}
	w.forgot = now
	return nil
}

// forgetEvery is how often the store is told to forget.
const forgetEvery = time.Hour
