// Package agent runs a plan on a host: check, lease, stage, do, verify,
// commit, and undo when any of it fails. The same Engine runs inside the
// agent on the host itself, and in the controller over SSH for systems on
// which the agent cannot run; the fleet's code cannot tell which (Session).
package agent

import (
	"context"
	"time"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
	"github.com/lvsfleet/lvsfleet/providers/note"
	"github.com/lvsfleet/lvsfleet/providers/step"
	"github.com/lvsfleet/lvsfleet/providers/verify"
)

// A Session is the controller's conversation with one host. Its methods are
// not called concurrently, except Close and Cut, which
// end a method that runs.
type Session interface {
	// Check plans and checks. It reads only: it settles and sweeps nothing,
	// and reports what it finds unsettled or under way.
	Check(ctx context.Context, req Request) (Report, error)
	// Watch is Check and, where table is set, a reading of the host's runtime
	// IPVS table, for a session that is asked over and over: as long as
	// nothing changes it costs one message each way. What req points to is
	// not changed while the session lives: the same pointer is the same
	// question, and is asked without it.
	Watch(ctx context.Context, req *Request, table bool) (Sighting, error)
	// Table lists the entries of the services named in a director's runtime
	// IPVS table, or of all where none is, services and entries in order. It
	// reads only, and may be asked between the other methods, whatever is
	// begun.
	Table(ctx context.Context, services ...ipvs.Key) ([]Entry, error)
	// Verify does the checks of the host's place in the cluster and gives a
	// result for each, in their order. Those of kind verify.Path touch a
	// director for a moment: for them the host's lease is taken, unless this
	// session holds it for the same run, and given back. An error is of those,
	// or of the line: the results are then what could be found out without.
	Verify(ctx context.Context, v Verification) ([]verify.Result, error)
	// Begin takes the host's lease (unless this session holds it for the same
	// run already), settles what an interrupted run left, checks again and
	// stages every file: a full disk or a read-only file system is found
	// here. Nothing is in force yet. The fleet begins on every host that will
	// change, and only then applies on any. A second Begin of the same run in
	// one session (a director's next stage) sweeps what the one before staged
	// and did not apply. On an error nothing is left staged, and the lease is
	// given back.
	Begin(ctx context.Context, tx Transaction, progress func(Event)) (Begun, error)
	// Apply does the live steps of what Begin staged, each journaled, done
	// and verified. When it returns nil the live part is in force and the
	// host waits for Finish. When it returns an error the host is as it was
	// before, or the error is, or wraps, a *UndoError.
	Apply(ctx context.Context, progress func(Event)) error
	// Finish ends the run's transaction: commit puts the staged files in
	// place; otherwise everything is undone. A commit is asked for over a
	// fresh Session: that it could be opened is the proof that the host can
	// still be reached. The lease stays with the session that began until it
	// is closed: a director has two transactions in one run.
	Finish(ctx context.Context, run string, commit bool, progress func(Event)) error
	// Clean removes what lvsfleet keeps on the host for itself: the state
	// folder, with the agent and the ledger in it, and what is in host.RunDir;
	// with keepHistory the history stays. It refuses while an interrupted run
	// is unsettled, and while there is something to give back of what lvsfleet
	// has made of the host: what a removal has left, somebody else needing it,
	// stays for good. The session is of no more use after it but to be closed.
	Clean(ctx context.Context, keepHistory bool) error
	// Cut ends at once whatever waits for the host, as a line does that is
	// lost; Close is still to be called. It may be called beside any method.
	Cut()
	Close() error
}

// A Transaction is one change of one host.
type Transaction struct {
	Run string `json:"run"` // names the fleet's run: letters, digits, "-"
	Who string `json:"who"` // user@host of the controller, for those who find the lease taken
	// Request is what is to be done.
	Request Request `json:"request"`
	// Stage is the part of the fleet's run that it is, which its record tells.
	Stage inventory.Stage `json:"stage,omitempty"`
	// Undoes says that it is a part of taking an earlier run back, be it the
	// Request's or a drain for it; "" it is not. What that run changed here
	// counts as taken back from then on.
	Undoes string `json:"undoes,omitempty"`
	// Approved is the Fingerprint of the report whose operations a person
	// agreed to; "" agrees to anything. Others are refused with
	// ErrNotApproved.
	Approved string `json:"approved,omitempty"`
	// Continues adds to the transaction of this run that this session has
	// begun and applied, instead of undoing it first: the two are committed,
	// or undone, as one. A director deletes what it has drained so, with no
	// moment in between in which the weight is back.
	Continues bool `json:"continues,omitempty"`
	// ConfirmTimeout is how long the host's guard waits for the controller's
	// word before it undoes; 0: DefaultConfirmTimeout. The session renews it
	// by itself for as long as the controller lives, unless it is told when
	// not to (Client.RenewWhile, remote.Dialer.Renew).
	ConfirmTimeout time.Duration `json:"confirm_timeout,omitempty"`
}

// A Report is what Check found.
type Report struct {
	Identity host.Identity `json:"identity"`
	Items    []Item        `json:"items"`           // every step, live first, in plan order
	Notes    []note.Note   `json:"notes,omitempty"` // the plan's warnings and state
	// Transient is what is in force until the next boot alone (step.Plan).
	Transient []string `json:"transient,omitempty"`
	// Removes: what lvsfleet once made here, and is not wanted any more, has a
	// part in it.
	Removes bool `json:"removes,omitempty"`
	// UnderWay says who holds the host's lease now; "" nobody, or this very
	// session. Unsettled says what an interrupted run has left that the next
	// transaction will settle first.
	UnderWay  string `json:"under_way,omitempty"`
	Unsettled string `json:"unsettled,omitempty"`
}

// A Begun is a transaction that has begun: what Check would report, in short.
// Of a large IPVS table the report takes longer to tell than all else.
type Begun struct {
	// Differs: there is something to apply and to commit.
	Differs bool `json:"differs,omitempty"`
	// FreshLogin is NeedsFreshLogin's.
	FreshLogin bool `json:"fresh_login,omitempty"`
	// Settled says what an interrupted run had left here and what was made
	// of it; "" nothing.
	Settled string `json:"settled,omitempty"`
}

func begun(r Report, settled string) Begun {
	return Begun{Differs: Differs(r), FreshLogin: NeedsFreshLogin(r), Settled: settled}
}

// An Item is one step as it was found.
type Item struct {
	Step   string      `json:"step"`
	Layer  Layer       `json:"layer"`
	Change step.Change `json:"change"`
	// Gone: the step is about what is not wanted any more.
	Gone bool `json:"gone,omitempty"`
	// New: the host is as an earlier build has left it, which did not want this
	// (ledger.Ledger.NewWish). It is no drift.
	New bool `json:"new,omitempty"`
}

// A Layer says which of the two truths a step is about.
type Layer string

// Live is in force now and gone with a reboot; Boot holds from the next boot
// on.
const (
	Live Layer = "live"
	Boot Layer = "boot"
)

// An Event is progress within a transaction.
type Event struct {
	Time  time.Time `json:"time"`
	Phase string    `json:"phase"` // "lease", "settle", "stage", "do", "verify", "commit", "notify", "undo"
	Step  string    `json:"step,omitempty"`
	Error string    `json:"error,omitempty"`
}
