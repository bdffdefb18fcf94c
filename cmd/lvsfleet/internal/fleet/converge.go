package fleet

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/fleet/plan"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/note"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// A Status is how a run ended for one host.
type Status string

// The statuses.
const (
	Unchanged  Status = "unchanged"
	Changed    Status = "changed"
	Skipped    Status = "skipped"     // left out: it could not be reached, or what it needs failed
	Failed     Status = "failed"      // and rolled back
	Incomplete Status = "incomplete"  // failed, and the rollback did too, in part
	NotBegun   Status = "not changed" // the run ended before this host's turn
	// Partly is a host that was changed, but for files that somebody edited
	// meanwhile, or for what waited for a host that failed: that was left.
	Partly Status = "changed in part"
	// Held is a director of which nothing was to be changed but entries that are
	// left as they were found: their real servers are not proved in this run.
	Held Status = "held"
	// Unproved is a host that was not changed, and that a director was to be
	// pointed at: the proof of its place in the cluster failed.
	Unproved Status = "not proved"
	// Undone is a host that was changed, and taken back as another one failed.
	Undone Status = "taken back"
)

// A Result is what became of one host.
type Result struct {
	Host    string
	Status  Status
	Changes int // steps that did not hold and now do
	Err     error
	Stage   inventory.Stage // that it was in last; "" none
	// Cut are the connections of a real server that had not ended when the
	// time of their drain was over.
	Cut    int
	Report agent.Report // as preflight found it
	// Committed: what was changed here is in force, all of it or a part.
	Committed bool
	// Kept: a removal was interrupted before it took away what lvsfleet keeps
	// on the host for itself.
	Kept bool
}

// An Outcome is a whole run.
type Outcome struct {
	Run     string
	Results []Result // by host name
	Begun   bool     // something may have been changed somewhere
	// Interrupted: the run was ended before every host had its turn.
	Interrupted bool
}

// errInterrupted is why a host did not have its turn.
var errInterrupted = errors.New("interrupted before its turn")

// ErrPreflight is a run that ended before anything was changed.
var ErrPreflight = errors.New("nothing was changed")

// ErrDeclined is a run that the person at the terminal did not agree to.
var ErrDeclined = errors.New("declined")

// Converge makes the fleet so. Approve, where it is not nil, is shown what
// preflight found and ends the run with its error; asked says that a person
// agreed to these very operations, so that others are refused. An error means that nothing
// was changed anywhere; everything else is in the Outcome. Cancelling ctx
// stops the run between transactions, never within one.
func (f *Fleet) Converge(ctx context.Context, approve func([]Finding) (asked bool, err error)) (Outcome, error) {
	members, err := f.members()
	if err != nil {
		return Outcome{}, err
	}
	r := newRun(f, members, "")
	f.running.Store(r)
	defer f.running.Store(nil)
	defer r.end()
	if err := r.carryOut(ctx, approve); err != nil {
		return r.outcome(), err
	}
	if f.Site.Rollout.OnFailure == "fleet" && r.failures() > f.Site.Rollout.MaxFailures {
		return r.undoFleet(ctx), nil
	}
	r.clean(ctx)
	return r.outcome(), nil
}

