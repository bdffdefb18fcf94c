package freebsd

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
)

// ifconfig is ifconfig(8).
func (s system) ifconfig(m *sim.Machine, c *sim.Call) int {
	p := &ifconfigCall{kernel: s.on(m), c: c, format: c.Env("IFCONFIG_FORMAT")}
	args := c.Argv[1:]
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		switch args[0] {
		case "-a":
			p.all = true
		case "-l":
			p.list = true
		case "-u":
			p.upOnly = true
		case "-d":
			p.downOnly = true
		case "-f", "-g":
			if len(args) < 2 {
				return c.Refuse()
			}
			if args[0] == "-f" {
				p.format = args[1]
			} else {
				return p.group(args[1])
			}
			args = args[1:]
		default:
			return c.Refuse()
		}
		args = args[1:]
	}
	for _, f := range strings.Split(p.format, ",") {
		if f != "" && !slices.Contains([]string{"inet:cidr", "inet:dotted", "inet:hex", "inet6:cidr", "inet6:numeric"}, f) {
			return c.Refuse()
		}
	}
	if p.list {
		return p.names(args)
	}
	if p.all || len(args) == 0 {
		return p.showAll(args)
	}
	return p.one(args[0], args[1:])
}

type ifconfigCall struct {
	kernel
	c                           *sim.Call
	format                      string
	all, list, upOnly, downOnly bool
}

func (p *ifconfigCall) shown(l *sim.Link) bool { return (!p.upOnly || l.Up) && (!p.downOnly || !l.Up) }

func (p *ifconfigCall) names(args []string) int {
	if len(args) > 1 || len(args) == 1 && args[0] != "ether" {
		return p.c.Refuse()
	}
	var names []string
	for _, l := range p.m.Net.Links {
		if p.shown(l) && (len(args) == 0 || l.Kind == sim.Ether) {
			names = append(names, l.Name)
		}
	}
	p.c.Printf("%s\n", strings.Join(names, " "))
	return 0
}

func (p *ifconfigCall) group(name string) int {
	for _, l := range p.m.Net.Links {
		if groupOf(l) == name {
			p.c.Printf("%s\n", l.Name)
		}
	}
	return 0
}

func (p *ifconfigCall) showAll(args []string) int {
	if len(args) > 1 || len(args) == 1 && args[0] != "inet" && args[0] != "inet6" {
		return p.c.Refuse()
	}
	for _, l := range p.m.Net.Links {
		if p.shown(l) {
			p.show(l, strings.Join(args, ""))
		}
	}
	return 0
}

func (p *ifconfigCall) one(name string, args []string) int {
	if len(args) > 0 && (args[0] == "create" || args[0] == "plumb") {
		l, exit := p.make(name)
		if l == nil || len(args) == 1 {
			return exit
		}
		name, args = l.Name, args[1:]
	}
	l := p.m.Net.Link(name)
	if l == nil {
		p.c.Errorf("interface %s does not exist", name)
		return 1
	}
	e := &edit{ifconfigCall: p, l: l}
	if len(args) > 0 && (args[0] == "inet" || args[0] == "inet6") {
		e.six = args[0] == "inet6"
		if len(args) == 1 {
			p.show(l, args[0])
			return 0
		}
		args = args[1:]
	}
	if len(args) == 0 {
		p.show(l, "")
		return 0
	}
	return e.run(args)
}

func (p *ifconfigCall) make(name string) (*sim.Link, int) {
	prefix, ok := isClone(name)
	switch {
	case p.m.Net.Link(name) != nil:
		if p.era.scripts() == scripts6 {
			p.c.Errorf("SIOCIFCREATE: File exists") // ifclone.c of 6 asks the kernel first
		} else {
			p.c.Errorf("interface %s already exists", name)
		}
		return nil, 1
	case !ok:
		p.c.Errorf("SIOCIFCREATE2: Invalid argument")
		return nil, 1
	case prefix == name:
		for n := 0; p.m.Net.Link(name) != nil || name == prefix; n++ {
			name = prefix + strconv.Itoa(n)
		}
		p.c.Printf("%s\n", name)
	}
	return p.create(name), 0
}

