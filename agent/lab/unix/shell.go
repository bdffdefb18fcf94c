// Package unix holds what every simulated system has: the shell and the small
// commands of V7 and POSIX that scripts use, over a sim.Machine.
package unix

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
)

// A Shell runs scripts on a machine: commands are the machine's, files are
// those of its file system.
type Shell struct {
	Scope *sim.Scope
	Call  *sim.Call // streams, environment and folder; Argv[0] is the shell's name
	PID   int       // what $$ says
	// Old is the Bourne shell of System V: it knows no $( ), no $(( )), no
	// ${x#y}, no ! and no test -e.
	Old bool
	// After, if set, sees the variables when the script is done.
	After func(name, value string)

	mu    sync.Mutex
	umask fs.FileMode
	name  string      // what $0 says
	dead  func() bool // whether the process was killed; nil: it is none
}

// Run runs script with the positional parameters params, read as it goes where
// it comes from a stream: what the script leaves unread is its commands'
// standard input. It gives the exit status.
func (s *Shell) Run(script io.Reader, name string, params []string) int {
	s.umask, s.name = 0o022, name
	s.Call.Fill()
	if s.PID != 0 && !s.Scope.Held() {
		s.dead = s.Scope.M.Mortal(s.PID)
	}
	lock := &sync.Mutex{}
	out, errs := &syncWriter{mu: lock, w: s.Call.Stdout}, &syncWriter{mu: lock, w: s.Call.Stderr}
	if s.Call.Stderr == s.Call.Stdout {
		errs = out
	}
	// One pipe is the standard input of the shell, of its commands and of
	// `read`, and holds the script where that comes from there.
	var in *os.File
	if !s.Scope.Held() {
		var err error
		if in, err = s.input(); err != nil {
			fmt.Fprintf(errs, "%s: %v\n", name, err)
			return 2
		}
		defer in.Close()
		if script == s.Call.Stdin {
			script = in
		}
	}
	r, err := interp.New(
		interp.StdIO(in, out, errs),
		interp.Dir("/"),
		interp.Env(environ{s}),
		interp.Params(append([]string{"--"}, params...)...),
		interp.CallHandler(s.call),
		interp.ExecHandlers(func(interp.ExecHandlerFunc) interp.ExecHandlerFunc { return s.exec }),
		interp.OpenHandler(s.open),
		interp.ReadDirHandler2(s.readDir),
		interp.StatHandler(s.stat),
		interp.AccessHandler(s.access),
	)
	if err != nil {
		fmt.Fprintf(errs, "%s: %v\n", name, err)
		return 2
	}
	r.Reset()
	r.Dir = s.Call.Dir
	parser := syntax.NewParser(syntax.Variant(syntax.LangPOSIX))
	// One byte at a time, as a shell reads a script from a pipe: the rest
	// belongs to the commands.
	for stmts, err := range parser.InteractiveSeq(oneByte{script}) {
		if err != nil {
			fmt.Fprintf(errs, "%s: Syntax error: %s\n", name, syntaxText(err))
			return 2
		}
		if parser.Incomplete() {
			continue
		}
		for _, stmt := range stmts {
			if what := s.refused(stmt); what != "" {
				fmt.Fprintf(errs, "%s: syntax error at line %d: %s\n", name, stmt.Pos().Line(), what)
				return 2
			}
			err = r.Run(s.Call.Context, stmt)
			if r.Exited() {
				return exitStatus(errs, name, err)
			}
		}
		if s.Call.Context.Err() != nil {
			return 143
		}
	}
	if parser.Incomplete() {
		fmt.Fprintf(errs, "%s: Syntax error: end of file unexpected\n", name)
		return 2
	}
	if s.After != nil {
		for name, v := range r.Vars {
			s.After(name, v.String())
		}
	}
	return int(lastStatus(r))
}

// input makes a pipe of the call's standard input.
func (s *Shell) input() (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	go func() {
		defer w.Close()
		_, _ = io.Copy(onlyWriter{w}, s.Call.Stdin)
	}()
	return r, nil
}

// onlyWriter keeps io.Copy from splicing between pipes, which does not end
// when the reader goes.
type onlyWriter struct{ io.Writer }

// lastStatus is $?.
func lastStatus(r *interp.Runner) uint8 {
	stmts, err := syntax.NewParser().Parse(strings.NewReader("exit $?"), "")
	if err != nil {
		return 2
	}
	var status interp.ExitStatus
	errors.As(r.Run(context.Background(), stmts), &status)
	return uint8(status)
}

