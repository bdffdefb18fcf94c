package host

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// ipAnswer is answer for ip(8): it prints as iproute2 6.1 does
// (ip/ipaddress.c, ip/iproute.c). Whatever else there is to say of an address,
// a link or a route, a flag, a kind, an attribute, is left to the program with
// the whole answer.
func ipAnswer(argv []string) ([]byte, bool) {
	var out []byte
	var err error
	switch {
	case slices.Equal(argv, AddrShow4()):
		out, err = showAddrs(unix.AF_INET)
	case slices.Equal(argv, AddrShow6()):
		out, err = showAddrs(unix.AF_INET6)
	case slices.Equal(argv, LinkShow()):
		out, err = showLinks()
	case slices.Equal(argv, []string{"ip", "route", "show"}):
		out, err = showRoutes()
	default:
		return nil, false
	}
	return out, err == nil
}

// errUntold is an answer that is the program's to give.
var errUntold = errors.New("there is more to say")

// An answered is one message of a dump: its fixed part, and its attributes by
// their types.
type answered struct {
	head  []byte
	attrs map[uint16][]byte
}

// netDump asks the kernel for all there is of a kind.
func netDump(request, family, kind, size int) ([]answered, error) {
	raw, err := syscall.NetlinkRIB(request, family)
	if err != nil {
		return nil, err
	}
	messages, err := syscall.ParseNetlinkMessage(raw)
	if err != nil {
		return nil, err
	}
	var list []answered
	for _, m := range messages {
		switch {
		case m.Header.Flags&unix.NLM_F_DUMP_INTR != 0:
			return nil, errUntold // something changed meanwhile
		case int(m.Header.Type) == unix.NLMSG_DONE:
			return list, nil
		case int(m.Header.Type) != kind:
			continue
		case len(m.Data) < size:
			return nil, errUntold
		}
		attrs, err := syscall.ParseNetlinkRouteAttr(&m)
		if err != nil {
			return nil, err
		}
		a := answered{head: m.Data[:size], attrs: map[uint16][]byte{}}
		for _, v := range attrs {
			a.attrs[v.Attr.Type&^unix.NLA_F_NESTED] = v.Value
		}
		list = append(list, a)
	}
	return nil, errUntold // no end
}

// u32 is a number; false where there is none.
func (a answered) u32(kind uint16) (uint32, bool) {
	v := a.attrs[kind]
	if len(v) < 4 {
		return 0, false
	}
	return binary.NativeEndian.Uint32(v), true
}

func (a answered) text(kind uint16) string { return unix.ByteSliceToString(a.attrs[kind]) }

func (a answered) addr(kind uint16) (netip.Addr, bool) { return netip.AddrFromSlice(a.attrs[kind]) }

// only says whether every attribute is one of these.
func (a answered) only(kinds ...uint16) bool {
	for k := range a.attrs {
		if !slices.Contains(kinds, k) {
			return false
		}
	}
	return true
}

// devices are the links by their numbers.
type devices map[uint32]answered

// name is "" of one that is not there.
func (d devices) name(index uint32) string { return d[index].text(unix.IFLA_IFNAME) }

func (d devices) down(index uint32) bool {
	l, there := d[index]
	return there && binary.NativeEndian.Uint32(l.head[8:])&unix.IFF_UP == 0
}

// dumpLinks gives the links, in their order and by their numbers.
func dumpLinks() ([]answered, devices, error) {
	links, err := netDump(unix.RTM_GETLINK, unix.AF_UNSPEC, unix.RTM_NEWLINK, unix.SizeofIfInfomsg)
	devs := devices{}
	for _, l := range links {
		devs[binary.NativeEndian.Uint32(l.head[4:])] = l
	}
	return links, devs, err
}

// showAddrs is ip -o -4 addr show, and -6: struct ifaddrmsg
// (include/uapi/linux/if_addr.h).
func showAddrs(family int) ([]byte, error) {
	_, devs, err := dumpLinks()
	if err != nil {
		return nil, err
	}
	addrs, err := netDump(unix.RTM_GETADDR, family, unix.RTM_NEWADDR, unix.SizeofIfAddrmsg)
	if err != nil {
		return nil, err
	}
	// The kernel lists by device as ip does, but for where its table of them
	// has wrapped round.
	slices.SortStableFunc(addrs, func(a, b answered) int {
		return int(binary.NativeEndian.Uint32(a.head[4:])) - int(binary.NativeEndian.Uint32(b.head[4:]))
	})
	var out bytes.Buffer
	for _, a := range addrs {
		if err := showAddr(&out, a, devs); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), nil
}

