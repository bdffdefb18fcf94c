package ipvs

import (
	"net/netip"
	"strconv"
	"strings"
)

// Args are the arguments of ipvsadm(8) that make the edit. Everything is said,
// defaults of ipvsadm included, except what older versions do not know and is
// the default there too ("--tun-type ipip").
func (e Edit) Args() []string {
	switch e.Verb {
	case AddService:
		return append([]string{"-A"}, e.Service.args()...)
	case EditService:
		return append([]string{"-E"}, e.Service.args()...)
	case DeleteService:
		return append([]string{"-D"}, e.Service.Key.Args()...)
	case AddDest:
		return append([]string{"-a"}, e.destArgs()...)
	case EditDest:
		return append([]string{"-e"}, e.destArgs()...)
	case DeleteDest:
		return append(append([]string{"-d"}, e.Service.Key.Args()...), "-r", e.Dest.DestKey.String())
	}
	return nil
}

// Args are the arguments that name the service: "-t 192.0.2.1:80", "-f 7 -6".
func (k Key) Args() []string {
	if k.Mark != 0 {
		a := []string{"-f", strconv.FormatUint(uint64(k.Mark), 10)}
		if k.V6 {
			a = append(a, "-6")
		}
		return a
	}
	opt := ""
	switch k.Protocol {
	case "tcp":
		opt = "-t"
	case "udp":
		opt = "-u"
	case "sctp":
		opt = "--sctp-service"
	}
	return append(make([]string, 0, 12), opt, netip.AddrPortFrom(k.Addr, k.Port).String())
}

// String is the real server as ipvsadm writes it: "192.0.2.1:80",
// "[2001:db8::1]:80".
func (k DestKey) String() string { return netip.AddrPortFrom(k.Addr, k.Port).String() }

func (s Service) args() []string {
	s = s.Normal()
	a := append(s.Key.Args(), "-s", s.Scheduler)
	if s.Flags&Persistent != 0 {
		a = append(a, "-p", strconv.FormatUint(uint64(s.Timeout), 10))
		if s.Netmask != 0 {
			a = append(a, "-M", s.mask())
		}
	}
	if s.Engine != "" {
		a = append(a, "--pe", s.Engine)
	}
	if s.Flags&OnePacket != 0 {
		a = append(a, "-o")
	}
	if names := s.flagNames(); names != "" {
		a = append(a, "-b", names)
	}
	return a
}

// mask is the persistence netmask as -M takes it: dotted for IPv4, a length
// for IPv6.
func (s Service) mask() string {
	if s.Key.IPv6() {
		return strconv.Itoa(s.Netmask)
	}
	return maskAddr(s.mask4()).String()
}

// mask4 is the persistence netmask of an IPv4 service.
func (s Service) mask4() uint32 {
	switch {
	case s.Netmask < 0:
		return s.OddMask
	case s.Netmask == 0 || s.Netmask > 32:
		return 0xffffffff
	}
	return ^uint32(0) << (32 - s.Netmask)
}

// setMask4 takes the persistence netmask of an IPv4 service.
func (s *Service) setMask4(mask uint32) {
	s.Netmask, s.OddMask = -1, mask
	for n := 1; n <= 32; n++ {
		if mask == ^uint32(0)<<(32-n) {
			s.Netmask, s.OddMask = n, 0
		}
	}
}

func maskAddr(m uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(m >> 24), byte(m >> 16), byte(m >> 8), byte(m)})
}

// flagNames are the scheduler's flags as -b takes them.
func (s Service) flagNames() string {
	var names []string
	for i, f := range []Flags{Sched1, Sched2, Sched3} {
		if s.Flags&f == 0 {
			continue
		}
		name := "flag-" + strconv.Itoa(i+1)
		if (s.Scheduler == "sh" || s.Scheduler == "mh") && i < 2 {
			name = s.Scheduler + []string{"-fallback", "-port"}[i]
		}
		names = append(names, name)
	}
	return strings.Join(names, ",")
}

// SchedulerFlag gives the bit of a scheduler's flag by the name that the
// inventory and ipvsadm have for it; ok is false for a name that is not one of
// this scheduler's.
func SchedulerFlag(scheduler, name string) (f Flags, ok bool) {
	switch name {
	case "flag-1":
		return Sched1, true
	case "flag-2":
		return Sched2, true
	case "flag-3":
		return Sched3, true
	}
	if scheduler != "sh" && scheduler != "mh" {
		return 0, false
	}
	switch name {
	case scheduler + "-fallback":
		return Sched1, true
	case scheduler + "-port":
		return Sched2, true
	}
	return 0, false
}

func (e Edit) destArgs() []string {
	d := e.Dest.Normal()
	a := append(e.Service.Key.Args(), "-r", d.DestKey.String())
	switch d.Method {
	case NAT:
		a = append(a, "-m")
	case TUN:
		a = append(a, "-i")
	default: // Local cannot be asked for: the kernel makes it so by itself
		a = append(a, "-g")
	}
	a = append(a, "-w", strconv.Itoa(d.Weight))
	if d.Upper != 0 {
		a = append(a, "-x", strconv.FormatUint(uint64(d.Upper), 10))
	}
	if d.Lower != 0 {
		a = append(a, "-y", strconv.FormatUint(uint64(d.Lower), 10))
	}
	if d.Tunnel != IPIP {
		a = append(a, "--tun-type", d.Tunnel.String())
		if d.Tunnel == GUE {
			a = append(a, "--tun-port", strconv.Itoa(int(d.TunnelPort)))
		}
		switch d.TunnelFlags {
		case 0:
			a = append(a, "--tun-nocsum")
		case TunnelCsum:
			a = append(a, "--tun-csum")
		default:
			a = append(a, "--tun-remcsum")
		}
	}
	return a
}

// Format gives the lines that ipvsadm -R takes to make the services, in their
// order and form of `ipvsadm -Sn` (ipvsadm 1.31). They say more than -Sn,
// which leaves the thresholds out, and less where it adds "--tun-type ipip".
func Format(services []Service) string {
	var b strings.Builder
	for _, s := range Sorted(services) {
		s.writeRules(&b)
	}
	return b.String()
}

func (s Service) writeRules(b *strings.Builder) {
	b.WriteString(Edit{Verb: AddService, Service: &s}.Rule())
	b.WriteByte('\n')
	for _, d := range s.Dests {
		b.WriteString(Edit{Verb: AddDest, Service: &s, Dest: d}.Rule())
		b.WriteByte('\n')
	}
}

// Rule is the edit as a line for ipvsadm -R.
func (e Edit) Rule() string { return strings.Join(e.Args(), " ") }
