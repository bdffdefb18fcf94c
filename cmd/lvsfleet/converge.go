package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/fleet"
	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/state"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/note"
)

// runFlags are those of every command that changes hosts.
type runFlags struct {
	yes             bool
	skipUnreachable bool
	allowOutage     bool
}

func (r *runFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&r.yes, "yes", false, "do not ask")
	f.BoolVar(&r.skipUnreachable, "skip-unreachable", false, "leave out hosts that cannot be reached or refuse")
	f.BoolVar(&r.allowOutage, "allow-outage", false, "agree to services that nobody serves while their only real server changes")
}

type convergeFlags struct {
	runFlags
	strict bool
}

func newConverge(g *globals) *cobra.Command {
	var flags convergeFlags
	cmd := &cobra.Command{
		Use:   "converge [SITE]",
		Short: "Make the fleet what the inventory says",
		Long: `Contacts every host first; where one cannot be reached or refuses, nothing is
changed anywhere. On a terminal it shows what would change and asks. Then the
directors are prepared, the real servers changed, and the directors pointed at
them; each host is verified, and rolled back by itself where it fails. Real
servers whose clients would notice are drained first, a batch at a time (the
inventory's rollout block), and no service is left without a real server unless
--allow-outage agrees to it.
` + exitHelp + `  0  the fleet is as the inventory says, changed or not
  1  an error, or declined: nothing was changed
  3  a host failed and was rolled back, or Ctrl-C ended the run; what had begun
     was finished
  4  a host failed, and its rollback is not complete`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runConverge(cmd.Context(), g, sitePath(args), flags)
		},
	}
	flags.add(cmd)
	cmd.Flags().BoolVar(&flags.strict, "strict", false, "warnings of the inventory are errors")
	return cmd
}

func runConverge(ctx context.Context, g *globals, path string, flags convergeFlags) error {
	loaded, err := g.load(path, flags.strict)
	if err != nil {
		return err
	}
	rec := state.Run{Verb: "converge", Site: path, Inventory: loaded.Hash}
	out, err := g.carryOut(ctx, loaded.Site, rec, flags.runFlags, "Change", func(ctx context.Context, f *fleet.Fleet, approve approval) (fleet.Outcome, error) {
		_, gone, err := g.departed(path, loaded.Site)
		if err != nil {
			return fleet.Outcome{}, err
		}
		f.Departed = pointers(gone)
		return f.Converge(ctx, approve)
	})
	if err != nil && len(out.Results) == 0 {
		return err
	}
	if terr := g.tellDeparted(path, loaded.Site); terr != nil {
		fmt.Fprintf(g.err, "lvsfleet: %s\n", hanging(terr.Error(), 2))
	}
	if err == nil {
		if kerr := g.keepHosts(path, loaded.Site, out); kerr != nil {
			fmt.Fprintf(g.err, "lvsfleet: %s\n", hanging(kerr.Error(), 2))
		}
	}
	return runError(out, err)
}

// approval is fleet's.
type approval = func(found []fleet.Finding) (asked bool, err error)

// carryOut has the fleet of the site do what changes hosts: with progress, and
// on a terminal a question before anything has changed. The outcome is told, and
// remembered as rec, unless no host was asked.
func (g *globals) carryOut(ctx context.Context, site *inventory.Site, rec state.Run, flags runFlags, question string,
	do func(context.Context, *fleet.Fleet, approval) (fleet.Outcome, error)) (fleet.Outcome, error) {
	if g.json && !flags.yes && isTerminal(g.in) {
		return fleet.Outcome{}, errors.New("with --json nobody is asked: add --yes to go ahead (lvsfleet diff --json shows what would change)")
	}
	if err := g.canRemember(rec.Site); err != nil {
		return fleet.Outcome{}, err
	}
	if !signal.Ignored(syscall.SIGHUP) { // as it is by nohup(1)
		var stop context.CancelFunc
		ctx, stop = signal.NotifyContext(ctx, syscall.SIGHUP) // a line or a window that closes is as good as Ctrl-C
		defer stop()
	}
	p := newProgress(g, len(site.Hosts))
	f, err := g.fleet(ctx, rec.Site, site, p.observe)
	if err != nil {
		return fleet.Outcome{}, err
	}
	f.SkipUnreachable, f.AllowOutage = flags.skipUnreachable, flags.allowOutage
	p.start()
	rec.Time = time.Now().UTC()
	f.Begun = func(found []fleet.Finding) error { return g.rememberBegun(rec, f, found) }
	out, err := do(ctx, f, func(found []fleet.Finding) (bool, error) {
		p.stop()
		defer p.start()
		return approve(ctx, g, found, flags.yes, question)
	})
	p.stop()
	if err == nil || len(out.Results) > 0 {
		g.remember(rec, f, out, err) // first: where it is told, nobody may read on
		printOutcome(g, out, err)
	}
	return out, err
}