// An edit is one call that changes a link: its words act in their order, the
// address comes last.
type edit struct {
	*ifconfigCall
	l    *sim.Link
	six  bool
	addr netip.Prefix // with its length, -1 where none was given
	peer netip.Addr
	bits int // of netmask or prefixlen
	mode addrMode

	given, haveBits bool
}

type addrMode int

const (
	replaceFirst addrMode = iota
	alias
	remove
)

func (e *edit) run(args []string) int {
	for len(args) > 0 {
		used, exit := e.word(args)
		if used == 0 || exit != 0 {
			return exit
		}
		args = args[used:]
	}
	return e.finish()
}

// word does what args begins with, and says how many words that was; 0 ends
// the call with exit.
func (e *edit) word(args []string) (used, exit int) {
	next := func() (string, bool) {
		if len(args) < 2 {
			e.c.Errorf("'%s' requires 1 argument", args[0])
			return "", false
		}
		return args[1], true
	}
	switch args[0] {
	case "alias", "add":
		e.mode = alias
	case "-alias", "delete", "remove":
		e.mode = remove
	case "netmask", "prefixlen":
		text, ok := next()
		if !ok {
			return 0, 1
		}
		return e.mask(args[0], text)
	case "broadcast":
		if _, ok := next(); !ok {
			return 0, 1
		}
		return 2, 0 // always the net's last one here
	case "up":
		e.up(e.l)
	case "down":
		e.l.Up = false
	case "mtu":
		text, ok := next()
		n, err := strconv.Atoi(text)
		if !ok || err != nil || n < 1 {
			return 0, e.c.Refuse()
		}
		e.l.MTU = n
		return 2, 0
	case "tunnel":
		return e.tunnel(args)
	case "deletetunnel", "-tunnel":
		e.l.Local, e.l.Remote = netip.Addr{}, netip.Addr{}
	case "ignore_source", "-ignore_source":
		if e.era.scripts() < scripts13 {
			return e.address(args[0]) // not there yet: taken for an address
		}
		if e.l.Kind != sim.IPTunnel {
			e.c.Errorf("ioctl(GIFGOPTS): Invalid argument")
			return 1, 0
		}
		e.l.Flags[ignoreSource] = args[0] == "ignore_source"
	case "link2", "-link2":
		e.l.Flags[link2] = args[0] == "link2"
	case "ifdisabled":
		e.l.Flags[ifdisabled] = true
	case "-ifdisabled":
		e.l.Flags[ifdisabled] = false
		e.linkLocal(e.l)
	case "destroy", "unplumb":
		if _, ok := isClone(e.l.Name); !ok || e.l.Name == "lo0" {
			e.c.Errorf("SIOCIFDESTROY: Invalid argument")
			return 0, 1
		}
		e.m.Net.Delete(e.l.Name)
		return 0, 0
	case "accept_rtadv", "-accept_rtadv", "description", "ether", "fib", "link0", "link1", "lladdr", "media", "metric", "name", "no_dad", "vhid", "vlan", "vnet", "arp", "-arp", "eui64", "auto_linklocal":
		return 0, e.c.Refuse()
	default:
		return e.address(args[0])
	}
	return 1, 0
}

// address takes a word that is none of ifconfig's: the address, then the
// destination.
func (e *edit) address(word string) (used, exit int) {
	text, length, hasLength := strings.Cut(strings.TrimRight(word, " \t\r\n\v\f"), "/")
	a, err := netip.ParseAddr(text)
	if err != nil || a.Is6() != e.six || a.Zone() != "" {
		e.c.Errorf("%s: bad value", word)
		return 0, 1
	}
	if e.given {
		e.peer = a
		return 1, 0
	}
	e.given, e.addr = true, netip.PrefixFrom(a, a.BitLen())
	if hasLength {
		n, err := strconv.Atoi(length)
		if err != nil || n < 0 || n > a.BitLen() {
			e.c.Errorf("%s: bad value (width too large)", word)
			return 0, 1
		}
		e.bits, e.haveBits = n, true
	}
	return 1, 0
}

