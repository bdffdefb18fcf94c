package ipvsadm

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/lvsfleet/lvsfleet/providers/ipvs"
)

// A request is one command line, taken apart.
type request struct {
	verb    byte // the short name of the command
	service ipvs.Service
	dest    ipvs.Destination
	has     map[byte]bool // options, by short name; long ones without have a letter here
	table   string        // "", "stats", "thresholds", "persistent-conn"
}

func (r request) edit() ipvs.Verb {
	return map[byte]ipvs.Verb{
		'A': ipvs.AddService, 'E': ipvs.EditService, 'D': ipvs.DeleteService,
		'a': ipvs.AddDest, 'e': ipvs.EditDest, 'd': ipvs.DeleteDest,
	}[r.verb]
}

// An option as popt knows it.
type option struct {
	short byte
	long  string
	value bool
	since Version
	name  string // in messages
}

// Options of the real program that are missing here are refused.
var options = []option{
	{'t', "tcp-service", true, V124, "service-address"}, {'u', "udp-service", true, V124, "service-address"},
	{'Q', "sctp-service", true, V131, "service-address"}, {'f', "fwmark-service", true, V124, "service-address"},
	{'s', "scheduler", true, V124, "scheduler"}, {'p', "persistent", true, V124, "persistent"},
	{'M', "netmask", true, V124, "netmask"}, {'r', "real-server", true, V124, "real-server"},
	{'m', "masquerading", false, V124, "forwarding-method"}, {'i', "ipip", false, V124, "forwarding-method"},
	{'g', "gatewaying", false, V124, "forwarding-method"}, {'w', "weight", true, V124, "weight"},
	{'x', "u-threshold", true, V124, "u-threshold"}, {'y', "l-threshold", true, V124, "l-threshold"},
	{'n', "numeric", false, V124, "numeric"}, {'6', "ipv6", false, V126, "ipv6"}, {'o', "ops", false, V126, "ops"},
	{'P', "pe", true, V126, "pe"}, {'b', "sched-flags", true, V131, "sched-flags"},
	{'Y', "stats", false, V124, "stats"}, {'H', "thresholds", false, V124, "thresholds"}, {'K', "persistent-conn", false, V124, "persistent-conn"},
	{'O', "nosort", false, V126, "nosort"}, {'T', "sort", false, V124, "sort"}, {'X', "exact", false, V124, "exact"},
	{'U', "tun-type", true, V131, "tun-type"},
}

var commands = []option{
	{short: 'A', long: "add-service"}, {short: 'E', long: "edit-service"}, {short: 'D', long: "delete-service"},
	{short: 'C', long: "clear"}, {short: 'R', long: "restore"}, {short: 'S', long: "save"},
	{short: 'a', long: "add-server"}, {short: 'e', long: "edit-server"}, {short: 'd', long: "delete-server"},
	{short: 'L', long: "list"}, {short: 'l', long: "list"}, {short: 'v', long: "version"},
}

// longOnly are options that have no short name: the letter here is not one.
const longOnly = "QPHKOTXUY"

func find(set []option, short byte, long string, v Version) *option {
	for i, o := range set {
		if o.since > v {
			continue
		}
		if long != "" && o.long == long || long == "" && o.short == short && (o.name == "" || !strings.ContainsRune(longOnly, rune(short))) {
			return &set[i]
		}
	}
	return nil
}

// A setting is an option with its value, as it stood.
type setting struct {
	*option
	arg string
	has bool // a value was given
}

// split takes the command line apart as popt does: the command first, short
// options in one word, values in the same word or the next.
func (p *program) split(args []string) (verb byte, list []setting, err error) {
	set := commands
	for len(args) > 0 {
		word := args[0]
		args = args[1:]
		if verb == 0 && (len(word) < 2 || word[0] != '-') {
			return 0, nil, tryHelp()
		}
		if len(word) < 2 || word[0] != '-' {
			return 0, nil, fail("unexpected argument %s", word)
		}
		long, value, hasValue := "", "", false
		shorts := word[1:]
		if strings.HasPrefix(word, "--") {
			long, value, hasValue = strings.Cut(word[2:], "=")
			if long == "" {
				return 0, nil, tryHelp()
			}
			shorts = "?"
		}
		for shorts != "" {
			if verb != 0 {
				set = options
			}
			o := find(set, shorts[0], long, p.v)
			shorts = shorts[1:]
			if o == nil {
				return 0, nil, errRefused
			}
			if verb == 0 {
				if verb = o.short; verb == 'l' {
					verb = 'L'
				}
				continue
			}
			s := setting{o, value, hasValue}
			if o.value && !hasValue {
				switch {
				case long == "" && shorts != "":
					s.arg, s.has, shorts = shorts, true, ""
				case len(args) > 0 && (o.short != 'p' || !strings.HasPrefix(args[0], "-")):
					s.arg, s.has, args = args[0], true, args[1:]
				case o.short != 'p':
					return 0, nil, &fatal{word + ": missing argument", 255}
				}
			}
			list = append(list, s)
		}
	}
	return verb, list, nil
}

