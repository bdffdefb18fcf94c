package ipvs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	moby "github.com/moby/ipvs"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Commands and attributes of IPVS' generic netlink family, from
// include/uapi/linux/ip_vs.h.
const (
	genlVersion = 1

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
	destFamily      = 11
	destTunnelType  = 13
	destTunnelPort  = 14
	destTunnelFlags = 15
)

// A requestData is a piece of a request.
type requestData = nl.NetlinkRequestData

// request is one message to the family.
func request(family uint16, seq uint32, flags int, cmd uint8, data ...requestData) []byte {
	req := nl.NetlinkRequest{NlMsghdr: unix.NlMsghdr{
		Type: family, Flags: uint16(unix.NLM_F_REQUEST | flags), Seq: seq,
	}}
	req.AddData(genlHeader{cmd, genlVersion})
	for _, d := range data {
		if d != nil {
			req.AddData(d)
		}
	}
	return req.Serialize()
}

// genlHeader is struct genlmsghdr (include/uapi/linux/genetlink.h): command,
// version, and two reserved bytes that are 0. Package nl's own has no room for
// those and sends what lies behind it in memory.
type genlHeader [2]uint8

func (genlHeader) Len() int { return nl.SizeofGenlmsg }

func (h genlHeader) Serialize() []byte { return []byte{h[0], h[1], 0, 0} }

// familyName is IPVS_GENL_NAME.
const familyName = "IPVS"

// familyRequest asks the controller of generic netlink for IPVS by name, or for
// all families that there are.
func familyRequest(seq uint32, byName bool) []byte {
	if !byName {
		return request(nl.GENL_ID_CTRL, seq, unix.NLM_F_DUMP, nl.GENL_CTRL_CMD_GETFAMILY)
	}
	name := nl.NewRtAttr(nl.GENL_CTRL_ATTR_FAMILY_NAME, nl.ZeroTerminated(familyName))
	return request(nl.GENL_ID_CTRL, seq, 0, nl.GENL_CTRL_CMD_GETFAMILY, name)
}

// editRequest is the message that makes the edit.
func editRequest(family uint16, seq uint32, flags int, e Edit) []byte {
	cmd := map[Verb]uint8{
		AddService: cmdNewService, EditService: cmdSetService, DeleteService: cmdDelService,
		AddDest: cmdNewDest, EditDest: cmdSetDest, DeleteDest: cmdDelDest,
	}[e.Verb]
	switch e.Verb {
	case AddService, EditService:
		return request(family, seq, flags, cmd, encodeService(e.Service, true))
	case DeleteService:
		return request(family, seq, flags, cmd, encodeService(e.Service, false))
	}
	return request(family, seq, flags, cmd, encodeService(e.Service, false), encodeDest(e.Dest, e.Verb != DeleteDest))
}

// mobyService gives the service in the library's terms.
func mobyService(s Service) moby.Service {
	s = s.Normal()
	m := moby.Service{
		AddressFamily: unix.AF_INET, Protocol: protocolNumber(s.Key.Protocol), Port: s.Key.Port, FWMark: s.Key.Mark,
		SchedName: s.Scheduler, Flags: uint32(s.Flags), Timeout: s.Timeout, PEName: s.Engine,
	}
	if s.Key.Mark == 0 {
		m.Address = net.IP(s.Key.Addr.AsSlice())
	}
	if s.Key.IPv6() {
		m.AddressFamily, m.Netmask = unix.AF_INET6, uint32(s.Netmask)
		if s.Netmask == 0 {
			m.Netmask = 128
		}
		return m
	}
	// A mask of IPv4 lies in memory in network order.
	m.Netmask = binary.NativeEndian.Uint32(binary.BigEndian.AppendUint32(nil, s.mask4()))
	return m
}

// encodeService writes the service: whole, or only what identifies it.
func encodeService(s Service, whole bool) requestData {
	m := mobyService(s)
	a := nl.NewRtAttr(attrService, nil)
	a.AddRtAttr(svcFamily, nl.Uint16Attr(m.AddressFamily))
	if m.FWMark != 0 {
		a.AddRtAttr(svcMark, nl.Uint32Attr(m.FWMark))
	} else {
		a.AddRtAttr(svcProtocol, nl.Uint16Attr(m.Protocol))
		a.AddRtAttr(svcAddr, m.Address)
		a.AddRtAttr(svcPort, binary.BigEndian.AppendUint16(nil, m.Port))
	}
	if !whole {
		return a
	}
	a.AddRtAttr(svcScheduler, nl.ZeroTerminated(m.SchedName))
	if m.PEName != "" {
		a.AddRtAttr(svcEngine, nl.ZeroTerminated(m.PEName))
	}
	// struct ip_vs_flags: what is set, and what is said.
	flags := binary.NativeEndian.AppendUint32(nil, m.Flags)
	a.AddRtAttr(svcFlags, binary.NativeEndian.AppendUint32(flags, ^uint32(0)))
	a.AddRtAttr(svcTimeout, nl.Uint32Attr(m.Timeout))
	a.AddRtAttr(svcNetmask, nl.Uint32Attr(m.Netmask))
	return a
}

