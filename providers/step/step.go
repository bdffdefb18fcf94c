// Package step holds the one idea of lvsfleet: a change is data. A Step says
// what must hold; its Check reads the machine and returns a Change: the
// difference for people, the operations that would make it hold, and the
// operations that would put it back. Everything else (diff, apply, verify,
// rollback, audit) is generic and written once, on these values.
package step

import (
	"context"
	"fmt"

	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
	"github.com/lvsfleet/lvsfleet/providers/note"
)

// A Step is one thing on one host that must hold.
type Step interface {
	// ID names the step within its host: "sysctl:net.ipv4.conf.all.arp_ignore",
	// "file:/etc/rc.conf", "ipvs".
	ID() string
	// Check reads only. The zero Change (see Change.Holds) means that the
	// step holds. A *Refusal as error means that the host is in a state that
	// lvsfleet must not touch.
	Check(ctx context.Context, h host.Host) (Change, error)
}

// A Change is what Check found missing, as data.
type Change struct {
	Diff string `json:"diff,omitempty"` // for people: a unified diff
	Do   []Op   `json:"do,omitempty"`   // what would make it hold, in order
	Undo []Op   `json:"undo,omitempty"` // what would put it back exactly as it was, in the order to run
	// Was and Want are the state that a live step replaces and makes, as short
	// texts that are equal exactly where the states are; "" is "not there".
	// They are equal in a change that has nothing to undo: a device that is
	// still to come will have the setting by itself.
	Was  string `json:"was,omitempty"`
	Want string `json:"want,omitempty"`
	// Effects are what Do disturbs or provides for clients. A change with
	// operations on runtime state has one at least.
	Effects []Effect `json:"effects,omitempty"`
	// Before are the services of the IPVS table that it concerns, as they were.
	Before []ipvs.Service `json:"before,omitempty"`
	// Rules: the file is one of IPVS rules, which is compared as a table and
	// never as text.
	Rules bool `json:"rules,omitempty"`
	// Notes are what was seen and left alone. A Change with nothing but notes
	// holds.
	Notes []note.Note `json:"noted,omitempty"`
	// Sentences are the notes as a record has them for people (Recorded); those
	// of builds before codes have nothing else.
	Sentences []string `json:"notes,omitempty"`
}

// Holds says that nothing is to be done.
func (c Change) Holds() bool { return len(c.Do) == 0 }

// Recorded is the change as it is recorded for people: with the sentences of its
// notes.
func (c Change) Recorded() Change {
	c.Sentences = c.Told()
	return c
}

// Told are its notes, a sentence each.
func (c Change) Told() []string {
	if c.Notes == nil {
		return c.Sentences
	}
	return note.Texts(c.Notes)
}

// Mirror is the change that takes this one back: what was to be undone by is
// what is to be done. It may be done, undone and written as shell like any
// other; package step's Reversal checks it.
func (c Change) Mirror() Change {
	return Change{Do: c.Undo, Undo: c.Do, Was: c.Want, Want: c.Was, Effects: mirrored(c.Effects)}
}

// A Plan is what one host must be.
type Plan struct {
	Live []Step // in force at once, gone with a reboot
	Boot []Step // files, folders and links; nothing here acts before the next boot
	// Notes are warnings that hold whatever the steps find: "network is
	// none: nothing persistent is written".
	Notes []note.Note
	// Transient is what is in force, as it was asked for, until the next boot
	// alone: "the virtual address 192.0.2.1". It is no difference, and a host
	// that has any is never called clean.
	Transient []string
}

// Append adds the steps and notes of q after those of p.
func (p *Plan) Append(q Plan) {
	p.Live = append(p.Live, q.Live...)
	p.Boot = append(p.Boot, q.Boot...)
	p.Notes = append(p.Notes, q.Notes...)
	p.Transient = append(p.Transient, q.Transient...)
}

// A Refusal is a state of the host in which lvsfleet changes nothing on it.
type Refusal struct {
	Reason string // what is wrong: "net.inet.ip.check_interface is 1: ..."
	Hint   string // what the operator can do
}

func (r *Refusal) Error() string {
	if r.Hint == "" {
		return "refused: " + r.Reason
	}
	return "refused: " + r.Reason + " (" + r.Hint + ")"
}

// Refuse makes a Refusal.
func Refuse(hint, format string, args ...any) error {
	return &Refusal{Reason: fmt.Sprintf(format, args...), Hint: hint}
}
