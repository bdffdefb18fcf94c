package ipvs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	moby "github.com/moby/ipvs"
	"golang.org/x/sys/unix"
)

// Commands and attributes of IPVS' generic netlink family, from
// include/uapi/linux/ip_vs.h.
const (
	genlVersion = 1

	genlController = 0x10 // GENL_ID_CTRL of include/uapi/linux/genetlink.h
	genlHeader     = 4    // bytes of struct genlmsghdr

	cmdNewService = 1
	cmdSetService = 2
	cmdDelService = 3
	cmdGetService = 4
	cmdNewDest    = 5
	cmdSetDest    = 6
	cmdDelDest    = 7
	cmdGetDest    = 8

	attrService = 1
	attrDest    = 2

	svcFamily    = 1
	svcProtocol  = 2
	svcAddr      = 3
	svcPort      = 4
	svcMark      = 5
	svcScheduler = 6
	svcFlags     = 7
	svcTimeout   = 8
	svcNetmask   = 9
	svcEngine    = 11

	destAddr        = 1
	destPort        = 2
	destMethod      = 3
	destWeight      = 4
	destUpper       = 5
	destLower       = 6
	destActive      = 7
	destInactive    = 8
	destPersistent  = 9
	destStats       = 10
	destFamily      = 11
	destStats64     = 12 // since Linux 4.1: the same, every number of 64 bits
	destTunnelType  = 13
	destTunnelPort  = 14
	destTunnelFlags = 15

	statsConns    = 1
	statsInBytes  = 4
	statsOutBytes = 5
)

// A writer puts netlink messages one behind the other.
type writer struct{ b []byte }

// open begins a message of the generic netlink family; done ends it, with what
// open gave.
func (w *writer) open(family uint16, seq uint32, flags int, cmd uint8) (at int) {
	at = len(w.b)
	w.b = binary.NativeEndian.AppendUint32(w.b, 0) // the length, see done
	w.b = binary.NativeEndian.AppendUint16(w.b, family)
	w.b = binary.NativeEndian.AppendUint16(w.b, uint16(unix.NLM_F_REQUEST|flags))
	w.b = binary.NativeEndian.AppendUint32(w.b, seq)
	w.b = binary.NativeEndian.AppendUint32(w.b, 0) // the port: the kernel knows it
	// struct genlmsghdr (include/uapi/linux/genetlink.h).
	w.b = append(w.b, cmd, genlVersion, 0, 0)
	return at
}

func (w *writer) done(at int) {
	binary.NativeEndian.PutUint32(w.b[at:], uint32(len(w.b)-at))
}

// nest begins an attribute that holds others; nested ends it.
func (w *writer) nest(kind uint16) (at int) {
	at = len(w.b)
	w.header(kind, 0)
	return at
}

func (w *writer) nested(at int) {
	binary.NativeEndian.PutUint16(w.b[at:], uint16(len(w.b)-at))
}

func (w *writer) header(kind uint16, size int) {
	w.b = binary.NativeEndian.AppendUint16(w.b, uint16(unix.SizeofRtAttr+size))
	w.b = binary.NativeEndian.AppendUint16(w.b, kind)
}

// u16 and u32 are numbers in the machine's order, net16 one in network order.
func (w *writer) u16(kind, n uint16) {
	w.header(kind, 2)
	w.b = append(binary.NativeEndian.AppendUint16(w.b, n), 0, 0)
}

func (w *writer) u32(kind uint16, n uint32) {
	w.header(kind, 4)
	w.b = binary.NativeEndian.AppendUint32(w.b, n)
}

func (w *writer) net16(kind, n uint16) {
	w.header(kind, 2)
	w.b = append(binary.BigEndian.AppendUint16(w.b, n), 0, 0)
}

// text is a string that ends with a zero.
func (w *writer) text(kind uint16, s string) {
	w.header(kind, len(s)+1)
	w.b = append(append(w.b, s...), 0)
	w.pad()
}

func (w *writer) addr(kind uint16, a netip.Addr) {
	switch {
	case a.Is4():
		four := a.As4()
		w.header(kind, len(four))
		w.b = append(w.b, four[:]...)
	case a.Is6():
		six := a.As16()
		w.header(kind, len(six))
		w.b = append(w.b, six[:]...)
	}
}

func (w *writer) pad() {
	for len(w.b)%4 != 0 {
		w.b = append(w.b, 0)
	}
}

// familyName is IPVS_GENL_NAME.
const familyName = "IPVS"

