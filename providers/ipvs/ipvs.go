// Package ipvs is the kernel's table of virtual services as data: the model,
// the difference of two tables as the least set of edits, the text form of
// ipvsadm(8), and the one small interface through which a table is read and
// edited, over netlink or through ipvsadm.
package ipvs

import (
	"context"
	"fmt"
	"net/netip"
)

// A Method is how a packet reaches the real server.
type Method string

// The forwarding methods, by the names of the inventory. Local is what the
// kernel makes of any method whose real server is the director itself.
const (
	NAT   Method = "nat" // masquerading
	DR    Method = "dr"  // direct routing: "gatewaying" to ipvsadm
	TUN   Method = "tun" // IP-in-IP
	Local Method = "local"
)

// Flags are a service's flag bits, as in include/uapi/linux/ip_vs.h.
type Flags uint32

// The flag bits. Persistent and OnePacket belong to every scheduler, the
// Sched bits mean what the scheduler makes of them (ip_vs_sh.c, ip_vs_mh.c:
// sh-fallback and mh-fallback are Sched1, sh-port and mh-port are Sched2).
const (
	Persistent Flags = 0x0001
	OnePacket  Flags = 0x0004
	Sched1     Flags = 0x0008
	Sched2     Flags = 0x0010
	Sched3     Flags = 0x0020
)

// A Key names a virtual service: either Mark, or Protocol, Addr and Port.
// It is comparable and serves as a map key.
type Key struct {
	Mark     uint32     `json:"mark,omitempty"`
	V6       bool       `json:"v6,omitempty"`       // the family of a Mark's services; false elsewhere
	Protocol string     `json:"protocol,omitempty"` // "tcp", "udp", "sctp"; "" with Mark
	Addr     netip.Addr `json:"addr,omitzero"`
	Port     uint16     `json:"port,omitempty"` // 0: every port (persistent services only)
}

// String is the key as ipvsadm -Ln shows it: "TCP 192.0.2.1:80", "FWM 7",
// "FWM 7 IPv6".
func (k Key) String() string {
	if k.Mark != 0 {
		if k.V6 {
			return fmt.Sprintf("FWM %d IPv6", k.Mark)
		}
		return fmt.Sprintf("FWM %d", k.Mark)
	}
	names := map[string]string{"tcp": "TCP", "udp": "UDP", "sctp": "SCTP"}
	return names[k.Protocol] + " " + netip.AddrPortFrom(k.Addr, k.Port).String()
}

// IPv6 says whether the service is one of IPv6.
func (k Key) IPv6() bool { return k.V6 || k.Addr.Is6() }

// A Service is one virtual service with its real servers.
type Service struct {
	Key       Key    `json:"key"`
	Scheduler string `json:"scheduler"`
	Flags     Flags  `json:"flags,omitempty"`   // Persistent, OnePacket, Sched*; never the kernel's HASHED
	Timeout   uint32 `json:"timeout,omitempty"` // of persistence, in seconds
	// Netmask of persistence, as a length: 1-32, 1-128; 0 means the full
	// length. -1 is a mask of IPv4 that none of these lengths says, which
	// others may have set: it is OddMask then.
	Netmask int           `json:"netmask,omitempty"`
	OddMask uint32        `json:"odd_mask,omitempty"`
	Engine  string        `json:"engine,omitempty"` // persistence engine ("sip"), "" none
	Dests   []Destination `json:"dests,omitempty"`
}

// A DestKey names a real server within its service.
type DestKey struct {
	Addr netip.Addr `json:"addr"`
	Port uint16     `json:"port"`
}

// A Destination is one real server of a service.
type Destination struct {
	DestKey
	Method Method `json:"method"`
	Weight int    `json:"weight"`          // 0 to 65535; 0 takes no new connections
	Upper  uint32 `json:"upper,omitempty"` // connections above which no new one comes; 0: no limit
	Lower  uint32 `json:"lower,omitempty"`
	// Tunnel is "" for plain IP-in-IP, else "gue" or "gre", which others may
	// have set: kept exactly, for an undo, and never wanted.
	Tunnel      string `json:"tunnel,omitempty"`
	TunnelPort  uint16 `json:"tunnel_port,omitempty"`  // of gue
	TunnelFlags uint16 `json:"tunnel_flags,omitempty"` // of gue and gre: TunnelCsum, TunnelRemCsum

	Active     int `json:"-"` // connections, as read; not part of the rules
	Inactive   int `json:"-"`
	Persistent int `json:"-"`

	Counts Counts `json:"-"` // as Statistics reads them; not part of the rules
}

// Counts are what the kernel has counted of a real server since its entry was
// made (struct ip_vs_kstats).
type Counts struct {
	Connections uint64 `json:"connections,omitempty"` // ever scheduled
	InBytes     uint64 `json:"in_bytes,omitempty"`
	OutBytes    uint64 `json:"out_bytes,omitempty"` // 0 with DR and TUN: answers do not pass
}

// The flags of a tunnel, IP_VS_TUNNEL_ENCAP_FLAG_* of
// include/uapi/linux/ip_vs.h; none is "--tun-nocsum".
const (
	TunnelCsum    uint16 = 0x0001
	TunnelRemCsum uint16 = 0x0002
)

// A Verb is what an Edit does.
type Verb string

// The edits that the kernel knows.
const (
	AddService    Verb = "add-service"
	EditService   Verb = "edit-service"
	DeleteService Verb = "delete-service"
	AddDest       Verb = "add-dest"
	EditDest      Verb = "edit-dest"
	DeleteDest    Verb = "delete-dest"
)

// An Edit is one change of the table. For the service verbs Service holds the
// wanted (or, with DeleteService, the present) service and its Dests are
// ignored; for the destination verbs only Service.Key and Dest count.
type Edit struct {
	Verb    Verb        `json:"verb"`
	Service Service     `json:"service"`
	Dest    Destination `json:"dest,omitzero"`

	// WasService and WasDest, where one is set, are what the entry must be
	// for Make to edit or delete it: what an undo's Do had left there. A
	// service that is to be deleted must have no real server left besides.
	// Anything else was made by somebody since: ErrChanged.
	WasService *Service     `json:"was_service,omitempty"`
	WasDest    *Destination `json:"was_dest,omitempty"`
	// AnyWeight: the weight belongs to somebody else, a health checker. It
	// is not compared, and an EditDest keeps the one that is there.
	AnyWeight bool `json:"any_weight,omitempty"`
}

// A Table is the IPVS table of one machine.
type Table interface {
	// Dump reads every service with its real servers, in no certain order. A
	// kernel without the ip_vs module has an empty table.
	Dump(ctx context.Context) ([]Service, error)
	// Apply makes the edits, in order, as the kernel takes them: what is
	// there cannot be added, what is not cannot be edited or deleted. On an
	// error the edits before the one that the error names (*EditError) have
	// been made. WasService and WasDest mean nothing to it: see Make.
	Apply(ctx context.Context, edits []Edit) error
}

// An Opener is a host.Host that has an IPVS table of its own to offer.
type Opener interface{ IPVS() (Table, error) }

// An EditError names the edit that failed.
type EditError struct {
	Index int
	Edit  Edit
	Err   error
}

func (e *EditError) Error() string {
	s := string(e.Edit.Verb) + " " + e.Edit.Service.Key.String()
	if e.Edit.Dest.Addr.IsValid() {
		s += " " + netip.AddrPortFrom(e.Edit.Dest.Addr, e.Edit.Dest.Port).String()
	}
	return s + ": " + e.Err.Error()
}

func (e *EditError) Unwrap() error { return e.Err }
