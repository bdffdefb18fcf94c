package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"mvdan.cc/sh/v3/syntax"

	"github.com/lvsfleet/lvsfleet/agent/lab"
	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers"
	"github.com/lvsfleet/lvsfleet/providers/director"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
	"github.com/lvsfleet/lvsfleet/providers/note"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

func newRender(g *globals) *cobra.Command {
	var out, base string
	cmd := &cobra.Command{
		Use:   "render [SITE] --out DIR",
		Short: "Write each host's files and commands to a folder, offline",
		Long: `Writes, for each host, DIR/HOST/ with every managed file at its absolute path,
DIR/HOST.commands with the live commands in order and, for a director,
DIR/HOST.ipvs with the rules as "ipvsadm -Sn" prints them. Nothing is contacted:
the hosts are taken as freshly installed. With --base BASE, where
BASE/HOST/etc/... is what a host has now, DIR/HOST/ is that whole tree with the
changes made, so that "diff -r BASE DIR" shows exactly what would change.
` + exitHelp + `  0  everything was written
  1  an error in the inventory, or a host that would be refused`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runRender(cmd.Context(), g, sitePath(args), out, base)
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "write to `DIR`")
	cmd.Flags().StringVar(&base, "base", "", "what the hosts have now lies in `BASE`/HOST/etc")
	_ = cmd.MarkFlagRequired("out") // the flag is there
	return cmd
}

func runRender(ctx context.Context, g *globals, path, out, base string) error {
	loaded, err := g.load(path, false)
	if err != nil {
		return err
	}
	bases, err := readBase(base)
	if err != nil {
		return err
	}
	selected, err := g.selected(loaded.Site)
	if err != nil {
		return err
	}
	want := loaded.Site.Desired()
	failed := false
	for _, h := range selected {
		var r rendered
		r.base = bases[h.Name] != nil
		if r.machine, err = lab.Preview(*h, bases[h.Name]); err == nil {
			err = r.apply(ctx, want[h.Name])
		}
		if err == nil {
			err = r.save(out, h.Name)
		}
		if err != nil {
			fmt.Fprintf(g.err, "lvsfleet: render %s: %v\n", h.Name, err)
			failed = true
			continue
		}
		for _, n := range r.notes {
			fmt.Fprintf(g.err, "%s: note: %s\n", h.Name, n)
		}
		files, _ := r.paths()
		if g.json {
			g.emit(map[string]any{"host": h.Name, "files": files})
		} else {
			fmt.Fprintf(g.out, "%s: %s\n", h.Name, count(len(files), "file"))
		}
	}
	if failed {
		return errReported
	}
	return nil
}

// readBase reads what hosts have now; "" is nothing.
func readBase(dir string) (map[string]map[string]host.File, error) {
	if dir == "" {
		return nil, nil
	}
	return lab.ReadBase(dir)
}

// selected lists the hosts that --limit names, all where it names none.
func (g *globals) selected(site *inventory.Site) ([]*inventory.Host, error) {
	if len(g.limit) == 0 {
		return site.Hosts, nil
	}
	var list []*inventory.Host
	for _, name := range g.limit {
		h := site.Host(name)
		if h == nil {
			return nil, fmt.Errorf("--limit %s: no such host in the inventory", name)
		}
		list = append(list, h)
	}
	return list, nil
}

// rendered is one host, made so offline.
type rendered struct {
	machine  *sim.Machine
	base     bool
	director *inventory.Director
	touched  map[string]bool // managed files
	commands []string
	notes    []string
}

// apply plans for the offline machine and runs the plan on it.
func (r *rendered) apply(ctx context.Context, want inventory.Desired) error {
	if want.Network == "" {
		if s, ok := providers.Lookup(want.OS); ok {
			want.Network = s.Form
		}
	}
	r.director = want.Director
	r.touched = map[string]bool{}
	plan, _, err := providers.Plan(ctx, r.machine, want)
	if err != nil {
		return err
	}
	r.notes = note.Texts(plan.Notes)
	for _, p := range providers.OwnFiles(want) {
		r.manage(p)
	}
	for _, steps := range [][]step.Step{plan.Live, plan.Boot} {
		changes := make([]step.Change, len(steps))
		for i, s := range steps {
			if changes[i], err = s.Check(ctx, r.machine); err != nil {
				return fmt.Errorf("%s: %w", s.ID(), err)
			}
			r.notes = append(r.notes, changes[i].Told()...)
			switch s := s.(type) {
			case *step.FileStep:
				r.manage(s.Path)
			case *step.LinkStep:
				if s.Target != "" {
					r.touched[s.Path] = true
				}
			}
		}
		for i, c := range changes {
			for _, op := range c.Do {
				if err := r.do(ctx, op); err != nil {
					return fmt.Errorf("%s: %w", steps[i].ID(), err)
				}
			}
		}
	}
	return nil
}