// family asks the controller of generic netlink for IPVS by name, or for all
// families that there are.
func (w *writer) family(seq uint32, byName bool) {
	flags := 0
	if !byName {
		flags = unix.NLM_F_DUMP
	}
	at := w.open(genlController, seq, flags, unix.CTRL_CMD_GETFAMILY)
	if byName {
		w.text(unix.CTRL_ATTR_FAMILY_NAME, familyName)
	}
	w.done(at)
}

// edit is the message that makes the edit.
func (w *writer) edit(family uint16, seq uint32, flags int, e *Edit) {
	var cmd uint8
	whole := true
	switch e.Verb {
	case AddService:
		cmd = cmdNewService
	case EditService:
		cmd = cmdSetService
	case DeleteService:
		cmd, whole = cmdDelService, false
	case AddDest:
		cmd = cmdNewDest
	case EditDest:
		cmd = cmdSetDest
	case DeleteDest:
		cmd, whole = cmdDelDest, false
	}
	at := w.open(family, seq, flags, cmd)
	if e.Verb == AddService || e.Verb == EditService || e.Verb == DeleteService {
		w.service(e.Service, whole)
	} else {
		w.service(e.Service, false)
		w.dest(&e.Dest, whole)
	}
	w.done(at)
}

// service writes the service: whole, or only what identifies it.
func (w *writer) service(s *Service, whole bool) {
	at := w.nest(attrService)
	family := uint16(unix.AF_INET)
	if s.Key.IPv6() {
		family = unix.AF_INET6
	}
	w.u16(svcFamily, family)
	if s.Key.Mark != 0 {
		w.u32(svcMark, s.Key.Mark)
	} else {
		w.u16(svcProtocol, protocolNumber(s.Key.Protocol))
		w.addr(svcAddr, s.Key.Addr)
		w.net16(svcPort, s.Key.Port)
	}
	if whole {
		n := s.Normal()
		w.text(svcScheduler, n.Scheduler)
		if n.Engine != "" {
			w.text(svcEngine, n.Engine)
		}
		// struct ip_vs_flags: what is set, and what is said.
		w.header(svcFlags, 8)
		w.b = binary.NativeEndian.AppendUint32(w.b, uint32(n.Flags))
		w.b = binary.NativeEndian.AppendUint32(w.b, ^uint32(0))
		w.u32(svcTimeout, n.Timeout)
		w.u32(svcNetmask, n.wireMask())
	}
	w.nested(at)
}

// wireMask is the mask of persistence as the kernel holds it: a length with
// IPv6; with IPv4 a mask, which lies in memory in network order.
func (s Service) wireMask() uint32 {
	switch {
	case !s.Key.IPv6():
		return binary.NativeEndian.Uint32(binary.BigEndian.AppendUint32(nil, s.mask4()))
	case s.Netmask == 0:
		return 128
	}
	return uint32(s.Netmask)
}

// dest writes the real server: whole, or only what identifies it. Kernels
// before 3.18 know no family of its own and those before 5.2 no tunnel types;
// the attributes are left out where they would say the default.
func (w *writer) dest(have *Destination, whole bool) {
	d := have.Normal()
	at := w.nest(attrDest)
	family := uint16(unix.AF_INET)
	if d.Addr.Is6() {
		family = unix.AF_INET6
	}
	w.addr(destAddr, d.Addr)
	w.net16(destPort, d.Port)
	w.u16(destFamily, family)
	if whole {
		w.u32(destMethod, connMethod(d.Method))
		w.u32(destWeight, uint32(d.Weight))
		w.u32(destUpper, d.Upper)
		w.u32(destLower, d.Lower)
		if d.Tunnel != IPIP {
			w.header(destTunnelType, 1)
			w.b = append(w.b, byte(d.Tunnel), 0, 0, 0)
			w.net16(destTunnelPort, d.TunnelPort)
			w.u16(destTunnelFlags, d.TunnelFlags)
		}
	}
	w.nested(at)
}

// connMethod is the method in the kernel's flags of a connection.
func connMethod(m Method) uint32 {
	switch m {
	case NAT:
		return moby.ConnFwdMasq
	case TUN:
		return moby.ConnFwdTunnel
	case Local:
		return moby.ConnFwdLocalNode
	}
	return moby.ConnFwdDirectRoute
}

// methodOf reads it from them.
func methodOf(flags uint32) Method {
	switch flags & moby.ConnFwdMask {
	case moby.ConnFwdMasq:
		return NAT
	case moby.ConnFwdTunnel:
		return TUN
	case moby.ConnFwdDirectRoute:
		return DR
	}
	return Local
}