func (p *program) parse(args []string) (request, error) {
	verb, list, err := p.split(args)
	r := request{verb: verb, has: map[byte]bool{}, dest: ipvs.Destination{Method: ipvs.DR, Weight: 1}}
	if err != nil {
		return r, err
	}
	named := map[string]byte{}
	for _, s := range list {
		if _, twice := named[s.name]; twice {
			return r, fail("multiple '%s' options specified", s.name)
		}
		named[s.name] = s.short
		r.has[s.short] = true
		switch s.short {
		case 't', 'u', 'Q':
			r.service.Key.Protocol = map[byte]string{'t': "tcp", 'u': "udp", 'Q': "sctp"}[s.short]
			addr, port, _, ok := p.service(s.arg)
			if !ok {
				return r, fail("illegal virtual server address[:port] specified")
			}
			r.service.Key.Addr, r.service.Key.Port = addr, port
		case 'f':
			mark, err := strconv.ParseUint(s.arg, 10, 32)
			if err != nil || mark == 0 {
				return r, fail("invalid fwmark value `%s' specified", s.arg)
			}
			r.service.Key.Mark = uint32(mark)
		case '6':
			if r.service.Key.Mark == 0 {
				return r, fail("-6 used before -f\n")
			}
			r.service.Key.V6 = true
		case 's':
			r.service.Scheduler = s.arg
		case 'p':
			r.service.Flags |= ipvs.Persistent
			r.service.Timeout = 300
			if s.has {
				n, ok := number(s.arg, 1, 86400*31)
				if !ok {
					return r, fail("invalid timeout value `%s' specified", s.arg)
				}
				r.service.Timeout = uint32(n)
			}
		case 'M':
			if err := r.mask(s.arg); err != nil {
				return r, err
			}
		case 'r':
			addr, port, hasPort, ok := p.service(s.arg)
			if !ok {
				return r, fail("illegal real server address[:port] specified")
			}
			if !hasPort {
				port = r.service.Key.Port
			}
			r.dest.Addr, r.dest.Port = addr, port
		case 'g':
			r.dest.Method = ipvs.DR
		case 'i':
			r.dest.Method = ipvs.TUN
		case 'm':
			r.dest.Method = ipvs.NAT
		case 'w':
			n, ok := number(s.arg, 0, 65535)
			if !ok {
				return r, fail("illegal weight specified")
			}
			r.dest.Weight = n
		case 'x', 'y':
			n, ok := number(s.arg, 0, 1<<31-1)
			if !ok {
				return r, fail("illegal %c_threshold specified", map[byte]rune{'x': 'u', 'y': 'l'}[s.short])
			}
			if s.short == 'x' {
				r.dest.Upper = uint32(n)
			} else {
				r.dest.Lower = uint32(n)
			}
		case 'o':
			r.service.Flags |= ipvs.OnePacket
		case 'P':
			r.service.Engine = s.arg
		case 'b':
			for name := range strings.SplitSeq(s.arg, ",") {
				f, ok := schedFlag(name)
				if !ok {
					return r, fail("illegal scheduler flag specified")
				}
				r.service.Flags |= f
			}
		case 'U':
			if s.arg != "ipip" {
				return r, errRefused
			}
		case 'H', 'K', 'Y':
			r.table = s.long
		}
	}
	if r.has['Y'] && !r.has['X'] {
		return r, errRefused // rounded numbers are not modelled
	}
	return r, r.check(named)
}

