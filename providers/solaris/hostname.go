package solaris

import (
	"math/bits"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A HostnameFile is one /etc/hostname.IF.
type HostnameFile struct {
	Interface string // what follows "hostname."
	Data      []byte
}

// path is where the file lies.
func (f HostnameFile) path() string { return hostnamePath(f.Interface) }

func hostnamePath(ifname string) string { return "/etc/hostname." + ifname }

var (
	// plainName and tunnelName are the names that boot plumbs as they are:
	// net-physical takes names without a further dot, net-init (illumos:
	// net-iptun) the tunnels.
	plainName  = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*[0-9](:[0-9]+)?$`)
	tunnelName = regexp.MustCompile(`^ip\.tun([0-9]+)$`)
	// unitName is a logical interface of the loopback.
	unitName = regexp.MustCompile(`^lo0:([0-9]+)$`)
)

// unit gives N of "lo0:N" and "ip.tunN" by their pattern; -1 for others.
func unit(pattern *regexp.Regexp, name string) int {
	m := pattern.FindStringSubmatch(name)
	if m == nil {
		return -1
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		return -1
	}
	return n
}

// A BootAddr is an address that boot leaves on an interface.
type BootAddr struct {
	Addr netip.Addr
	Bits int // length of the mask; -1: it has holes
	Peer netip.Addr
	Up   bool
}

// A BootInterface is what boot makes of one hostname.IF.
type BootInterface struct {
	Name  string
	Addrs []BootAddr
	Src   netip.Addr // tsrc
	Dst   netip.Addr // tdst
	// Named are all addresses that the file names, also those that come to
	// nothing: in comments, and in a last line without a newline.
	Named  []netip.Addr
	Faults []string // what is wrong, in words
}

// carries says that boot leaves addr up on the interface as a /32.
func (b BootInterface) carries(addr netip.Addr) bool {
	return slices.ContainsFunc(b.Addrs, func(a BootAddr) bool { return a.Addr == addr && a.Up && a.Bits == 32 })
}

// onlyNames says that the file names addresses, and none but those of want.
func (b BootInterface) onlyNames(want ...netip.Addr) bool {
	for _, a := range b.Named {
		if !slices.Contains(want, a) {
			return false
		}
	}
	return len(b.Named) > 0
}

// A BootReader reads hostname.IF as a system's boot scripts do.
type BootReader struct {
	Hosts    map[string]netip.Addr
	Netmasks Netmasks
	Illumos  bool
}

// Read follows inet_process_hostname of /lib/svc/method (net_include.sh), and
// for tunnels the loop of net-init (illumos: net-iptun):
//   - the shell's `read` loses a last line without a newline;
//   - a file of one line gets " netmask + broadcast + up" appended, one of more
//     lines, a blank line after the first included, does not. On illumos a
//     blank first line counts as well;
//   - a tunnel's lines are one ifconfig each and nothing is appended; illumos
//     brings the tunnel up afterwards;
//   - there are no comments: ifconfig gets the words and fails at the '#';
//   - in the end `ifconfig -auD4 netmask + broadcast +` runs over everything
//     that is up (net-svc; illumos: net-netmask).
func (r BootReader) Read(name string, data []byte) BootInterface {
	b := BootInterface{Name: name, Addrs: []BootAddr{{Up: name == "lo0"}}} // net-loopback has brought it up
	var lines []string
	blank := false // a blank line that makes the file one of many lines
	for line := range strings.Lines(string(data)) {
		text, complete := strings.CutSuffix(line, "\n")
		b.Named = append(b.Named, r.named(words(text))...)
		if !complete {
			b.Faults = append(b.Faults, "the last line has no newline and is lost at boot")
			continue
		}
		if len(words(text)) == 0 {
			blank = blank || len(lines) > 0 || r.Illumos
			continue
		}
		if strings.HasPrefix(words(text)[0], "#") {
			b.Faults = append(b.Faults, "a comment, which boot takes for arguments of ifconfig")
		}
		lines = append(lines, text)
	}
	tunnel := tunnelName.MatchString(name)
	if blank && !tunnel {
		b.Faults = append(b.Faults, "a blank line, with which the interface is not brought up by itself")
	}
	if len(lines) == 1 && !blank && !tunnel {
		lines[0] += " netmask + broadcast + up"
	}
	for _, line := range lines {
		if fault := b.ifconfig(r, words(line)); fault != "" {
			b.Faults = append(b.Faults, fault)
		}
	}
	b.Addrs[0].Up = b.Addrs[0].Up || r.Illumos && tunnel
	b.Addrs = slices.DeleteFunc(b.Addrs, func(a BootAddr) bool { return !a.Addr.IsValid() })
	for i, a := range b.Addrs {
		if mask, ok := r.Netmasks.Lookup(a.Addr); ok && a.Up {
			b.Addrs[i].Bits = maskBits(mask)
		}
	}
	return b
}

// named are the addresses in a line, masks and broadcasts left out.
func (r BootReader) named(line []string) []netip.Addr {
	var list []netip.Addr
	for i, w := range line {
		if i > 0 && (line[i-1] == "netmask" || line[i-1] == "broadcast") {
			continue
		}
		if a, ok := r.resolve(strings.TrimLeft(w, "#")); ok {
			list = append(list, a.Addr())
		}
	}
	return list
}

// words splits as the shell does, at blanks alone: a carriage return stays.
func words(line string) []string {
	return strings.FieldsFunc(line, func(c rune) bool { return c == ' ' || c == '\t' })
}

// withArgument are ifconfig's words that take one argument (ifconfig(1M));
// those that matter here are handled by name.
var withArgument = []string{
	"broadcast", "mtu", "metric", "group", "thoplimit", "encaplimit", "usesrc", "zone", "index", "ether",
	"auth_algs", "encr_algs", "encr_auth_algs", "removeif", "subnet", "token", "modlist", "modinsert", "modremove",
}

// alone are ifconfig's words that take none and change no address.
var alone = []string{
	"inet", "plumb", "arp", "-arp", "private", "-private", "nud", "-nud", "trailers", "-trailers",
	"deprecated", "-deprecated", "standby", "-standby", "failover", "-failover", "xmit", "-xmit",
	"local", "-local", "preferred", "-preferred", "router", "-router", "auto-revarp", "debug", "-debug",
}

// ifconfig takes in the words of one `ifconfig IF inet WORDS` and gives what
// is wrong with them. Like ifconfig it stops at the first word that it cannot
// use; what stood before it is in force.
func (b *BootInterface) ifconfig(r BootReader, w []string) (fault string) {
	cur, positional := 0, 0
	for n := 0; n < len(w); n++ {
		word, arg := w[n], ""
		if n+1 < len(w) {
			arg = w[n+1]
		}
		at := &b.Addrs[cur]
		switch {
		case word == "up", word == "down":
			at.Up = word == "up"
		case word == "netmask":
			n++
			if arg == "+" {
				if mask, ok := r.lookup(at.Addr); ok {
					at.Bits = maskBits(mask)
				}
			} else if mask, ok := parseMask(arg); ok {
				at.Bits = maskBits(mask)
			} else {
				return "the netmask " + strconv.Quote(clip(arg))
			}
		case word == "tsrc", word == "tdst", word == "addif", word == "destination":
			n++
			p, ok := r.resolve(arg)
			if ok && word[0] == 't' && !tunnelName.MatchString(b.Name) {
				return word + " on what is no tunnel"
			}
			if !ok {
				return word + " " + strconv.Quote(clip(arg)) + ", which is no address and not in /etc/hosts"
			}
			switch word {
			case "tsrc":
				b.Src = p.Addr()
			case "tdst":
				b.Dst = p.Addr()
			case "destination":
				at.Peer = p.Addr()
			default:
				b.Addrs = append(b.Addrs, r.address(p))
				cur, positional = len(b.Addrs)-1, 1
			}
		case slices.Contains(withArgument, word):
			n++
		case slices.Contains(alone, word):
		default:
			p, ok := r.resolve(word)
			if !ok {
				return strconv.Quote(clip(word)) + ", which is no address and not in /etc/hosts"
			}
			switch positional++; positional {
			case 1:
				up := at.Up
				*at = r.address(p)
				at.Up = up
			case 2:
				if p.Bits() >= 0 {
					return "the destination " + strconv.Quote(clip(word))
				}
				at.Peer = p.Addr()
			default:
				return "the third address " + strconv.Quote(clip(word))
			}
		}
	}
	return ""
}

func (r BootReader) lookup(a netip.Addr) (uint32, bool) {
	if !a.IsValid() {
		return 0, false
	}
	return r.Netmasks.Lookup(a)
}

// address gives p the mask that ifconfig does where none is said: that of
// netmasks(4), else the one of its class (a negative length stands for none said).
func (r BootReader) address(p netip.Prefix) BootAddr {
	a := BootAddr{Addr: p.Addr(), Bits: p.Bits()}
	if a.Bits < 0 {
		if mask, ok := r.Netmasks.Lookup(a.Addr); ok {
			a.Bits = maskBits(mask)
		} else {
			a.Bits = classBits(a.Addr)
		}
	}
	return a
}

// resolve reads ADDR, ADDR/LEN, NAME or NAME/LEN. Without LEN the prefix has
// no valid length.
func (r BootReader) resolve(word string) (netip.Prefix, bool) {
	name, length, hasLength := strings.Cut(word, "/")
	addr, err := netip.ParseAddr(name)
	if err != nil {
		addr = r.Hosts[name]
	}
	if !addr.Is4() {
		return netip.Prefix{}, false
	}
	n := -1
	if hasLength {
		if n, err = strconv.Atoi(length); err != nil || n < 0 || n > 32 {
			return netip.Prefix{}, false
		}
	}
	return netip.PrefixFrom(addr, n), true
}

// parseMask reads a mask as ifconfig does: dotted, or 0x and hexadecimal.
func parseMask(s string) (uint32, bool) {
	if hex, ok := strings.CutPrefix(s, "0x"); ok {
		n, err := strconv.ParseUint(hex, 16, 32)
		return uint32(n), err == nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil || !a.Is4() {
		return 0, false
	}
	return number(a), true
}

// classBits is the length of the classful mask.
func classBits(a netip.Addr) int {
	switch bits.LeadingZeros32(^number(a)) {
	case 0:
		return 8
	case 1:
		return 16
	}
	return 24
}
