// Package fleet takes a site from what it is to what its inventory says: it
// looks at every host first, begins on every host that will change before any
// does, and then goes through the stages in an order in which every state in
// between serves the clients.
package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/inventory"
)

// A Fleet is one site and the way to its hosts.
type Fleet struct {
	Site *inventory.Site
	// Dial opens a fresh session; every call logs in anew.
	Dial func(ctx context.Context, h *inventory.Host) (agent.Session, error)
	// Reach proves, for a host with connection = "local" that has nobody else
	// to be reached, that its line still works. nil: nothing to prove.
	Reach    func(ctx context.Context, want inventory.Desired) error
	Parallel int      // hosts at a time, at least 1
	Limit    []string // host names; empty: all
	Run      string   // names this run
	Who      string   // user@host of the controller
	// SkipUnreachable leaves hosts out that preflight cannot reach or that
	// refuse, instead of ending the run.
	SkipUnreachable bool
	// AllowOutage agrees to services that nobody serves while their only real
	// server changes.
	AllowOutage bool
	// Departed are hosts that have left the inventory and still have something of
	// lvsfleet's. One that was a director may send clients to the hosts of today:
	// its table is read where a run takes something away. Its Roles are those in
	// which it was a director.
	Departed []*inventory.Host
	// Removing takes all that lvsfleet has made off the hosts, and then what
	// it keeps there for itself; with KeepHistory, but for its history.
	Removing    bool
	KeepHistory bool
	// Begun is called once every host has begun and nothing is changed yet,
	// with what is to be done. Its error ends the run there. nil: nobody asks.
	Begun   func([]Finding) error
	Observe func(Event) // nil: nobody watches; called concurrently
	Clock   Clock       // nil: the machine's

	patience time.Duration // of a test; 0: readPatience and changePatience

	running atomic.Pointer[run] // nil: none
}

// An Event is something that happened to one host.
type Event struct {
	Host  string          `json:"host"`
	Stage inventory.Stage `json:"stage,omitempty"`
	Phase string          `json:"phase"` // "connect", "check", an agent.Event's, or one of the Phase constants
	Step  string          `json:"step,omitempty"`
	Error string          `json:"error,omitempty"`
	// Connections are those that a drain still waits for.
	Connections int `json:"connections,omitempty"`
}

// A Clock is what a drain goes by.
type Clock interface {
	Now() time.Time
	Sleep(ctx context.Context, d time.Duration) error // ctx' error where it ends first
}

type machineClock struct{}

// MachineClock is the clock of the machine that this runs on.
func MachineClock() Clock { return machineClock{} }

func (machineClock) Now() time.Time { return time.Now() }

func (machineClock) Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *Fleet) clock() Clock {
	if f.Clock == nil {
		return machineClock{}
	}
	return f.Clock
}

// Phases of a host within the run, beside those that the engine reports.
const (
	PhaseConnect = "connect"
	PhaseCheck   = "check"
	PhaseDrain   = "drain"
	PhaseClean   = "clean" // what lvsfleet keeps for itself goes
	PhaseDone    = "done"  // nothing more will be heard of this host in this stage
)

func (f *Fleet) observe(e Event) {
	if f.Observe != nil {
		f.Observe(e)
	}
}

// progress passes what the engine of one host says to the observer.
func (f *Fleet) progress(host string, stage inventory.Stage) func(agent.Event) {
	return func(e agent.Event) {
		f.observe(Event{Host: host, Stage: stage, Phase: e.Phase, Step: e.Step, Error: e.Error})
	}
}

// each runs do for every item, at most Parallel at a time. A failure of one
// does not touch the others.
func each[T any](f *Fleet, items []T, do func(T)) {
	var g errgroup.Group
	g.SetLimit(max(1, f.Parallel))
	for _, it := range items {
		g.Go(func() error {
			do(it)
			return nil
		})
	}
	_ = g.Wait() // do returns no error
}

// A member is one selected host during a run.
type member struct {
	host *inventory.Host
	said inventory.Desired // what the inventory says of it
	want inventory.Desired // what this run makes of it
	// partial: want is a part of it, and nothing is taken away. removing: all
	// that lvsfleet made goes. leaves: it is a director no more, and its
	// services go in their turn; want has an empty Director then.
	partial, removing, leaves bool
	session                   agent.Session

	reached bool         // a session could be opened
	report  agent.Report // as preflight found it
	begun   agent.Begun  // as it was found under the lease, what was left settled
	err     error        // why it failed or was left out

	// back is the run that is taken back on the host; "" it is made what the
	// inventory says. target is what becomes of the entries of its table that
	// are concerned then.
	back   string
	target *target

	disturbs disturbance // of a real server: whom its change may cut off
	keeps    string      // why nothing is taken away here in this run; "" it is
	expands  bool        // of a real server: it adds first, and takes away in a transaction of its own
	holds    bool        // of a director: entries of it are left as they were found
	// Of a director.
	mu    sync.Mutex // held while its session is used by several
	reads bool       // its table has a part in this run
	lends bool       // it lends a weight to a real server that changes
	// watches, where it is not nil, is what its table should have: nothing
	// else of it has a part in this run.
	watches []inventory.DirectedService
	entries []*entry // its live table, as last read
	// parting are, of a director that watches, the entries that are to go, and
	// parts what their going changes. Its report says nothing of it.
	parting []*entry
	parts   []agent.Item
}

// takesPart says whether the host is one of those that begin.
func (m *member) takesPart() bool { return m.err == nil && (m.changes() || m.lends) }

// services are those that its table should have.
func (m *member) services() []inventory.DirectedService {
	if m.watches != nil {
		return m.watches
	}
	return m.want.Director.Services
}

