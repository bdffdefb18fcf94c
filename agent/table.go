package agent

import (
	"context"
	"fmt"
	"slices"

	"github.com/lvsfleet/lvsfleet/providers/ipvs"
)

// An Entry is one real server of one service in a live table.
type Entry struct {
	Service ipvs.Key         `json:"service"`
	Dest    ipvs.Destination `json:"dest"`
	// Connections, as the kernel counts them: of TCP those that are
	// established are active, all others inactive; of UDP every one is
	// inactive (net/netfilter/ipvs/ip_vs_proto_*.c). Persistent counts the
	// clients that are still bound to the entry.
	Active     int `json:"active,omitempty"`
	Inactive   int `json:"inactive,omitempty"`
	Persistent int `json:"persistent,omitempty"`
	// Counts are the kernel's since the entry was made; Watch alone reads
	// them.
	Counts ipvs.Counts `json:"counts,omitzero"`
}

// Table reads the host's table.
func (e *Engine) Table(ctx context.Context, only ...ipvs.Key) ([]Entry, error) {
	return e.read(ctx, ipvs.Connections, only...)
}

func (e *Engine) read(ctx context.Context, dump func(context.Context, ipvs.Table) ([]ipvs.Service, error), only ...ipvs.Key) ([]Entry, error) {
	ctx, leave, err := e.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	t, err := ipvs.Open(e.Host)
	if err != nil {
		return nil, fmt.Errorf("open the IPVS table: %w", err)
	}
	services, err := dump(ctx, t)
	if err != nil {
		return nil, fmt.Errorf("read the IPVS table: %w", err)
	}
	if len(only) > 0 {
		named := make(map[ipvs.Key]bool, len(only))
		for _, k := range only {
			named[k] = true
		}
		services = slices.DeleteFunc(services, func(s ipvs.Service) bool { return !named[s.Key] })
	}
	var entries []Entry
	for _, s := range ipvs.Sorted(services) {
		for _, d := range s.Dests {
			entries = append(entries, Entry{
				Service: s.Key, Dest: d.Normal(),
				Active: int(d.Active), Inactive: int(d.Inactive), Persistent: int(d.Persistent), Counts: d.Counted(),
			})
		}
	}
	return entries, nil
}

// Table asks the agent to.
func (c *Client) Table(ctx context.Context, services ...ipvs.Key) ([]Entry, error) {
	res, err := c.ask(ctx, request{Method: methodTable, Services: services}, nil)
	return res.Table, err
}
