package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newValidate(g *globals) *cobra.Command {
	var strict bool
	cmd := &cobra.Command{
		Use:   "validate [SITE]",
		Short: "Check an inventory, without contacting anything",
		Long: `Reads the inventory, checks every rule and lint, and reports all mistakes at
once, each with its file, line and a hint. Nothing is contacted.
` + exitHelp + `  0  the inventory is valid; there may be warnings
  1  it is not`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return runValidate(g, sitePath(args), strict) },
	}
	cmd.Flags().BoolVar(&strict, "strict", false, "warnings are errors")
	return cmd
}

func runValidate(g *globals, path string, strict bool) error {
	r := g.read(path, strict)
	if g.json {
		g.writeDiagnostics(r)
	} else if err := r.Write(g.out, width(g.out), g.color(g.out)); err != nil {
		return fmt.Errorf("show diagnostics: %w", err)
	}
	if r.Failed() {
		return errReported
	}
	if !g.json {
		fmt.Fprintf(g.out, "%s: valid: %s, %s\n", path,
			count(len(r.Site.Hosts), "host"), count(len(r.Site.Services), "virtual service"))
	}
	return nil
}

// count is n with its noun: "1 host", "2 hosts".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
