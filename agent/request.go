package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"

	"github.com/lvsfleet/lvsfleet/agent/journal"
	"github.com/lvsfleet/lvsfleet/inventory"
)

// A Request is what the controller wants of one host, in one look or one
// transaction. ToConverge and the functions beside it make one; the zero
// Request is none.
type Request struct {
	Kind RequestKind `json:"kind"`
	// Desired is what the host must be. Of a request of another kind than
	// Converge it says which host it is, and no more (Desired.Identity).
	Desired inventory.Desired `json:"desired"`
	// Partial, of Converge: Desired is a part of what the host must be. It only
	// adds; what lvsfleet made there for anything else stays.
	Partial bool `json:"partial,omitempty"`
	// Entries are those of Withdraw.
	Entries []inventory.Withdrawal `json:"entries,omitempty"`
	// VIPs are those of ReleaseVIPs.
	VIPs []netip.Addr `json:"vips,omitempty"`
	// Of is the run of Revert, Reverts how much of it.
	Of      string   `json:"of,omitempty"`
	Reverts *Reverts `json:"reverts,omitempty"`
}

// A RequestKind is what is wanted.
type RequestKind string

// The kinds of request.
//
// Converge makes the host what Desired says, and takes away what lvsfleet made
// there for anything else. Withdraw has a director take the entries from its
// clients and looks at nothing else of it. ReleaseVIPs has a host give up
// virtual addresses in runtime state alone, at once, as another one takes them.
// Remove makes the host what it was before lvsfleet; planners are not asked.
// Revert takes back what a run has changed on the host and was committed.
const (
	Converge    RequestKind = "converge"
	Withdraw    RequestKind = "withdraw"
	ReleaseVIPs RequestKind = "release_vips"
	Remove      RequestKind = "remove"
	Revert      RequestKind = "revert"
)

// ToConverge asks for all that d says, and for nothing else.
func ToConverge(d inventory.Desired) Request { return Request{Kind: Converge, Desired: d} }

// ToAdd asks for what d says, which is a part of what the host must be.
func ToAdd(d inventory.Desired) Request { return Request{Kind: Converge, Desired: d, Partial: true} }

// ToWithdraw asks the director d to withdraw the entries; with none it asks for
// nothing.
func ToWithdraw(d inventory.Desired, entries []inventory.Withdrawal) Request {
	return Request{Kind: Withdraw, Desired: d.Identity(), Entries: entries}
}

// ToReleaseVIPs asks the director d to give the addresses up.
func ToReleaseVIPs(d inventory.Desired, vips []netip.Addr) Request {
	return Request{Kind: ReleaseVIPs, Desired: d.Identity(), VIPs: vips}
}

// ToRemove asks the host d to be as it was before lvsfleet, at the next boot too,
// whatever is written for that.
func ToRemove(d inventory.Desired) Request {
	d = d.Identity()
	d.Network = ""
	return Request{Kind: Remove, Desired: d}
}

// ToRevert asks the host d to take back how much r says of what run has
// changed there: nothing, where it changed nothing. It is refused where a later
// run has changed the host, and where a file is neither as it was made nor as
// before. What others have changed since in runtime state is left, and noted.
func ToRevert(d inventory.Desired, run string, r Reverts) Request {
	return Request{Kind: Revert, Desired: d.Identity(), Of: run, Reverts: &r}
}

// whole says whether nothing else is wanted of the host.
func (r Request) whole() bool { return r.Kind == Converge && !r.Partial || r.Kind == Remove }

// valid refuses what no controller asks for.
func (r Request) valid() error {
	switch r.Kind {
	case Converge, Withdraw, ReleaseVIPs, Remove:
		return nil
	case Revert:
		if !journal.ValidRun(r.Of) {
			return fmt.Errorf("%q does not name a run to take back", r.Of)
		}
		if r.Reverts == nil {
			return errors.New("the request does not say how much of the run is to be taken back")
		}
		return nil
	}
	return fmt.Errorf("there is no request %q", r.Kind)
}

// requestOf is what the transaction of a journal was asked for.
func requestOf(h journal.Header) (Request, error) {
	var r Request
	if h.Request == nil {
		return earlierRequest(h)
	}
	err := json.Unmarshal(h.Request, &r)
	return r, err
}

// earlierRequest reads the journals of builds before requests, which had what
// was asked among what the host must be.
func earlierRequest(h journal.Header) (Request, error) {
	var r Request
	var flags struct {
		Whole, Bare bool
		Yields      []netip.Addr
		Director    *struct{ Withdraw []inventory.Withdrawal }
	}
	err := errors.Join(json.Unmarshal(h.Desired, &r.Desired), json.Unmarshal(h.Desired, &flags))
	if err == nil && h.Reverts != nil {
		r.Reverts = &Reverts{}
		err = json.Unmarshal(h.Reverts, r.Reverts)
	}
	if err != nil {
		return Request{}, err
	}
	d := r.Desired
	switch {
	case r.Reverts != nil:
		return ToRevert(d, h.Undoes, *r.Reverts), nil
	case flags.Director != nil && flags.Director.Withdraw != nil:
		return ToWithdraw(d, flags.Director.Withdraw), nil
	case len(flags.Yields) > 0:
		return ToReleaseVIPs(d, flags.Yields), nil
	case flags.Bare:
		return ToRemove(d), nil
	case flags.Whole:
		return ToConverge(d), nil
	}
	return ToAdd(d), nil
}
