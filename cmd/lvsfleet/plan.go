package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/fleet/plan"
)

func newPlan(g *globals) *cobra.Command {
	var skip bool
	cmd := &cobra.Command{
		Use:   "plan [SITE]",
		Short: "Show what converge would do, stage by stage; change nothing",
		Long: `Contacts every host as converge does, reads only, and shows the run before it
happens: which hosts change side by side, which entries are drained for them and how
many connections those have now, what is left out and why, and what nobody would
serve meanwhile. It tells the run in which nothing fails.
` + exitHelp + `  0  there is nothing to do
  1  an error
  2  something is to be done, or an outage would have to be agreed to`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runPlan(cmd.Context(), g, sitePath(args), skip)
		},
	}
	cmd.Flags().BoolVar(&skip, "skip-unreachable", false, "leave out hosts that cannot be reached or refuse")
	return cmd
}

func runPlan(ctx context.Context, g *globals, path string, skip bool) error {
	loaded, err := g.load(path, false)
	if err != nil {
		return err
	}
	_, gone, err := g.departed(path, loaded.Site)
	if err != nil {
		return err
	}
	p := newProgress(g, len(loaded.Site.Hosts))
	f, err := g.fleet(ctx, path, loaded.Site, p.observe)
	if err != nil {
		return err
	}
	f.SkipUnreachable, f.Departed = skip, pointers(gone)
	p.start()
	planned, err := f.Plan(ctx)
	p.stop()
	if err != nil {
		return err
	}
	if g.json {
		g.emit(planned)
	} else {
		fmt.Fprint(g.out, planned)
	}
	return planExit(planned)
}

// planExit is as diff's: 2 where there is something to do.
func planExit(p plan.Plan) error {
	if len(p.Stages) > 0 || len(p.Outages) > 0 || len(p.LeftOut) > 0 {
		return errDiffers
	}
	return nil
}
