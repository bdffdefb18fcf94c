package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/agent/journal"
	"github.com/lvsfleet/lvsfleet/agent/remote"
	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/fleet"
	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/state"
)

type debugFlags struct {
	out string
	yes bool
}

func newDebug(g *globals) *cobra.Command {
	var flags debugFlags
	cmd := &cobra.Command{
		Use:   "debug [SITE]",
		Short: "Write an archive for a bug report; change nothing",
		Long: `Writes a tar archive that says what happened, for whoever is to find a mistake:
versions, what the inventory wants of each host, what differs there, the last
runs, and the outlines of the hosts' journals. It reads only. Files' contents are
in none of it but where they differ; what looks like a password, a key or a
token is left out. What is in the archive is listed before it is written, and on
a terminal it is asked for. Read it before you send it: names and addresses are
in it.
` + exitHelp + `  0  the archive was written
  1  an error, or declined: nothing was written. What is said of a host that
     cannot be reached is that`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runDebug(cmd.Context(), g, sitePath(args), flags)
		},
	}
	cmd.Flags().StringVar(&flags.out, "out", "", "write to `FILE` (default lvsfleet-debug-TIME.tar.gz here)")
	cmd.Flags().BoolVar(&flags.yes, "yes", false, "do not ask")
	return cmd
}

func runDebug(ctx context.Context, g *globals, path string, flags debugFlags) error {
	loaded, err := g.load(path, false)
	if err != nil {
		return err
	}
	if flags.out == "" {
		flags.out = "lvsfleet-debug-" + time.Now().UTC().Format("20060102T150405Z") + ".tar.gz"
	}
	if _, err := os.Lstat(flags.out); err == nil {
		return fmt.Errorf("%s is there already: name another file by --out", flags.out)
	}
	p := newProgress(g, len(loaded.Site.Hosts))
	f, err := g.fleet(ctx, path, loaded.Site, p.observe)
	if err != nil {
		return err
	}
	selected, err := fleet.Select(loaded.Site, g.limit)
	if err != nil {
		return err
	}
	p.start()
	found, err := f.Survey(ctx)
	journals := outlines(ctx, f, selected)
	p.stop()
	if err != nil {
		return err
	}
	a := archive{}
	a.add("README", about)
	a.json("versions.json", versions())
	for _, s := range selected {
		a.json("hosts/"+s.Host.Name+"/wanted.json", s.Request.Desired)
		a.json("hosts/"+s.Host.Name+"/journals.json", journals[s.Host.Name])
	}
	pr := newPrinter(g, true)
	for _, one := range found {
		a.json("hosts/"+one.Host+"/report.json", pr.toJSON(one))
	}
	dir, err := g.stateDir(path)
	if err != nil {
		return err
	}
	a.json("runs.json", lastRuns(dir))
	return g.writeArchive(ctx, a, flags)
}

const about = `What lvsfleet knows of a site, for a bug report.

versions.json            of lvsfleet, and of what it was built with
runs.json                the last runs that changed something, by the controller's record
hosts/HOST/wanted.json   what the inventory wants of the host
hosts/HOST/report.json   what differs there, with the operations that would mend it
hosts/HOST/journals.json outlines of the journals that lie on the host

What looks like a password, a key or a token reads "` + leftOut + `". Names and
addresses are as they are.
`

// mostRuns is how many runs are told of.
const mostRuns = 20

func versions() map[string]any {
	v := map[string]any{"go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		v["version"] = info.Main.Version
		deps := map[string]string{}
		for _, d := range info.Deps {
			deps[d.Path] = d.Version
		}
		v["modules"] = deps
	}
	v["agents"], v["agents_lacking"] = remote.Embedded().Platforms()
	return v
}

// lastRuns are the outlines of the last runs, without what each did.
func lastRuns(dir string) any {
	runs, err := state.OpenHistory(dir).Runs(time.Time{})
	runs = slices.Clone(runs[:min(len(runs), mostRuns)])
	for i := range runs {
		runs[i].Hosts = slices.Clone(runs[i].Hosts)
		for k := range runs[i].Hosts {
			runs[i].Hosts[k].Items = nil
		}
	}
	told := map[string]any{"runs": runs}
	if err != nil {
		told["error"] = err.Error()
	}
	return told
}

// A journalsOf is what a host's journals are about, or why nothing is known.
type journalsOf struct {
	Journals []journal.Outline `json:"journals"`
	Error    string            `json:"error,omitempty"`
}

// outlines asks the hosts for the outlines of their journals.
func outlines(ctx context.Context, f *fleet.Fleet, hosts []fleet.Selected) map[string]journalsOf {
	told := map[string]journalsOf{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	turn := make(chan struct{}, f.Parallel)
	for _, s := range hosts {
		wg.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			list, err := func() ([]journal.Outline, error) {
				session, err := f.Dial(ctx, s.Host)
				if err != nil {
					return nil, err
				}
				defer session.Close()
				o, ok := session.(agent.Outliner)
				if !ok {
					return nil, errors.ErrUnsupported
				}
				return o.Outline(ctx)
			}()
			j := journalsOf{Journals: list}
			if err != nil {
				j.Error = err.Error()
			}
			mu.Lock()
			defer mu.Unlock()
			told[s.Host.Name] = j
		})
	}
	wg.Wait()
	return told
}