// mobyDest gives the real server in the library's terms.
func mobyDest(d Destination) moby.Destination {
	m := moby.Destination{
		Address: net.IP(d.Addr.AsSlice()), Port: d.Port, Weight: d.Weight,
		AddressFamily: unix.AF_INET, UpperThreshold: d.Upper, LowerThreshold: d.Lower,
	}
	if d.Addr.Is6() {
		m.AddressFamily = unix.AF_INET6
	}
	switch d.Method {
	case NAT:
		m.ConnectionFlags = moby.ConnFwdMasq
	case TUN:
		m.ConnectionFlags = moby.ConnFwdTunnel
	case Local:
		m.ConnectionFlags = moby.ConnFwdLocalNode
	default:
		m.ConnectionFlags = moby.ConnFwdDirectRoute
	}
	return m
}

// encodeDest writes the real server: whole, or only what identifies it.
// Kernels before 3.18 know no family of its own and those before 5.2 no
// tunnel types; the attributes are left out where they would say the default.
func encodeDest(d Destination, whole bool) requestData {
	d = d.Normal()
	m := mobyDest(d)
	a := nl.NewRtAttr(attrDest, nil)
	a.AddRtAttr(destAddr, m.Address)
	a.AddRtAttr(destPort, binary.BigEndian.AppendUint16(nil, m.Port))
	a.AddRtAttr(destFamily, nl.Uint16Attr(m.AddressFamily))
	if !whole {
		return a
	}
	a.AddRtAttr(destMethod, nl.Uint32Attr(m.ConnectionFlags))
	a.AddRtAttr(destWeight, nl.Uint32Attr(uint32(m.Weight)))
	a.AddRtAttr(destUpper, nl.Uint32Attr(m.UpperThreshold))
	a.AddRtAttr(destLower, nl.Uint32Attr(m.LowerThreshold))
	if t := tunnelType(d.Tunnel); t != 0 {
		a.AddRtAttr(destTunnelType, []byte{t})
		a.AddRtAttr(destTunnelPort, binary.BigEndian.AppendUint16(nil, d.TunnelPort))
		a.AddRtAttr(destTunnelFlags, nl.Uint16Attr(d.TunnelFlags))
	}
	return a
}

