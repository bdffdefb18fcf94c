package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/drift/history"
	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/fleet"
	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/state"
	"github.com/lvsfleet/lvsfleet/inventory/hclfile"
)

type historyFlags struct {
	site  string
	host  string
	since string
	diff  bool
}

func newHistory(g *globals) *cobra.Command {
	var flags historyFlags
	cmd := &cobra.Command{
		Use:   "history [HOST]",
		Short: "List the runs that changed something",
		Long: `Lists the runs of a site that began to change something, the newest first: when,
who, which inventory (its hash), how many steps, and how it ended. With HOST,
only those that were about that host. Nothing is contacted.
` + exitHelp + `  0  the list, which may be empty; standard error says so
  1  an error`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := flags.name(args); err != nil {
				return err
			}
			return runHistory(g, flags, time.Now())
		},
	}
	show := &cobra.Command{
		Use:   "show ID",
		Short: "Show what one run did: its diffs and operations",
		Long: `Prints, for each host of a run, what did not hold before it, and the operations
that were to make it hold.
` + exitHelp + `  0  the run
  1  there is no such run`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return runHistoryShow(g, flags, args[0]) },
	}
	drifts := &cobra.Command{
		Use:   "drift [HOST]",
		Short: "List what has drifted",
		Long: `Lists the differences that "lvsfleet drift" has found, the latest first: when each
was first and last seen, what it was, and how it went away. With --diff, what
differed. Nothing is contacted.
` + exitHelp + `  0  the list, which may be empty; standard error says so
  1  an error`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := flags.name(args); err != nil {
				return err
			}
			return runHistoryDrift(cmd.Context(), g, flags, time.Now())
		},
	}
	f := cmd.PersistentFlags()
	f.StringVar(&flags.site, "site", "site.hcl", "the history of `SITE`, a file or a folder, which need not be there any more")
	for _, c := range []*cobra.Command{cmd, drifts} {
		c.Flags().StringVar(&flags.host, "host", "", "only what is about `HOST`")
		c.Flags().StringVar(&flags.since, "since", "", "only the last `TIME`: 90m, 36h, 7d")
	}
	drifts.Flags().BoolVar(&flags.diff, "diff", false, "also print what differed")
	cmd.AddCommand(show, drifts)
	return cmd
}

// stateDir is where what is remembered of a site lies.
func (g *globals) stateDir(path string) (string, error) {
	switch {
	case g.state != "":
		return g.state, nil
	case g.lab != "":
		return filepath.Join(g.lab, "state"), nil
	}
	return state.Dir(hclfile.SiteName(path), os.Getenv)
}

// age reads a length of time, with d for days beside Go's units.
func age(s string) (time.Duration, error) {
	if n, ok := strings.CutSuffix(s, "d"); ok {
		days, err := strconv.ParseUint(n, 10, 16)
		if err != nil {
			return 0, fmt.Errorf("--since %s: write 90m, 36h or 7d", s)
		}
		return time.Duration(days) * 24 * time.Hour, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("--since %s: write 90m, 36h or 7d", s)
	}
	return d, nil
}

// name takes the HOST argument, checking the name of the host that is asked for:
// a site given in its place would have an empty history.
func (f *historyFlags) name(args []string) error {
	if len(args) > 0 {
		if f.host != "" && f.host != args[0] {
			return fmt.Errorf("HOST is %q and --host %q: name one host", args[0], f.host)
		}
		f.host = args[0]
	}
	if strings.ContainsRune(f.host, '/') || strings.HasSuffix(f.host, ".hcl") {
		return fmt.Errorf("%q names no host: a site is named by --site", f.host)
	}
	return nil
}

