// Package verify is the cluster's own verification: what must hold between a
// director and its real servers, so that clients are served. Places derives
// from a site what there is to look at; Look does what only reads, on the host
// that it is about; and a Dialer makes the connections that prove a path
// through IPVS.
package verify

import (
	"context"
	"net/netip"
	"time"

	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
)

// A Kind is what a Check looks at.
type Kind string

// The kinds of check.
const (
	Listener Kind = "listener" // on a real server: somebody accepts where clients arrive
	Gateway  Kind = "gateway"  // on a NAT real server: the live default route is the director
	Alone    Kind = "alone"    // on a director: nobody else answers for the VIP on its segment
	Reach    Kind = "reach"    // on a director: the real server can be reached
	Forward  Kind = "forward"  // on a NAT director: it forwards what the real servers answer
	Path     Kind = "path"     // on a director: a connection through IPVS is answered
)

// A Check is one thing to look at on one host. It crosses the wire.
type Check struct {
	Kind Kind   `json:"kind"`
	Host string `json:"-"` // on which it is done

	// Addr is where clients arrive on the real server (Listener), the VIP
	// (Alone, Path) or the real server's own address (Reach).
	Addr     netip.Addr `json:"addr,omitzero"`
	Port     int        `json:"port,omitempty"`
	Protocol string     `json:"protocol,omitempty"` // "tcp", "udp", "sctp"
	// Required, of a Listener: nobody listening is an error, not only a
	// warning. Of Alone: the VIP is lvsfleet's to give, so that whoever
	// answers is wrong, even where the director does not hold it.
	Required bool `json:"required,omitempty"`
	// Dev is the director's device: that lies on the VIP's segment (Alone),
	// or whose subnet holds the real server, "" none (Reach, Path).
	Dev string `json:"dev,omitempty"`
	// Gateways are the addresses of which the default route must lead to one.
	Gateways []netip.Addr `json:"gateways,omitempty"`
	IPv6     bool         `json:"ipv6,omitempty"` // Gateway, Forward

	// Path. Source is the director's address that the connection comes from,
	// SourceDev the device that holds it.
	Source    netip.Addr   `json:"source,omitzero"`
	SourceDev string       `json:"source_dev,omitempty"`
	Real      ipvs.DestKey `json:"real,omitzero"`
	Method    ipvs.Method  `json:"method,omitempty"`
	Scheduler string       `json:"scheduler,omitempty"` // the service's: it is loaded
	Send      string       `json:"send,omitempty"`      // UDP and SCTP
	Expect    string       `json:"expect,omitempty"`    // what the answer must hold; "" any

	// Why says why it is not provable whatever is done; "" it may be.
	Why string `json:"why,omitempty"`
}

// A Status is how a check ended.
type Status string

// The statuses, from the best to the worst.
const (
	Proven   Status = "proven"
	Unproven Status = "not provable" // nothing is known, and Detail says why
	Warned   Status = "warning"      // not as it should be, but no reason to hold the host back
	Broken   Status = "broken"
)

// Worse says whether s is worse than t.
func (s Status) Worse(t Status) bool { return s.rank() > t.rank() }

func (s Status) rank() int {
	switch s {
	case Proven:
		return 1
	case Unproven:
		return 2
	case Warned:
		return 3
	case Broken:
		return 4
	}
	return 0
}

// A Result is what became of a Check.
type Result struct {
	Status Status `json:"status"`
	Detail string `json:"detail"` // a sentence
	// MAC is the link-layer address of who answered (Alone, Reach).
	MAC string `json:"mac,omitempty"`
}

// NotProvable is the Result of a check of which nothing can be known.
func NotProvable(why string) Result { return Result{Status: Unproven, Detail: why} }

// A Dialer makes connections of a machine's own, as a client's would be made.
// DialerOf finds that of a host.Host.
type Dialer interface {
	// Dial connects and tells what came back. The error is one of this
	// machine alone: nothing is known of the other one then.
	Dial(ctx context.Context, d Dial) (Answer, error)
}

// DialerOf gives what connects from h: its own Dialer where it has one to
// offer, this kernel where h is this Linux machine. An agentless host has none.
func DialerOf(h host.Host) (Dialer, bool) {
	if d, ok := host.As[Dialer](h); ok {
		return d, true
	}
	return local(h)
}

// A Dial is one connection to be tried.
type Dial struct {
	Protocol string         // "tcp", "udp", "sctp"
	From     netip.Addr     // an address of this machine; zero: as it chooses
	To       netip.AddrPort //
	Mark     uint32         // firewall mark of every packet (SO_MARK, socket(7)); 0: none
	Send     string         // sent once it is connected; always with UDP
	Expect   string         // what the answer must hold; "": with UDP any answer, else none is awaited
	Timeout  time.Duration
}

// An Answer is what came back.
type Answer struct {
	Kind AnswerKind
	Text string // of Wrong what came, of Unreachable who said what
}

// An AnswerKind is a kind of answer.
type AnswerKind string

// The kinds of answer. Accepted and Refused both prove the path.
const (
	Accepted    AnswerKind = "accepted"
	Refused     AnswerKind = "refused"     // a reset, or an ICMP port unreachable
	Wrong       AnswerKind = "wrong"       // an answer, but not the expected one
	Silent      AnswerKind = "silent"      // none in time
	Unreachable AnswerKind = "unreachable" // the network said that it cannot be reached
)
