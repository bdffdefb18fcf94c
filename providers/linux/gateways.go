package linux

import (
	"context"
	"net/netip"

	"github.com/lvsfleet/lvsfleet/providers/host"
)

// DefaultGateways gives the gateways of h's default routes that count: those
// of the lowest metric, of several next hops all. A route without a gateway
// gives none.
func DefaultGateways(ctx context.Context, h host.Host, v6 bool) ([]netip.Addr, error) {
	list, err := readDefaults(ctx, h, v6)
	if err != nil {
		return nil, err
	}
	var gws []netip.Addr
	for _, r := range best(list) {
		gws = append(gws, r.Via...)
	}
	return gws, nil
}
