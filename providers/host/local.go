package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// AdminPath is where commands are looked up, whatever the login's own PATH
// says: the system's folders before local ones, and Solaris' POSIX tools last,
// for what only they have.
const AdminPath = "/sbin:/usr/sbin:/bin:/usr/bin:/usr/local/sbin:/usr/local/bin:/usr/xpg4/bin"

// MaxFile bounds a file that is read whole, and MaxOutput what a command may
// print, in bytes.
const (
	MaxFile   = 64 << 20
	MaxOutput = 64 << 20
)

// pipeGrace is how long a command's descendants may hold its output open
// after it has ended.
const pipeGrace = 2 * time.Second

// Local is the machine on which the program runs. It is safe for concurrent
// use; its locks exclude each other, and other processes, only through one
// Local per process.
type Local struct {
	Name string // for errors; "": "localhost"

	mu    sync.Mutex
	locks map[string]string // path to holder, of those held through it
}

func (l *Local) name() string {
	if l.Name == "" {
		return "localhost"
	}
	return l.Name
}

// lookup finds name in AdminPath.
func lookup(name string) (string, bool) {
	if strings.Contains(name, "/") {
		return name, true
	}
	for _, dir := range filepath.SplitList(AdminPath) {
		p := filepath.Join(dir, name)
		if info, err := os.Stat(p); err == nil && !info.IsDir() && info.Mode()&0o111 != 0 {
			return p, true
		}
	}
	return "", false
}

// Run runs cmd in a process group of its own, which is ended whole when the
// time is up. The environment is fixed: a login's LC_ALL or IFCONFIG_FORMAT
// would change what commands print.
func (l *Local) Run(ctx context.Context, cmd Cmd) (Result, error) {
	if len(cmd.Argv) == 0 {
		return Result{}, errors.New("run: empty argv")
	}
	failed := func(exit int, stderr string) (Result, error) {
		return Result{Exit: exit, Stderr: []byte(stderr)},
			&ExitError{Host: l.name(), Argv: cmd.Argv, Exit: exit, Stderr: stderr}
	}
	if out, ok := answer(cmd); ok && ctx.Err() == nil {
		return Result{Stdout: out}, nil
	}
	prog, ok := lookup(cmd.Argv[0])
	if !ok {
		return failed(127, cmd.Argv[0]+": command not found\n")
	}
	limit := cmd.Timeout
	if limit == 0 {
		limit = DefaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()

	var stdout, stderr capped
	c := exec.CommandContext(ctx, prog)
	c.Args = slices.Clone(cmd.Argv)
	c.Env = []string{"PATH=" + AdminPath, "LC_ALL=C", "HOME=/", "TERM=dumb"}
	c.Dir = "/"
	if cmd.Stdin != nil {
		c.Stdin = bytes.NewReader(cmd.Stdin)
	}
	c.Stdout, c.Stderr = &stdout, &stderr
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	c.WaitDelay = pipeGrace

	err := c.Run()
	res := Result{Stdout: stdout.Bytes(), Stderr: stderr.Bytes()}
	if c.ProcessState == nil { // never started
		if errors.Is(err, fs.ErrNotExist) {
			return failed(127, err.Error()+"\n")
		}
		if errors.Is(err, fs.ErrPermission) {
			return failed(126, err.Error()+"\n")
		}
		return Result{}, fmt.Errorf("%s: run %s: %w", l.name(), strings.Join(cmd.Argv, " "), err)
	}
	if ctx.Err() != nil && !c.ProcessState.Success() {
		return res, fmt.Errorf("%s: %s: ended after %s: %w", l.name(), strings.Join(cmd.Argv, " "), limit, ctx.Err())
	}
	if stdout.over || stderr.over {
		return res, fmt.Errorf("%s: %s: printed more than %d bytes", l.name(), strings.Join(cmd.Argv, " "), MaxOutput)
	}
	if res.Exit = c.ProcessState.ExitCode(); res.Exit < 0 {
		res.Exit = 255
		if ws, ok := c.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			res.Exit = 128 + int(ws.Signal()) // as the shells say it
		}
	}
	if res.Exit != 0 {
		return res, &ExitError{Host: l.name(), Argv: cmd.Argv, Exit: res.Exit, Stderr: stderr.String()}
	}
	return res, nil
}

// capped keeps the first MaxOutput bytes and swallows the rest, so that the
// command is not blocked by its own noise.
type capped struct {
	bytes.Buffer
	over bool
}

func (c *capped) Write(p []byte) (int, error) {
	if room := MaxOutput - c.Len(); len(p) > room {
		c.over = true
		c.Buffer.Write(p[:room])
		return len(p), nil
	}
	return c.Buffer.Write(p)
}