func exitStatus(errs io.Writer, name string, err error) int {
	if err == nil {
		return 0
	}
	var status interp.ExitStatus
	if errors.As(err, &status) {
		return int(status)
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return 143
	}
	fmt.Fprintf(errs, "%s: %v\n", name, err)
	return 2
}

func syntaxText(err error) string {
	var p syntax.ParseError
	if errors.As(err, &p) {
		return p.Text
	}
	return err.Error()
}

// refused says what of stmt the old Bourne shell does not know, and makes $$
// and $0 the machine's own.
func (s *Shell) refused(stmt *syntax.Stmt) (what string) {
	syntax.Walk(stmt, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.ParamExp:
			switch {
			case n.Param == nil:
			case n.Param.Value == "$":
				n.Param.Value = pidVariable
			case n.Param.Value == "0":
				n.Param.Value = nameVariable
			}
			if s.Old && (n.Length || n.Slice != nil || n.Repl != nil || n.Exp != nil &&
				n.Exp.Op != syntax.AlternateUnsetOrNull && n.Exp.Op != syntax.AlternateUnset &&
				n.Exp.Op != syntax.DefaultUnsetOrNull && n.Exp.Op != syntax.DefaultUnset &&
				n.Exp.Op != syntax.ErrorUnsetOrNull && n.Exp.Op != syntax.ErrorUnset &&
				n.Exp.Op != syntax.AssignUnsetOrNull && n.Exp.Op != syntax.AssignUnset) {
				what = "bad substitution"
			}
		case *syntax.CmdSubst:
			if s.Old && !n.Backquotes {
				what = "`$' unexpected"
			}
		case *syntax.ArithmExp:
			if s.Old {
				what = "`$' unexpected"
			}
		case *syntax.Stmt:
			if s.Old && n.Negated {
				what = "!: not found"
			}
		case *syntax.CallExpr:
			if s.Old && len(n.Args) > 1 {
				if name := n.Args[0].Lit(); (name == "test" || name == "[") && n.Args[1].Lit() == "-e" {
					what = "test: argument expected" // V7 has -f, -d, -r, -w, -x, -s, -t
				}
			}
		}
		return true
	})
	return what
}

// The names that $$ and $0 are looked up by, since the interpreter answers
// those two itself.
const (
	pidVariable  = "LVSFLEET_LAB_PID"
	nameVariable = "LVSFLEET_LAB_NAME"
)

// environ is the environment of the call, with what a login leaves there.
type environ struct{ s *Shell }

func (e environ) Get(name string) expand.Variable {
	text := func(v string) expand.Variable {
		return expand.Variable{Set: true, Exported: true, Kind: expand.String, Str: v}
	}
	switch name { // a shell's own, not those of the one that called it
	case pidVariable:
		return text(strconv.Itoa(e.s.PID))
	case nameVariable:
		return text(e.s.name)
	}
	if v := e.s.Call.Env(name); v != "" {
		return text(v)
	}
	switch name {
	case "PPID":
		return text("1")
	case "HOME":
		return text("/root")
	case "UID", "EUID", "GID":
		return text("0")
	case "PATH":
		return text("/sbin:/bin:/usr/sbin:/usr/bin")
	}
	return expand.Variable{}
}

func (e environ) Each(func(string, expand.Variable) bool) {}

// call keeps the interpreter from doing by itself what belongs to the machine.
func (s *Shell) call(_ context.Context, args []string) ([]string, error) {
	switch args[0] {
	case "export":
		return []string{"true"}, nil // commands get every variable here
	case "kill", "echo":
		return append([]string{"/bin/" + args[0]}, args[1:]...), nil
	case "command":
		if len(args) == 3 && args[1] == "-v" {
			return []string{"/usr/bin/which", args[2]}, nil
		}
	case "umask":
		if len(args) == 2 {
			mode, err := strconv.ParseUint(args[1], 8, 9)
			if err != nil {
				return []string{"false"}, nil //nolint:nilerr // umask fails, the shell goes on
			}
			s.mu.Lock()
			s.umask = fs.FileMode(mode)
			s.mu.Unlock()
			return []string{"true"}, nil
		}
	case "trap":
		// The signals that end a process do not exist here; leaving does.
		if len(args) > 2 {
			for _, sig := range args[2:] {
				if sig == "0" || sig == "EXIT" {
					return []string{"trap", args[1], "EXIT"}, nil
				}
			}
			return []string{"true"}, nil
		}
	}
	return args, nil
}

