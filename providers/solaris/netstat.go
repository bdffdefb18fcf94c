package solaris

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/lvsfleet/lvsfleet/providers/host"
)

// ParseDefaults gives the gateways of the IPv4 default routes in what
// `netstat -rn` printed, each once, in its order. Solaris keeps several side
// by side. The Interface field of such a route is often empty.
func ParseDefaults(out []byte) ([]netip.Addr, error) {
	var list []netip.Addr
	ipv4, seen := false, false
	for line := range strings.Lines(string(out)) {
		w := strings.Fields(line)
		switch {
		case len(w) >= 3 && w[0] == "Routing" && w[1] == "Table:":
			ipv4 = w[2] == "IPv4"
			seen = seen || ipv4
		case ipv4 && len(w) >= 2 && (w[0] == "default" || w[0] == "0.0.0.0"):
			gw, err := netip.ParseAddr(w[1])
			if err != nil {
				return nil, fmt.Errorf("netstat printed the gateway %q", clip(w[1]))
			}
			if !slices.Contains(list, gw) {
				list = append(list, gw)
			}
		}
	}
	if !seen {
		return nil, fmt.Errorf("netstat printed no IPv4 routing table")
	}
	return list, nil
}

// readDefaults asks the host.
func readDefaults(ctx context.Context, h host.Host) ([]netip.Addr, error) {
	res, err := host.Query(ctx, h, "netstat", "-rn")
	if err != nil {
		return nil, fmt.Errorf("read the routes: %w", err)
	}
	list, err := ParseDefaults(res.Stdout)
	if err != nil {
		return nil, fmt.Errorf("read the routes: %w", err)
	}
	return list, nil
}