// ReadFile reads the file that path leads to.
func (l *Local) ReadFile(_ context.Context, path string) (File, error) {
	resolved, err := filepath.EvalSymlinks(path)
	if err != nil {
		return File{}, err
	}
	// A FIFO must not block the agent.
	fd, err := os.OpenFile(resolved, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return File{}, err
	}
	defer fd.Close()
	info, err := fd.Stat()
	if err != nil {
		return File{}, err
	}
	f := fileOf(info)
	f.Path = resolved
	if info.IsDir() {
		return File{}, &fs.PathError{Op: "read", Path: path, Err: syscall.EISDIR}
	}
	if !info.Mode().IsRegular() {
		return f, nil
	}
	if f.Data, err = io.ReadAll(io.LimitReader(fd, MaxFile+1)); err != nil {
		return File{}, err
	}
	if len(f.Data) > MaxFile {
		return File{}, fmt.Errorf("read %s: larger than %d bytes", path, MaxFile)
	}
	return f, nil
}

func fileOf(info fs.FileInfo) File {
	f := File{Mode: info.Mode()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		f.UID, f.GID = int(st.Uid), int(st.Gid)
	}
	return f
}

// ReadDir lists path.
func (l *Local) ReadDir(_ context.Context, path string) ([]Entry, error) {
	list, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	entries := make([]Entry, 0, len(list))
	for _, d := range list {
		e := Entry{Name: d.Name(), Mode: d.Type()}
		if d.IsDir() { // of which the permissions are asked for; the others are read for more
			info, err := d.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue // gone since
			}
			if err != nil {
				return nil, err
			}
			e.Mode = info.Mode()
		}
		if e.Mode&fs.ModeSymlink != 0 {
			if e.Link, err = os.Readlink(filepath.Join(path, d.Name())); errors.Is(err, fs.ErrNotExist) {
				continue
			} else if err != nil {
				return nil, err
			}
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// Write makes f at path. Mode and owner are set before the content is there
// to be read.
func (l *Local) Write(_ context.Context, path string, f File) (err error) {
	switch f.Mode.Type() {
	case fs.ModeDir:
		if err := os.Mkdir(path, 0o700); err != nil {
			return err
		}
	case fs.ModeSymlink:
		if err := os.Symlink(string(f.Data), path); err != nil {
			return err
		}
	case 0:
		fd, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		if err := fill(fd, f); err != nil {
			_ = os.Remove(path)
			return err
		}
		return syncDir(filepath.Dir(path))
	default:
		return &fs.PathError{Op: "write", Path: path, Err: syscall.EINVAL}
	}
	defer func() {
		if err != nil {
			_ = os.Remove(path)
		}
	}()
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if now := fileOf(info); now.UID != f.UID || now.GID != f.GID {
		if err := os.Lchown(path, f.UID, f.GID); err != nil {
			return err
		}
	}
	if f.Mode.IsDir() {
		if err := os.Chmod(path, f.Mode); err != nil {
			return err
		}
		if err := syncDir(path); err != nil {
			return err
		}
	}
	return syncDir(filepath.Dir(path))
}

// fill gives a new, open file f's owner, mode and content, synced, and closes
// it.
func fill(fd *os.File, f File) error {
	err := func() error {
		info, err := fd.Stat()
		if err != nil {
			return err
		}
		if now := fileOf(info); now.UID != f.UID || now.GID != f.GID {
			if err := fd.Chown(f.UID, f.GID); err != nil {
				return err
			}
		}
		if err := fd.Chmod(f.Mode); err != nil {
			return err
		}
		if _, err := fd.Write(f.Data); err != nil {
			return err
		}
		return fd.Sync()
	}()
	return errors.Join(err, fd.Close())
}

// syncDir makes a change of the names in dir durable. File systems that know
// no fsync of a folder say EINVAL (Linux fsync(2)); there is no more to do.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOTSUP) {
		return err
	}
	return nil
}

// Rename moves from over to. A temporary file that takes the place of another one
// gets what that has beside content, mode and owner: its ACL and label.
func (l *Local) Rename(_ context.Context, from, to string) error {
	if info, err := os.Lstat(to); err == nil && info.Mode().IsRegular() && IsTemp(filepath.Base(from)) {
		if by, err := os.Lstat(from); err == nil && by.Mode().IsRegular() {
			if err := keepAttributes(to, from); err != nil {
				return err
			}
		}
	}
	if err := os.Rename(from, to); err != nil {
		return err
	}
	if a, b := filepath.Dir(from), filepath.Dir(to); a != b {
		if err := syncDir(a); err != nil {
			return err
		}
	}
	return syncDir(filepath.Dir(to))
}

// Remove removes path.
func (l *Local) Remove(_ context.Context, path string) error {
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}