func runHistory(g *globals, flags historyFlags, now time.Time) error {
	dir, err := g.stateDir(flags.site)
	if err != nil {
		return err
	}
	since, err := flags.from(now)
	if err != nil {
		return err
	}
	runs, readErr := state.OpenHistory(dir).Runs(since)
	t := tabwriter.NewWriter(g.out, 0, 0, 2, ' ', 0)
	listed := 0
	for _, r := range runs {
		hosts, changes, result := len(r.Hosts), r.Changes(), r.Result
		switch {
		case r.Of != "":
			result += ", took back " + r.Of
		case r.Verb == state.Remove:
			result += ", took lvsfleet off"
		}
		if flags.host != "" {
			h, ok := r.On(flags.host)
			if !ok {
				continue
			}
			hosts, changes, result = 1, h.Changes, h.Status
		}
		listed++
		if g.json {
			r.Hosts = nil
			g.emit(r)
			continue
		}
		if listed == 1 {
			fmt.Fprintln(t, "RUN\tTIME\tWHO\tINVENTORY\tHOSTS\tSTEPS\tRESULT")
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%.12s\t%d\t%d\t%s\n", r.ID, r.Time.Local().Format(time.DateTime), inline(r.Who), r.Inventory, hosts, changes, result)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("write history: %w", err)
	}
	if listed == 0 && readErr == nil {
		flags.tellNothing(g, "run", dir)
	}
	return readErr
}

// tellNothing says on standard error that a list is empty, and where what would
// be in it was looked for: a name that was mistyped has an empty one too.
func (f historyFlags) tellNothing(g *globals, what, dir string) {
	of := f.site
	if f.host != "" {
		of = f.host + " of " + f.site
	}
	since := ""
	if f.since != "" {
		since = " from the last " + f.since
	}
	fmt.Fprintf(g.err, "lvsfleet: no %s of %s is remembered%s in %s\n", what, of, since, dir)
}

// from is the time that --since says; zero where it says none.
func (f historyFlags) from(now time.Time) (time.Time, error) {
	if f.since == "" {
		return time.Time{}, nil
	}
	d, err := age(f.since)
	if err != nil {
		return time.Time{}, err
	}
	return now.Add(-d), nil
}

func runHistoryDrift(ctx context.Context, g *globals, flags historyFlags, now time.Time) error {
	dir, err := g.stateDir(flags.site)
	if err != nil {
		return err
	}
	since, err := flags.from(now)
	if err != nil {
		return err
	}
	list, err := history.Read(ctx, filepath.Join(dir, history.File), history.Filter{Host: flags.host, Since: since})
	if err != nil {
		return err
	}
	if len(list) == 0 {
		flags.tellNothing(g, "drift", dir)
	}
	if g.json {
		for _, d := range list {
			g.emit(d)
		}
		return nil
	}
	p := newPrinter(g, false)
	t := tabwriter.NewWriter(g.out, 0, 0, 2, ' ', 0)
	for i, d := range list {
		if i == 0 && !flags.diff {
			fmt.Fprintln(t, "FIRST SEEN\tLAST SEEN\tHOST\tCLASS\tSTEP\tEND")
		}
		end := "is there"
		if !d.Gone.IsZero() {
			end = endText(d.End) + ", after " + roundedAge(d.Gone.Sub(d.First))
		}
		line := fmt.Sprintf("%s\t%s\t%s\t%s\t%s\t%s", d.First.Local().Format(time.DateTime), d.Last.Local().Format(time.DateTime),
			d.Host, d.Class, inline(cmp.Or(d.Step, "-")), end)
		if !flags.diff {
			fmt.Fprintln(t, line)
			continue
		}
		fmt.Fprintln(g.out, strings.ReplaceAll(line, "\t", "  "))
		p.diff(g.out, d.Diff)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("write history: %w", err)
	}
	return nil
}

func runHistoryShow(g *globals, flags historyFlags, id string) error {
	dir, err := g.stateDir(flags.site)
	if err != nil {
		return err
	}
	r, err := state.OpenHistory(dir).Run(id)
	if err != nil {
		return err
	}
	if g.json {
		g.emit(r)
		return nil
	}
	p := newPrinter(g, true)
	verb := r.Verb
	if r.Of != "" {
		verb += " of run " + r.Of
	}
	fmt.Fprintf(g.out, "%s of %s at %s by %s, inventory %.12s: %s\n\n", verb, r.Site, r.Time.Local().Format(time.DateTime), inline(r.Who), r.Inventory, r.Result)
	for _, h := range r.Hosts {
		f := fleet.Finding{Host: h.Host, Report: agent.Report{Items: h.Items}}
		if h.Error != "" {
			f.Err = fmt.Errorf("%s: %s", h.Status, h.Error)
		}
		p.finding(g.out, f)
	}
	return nil
}

// remember writes a run that has begun to change something into the history.
// What cannot be written is said, and fails nothing: the hosts are as they are.
func (g *globals) remember(r state.Run, f *fleet.Fleet, out fleet.Outcome, runErr error) {
	if !out.Begun && (r.Of == "" || runErr != nil) {
		return // that nothing is left to take back is worth knowing
	}
	r.ID, r.Who = f.Run, f.Who
	result := state.Done
	switch err := errors.Join(runErr, outcomeError(out)); {
	case errors.Is(err, errIncomplete):
		result = "incomplete"
	case err != nil, r.Of != "" && slices.ContainsFunc(out.Results, func(h fleet.Result) bool { return h.Status == fleet.Skipped }):
		result = "failed in part"
	}
	r.Result, r.Ended = result, time.Now().UTC()
	if err := g.record(r, out); err != nil {
		fmt.Fprintf(g.err, "lvsfleet: %s\n", hanging(err.Error(), 2))
	}
}

// canRemember makes sure of the state folder before anything is changed: a run
// that is not remembered cannot be taken back.
func (g *globals) canRemember(site string) error {
	dir, err := g.stateDir(site)
	if err != nil {
		return err
	}
	if err := state.OpenHistory(dir).Ready(); err != nil {
		return fmt.Errorf("%w (--state says where else)", err)
	}
	return nil
}

// rememberBegun writes a run that is about to change something into the
// history: if it is cut off, it can be found there and taken back.
func (g *globals) rememberBegun(r state.Run, f *fleet.Fleet, found []fleet.Finding) error {
	r.ID, r.Who, r.Result = f.Run, f.Who, state.Unfinished
	for _, h := range found {
		if h.Err == nil && h.Differs() {
			r.Hosts = append(r.Hosts, state.HostRun{Host: h.Host, Status: state.Unfinished, Committed: true, Items: differing(h.Report)})
		}
	}
	if len(r.Hosts) == 0 {
		return nil
	}
	return g.add(r)
}

func (g *globals) record(r state.Run, out fleet.Outcome) error {
	for _, res := range out.Results {
		if res.Status == fleet.Unchanged {
			continue
		}
		h := state.HostRun{Host: res.Host, Status: string(res.Status), Changes: res.Changes, Committed: res.Committed}
		if res.Err != nil {
			h.Error = res.Err.Error()
		}
		h.Items = differing(res.Report)
		r.Hosts = append(r.Hosts, h)
	}
	if len(r.Hosts) == 0 && r.Of == "" {
		return nil // a removal of what was not there
	}
	return g.add(r)
}

func (g *globals) add(r state.Run) error {
	dir, err := g.stateDir(r.Site)
	if err != nil {
		return err
	}
	return state.OpenHistory(dir).Add(r)
}

// differing are the steps that do not hold, as they are recorded.
func differing(r agent.Report) []agent.Item {
	items := slices.DeleteFunc(slices.Clone(r.Items), func(i agent.Item) bool { return i.Change.Holds() })
	for i := range items {
		items[i].Change = items[i].Change.Recorded()
	}
	return items
}
