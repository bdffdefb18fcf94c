package host

import (
	"context"
	"net/netip"
)

// Neighbours asks and tells the other machines of a link. A Host that can is
// found with As; an agentless one cannot.
type Neighbours interface {
	// Probe asks the link of device dev who has addr, without claiming it: an
	// ARP probe with the all-zero sender (RFC 5227, 2.1.1), or a neighbour
	// solicitation from the unspecified address (RFC 4862, 5.4.2). It returns
	// the link-layer address that answered, "" if none did in time.
	Probe(ctx context.Context, dev string, addr netip.Addr) (mac string, err error)
	// Announce tells the link of dev that addr is here now: gratuitous ARP
	// (RFC 5227, 2.3) or an unsolicited neighbour advertisement with the
	// override flag (RFC 4861, 7.2.6).
	Announce(ctx context.Context, dev string, addr netip.Addr) error
}