func showAddr(out *bytes.Buffer, a answered, devs devices) error {
	index := binary.NativeEndian.Uint32(a.head[4:])
	six := a.head[0] == unix.AF_INET6
	flags, ok := a.u32(unix.IFA_FLAGS)
	if !ok {
		flags = uint32(a.head[2])
	}
	scope, known := scopes[a.head[3]]
	local, ok := a.addr(unix.IFA_LOCAL)
	if !ok {
		local, ok = a.addr(unix.IFA_ADDRESS)
	}
	peer, ok2 := a.addr(unix.IFA_ADDRESS)
	if !ok || !ok2 || !known || devs.name(index) == "" || flags&unix.IFA_F_PERMANENT == 0 ||
		flags&^(unix.IFA_F_PERMANENT|unix.IFA_F_SECONDARY) != 0 || six && flags != unix.IFA_F_PERMANENT ||
		!a.only(unix.IFA_ADDRESS, unix.IFA_LOCAL, unix.IFA_LABEL, unix.IFA_BROADCAST, unix.IFA_CACHEINFO, unix.IFA_FLAGS, ifaProto) {
		return errUntold
	}
	// One that is permanent lives for ever (INFINITY_LIFE_TIME).
	life := a.attrs[unix.IFA_CACHEINFO]
	if len(life) < 8 || binary.NativeEndian.Uint64(life) != ^uint64(0) {
		return errUntold
	}
	fmt.Fprintf(out, "%d: %s    ", index, devs.name(index))
	if six {
		out.WriteString("inet6 ")
	} else {
		out.WriteString("inet ")
	}
	out.WriteString(local.String())
	if peer != local {
		out.WriteString(" peer " + peer.String())
	}
	fmt.Fprintf(out, "/%d ", a.head[1])
	if brd, ok := a.addr(unix.IFA_BROADCAST); ok {
		out.WriteString("brd " + brd.String() + " ")
	}
	out.WriteString("scope " + scope + " ")
	if flags&unix.IFA_F_SECONDARY != 0 {
		out.WriteString("secondary ")
	}
	out.WriteString(a.text(unix.IFA_LABEL) + `\       valid_lft forever preferred_lft forever` + "\n")
	return nil
}

// ifaProto is IFA_PROTO, who made the address (since Linux 5.18), which
// iproute2 6.1 does not say.
const ifaProto = 11

// scopes are RT_SCOPE_* by the names of iproute2's rt_scopes.
var scopes = map[byte]string{unix.RT_SCOPE_UNIVERSE: "global", unix.RT_SCOPE_LINK: "link", unix.RT_SCOPE_HOST: "host"}

// linkFlags are IFF_* in the order in which ip names them.
var linkFlags = []struct {
	bit  uint32
	name string
}{
	{unix.IFF_LOOPBACK, "LOOPBACK"}, {unix.IFF_BROADCAST, "BROADCAST"}, {unix.IFF_POINTOPOINT, "POINTOPOINT"},
	{unix.IFF_MULTICAST, "MULTICAST"}, {unix.IFF_NOARP, "NOARP"}, {unix.IFF_ALLMULTI, "ALLMULTI"}, {unix.IFF_PROMISC, "PROMISC"},
	{unix.IFF_MASTER, "MASTER"}, {unix.IFF_SLAVE, "SLAVE"}, {unix.IFF_DYNAMIC, "DYNAMIC"},
	{unix.IFF_UP, "UP"}, {unix.IFF_LOWER_UP, "LOWER_UP"}, {unix.IFF_DORMANT, "DORMANT"}, {unix.IFF_ECHO, "ECHO"},
}

// operStates are IF_OPER_* (include/uapi/linux/if.h).
var operStates = []string{"UNKNOWN", "NOTPRESENT", "DOWN", "LOWERLAYERDOWN", "TESTING", "DORMANT", "UP"}

