package solaris

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
)

// fields splits a line of a table as its readers do: at ASCII white space,
// up to '#'.
func fields(line string) []string {
	line, _, _ = strings.Cut(line, "#")
	return strings.FieldsFunc(line, func(c rune) bool { return strings.ContainsRune(" \t\r\n\v\f", c) })
}

// withNewline ends text with a newline: the readers of these files lose a
// last line without one.
func withNewline(text []byte) []byte {
	if len(text) > 0 && text[len(text)-1] != '\n' {
		text = append(bytes.Clone(text), '\n')
	}
	return text
}

// HostsTable is hosts(4): the IPv4 address of each name, the first line that
// names it wins.
func HostsTable(text []byte) map[string]netip.Addr {
	table := map[string]netip.Addr{}
	for line := range strings.Lines(string(text)) {
		w := fields(line)
		if len(w) < 2 {
			continue
		}
		addr, err := netip.ParseAddr(w[0])
		if err != nil || !addr.Is4() {
			continue
		}
		for _, name := range w[1:] {
			if _, ok := table[name]; !ok {
				table[name] = addr
			}
		}
	}
	return table
}

// nameHost is the Edit of hosts(4) that gives addr a name, where no line of it
// has one: a bare line at the end.
func nameHost(text []byte, addr netip.Addr, name string) []byte {
	for line := range strings.Lines(string(text)) {
		if w := fields(line); len(w) > 1 {
			if a, err := netip.ParseAddr(w[0]); err == nil && a == addr {
				return text
			}
		}
	}
	return append(withNewline(bytes.Clone(text)), addr.String()+"\t"+name+"\n"...)
}

// vipName is the name of a VIP in hosts(4). It follows from the address alone:
// it is the same on every host of the fleet and stays when services come and
// go.
func vipName(vip netip.Addr) string {
	return "vip-" + strings.NewReplacer(".", "-").Replace(vip.String())
}

// A netmask is one entry of netmasks(4).
type netmask struct {
	net  uint32
	mask uint32
}

// Netmasks is netmasks(4): "network mask" lines, dotted.
type Netmasks []netmask

// ParseNetmasks reads netmasks(4). What is no such line is passed over.
func ParseNetmasks(text []byte) Netmasks {
	var table Netmasks
	for line := range strings.Lines(string(text)) {
		if e, ok := netmaskEntry(line); ok {
			table = append(table, e)
		}
	}
	return table
}

func netmaskEntry(line string) (netmask, bool) {
	w := fields(line)
	if len(w) < 2 {
		return netmask{}, false
	}
	net, err := netip.ParseAddr(w[0])
	mask, err2 := netip.ParseAddr(w[1])
	if err != nil || err2 != nil || !net.Is4() || !mask.Is4() {
		return netmask{}, false
	}
	return netmask{number(net), number(mask)}, true
}

func number(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

// Lookup gives the mask that `ifconfig IF netmask +` sets for addr: the key is
// the address first, then with one bit after the other cleared from its end,
// and the first line of a key counts, if its mask leaves exactly its net of
// the address (getnetmaskbyaddr, netmasks.c). No entry: the mask stays as it
// is.
func (t Netmasks) Lookup(addr netip.Addr) (mask uint32, ok bool) {
	a := number(addr)
	for cleared := range 32 {
		key := a &^ (1<<cleared - 1)
		for _, e := range t {
			if e.net != key {
				continue
			}
			if a&e.mask == key {
				return e.mask, true
			}
			break
		}
	}
	return 0, false
}

const hostMask = 0xffffffff

// keepHostMask is the Edit of netmasks(4) for an address that must stay a /32:
// where an entry would give it another mask at boot, it gets one of its own.
// An entry of the address itself is corrected in place.
func keepHostMask(text []byte, addr netip.Addr) []byte {
	table := ParseNetmasks(text)
	mask, ok := table.Lookup(addr)
	wrong := slices.ContainsFunc(table, func(e netmask) bool { return e.net == number(addr) && e.mask != hostMask })
	if !wrong && (!ok || mask == hostMask) {
		return text
	}
	var b bytes.Buffer
	changed := false
	for line := range strings.Lines(string(text)) {
		if e, ok := netmaskEntry(line); ok && e.net == number(addr) && e.mask != hostMask {
			at := strings.Index(line, fields(line)[0]) + len(fields(line)[0])
			line = line[:at] + strings.Replace(line[at:], fields(line)[1], "255.255.255.255", 1)
			changed = true
		}
		b.WriteString(line)
	}
	if changed {
		return withNewline(b.Bytes())
	}
	return append(withNewline(b.Bytes()), addr.String()+"\t255.255.255.255\n"...)
}

// routerWords gives the routers that boot adds a default route for: the first
// word of each line of /etc/defaultrouter that is complete, not empty and no
// comment (net-physical).
func routerWords(text []byte) []string {
	var list []string
	for line := range strings.Lines(string(text)) {
		if !strings.HasSuffix(line, "\n") {
			break // the shell's read loses it
		}
		if w := words(strings.TrimSuffix(line, "\n")); len(w) > 0 && w[0][0] != '#' {
			list = append(list, w[0])
		}
	}
	return list
}

// oneRouter is the Edit of /etc/defaultrouter that leaves gw as the one
// router. Comments stay. A name that hosts gives gw's address serves as it is.
func oneRouter(text []byte, gw netip.Addr, hosts map[string]netip.Addr) []byte {
	if list := routerWords(text); len(list) == 1 && len(withNewline(text)) == len(text) {
		if list[0] == gw.String() || hosts[list[0]] == gw {
			return text
		}
	}
	var b bytes.Buffer
	done := false
	for line := range strings.Lines(string(withNewline(text))) {
		w := words(strings.TrimSuffix(line, "\n"))
		if len(w) > 0 && w[0][0] != '#' {
			if done {
				continue
			}
			line, done = strings.Replace(line, w[0], gw.String(), 1), true
		}
		b.WriteString(line)
	}
	if !done {
		b.WriteString(gw.String() + "\n")
	}
	return b.Bytes()
}
