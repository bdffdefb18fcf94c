package importer

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"

	"github.com/lvsfleet/lvsfleet/providers/ipvs"
)

// A statement is one of keepalived.conf(5): words, and a block if one follows.
type statement struct {
	line  int
	words []string
	block []statement
	opens bool
}

// word is the i-th word, "" where there is none.
func (s statement) word(i int) string {
	if i < len(s.words) {
		return s.words[i]
	}
	return ""
}

// maxDepth is how deep blocks may be nested; keepalived's own are four deep.
const maxDepth = 32

// A scanner gives the words of a configuration. "#" and "!" begin a comment;
// a quoted word may hold anything but a line's end.
type scanner struct {
	text string
	line int
}

// next gives a word, "{", "}", "\n" or, at the end, "". quoted is true for a
// word that was in quotation marks.
func (s *scanner) next() (word string, quoted bool, err error) {
	for s.text != "" {
		switch c := s.text[0]; c {
		case ' ', '\t', '\r', '\f', '\v':
			s.text = s.text[1:]
		case '#', '!':
			if i := strings.IndexByte(s.text, '\n'); i >= 0 {
				s.text = s.text[i:]
			} else {
				s.text = ""
			}
		case '\n':
			s.text = s.text[1:]
			s.line++
			return "\n", false, nil
		case '"':
			end := strings.IndexAny(s.text[1:], "\"\n")
			if end < 0 || s.text[1+end] == '\n' {
				return "", false, fmt.Errorf("line %d: a quotation mark is not closed", s.line)
			}
			word, s.text = s.text[1:1+end], s.text[end+2:]
			return word, true, nil
		case '{', '}':
			s.text = s.text[1:]
			return string(c), false, nil
		default:
			end := strings.IndexAny(s.text, " \t\r\f\v\n\"{}#!")
			if end < 0 {
				end = len(s.text)
			}
			word, s.text = s.text[:end], s.text[end:]
			return word, false, nil
		}
	}
	return "", false, nil
}

// parse reads the statements up to the end, or to the brace that closes the
// block.
func (s *scanner) parse(depth int) ([]statement, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("line %d: blocks are nested deeper than %d", s.line, maxDepth)
	}
	var out []statement
	now := statement{line: s.line}
	end := func() {
		if len(now.words) > 0 {
			out = append(out, now)
		}
		now = statement{line: s.line}
	}
	for {
		word, quoted, err := s.next()
		if err != nil {
			return nil, err
		}
		switch {
		case quoted:
			now.words = append(now.words, word)
		case word == "":
			end()
			if depth > 0 {
				return nil, fmt.Errorf("line %d: the file ends within a block", s.line)
			}
			return out, nil
		case word == "\n":
			end()
		case word == "{":
			if len(now.words) == 0 && len(out) > 0 && !out[len(out)-1].opens {
				// A brace on a line of its own belongs to what stands before.
				now, out = out[len(out)-1], out[:len(out)-1]
			}
			if len(now.words) == 0 {
				return nil, fmt.Errorf("line %d: a block without a name", s.line)
			}
			now.opens = true
			if now.block, err = s.parse(depth + 1); err != nil {
				return nil, err
			}
			end()
		case word == "}":
			end()
			if depth == 0 {
				return nil, fmt.Errorf("line %d: a brace too many", s.line)
			}
			return out, nil
		default:
			if len(now.words) == 0 {
				now.line = s.line
			}
			now.words = append(now.words, word)
		}
	}
}

// readKeepalived reads the virtual_server blocks of a keepalived.conf(5).
// Whatever is about health checks, notification and logging is passed over.
func readKeepalived(text []byte) (*Found, error) {
	s := &scanner{text: string(text), line: 1}
	all, err := s.parse(0)
	if err != nil {
		return nil, err
	}
	k := &keeper{found: &Found{Form: "configuration of keepalived"}, groups: map[string][]statement{}, seen: map[ipvs.Key]bool{}}
	for _, st := range all {
		if st.word(0) == "virtual_server_group" {
			k.groups[st.word(1)] = st.block
		}
	}
	for _, st := range all {
		switch first := st.word(0); {
		case first == "vrrp_instance":
			k.found.ForeignVIP = true
		case first == "include" || first == "includer" || first == "includem" || first == "includew" || first == "includeb":
			k.found.note("line %d: %s is not followed: import that file too", st.line, strings.Join(st.words, " "))
		case strings.HasPrefix(first, "@") || strings.HasPrefix(first, "$") || strings.HasPrefix(first, "~"):
			k.found.note("line %d: %s is not understood: give the file as keepalived has resolved it", st.line, first)
		case first == "virtual_server":
			if err := k.server(st); err != nil {
				return nil, fmt.Errorf("line %d: virtual_server: %w", st.line, err)
			}
		}
	}
	return k.found, nil
}

