package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/drift"
	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/drift/alert"
	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/drift/history"
	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/drift/listen"
	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/drift/metrics"
	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/drift/web"
	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/fleet"
	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/state"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/inventory/hclfile"
	"github.com/lvsfleet/lvsfleet/providers/host"
)

type driftFlags struct {
	once   bool
	every  time.Duration
	cron   string
	repair bool
	listen listen.Options
	unit   string
}

func newDrift(g *globals) *cobra.Command {
	var flags driftFlags
	cmd := &cobra.Command{
		Use:   "drift [SITE]",
		Short: "Keep looking at the fleet: what differs, since when, and how it went away",
		Long: `Looks at every host on a schedule, which --every or --cron gives, else the
inventory's drift block; --once looks once. It prints each difference as it
appears and as it goes away, and stays in the foreground until a signal; SIGHUP
reads the inventory again. Connections stay open between rounds. With --repair
what drifted is converged.
` + exitHelp + `  0  ended by a signal; with --once: nothing differs
  1  an error; with --once: on any host, or a change is under way on one
  2  with --once: something differs`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if flags.unit != "" {
				return printUnit(g, sitePath(args), flags, cmd.Flags())
			}
			return runDrift(cmd.Context(), g, sitePath(args), flags, cmd.Flags().Changed)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&flags.once, "once", false, "look once, print what was found, and end")
	f.DurationVar(&flags.every, "every", 0, "look every `TIME`: 90s, 15m, 1h")
	f.StringVar(&flags.cron, "cron", "", "look when `EXPR` says: five fields, or @hourly and the like")
	f.BoolVar(&flags.repair, "repair", false, "converge what drifted")
	f.StringVar(&flags.listen.Addr, "listen", "", "serve the page and /metrics on `ADDRESS:PORT`; any but a loopback address needs TLS and a token")
	f.StringVar(&flags.listen.Cert, "tls-cert", "", "TLS certificate, a PEM `FILE`")
	f.StringVar(&flags.listen.Key, "tls-key", "", "its key, a PEM `FILE`")
	f.StringVar(&flags.listen.TokenFile, "token-file", "", "ask for the token in `FILE`")
	f.StringVar(&flags.unit, "install-unit", "", "print what keeps such a watcher running, for `KIND` systemd, smf or rcd; with --once and --every a timer of systemd's")
	cmd.MarkFlagsMutuallyExclusive("every", "cron")
	cmd.MarkFlagsMutuallyExclusive("once", "cron")
	cmd.MarkFlagsMutuallyExclusive("once", "listen")
	return cmd
}

// driftSettings joins what the inventory says of the watching with the flags,
// which win.
func driftSettings(g *globals, site *inventory.Site, flags driftFlags, given func(string) bool) (drift.Settings, error) {
	block := inventory.Drift{Retention: 90 * 24 * 3600}
	if site.Drift != nil {
		block = *site.Drift
	}
	s := drift.Settings{
		Site: site, Limit: g.limit,
		Jitter: seconds(block.Jitter), Timeout: seconds(block.Timeout), Parallel: g.parallel,
		Repair: block.Repair, RepairMax: block.RepairMax, Retention: seconds(block.Retention),
	}
	if block.Parallel > 0 && !given("parallel") {
		s.Parallel = block.Parallel
	}
	if given("repair") {
		s.Repair = flags.repair
	}
	switch {
	case flags.once:
		s.Jitter = 0
	case given("every"):
		if flags.every < time.Second {
			return s, fmt.Errorf("--every %s: it must be 1s or more", flags.every)
		}
		s.Schedule = drift.Every(flags.every)
	case given("cron"), block.Schedule != "":
		text, from := flags.cron, "--cron"
		if !given("cron") {
			text, from = block.Schedule, "drift: schedule"
		}
		schedule, err := drift.Cron(text)
		if err != nil {
			return s, fmt.Errorf("%s: %w", from, err)
		}
		s.Schedule = schedule
	case block.Every > 0:
		s.Schedule = drift.Every(seconds(block.Every))
	default:
		return s, errors.New("no schedule: say --once, --every 15m or --cron EXPR, or write a drift block with every or schedule into the inventory")
	}
	return s, nil
}

