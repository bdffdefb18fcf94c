package hclfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/lvsfleet/lvsfleet/inventory"
)

// maxFile bounds a file, in bytes.
const maxFile = 16 << 20

// siteFiles lists the files of a site: the file itself, or the *.hcl files of
// a folder, sorted. Hidden ones (an editor's locks and copies) are left out.
func (l *loader) siteFiles(path string) []string {
	info, err := os.Stat(path)
	if err != nil {
		l.fileError(path, err)
		return nil
	}
	if !info.IsDir() {
		if !l.regular(path, info) {
			return nil
		}
		return []string{path}
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		l.fileError(path, err)
		return nil
	}
	var files []string
	for _, e := range entries {
		if n := e.Name(); strings.HasSuffix(n, ".hcl") && !strings.HasPrefix(n, ".") && !e.IsDir() {
			file := filepath.Join(path, n)
			// What cannot be looked at cannot be read either, and that is told.
			if info, err := os.Stat(file); err == nil && !l.regular(file, info) {
				continue
			}
			files = append(files, file)
		}
	}
	if len(files) == 0 && !l.broken {
		l.broken = true
		l.report(hcl.Range{Filename: path}, "No site here",
			"The folder %s holds no file that ends in .hcl.", path)
	}
	return files
}

// regular refuses what is no file: a pipe or a device may never end, and a
// site is read by several commands.
func (l *loader) regular(path string, info fs.FileInfo) bool {
	if info.Mode().IsRegular() {
		return true
	}
	l.broken = true
	l.report(hcl.Range{Filename: path}, "Cannot read "+path, "%s is neither a file nor a folder, but a %s.", path, kindOf(info.Mode()))
	return false
}

func kindOf(m fs.FileMode) string {
	switch {
	case m&fs.ModeNamedPipe != 0:
		return "pipe"
	case m&fs.ModeSocket != 0:
		return "socket"
	case m&fs.ModeDevice != 0:
		return "device"
	}
	return "folder" // with the name of a file, within a site's folder
}

func (l *loader) fileError(path string, err error) {
	l.broken = true
	hint := ""
	if errors.Is(err, fs.ErrNotExist) {
		hint = " Name a file or a folder with *.hcl files."
	}
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	l.report(hcl.Range{Filename: path}, "Cannot read "+path, "%s: %v.%s", path, err, hint)
}

// read gives the content of a text file, or nil and a diagnostic.
func (l *loader) read(path string) []byte {
	f, err := os.Open(path)
	if err != nil {
		l.fileError(path, err)
		return nil
	}
	defer f.Close() // read only: nothing is lost
	src, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		l.fileError(path, err)
		return nil
	}
	l.digest.add(filepath.Base(path), src)
	if len(src) > maxFile {
		l.broken = true
		l.code(inventory.CodeSize, hcl.Range{Filename: path}, "%s is larger than 16 MiB. %s", path,
			inventory.RuleOf(inventory.CodeSize).Cure)
		return nil
	}
	if at, why := notText(src); why != "" {
		l.broken = true
		line := 1 + bytes.Count(src[:at], []byte("\n"))
		l.code(inventory.CodeText, hcl.Range{Filename: path, Start: hcl.Pos{Line: line, Column: 1}, End: hcl.Pos{Line: line, Column: 1}},
			"%s is not a text file: %s. %s", path, why, inventory.RuleOf(inventory.CodeText).Cure)
		return nil
	}
	if src == nil {
		src = []byte{}
	}
	return src
}

// notText finds the first byte that no UTF-8 text holds.
func notText(src []byte) (at int, why string) {
	if bytes.HasPrefix(src, []byte("\xff\xfe")) || bytes.HasPrefix(src, []byte("\xfe\xff")) {
		return 0, "it is UTF-16, not UTF-8"
	}
	if i := bytes.IndexByte(src, 0); i >= 0 {
		return i, fmt.Sprintf("byte %d is zero", i)
	}
	if utf8.Valid(src) {
		return 0, ""
	}
	for i := 0; i < len(src); {
		r, n := utf8.DecodeRune(src[i:])
		if r == utf8.RuneError && n == 1 {
			return i, fmt.Sprintf("byte %d, %#02x, is not UTF-8", i, src[i])
		}
		i += n
	}
	return 0, ""
}

// parse reads and parses one file, nil where nothing of it can be used.
func (l *loader) parse(path string) *hclsyntax.Body {
	l.paths = append(l.paths, path)
	src := l.read(path)
	if src == nil {
		return nil
	}
	l.sources[path] = &hcl.File{Bytes: src}
	masked, ok := l.guard(path, src)
	if !ok {
		l.broken = true
		return nil
	}
	file, diags := hclsyntax.ParseConfig(masked, path, hcl.InitialPos)
	if file != nil {
		l.sources[path] = &hcl.File{Bytes: src, Nav: file.Nav}
	}
	for _, d := range diags {
		// Of an attribute that stands twice the rest is read all the same.
		l.broken = l.broken || d.Severity == hcl.DiagError && d.Summary != "Attribute redefined"
	}
	l.syntax(diags)
	if file == nil {
		return nil
	}
	body, _ := file.Body.(*hclsyntax.Body)
	if body != nil {
		l.budget.watch(body)
	}
	return body
}