func (e *edit) mask(word, text string) (used, exit int) {
	if word == "prefixlen" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || n > 128 {
			e.c.Errorf("%s: bad value", text)
			return 0, 1
		}
		e.bits, e.haveBits = n, true
		return 2, 0
	}
	m, ok := parseMask(text)
	if !ok {
		e.c.Errorf("%s: bad value", text)
		return 0, 1
	}
	for n := 0; n <= 32; n++ {
		if mask(n) == m {
			e.bits, e.haveBits = n, true
			return 2, 0
		}
	}
	return 0, e.c.Refuse() // FreeBSD takes a mask with holes; this machine has no place for one
}

// parseMask reads a mask as inet_aton(3) does: dotted or hexadecimal, blanks
// behind it allowed.
func parseMask(text string) (uint32, bool) {
	text = strings.TrimRight(text, " \t\r\n\v\f")
	if hex, ok := strings.CutPrefix(strings.ToLower(text), "0x"); ok {
		n, err := strconv.ParseUint(hex, 16, 32)
		return uint32(n), err == nil
	}
	a, err := netip.ParseAddr(text)
	if err != nil || !a.Is4() {
		return 0, false
	}
	b := a.As4()
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3]), true
}

func (e *edit) tunnel(args []string) (used, exit int) {
	if len(args) < 3 {
		e.c.Errorf("'tunnel' requires 2 arguments")
		return 0, 1
	}
	var ends [2]netip.Addr
	for i := range ends {
		a, err := netip.ParseAddr(strings.TrimRight(args[1+i], " \t\r\n\v\f"))
		if err != nil || a.Is6() != e.six {
			e.c.Errorf("error in parsing address string: Name does not resolve")
			return 0, 1
		}
		ends[i] = a
	}
	if e.l.Kind != sim.IPTunnel {
		e.c.Errorf("SIOCSIFPHYADDR: Invalid argument")
		return 3, 0
	}
	if err := e.setTunnel(e.l, ends[0], ends[1]); err != nil {
		e.c.Errorf("SIOCSIFPHYADDR: %v", err) // and exits 0
	}
	return 3, 0
}

// finish sets or removes the address.
func (e *edit) finish() int {
	if e.mode == remove {
		target := e.addr.Addr()
		if !e.given {
			target = firstAddr(e.l, e.six)
		}
		if err := e.delAddr(e.l, target); err != nil {
			e.c.Errorf("ioctl (SIOCDIFADDR): %v", err)
			return 1
		}
		return 0
	}
	if !e.given {
		return 0
	}
	if !e.haveBits {
		if !e.six && e.l.Kind == sim.Ether {
			if e.era.maskRequired() {
				e.c.Errorf("ERROR: setting interface address without mask is no longer supported.")
				return 1
			}
			if e.era.major >= 12 {
				fmt.Fprint(e.c.Stderr, "ifconfig: WARNING: setting interface address without mask is deprecated,\ndefault mask may not be correct.\n")
			}
		}
		e.bits = defaultBits(e.addr.Addr())
	}
	if e.mode == replaceFirst && !e.six {
		if first := firstAddr(e.l, false); first.IsValid() {
			_ = e.delAddr(e.l, first)
		}
	}
	if err := e.addAddr(e.l, sim.Addr{Prefix: netip.PrefixFrom(e.addr.Addr(), e.bits), Peer: e.peer}); err != nil {
		e.c.Errorf("ioctl (SIOCAIFADDR): %v", err)
		return 1
	}
	return 0
}

// defaultBits is the mask of an address that came without: of its class, or
// 64.
func defaultBits(a netip.Addr) int {
	switch {
	case a.Is6():
		return 64
	case a.As4()[0] < 128:
		return 8
	case a.As4()[0] < 192:
		return 16
	}
	return 24
}