// manage counts the file at p, if there is one, among the managed ones, also
// where it is right already; with it the link that p may be.
func (r *rendered) manage(p string) {
	if f, err := r.machine.ReadFile(context.Background(), p); err == nil {
		r.touched[f.Path], r.touched[p] = true, true
	}
}

func (r *rendered) do(ctx context.Context, op step.Op) error {
	switch op.Kind {
	case step.Write:
		if !op.File.Mode.IsDir() {
			r.touched[op.Path] = true
		}
	case step.Remove:
		delete(r.touched, op.Path)
	case step.Run:
		words := make([]string, len(op.Argv))
		for i, a := range op.Argv {
			q, err := syntax.Quote(a, syntax.LangPOSIX)
			if err != nil {
				return fmt.Errorf("quote %q: %w", a, err)
			}
			words[i] = q
		}
		r.commands = append(r.commands, strings.Join(words, " "))
	case step.IPVS:
		r.commands = append(r.commands, op.String())
	case step.Notify: // nothing runs there that reads the file
		return nil
	}
	return op.Do(ctx, r.machine)
}

// paths lists what is written below DIR/HOST: the managed files or, with a
// base, all of /etc, with its folders.
func (r *rendered) paths() (files, folders []string) {
	r.machine.Locked(func() {
		r.machine.FS.Walk("/", func(p string, n host.File) {
			whole := r.base && strings.HasPrefix(p, "/etc/")
			switch {
			case n.Mode.IsDir() && whole:
				folders = append(folders, p)
			case !n.Mode.IsDir() && (whole || r.touched[p]):
				files = append(files, p)
			}
		})
	})
	return files, folders
}

func (r *rendered) save(out, name string) error {
	dir := filepath.Join(out, name)
	commands := dir + ".commands"
	// What an earlier rendering left is replaced whole; a folder that was not
	// made here is not ours to empty.
	if _, err := os.Stat(dir); err == nil {
		if _, err := os.Stat(commands); err != nil {
			return fmt.Errorf("%s is there already and was not made by render: choose another --out", dir)
		}
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("remove the earlier rendering: %w", err)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look at %s: %w", dir, err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make %s: %w", dir, err)
	}
	files, folders := r.paths()
	for _, p := range folders {
		if err := os.MkdirAll(filepath.Join(dir, filepath.FromSlash(p)), 0o755); err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
	}
	for _, p := range files {
		if err := r.saveFile(dir, p); err != nil {
			return err
		}
	}
	text := strings.Join(r.commands, "\n")
	if text != "" {
		text += "\n"
	}
	if err := os.WriteFile(commands, []byte(text), 0o644); err != nil {
		return fmt.Errorf("write commands: %w", err)
	}
	if r.director == nil {
		return nil
	}
	if err := os.WriteFile(dir+".ipvs", []byte(ipvs.Format(r.table())), 0o644); err != nil {
		return fmt.Errorf("write rules: %w", err)
	}
	return nil
}

// table is the director's IPVS table. Kernels before 2.6.37 show the
// director's own address without the method that was asked for; here it is
// told.
func (r *rendered) table() []ipvs.Service {
	type entry struct {
		service ipvs.Key
		server  ipvs.DestKey
	}
	asked := map[entry]ipvs.Method{}
	for _, w := range director.Wants(r.director.Services) {
		for _, d := range w.Dests {
			asked[entry{w.Key, d.DestKey}] = d.Method
		}
	}
	var table []ipvs.Service
	r.machine.Locked(func() { table = ipvs.Sorted(r.machine.Net.IPVS) })
	for i, s := range table {
		table[i].Dests = slices.Clone(s.Dests)
		for j, d := range table[i].Dests {
			if m, ok := asked[entry{s.Key, d.DestKey}]; ok && d.Method == ipvs.Local {
				table[i].Dests[j].Method = m
			}
		}
	}
	return table
}

func (r *rendered) saveFile(dir, p string) error {
	var f host.File
	var err error
	r.machine.Locked(func() {
		if f, err = r.machine.FS.Stat(p, false); err == nil && f.Mode.IsRegular() {
			f, err = r.machine.FS.ReadFile(p)
		}
	})
	if err != nil {
		return fmt.Errorf("read %s: %w", p, err)
	}
	target := filepath.Join(dir, filepath.FromSlash(p))
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	if f.Mode&fs.ModeSymlink != 0 {
		if err := os.Symlink(string(f.Data), target); err != nil {
			return fmt.Errorf("write link: %w", err)
		}
		return nil
	}
	if err := os.WriteFile(target, f.Data, f.Mode.Perm()|0o600); err != nil {
		return fmt.Errorf("write file: %w", err)
	}
	return nil
}
