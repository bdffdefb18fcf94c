package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/lvsfleet/lvsfleet/agent/lab"
	"github.com/lvsfleet/lvsfleet/providers/host"
)

// labClock is the machines' clock; nil: the real one. Tests let it hurry.
var labClock host.Clock

func newLab(g *globals) *cobra.Command {
	var dir, base string
	cmd := &cobra.Command{
		Use:   "lab [SITE] --dir DIR",
		Short: "Simulate the site's hosts on loopback, to try everything on",
		Long: `Starts one SSH server on loopback for each host of the site, with a simulated
machine behind it, as freshly installed or, with --base BASE, as it boots from
BASE/HOST/etc. Every other command goes there with --lab DIR; so does a stock
OpenSSH client: "ssh -F DIR/ssh_config HOST ifconfig -a". It stays in the
foreground until a signal ends it. A DIR in which a lab runs already is refused.
` + exitHelp + `  0  ended by a signal
  1  it could not start`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runLab(cmd.Context(), g, sitePath(args), dir, base)
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "keys, known hosts and ssh_config go to `DIR`")
	cmd.Flags().StringVar(&base, "base", "", "hosts boot from `BASE`/HOST/etc")
	_ = cmd.MarkFlagRequired("dir") // the flag is there
	return cmd
}

func runLab(ctx context.Context, g *globals, path, dir, base string) error {
	loaded, err := g.load(path, false)
	if err != nil {
		return err
	}
	bases, err := readBase(base)
	if err != nil {
		return err
	}
	l, err := lab.Start(ctx, loaded.Site, lab.Options{Dir: dir, Base: bases, Clock: labClock})
	if err != nil {
		return fmt.Errorf("start the lab: %w", err)
	}
	defer l.Close()
	if !g.json {
		fmt.Fprintf(g.err, "%s simulated in %s. Try:\n  lvsfleet converge %s --lab %s\n  ssh -F %s %s\nStop with Ctrl-C.\n",
			count(len(loaded.Site.Hosts), "host"), dir, path, dir,
			filepath.Join(dir, "ssh_config"), loaded.Site.Hosts[0].Name)
	}
	<-ctx.Done()
	if !errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	return nil
}
