package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lvsfleet/lvsfleet/agent/remote"
)

func newVersion(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version, and the agents that this build carries",
		Long: `Prints the version, and for which platforms this build carries an agent; hosts
of the others are managed without one.
` + exitHelp + `  0  always`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return runVersion(g) },
	}
}

func runVersion(g *globals) error {
	carried, lacking := remote.Embedded().Platforms()
	version := "(devel)"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		version = info.Main.Version
	}
	if g.json {
		g.emit(map[string]any{
			"version": version, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH,
			"agents": carried, "agents_lacking": lacking,
		})
		return nil
	}
	fmt.Fprintf(g.out, "lvsfleet %s (%s, %s/%s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	if len(carried) > 0 {
		fmt.Fprintf(g.out, "agents: %s\n", strings.Join(carried, " "))
	}
	if len(lacking) > 0 {
		fmt.Fprintf(g.out, "lacking agents (make dist): %s\n", strings.Join(lacking, " "))
	}
	return nil
}
