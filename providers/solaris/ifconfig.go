package solaris

import (
	"context"
	"fmt"
	"math/bits"
	"net/netip"
	"strconv"
	"strings"

	"github.com/lvsfleet/lvsfleet/providers/host"
)

// An Interface is one physical or logical interface of one family, as
// `ifconfig -a` shows it (usr/src/cmd/cmd-inet/usr.sbin/ifconfig/ifconfig.c).
type Interface struct {
	Name   string     // "pcn0", "lo0:1", "ip.tun0"
	Up     bool       // the flag UP
	IPv6   bool       // IPv4 and IPv6 of one device are listed apart
	Zone   string     // the zone that has it; "" this one
	Addr   netip.Addr // zero: none yet (shown as 0.0.0.0)
	Mask   uint32     // IPv4
	Bits   int        // the mask's length; -1: it has holes
	Peer   netip.Addr // point-to-point
	Tunnel bool       // has outer ends
	Src    netip.Addr // outer; zero: unset
	Dst    netip.Addr // outer; zero: unset
}

// full says that the interface is up with a host mask.
func (i Interface) full() bool { return i.Up && i.Bits == i.Addr.BitLen() }

// address is the address line in ifconfig's own form.
func (i Interface) address() string {
	if !i.Addr.IsValid() {
		return "no address"
	}
	text := "inet " + i.Addr.String()
	if i.Peer.IsValid() {
		text += " --> " + i.Peer.String()
	}
	text += fmt.Sprintf(" netmask %08x", i.Mask)
	if i.Up {
		text += " up"
	} else {
		text += " down"
	}
	return text
}

// ends is the tunnel line in ifconfig's own words.
func (i Interface) ends() string { return endsText(i.Src, i.Dst) }

func endsText(src, dst netip.Addr) string {
	return "tunnel src " + orUnset(src).String() + " tunnel dst " + orUnset(dst).String()
}

func orUnset(a netip.Addr) netip.Addr {
	if !a.IsValid() {
		return netip.IPv4Unspecified()
	}
	return a
}

// device is the physical interface of a name: "lo0" of "lo0:1".
func device(name string) string {
	dev, _, _ := strings.Cut(name, ":")
	return dev
}

func isLoopback(name string) bool { return device(name) == "lo0" }

// ParseIfconfig reads what `ifconfig -a` printed. Masks are hexadecimal
// without 0x, lines may end in spaces, a line "inet tunnel ..." holds the
// outer ends and no address. Lines of other kinds (ether, groupname, hop
// limit) are passed over. A list without lo0 is not one: an error.
func ParseIfconfig(out []byte) ([]Interface, error) {
	var list []Interface
	loopback := false
	for line := range strings.Lines(string(out)) {
		line = strings.TrimRight(line, " \t\r\n")
		if line == "" {
			continue
		}
		if line[0] != ' ' && line[0] != '\t' {
			name, rest, ok := strings.Cut(line, ": flags=")
			if !ok || name == "" || strings.ContainsAny(name, " \t") {
				return nil, fmt.Errorf("ifconfig printed %q where an interface was expected", clip(line))
			}
			flags := ""
			if _, after, ok := strings.Cut(rest, "<"); ok {
				flags, _, _ = strings.Cut(after, ">")
			}
			i := Interface{Name: name}
			for flag := range strings.SplitSeq(flags, ",") {
				i.Up = i.Up || flag == "UP"
				i.IPv6 = i.IPv6 || flag == "IPv6"
			}
			loopback = loopback || name == "lo0"
			list = append(list, i)
			continue
		}
		if len(list) == 0 {
			return nil, fmt.Errorf("ifconfig printed %q before any interface", clip(line))
		}
		if err := list[len(list)-1].detail(strings.Fields(line)); err != nil {
			return nil, err
		}
	}
	if !loopback {
		return nil, fmt.Errorf("ifconfig printed no interface lo0")
	}
	return list, nil
}

// detail takes in one indented line.
func (i *Interface) detail(w []string) error {
	switch {
	case w[0] == "zone" && len(w) == 2:
		i.Zone = w[1]
	case (w[0] == "inet" || w[0] == "inet6") && len(w) > 1 && w[1] == "tunnel":
		i.Tunnel = true
		for n := 2; n+1 < len(w); n++ {
			if w[n] != "src" && w[n] != "dst" {
				continue
			}
			a, err := netip.ParseAddr(w[n+1])
			if err != nil {
				return fmt.Errorf("ifconfig printed the tunnel end %q of %s", clip(w[n+1]), i.Name)
			}
			if a.IsUnspecified() {
				a = netip.Addr{}
			}
			if w[n] == "src" {
				i.Src = a
			} else {
				i.Dst = a
			}
		}
	case w[0] == "inet" && len(w) > 1:
		return i.inet(w[1:])
	case w[0] == "inet6" && len(w) > 1:
		p, err := netip.ParsePrefix(w[1])
		if err != nil {
			return fmt.Errorf("ifconfig printed the address %q of %s", clip(w[1]), i.Name)
		}
		i.IPv6, i.Addr, i.Bits = true, p.Addr(), p.Bits()
	}
	return nil
}

func (i *Interface) inet(w []string) error {
	addr, err := netip.ParseAddr(w[0])
	if err != nil || !addr.Is4() {
		return fmt.Errorf("ifconfig printed the address %q of %s", clip(w[0]), i.Name)
	}
	if !addr.IsUnspecified() {
		i.Addr = addr
	}
	for n := 1; n+1 < len(w); n++ {
		switch w[n] {
		case "-->":
			if i.Peer, err = netip.ParseAddr(w[n+1]); err != nil {
				return fmt.Errorf("ifconfig printed the destination %q of %s", clip(w[n+1]), i.Name)
			}
		case "netmask":
			mask, err := strconv.ParseUint(strings.TrimPrefix(w[n+1], "0x"), 16, 32)
			if err != nil {
				return fmt.Errorf("ifconfig printed the netmask %q of %s", clip(w[n+1]), i.Name)
			}
			i.Mask, i.Bits = uint32(mask), maskBits(uint32(mask))
		}
	}
	return nil
}

// maskBits gives the length of a mask, -1 for one with holes.
func maskBits(mask uint32) int {
	n := bits.LeadingZeros32(^mask)
	if n < 32 && mask<<n != 0 {
		return -1
	}
	return n
}

// maskText is the mask in dotted form.
func maskText(mask uint32) string {
	return netip.AddrFrom4([4]byte{byte(mask >> 24), byte(mask >> 16), byte(mask >> 8), byte(mask)}).String()
}

// clip keeps a message readable, whatever a command printed.
func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}

// readInterfaces asks the host.
func readInterfaces(ctx context.Context, h host.Host) ([]Interface, error) {
	res, err := host.Query(ctx, h, "ifconfig", "-a")
	if err != nil {
		return nil, fmt.Errorf("read the interfaces: %w", err)
	}
	list, err := ParseIfconfig(res.Stdout)
	if err != nil {
		return nil, fmt.Errorf("read the interfaces: %w", err)
	}
	return list, nil
}