// driftListen joins what the inventory says of the listener with the flags.
func driftListen(site *inventory.Site, flags driftFlags) listen.Options {
	o := flags.listen
	if d := site.Drift; d != nil {
		o.Addr = cmp.Or(o.Addr, d.Listen)
		o.TokenFile = cmp.Or(o.TokenFile, d.TokenFile)
		if o.Cert == "" && o.Key == "" {
			o.Cert, o.Key = d.TLSCert, d.TLSKey
		}
	}
	return o
}

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }

func runDrift(ctx context.Context, g *globals, path string, flags driftFlags, given func(string) bool) error {
	if flags.once && given("every") {
		return errors.New("--once and --every exclude each other, but for --install-unit systemd")
	}
	loaded, err := g.load(path, false)
	if err != nil {
		return err
	}
	settings, err := driftSettings(g, loaded.Site, flags, given)
	if err != nil {
		return err
	}
	dir, err := g.stateDir(path)
	if err != nil {
		return err
	}
	release, err := watchAlone(ctx, dir)
	if err != nil {
		return err
	}
	defer release()
	wd := &watchdog{
		globals: g, path: path, past: state.OpenHistory(dir),
		db:     history.Open(filepath.Join(dir, history.File)),
		alerts: alert.New(filepath.Join(dir, "alerts.json"), flags.once),
	}
	defer wd.db.Close()
	defer wd.sayGoodbye()
	if err := wd.use(ctx, loaded); err != nil {
		return err
	}
	o := drift.Options{Dial: wd.dial, Converge: wd.converge, Changed: wd.changed, Tell: wd.alerts.Tell, Others: wd.problems}
	if history.Kept {
		o.Store = wd.db
	}
	if !flags.once {
		o.Observe = wd.observe
	}
	o.Rounds = func(took time.Duration) {
		if wd.metrics != nil {
			wd.metrics.Round(took)
		}
	}
	w, err := drift.NewWatcher(settings, o)
	if err != nil {
		return err
	}
	wd.watcher = w
	if flags.once {
		w.Round(ctx)
		w.Close()
		wd.sayGoodbye()
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("look at the fleet: %w", err)
		}
		wd.departures()
		return printSnapshot(g, w.Snapshot())
	}
	if os.Getenv("GOGC") == "" {
		// What runs for months is not a run that is over before its garbage
		// matters.
		debug.SetGCPercent(100)
		debug.SetMemoryLimit(math.MaxInt64)
	}
	stopServing, err := wd.serve(ctx, driftListen(loaded.Site, flags))
	if err != nil {
		return err
	}
	defer stopServing()
	wd.departures()
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	ended := make(chan struct{})
	var rereading sync.WaitGroup
	rereading.Go(func() {
		for {
			select {
			case <-hangups:
				wd.reload(ctx, w, flags, given)
			case <-ended:
				return
			}
		}
	})
	w.Run(ctx)
	close(ended)
	rereading.Wait()
	return nil
}

// watchAlone makes sure that one process at a time watches what the state
// folder is about: two would overlap, and each note what the other does.
func watchAlone(ctx context.Context, dir string) (release func(), err error) {
	release, err = (&host.Local{}).Lock(ctx, filepath.Join(dir, "drift.lock"), who())
	var taken *host.TakenError
	if errors.As(err, &taken) {
		return nil, fmt.Errorf("this site is watched already, by %s", taken.Holder)
	}
	return release, err
}

