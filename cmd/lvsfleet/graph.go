package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/picture"
)

// The formats of graph.
var graphFormats = []string{"svg", "dot", "mermaid"}

func newGraph(g *globals) *cobra.Command {
	format := "svg"
	cmd := &cobra.Command{
		Use:   "graph [SITE]",
		Short: "Draw the site: who forwards what to whom, and how",
		Long: `Draws the site as the inventory says it, on standard output: clients, directors,
virtual services, and real servers by operating system, with the forwarding method
on the lines between them. Nothing is contacted.
` + exitHelp + `  0  it is drawn
  1  an error`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return runGraph(g, sitePath(args), format) },
	}
	cmd.Flags().StringVar(&format, "format", format, "`svg`, dot or mermaid")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(graphFormats, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
	return cmd
}

func runGraph(g *globals, path, format string) error {
	if !slices.Contains(graphFormats, format) {
		return fmt.Errorf("--format %q: it is one of %s", format, strings.Join(graphFormats, ", "))
	}
	loaded, err := g.load(path, false)
	if err != nil {
		return err
	}
	p := picture.New(loaded.Site)
	var out []byte
	switch format {
	case "dot":
		out = []byte(p.DOT())
	case "mermaid":
		out = []byte(p.Mermaid())
	default:
		if out, err = p.SVG(picture.Options{}); err != nil {
			return err
		}
	}
	if _, err := g.out.Write(out); err != nil {
		return fmt.Errorf("write the picture: %w", err)
	}
	return nil
}
