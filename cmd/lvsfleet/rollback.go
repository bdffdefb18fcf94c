package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/fleet"
	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/state"
)

type rollbackFlags struct {
	runFlags
	run string
}

func newRollback(g *globals) *cobra.Command {
	var flags rollbackFlags
	cmd := &cobra.Command{
		Use:   "rollback [SITE]",
		Short: "Take the last run back",
		Long: `Takes back what the site's last run changed, or that of --run, on exactly the
hosts that it changed, with the care of a converge: every host is looked at
first, on a terminal it is shown and asked about, real servers whose clients
would notice are drained, and each host is a transaction of its own.

A host is taken back whole or refused: where a file is neither as the run made
it nor as before, and where a later run has changed the host. What others have
set since in live state is left, and noted.
` + exitHelp + `  0  the hosts are as before the run
  1  an error, or declined: nothing was changed
  3  a host failed and is as the run had left it, or Ctrl-C ended the rollback
  4  a host failed, and is neither`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runRollback(cmd.Context(), g, sitePath(args), flags)
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&flags.run, "run", "", "take back the run called `ID` (default: the last one that changed something)")
	return cmd
}

func runRollback(ctx context.Context, g *globals, path string, flags rollbackFlags) error {
	if len(g.limit) > 0 {
		return errors.New("rollback takes a run back on every host that it changed: leave --limit out")
	}
	dir, err := g.stateDir(path)
	if err != nil {
		return err
	}
	of, err := state.OpenHistory(dir).ToTakeBack(flags.run)
	if err != nil {
		return fmt.Errorf("rollback: %w", err)
	}
	loaded, err := g.load(path, false)
	if err != nil {
		return err
	}
	// A host may have left the inventory since.
	_, gone, err := g.departed(path, loaded.Site)
	if err != nil {
		return err
	}
	site := *loaded.Site
	site.Hosts = slices.Clone(site.Hosts)
	for i := range gone {
		if slices.Contains(of.Committed(), gone[i].Name) {
			gone[i].Roles = nil // see runRemove
			site.Hosts = append(site.Hosts, &gone[i])
		}
	}
	if !g.json {
		fmt.Fprintf(g.err, "taking back run %s of %s, %s\n", of.ID, of.Time.Local().Format(time.DateTime), inline(of.Who))
	}
	rec := state.Run{Verb: state.Rollback, Of: of.ID, Site: path, Inventory: loaded.Hash}
	out, err := g.carryOut(ctx, &site, rec, flags.runFlags, "Take back what run "+of.ID+" did on",
		func(ctx context.Context, f *fleet.Fleet, approve approval) (fleet.Outcome, error) {
			return f.Rollback(ctx, of.ID, of.Committed(), approve)
		})
	return runError(out, err)
}