// carryOut goes all the way, from preflight on. An error means that nothing
// was changed.
func (r *run) carryOut(ctx context.Context, approve func([]Finding) (asked bool, err error)) error {
	each(r.Fleet, r.members, func(m *member) {
		r.look(ctx, m)
		// One login, nothing taken; but a director may have to lend a weight
		// for a real server that changes.
		if m.err != nil || !m.changes() && !m.director() {
			r.dismiss(m)
		}
	})
	if err := r.leaveOut(ctx); err != nil {
		return err
	}
	if len(r.changing()) == 0 && !r.Removing {
		return nil
	}
	if err := r.readTables(ctx); err != nil {
		return err
	}
	if err := r.outsiders(ctx); err != nil {
		return err
	}
	gaps, err := r.restrict(ctx)
	if err != nil {
		return err
	}
	r.noteInForce()
	pending := r.disturbed()
	if err := r.foreseeExpansion(ctx, pending); err != nil {
		return err
	}
	if r.back != "" {
		r.lastToLeave(pending)
	}
	outages := append(r.foresee(pending), gaps...)
	r.outages = outages
	r.lendFor(pending)
	if len(outages) > 0 && !r.AllowOutage {
		return r.refuseOutages(outages)
	}
	if err := r.foretell(ctx); err != nil {
		return err
	}
	found := findings(r.members)
	for i := range found {
		for _, o := range outages {
			if o.Host == found[i].Host {
				found[i].Outages = append(found[i].Outages, o.Services...)
			}
		}
	}
	asked := false
	if approve != nil {
		var err error
		if asked, err = approve(found); err != nil {
			return err
		}
	}
	if err := r.begin(ctx, asked); err != nil {
		return err
	}
	if r.Begun != nil && !r.undoing {
		if err := r.Begun(findings(r.members)); err != nil {
			return err
		}
	}
	r.begun = true
	r.stages(ctx, pending)
	r.askLost(ctx)
	return nil
}

// stages goes through them, every host having begun. The pending are those
// real servers that serve somebody.
func (r *run) stages(ctx context.Context, pending []*member) {
	pending = slices.DeleteFunc(pending, func(m *member) bool { return m.err != nil })
	for _, m := range pending {
		r.waiting.add(m.host.Name)
	}
	if r.back == "" {
		r.proofs = r.newProver()
		r.proofs.before(ctx)
	}
	r.stage(ctx, inventory.Prepare, func(m *member) bool { return m.director() && m.changes() }, nil)
	if r.back != "" {
		pending = r.endServices(ctx, pending)
	}
	r.stage(ctx, inventory.Change, func(m *member) bool { return !m.director() && !r.waiting.has(m.host.Name) }, nil)
	r.expand(ctx, pending)
	pending = slices.DeleteFunc(pending, func(m *member) bool { return m.err != nil })
	r.yield(ctx)
	r.admit(ctx)
	r.close(ctx)
	r.batches(ctx, pending)
	r.retire(ctx)
}

type run struct {
	*Fleet
	members []*member
	byName  map[string]*member
	back    string                // the run that this one takes back; "" none
	undoing bool                  // it is this run's own: whatever can be is taken back
	owners  map[netip.Addr]string // whose an address is
	begun   bool

	failed   hostSet // hosts that failed or were left out
	done     hostSet // hosts whose transaction changed something
	waiting  hostSet // real servers that serve somebody and are still to change
	came     hostSet // services that came to real servers which are still to change, with their directors
	expanded hostSet // real servers that have added what services that come need
	broken   hostSet // hosts that could not be put back wholly
	kept     hostSet // hosts that lvsfleet's own files are left on, the run being interrupted

	proofs *prover

	lostMu  sync.Mutex // held while a director is found to be lost
	mu      sync.Mutex
	status  map[string]Status // of the hosts in failed
	dropped []*entry          // what was deleted before its real server changed

	outages  []*OutageError // foreseen
	unread   []plan.Unread  // directors that were not read
	departed []plan.Entry   // in force on directors that have left the inventory
	found    map[entryOn]inForce
	named    map[entryOn]verdict // what was decided of entries that directors get
	unproved map[string]error    // real servers that are not named, by name; their proof failed

	yielding map[string][]netip.Addr // VIPs that a director gives up for another one
	// handed are the directors that hand back VIPs that others had before the
	// run that is taken back, handing that they do so now.
	handed  map[string]bool
	handing bool

	at  map[string]inventory.Stage // the stage that a host was in last
	cut map[string]int             // connections that outlived their drain, by real server

	renewed  map[string]time.Time // when the guard of a host was last told
	loansFor map[string][]*loan   // by real server
}

func newRun(f *Fleet, members []*member, back string) *run {
	r := &run{
		Fleet: f, members: members, back: back, byName: map[string]*member{}, owners: owners(f.Site, members),
		status: map[string]Status{}, at: map[string]inventory.Stage{}, cut: map[string]int{},
		renewed: map[string]time.Time{}, loansFor: map[string][]*loan{},
		found: map[entryOn]inForce{}, named: map[entryOn]verdict{}, unproved: map[string]error{},
	}
	for _, m := range members {
		r.byName[m.host.Name] = m
	}
	return r
}

