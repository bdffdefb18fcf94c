package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/spf13/cobra"
)

// errUnformatted is an inventory that fmt --check would write anew: 2.
var errUnformatted = errors.New("files are not formatted")

func newFmt(g *globals) *cobra.Command {
	var check bool
	cmd := &cobra.Command{
		Use:   "fmt [SITE]",
		Short: "Write an inventory in its usual form: indentation and aligned values",
		Long: `Rewrites the files of a site in HCL's usual form: two spaces of indentation, values of
neighbouring lines below each other. Nothing but blanks changes. The names of the files
that were changed are printed. With --check nothing is written. A file that is not HCL
is an error, and is left as it is.
` + exitHelp + `  0  every file is in its usual form, or was written so
  1  an error
  2  with --check: a file is not`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return runFmt(g, sitePath(args), check) },
	}
	cmd.Flags().BoolVar(&check, "check", false, "write nothing; print the names of the files that would change")
	return cmd
}

func runFmt(g *globals, path string, check bool) error {
	files, err := hclFiles(path)
	if err != nil {
		return err
	}
	changed := false
	for _, file := range files {
		old, err := readFile(file)
		if err != nil {
			return fmt.Errorf("read %s: %w", file, err)
		}
		if _, diags := hclsyntax.ParseConfig(old, file, hcl.InitialPos); diags.HasErrors() {
			return fmt.Errorf("%s is not formatted, since it cannot be read: lvsfleet validate says where", file)
		}
		next := hclwrite.Format(old)
		if bytes.Equal(old, next) {
			continue
		}
		changed = true
		if !check {
			if err := rewrite(file, next); err != nil {
				return fmt.Errorf("write %s: %w", file, err)
			}
		}
		fmt.Fprintln(g.out, file)
	}
	if changed && check {
		return errUnformatted
	}
	return nil
}

// hclFiles are the files of a site: the file, or a folder's *.hcl.
func hclFiles(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read the inventory: %w", err)
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	all, err := filepath.Glob(filepath.Join(path, "*.hcl"))
	if err != nil {
		return nil, fmt.Errorf("read the inventory: %w", err)
	}
	var files []string
	for _, f := range all {
		if !strings.HasPrefix(filepath.Base(f), ".") {
			files = append(files, f)
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s has no *.hcl file", path)
	}
	return files, nil
}

// rewrite replaces a file in one step, behind the links that lead to it, with its
// mode kept.
func rewrite(file string, text []byte) error {
	real, err := filepath.EvalSymlinks(file)
	if err != nil {
		return err
	}
	info, err := os.Stat(real)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(real), "."+filepath.Base(real)+"-*.tmp")
	if err != nil {
		return err
	}
	_, err = tmp.Write(text)
	err = errors.Join(err, tmp.Chmod(info.Mode().Perm()), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), real)
	}
	if err != nil {
		if rm := os.Remove(tmp.Name()); rm != nil && !errors.Is(rm, fs.ErrNotExist) {
			err = errors.Join(err, rm)
		}
	}
	return err
}