// A watchdog is what surrounds a watcher: the inventory that is in force, and
// the way to its hosts.
type watchdog struct {
	*globals
	path string
	past state.History // the controller's runs
	db   *history.DB
	ends map[string]time.Time // when a run that changed a host ended last; see changed
	read time.Time            // what was last added when that was read

	alerts *alert.Teller
	spoken sync.Once

	watcher *drift.Watcher
	metrics *metrics.Metrics // nil: nobody listens
	listens listen.Options   // as it was started with

	dialer atomic.Pointer[dialer]
	loaded atomic.Pointer[hclfile.Result]
	outM   sync.Mutex // held while something is printed
}

// use puts an inventory in force, with fresh keys.
func (wd *watchdog) use(ctx context.Context, loaded *hclfile.Result) error {
	d, err := wd.globals.dialer(ctx, wd.path, func() *inventory.Site { return wd.loaded.Load().Site })
	if err != nil {
		return err
	}
	wd.dialer.Store(d)
	wd.loaded.Store(loaded)
	if loaded.Site.Drift != nil {
		wd.alerts.Use(loaded.Site.Drift.Alerts)
	} else {
		wd.alerts.Use(nil)
	}
	return nil
}

// serve answers at the address, if there is one, until stop is called. That it
// cannot is found here; that it cannot go on is a problem of the watcher's.
func (wd *watchdog) serve(ctx context.Context, o listen.Options) (stop func(), err error) {
	wd.listens = o
	if o.Addr == "" {
		return func() {}, nil
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	wd.metrics = metrics.New(wd.watcher, func() metrics.Counts {
		return metrics.Counts{Missed: wd.watcher.Missed(), Waiting: wd.alerts.Waiting()}
	})
	page, err := web.New(ctx, wd.watcher, func() *inventory.Site { return wd.loaded.Load().Site }, web.Options{})
	if err != nil {
		cancel()
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/", page)
	mux.Handle("/metrics", wd.metrics.Handler())
	mux.HandleFunc("/healthz", wd.healthz)
	server, err := listen.Listen(o, mux, "/healthz")
	if err != nil {
		cancel()
		return nil, err
	}
	wd.observe(drift.Event{Time: time.Now(), Note: "listening on " + server.URL()})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := server.Serve(ctx); err != nil {
			wd.watcher.Problem("listen", err.Error())
		}
	}()
	return func() {
		cancel()
		<-ended
	}, nil
}

// overdue is how late a round may be before the watcher counts as not well.
const overdue = 10 * time.Minute

// healthz says whether rounds are held. It tells nothing else, and so needs no
// token.
func (wd *watchdog) healthz(w http.ResponseWriter, _ *http.Request) {
	s := wd.watcher.Snapshot()
	if !s.Running && !s.Next.IsZero() && time.Since(s.Next) > overdue {
		http.Error(w, "a round is overdue", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

// farewell is how long receivers have to take what waits when the program ends.
const farewell = 10 * time.Second

// sayGoodbye delivers what waits, within bounds; the rest is kept for the next
// process.
func (wd *watchdog) sayGoodbye() {
	wd.spoken.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), farewell)
		defer cancel()
		if err := wd.alerts.Close(ctx); err != nil {
			fmt.Fprintf(wd.err, "lvsfleet: %s\n", hanging(err.Error(), 2))
		}
	})
}

func (wd *watchdog) dial(ctx context.Context, h *inventory.Host) (agent.Session, error) {
	return wd.dialer.Load().dial(ctx, h)
}

// departures reports the hosts that have left the inventory and were not
// cleaned.
func (wd *watchdog) departures() {
	wd.outM.Lock()
	defer wd.outM.Unlock()
	if err := wd.tellDeparted(wd.path, wd.loaded.Load().Site); err != nil {
		fmt.Fprintf(wd.err, "lvsfleet: %s\n", hanging(err.Error(), 2))
	}
}

// problems are those of what surrounds the watcher.
func (wd *watchdog) problems() []string {
	list := wd.alerts.Problems()
	if !history.Kept {
		return append(list, history.ErrNotKept.Error())
	}
	return append(list, wd.db.Problems()...)
}