// An archive is its files by name.
type archive map[string][]byte

func (a archive) add(name, text string) { a[name] = []byte(text) }

// json adds v without what is secret.
func (a archive) json(name string, v any) {
	text, err := json.Marshal(v)
	var plain any
	if err == nil {
		err = json.Unmarshal(text, &plain)
	}
	var b bytes.Buffer
	if err == nil {
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		err = e.Encode(withoutSecrets(plain))
	}
	if err != nil {
		b.Reset()
		fmt.Fprintf(&b, "cannot be told: %v\n", err)
	}
	a[name] = b.Bytes()
}

// leftOut stands for a secret.
const leftOut = "(left out)"

var (
	// secretWord is in the name of what is nobody else's business.
	secretWord = `(?:pass(?:word|wd|phrase)?|secret|token|credentials?|community|api[-_]?key|private[-_]?key|psk|authorization|bearer)`
	secretName = regexp.MustCompile(`(?i)` + secretWord)
	// secretLine is such a name with what it is given, to the end of the line:
	// "auth_pass 1234", "password = x", "--token=x".
	secretLine = regexp.MustCompile(`(?im)([-\w.]*` + secretWord + `[-\w.]*["']?)([ \t]*[:=][ \t]*|[ \t]+)\S.*$`)
	// secretURL is a URL with somebody's password in it.
	secretURL = regexp.MustCompile(`(://)[^/@\s"']+@`)
	secretPEM = regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)`)
)

// withoutSecrets leaves out of JSON's values what looks like a secret.
func withoutSecrets(v any) any {
	switch v := v.(type) {
	case string:
		v = secretPEM.ReplaceAllLiteralString(v, leftOut)
		v = secretURL.ReplaceAllString(v, "${1}"+leftOut+"@")
		return secretLine.ReplaceAllString(v, "${1}${2}"+leftOut)
	case []any:
		for i := range v {
			v[i] = withoutSecrets(v[i])
		}
	case map[string]any:
		for name, value := range v {
			if _, text := value.(string); text && secretName.MatchString(name) {
				v[name] = leftOut
				continue
			}
			v[name] = withoutSecrets(value)
		}
	}
	return v
}

// writeArchive lists the archive, asks where somebody can answer, and writes it.
func (g *globals) writeArchive(ctx context.Context, a archive, flags debugFlags) error {
	names := make([]string, 0, len(a))
	for name := range a {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if g.json {
			g.emit(map[string]any{"file": name, "bytes": len(a[name])})
		} else {
			fmt.Fprintf(g.out, "%8d  %s\n", len(a[name]), name)
		}
	}
	if !flags.yes && isTerminal(g.in) {
		asks := g.asks()
		fmt.Fprintf(asks, "Write %s to %s? [y/N] ", count(len(names), "file"), flags.out)
		yes, err := answer(ctx, g.in, asks)
		if err != nil {
			return err
		}
		if !yes {
			return errors.New("nothing was written")
		}
	}
	text, err := a.pack(names, strings.TrimSuffix(filepath.Base(flags.out), ".tar.gz"), time.Now())
	if err != nil {
		return err
	}
	// For its owner alone, and over nothing that is there.
	file, err := os.OpenFile(flags.out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write the archive: %w", err)
	}
	_, err = file.Write(text)
	if err = errors.Join(err, file.Close()); err != nil {
		return errors.Join(fmt.Errorf("write the archive: %w", err), os.Remove(flags.out))
	}
	if !g.json {
		fmt.Fprintf(g.err, "written to %s: read it before you send it\n", flags.out)
	}
	return nil
}

// pack makes a tar archive of the files, below a folder.
func (a archive) pack(names []string, folder string, now time.Time) ([]byte, error) {
	var b bytes.Buffer
	zip := gzip.NewWriter(&b)
	tape := tar.NewWriter(zip)
	for _, name := range names {
		h := &tar.Header{Name: folder + "/" + name, Mode: 0o644, Size: int64(len(a[name])), ModTime: now, Format: tar.FormatPAX}
		if err := tape.WriteHeader(h); err != nil {
			return nil, fmt.Errorf("pack %s: %w", name, err)
		}
		if _, err := tape.Write(a[name]); err != nil {
			return nil, fmt.Errorf("pack %s: %w", name, err)
		}
	}
	if err := errors.Join(tape.Close(), zip.Close()); err != nil {
		return nil, fmt.Errorf("pack the archive: %w", err)
	}
	return b.Bytes(), nil
}
