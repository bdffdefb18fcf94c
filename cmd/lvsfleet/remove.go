package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/fleet"
	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/state"
	"github.com/lvsfleet/lvsfleet/inventory"
)

type removeFlags struct {
	runFlags
	host        string
	forget      string
	keepHistory bool
}

func newRemove(g *globals) *cobra.Command {
	var flags removeFlags
	cmd := &cobra.Command{
		Use:   "remove [SITE]",
		Short: "Take everything that lvsfleet made off the hosts",
		Long: `Takes all that lvsfleet has made on the hosts of the site away again, whichever
run made it: each is then as it was before, but for what others have done since,
which is left. Services are drained first, and VIPs go before the silence about
them; last go lvsfleet's own folders. Every host is contacted first; where one
cannot be reached, or cannot be given back, nothing is changed anywhere.

--host takes one host out, in the inventory or not any more: its entries on the
directors are drained and go, which is shown, counted and recorded with the rest. --forget gives up a host whose block has left the
inventory, and contacts nobody.
` + exitHelp + `  0  the hosts are as they were before lvsfleet
  1  an error, or declined: nothing was changed
  3  a host failed and was rolled back, or Ctrl-C ended the run
  4  a host failed, and its rollback is not complete`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if flags.forget != "" {
				return runForget(g, sitePath(args), flags.forget)
			}
			return runRemove(cmd.Context(), g, sitePath(args), flags)
		},
	}
	flags.add(cmd)
	f := cmd.Flags()
	f.StringVar(&flags.host, "host", "", "only `NAME`, which may have left the inventory")
	f.StringVar(&flags.forget, "forget", "", "give up `NAME`, which has left the inventory")
	f.BoolVar(&flags.keepHistory, "keep-history", false, "leave the hosts' own records of what was done")
	cmd.MarkFlagsMutuallyExclusive("host", "forget")
	return cmd
}

func runRemove(ctx context.Context, g *globals, path string, flags removeFlags) error {
	loaded, err := g.load(path, false)
	if err != nil {
		return err
	}
	hosts, gone, err := g.departed(path, loaded.Site)
	if err != nil {
		return err
	}
	site := *loaded.Site
	limit := g.limit
	if flags.host != "" {
		if len(limit) > 0 {
			return errors.New("--host and --limit exclude each other")
		}
		limit = []string{flags.host}
		gone = slices.DeleteFunc(gone, func(h inventory.Host) bool { return h.Name != flags.host })
		if err := removable(site, gone, flags.host); err != nil {
			return err
		}
	}
	site.Hosts = slices.Clone(site.Hosts)
	for i := range gone {
		gone[i].Roles = nil // it had them once: it is no director of today's services
		site.Hosts = append(site.Hosts, &gone[i])
	}
	rec := state.Run{Verb: state.Remove, Site: path, Inventory: loaded.Hash}
	out, err := g.carryOut(ctx, &site, rec, flags.runFlags, "Take lvsfleet off",
		func(ctx context.Context, f *fleet.Fleet, approve approval) (fleet.Outcome, error) {
			f.Limit, f.Removing, f.KeepHistory = limit, true, flags.keepHistory
			return f.Converge(ctx, approve)
		})
	if err != nil {
		return runError(out, err)
	}
	return errors.Join(outcomeError(out), hosts.Forget(cleaned(out, limit)...))
}

// cleaned lists the hosts that nothing of lvsfleet's is left on, of those that
// were to be cleaned: the limit's, or all where there is none.
func cleaned(out fleet.Outcome, limit []string) []string {
	var clean []string
	for _, r := range out.Results {
		done := r.Err == nil && !r.Kept && (r.Status == fleet.Changed || r.Status == fleet.Unchanged)
		if done && (len(limit) == 0 || slices.Contains(limit, r.Host)) {
			clean = append(clean, r.Host)
		}
	}
	return clean
}

// removable says why the host cannot be removed alone.
func removable(site inventory.Site, gone []inventory.Host, name string) error {
	if len(gone) > 0 || slices.ContainsFunc(site.Hosts, func(h *inventory.Host) bool { return h.Name == name }) {
		return nil
	}
	return fmt.Errorf("--host %s: neither the inventory nor lvsfleet's memory of the site has such a host", name)
}

// departed gives the memory of the site's hosts, and those that have left the
// inventory.
func (g *globals) departed(path string, site *inventory.Site) (state.Hosts, []inventory.Host, error) {
	dir, err := g.stateDir(path)
	if err != nil {
		return state.Hosts{}, nil, err
	}
	hosts := state.OpenHosts(dir)
	remembered, err := hosts.Read()
	return hosts, state.Departed(remembered, site), err
}

func pointers(list []inventory.Host) []*inventory.Host {
	out := make([]*inventory.Host, len(list))
	for i := range list {
		out[i] = &list[i]
	}
	return out
}

// directing lists those of the host's roles in which it is a director.
func directing(site *inventory.Site, h *inventory.Host) []string {
	return slices.DeleteFunc(slices.Clone(h.Roles), func(role string) bool {
		return !slices.ContainsFunc(site.Services, func(s *inventory.VirtualService) bool { return s.Director == role })
	})
}

// jsonDeparted tells programs of a host that has left the inventory.
type jsonDeparted struct {
	Host     string   `json:"host"`
	Departed bool     `json:"departed"`
	Notes    []string `json:"notes"`
}

// tellDeparted reports the hosts that have left the inventory and were not
// cleaned.
func (g *globals) tellDeparted(path string, site *inventory.Site) error {
	_, gone, err := g.departed(path, site)
	if err != nil {
		return err
	}
	paint := painter(g.color(g.out))
	for _, h := range gone {
		note := fmt.Sprintf("it has left the inventory, and what lvsfleet made there is still in force: clean it (lvsfleet remove %s --host %s), or give it up (--forget %s)", path, h.Name, h.Name)
		if g.json {
			g.emit(jsonDeparted{Host: h.Name, Departed: true, Notes: []string{note}})
			continue
		}
		fmt.Fprintf(g.out, "%s\n    %s %s\n", h.Name, paint.yellow("note"), note)
	}
	return nil
}

// keepHosts remembers the hosts that a run has reached, so that they can be
// cleaned when their blocks are gone.
func (g *globals) keepHosts(path string, site *inventory.Site, out fleet.Outcome) error {
	dir, err := g.stateDir(path)
	if err != nil {
		return err
	}
	named := make(map[string]*inventory.Host, len(site.Hosts))
	for _, h := range site.Hosts {
		named[h.Name] = h
	}
	var list []inventory.Host
	for _, r := range out.Results {
		if h := named[r.Host]; h != nil && r.Status != fleet.Skipped {
			one := *h
			one.Roles = directing(site, h)
			list = append(list, one)
		}
	}
	hosts := state.OpenHosts(dir)
	remembered, err := hosts.Read()
	if err != nil {
		return err
	}
	// A machine that has got another name is one host.
	var renamed []string
	for name, old := range remembered {
		if named[name] == nil && slices.ContainsFunc(list, func(h inventory.Host) bool { return state.SameMachine(old, h) }) {
			renamed = append(renamed, name)
		}
	}
	if err := hosts.Forget(renamed...); err != nil {
		return err
	}
	return hosts.Remember(list)
}

func runForget(g *globals, path, name string) error {
	loaded, err := g.load(path, false)
	if err != nil {
		return err
	}
	hosts, gone, err := g.departed(path, loaded.Site)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(gone, func(h inventory.Host) bool { return h.Name == name }) {
		return fmt.Errorf("--forget %s: it is no host that has left the inventory", name)
	}
	return hosts.Forget(name)
}
