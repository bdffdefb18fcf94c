package ipvs

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// The options of ipvsadm(8) that rules use, by their long names; value is 1
// for an option that takes one, 2 for one that may.
type option struct {
	short rune
	long  string
	value int
}

func options() [29]option {
	return [...]option{
		{'A', "add-service", 0}, {'E', "edit-service", 0}, {'D', "delete-service", 0},
		{'a', "add-server", 0}, {'e', "edit-server", 0}, {'d', "delete-server", 0},
		{'t', "tcp-service", 1}, {'u', "udp-service", 1}, {0, "sctp-service", 1}, {'f', "fwmark-service", 1},
		{'6', "ipv6", 0}, {'s', "scheduler", 1}, {'p', "persistent", 2}, {'M', "netmask", 1}, {0, "pe", 1},
		{'o', "ops", 0}, {'b', "sched-flags", 1}, {'r', "real-server", 1},
		{'m', "masquerading", 0}, {'i', "ipip", 0}, {'g', "gatewaying", 0},
		{'w', "weight", 1}, {'x', "u-threshold", 1}, {'y', "l-threshold", 1},
		{0, "tun-type", 1}, {0, "tun-port", 1}, {0, "tun-nocsum", 0}, {0, "tun-csum", 0}, {0, "tun-remcsum", 0},
	}
}

// A setting is one option as it was given, by its long name.
type setting struct {
	name  string
	value string
	has   bool
}

// split reads args as popt does, by which ipvsadm reads them: short options
// may be bundled, a value may be joined to its option, and an optional value
// is one that does not begin with "-".
func split(args []string) ([]setting, error) {
	opts := options()
	var out []setting
	for len(args) > 0 {
		word := args[0]
		args = args[1:]
		switch {
		case strings.HasPrefix(word, "--"):
			name, value, has := strings.Cut(word[2:], "=")
			i := slices.IndexFunc(opts[:], func(o option) bool { return o.long == name })
			if i < 0 || (has && opts[i].value == 0) {
				return nil, fmt.Errorf("option %s is not understood", word)
			}
			if !has {
				var err error
				if value, has, args, err = take(opts[i], word, args); err != nil {
					return nil, err
				}
			}
			out = append(out, setting{name, value, has})
		case len(word) > 1 && word[0] == '-':
			for rest := word[1:]; rest != ""; {
				c := rune(rest[0])
				rest = rest[1:]
				i := slices.IndexFunc(opts[:], func(o option) bool { return o.short == c && c != 0 })
				if i < 0 {
					return nil, fmt.Errorf("option -%c is not understood", c)
				}
				value, has := "", false
				if opts[i].value > 0 && rest != "" {
					value, has, rest = strings.TrimPrefix(rest, "="), true, ""
				} else if opts[i].value > 0 {
					var err error
					if value, has, args, err = take(opts[i], "-"+string(c), args); err != nil {
						return nil, err
					}
				}
				out = append(out, setting{opts[i].long, value, has})
			}
		case word == "ops": // ipvsadm 1.25 saved "ops" and "pe NAME" without their dashes
			out = append(out, setting{name: "ops"})
		case word == "pe" && len(args) > 0:
			out = append(out, setting{"pe", args[0], true})
			args = args[1:]
		default:
			return nil, fmt.Errorf("%q is not understood", word)
		}
	}
	return out, nil
}

// take takes the value of o from the words that follow it.
func take(o option, word string, args []string) (value string, has bool, rest []string, err error) {
	switch {
	case o.value == 0:
		return "", false, args, nil
	case o.value == 2 && (len(args) == 0 || strings.HasPrefix(args[0], "-")):
		return "", false, args, nil
	case len(args) == 0:
		return "", false, nil, fmt.Errorf("option %s has no value", word)
	}
	return args[0], true, args[1:], nil
}

// ParseArgs reads the arguments of one ipvsadm command that edits the table,
// with the defaults of ipvsadm: scheduler wlc, 300 seconds of persistence,
// gatewaying, weight 1. Addresses must be numbers; a port may be one of the
// well-known names that `ipvsadm -S` writes without -n.
func ParseArgs(args []string) (Edit, error) { return parseArgs(args, false) }

// ParseSavedArgs reads the words of one line that `ipvsadm -Sn` printed: as
// ParseArgs, but a real server has the port that is written.
func ParseSavedArgs(args []string) (Edit, error) { return parseArgs(args, true) }

// parseArgs reads what somebody asks for or, with saved, what ipvsadm says that
// there is.
func parseArgs(args []string, saved bool) (Edit, error) {
	set, err := split(args)
	if err != nil {
		return Edit{}, err
	}
	p := parser{saved: saved, e: Edit{Service: &Service{Scheduler: "wlc"}, Dest: Destination{Method: DR, Weight: 1}}}
	for i, s := range set {
		if slices.ContainsFunc(set[:i], func(o setting) bool { return o.name == s.name }) {
			return Edit{}, fmt.Errorf("option --%s is given twice", s.name)
		}
		if err := p.take(s); err != nil {
			return Edit{}, err
		}
	}
	return p.finish()
}

