package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/drift/unit"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/inventory/hclfile"
)

// printUnit prints what has a supervisor run the very command line that it was
// called with.
func printUnit(g *globals, path string, flags driftFlags, given *pflag.FlagSet) error {
	argv, err := unitArgv(g, path, given)
	if err != nil {
		return err
	}
	loaded, err := g.load(path, false)
	if err != nil {
		return err
	}
	site := loaded.Site
	if _, err := driftSettings(g, site, flags, given.Changed); err != nil {
		return err
	}
	w := unit.Watcher{Site: hclfile.SiteName(path), Argv: argv, Once: flags.once, Free: mayNeedMore(site)}
	if u, err := user.Current(); err == nil {
		w.User, w.Home = u.Username, u.HomeDir
	}
	if flags.once {
		every := flags.every
		if every == 0 && site.Drift != nil {
			every = seconds(site.Drift.Every)
		}
		w.Every = int(cmp.Or(every, 15*time.Minute) / time.Second)
	}
	text, err := unit.Write(flags.unit, w)
	if err != nil {
		return fmt.Errorf("--install-unit: %w", err)
	}
	fmt.Fprint(g.out, text)
	return nil
}

// mayNeedMore says whether the watcher changes this machine, or runs commands
// of the operator's.
func mayNeedMore(site *inventory.Site) bool {
	if site.Drift != nil && slices.ContainsFunc(site.Drift.Alerts, func(a inventory.Alert) bool { return a.Kind == "command" }) {
		return true
	}
	return slices.ContainsFunc(site.Hosts, func(h *inventory.Host) bool { return h.Connection == "local" })
}

// unitArgv is the command line, with every path absolute: a supervisor has
// another folder.
func unitArgv(g *globals, path string, given *pflag.FlagSet) ([]string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	site, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", path, err)
	}
	argv := []string{self, "drift", site}
	files := []string{"state", "lab", "var-file", "tls-cert", "tls-key", "token-file"}
	var errs []error
	add := func(name, value string) {
		if slices.Contains(files, name) {
			abs, err := filepath.Abs(value)
			errs = append(errs, err)
			value = abs
		}
		argv = append(argv, "--"+name+"="+value)
	}
	given.Visit(func(f *pflag.Flag) {
		switch {
		case f.Name == "install-unit", f.Name == "json", f.Name == "no-color":
		case f.Name == "every" && given.Changed("once"): // the timer's
		case f.Name == "var":
			errs = append(errs, errors.New("--install-unit: a unit is open to everybody, and --var may be secret: write it into a file, and say -var-file"))
		default:
			if list, ok := f.Value.(pflag.SliceValue); ok {
				for _, v := range list.GetSlice() {
					add(f.Name, v)
				}
				return
			}
			add(f.Name, f.Value.String())
		}
	})
	if g.lab != "" && !given.Changed("lab") {
		add("lab", g.lab)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return argv, nil
}
