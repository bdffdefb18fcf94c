package importer

import (
	"cmp"
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
	file  string // "" the one that is imported
	line  int
	words []string
	block []statement
	opens bool
}

// at names the statement's place.
func (s statement) at() string { return place(s.file, s.line) }

func place(file string, line int) string {
	if file == "" {
		return fmt.Sprintf("line %d", line)
	}
	return fmt.Sprintf("%s line %d", file, line)
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
	file string
	line int
	// include reads the statements of the files that an include names; ok is
	// false where they cannot be read.
	include func(st statement) (list []statement, ok bool, err error)
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
	now := statement{file: s.file, line: s.line}
	var failed error
	end := func() {
		if len(now.words) > 0 {
			list, ok, err := []statement(nil), false, error(nil)
			if isInclude(now.words[0]) && s.include != nil {
				list, ok, err = s.include(now)
			}
			if failed == nil {
				failed = err
			}
			if ok {
				out = append(out, list...)
			} else {
				out = append(out, now)
			}
		}
		now = statement{file: s.file, line: s.line}
	}
	for {
		word, quoted, err := s.next()
		if err = cmp.Or(err, failed); err != nil {
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
			return out, failed
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
			return out, failed
		default:
			if len(now.words) == 0 {
				now.line = s.line
			}
			now.words = append(now.words, word)
		}
	}
}

func isInclude(word string) bool {
	switch word {
	case "include", "includer", "includem", "includew", "includeb", "includea":
		return true
	}
	return false
}

// Bounds on included files.
const (
	maxIncludes    = 200
	maxIncludeDeep = 8
)

// A source reads a keepalived.conf and what it includes.
type source struct {
	Reader
	found    *Found
	vars     map[string]string
	included int
	size     int
}

// parse gives the statements of one file.
func (c *source) parse(text, file string, deep int) ([]statement, error) {
	if c.size += len(text); c.size > MaxSize {
		return nil, fmt.Errorf("with its included files it is larger than %d MiB", MaxSize>>20)
	}
	text, err := c.lines(text, file)
	if err != nil {
		return nil, err
	}
	s := &scanner{text: text, file: file, line: 1}
	s.include = func(st statement) ([]statement, bool, error) { return c.include(st, deep+1) }
	return s.parse(0)
}

// include reads what an include names. Where it cannot, a note says so.
func (c *source) include(st statement, deep int) ([]statement, bool, error) {
	name := st.word(1)
	if c.Open == nil || name == "" || strings.ContainsAny(name, "*?[") {
		c.found.note("%s: %s is not followed: import that file too", st.at(), strings.Join(st.words, " "))
		return nil, true, nil
	}
	if c.included++; c.included > maxIncludes || deep > maxIncludeDeep {
		return nil, false, fmt.Errorf("%s: more than %d files are included, or deeper than %d", st.at(), maxIncludes, maxIncludeDeep)
	}
	text, err := c.Open(name)
	if err != nil {
		c.found.note("%s: %s is not followed, since it cannot be read here: import that file too", st.at(), strings.Join(st.words, " "))
		return nil, true, nil //nolint:nilerr // it is told of in a note
	}
	list, err := c.parse(string(text), name, deep)
	if err != nil {
		return nil, false, fmt.Errorf("%s: %w", name, err)
	}
	return list, true, nil
}

// lines does what keepalived does with each line before it reads words
// (lib/parser.c, read_line): lines for other nodes go, and variables are put in.
func (c *source) lines(text, file string) (string, error) {
	if !strings.ContainsAny(text, "@$~") {
		return text, nil
	}
	var b strings.Builder
	n := 0
	for line := range strings.Lines(text) {
		n++
		trimmed := strings.TrimLeft(line, " \t")
		if rest, ok := strings.CutPrefix(trimmed, "@"); ok {
			node, rest, _ := strings.Cut(rest, " ")
			rest = strings.TrimLeft(rest, " \t")
			not := strings.HasPrefix(node, "^")
			node = strings.TrimSpace(strings.TrimPrefix(node, "^"))
			switch {
			case c.Node == "":
				c.found.note("%s: %s is for one of several nodes, and left out: import again with --node %s", place(file, n), strings.TrimSpace(trimmed), node)
				trimmed = "\n"
			case (node == c.Node) == not:
				trimmed = "\n"
			default:
				trimmed = rest
			}
			line = trimmed
		}
		if name, value, ok := definition(trimmed); ok {
			v, err := c.expand(value, place(file, n))
			if err != nil {
				return "", err
			}
			c.vars[name] = v
			b.WriteString("\n")
			continue
		}
		if strings.HasPrefix(trimmed, "~") {
			c.found.note("%s: %s is not followed, and left out", place(file, n), strings.TrimSpace(trimmed))
			b.WriteString("\n")
			continue
		}
		code, comment := line, ""
		if i := strings.IndexAny(line, "#!"); i >= 0 {
			code, comment = line[:i], line[i:]
		}
		out, err := c.expand(code, place(file, n))
		if err != nil {
			return "", err
		}
		b.WriteString(out + comment)
		if b.Len() > MaxSize {
			return "", fmt.Errorf("%s: with its variables the file is larger than %d MiB", place(file, n), MaxSize>>20)
		}
	}
	return b.String(), nil
}