// A message is one netlink message as it was received; body is what follows
// the header.
type message struct {
	Type uint16
	Seq  uint32
	body []byte
}

var errShort = errors.New("the kernel's answer makes no sense: a length is wrong")

// nextMessage takes the first message off b.
func nextMessage(b []byte) (message, []byte, error) {
	if len(b) < unix.NLMSG_HDRLEN {
		return message{}, nil, errShort
	}
	n := int(binary.NativeEndian.Uint32(b))
	if n < unix.NLMSG_HDRLEN || n > len(b) {
		return message{}, nil, errShort
	}
	m := message{
		Type: binary.NativeEndian.Uint16(b[4:]),
		Seq:  binary.NativeEndian.Uint32(b[8:]),
		body: b[unix.NLMSG_HDRLEN:n],
	}
	return m, b[min(align(n), len(b)):], nil
}

// errno is what an NLMSG_ERROR says; nil is an acknowledgement.
func (m message) errno() error {
	if len(m.body) < 4 {
		return errShort
	}
	if no := int32(binary.NativeEndian.Uint32(m.body)); no != 0 {
		return syscall.Errno(-no)
	}
	return nil
}

func align(n int) int { return (n + 3) &^ 3 }

// An attrs walks over attributes: next goes to the one behind, if there is one.
type attrs struct {
	rest  []byte
	kind  uint16
	value []byte
	err   error // the rest makes no sense
}