// A keeper collects services.
type keeper struct {
	found  *Found
	groups map[string][]statement
	seen   map[ipvs.Key]bool
}

// server reads one virtual_server block. It names an address and a port, a
// mark, or a group of these.
func (k *keeper) server(st statement) error {
	var keys []ipvs.Key
	switch st.word(1) {
	case "group":
		group, ok := k.groups[st.word(2)]
		if !ok {
			return fmt.Errorf("there is no virtual_server_group %q", st.word(2))
		}
		for _, g := range group {
			key, err := k.key(g.words)
			if err != nil {
				return fmt.Errorf("group %s: line %d: %w", st.word(2), g.line, err)
			}
			keys = append(keys, key)
		}
	default:
		key, err := k.key(st.words[1:])
		if err != nil {
			return err
		}
		keys = append(keys, key)
	}
	s, err := k.service(st)
	if err != nil {
		return err
	}
	for _, key := range keys {
		one := s
		one.Key.Mark, one.Key.Addr, one.Key.Port = key.Mark, key.Addr, key.Port
		if key.Mark != 0 {
			one.Key.Protocol = ""
		} else {
			one.Key.V6 = false
		}
		one.Dests = nil
		for _, d := range s.Dests {
			if d.Port == 0 || key.Mark != 0 {
				d.Port = key.Port
			}
			one.Dests = append(one.Dests, d)
		}
		if st.word(1) == "group" {
			one.Name = st.word(2)
		}
		if k.seen[one.Key] {
			return fmt.Errorf("the service %s is there twice", one.Key)
		}
		k.seen[one.Key] = true
		k.found.Services = append(k.found.Services, one)
	}
	return nil
}

func (k *keeper) key(words []string) (ipvs.Key, error) {
	if len(words) == 0 {
		return ipvs.Key{}, errors.New("it names no address")
	}
	if words[0] == "fwmark" {
		if len(words) < 2 {
			return ipvs.Key{}, errors.New("fwmark has no value")
		}
		n, err := number("fwmark", words[1], 1, math.MaxUint32)
		return ipvs.Key{Mark: uint32(n)}, err
	}
	addr, err := address(words[0])
	if err != nil {
		return ipvs.Key{}, err
	}
	port := uint64(0)
	if len(words) > 1 {
		if port, err = number("port", words[1], 0, math.MaxUint16); err != nil {
			return ipvs.Key{}, err
		}
	}
	return ipvs.Key{Addr: addr, Port: uint16(port)}, nil
}

