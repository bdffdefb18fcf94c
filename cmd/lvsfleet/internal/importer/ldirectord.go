package importer

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/lvsfleet/lvsfleet/providers/ipvs"
)

// An option is one `NAME = VALUE` of an ldirectord.cf or an lvs.cf.
type option struct {
	line        int
	name, value string
	within      bool // indented: it belongs to the virtual= before
}

// readLdirectord reads an ldirectord.cf(5): `virtual=` begins a service, whose
// options are the indented lines that follow.
func readLdirectord(text []byte) (*Found, error) {
	l := &ldirectord{found: &Found{Form: "configuration of ldirectord"}}
	n := 0
	for raw := range strings.Lines(string(text)) {
		n++
		o, ok := ldirectordOption(raw, n)
		if !ok {
			continue
		}
		if err := l.take(o); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	if err := l.finish(); err != nil {
		return nil, err
	}
	l.found.passed(l.checks, "ldirectord's health checks", "ldirectord goes on with them, and owns weights and members")
	return l.found, nil
}

func ldirectordOption(raw string, n int) (option, bool) {
	text := strings.TrimRight(raw, " \t\r\n")
	trimmed := strings.TrimLeft(text, " \t")
	if trimmed == "" || trimmed[0] == '#' {
		return option{}, false
	}
	name, value, _ := strings.Cut(trimmed, "=")
	return option{n, strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value), trimmed != text}, true
}

type ldirectord struct {
	found  *Found
	checks []int // lines about health checks, notification and the program itself

	now     *Service
	line    int      // of its virtual=
	reals   []option // its real servers, read when all of it is known
	checked bool     // somebody looks after the weights
}

func (l *ldirectord) take(o option) error {
	switch {
	case o.name == "virtual" || o.name == "virtual6":
		if err := l.finish(); err != nil {
			return err
		}
		return l.begin(o)
	case !o.within || l.now == nil:
		return l.global(o)
	}
	s := l.now
	switch o.name {
	case "real", "real6":
		l.reals = append(l.reals, o)
	case "scheduler":
		s.Scheduler = strings.ToLower(o.value)
	case "persistent":
		n, err := number("persistent", o.value, 1, 1<<31-1)
		if err != nil {
			return err
		}
		s.Timeout, s.Flags = uint32(n), s.Flags|ipvs.Persistent
	case "netmask":
		return setMask(s, o.value)
	case "protocol":
		switch p := strings.ToLower(o.value); {
		case p == "fwm" && s.Key.Mark != 0:
		case (p == "tcp" || p == "udp") && s.Key.Mark == 0:
			s.Key.Protocol = p
		default:
			return fmt.Errorf("protocol %q does not fit virtual=%s", o.value, s.Key)
		}
	case "checktype":
		l.checked = o.value != "off" && o.value != "on"
		l.checks = append(l.checks, o.line)
	case "fallback", "fallback6", "fallbackcommand":
		l.found.note("line %d: %s=%s is left out: an inventory has no sorry server", o.line, o.name, o.value)
	case "load", "ops":
		l.found.note("line %d: %s=%s is left out", o.line, o.name, o.value)
	default:
		l.checks = append(l.checks, o.line)
	}
	return nil
}

// global is an option of the whole file.
func (l *ldirectord) global(o option) error {
	switch o.name {
	case "fallback", "fallback6", "fallbackcommand":
		l.found.note("line %d: %s=%s is left out: an inventory has no sorry server", o.line, o.name, o.value)
	case "checktimeout", "negotiatetimeout", "checkinterval", "checkcount", "failurecount", "autoreload", "callback",
		"logfile", "emailalert", "emailalertfrom", "emailalertfreq", "emailalertstatus", "smtp", "execute", "supervised", "fork",
		"quiescent", "readdquiescent", "cleanstop", "maintenancedir", "quiescentemailalert":
		l.checks = append(l.checks, o.line)
	default:
		return fmt.Errorf("%q is no option of ldirectord", o.name)
	}
	return nil
}

// begin begins a service: ADDRESS:PORT, or a mark.
func (l *ldirectord) begin(o option) error {
	s := Service{Service: ipvs.Service{Scheduler: "wrr"}} // ldirectord's own default
	if n, err := number("mark", o.value, 1, 1<<32-1); err == nil {
		s.Key = ipvs.Key{Mark: uint32(n), V6: o.name == "virtual6"}
	} else {
		addr, port, err := hostPort(o.value)
		if err != nil {
			return fmt.Errorf("%s=%s: %w", o.name, o.value, err)
		}
		if port < 0 {
			return fmt.Errorf("%s=%s: it names no port", o.name, o.value)
		}
		s.Key = ipvs.Key{Addr: addr, Port: uint16(port), Protocol: "tcp"}
	}
	l.now, l.line, l.reals, l.checked = &s, o.line, nil, true
	return nil
}

// finish ends the service that was begun.
func (l *ldirectord) finish() error {
	s := l.now
	if s == nil {
		return nil
	}
	l.now = nil
	for _, o := range l.reals {
		dests, err := realServers(o.value, s.Key)
		if err != nil {
			return fmt.Errorf("line %d: %s=%s: %w", o.line, o.name, o.value, err)
		}
		s.Dests = append(s.Dests, dests...)
	}
	s.ForeignWeights = l.checked
	l.found.Services = append(l.found.Services, *s)
	return nil
}

// maxRange is how many real servers `A->B` may stand for.
const maxRange = 1024

// realServers reads `ADDRESS[->ADDRESS][:PORT] METHOD [WEIGHT] ["REQUEST", "RECEIVE"]`.
func realServers(text string, key ipvs.Key) ([]ipvs.Destination, error) {
	words := strings.Fields(text)
	if len(words) < 2 {
		return nil, errors.New("it is ADDRESS:PORT, then gate, masq or ipip")
	}
	method, ok := map[string]ipvs.Method{"gate": ipvs.DR, "masq": ipvs.NAT, "ipip": ipvs.TUN}[strings.ToLower(words[1])]
	if !ok {
		return nil, fmt.Errorf("%q is none of gate, masq and ipip", words[1])
	}
	weight := uint64(1)
	if len(words) > 2 && !strings.HasPrefix(words[2], `"`) {
		var err error
		if weight, err = number("weight", strings.TrimSuffix(words[2], ","), 0, 65535); err != nil {
			return nil, err
		}
	}
	from, to, several := strings.Cut(words[0], "->")
	first, port, err := hostPort(from)
	last := first
	if several && err == nil {
		last, port, err = hostPort(to)
	}
	if err != nil {
		return nil, err
	}
	if port < 0 || method != ipvs.NAT && key.Mark == 0 {
		port = int(key.Port)
	}
	var out []ipvs.Destination
	for a := first; ; a = a.Next() {
		if len(out) == maxRange || !a.IsValid() || a.Compare(last) > 0 {
			return nil, fmt.Errorf("%s is no range of at most %d addresses", words[0], maxRange)
		}
		out = append(out, ipvs.Destination{DestKey: ipvs.DestKey{Addr: a, Port: uint16(port)}, Method: method, Weight: int(weight)})
		if a == last {
			return out, nil
		}
	}
}

// hostPort reads ADDRESS[:PORT] with brackets around IPv6; the port may be a
// name of services(5), and is -1 where there is none.
func hostPort(s string) (netip.Addr, int, error) {
	addr, port, err := ipvs.ParseAddrPort(s)
	if err != nil && strings.ContainsAny(s, "ghijklmnopqrstuvwxyz") {
		return addr, port, fmt.Errorf("%w: name the address, since what a name means may change", err)
	}
	return addr, port, err
}