// showLinks is ip -o link show: struct ifinfomsg. Virtual functions, which have
// lines of their own there, are left out.
func showLinks() ([]byte, error) {
	links, devs, err := dumpLinks()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	for _, l := range links {
		if err := showLink(&out, l, devs); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), nil
}

func showLink(out *bytes.Buffer, l answered, devs devices) error {
	kind := binary.NativeEndian.Uint16(l.head[2:])
	index := binary.NativeEndian.Uint32(l.head[4:])
	flags := binary.NativeEndian.Uint32(l.head[8:])
	fmt.Fprintf(out, "%d: %s", index, l.text(unix.IFLA_IFNAME))
	foreign := len(l.attrs[unix.IFLA_LINK_NETNSID]) >= 4
	under, above := l.u32(unix.IFLA_LINK)
	if above {
		switch {
		case foreign:
			fmt.Fprintf(out, "@if%d", under)
		case under == 0:
			out.WriteString("@NONE")
		case devs.name(under) == "":
			return errUntold
		default:
			out.WriteString("@" + devs.name(under))
		}
	}
	var list []string
	if flags&unix.IFF_UP != 0 && flags&unix.IFF_RUNNING == 0 {
		list = append(list, "NO-CARRIER")
	}
	for _, f := range linkFlags {
		if flags&f.bit != 0 {
			list = append(list, f.name)
			flags &^= f.bit
		}
	}
	if above && !foreign && devs.down(under) {
		list = append(list, "M-DOWN")
	}
	mtu, _ := l.u32(unix.IFLA_MTU)
	group, _ := l.u32(unix.IFLA_GROUP)
	state, mode := l.attrs[unix.IFLA_OPERSTATE], l.attrs[unix.IFLA_LINKMODE]
	if flags&^unix.IFF_RUNNING != 0 || group != 0 || len(state) < 1 || int(state[0]) >= len(operStates) || len(mode) < 1 || mode[0] > 1 {
		return errUntold
	}
	if l.attrs[unix.IFLA_IFALIAS] != nil || len(l.attrs[unix.IFLA_XDP]) > 8 || len(l.attrs[unix.IFLA_PROTO_DOWN]) > 0 && l.attrs[unix.IFLA_PROTO_DOWN][0] != 0 {
		return errUntold
	}
	fmt.Fprintf(out, ": <%s> mtu %d qdisc %s ", strings.Join(list, ","), mtu, l.text(unix.IFLA_QDISC))
	if master, ok := l.u32(unix.IFLA_MASTER); ok {
		if devs.name(master) == "" {
			return errUntold
		}
		out.WriteString("master " + devs.name(master) + " ")
	}
	fmt.Fprintf(out, "state %s mode %s group default ", operStates[state[0]], []string{"DEFAULT", "DORMANT"}[mode[0]])
	if qlen, ok := l.u32(unix.IFLA_TXQLEN); ok && qlen != 0 {
		fmt.Fprintf(out, "qlen %d", qlen)
	}
	hardware, broadcast := l.attrs[unix.IFLA_ADDRESS], l.attrs[unix.IFLA_BROADCAST]
	var name string
	show := func(b []byte) string { return net.HardwareAddr(b).String() }
	switch kind {
	case unix.ARPHRD_ETHER:
		name = "ether"
	case unix.ARPHRD_LOOPBACK:
		name = "loopback"
	case unix.ARPHRD_TUNNEL:
		name = "ipip"
		show = func(b []byte) string {
			a, _ := netip.AddrFromSlice(b)
			return a.String()
		}
	default:
		return errUntold
	}
	if len(hardware) == 0 || len(broadcast) == 0 {
		return errUntold
	}
	word := "brd"
	if binary.NativeEndian.Uint32(l.head[8:])&unix.IFF_POINTOPOINT != 0 {
		word = "peer"
	}
	fmt.Fprintf(out, `\    link/%s %s %s %s`, name, show(hardware), word, show(broadcast))
	if perm := l.attrs[unix.IFLA_PERM_ADDRESS]; perm != nil && !bytes.Equal(perm, hardware) {
		return errUntold
	}
	if foreign {
		// A namespace may have a name, which the program finds out.
		if list, err := os.ReadDir("/run/netns"); err == nil && len(list) > 0 || err != nil && !errors.Is(err, os.ErrNotExist) {
			return errUntold
		}
		id, _ := l.u32(unix.IFLA_LINK_NETNSID)
		fmt.Fprintf(out, " link-netnsid %d", int32(id))
	}
	for b := l.attrs[unix.IFLA_PROP_LIST]; len(b) >= unix.SizeofRtAttr; {
		n := int(binary.NativeEndian.Uint16(b))
		if n < unix.SizeofRtAttr || n > len(b) || binary.NativeEndian.Uint16(b[2:]) != unix.IFLA_ALT_IFNAME {
			return errUntold
		}
		out.WriteString(`\    altname ` + unix.ByteSliceToString(b[unix.SizeofRtAttr:n]))
		b = b[min((n+3)&^3, len(b)):]
	}
	out.WriteByte('\n')
	return nil
}