type parser struct {
	e         Edit
	saved     bool // by -S, which says what there is
	service   bool // one was named
	dest      string
	mask      string
	flags     string
	methodSet bool
}

func (p *parser) take(s setting) (err error) {
	if v := verbOf(s.name); v != 0 {
		if p.e.Verb != 0 {
			return errors.New("multiple commands specified")
		}
		p.e.Verb = v
		return nil
	}
	sv, d := p.e.Service, &p.e.Dest
	switch s.name {
	case "tcp-service", "udp-service", "sctp-service", "fwmark-service":
		if p.service {
			return errors.New("multiple services specified")
		}
		p.service = true
		sv.Key, err = parseKey(s.name, s.value)
	case "ipv6":
		if sv.Key.Mark == 0 {
			return errors.New("-6 used before -f")
		}
		sv.Key.V6 = true
	case "scheduler":
		sv.Scheduler = s.value
		err = parseName(s.value)
	case "persistent":
		sv.Flags |= Persistent
		sv.Timeout = 300
		if s.has {
			var n uint64
			n, err = parseNumber("timeout", s.value, 1, math.MaxUint32)
			sv.Timeout = uint32(n)
		}
	case "netmask":
		p.mask = s.value
	case "pe":
		sv.Engine = s.value
		err = parseName(s.value)
	case "ops":
		sv.Flags |= OnePacket
	case "sched-flags":
		p.flags = s.value
	case "real-server":
		p.dest = s.value
	case "masquerading", "ipip", "gatewaying":
		if p.methodSet {
			return errors.New("multiple forwarding methods specified")
		}
		p.methodSet = true
		switch s.name {
		case "masquerading":
			d.Method = NAT
		case "ipip":
			d.Method = TUN
		default:
			d.Method = DR
		}
	case "weight":
		var n uint64
		n, err = parseNumber("weight", s.value, 0, math.MaxInt32)
		d.Weight = int(n)
	case "u-threshold":
		var n uint64
		n, err = parseNumber("u-threshold", s.value, 0, math.MaxUint32)
		d.Upper = uint32(n)
	case "l-threshold":
		var n uint64
		n, err = parseNumber("l-threshold", s.value, 0, math.MaxUint32)
		d.Lower = uint32(n)
	case "tun-type":
		var ok bool
		if d.Tunnel, ok = ParseTunnel(s.value); !ok {
			return fmt.Errorf("tunnel type %q is not known", s.value)
		}
	case "tun-port":
		var n uint64
		n, err = parseNumber("tun-port", s.value, 1, math.MaxUint16)
		d.TunnelPort = uint16(n)
	case "tun-nocsum":
		d.TunnelFlags = 0
	case "tun-csum":
		d.TunnelFlags = TunnelCsum
	case "tun-remcsum":
		d.TunnelFlags = TunnelRemCsum
	}
	return err
}

// verbOf is what a command's option does; "" is another option.
func verbOf(option string) Verb {
	switch option {
	case "add-service":
		return AddService
	case "edit-service":
		return EditService
	case "delete-service":
		return DeleteService
	case "add-server":
		return AddDest
	case "edit-server":
		return EditDest
	case "delete-server":
		return DeleteDest
	}
	return 0
}

func (p *parser) finish() (Edit, error) {
	e := p.e
	if e.Verb == 0 {
		return Edit{}, errors.New("no command that edits the table")
	}
	if !p.service {
		return Edit{}, errors.New("no service is named")
	}
	sv := e.Service
	if p.mask != "" {
		if err := sv.parseMask(p.mask); err != nil {
			return Edit{}, err
		}
	}
	if p.flags != "" {
		for name := range strings.SplitSeq(p.flags, ",") {
			f, ok := SchedulerFlag(sv.Scheduler, name)
			if !ok {
				return Edit{}, fmt.Errorf("incompatible scheduler flag `%s'", name)
			}
			sv.Flags |= f
		}
	}
	forDest := e.Verb == AddDest || e.Verb == EditDest || e.Verb == DeleteDest
	if forDest != (p.dest != "") {
		return Edit{}, errors.New("a real server belongs to -a, -e and -d, and only to them")
	}
	if !forDest {
		*sv = sv.Normal()
		e.Dest = Destination{}
		if e.Verb == DeleteService {
			e.Service = &Service{Key: sv.Key}
		}
		return e, nil
	}
	if e.Dest.Tunnel == GUE && e.Dest.TunnelPort == 0 {
		return Edit{}, errors.New("tunnel type gue needs --tun-port")
	}
	addr, port, err := ParseAddrPort(p.dest)
	if err != nil {
		return Edit{}, fmt.Errorf("real server %q: %w", p.dest, err)
	}
	e.Dest.DestKey = DestKey{addr, uint16(max(port, 0))}
	// As ipvsadm does: no port means the service's, and with gatewaying and
	// tunnelling it is the service's whatever was said. What it saves is
	// another matter: a Local real server is written as gatewaying, with the
	// port that it has.
	if port < 0 || (!p.saved && e.Verb != DeleteDest && sv.Key.Mark == 0 && e.Dest.Method != NAT) {
		e.Dest.Port = sv.Key.Port
	}
	e.Service = &Service{Key: sv.Key}
	e.Dest = e.Dest.Normal()
	if e.Verb == DeleteDest {
		e.Dest = Destination{DestKey: e.Dest.DestKey}
	}
	return e, nil
}