func (a *attrs) next() bool {
	if len(a.rest) < unix.SizeofRtAttr || a.err != nil {
		return false
	}
	n := int(binary.NativeEndian.Uint16(a.rest))
	if n < unix.SizeofRtAttr || n > len(a.rest) {
		a.err = errShort
		return false
	}
	a.kind = binary.NativeEndian.Uint16(a.rest[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
	a.value = a.rest[unix.SizeofRtAttr:n]
	a.rest = a.rest[min(align(n), len(a.rest)):]
	return true
}

// u8, u16 and u32 read numbers in the machine's order, net16 one in network
// order. A value that is too short is an error of the walk.
func (a *attrs) u8() byte {
	if !a.has(1) {
		return 0
	}
	return a.value[0]
}

func (a *attrs) u16() uint16 {
	if !a.has(2) {
		return 0
	}
	return binary.NativeEndian.Uint16(a.value)
}

func (a *attrs) u32() uint32 {
	if !a.has(4) {
		return 0
	}
	return binary.NativeEndian.Uint32(a.value)
}

func (a *attrs) u64() uint64 {
	if !a.has(8) {
		return 0
	}
	return binary.NativeEndian.Uint64(a.value)
}

func (a *attrs) net16() uint16 {
	if !a.has(2) {
		return 0
	}
	return binary.BigEndian.Uint16(a.value)
}

func (a *attrs) has(n int) bool {
	if len(a.value) < n {
		a.err = errShort
	}
	return len(a.value) >= n
}

// firstAttr gives the value of the first attribute behind the header of
// generic netlink: the service or the real server.
func firstAttr(body []byte) ([]byte, error) {
	if len(body) < genlHeader {
		return nil, errShort
	}
	a := attrs{rest: body[genlHeader:]}
	if !a.next() {
		return nil, errShort
	}
	return a.value, nil
}

func decodeFamily(body []byte) (id uint16, name string, err error) {
	if len(body) < genlHeader {
		return 0, "", errShort
	}
	a := attrs{rest: body[genlHeader:]}
	for a.next() {
		switch a.kind {
		case unix.CTRL_ATTR_FAMILY_ID:
			id = a.u16()
		case unix.CTRL_ATTR_FAMILY_NAME:
			name = unix.ByteSliceToString(a.value)
		}
	}
	return id, name, a.err
}

// decodeCounts reads the nested counts of a real server (IPVS_STATS_ATTR_*).
func decodeCounts(b []byte) (*Counts, error) {
	c := &Counts{}
	wide := false
	a := attrs{rest: b}
	for a.next() {
		if a.kind != destStats64 && (a.kind != destStats || wide) {
			continue
		}
		wide = a.kind == destStats64
		in := attrs{rest: a.value}
		for in.next() {
			switch {
			case in.kind == statsConns && !wide:
				c.Connections = uint64(in.u32())
			case in.kind == statsConns:
				c.Connections = in.u64()
			case in.kind == statsInBytes:
				c.InBytes = in.u64()
			case in.kind == statsOutBytes:
				c.OutBytes = in.u64()
			}
		}
		if in.err != nil {
			return c, in.err
		}
	}
	return c, a.err
}

// address reads the union nf_inet_addr by family.
func address(v []byte, six bool) (netip.Addr, error) {
	switch {
	case six && len(v) >= 16:
		return netip.AddrFrom16([16]byte(v[:16])), nil
	case !six && len(v) >= 4:
		return netip.AddrFrom4([4]byte(v[:4])), nil
	}
	return netip.Addr{}, errShort
}

func decodeService(b []byte) (Service, error) {
	var s Service
	var family, protocol uint16
	var addr, mask []byte
	a := attrs{rest: b}
	for a.next() {
		switch a.kind {
		case svcFamily:
			family = a.u16()
		case svcProtocol:
			protocol = a.u16()
		case svcAddr:
			addr = a.value
		case svcPort:
			s.Key.Port = a.net16()
		case svcMark:
			s.Key.Mark = a.u32()
		case svcScheduler:
			s.Scheduler = schedulerName(a.value)
		case svcEngine:
			s.Engine = unix.ByteSliceToString(a.value)
		case svcFlags:
			s.Flags = Flags(a.u32())
		case svcTimeout:
			s.Timeout = a.u32()
		case svcNetmask:
			mask = a.value
		}
	}
	if a.err != nil {
		return Service{}, a.err
	}
	six := family == unix.AF_INET6
	if s.Key.Mark != 0 {
		s.Key.V6, s.Key.Port = six, 0
	} else {
		var err error
		if s.Key.Addr, err = address(addr, six); err != nil {
			return Service{}, err
		}
		if s.Key.Protocol = protocolName(protocol); s.Key.Protocol == "" {
			return Service{}, fmt.Errorf("service of %s has the unknown protocol %d", s.Key.Addr, protocol)
		}
	}
	if len(mask) >= 4 {
		if six {
			s.Netmask = int(binary.NativeEndian.Uint32(mask))
		} else {
			s.setMask4(binary.BigEndian.Uint32(mask))
		}
	}
	return s.Normal(), nil
}

// schedulerName reads a name with no new string for those that tables are full
// of.
func schedulerName(v []byte) string {
	if i := bytes.IndexByte(v, 0); i >= 0 {
		v = v[:i]
	}
	switch string(v) {
	case "rr":
		return "rr"
	case "wrr":
		return "wrr"
	case "lc":
		return "lc"
	case "wlc":
		return "wlc"
	case "sh":
		return "sh"
	case "mh":
		return "mh"
	}
	return string(v)
}

func protocolName(n uint16) string {
	switch n {
	case unix.IPPROTO_TCP:
		return "tcp"
	case unix.IPPROTO_UDP:
		return "udp"
	case unix.IPPROTO_SCTP:
		return "sctp"
	}
	return ""
}

func decodeDest(b []byte, serviceSix bool) (Destination, error) {
	var d Destination
	var family uint16
	var method uint32
	var addr []byte
	a := attrs{rest: b}
	for a.next() {
		switch a.kind {
		case destAddr:
			addr = a.value
		case destPort:
			d.Port = a.net16()
		case destFamily:
			family = a.u16()
		case destMethod:
			method = a.u32()
		case destWeight:
			d.Weight = int(a.u32())
		case destUpper:
			d.Upper = a.u32()
		case destLower:
			d.Lower = a.u32()
		case destActive:
			d.Active = a.u32()
		case destInactive:
			d.Inactive = a.u32()
		case destPersistent:
			d.Persistent = a.u32()
		case destTunnelType:
			if d.Tunnel = Tunnel(a.u8()); d.Tunnel > GRE {
				d.Tunnel = IPIP
			}
		case destTunnelPort:
			d.TunnelPort = a.net16()
		case destTunnelFlags:
			d.TunnelFlags = a.u16()
		}
	}
	if a.err != nil {
		return Destination{}, a.err
	}
	// Kernels before 3.18 do not say the family: it is the service's.
	six := family == unix.AF_INET6 || family == 0 && serviceSix
	var err error
	if d.Addr, err = address(addr, six); err != nil {
		return Destination{}, err
	}
	d.Method = methodOf(method)
	if d.Method != TUN || d.Tunnel == IPIP {
		d.Tunnel, d.TunnelPort, d.TunnelFlags = IPIP, 0, 0
	}
	return d, nil
}