// converge repairs hosts, as `lvsfleet converge --limit` would: those that
// cannot be reached are left out, and nobody agrees to an outage.
func (wd *watchdog) converge(ctx context.Context, site *inventory.Site, hosts []string) (fleet.Outcome, error) {
	f, err := wd.fleet(ctx, wd.path, site, nil)
	if err != nil {
		return fleet.Outcome{}, err
	}
	_, gone, err := wd.departed(wd.path, site)
	if err != nil {
		return fleet.Outcome{}, err
	}
	f.Limit, f.SkipUnreachable, f.Departed = hosts, true, pointers(gone)
	rec := state.Run{Time: time.Now().UTC(), Verb: "repair", Site: wd.path, Inventory: wd.loaded.Load().Hash}
	f.Begun = func(found []fleet.Finding) error { return wd.rememberBegun(rec, f, found) }
	out, err := f.Converge(ctx, nil)
	wd.remember(rec, f, out, err)
	if err == nil {
		if kerr := wd.keepHosts(wd.path, site, out); kerr != nil {
			fmt.Fprintf(wd.err, "lvsfleet: %s\n", hanging(kerr.Error(), 2))
		}
	}
	return out, err
}

// changed says whether a run of this controller that ended since then changed
// the host. Records that cannot be read tell nothing. It is called by one round
// at a time, for each drift that is gone, so the records are read only when
// there are new ones.
func (wd *watchdog) changed(name string, since time.Time) bool {
	if at := wd.past.Modified(); wd.ends == nil || !at.Equal(wd.read) {
		wd.ends, wd.read = map[string]time.Time{}, at
		runs, _ := wd.past.Runs(time.Time{})
		for _, r := range runs {
			for _, h := range r.Hosts {
				if h.Changes > 0 && r.End().After(wd.ends[h.Host]) {
					wd.ends[h.Host] = r.End()
				}
			}
		}
	}
	return wd.ends[name].After(since)
}

// reload reads the inventory again. One that cannot be used is reported, and
// the old one stays in force.
func (wd *watchdog) reload(ctx context.Context, w *drift.Watcher, flags driftFlags, given func(string) bool) {
	err := func() error {
		wd.outM.Lock()
		loaded, err := wd.load(wd.path, false)
		wd.outM.Unlock()
		if err != nil {
			return errors.New("it has errors (lvsfleet validate shows them)")
		}
		settings, err := driftSettings(wd.globals, loaded.Site, flags, given)
		if err != nil {
			return err
		}
		if _, err := fleet.Select(loaded.Site, wd.limit); err != nil {
			return err
		}
		if err := wd.use(ctx, loaded); err != nil {
			return err
		}
		if o := driftListen(loaded.Site, flags); o != wd.listens {
			w.Problem("listen", "where to listen, and with what, has changed: that takes a restart")
		} else {
			w.Problem("listen", "")
		}
		w.Reload(settings)
		wd.departures()
		return nil
	}()
	if err != nil {
		w.Problem("inventory", fmt.Sprintf("the inventory was not read again, the old one stays in force: %v", err))
		return
	}
	w.Problem("inventory", "")
	wd.observe(drift.Event{Time: time.Now(), Note: "the inventory was read again"})
}

// observe prints an event: what became of hosts on standard output, what is
// wrong with the watching itself on standard error.
func (wd *watchdog) observe(e drift.Event) {
	wd.outM.Lock()
	defer wd.outM.Unlock()
	if wd.json {
		wd.emit(e)
		return
	}
	at := e.Time.Local().Format(time.DateTime)
	switch d := e.Drift; {
	case e.Problem != "":
		fmt.Fprintf(wd.err, "%s lvsfleet: %s\n", at, hanging(e.Problem, 4))
	case d != nil:
		fmt.Fprintf(wd.out, "%s %s\n", at, driftLine(painter(wd.color(wd.out)), *d))
	default:
		fmt.Fprintf(wd.out, "%s %s\n", at, hanging(e.Note, 4))
	}
}