func parseKey(option, value string) (Key, error) {
	if option == "fwmark-service" {
		// Marks above 2^31-1 are saved as negative numbers ("-f %d").
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n == 0 || n > math.MaxUint32 || n < math.MinInt32 {
			return Key{}, fmt.Errorf("invalid fwmark value `%s' specified", value)
		}
		return Key{Mark: uint32(n)}, nil
	}
	addr, port, err := ParseAddrPort(value)
	if err != nil {
		return Key{}, fmt.Errorf("service %q: %w", value, err)
	}
	return Key{Protocol: strings.TrimSuffix(option, "-service"), Addr: addr, Port: uint16(max(port, 0))}, nil
}

// ParseAddrPort reads ADDRESS[:PORT] with brackets around IPv6; the port is -1
// where none is said.
func ParseAddrPort(s string) (netip.Addr, int, error) {
	host, port, has := s, "", false
	if rest, ok := strings.CutPrefix(s, "["); ok {
		var after string
		if host, after, ok = strings.Cut(rest, "]"); !ok {
			return netip.Addr{}, 0, errors.New("no closing bracket")
		}
		if after != "" {
			if port, has = strings.CutPrefix(after, ":"); !has {
				return netip.Addr{}, 0, fmt.Errorf("%q after the bracket", after)
			}
		}
	} else if strings.Count(s, ":") == 1 {
		host, port, has = strings.Cut(s, ":")
	}
	addr, err := netip.ParseAddr(host)
	if err != nil || addr.Zone() != "" || addr.Is4In6() {
		return netip.Addr{}, 0, fmt.Errorf("%q is not an address", host)
	}
	if !has {
		return addr, -1, nil
	}
	n, err := parseNumber("port", port, 0, math.MaxUint16)
	if err != nil {
		if known, ok := PortOf(port); ok {
			return addr, known, nil
		}
	}
	return addr, int(n), err
}

func parseNumber(what, s string, low, high uint64) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n < low || n > high {
		return 0, fmt.Errorf("%s %q is not a number from %d to %d", what, s, low, high)
	}
	return n, nil
}

// parseName accepts what the kernel could have as the name of a scheduler or
// persistence engine (IP_VS_SCHEDNAME_MAXLEN is 16, with its zero).
func parseName(s string) error {
	ok := s != "" && len(s) < 16 && s[0] != '-' && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_' && r != '-'
	})
	if !ok {
		return fmt.Errorf("%q is not a name", s)
	}
	return nil
}

func (s *Service) parseMask(text string) error {
	if s.Key.IPv6() {
		n, err := parseNumber("netmask", text, 1, 128)
		s.Netmask = int(n)
		return err
	}
	m, err := netip.ParseAddr(text)
	if err != nil || !m.Is4() {
		return fmt.Errorf("netmask %q is not one of IPv4", text)
	}
	b := m.As4()
	s.setMask4(uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3]))
	return nil
}

// ParseRule reads one line for ipvsadm -R; ok is false for a blank line or a
// comment. A leading word "ipvsadm" is passed over, as ipvsadm does.
func ParseRule(line string) (e Edit, ok bool, err error) { return parseRule(line, false) }

func parseRule(line string, saved bool) (e Edit, ok bool, err error) {
	line, _, _ = strings.Cut(line, "#")
	words := strings.Fields(line)
	if len(words) > 0 && words[0] == "ipvsadm" {
		words = words[1:]
	}
	if len(words) == 0 {
		return Edit{}, false, nil
	}
	e, err = parseArgs(words, saved)
	return e, err == nil, err
}

// ParseRules reads the output of `ipvsadm -Sn`. Each real server has the port
// that is written, where ParseRule takes the service's for gatewaying and
// tunnelling.
func ParseRules(text []byte) ([]Service, error) {
	var out []Service
	at := map[Key]int{}
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		e, ok, err := parseRule(line, true)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if !ok {
			continue
		}
		i, there := at[e.Service.Key]
		switch {
		case e.Verb == AddService && !there:
			at[e.Service.Key] = len(out)
			out = append(out, *e.Service)
		case e.Verb == AddDest && there:
			out[i].Dests = append(out[i].Dests, e.Dest)
		default:
			return nil, fmt.Errorf("line %d: %q does not follow from the lines before", n, strings.TrimSpace(line))
		}
	}
	return out, nil
}