// tunnelType is IP_VS_CONN_F_TUNNEL_TYPE_*.
func tunnelType(name string) byte {
	switch name {
	case "gue":
		return 1
	case "gre":
		return 2
	}
	return 0
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

// eachAttr gives the attributes in b to each.
func eachAttr(b []byte, each func(kind uint16, value []byte) error) error {
	for len(b) >= unix.SizeofRtAttr {
		n := int(binary.NativeEndian.Uint16(b))
		if n < unix.SizeofRtAttr || n > len(b) {
			return errShort
		}
		kind := binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
		if err := each(kind, b[unix.SizeofRtAttr:n]); err != nil {
			return err
		}
		b = b[min(align(n), len(b)):]
	}
	return nil
}

// firstAttr gives the value of the first attribute behind the header of
// generic netlink: the service or the real server.
func firstAttr(body []byte) ([]byte, error) {
	if len(body) < nl.SizeofGenlmsg {
		return nil, errShort
	}
	var first []byte
	err := eachAttr(body[nl.SizeofGenlmsg:], func(_ uint16, v []byte) error {
		if first == nil {
			first = v
		}
		return nil
	})
	if err == nil && first == nil {
		err = errShort
	}
	return first, err
}

func decodeFamily(body []byte) (id uint16, name string, err error) {
	if len(body) < nl.SizeofGenlmsg {
		return 0, "", errShort
	}
	err = eachAttr(body[nl.SizeofGenlmsg:], func(kind uint16, v []byte) error {
		switch kind {
		case nl.GENL_CTRL_ATTR_FAMILY_ID:
			return number(v, 2, func(n uint64) { id = uint16(n) })
		case nl.GENL_CTRL_ATTR_FAMILY_NAME:
			name = unix.ByteSliceToString(v)
		}
		return nil
	})
	return id, name, err
}

// number reads a number of size bytes in the machine's order.
func number(v []byte, size int, set func(uint64)) error {
	if len(v) < size {
		return errShort
	}
	switch size {
	case 1:
		set(uint64(v[0]))
	case 2:
		set(uint64(binary.NativeEndian.Uint16(v)))
	default:
		set(uint64(binary.NativeEndian.Uint32(v)))
	}
	return nil
}

// port reads a port, which is in network order.
func port(v []byte, set func(uint16)) error {
	if len(v) < 2 {
		return errShort
	}
	set(binary.BigEndian.Uint16(v))
	return nil
}

// address reads the union nf_inet_addr by family.
func address(v []byte, six bool) (netip.Addr, error) {
	n := 4
	if six {
		n = 16
	}
	if len(v) < n {
		return netip.Addr{}, errShort
	}
	a, _ := netip.AddrFromSlice(v[:n])
	return a, nil
}

func decodeService(attrs []byte) (Service, error) {
	var s Service
	var family, protocol uint16
	var addr, mask []byte
	err := eachAttr(attrs, func(kind uint16, v []byte) error {
		switch kind {
		case svcFamily:
			return number(v, 2, func(n uint64) { family = uint16(n) })
		case svcProtocol:
			return number(v, 2, func(n uint64) { protocol = uint16(n) })
		case svcAddr:
			addr = v
		case svcPort:
			return port(v, func(p uint16) { s.Key.Port = p })
		case svcMark:
			return number(v, 4, func(n uint64) { s.Key.Mark = uint32(n) })
		case svcScheduler:
			s.Scheduler = unix.ByteSliceToString(v)
		case svcEngine:
			s.Engine = unix.ByteSliceToString(v)
		case svcFlags:
			return number(v, 4, func(n uint64) { s.Flags = Flags(n) })
		case svcTimeout:
			return number(v, 4, func(n uint64) { s.Timeout = uint32(n) })
		case svcNetmask:
			mask = v
		}
		return nil
	})
	if err != nil {
		return Service{}, err
	}
	six := family == unix.AF_INET6
	if s.Key.Mark != 0 {
		s.Key.V6, s.Key.Port = six, 0
	} else {
		if s.Key.Addr, err = address(addr, six); err != nil {
			return Service{}, err
		}
		switch protocol {
		case unix.IPPROTO_TCP:
			s.Key.Protocol = "tcp"
		case unix.IPPROTO_UDP:
			s.Key.Protocol = "udp"
		case unix.IPPROTO_SCTP:
			s.Key.Protocol = "sctp"
		default:
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

func decodeDest(attrs []byte, serviceSix bool) (Destination, error) {
	var d Destination
	var family uint16
	var method uint32
	var addr []byte
	integer := func(v []byte, to *int) error { return number(v, 4, func(n uint64) { *to = int(n) }) }
	err := eachAttr(attrs, func(kind uint16, v []byte) error {
		switch kind {
		case destAddr:
			addr = v
		case destPort:
			return port(v, func(p uint16) { d.Port = p })
		case destFamily:
			return number(v, 2, func(n uint64) { family = uint16(n) })
		case destMethod:
			return number(v, 4, func(n uint64) { method = uint32(n) })
		case destWeight:
			return integer(v, &d.Weight)
		case destUpper:
			return number(v, 4, func(n uint64) { d.Upper = uint32(n) })
		case destLower:
			return number(v, 4, func(n uint64) { d.Lower = uint32(n) })
		case destActive:
			return integer(v, &d.Active)
		case destInactive:
			return integer(v, &d.Inactive)
		case destPersistent:
			return integer(v, &d.Persistent)
		case destTunnelType:
			return number(v, 1, func(n uint64) { d.Tunnel = map[uint64]string{1: "gue", 2: "gre"}[n] })
		case destTunnelPort:
			return port(v, func(p uint16) { d.TunnelPort = p })
		case destTunnelFlags:
			return number(v, 2, func(n uint64) { d.TunnelFlags = uint16(n) })
		}
		return nil
	})
	if err != nil {
		return Destination{}, err
	}
	// Kernels before 3.18 do not say the family: it is the service's.
	six := family == unix.AF_INET6 || family == 0 && serviceSix
	if d.Addr, err = address(addr, six); err != nil {
		return Destination{}, err
	}
	switch method & moby.ConnFwdMask {
	case moby.ConnFwdMasq:
		d.Method = NAT
	case moby.ConnFwdTunnel:
		d.Method = TUN
	case moby.ConnFwdDirectRoute:
		d.Method = DR
	default:
		d.Method = Local
	}
	if d.Method != TUN || d.Tunnel == "" {
		d.Tunnel, d.TunnelPort, d.TunnelFlags = "", 0, 0
	}
	return d, nil
}