// service reads what the block says, for each of its keys.
func (k *keeper) service(st statement) (Service, error) {
	s := Service{Service: ipvs.Service{Key: ipvs.Key{Protocol: "tcp"}, Scheduler: "wlc"}}
	method, mask := ipvs.NAT, "" // keepalived's defaults
	var flags []statement
	var reals []statement
	for _, b := range st.block {
		value := b.word(1)
		var err error
		switch b.word(0) {
		case "lvs_sched", "lb_algo":
			s.Scheduler = strings.ToLower(value)
		case "lvs_method", "lb_kind":
			method, err = k.method(b)
		case "protocol":
			s.Key.Protocol = strings.ToLower(value)
			if s.Key.Protocol != "tcp" && s.Key.Protocol != "udp" && s.Key.Protocol != "sctp" {
				err = fmt.Errorf("protocol %q is not known", value)
			}
		case "ip_family":
			s.Key.V6 = value == "inet6"
		case "persistence_timeout":
			n := uint64(360) // keepalived's own default
			if value != "" {
				n, err = number("persistence_timeout", value, 0, math.MaxInt32)
			}
			if s.Timeout = uint32(n); n > 0 {
				s.Flags |= ipvs.Persistent
			}
		case "persistence_granularity":
			mask = value
		case "persistence_engine":
			s.Engine = value
		case "ops":
			s.Flags |= ipvs.OnePacket
		case "flag-1", "flag-2", "flag-3", "sh-port", "sh-fallback", "mh-port", "mh-fallback":
			flags = append(flags, b)
		case "real_server":
			reals = append(reals, b)
		case "sorry_server":
			k.found.note("line %d: sorry_server %s is left out: an inventory has none", b.line, strings.Join(b.words[1:], " "))
		}
		if err != nil {
			return Service{}, fmt.Errorf("line %d: %w", b.line, err)
		}
	}
	for _, b := range flags {
		f, ok := ipvs.SchedulerFlag(s.Scheduler, b.word(0))
		if !ok {
			return Service{}, fmt.Errorf("line %d: the flag %s is not one of the scheduler %s", b.line, b.word(0), s.Scheduler)
		}
		s.Flags |= f
	}
	if mask != "" {
		if err := setMask(&s, mask); err != nil {
			return Service{}, err
		}
	}
	for _, b := range reals {
		d, checked, err := k.real(b, method)
		if err != nil {
			return Service{}, fmt.Errorf("line %d: real_server: %w", b.line, err)
		}
		s.ForeignWeights = s.ForeignWeights || checked
		s.Dests = append(s.Dests, d)
	}
	return s, nil
}

func setMask(s *Service, mask string) error {
	if n, err := strconv.Atoi(mask); err == nil && 1 <= n && n <= 128 {
		s.Netmask = n
		return nil
	}
	a, err := netip.ParseAddr(mask)
	if err != nil || !a.Is4() {
		return fmt.Errorf("persistence_granularity %q is no netmask", mask)
	}
	b := a.As4()
	m := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	s.Netmask, s.OddMask = -1, m
	for n := 1; n <= 32; n++ {
		if m == ^uint32(0)<<(32-n) {
			s.Netmask, s.OddMask = n, 0
		}
	}
	return nil
}

func (k *keeper) method(b statement) (ipvs.Method, error) {
	m, ok := map[string]ipvs.Method{"NAT": ipvs.NAT, "DR": ipvs.DR, "TUN": ipvs.TUN}[strings.ToUpper(b.word(1))]
	if !ok {
		return 0, fmt.Errorf("forwarding method %q is not known", b.word(1))
	}
	if len(b.words) > 2 {
		k.found.note("line %d: %s is left out: an inventory has plain IP-in-IP tunnels", b.line, strings.Join(b.words[2:], " "))
	}
	return m, nil
}

// real reads one real_server block, and says whether somebody checks its
// health.
func (k *keeper) real(st statement, method ipvs.Method) (d ipvs.Destination, checked bool, err error) {
	key, err := k.key(st.words[1:])
	if err != nil {
		return d, false, err
	}
	if !key.Addr.IsValid() {
		return d, false, errors.New("it has no address")
	}
	d = ipvs.Destination{DestKey: ipvs.DestKey{Addr: key.Addr, Port: key.Port}, Method: method, Weight: 1}
	for _, b := range st.block {
		var n uint64
		switch word := b.word(0); word {
		case "weight":
			n, err = number("weight", b.word(1), 0, 65535)
			d.Weight = int(n)
		case "lvs_method", "lb_kind":
			d.Method, err = k.method(b)
		case "uthreshold":
			n, err = number("uthreshold", b.word(1), 0, math.MaxUint32)
			d.Upper = uint32(n)
		case "lthreshold":
			n, err = number("lthreshold", b.word(1), 0, math.MaxUint32)
			d.Lower = uint32(n)
		default:
			checked = checked || strings.HasSuffix(word, "_CHECK") || strings.HasSuffix(word, "_GET")
		}
		if err != nil {
			return d, false, fmt.Errorf("line %d: %w", b.line, err)
		}
	}
	return d, checked, nil
}

func address(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" || a.Is4In6() {
		return netip.Addr{}, fmt.Errorf("%q is not an address", s)
	}
	return a, nil
}

func number(what, s string, low, high uint64) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n < low || n > high {
		return 0, fmt.Errorf("%s %q is not a number from %d to %d", what, s, low, high)
	}
	return n, nil
}
