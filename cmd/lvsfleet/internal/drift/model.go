// Package drift watches a site: it looks at every host on a schedule, remembers
// what differed from the inventory and for how long, and tells whoever must
// know.
package drift

import (
	"context"
	"github.com/lvsfleet/lvsfleet/providers/note"
	"time"
)

// A State is how a host was found.
type State string

// The states of a host.
const (
	Unknown     State = "unknown"     // not looked at yet
	Clean       State = "clean"       // as the inventory says
	Transient   State = "transient"   // as the inventory says, some of it until the next boot alone
	Drifted     State = "drifted"     // something differs
	Unreachable State = "unreachable" // it cannot be logged in to
	Failed      State = "failed"      // it was reached and could not be looked at
	Busy        State = "busy"        // a change is under way there
)

// A Class is what kind of difference a drift is.
type Class string

// The classes of drift.
const (
	ClassLive        Class = "live"        // what is in force now differs
	ClassBoot        Class = "boot"        // it would break at the next boot
	ClassIPVS        Class = "ipvs"        // the director's live table differs
	ClassForeign     Class = "foreign"     // a setting that nobody asked for has appeared
	ClassUnreachable Class = "unreachable" // the host cannot be looked at
)

// An End is how a drift went away.
type End string

// The ends of a drift.
const (
	EndRepaired End = "repaired" // by a repair of this watcher
	EndConverge End = "converge" // by a run of converge, rollback or remove
	EndElse     End = "else"     // by itself, or by somebody
)

// A Drift is one difference on one host, from when it was first seen until it
// was gone.
type Drift struct {
	ID    int64  `json:"id"` // of the history; 0: not recorded
	Host  string `json:"host"`
	Step  string `json:"step"` // "sysctl:net.ipv4.conf.all.arp_ignore"; "" of a host that is unreachable
	Class Class  `json:"class"`
	Diff  string `json:"diff,omitempty"` // a unified diff, why the host cannot be looked at, or a note's sentence
	// Code and About say which note it is; "" of other classes, and of what a
	// build before codes has found.
	Code  note.Code `json:"code,omitempty"`
	About string    `json:"subject,omitempty"`
	First time.Time `json:"first"`         // when it was first seen
	Last  time.Time `json:"last"`          // when it was last seen
	Gone  time.Time `json:"gone,omitzero"` // zero: it is still there
	End   End       `json:"end,omitempty"` // "" while it is there
}

// A Host is what is known of one host.
type Host struct {
	Name    string        `json:"name"`
	OS      string        `json:"os"`
	Release string        `json:"release,omitempty"` // "" not known yet
	State   State         `json:"state"`
	Since   time.Time     `json:"since,omitzero"`  // when it came to this state
	Seen    time.Time     `json:"seen,omitzero"`   // when it was last looked at with success
	Looked  time.Time     `json:"looked,omitzero"` // when it was last tried
	Took    time.Duration `json:"took"`            // how long the last look took
	Error   string        `json:"error,omitempty"`
	Warm    bool          `json:"warm"` // its connection is open
	Drifts  []Drift       `json:"drifts,omitempty"`
	Notes   []string      `json:"notes,omitempty"` // what is foreign and left alone
	// Transient is what is in force until the next boot alone.
	Transient []string `json:"transient,omitempty"`
}

// A Service is one IPVS service on one director, as its kernel counts it.
type Service struct {
	Director string `json:"director"`
	Name     string `json:"name"` // the virtual service's
	Key      string `json:"key"`  // "tcp 192.0.2.1:80"
	Real     []Real `json:"real,omitempty"`
}

// A Real is one real server of a Service. The counters are the kernel's, since
// the entry was made.
type Real struct {
	Host        string `json:"host"` // "" nobody's of the site
	Address     string `json:"address"`
	Method      string `json:"method"`
	Weight      int    `json:"weight"` // in the live table; -1: the entry is missing
	Want        int    `json:"want"`   // of the inventory; -1: it does not name it
	Active      int    `json:"active"`
	Inactive    int    `json:"inactive"`
	Persistent  int    `json:"persistent"`
	Connections uint64 `json:"connections"`
	InBytes     uint64 `json:"in_bytes"`
	OutBytes    uint64 `json:"out_bytes"`
}

// A Snapshot is the whole site at one moment. It is the reader's own.
type Snapshot struct {
	Site string    `json:"site"`
	Time time.Time `json:"time,omitzero"` // the end of the last round; zero: there was none
	// Success is the end of the last round that could look at every host;
	// zero: none could.
	Success  time.Time `json:"success,omitzero"`
	Round    int64     `json:"round"`         // rounds since the start
	Running  bool      `json:"running"`       // a round is under way
	Next     time.Time `json:"next,omitzero"` // when the next one is due; zero: none is
	Hosts    []Host    `json:"hosts"`         // by name
	Services []Service `json:"services,omitempty"`
	// Problems are the watcher's own: a history that cannot be written, an
	// inventory that cannot be read, an alert that nobody takes.
	Problems []string `json:"problems,omitempty"`
}

// A Source is what a page or an exporter reads.
type Source interface {
	Snapshot() Snapshot
	// Changes gives a channel that receives after each change of what Snapshot
	// gives; changes that come faster than they are taken become one. It is
	// closed when ctx ends.
	Changes(ctx context.Context) <-chan struct{}
	// Timeline lists the drifts that were there at some time since then, the
	// latest first, at most limit.
	Timeline(ctx context.Context, since time.Time, limit int) ([]Drift, error)
}