// approve shows what will be changed, and asks where somebody is there to
// answer.
func approve(ctx context.Context, g *globals, found []fleet.Finding, yes bool, what string) (asked bool, err error) {
	if yes || !isTerminal(g.in) || !slices.ContainsFunc(found, fleet.Finding.Differs) {
		return false, nil
	}
	pr := newPrinter(g, false)
	pr.findings(found)
	asks := g.asks()
	fmt.Fprintf(asks, "%s? [y/N] ", question(what, found))
	yes, err = answer(ctx, g.in, asks)
	switch {
	case err != nil:
		return false, err
	case yes:
		return true, nil
	}
	return true, fleet.ErrDeclined
}

// asks is where questions are put: a terminal, where there is one.
func (g *globals) asks() io.Writer {
	if !isTerminal(g.err) && isTerminal(g.out) {
		return g.out
	}
	return g.err
}

// question says what the person is to agree to, and on how many hosts.
func question(what string, found []fleet.Finding) string {
	hosts, directors := 0, 0
	for _, f := range found {
		switch {
		case !f.Differs():
		case f.OnlyEntries:
			directors++
		default:
			hosts++
		}
	}
	whose := "their"
	if hosts == 1 {
		whose = "its"
	}
	switch {
	case directors == 0:
		return what + " " + count(hosts, "host")
	case hosts == 0:
		return "Drain and delete entries on " + count(directors, "director")
	}
	return fmt.Sprintf("%s %s, and drain and delete %s entries on %s", what, count(hosts, "host"), whose, count(directors, "director"))
}

// answer reads a line that agrees or not. An end of the input, and of the
// program, is no agreement; it leaves the question's line.
func answer(ctx context.Context, in io.Reader, asks io.Writer) (yes bool, err error) {
	text, err := typed(ctx, func() (string, error) { return bufio.NewReader(in).ReadString('\n') })
	switch {
	case err == nil:
		text = strings.ToLower(strings.TrimSpace(text))
		return text == "y" || text == "yes", nil
	case errors.Is(err, io.EOF), errors.Is(err, ctx.Err()):
		fmt.Fprintln(asks)
		return false, nil
	}
	fmt.Fprintln(asks)
	return false, fmt.Errorf("read the answer: %w", err)
}