// routeProtos are RTPROT_* by the names of iproute2's rt_protos; of a route
// that somebody has set by hand nothing is said.
var routeProtos = map[byte]string{
	unix.RTPROT_BOOT: "", unix.RTPROT_REDIRECT: "proto redirect ", unix.RTPROT_KERNEL: "proto kernel ",
	unix.RTPROT_STATIC: "proto static ", unix.RTPROT_DHCP: "proto dhcp ", unix.RTPROT_RA: "proto ra ",
}

// showRoutes is ip route show: struct rtmsg, of the table main.
func showRoutes() ([]byte, error) {
	_, devs, err := dumpLinks()
	if err != nil {
		return nil, err
	}
	routes, err := netDump(unix.RTM_GETROUTE, unix.AF_INET, unix.RTM_NEWROUTE, unix.SizeofRtMsg)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	for _, r := range routes {
		table, ok := r.u32(unix.RTA_TABLE)
		if !ok {
			table = uint32(r.head[4])
		}
		flags := binary.NativeEndian.Uint32(r.head[8:])
		if table != unix.RT_TABLE_MAIN || flags&unix.RTM_F_CLONED != 0 {
			continue
		}
		if err := showRoute(&out, r, devs); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), nil
}

func showRoute(out *bytes.Buffer, r answered, devs devices) error {
	length, source, tos, proto, scope, kind := r.head[1], r.head[2], r.head[3], r.head[5], r.head[6], r.head[7]
	flags := binary.NativeEndian.Uint32(r.head[8:])
	word, known := routeProtos[proto]
	within, ok := scopes[scope]
	switch {
	case !known, !ok, source != 0, tos != 0, kind != unix.RTN_UNICAST, flags&^(unix.RTNH_F_ONLINK|unix.RTNH_F_LINKDOWN) != 0,
		!r.only(unix.RTA_TABLE, unix.RTA_DST, unix.RTA_GATEWAY, unix.RTA_OIF, unix.RTA_PREFSRC, unix.RTA_PRIORITY):
		return errUntold
	}
	dst, ok := r.addr(unix.RTA_DST)
	switch {
	case !ok && length == 0:
		out.WriteString("default ")
	case !ok:
		return errUntold
	case length == 32:
		out.WriteString(dst.String() + " ")
	default:
		out.WriteString(dst.String() + "/" + strconv.Itoa(int(length)) + " ")
	}
	if via, ok := r.addr(unix.RTA_GATEWAY); ok {
		out.WriteString("via " + via.String() + " ")
	}
	dev, ok := r.u32(unix.RTA_OIF)
	if !ok || devs.name(dev) == "" {
		return errUntold
	}
	out.WriteString("dev " + devs.name(dev) + " " + word)
	if scope != unix.RT_SCOPE_UNIVERSE {
		out.WriteString("scope " + within + " ")
	}
	if src, ok := r.addr(unix.RTA_PREFSRC); ok {
		out.WriteString("src " + src.String() + " ")
	}
	if metric, ok := r.u32(unix.RTA_PRIORITY); ok {
		fmt.Fprintf(out, "metric %d ", metric)
	}
	if flags&unix.RTNH_F_ONLINK != 0 {
		out.WriteString("onlink ")
	}
	if flags&unix.RTNH_F_LINKDOWN != 0 {
		out.WriteString("linkdown ")
	}
	out.WriteByte('\n')
	return nil
}