// end ends every session: what is still open is undone, real servers first,
// so that each is whole before its weight is back.
func (r *run) end() {
	for _, directors := range []bool{false, true} {
		for _, m := range r.members {
			if m.director() == directors {
				m.close()
			}
		}
	}
}

// dismiss lets a host go that has no part in what follows.
func (r *run) dismiss(m *member) {
	m.close()
	r.observe(Event{Host: m.host.Name, Phase: PhaseDone, Error: text(m.err)})
}

// readTables reads the tables of the directors that may have to withdraw
// something: those that name a real server which is to be disturbed, and
// those whose own table changes.
func (r *run) readTables(ctx context.Context) error {
	disturbed := map[string]bool{}
	for _, m := range r.changing() {
		if m.disturbs = disturbanceOf(m.report); !m.director() && m.disturbs.any() {
			disturbed[m.host.Name] = true
		}
	}
	each(r.Fleet, r.members, func(m *member) {
		if !m.director() || m.err != nil {
			return
		}
		m.target = r.targetOf(m)
		if m.reads = m.editsTable() || m.watches != nil || m.names(disturbed) || m.back != "" && len(disturbed) > 0; !m.reads {
			return
		}
		if m.err = r.readEntries(ctx, m); m.err != nil {
			r.dismiss(m)
		}
	})
	return r.leaveOut(ctx)
}

// editsTable says whether the director's own table is to change.
func (m *member) editsTable() bool {
	return slices.ContainsFunc(m.report.Items, func(i agent.Item) bool {
		return i.Change.Affects(step.IPVSTable) && !i.Change.Holds()
	})
}

// lendFor finds the directors that lend a weight while the pending change, and
// lets those go that have nothing to do.
func (r *run) lendFor(pending []*member) {
	for _, m := range pending {
		for _, e := range r.touched(m) {
			e.dir.lends = true
		}
	}
	for _, e := range r.leaving() {
		e.dir.lends = true
	}
	for _, m := range r.members {
		if m.director() && m.err == nil && !m.changes() && !m.lends {
			m.reads = false
			r.dismiss(m)
		}
	}
}

// refuseOutages ends the run: what would not be served is told with the real
// server, or with the directors.
func (r *run) refuseOutages(outages []*OutageError) error {
	var errs []error
	for _, o := range outages {
		errs = append(errs, o)
		for _, m := range r.members {
			if m.host.Name == o.Host || o.Host == "" && m.director() && m.editsTable() {
				m.err = errors.Join(m.err, o)
			}
		}
	}
	return fmt.Errorf("%w: %w", ErrPreflight, errors.Join(errs...))
}

// changing lists the hosts that take part and have something to do.
func (r *run) changing() []*member {
	var list []*member
	for _, m := range r.members {
		if m.err == nil && m.changes() {
			list = append(list, m)
		}
	}
	return list
}

// leaveOut ends the run where a host could not be looked at, or takes it out
// of the run with all that would be disturbed without it.
func (r *run) leaveOut(ctx context.Context) error {
	var all, errs []error
	for _, m := range r.members {
		if m.err == nil {
			continue
		}
		all = append(all, m.err)
		if !r.failed.has(m.host.Name) { // else it was left out before
			errs = append(errs, m.err)
		}
	}
	if len(errs) == 0 {
		return nil
	}
	// A run of which nobody is left has not made the fleet so.
	if !r.lenient() || ctx.Err() != nil || len(all) == len(r.members) {
		return fmt.Errorf("%w: %w", ErrPreflight, errors.Join(all...))
	}
	for _, m := range r.members {
		if m.err != nil && !r.failed.has(m.host.Name) {
			r.skip(m)
		}
	}
	return nil
}

// lenient says whether the run goes on without hosts that take no part.
func (r *run) lenient() bool { return r.SkipUnreachable || r.undoing }