func (s *Shell) exec(ctx context.Context, args []string) error {
	hc := interp.HandlerCtx(ctx)
	if err := s.alive(); err != nil {
		return err
	}
	exit := s.Scope.Exec(&sim.Call{
		Context: ctx, Argv: args, Dir: hc.Dir, Stdin: hc.Stdin, Stdout: hc.Stdout, Stderr: hc.Stderr,
		PID: s.PID,
		Env: func(name string) string { return hc.Env.Get(name).String() },
	})
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.alive(); err != nil {
		return err
	}
	if exit != 0 {
		return interp.ExitStatus(uint8(exit))
	}
	return nil
}

// errKilled ends a script in the middle.
var errKilled = errors.New("killed")

func (s *Shell) alive() error {
	if s.dead != nil && s.dead() {
		return errKilled
	}
	return nil
}

func abs(dir, p string) string {
	if path.IsAbs(p) {
		return p
	}
	return path.Join(dir, p)
}

func (s *Shell) open(ctx context.Context, p string, flag int, perm os.FileMode) (io.ReadWriteCloser, error) {
	if err := s.alive(); err != nil {
		return nil, err
	}
	p = abs(interp.HandlerCtx(ctx).Dir, p)
	if p == "/dev/null" {
		return os.OpenFile(os.DevNull, flag, perm)
	}
	var f io.ReadWriteCloser
	var err error
	s.Scope.Locked(func() {
		if flag&(os.O_WRONLY|os.O_RDWR) == 0 {
			file, rerr := s.Scope.M.FS.ReadFile(p)
			f, err = readFile{bytes.NewReader(file.Data)}, rerr
			return
		}
		s.mu.Lock()
		perm &^= s.umask
		s.mu.Unlock()
		err = s.Scope.M.FS.Store(p, perm, nil, flag&os.O_TRUNC == 0)
		f = &writeFile{s: s, path: p}
	})
	if err != nil {
		op := "cannot open"
		if flag&(os.O_WRONLY|os.O_RDWR) != 0 {
			op = "cannot create"
		}
		return nil, &os.PathError{Op: path.Base(s.Call.Argv[0]) + ": " + op, Path: p, Err: errors.New(Strerror(err))}
	}
	return f, nil
}

// cause is the system's error beneath a path error.
func cause(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

type readFile struct{ io.Reader }

func (readFile) Write([]byte) (int, error) { return 0, errors.New("not open for writing") }
func (readFile) Close() error              { return nil }

type writeFile struct {
	s    *Shell
	path string
}

func (*writeFile) Read([]byte) (int, error) { return 0, io.EOF }
func (*writeFile) Close() error             { return nil }

func (w *writeFile) Write(p []byte) (n int, err error) {
	w.s.Scope.Locked(func() { err = w.s.Scope.M.FS.Store(w.path, 0o644, p, true) })
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

func (s *Shell) readDir(ctx context.Context, p string) (list []fs.DirEntry, err error) {
	p = abs(interp.HandlerCtx(ctx).Dir, p)
	s.Scope.Locked(func() {
		entries, rerr := s.Scope.M.FS.ReadDir(p)
		err = rerr
		for _, e := range entries {
			list = append(list, fs.FileInfoToDirEntry(Info{Base: e.Name, Bits: e.Mode}))
		}
	})
	return list, err
}

func (s *Shell) stat(ctx context.Context, p string, follow bool) (info fs.FileInfo, err error) {
	p = abs(interp.HandlerCtx(ctx).Dir, p)
	s.Scope.Locked(func() {
		f, serr := s.Scope.M.FS.Stat(p, follow)
		info, err = Info{Base: path.Base(p), Bits: f.Mode, Bytes: int64(len(f.Data)), UID: f.UID, GID: f.GID}, serr
	})
	return info, err
}

// access is root's: everything may be read and written, and run what has an x.
func (s *Shell) access(ctx context.Context, p string, mode interp.AccessMode) error {
	info, err := s.stat(ctx, p, true)
	if err != nil {
		return err
	}
	if mode&interp.AccessExec != 0 && !info.IsDir() && info.Mode().Perm()&0o111 == 0 {
		return fs.ErrPermission
	}
	return nil
}

// oneByte reads a byte at a time.
type oneByte struct{ r io.Reader }

func (o oneByte) Read(p []byte) (int, error) { return o.r.Read(p[:min(len(p), 1)]) }

// syncWriter lets the parts of a pipeline write to one stream.
type syncWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (s *syncWriter) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Write(p)
}