// typed waits for what read reads from a person, or for the end of ctx, whose
// error it gives then.
func typed[T any](ctx context.Context, read func() (T, error)) (T, error) {
	type line struct {
		text T
		err  error
	}
	got := make(chan line, 1)
	go func() { // ends with the program where nobody types any more
		text, err := read()
		got <- line{text, err}
	}()
	select {
	case l := <-got:
		return l.text, l.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// runError is how a run ends for the exit status; what printOutcome has told of
// is not told again.
func runError(out fleet.Outcome, err error) error {
	switch {
	case err == nil:
		return outcomeError(out)
	case len(out.Results) == 0:
		return err // no host was asked
	case errors.Is(err, fleet.ErrPreflight), errors.Is(err, fleet.ErrDeclined):
		return errReported
	}
	return err
}

// jsonResult is what became of one host, for programs.
type jsonResult struct {
	Run     string       `json:"run"`
	Host    string       `json:"host"`
	Status  fleet.Status `json:"status"`
	Changes int          `json:"changes"`
	// Stage is the one that the host was in last, Cut the connections of a
	// real server that outlived their drain.
	Stage inventory.Stage `json:"stage,omitempty"`
	Cut   int             `json:"cut,omitempty"`
	// Kept: a removal was interrupted before lvsfleet's own files went.
	Kept  bool   `json:"kept,omitempty"`
	Error string `json:"error,omitempty"`
}

func printOutcome(g *globals, out fleet.Outcome, runErr error) {
	if g.json {
		for _, r := range out.Results {
			j := jsonResult{Run: out.Run, Host: r.Host, Status: r.Status, Changes: r.Changes, Stage: r.Stage, Cut: r.Cut, Kept: r.Kept}
			if r.Err != nil {
				j.Error = r.Err.Error()
			}
			g.emit(j)
		}
		return
	}
	paint := painter(g.color(g.out))
	longest := 0
	for _, r := range out.Results {
		longest = max(longest, len(r.Host))
	}
	counts := map[fleet.Status]int{}
	for _, r := range out.Results {
		counts[r.Status]++
		line := fmt.Sprintf("%-*s  %s", longest, r.Host, r.Status)
		switch r.Status {
		case fleet.Changed:
			if line = paint.green(line); r.Changes > 0 {
				line += "  " + count(r.Changes, "step")
			}
		case fleet.Failed, fleet.Partly, fleet.Incomplete, fleet.Unproved:
			line = paint.red(line)
		case fleet.Held, fleet.Skipped, fleet.Undone:
			line = paint.yellow(line)
		}
		fmt.Fprintln(g.out, line)
		if r.Cut > 0 {
			fmt.Fprintf(g.out, "    %s %s had not ended when the drain's time was over\n", paint.yellow("note"), count(r.Cut, "connection"))
		}
		if r.Kept {
			fmt.Fprintf(g.out, "    %s lvsfleet's own files are still there\n", paint.yellow("note"))
		}
		for _, n := range note.Texts(r.Report.Notes) {
			fmt.Fprintf(g.out, "    %s %s\n", paint.yellow("note"), hanging(n, 9))
		}
		if r.Err != nil {
			text := r.Err.Error()
			if r.Stage != "" {
				text = string(r.Stage) + ": " + text
			}
			fmt.Fprintf(g.out, "    %s %s\n", paint.red("error"), hanging(text, 10))
		}
	}
	var parts []string
	for _, s := range []fleet.Status{fleet.Changed, fleet.Unchanged, fleet.NotBegun, fleet.Held, fleet.Skipped, fleet.Undone, fleet.Partly, fleet.Unproved, fleet.Failed, fleet.Incomplete} {
		if counts[s] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", counts[s], s))
		}
	}
	summary := count(len(out.Results), "host")
	if len(parts) > 0 {
		summary += ": " + strings.Join(parts, ", ")
	}
	switch {
	case errors.Is(runErr, fleet.ErrDeclined):
		summary += "; declined, nothing was changed"
	case errors.Is(runErr, fleet.ErrPreflight):
		summary += "; nothing was changed"
	case out.Interrupted:
		summary += "; interrupted: the next run goes on from here"
	}
	fmt.Fprintln(g.out, summary)
}

// outcomeError maps the worst that became of a host to converge's exit.
func outcomeError(out fleet.Outcome) error {
	var err error
	if out.Interrupted {
		err = errReported
	}
	skipped := 0
	for _, r := range out.Results {
		if out.Interrupted && r.Status == fleet.Changed {
			err = errRolledBack
		}
		if r.Status == fleet.Skipped {
			skipped++
		}
	}
	if skipped > 0 && skipped == len(out.Results) {
		err = errReported // nobody was left to be made so
	}
	for _, r := range out.Results {
		switch r.Status {
		case fleet.Incomplete:
			return errIncomplete
		case fleet.Failed, fleet.Partly, fleet.Unproved:
			err = errRolledBack
		}
	}
	return err
}