// skip marks m as left out; where it is a director, its real servers are left
// as they are too: it could not follow what changes on them.
func (r *run) skip(m *member) {
	r.mark(m, Skipped)
	if !m.director() {
		return
	}
	r.unread = append(r.unread, plan.Unread{Name: m.host.Name, Why: "takes no part in this run"})
	for _, o := range r.members {
		if o.err == nil && !o.director() && m.names(map[string]bool{o.host.Name: true}) && o.changes() {
			o.err = fmt.Errorf("left as it is: its director %s takes no part in this run", m.host.Name)
			o.close()
			r.mark(o, Skipped)
		}
	}
}

// begin takes the lease and stages the files on every host that will change:
// on the first by name alone, so that of two runs one finds out at once, then
// on the rest side by side.
func (r *run) begin(ctx context.Context, approved bool) error {
	var hosts []*member
	for _, m := range r.members {
		if m.takesPart() {
			hosts = append(hosts, m)
		}
	}
	one := func(m *member) {
		stage := inventory.Whole
		if !m.director() {
			stage = inventory.Change // it begins once, on all of it
		}
		tx := r.transaction(m, stage)
		if approved {
			tx.Approved = agent.Fingerprint(m.report)
		}
		var err error
		if m.begun, err = m.session.Begin(ctx, tx, r.progress(m.host.Name, inventory.Whole)); err != nil {
			m.err = fmt.Errorf("begin on %s: %w", m.host.Name, err)
			var taken *host.TakenError
			if errors.As(err, &taken) {
				m.err = fmt.Errorf("%w; if that run was cut off, the host undoes it by itself within the confirm timeout (%s), and is free then",
					m.err, r.confirm(m))
			}
			m.close()
		}
	}
	if len(hosts) == 0 {
		return nil
	}
	one(hosts[0])
	if hosts[0].err == nil || r.lenient() {
		each(r.Fleet, hosts[1:], one)
	}
	return r.leaveOut(ctx)
}

// outcome sums the run up.
func (r *run) outcome() Outcome {
	o := Outcome{Run: r.Run, Begun: r.begun}
	for _, m := range r.members {
		o.Interrupted = o.Interrupted || errors.Is(m.err, errInterrupted) || r.kept.has(m.host.Name)
	}
	for _, m := range r.members {
		res := Result{Host: m.host.Name, Err: m.err, Report: m.told(), Stage: r.at[m.host.Name], Cut: r.cut[m.host.Name]}
		res.Committed = r.done.has(m.host.Name) || r.status[m.host.Name] == Partly
		res.Kept = r.kept.has(m.host.Name)
		left := r.unparted(m)
		unproved := r.unproved[m.host.Name]
		switch status, ok := r.status[m.host.Name]; {
		case ok:
			res.Status = status
		case unproved != nil && m.err == nil && !r.done.has(m.host.Name):
			res.Status, res.Err = Unproved, unproved
		case !r.begun && errors.Is(m.err, context.Canceled):
			res.Status = NotBegun // whoever cancelled it, it was not the host
		case m.err != nil:
			res.Status = Failed
		case !m.changes() && !r.done.has(m.host.Name) && len(left) == 0:
			res.Status = Unchanged
		case r.begun && len(left) > 0 && r.done.has(m.host.Name):
			res.Status, res.Committed = Partly, true
		case r.begun && len(left) == 0 && (r.done.has(m.host.Name) || !m.begun.Differs):
			// Settling what an interrupted run had left can be all that was
			// to be done.
			res.Status = Changed
			if m.begun.Settled != "" {
				res.Report.Notes = append(slices.Clip(res.Report.Notes), note.New(note.Settled, m.begun.Settled))
			}
			for _, i := range res.Report.Items {
				if !i.Change.Holds() {
					res.Changes++
				}
			}
		case r.begun && m.holds:
			res.Status = Held
		case r.begun:
			// What preflight found missing was held back with the real
			// servers that it was for.
			res.Status = Skipped
		default:
			res.Status = NotBegun
		}
		o.Results = append(o.Results, res)
	}
	return o
}