// definition reads "$NAME=VALUE".
func definition(line string) (name, value string, ok bool) {
	rest, ok := strings.CutPrefix(line, "$")
	if !ok {
		return "", "", false
	}
	name, value, ok = strings.Cut(rest, "=")
	if !ok || !isVariable(name) {
		return "", "", false
	}
	return name, strings.TrimRight(value, " \t\r\n"), true
}

func isVariable(s string) bool {
	for i, c := range []byte(s) {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// expand puts the values of variables in, "$NAME" and "${NAME}".
func (c *source) expand(s, at string) (string, error) {
	if !strings.Contains(s, "$") {
		return s, nil
	}
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(s, "$")
		b.WriteString(before)
		if !ok {
			return b.String(), nil
		}
		name, braces := rest, strings.HasPrefix(rest, "{")
		if braces {
			name = rest[1:]
		}
		n := 0
		for n < len(name) && isVariable("_"+name[n:n+1]) {
			n++
		}
		name = name[:n]
		v, known := c.vars[name]
		if !known {
			return "", fmt.Errorf("%s: the variable $%s has no value in this file", at, name)
		}
		if s = rest[n:]; braces {
			if s, ok = strings.CutPrefix(rest[1+n:], "}"); !ok {
				return "", fmt.Errorf("%s: ${%s is not closed", at, name)
			}
		}
		if b.WriteString(v); b.Len() > maxValue {
			return "", fmt.Errorf("%s: a line with its variables is longer than %d KiB", at, maxValue>>10)
		}
	}
}

// readKeepalived reads the virtual_server blocks of a keepalived.conf(5).
// Whatever is about notification and logging is passed over.
func (r Reader) readKeepalived(text []byte) (*Found, error) {
	c := &source{Reader: r, found: &Found{Form: "configuration of keepalived"}, vars: map[string]string{}}
	all, err := c.parse(string(text), "", 0)
	if err != nil {
		return nil, err
	}
	k := &keeper{found: c.found, groups: map[string][]statement{}, seen: map[ipvs.Key]bool{}}
	for _, st := range all {
		if st.word(0) == "virtual_server_group" {
			k.groups[st.word(1)] = st.block
		}
	}
	for _, st := range all {
		switch st.word(0) {
		case "vrrp_instance":
			k.found.ForeignVIP = true
		case "virtual_server":
			if err := k.server(st); err != nil {
				return nil, fmt.Errorf("%s: virtual_server: %w", st.at(), err)
			}
		}
	}
	k.found.passed(k.checks, "health checks", "keepalived goes on with them, and owns weights and members")
	return k.found, nil
}

// A keeper collects services.
type keeper struct {
	found  *Found
	groups map[string][]statement
	seen   map[ipvs.Key]bool
	checks []int // lines that begin a check
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
			list, err := k.keys(g.words)
			if err != nil {
				return fmt.Errorf("group %s: %s: %w", st.word(2), g.at(), err)
			}
			keys = append(keys, list...)
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
	if len(s.Dests) == 0 {
		k.found.note("%s: virtual_server %s has no real server: keepalived ignores it, and so it is left out", st.at(), strings.Join(st.words[1:], " "))
		return nil
	}
	for _, key := range keys {
		one := s
		one.Key.Mark, one.Key.Addr, one.Key.Port = key.Mark, key.Addr, key.Port
		if key.Mark != 0 {
			one.Key.Protocol = ""
		} else {
			one.Key.V6 = false
			k.correct(st, &one)
		}
		one.Dests = nil
		for _, d := range s.Dests {
			if d.Port != 0 && key.Mark == 0 && d.Method != ipvs.NAT && d.Port != key.Port {
				k.found.note("%s: the port %d of %s is that of the service, %d: with %s no packet is rewritten", st.at(), d.Port, d.Addr, key.Port, strings.ToUpper(d.Method.String()))
				d.Port = key.Port
			}
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

// correct does to a service by address what keepalived does when it has read it
// (check_data.c, validate_check_config).
func (k *keeper) correct(st statement, s *Service) {
	if s.Key.Protocol == "" {
		s.Key.Protocol = "udp"
		k.found.note("%s: virtual_server %s says no protocol: keepalived makes it UDP", st.at(), strings.Join(st.words[1:], " "))
	}
	if s.Flags&ipvs.OnePacket != 0 && s.Key.Protocol != "udp" {
		s.Flags &^= ipvs.OnePacket
		k.found.note("%s: ops is for UDP: keepalived takes it off, and so it is left out", st.at())
	}
	if s.Key.Port == 0 && s.Flags&ipvs.Persistent == 0 {
		s.Flags, s.Timeout = s.Flags|ipvs.Persistent, persistentDefault
		k.found.note("%s: every port goes with persistence only: keepalived sets %d seconds", st.at(), persistentDefault)
	}
}

// persistentDefault is keepalived's time of persistence where none is said, in
// seconds (IPVS_SVC_PERSISTENT_TIMEOUT).
const persistentDefault = 360

// keys reads one line of a group: an address, a range of addresses in their last
// part (10.0.0.1-20), or a mark.
func (k *keeper) keys(words []string) ([]ipvs.Key, error) {
	if len(words) == 0 || words[0] == "fwmark" || !strings.Contains(words[0], "-") {
		key, err := k.key(words)
		return []ipvs.Key{key}, err
	}
	first, end, _ := strings.Cut(words[0], "-")
	addr, err := address(first)
	if err != nil {
		return nil, err
	}
	base, bits := 10, 8
	if addr.Is6() {
		base, bits = 16, 16
	}
	last, err := strconv.ParseUint(end, base, bits)
	if err != nil {
		return nil, fmt.Errorf("%q is no range: its end is the last part of an address", words[0])
	}
	var list []ipvs.Key
	for a := addr; ; a = a.Next() {
		key, err := k.key(append([]string{a.String()}, words[1:]...))
		if err != nil {
			return nil, err
		}
		list = append(list, key)
		raw := a.AsSlice()
		low := uint64(raw[len(raw)-1])
		if a.Is6() {
			low |= uint64(raw[len(raw)-2]) << 8
		}
		switch {
		case low == last:
			return list, nil
		case low > last || len(list) > maxRange:
			return nil, fmt.Errorf("%q is no range of at most %d addresses", words[0], maxRange)
		}
	}
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
	s := Service{Service: ipvs.Service{Key: ipvs.Key{}, Scheduler: "wlc"}}
	method, mask, weight := ipvs.NAT, "", uint64(1) // keepalived's defaults
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
			n := uint64(persistentDefault)
			if value != "" {
				n, err = number("persistence_timeout", value, 0, math.MaxInt32)
			}
			if s.Timeout = uint32(n); n > 0 {
				s.Flags |= ipvs.Persistent
			}
		case "persistence_granularity":
			mask = value
		case "weight":
			weight, err = number("weight", value, 0, 65535)
		case "persistence_engine":
			s.Engine = value
		case "ops":
			s.Flags |= ipvs.OnePacket
		case "flag-1", "flag-2", "flag-3", "sh-port", "sh-fallback", "mh-port", "mh-fallback":
			flags = append(flags, b)
		case "real_server":
			reals = append(reals, b)
		case "sorry_server":
			k.found.note("%s: sorry_server %s is left out: an inventory has none", b.at(), strings.Join(b.words[1:], " "))
		case "hashed": // every service is, whatever is said (IP_VS_SVC_F_HASHED)
		case "delay_loop", "retry", "delay_before_retry", "warmup", "alpha", "omega", "quorum", "hysteresis", "quorum_up", "quorum_down",
			"inhibit_on_failure", "virtualhost", "smtp_alert", "ha_suspend", "sorry_server_inhibit", "sorry_server_lvs_method", "connect_timeout":
			k.checks = append(k.checks, b.line)
		default:
			k.found.note("%s: %s is not understood, and left out", b.at(), strings.Join(b.words, " "))
		}
		if err != nil {
			return Service{}, fmt.Errorf("%s: %w", b.at(), err)
		}
	}
	for _, b := range flags {
		f, ok := ipvs.SchedulerFlag(s.Scheduler, b.word(0))
		if !ok {
			return Service{}, fmt.Errorf("%s: the flag %s is not one of the scheduler %s", b.at(), b.word(0), s.Scheduler)
		}
		s.Flags |= f
	}
	if mask != "" {
		if err := setMask(&s, mask); err != nil {
			return Service{}, err
		}
		if s.Flags&ipvs.Persistent == 0 {
			s.Flags, s.Timeout = s.Flags|ipvs.Persistent, persistentDefault
		}
	}
	for _, b := range reals {
		d, checked, err := k.real(b, method, int(weight))
		if err != nil {
			return Service{}, fmt.Errorf("%s: real_server: %w", b.at(), err)
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
		k.found.note("%s: %s is left out: an inventory has plain IP-in-IP tunnels", b.at(), strings.Join(b.words[2:], " "))
	}
	return m, nil
}

// real reads one real_server block, and says whether somebody checks its
// health.
func (k *keeper) real(st statement, method ipvs.Method, weight int) (d ipvs.Destination, checked bool, err error) {
	key, err := k.key(st.words[1:])
	if err != nil {
		return d, false, err
	}
	if !key.Addr.IsValid() {
		return d, false, errors.New("it has no address")
	}
	d = ipvs.Destination{DestKey: ipvs.DestKey{Addr: key.Addr, Port: key.Port}, Method: method, Weight: weight}
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
		case "inhibit_on_failure", "notify_up", "notify_down", "alpha", "delay_loop", "retry", "delay_before_retry", "warmup", "smtp_alert", "virtualhost":
			k.checks = append(k.checks, b.line)
		default:
			if strings.HasSuffix(word, "_CHECK") || strings.HasSuffix(word, "_GET") {
				checked = true
				k.checks = append(k.checks, b.line)
				break
			}
			k.found.note("%s: %s is not understood, and left out", b.at(), strings.Join(b.words, " "))
		}
		if err != nil {
			return d, false, fmt.Errorf("%s: %w", b.at(), err)
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