// driftLine is one drift in a line: "rs170 live lo0:192.0.2.1 differs".
func driftLine(paint painter, d drift.Drift) string {
	what := d.Host + " " + string(d.Class)
	if d.Step != "" {
		what += " " + inline(d.Step)
	}
	if !d.Gone.IsZero() {
		return paint.green(what+" is gone") + ": " + endText(d.End) + ", after " + roundedAge(d.Gone.Sub(d.First))
	}
	switch d.Class {
	case drift.ClassUnreachable:
		return paint.red(what) + ": " + hanging(d.Diff, 4)
	case drift.ClassForeign:
		return paint.yellow(what+" has appeared") + ": " + hanging(d.Diff, 4)
	}
	return paint.red(what + " differs")
}

// endText says how a drift went away.
func endText(e drift.End) string {
	switch e {
	case drift.EndRepaired:
		return "repaired"
	case drift.EndConverge:
		return "by converge"
	}
	return "by itself, or by somebody"
}

// roundedAge is a length of time as people say it.
func roundedAge(d time.Duration) string {
	switch {
	case d < time.Minute:
		return d.Round(time.Second).String()
	case d < 48*time.Hour:
		return d.Round(time.Minute).String()
	}
	return count(int(d/(24*time.Hour)), "day")
}

// printSnapshot prints what one round has found, and gives diff's exit; that a
// host is busy counts as an error on it.
func printSnapshot(g *globals, s drift.Snapshot) error {
	if g.json {
		for _, h := range s.Hosts {
			g.emit(h)
		}
	} else {
		writeSnapshot(g, g.out, s)
	}
	for _, p := range s.Problems {
		fmt.Fprintf(g.err, "lvsfleet: %s\n", hanging(p, 4))
	}
	differs, untold := s.Findings()
	switch {
	case untold:
		return errReported
	case differs:
		return errDiffers
	}
	return nil
}

func writeSnapshot(g *globals, w io.Writer, s drift.Snapshot) {
	p := newPrinter(g, false)
	counts := map[drift.State]int{}
	for _, h := range s.Hosts {
		counts[h.State]++
		if h.State == drift.Clean && len(h.Notes) == 0 {
			continue
		}
		head := h.Name + " (" + h.OS + ")"
		if h.Release != "" {
			head = h.Name + " (" + h.OS + " " + inline(h.Release) + ")"
		}
		fmt.Fprintf(w, "%s %s\n", p.paint.bold(head), h.State)
		for _, n := range h.Notes {
			fmt.Fprintf(w, "  %s %s\n", p.paint.yellow("note"), hanging(n, 7))
		}
		for _, t := range h.Transient {
			fmt.Fprintf(w, "  %s %s: until the next boot\n", p.paint.yellow("transient"), inline(t))
		}
		for _, d := range h.Drifts {
			p.drift(w, d, s.Time)
		}
		fmt.Fprintln(w)
	}
	line := count(len(s.Hosts), "host")
	for _, st := range []drift.State{drift.Clean, drift.Transient, drift.Drifted, drift.Unreachable, drift.Failed, drift.Busy, drift.Unknown} {
		if counts[st] > 0 {
			line += fmt.Sprintf(", %d %s", counts[st], st)
		}
	}
	fmt.Fprintln(w, line)
}

// drift prints one drift with its diff.
func (p *printer) drift(w io.Writer, d drift.Drift, now time.Time) {
	since := ""
	if age := now.Sub(d.First); age >= time.Second {
		since = " since " + d.First.Local().Format(time.DateTime)
	}
	if d.Class == drift.ClassUnreachable || d.Class == drift.ClassForeign {
		fmt.Fprintf(w, "  %s%s: %s\n", p.paint.red(string(d.Class)), since, hanging(d.Diff, 8))
		return
	}
	fmt.Fprintf(w, "  %s %s%s\n", p.paint.cyan(string(d.Class)), inline(d.Step), since)
	p.diff(w, d.Diff)
}