// names says whether the director has one of the hosts as a real server, as
// the inventory says.
func (m *member) names(hosts map[string]bool) bool {
	if m.said.Director == nil {
		return false
	}
	for _, s := range m.said.Director.Services {
		for _, rs := range s.Real {
			if hosts[rs.Host] {
				return true
			}
		}
	}
	return false
}

func (m *member) director() bool { return m.want.Director != nil }

// told is the report of all that this run does to the host.
func (m *member) told() agent.Report {
	r := m.report
	r.Items = append(slices.Clip(r.Items), m.parts...)
	return r
}

func (m *member) changes() bool { return agent.Differs(m.report) }

func (m *member) close() {
	if m.session != nil {
		_ = m.session.Close() // nothing is awaited from it any more
		m.session = nil
	}
}

// A Finding is what was found on one host.
type Finding struct {
	Host    string
	Reached bool
	Report  agent.Report
	Err     error
	// Outages are the services that nobody serves while this host changes.
	Outages []string
	// OnlyEntries: it is a director that drains and deletes the entries of hosts
	// that are removed, and does nothing else.
	OnlyEntries bool
}

// Differs says whether the host is not as the inventory says.
func (f Finding) Differs() bool { return agent.Differs(f.Report) }

// ErrUnknownHost is a --limit that names no host of the site.
var ErrUnknownHost = errors.New("no such host in the inventory")

// Survey looks at every selected host and changes nothing. Findings come in
// the order of the names; a host that could not be looked at has an Err. The
// error is one of the request itself.
func (f *Fleet) Survey(ctx context.Context) ([]Finding, error) {
	members, err := f.members()
	if err != nil {
		return nil, err
	}
	each(f, members, func(m *member) {
		f.look(ctx, m)
		m.close()
		f.observe(Event{Host: m.host.Name, Phase: PhaseDone, Error: text(m.err)})
	})
	return findings(members), nil
}

func findings(members []*member) []Finding {
	var found []Finding
	for _, m := range members {
		found = append(found, Finding{
			Host: m.host.Name, Reached: m.reached, Report: m.told(), Err: m.err, OnlyEntries: len(m.parting) > 0,
		})
	}
	return found
}

// look dials and checks one host.
func (f *Fleet) look(ctx context.Context, m *member) {
	if err := ctx.Err(); err != nil {
		m.err = err
		return
	}
	var err error
	if m.session == nil {
		f.observe(Event{Host: m.host.Name, Phase: PhaseConnect})
		if m.session, err = f.dial(ctx, m.host); err != nil {
			m.err = err // it names the host
			return
		}
		m.reached = true
	}
	f.observe(Event{Host: m.host.Name, Phase: PhaseCheck})
	m.report, err = m.check(ctx)
	if err != nil {
		m.err = fmt.Errorf("check %s: %w", m.host.Name, err)
	}
	m.directorsRole()
}

// check plans and checks what is to be done.
func (m *member) check(ctx context.Context) (agent.Report, error) {
	return m.session.Check(ctx, m.request())
}

// request is all that this run asks of the host.
func (m *member) request() agent.Request {
	switch {
	case m.back != "":
		return agent.ToRevert(m.want, m.back, agent.Reverts{})
	case m.watches != nil:
		return agent.ToWithdraw(m.want, nil)
	case m.removing:
		return agent.ToRemove(m.want)
	}
	return m.asks(m.want, m.partial)
}

// asks is what the host is asked to be, which is d; with partial it gives up
// nothing.
func (m *member) asks(d inventory.Desired, partial bool) agent.Request {
	switch {
	case m.removing && partial, m.watches != nil:
		return agent.ToWithdraw(d, nil) // nothing is wanted of it
	case m.removing:
		return agent.ToRemove(d)
	}
	if m.leaves {
		d.Director = nil
	}
	if partial {
		return agent.ToAdd(d)
	}
	return agent.ToConverge(d)
}

// members lists the selected hosts by name. With a limit, directors that name
// a limited real server take part for it alone.
func (f *Fleet) members() ([]*member, error) {
	want := f.Site.Desired()
	limited := map[string]bool{}
	for _, name := range f.Limit {
		if _, ok := want[name]; !ok {
			return nil, fmt.Errorf("limit %q: %w", name, ErrUnknownHost)
		}
		limited[name] = true
	}
	var members []*member
	for _, h := range f.Site.Hosts {
		m := &member{host: h, said: want[h.Name], want: want[h.Name]}
		if f.Removing {
			m.remove()
		}
		if len(limited) > 0 && !limited[h.Name] {
			part, ok := m.said.Only(limited)
			if m.want, m.partial = part, true; f.Removing {
				ok = m.watch(limited)
			}
			if !ok {
				continue
			}
		}
		members = append(members, m)
	}
	sort.Slice(members, func(i, j int) bool { return members[i].host.Name < members[j].host.Name })
	return members, nil
}

// A Selected host is one that takes part, and what is asked of it.
type Selected struct {
	Host    *inventory.Host
	Request agent.Request
}

// Select lists the hosts of the site that a run with that limit would look at,
// by name. A name that the site does not have is ErrUnknownHost.
func Select(site *inventory.Site, limit []string) ([]Selected, error) {
	members, err := (&Fleet{Site: site, Limit: limit}).members()
	if err != nil {
		return nil, err
	}
	var selected []Selected
	for _, m := range members {
		selected = append(selected, Selected{m.host, m.request()})
	}
	return selected, nil
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// A hostSet is a set of host names that several hosts' work adds to.
type hostSet struct {
	mu sync.Mutex
	m  map[string]bool
}

func (s *hostSet) add(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m == nil {
		s.m = map[string]bool{}
	}
	s.m[name] = true
}

func (s *hostSet) remove(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.m, name)
}

func (s *hostSet) has(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.m[name]
}
