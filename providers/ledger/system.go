package ledger

import (
	"context"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// A System is what a ledger, and whoever takes changes back, needs to know of
// the operating system that it is on; providers.SystemOf gives it.
type System interface {
	// Back are the steps that take runtime changes back, the last that was made
	// first: step.Reversals, with what the system adds.
	Back(made []step.Made) []step.Step

	// Suppresses says whether a file for the next boot, which lvsfleet wrote,
	// has ARP suppression in it.
	Suppresses(text []byte) bool
	// KeepSuppression keeps of such a file, as it was written, what
	// suppresses.
	KeepSuppression(wrote []byte) step.Edit
	// NeedsSuppression finds the file that brings an address up at the next
	// boot which must not be answered for; "" there is none.
	NeedsSuppression(ctx context.Context, h host.Host) (string, error)

	Table
}

// A Table is what is to be known of a director's IPVS table and of the rules
// that it has at boot. Elsewhere there is neither, and nothing of it is asked.
type Table interface {
	// Services are the keys of the services that d names.
	Services(d inventory.Desired) []ipvs.Key
	// Entry names the entry of a withdrawal.
	Entry(w inventory.Withdrawal) (ipvs.Key, ipvs.DestKey)
	// Leave is the step of the runtime table of a host that gives up what was
	// taken.
	Leave(taken []ipvs.Taken) step.Step
	// Rules reads the services of a rules file.
	Rules(text []byte) []ipvs.Service
	// GiveBack gives a rules file without what was taken: orig is what it was
	// before the first of it; nil is no file.
	GiveBack(now, orig []byte, taken []ipvs.Taken) []byte
	// DropRules gives a rules file without those of the entries that go.
	DropRules(text []byte, list []inventory.Withdrawal) []byte
	// RulesStep is the ID of the step of the host's rules file.
	RulesStep(ctx context.Context, h host.Host, id host.Identity, network string) (string, error)
}
