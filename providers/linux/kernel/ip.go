package kernel

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// An Addr is a line of `ip -o addr show`.
type Addr struct {
	Dev       string
	Prefix    netip.Prefix // the address with its length, not the net
	Label     string       // IPv4 only; that of the device where it has no own
	Secondary bool         // goes with the primary address of its net
	Scope     string       // "global", "host", ...
	Broadcast string       // "" none
	Peer      netip.Addr   // of a point-to-point address
}

// A Link is a line of `ip -o link show`.
type Link struct {
	Index int
	Name  string
	Up    bool
	MAC   string // lower case; "" for what is not Ethernet
}

// ParseAddrs reads the output of `ip -o addr show` in every era:
//
//	1: lo    inet 127.0.0.1/8 scope host lo\       valid_lft forever preferred_lft forever
//	2: eth0    inet6 fe80::1/64 scope link \       valid_lft forever preferred_lft forever
//	3: tun5    inet 10.0.0.1 peer 10.0.0.2/32 scope global tun5
func ParseAddrs(text string) ([]Addr, error) {
	var list []Addr
	for line := range strings.Lines(text) {
		main, _, _ := strings.Cut(line, `\`)
		f := strings.Fields(main)
		if len(f) == 0 {
			continue
		}
		dev, err := device(f)
		if err != nil {
			return nil, err
		}
		if len(f) < 4 || (f[2] != "inet" && f[2] != "inet6") {
			continue // the link's own line
		}
		a := Addr{Dev: dev, Secondary: slices.Contains(f[4:], "secondary")}
		text := f[3]
		if len(f) > 5 && f[4] == "peer" {
			// The length is the peer's net; the address itself is one address.
			text, _, _ = strings.Cut(text, "/")
			far, _, _ := strings.Cut(f[5], "/")
			if a.Peer, err = netip.ParseAddr(far); err != nil {
				return nil, fmt.Errorf("ip printed %q: %w", strings.TrimSpace(line), err)
			}
		}
		if !strings.Contains(text, "/") {
			addr, err := netip.ParseAddr(text)
			if err != nil {
				return nil, fmt.Errorf("ip printed %q: %w", strings.TrimSpace(line), err)
			}
			a.Prefix = netip.PrefixFrom(addr, addr.BitLen())
		} else if a.Prefix, err = netip.ParsePrefix(text); err != nil {
			return nil, fmt.Errorf("ip printed %q: %w", strings.TrimSpace(line), err)
		}
		for i := 4; i+1 < len(f); i++ {
			switch f[i] {
			case "scope":
				a.Scope = f[i+1]
			case "brd":
				a.Broadcast = f[i+1]
			}
		}
		if last := f[len(f)-1]; f[2] == "inet" && (last == dev || strings.HasPrefix(last, dev+":")) {
			a.Label = last
		}
		list = append(list, a)
	}
	return list, nil
}

// ParseLinks reads the output of `ip -o link show`:
//
//	2: eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc ...\    link/ether 52:54:00:12:34:56 brd ff:ff:ff:ff:ff:ff
//	5: tunl0@NONE: <NOARP,UP,LOWER_UP> mtu 1480 ...
func ParseLinks(text string) ([]Link, error) {
	var list []Link
	for line := range strings.Lines(text) {
		f := strings.Fields(strings.ReplaceAll(line, `\`, " "))
		if len(f) == 0 {
			continue
		}
		dev, err := device(f)
		if err != nil {
			return nil, err
		}
		l := Link{Name: dev}
		l.Index, _ = strconv.Atoi(strings.TrimSuffix(f[0], ":")) // device looked at it
		for i, w := range f {
			if flags, ok := strings.CutPrefix(w, "<"); ok && i == 2 {
				l.Up = slices.Contains(strings.Split(strings.TrimSuffix(flags, ">"), ","), "UP")
			}
			if w == "link/ether" && i+1 < len(f) {
				l.MAC = strings.ToLower(f[i+1])
			}
		}
		list = append(list, l)
	}
	return list, nil
}

// device reads "2:" "eth0@if5:" at the start of a line.
func device(f []string) (string, error) {
	index, ok := strings.CutSuffix(f[0], ":")
	if _, err := strconv.Atoi(index); err != nil || !ok || len(f) < 2 {
		return "", fmt.Errorf("ip printed %q", strings.Join(f, " "))
	}
	name, _, _ := strings.Cut(strings.TrimSuffix(f[1], ":"), "@")
	if name == "" {
		return "", fmt.Errorf("ip printed %q", strings.Join(f, " "))
	}
	return name, nil
}

// A Route is a default route.
type Route struct {
	Via    []netip.Addr // more than one with several next hops; empty without gateway
	Metric int
	Spec   []string // what sets it again, after "default"
}

// ParseDefaults reads the default routes of `ip route show` or
// `ip -6 route show`. What only the kernel says (linkdown, expires) is left
// out of Spec.
func ParseDefaults(text string) ([]Route, error) {
	var list []Route
	last := -1 // the route that indented lines go on with
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		hop := line[0] == ' ' || line[0] == '\t'
		switch {
		case hop && f[0] == "nexthop" && last >= 0:
		case !hop && f[0] == "default":
			list = append(list, Route{})
			last, f = len(list)-1, f[1:]
		default:
			if !hop {
				last = -1
			}
			continue
		}
		if err := list[last].read(f); err != nil {
			return nil, fmt.Errorf("ip printed %q: %w", strings.TrimSpace(line), err)
		}
	}
	return list, nil
}

// read takes the words of one line.
func (r *Route) read(f []string) error {
	for i := 0; i < len(f); i++ {
		next := ""
		if i+1 < len(f) {
			next = f[i+1]
		}
		switch f[i] {
		case "linkdown", "dead", "offload", "trap", "pervasive", "cache":
			continue
		case "expires", "error", "hoplimit":
			i++
			continue
		case "via":
			if next == "inet6" || next == "inet" { // a gateway of the other family
				r.Spec = append(r.Spec, f[i], next)
				i++
				continue
			}
			a, err := netip.ParseAddr(next)
			if err != nil {
				return err
			}
			r.Via = append(r.Via, a)
		case "metric":
			m, err := strconv.Atoi(next)
			if err != nil {
				return err
			}
			r.Metric = m
		}
		r.Spec = append(r.Spec, f[i])
	}
	return nil
}

// ParseSource reads the source address that `ip route get` names; the zero
// Addr where it names none.
func ParseSource(text string) (src, via netip.Addr) {
	line, _, _ := strings.Cut(text, "\n")
	f := strings.Fields(line)
	for i := 0; i+1 < len(f); i++ {
		switch f[i] {
		case "src":
			src, _ = netip.ParseAddr(f[i+1])
		case "via":
			via, _ = netip.ParseAddr(f[i+1])
		}
	}
	return src, via
}

// A Tunnel is a line of `ip tunnel show`.
type Tunnel struct {
	Name          string
	Local, Remote netip.Addr // zero: any
}

// ParseTunnels reads the output of `ip tunnel show`:
//
//	tunl0: any/ip remote any local any ttl inherit nopmtudisc
//	lvs0: ip/ip  remote 172.16.0.2  local 172.16.0.1  ttl inherit
//
// Tunnels that are not IP in IP are left out.
func ParseTunnels(text string) []Tunnel {
	var list []Tunnel
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 2 || !strings.HasSuffix(f[0], ":") || f[1] != "ip/ip" && f[1] != "any/ip" {
			continue
		}
		name, _, _ := strings.Cut(strings.TrimSuffix(f[0], ":"), "@")
		t := Tunnel{Name: name}
		for i := 2; i+1 < len(f); i++ {
			switch a, _ := netip.ParseAddr(f[i+1]); f[i] {
			case "remote":
				t.Remote = a
			case "local":
				t.Local = a
			}
		}
		list = append(list, t)
	}
	return list
}
