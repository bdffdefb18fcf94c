package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/lvsfleet/lvsfleet/agent/remote"
	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/fleet"
	"github.com/lvsfleet/lvsfleet/inventory"
)

// errUnknownKeys is a site with hosts whose keys are not known: 2.
var errUnknownKeys = errors.New("host keys are not known")

func newHostKeys(g *globals) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "hostkeys [SITE]",
		Short: "Show the host keys that known_hosts does not have, and add them",
		Long: `Connects to every host, and to the jump hosts on the way, and shows the fingerprint
of each host key that known_hosts does not have. Compare them with what the hosts
themselves say (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub on each). On a
terminal it then asks once, and adds them to the file of known hosts of each host.
Off a terminal it adds them only with --yes. A key that has changed is never
replaced: that is an error.
` + exitHelp + `  0  every key is known, or was added
  1  an error: a host cannot be reached, or its key has changed
  2  keys are not known, and were not added`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runHostKeys(cmd.Context(), g, sitePath(args), yes)
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "add them without asking: whoever answers at these addresses is believed")
	return cmd
}

func runHostKeys(ctx context.Context, g *globals, path string, yes bool) error {
	loaded, err := g.load(path, false)
	if err != nil {
		return err
	}
	selected, err := fleet.Select(loaded.Site, g.limit)
	if err != nil {
		return err
	}
	d, err := g.dialer(ctx, path, func() *inventory.Site { return loaded.Site })
	if err != nil {
		return err
	}
	defer d.CloseJumps()
	// What leads to a host has to be known before the host can be asked.
	failed := false
	for range maxJumpRounds {
		keys, errs := unknownKeys(ctx, g, d, selected)
		if len(keys) == 0 {
			for _, err := range errs {
				fmt.Fprintf(g.err, "lvsfleet: %s\n", hanging(err.Error(), 2))
			}
			if failed = len(errs) > 0; failed {
				return errReported
			}
			if !g.json {
				fmt.Fprintf(g.out, "%s: every host key is known\n", count(len(selected), "host"))
			}
			return nil
		}
		if err := showKeys(g, keys); err != nil {
			return err
		}
		agreed := yes
		if !yes && isTerminal(g.in) && !g.json {
			asks := g.asks()
			fmt.Fprintf(asks, "Add %s to known hosts? [y/N] ", count(len(keys), "host key"))
			if agreed, err = answer(ctx, g.in, asks); err != nil {
				return err
			}
		}
		if !agreed {
			return errUnknownKeys
		}
		for _, k := range keys {
			if err := d.AddKey(k); err != nil {
				return err
			}
		}
	}
	return errUnknownKeys
}

// maxJumpRounds is how often new keys may show themselves behind those that were
// added.
const maxJumpRounds = 20

// unknownKeys asks all hosts, and gives each key once, in the order of the hosts.
func unknownKeys(ctx context.Context, g *globals, d *dialer, selected []fleet.Selected) (keys []*remote.HostKeyError, errs []error) {
	var mu sync.Mutex
	var group errgroup.Group
	group.SetLimit(max(1, g.parallel))
	for _, s := range selected {
		if s.Host.Connection == "local" && d.lab == nil {
			continue
		}
		group.Go(func() error {
			t, err := d.target(s.Host)
			var key *remote.HostKeyError
			if err == nil {
				key, err = d.UnknownKey(ctx, t)
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err)
			}
			if key != nil && !slices.ContainsFunc(keys, func(o *remote.HostKeyError) bool { return o.Lookup == key.Lookup && o.KnownHosts == key.KnownHosts }) {
				keys = append(keys, key)
			}
			return nil
		})
	}
	_ = group.Wait() // no error is returned to it
	slices.SortFunc(keys, func(a, b *remote.HostKeyError) int { return strings.Compare(a.Host, b.Host) })
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return keys, errs
}

// jsonHostKey is one key, for programs.
type jsonHostKey struct {
	Host        string `json:"host"`
	Address     string `json:"address"`
	Type        string `json:"type"`
	Fingerprint string `json:"fingerprint"`
	KnownHosts  string `json:"known_hosts"`
}

func showKeys(g *globals, keys []*remote.HostKeyError) error {
	if g.json {
		enc := json.NewEncoder(g.out)
		for _, k := range keys {
			if err := enc.Encode(jsonHostKey{k.Host, k.Address, k.Key.Type(), k.Fingerprint, k.KnownHosts}); err != nil {
				return fmt.Errorf("write the result: %w", err)
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(g.out, 0, 0, 2, ' ', 0)
	for _, k := range keys {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", k.Host, k.Address, k.Key.Type(), k.Fingerprint)
	}
	if err := w.Flush(); err != nil && !errors.Is(err, io.ErrClosedPipe) {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}
