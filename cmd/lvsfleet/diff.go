package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/fleet"
)

func newDiff(g *globals) *cobra.Command {
	var ops, short bool
	cmd := &cobra.Command{
		Use:   "diff [SITE]",
		Short: "Show what differs on the hosts; change nothing",
		Long: `Connects to every host, reads only, and prints what differs from the inventory,
per host and step: "live" is in force now, "boot" holds from the next boot on.
` + exitHelp + `  0  nothing differs
  1  an error, on any host
  2  something differs`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runDiff(cmd.Context(), g, sitePath(args), ops, short)
		},
	}
	cmd.Flags().BoolVar(&ops, "ops", false, "also print the exact operations that converge would run")
	cmd.Flags().BoolVar(&short, "short", false, "one line a step, and hosts that differ alike in one block")
	cmd.MarkFlagsMutuallyExclusive("ops", "short")
	return cmd
}

func runDiff(ctx context.Context, g *globals, path string, ops, short bool) error {
	if short && g.json {
		return errors.New("--short is for people: leave it out with --json")
	}
	loaded, err := g.load(path, false)
	if err != nil {
		return err
	}
	p := newProgress(g, len(loaded.Site.Hosts))
	f, err := g.fleet(ctx, path, loaded.Site, p.observe)
	if err != nil {
		return err
	}
	p.start()
	found, err := f.Survey(ctx)
	p.stop()
	if err != nil {
		return err
	}
	if pr := newPrinter(g, ops); short {
		pr.short(found)
	} else {
		pr.findings(found)
	}
	if err := g.tellDeparted(path, loaded.Site); err != nil {
		return err
	}
	return verdict(found)
}

// verdict maps findings to diff's exit: an error on any host wins.
func verdict(found []fleet.Finding) error {
	var err error
	for _, f := range found {
		if f.Err != nil {
			return errReported
		}
		if f.Differs() {
			err = errDiffers
		}
	}
	return err
}
