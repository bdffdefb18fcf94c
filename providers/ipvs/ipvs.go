// Package ipvs is the kernel's table of virtual services as data: the model,
// the difference of two tables as the least set of edits, the text form of
// ipvsadm(8), and the one small interface through which a table is read and
// edited, over netlink or through ipvsadm.
package ipvs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
)

// A Method is how a packet reaches the real server. As text it has the name that
// the inventory has for it. (Of 16 bits, for which vet tells of one that is
// converted to a string.)
type Method uint16

// The forwarding methods. Local is what the kernel makes of any method whose
// real server is the director itself.
const (
	NAT Method = iota + 1 // masquerading
	DR                    // direct routing: "gatewaying" to ipvsadm
	TUN                   // IP-in-IP
	Local
)

// ParseMethod gives the method of that name; 0 where none has it.
func ParseMethod(name string) Method {
	for m := NAT; m <= Local; m++ {
		if m.String() == name {
			return m
		}
	}
	return 0
}

func (m Method) String() string {
	switch m {
	case NAT:
		return "nat"
	case DR:
		return "dr"
	case TUN:
		return "tun"
	case Local:
		return "local"
	}
	return ""
}

// MarshalText gives the name.
func (m Method) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads a name, or nothing.
func (m *Method) UnmarshalText(text []byte) error {
	if *m = ParseMethod(string(text)); *m == 0 && len(text) > 0 {
		return fmt.Errorf("%q is no forwarding method", text)
	}
	return nil
}

// A Tunnel is what a TUN packet travels in, in the kernel's numbers
// (IP_VS_CONN_F_TUNNEL_TYPE_*); as text it has ipvsadm's name for it.
type Tunnel uint16

// The kinds of tunnel. All but IPIP are others' doing: kept exactly, for an
// undo, and never wanted.
const (
	IPIP Tunnel = iota
	GUE
	GRE
)

// ParseTunnel gives the kind of that name.
func ParseTunnel(name string) (t Tunnel, ok bool) {
	for t = IPIP; t <= GRE; t++ {
		if t.String() == name {
			return t, true
		}
	}
	return 0, false
}

func (t Tunnel) String() string {
	switch t {
	case IPIP:
		return "ipip"
	case GUE:
		return "gue"
	case GRE:
		return "gre"
	}
	return "unknown"
}

// MarshalText gives the name.
func (t Tunnel) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads a name.
func (t *Tunnel) UnmarshalText(text []byte) error {
	var ok bool
	if *t, ok = ParseTunnel(string(text)); !ok {
		return fmt.Errorf("%q is no kind of tunnel", text)
	}
	return nil
}

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
	Port     uint16     `json:"port,omitempty"`     // 0: every port (persistent services only)
	V6       bool       `json:"v6,omitempty"`       // the family of a Mark's services; false elsewhere
	Protocol string     `json:"protocol,omitempty"` // "tcp", "udp", "sctp"; "" with Mark
	Addr     netip.Addr `json:"addr,omitzero"`
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
	Scheduler string `json:"scheduler,omitempty"`
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

// A Destination is one real server of a service. Tables are full of them: it is
// kept small.
type Destination struct {
	DestKey
	Weight int    `json:"weight"`          // 0 to 65535; 0 takes no new connections
	Upper  uint32 `json:"upper,omitempty"` // connections above which no new one comes; 0: no limit
	Lower  uint32 `json:"lower,omitempty"`
	Method Method `json:"method"`
	// Tunnel says more of TUN.
	Tunnel      Tunnel `json:"tunnel,omitempty"`
	TunnelPort  uint16 `json:"tunnel_port,omitempty"`  // of gue
	TunnelFlags uint16 `json:"tunnel_flags,omitempty"` // of gue and gre: TunnelCsum, TunnelRemCsum

	Active     uint32 `json:"-"` // connections, as read; not part of the rules
	Inactive   uint32 `json:"-"`
	Persistent uint32 `json:"-"`

	Counts *Counts `json:"-"` // as Statistics reads them, else nil; not part of the rules
}

// Counted gives the counts, 0 where none were read.
func (d *Destination) Counted() Counts {
	if d.Counts == nil {
		return Counts{}
	}
	return *d.Counts
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
type Verb uint16

// The edits that the kernel knows.
const (
	AddService Verb = iota + 1
	EditService
	DeleteService
	AddDest
	EditDest
	DeleteDest
)

func (v Verb) String() string {
	switch v {
	case AddService:
		return "add-service"
	case EditService:
		return "edit-service"
	case DeleteService:
		return "delete-service"
	case AddDest:
		return "add-dest"
	case EditDest:
		return "edit-dest"
	case DeleteDest:
		return "delete-dest"
	}
	return fmt.Sprintf("edit of unknown kind %d", uint16(v))
}

// MarshalText gives the name.
func (v Verb) MarshalText() ([]byte, error) {
	if v < AddService || v > DeleteDest {
		return nil, errors.New(v.String())
	}
	return []byte(v.String()), nil
}

// UnmarshalText reads a name.
func (v *Verb) UnmarshalText(text []byte) error {
	for *v = AddService; *v <= DeleteDest; *v++ {
		if v.String() == string(text) {
			return nil
		}
	}
	*v = 0
	return fmt.Errorf("%q is no edit of the IPVS table", text)
}

// An Edit is one change of the table. For the service verbs Service holds the
// wanted (or, with DeleteService, the present) service and its Dests are
// ignored; for the destination verbs only Service.Key and Dest count.
type Edit struct {
	Verb Verb `json:"verb"`
	// AnyWeight: the weight belongs to somebody else, a health checker. It
	// is not compared, and an EditDest keeps the one that is there.
	AnyWeight bool `json:"any_weight,omitempty"`

	Service *Service    `json:"service"` // never nil; many edits may share one, which none changes
	Dest    Destination `json:"dest,omitzero"`

	// WasService and WasDest, where one is set, are what the entry must be
	// for Make to edit or delete it: what an undo's Do had left there. A
	// service that is to be deleted must have no real server left besides.
	// Anything else was made by somebody since: ErrChanged.
	WasService *Service     `json:"was_service,omitempty"`
	WasDest    *Destination `json:"was_dest,omitempty"`
}

// UnmarshalJSON reads an edit. One that names no service is an error.
func (e *Edit) UnmarshalJSON(b []byte) error {
	type plain Edit
	if err := json.Unmarshal(b, (*plain)(e)); err != nil {
		return err
	}
	if e.Service == nil {
		return errors.New("an edit of the IPVS table names no service")
	}
	return nil
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
	s := e.Edit.Verb.String() + " " + e.Edit.Service.Key.String()
	if e.Edit.Dest.Addr.IsValid() {
		s += " " + netip.AddrPortFrom(e.Edit.Dest.Addr, e.Edit.Dest.Port).String()
	}
	return s + ": " + e.Err.Error()
}

func (e *EditError) Unwrap() error { return e.Err }
