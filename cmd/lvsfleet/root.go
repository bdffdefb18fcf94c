package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"
)

// globals are the flags that every command has.
type globals struct {
	streams
	limit    []string
	parallel int
	json     bool
	noColor  bool
	lab      string
	state    string
	vars     []string
	varFiles []string

	ctx      context.Context // of the command: a signal ends it
	progress *progress       // what is drawn on the terminal now; nil: nothing
}

func newRoot(s streams) *cobra.Command {
	g := &globals{streams: s}
	root := &cobra.Command{
		Use:   "lvsfleet",
		Short: "Make a fleet of Linux Virtual Server hosts what one inventory says",
		Long: `lvsfleet reads one inventory and makes a whole fleet so: the director's IPVS
rules on Linux, and real servers on Linux, FreeBSD and Solaris, in NAT, DR and
TUN. SITE is a file or a folder; left out, it is ./site.hcl.`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	f := root.PersistentFlags()
	f.StringSliceVar(&g.limit, "limit", nil, "only these `hosts` (names, comma-separated or repeated)")
	f.IntVar(&g.parallel, "parallel", 32, "hosts at a time")
	f.BoolVar(&g.json, "json", false, "one JSON object a line")
	f.BoolVar(&g.noColor, "no-color", false, "no colours (also: NO_COLOR in the environment)")
	f.StringVar(&g.lab, "lab", os.Getenv("LVSFLEET_LAB"), "go to the simulated fleet of `DIR` instead of the real hosts (also: LVSFLEET_LAB)")
	f.StringVar(&g.state, "state", "", "what lvsfleet remembers lies in `DIR` (default $XDG_STATE_HOME/lvsfleet/SITE)")
	f.StringArrayVar(&g.vars, "var", nil, "set a variable: `NAME=VALUE`")
	f.StringArrayVar(&g.varFiles, "var-file", nil, "read variables from `FILE`")
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		g.ctx = cmd.Context()
		return g.check(cmd)
	}
	root.AddCommand(
		newValidate(g), newRender(g), newDiff(g), newPlan(g), newConverge(g), newRollback(g), newRemove(g), newVerify(g), newDrift(g), newHistory(g), newGraph(g),
		newImport(g), newHostKeys(g), newFmt(g), newLab(g), newDebug(g), newVersion(g),
	)
	for _, c := range root.Commands() {
		c.SuggestFor = otherNames()[c.Name()]
	}
	refuseUnknown(root)
	return root
}

// otherNames are verbs by which other tools do what ours does.
func otherNames() map[string][]string {
	return map[string][]string{
		"converge": {"apply", "deploy", "sync", "run", "push", "up"},
		"diff":     {"check", "plan", "status", "preview", "dry-run", "test"},
		"validate": {"lint", "syntax-check", "configtest"},
		"remove":   {"destroy", "delete", "down", "purge", "uninstall"},
		"rollback": {"undo", "revert", "restore"},
		"history":  {"log", "logs", "runs"},
		"drift":    {"watch", "monitor", "daemon", "serve"},
		"hostkeys": {"known-hosts", "keyscan", "ssh-keyscan"},
		"lab":      {"simulate", "sandbox", "playground"},
		"graph":    {"draw", "picture", "show"},
		"fmt":      {"format"},
	}
}

// refuseUnknown has the commands that cobra adds, help and completion, end with
// an error where they are asked about what there is not.
func refuseUnknown(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		switch c.Name() {
		case "help":
			c.Args = func(_ *cobra.Command, args []string) error {
				if _, rest, err := root.Find(args); err != nil || len(rest) > 0 {
					return fmt.Errorf("unknown help topic %q", strings.Join(args, " "))
				}
				return nil
			}
		case "completion":
			// One that does nothing has its arguments not looked at.
			c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
		}
	}
}

// check refuses values that no command could mean. An empty one is most likely
// an empty variable of a script: an empty --limit or --host is by no means every
// host, and an empty --lab not the real ones.
func (g *globals) check(cmd *cobra.Command) error {
	if g.parallel < 1 {
		return fmt.Errorf("--parallel %d: it must be 1 or more", g.parallel)
	}
	if cmd.Flags().Changed("limit") && len(g.limit) == 0 || slices.Contains(g.limit, "") {
		return errors.New("--limit names no host: leave it out for all of them")
	}
	var err error
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if f.Value.Type() == "string" && f.Value.String() == "" {
			err = fmt.Errorf("--%s is empty: give it a value, or leave it out", f.Name)
		}
	})
	return err
}

// longVars lets -var and -var-file be written with one dash, as users of other
// HCL tools do; pflag would take them for a bundle of short flags.
func longVars(args []string) []string {
	out := make([]string, len(args))
	for i, a := range args {
		name, _, _ := strings.Cut(a, "=")
		if name == "-var" || name == "-var-file" {
			a = "-" + a
		}
		out[i] = a
		if a == "--" {
			copy(out[i:], args[i:])
			break
		}
	}
	return out
}

// sitePath gives the SITE argument, or its default.
func sitePath(args []string) string {
	if len(args) > 0 {
		return args[0]
	}
	return "site.hcl"
}

// color says whether output to w may be coloured.
func (g *globals) color(w any) bool {
	if g.noColor || os.Getenv("NO_COLOR") != "" {
		return false
	}
	return isTerminal(w)
}

func isTerminal(w any) bool {
	f, ok := w.(interface{ Fd() uintptr })
	return ok && term.IsTerminal(int(f.Fd()))
}

// size is that of the terminal w, 0 where it is none or, as a serial line, does
// not know.
func size(w any) (columns, rows int) {
	if f, ok := w.(interface{ Fd() uintptr }); ok {
		if c, r, err := term.GetSize(int(f.Fd())); err == nil {
			return c, r
		}
	}
	return 0, 0
}

func width(w any) int {
	columns, _ := size(w)
	return columns
}
