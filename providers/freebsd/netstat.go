package freebsd

import (
	"net/netip"
	"slices"
	"strings"
)

// A Default is one default route.
type Default struct {
	Gateway string // an address, or "link#N" and the like
	Flags   string
	Netif   string
}

// Addr is the gateway, where it is an address.
func (d Default) Addr() (netip.Addr, bool) {
	a, err := netip.ParseAddr(d.Gateway)
	return a, err == nil
}

// gatewayWidth is where netstat(1) cuts an IPv6 gateway off, in characters
// (usr.bin/netstat/route.c, WID_GW).
const gatewayWidth = 29

// Is says whether the route's gateway, which may be cut off, is gw.
func (d Default) Is(gw netip.Addr) bool {
	if a, ok := d.Addr(); ok && a == gw {
		return true
	}
	s := gw.String()
	return len(d.Gateway) >= gatewayWidth && strings.HasPrefix(s, d.Gateway)
}

// ParseDefaults reads the default routes from `netstat -rn -f inet` (or
// inet6). Columns go by their headers: old releases have Refs and Use between
// Flags and Netif.
func ParseDefaults(out string) []Default {
	var routes []Default
	var header []string
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) > 1 && f[0] == "Destination" && f[1] == "Gateway" {
			header = f
			continue
		}
		if len(f) < 3 || f[0] != "default" || header == nil {
			continue
		}
		d := Default{Gateway: f[1]}
		if i := slices.Index(header, "Flags"); i >= 0 && i < len(f) {
			d.Flags = f[i]
		}
		if i := slices.Index(header, "Netif"); i >= 0 && i < len(f) {
			d.Netif = f[i]
		}
		routes = append(routes, d)
	}
	return routes
}

// ParseRouteGet reads gateway and interface from `route -n get`. What is not
// printed is "".
func ParseRouteGet(out string) (gateway, netif string) {
	for line := range strings.Lines(out) {
		key, value, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		switch strings.TrimSpace(key) {
		case "gateway":
			gateway = strings.TrimSpace(value)
		case "interface":
			netif = strings.TrimSpace(value)
		}
	}
	return gateway, netif
}