// check is generic_opt_check and what follows it in process_options.
func (r *request) check(named map[string]byte) error {
	long := map[byte]string{
		'A': "add-service", 'E': "edit-service", 'D': "delete-service", 'C': "flush", 'L': "list",
		'a': "add-server", 'e': "edit-server", 'd': "delete-server", 'R': "restore", 'S': "save", 'v': "version",
	}[r.verb]
	allowed, needed := "", ""
	switch r.verb {
	case 'A', 'E':
		allowed, needed = "service-address scheduler persistent netmask ipv6 ops pe sched-flags", "service-address"
	case 'D':
		allowed, needed = "service-address ipv6", "service-address"
	case 'a', 'e':
		allowed = "service-address real-server forwarding-method weight u-threshold l-threshold ipv6 tun-type"
		needed = "service-address real-server"
	case 'd':
		allowed, needed = "service-address real-server ipv6", "service-address real-server"
	case 'L':
		allowed = "service-address numeric ipv6 stats thresholds persistent-conn nosort sort exact"
	case 'S':
		allowed = "numeric nosort sort"
	}
	for name := range strings.FieldsSeq(needed) {
		if _, ok := named[name]; !ok {
			return fail("You need to supply the '%s' option for the '%s' command", name, long)
		}
	}
	for _, o := range options {
		if _, ok := named[o.name]; ok && !containsWord(allowed, o.name) {
			return fail("Illegal '%s' option with the '%s' command", o.name, long)
		}
	}
	if r.has['H'] && r.has['K'] {
		return errRefused
	}
	k := r.service.Key
	switch r.verb {
	case 'A', 'E':
		if k.Mark == 0 && k.Port == 0 && r.service.Flags&ipvs.Persistent == 0 {
			return fail("Zero port specified for non-persistent service")
		}
		if r.service.Flags&ipvs.OnePacket != 0 && k.Mark == 0 && k.Protocol != "udp" {
			return fail("One-Packet Scheduling is only for UDP virtual services")
		}
		if r.service.Scheduler == "" {
			r.service.Scheduler = "wlc"
		}
	case 'a', 'e':
		if k.Mark == 0 && r.dest.Method != ipvs.NAT {
			r.dest.Port = k.Port // whatever was asked for
		}
	}
	return nil
}

func containsWord(list, word string) bool {
	for w := range strings.FieldsSeq(list) {
		if w == word {
			return true
		}
	}
	return false
}

// service parses host[:port]. Names of hosts are not resolved here.
func (p *program) service(s string) (addr netip.Addr, port uint16, hasPort, ok bool) {
	host, portText := s, ""
	if rest, bracketed := strings.CutPrefix(s, "["); bracketed {
		host, portText, ok = strings.Cut(rest, "]")
		if !ok || !strings.HasPrefix(portText, ":") {
			return addr, 0, false, false
		}
		portText, hasPort = portText[1:], true
	} else if _, err := netip.ParseAddr(s); err != nil {
		if i := strings.LastIndexByte(s, ':'); i >= 0 {
			host, portText, hasPort = s[:i], s[i+1:], true
		}
	}
	addr, err := netip.ParseAddr(host)
	if err != nil || addr.Zone() != "" || addr.Is6() && p.v == V124 {
		return addr, 0, false, false
	}
	if hasPort {
		n, isNumber := number(portText, 0, 65535)
		if !isNumber {
			for at, name := range portNames {
				if name == portText {
					n, isNumber = int(at), true
				}
			}
		}
		if !isNumber {
			return addr, 0, false, false
		}
		port = uint16(n)
	}
	return addr, port, hasPort, true
}

// portNames are the few services that names are known for here.
var portNames = map[uint16]string{21: "ftp", 22: "ssh", 25: "smtp", 53: "domain", 80: "http", 443: "https"}

func number(s string, low, high int) (int, bool) {
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= low && n <= high && !strings.HasPrefix(s, "+")
}

// mask parses -M: dotted for IPv4, a length for IPv6.
func (r *request) mask(s string) error {
	if r.service.Key.IPv6() {
		n, ok := number(s, 1, 128)
		if !ok {
			return fail("illegal ipv6 netmask specified")
		}
		r.service.Netmask = n % 128
		return nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil || !a.Is4() {
		return fail("illegal virtual server persistent mask specified")
	}
	b := a.As4()
	bits := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	r.service.Netmask, r.service.OddMask = -1, bits
	for n := 1; n <= 32; n++ {
		if bits == ^uint32(0)<<(32-n) {
			r.service.Netmask, r.service.OddMask = n%32, 0
		}
	}
	return nil
}

// schedFlag is parse_sched_flags: the names are checked by nobody against the
// scheduler.
func schedFlag(name string) (ipvs.Flags, bool) {
	switch name {
	case "sh-fallback", "mh-fallback", "flag-1":
		return ipvs.Sched1, true
	case "sh-port", "mh-port", "flag-2":
		return ipvs.Sched2, true
	case "flag-3":
		return ipvs.Sched3, true
	}
	return 0, false
}
