// Package lvsfleet holds no code, only the tests of what the whole tree must
// keep: who may import whom, and a comment on every package.
package lvsfleet

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/lvsfleet/lvsfleet"

type listed struct {
	ImportPath   string
	Dir          string
	Imports      []string
	TestImports  []string
	XTestImports []string
	Deps         []string
}

// packages lists the module's packages as the go command sees them.
func packages(t *testing.T, args ...string) []listed {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Dir,Imports,TestImports,XTestImports,Deps"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.Bytes())
	}
	var list []listed
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	if len(list) == 0 {
		t.Fatal("go list found no package")
	}
	return list
}

// layer gives the height of a package in the house: imports only go down.
func layer(path string) int {
	top, _, _ := strings.Cut(strings.TrimPrefix(path, module+"/"), "/")
	return slices.Index([]string{"templates", "inventory", "providers", "agent", "cmd"}, top)
}

func TestImportsGoDown(t *testing.T) {
	for _, p := range packages(t, "./...") {
		from := layer(p.ImportPath)
		for _, imp := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			if !strings.HasPrefix(imp, module+"/") {
				continue
			}
			to := layer(imp)
			if to > from || from == 1 && to == 0 {
				t.Errorf("%s imports %s", p.ImportPath, imp)
			}
		}
	}
}

// Who takes changes back, and remembers them, is told what a system is like by
// an interface (ledger.System) and names none.
func TestTheEngineAndTheLedgerNameNoSystem(t *testing.T) {
	for _, p := range packages(t, "./agent", "./agent/journal", "./agent/remote", "./providers/ledger") {
		for _, imp := range p.Imports {
			switch strings.TrimPrefix(imp, module+"/providers/") {
			case "linux", "freebsd", "solaris", "director":
				t.Errorf("%s imports %s", p.ImportPath, imp)
			}
		}
	}
}

// What the agent does not need it does not link: every byte of it travels to
// every host, and every parser in it runs as root there.
func TestTheAgentLinksLittle(t *testing.T) {
	for _, p := range packages(t, "./cmd/lvsfleet-agent") {
		for _, dep := range p.Deps {
			for _, no := range []string{
				"github.com/hashicorp/hcl", "github.com/zclconf/go-cty", "golang.org/x/crypto/ssh", "github.com/pkg/sftp",
				module + "/inventory/hclfile", module + "/agent/remote", module + "/agent/lab", module + "/cmd/lvsfleet/internal",
			} {
				if strings.HasPrefix(dep, no) {
					t.Errorf("the agent links %s", dep)
				}
			}
		}
	}
}

func TestEveryPackageHasOneComment(t *testing.T) {
	for _, p := range packages(t, "./...") {
		files, err := filepath.Glob(filepath.Join(p.Dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		var with []string
		code := 0
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") && p.ImportPath != module {
				continue
			}
			code++
			f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.PackageClauseOnly|parser.ParseComments)
			if err != nil {
				t.Error(err)
				continue
			}
			if f.Doc != nil {
				with = append(with, filepath.Base(name))
			}
		}
		if code > 0 && len(with) != 1 {
			t.Errorf("%s: package comments in %q, want one", p.ImportPath, with)
		}
	}
}

// No init functions: nothing registers itself, so what a program does can be
// read from its main.
func TestNoInit(t *testing.T) {
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		for _, decl := range f.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s has an init function", path)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A file named after a system is silently left out everywhere else; planners
// must be tested everywhere. Only what touches a kernel may be so named.
func TestNoFileIsLeftOutByItsName(t *testing.T) {
	allowed := []string{"kernel_linux", "kernel_quick_linux", "kernel_bench_linux", "wire_linux", "real_linux", "neighbours_linux", "local_linux", "local_attr_linux"}
	err := filepath.WalkDir("providers", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		name := strings.TrimSuffix(strings.TrimSuffix(filepath.Base(path), ".go"), "_test")
		for _, system := range []string{"linux", "freebsd", "solaris", "illumos"} {
			if strings.HasSuffix(name, "_"+system) && !slices.ContainsFunc(allowed, func(a string) bool { return strings.HasPrefix(name, a) }) {
				t.Errorf("%s is built on %s alone", path, system)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// What a step means its change says (step.Effect). An ID is a name: nobody but
// the reader of what builds before effects have recorded looks into one.
func TestNobodyReadsAnID(t *testing.T) {
	const reader = "providers/step/earlier.go"
	kinds := []string{
		"address:", "lo0:", "vip:", "gif", "tunnel:", "link:", "route:", "route6:", "route:default", "route6:default",
		"sysctl:", "module:", "systemd:", "file:", "folder:",
	}
	looks := func(name string) bool {
		for _, p := range []string{"Cut", "Has", "Trim", "Split", "Fields", "Contains", "Index", "LastIndex", "Match", "Find", "Parse"} {
			if strings.HasPrefix(name, p) {
				return true
			}
		}
		return false
	}
	// names are what gives an ID: x.ID(), and the fields that hold one.
	names := func(path string, e ast.Expr) bool {
		switch e := e.(type) {
		case *ast.CallExpr:
			s, ok := e.Fun.(*ast.SelectorExpr)
			return ok && s.Sel.Name == "ID" && len(e.Args) == 0
		case *ast.SelectorExpr:
			return e.Sel.Name == "Step" || e.Sel.Name == "ID" && layer(module+"/"+filepath.ToSlash(path)) <= 3 // above, runs have IDs too
		case *ast.Ident:
			return e.Name == "stepID"
		}
		return false
	}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") ||
			path == filepath.FromSlash(reader) || strings.HasPrefix(path, filepath.FromSlash("agent/lab/")) {
			return err
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				s, ok := n.Fun.(*ast.SelectorExpr)
				if ok {
					if from, isIdent := s.X.(*ast.Ident); isIdent && from.Name == "slices" {
						return true // compares whole IDs
					}
				}
				if ok && looks(s.Sel.Name) && slices.ContainsFunc(n.Args, func(e ast.Expr) bool { return names(path, e) }) {
					t.Errorf("%s looks into the ID of a step", fset.Position(n.Pos()))
				}
			case *ast.BasicLit:
				if text, err := strconv.Unquote(n.Value); err == nil && slices.Contains(kinds, text) && layer(module+"/"+filepath.ToSlash(path)) > 2 {
					t.Errorf("%s names a kind of step: %s", fset.Position(n.Pos()), n.Value)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
