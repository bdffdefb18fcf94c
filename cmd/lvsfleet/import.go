package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/importer"
	"github.com/lvsfleet/lvsfleet/inventory"
)

func newImport(g *globals) *cobra.Command {
	var directors, systems []string
	var node string
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Make an inventory of the rules that a director has",
		Long: `Reads the output of "ipvsadm -Sn", a shell script of ipvsadm commands, a
keepalived.conf, an ldirectord.cf, or piranha's lvs.cf, and prints an inventory: hosts
named by their addresses, services with methods, weights, schedulers, persistence and
marks. What the file does not say is assumed, and marked so in the inventory. What must
still be filled in, and what was left out, is said on standard error too. Nothing is
contacted and nothing is run. FILE may be "-", for standard input; files that a
keepalived.conf includes are then not read.

  ssh lb ipvsadm -Sn | lvsfleet import - --director 192.168.0.254/24 >site.hcl
` + exitHelp + `  0  the inventory is printed
  1  an error: the file is none of these`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return runImport(g, args[0], node, directors, systems) },
	}
	cmd.Flags().StringSliceVar(&directors, "director", nil, "the director's own `ADDRESS/LENGTH`; the first is where SSH goes (repeatable)")
	cmd.Flags().StringVar(&node, "node", "", "which `NODE` a keepalived.conf with lines \"@NODE ...\" is read for")
	cmd.Flags().StringSliceVar(&systems, "os", nil, "the `system` of the real servers, linux (default), freebsd or solaris; ADDRESS=SYSTEM for one of them (repeatable)")
	return cmd
}

func runImport(g *globals, path, node string, directors, systems []string) error {
	o, err := importOptions(directors, systems)
	if err != nil {
		return err
	}
	o.Source = path
	var text []byte
	if path == "-" {
		o.Source = "standard input"
		text, err = io.ReadAll(io.LimitReader(g.in, importer.MaxSize+1))
	} else {
		text, err = readFile(path)
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", o.Source, err)
	}
	r := importer.Reader{Node: node}
	if path != "-" {
		r.Open = func(name string) ([]byte, error) {
			if !filepath.IsAbs(name) {
				name = filepath.Join(filepath.Dir(path), name)
			}
			return readFile(name)
		}
	}
	found, err := r.Read(text)
	if err != nil {
		return fmt.Errorf("%s: %w", o.Source, err)
	}
	out, missing, notes := found.Inventory(o)
	for _, n := range notes {
		fmt.Fprintf(g.err, "note: %s\n", printable(n))
	}
	for _, m := range missing {
		fmt.Fprintf(g.err, "missing: %s\n", m)
	}
	if _, err := g.out.Write(out); err != nil {
		return fmt.Errorf("write the inventory: %w", err)
	}
	return nil
}

// readFile reads a file, of a size that makes sense.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, err
	} else if info.IsDir() {
		return nil, &os.PathError{Op: "read", Path: path, Err: errors.New("it is a folder")}
	}
	return io.ReadAll(io.LimitReader(f, importer.MaxSize+1))
}

func importOptions(directors, systems []string) (importer.Options, error) {
	o := importer.Options{OSOf: map[netip.Addr]inventory.OS{}}
	for _, d := range directors {
		p, err := netip.ParsePrefix(d)
		if err != nil {
			// Without a length it is in a network of a usual one.
			a, err := netip.ParseAddr(d)
			if err != nil || a.Zone() != "" {
				return o, fmt.Errorf("--director %q: it is no address, with or without a length", d)
			}
			p = netip.PrefixFrom(a, map[bool]int{true: 24, false: 64}[a.Is4()])
		}
		o.Director = append(o.Director, p)
	}
	for _, s := range systems {
		of, os, one := strings.Cut(s, "=")
		if !one {
			os = of
		}
		if !slices.Contains([]inventory.OS{inventory.Linux, inventory.FreeBSD, inventory.Solaris}, inventory.OS(os)) {
			return o, fmt.Errorf("--os %q: a system is linux, freebsd or solaris", s)
		}
		if !one {
			o.OS = inventory.OS(os)
			continue
		}
		a, err := netip.ParseAddr(of)
		if err != nil {
			return o, fmt.Errorf("--os %q: %q is not an address", s, of)
		}
		o.OSOf[a] = inventory.OS(os)
	}
	return o, nil
}
