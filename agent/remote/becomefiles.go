package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/lvsfleet/lvsfleet/providers/host"
)

// Where the login is not root's, SFTP is not either: files are read and written
// by these scripts, which get their names as arguments, and data on standard
// input. Each is one line, since csh takes no other. That a name is new is
// looked at first: V7's shell cannot make a file only where there is none, and
// the folders that lvsfleet writes to are root's alone.
const (
	lookScript = `for w in "$@"; do ls -ldn "$w" 2>&1; done; exit 0`
	readScript = `for w in "$@"; do ls -ldn "$w" 2>&1; done; ls -ldnL "$w" 2>&1; ` +
		`if test -f "$w"; then echo data; exec cat "$w"; fi; echo none`
	listScript = `if test -d "$1"; then echo list; exec ls -lnAq "$1/."; fi; ls -ldnL "$1" 2>&1; exit 0`

	newName = `umask 077; if ls -ld "$1" >/dev/null 2>&1; then echo exists; exit 0; fi; ` +
		`if test -d "$2"; then :; else echo nowhere; exit 0; fi; `
	fileScript = newName + `if cat >"$1" && chown "$3" "$1" && chmod "$4" "$1"; then ls -ldn "$1"; sync; exit 0; fi; ` +
		`rm -f "$1"; exit 1`
	folderScript = newName + `if mkdir "$1"; then if chown "$3" "$1" && chmod "$4" "$1"; ` +
		`then ls -ldn "$1"; sync; exit 0; fi; rmdir "$1"; fi; exit 1`
	linkScript = newName + `if ln -s "$3" "$1"; then ls -ldn "$1"; sync; exit 0; fi; exit 1`

	moveScript = "t=`ls -ld \"$2\" 2>/dev/null`; case $t in d*) echo folder; exit 0;; esac; " +
		`if ls -ld "$1" >/dev/null 2>&1; then :; else echo missing; exit 0; fi; ` +
		`if mv -f "$1" "$2"; then sync; echo moved; exit 0; fi; exit 1`
	removeScript = "t=`ls -ld \"$1\" 2>&1`; case $t in d[r-]*) rmdir \"$1\" || exit 1;; [-lbcpsD][r-]*) rm -f \"$1\" || exit 1;; " +
		`*": No such file or directory") echo gone; exit 0;; *) echo "$t" >&2; exit 1;; esac; ` +
		`if ls -ld "$1" >/dev/null 2>&1; then echo "it is still there" >&2; exit 1; fi; sync; echo gone`
)

// scriptRun runs one of them.
func (h *Host) scriptRun(ctx context.Context, op, p, script string, input []byte, args ...string) (string, error) {
	res, err := h.run(ctx, host.Cmd{
		Argv: append([]string{"/bin/sh", "-c", script, "sh"}, args...), Stdin: input, Timeout: patience(len(input)),
	})
	var exit *host.ExitError
	if errors.As(err, &exit) {
		err = &fs.PathError{Op: op, Path: p, Err: fmt.Errorf("%s: exit status %d: %s", h.name, exit.Exit, strings.TrimSpace(exit.Stderr))}
	}
	return string(res.Stdout), err
}

// look gives what each path is, links not followed, and why it cannot be told.
func (h *Host) look(ctx context.Context, paths []string) ([]facts, []error, error) {
	out, err := h.scriptRun(ctx, "lstat", paths[len(paths)-1], lookScript, nil, paths...)
	if err != nil {
		return nil, nil, err
	}
	list, errs, rest, err := parseLook(out, paths)
	if err == nil && rest != "" {
		err = fmt.Errorf("%s: %w: %q", h.name, errNoLine, rest)
	}
	return list, errs, err
}

// parseLook reads the line for each path, and gives what follows.
func parseLook(out string, paths []string) (list []facts, errs []error, rest string, err error) {
	list, errs = make([]facts, len(paths)), make([]error, len(paths))
	for i, p := range paths {
		line, after, ok := strings.Cut(out, "\n")
		if !ok {
			return nil, nil, "", fmt.Errorf("look at %s: %w: %q", p, errNoLine, out)
		}
		list[i], errs[i] = parseOf(line, p)
		out = after
	}
	return list, errs, out, nil
}

// parseRead reads what readScript printed: paths ends with the file's.
func parseRead(out string, paths []string) (list []facts, errs []error, f host.File, err error) {
	p := paths[len(paths)-1]
	list, errs, rest, err := parseLook(out, paths)
	if err != nil {
		return nil, nil, f, err
	}
	at, fails, rest, err := parseLook(rest, []string{p})
	if err != nil {
		return nil, nil, f, err
	}
	if err := errors.Join(fails...); err != nil {
		return nil, nil, f, fails[0]
	}
	f = at[0].File
	kind, data, _ := strings.Cut(rest, "\n")
	switch {
	case f.Mode&fs.ModeSymlink != 0: // ls -L of what leads nowhere is the link itself on some systems
		return nil, nil, f, &fs.PathError{Op: "open", Path: p, Err: fs.ErrNotExist}
	case f.Mode.IsDir():
		return nil, nil, f, &fs.PathError{Op: "read", Path: p, Err: syscall.EISDIR}
	case kind == "none":
		f.Data = nil
	case kind != "data":
		return nil, nil, f, fmt.Errorf("read %s: %w: %q", p, errNoLine, kind)
	case len(data) > host.MaxFile:
		return nil, nil, f, fmt.Errorf("read %s: larger than %d bytes", p, host.MaxFile)
	default:
		f.Data = []byte(data)
	}
	return list, errs, f, nil
}

// ways are p and the folders above it, from the top.
func ways(p string) []string {
	list := []string{p}
	for w := path.Dir(p); w != "/" && w != "."; w = path.Dir(w) {
		list = append(list, w)
	}
	slices.Reverse(list)
	return list
}

// readAsRoot is ReadFile: one round trip, and one more for each link.
func (h *Host) readAsRoot(ctx context.Context, p string) (host.File, error) {
	at := path.Clean(p)
	out, err := h.scriptRun(ctx, "open", p, readScript, nil, ways(at)...)
	if err != nil {
		return host.File{}, err
	}
	list, errs, f, err := parseRead(out, ways(at))
	if err != nil {
		return host.File{}, err
	}
	for range 20 {
		i := slices.IndexFunc(list, func(f facts) bool { return f.Mode&fs.ModeSymlink != 0 })
		if i < 0 {
			for _, err := range errs {
				if err != nil {
					return host.File{}, err
				}
			}
			f.Path = at
			return f, nil
		}
		target, way := string(list[i].Data), ways(at)[i]
		if !path.IsAbs(target) {
			target = path.Join(path.Dir(way), target)
		}
		at = path.Join(target, strings.TrimPrefix(at, way))
		if list, errs, err = h.look(ctx, ways(at)); err != nil {
			return host.File{}, err
		}
	}
	return host.File{}, &fs.PathError{Op: "readlink", Path: p, Err: syscall.ELOOP}
}

// listAsRoot is ReadDir. What of a name does not print comes as "?".
func (h *Host) listAsRoot(ctx context.Context, dir string) ([]host.Entry, error) {
	out, err := h.scriptRun(ctx, "readdir", dir, listScript, nil, dir)
	if err != nil {
		return nil, err
	}
	if text, ok := strings.CutPrefix(out, "list\n"); ok {
		entries, err := parseList(text)
		if err != nil {
			return nil, &fs.PathError{Op: "readdir", Path: dir, Err: err}
		}
		slices.SortFunc(entries, func(a, b host.Entry) int { return strings.Compare(a.Name, b.Name) })
		return entries, nil
	}
	f, err := parseOf(strings.TrimSuffix(out, "\n"), dir)
	switch {
	case err != nil:
		return nil, err
	case f.Mode&fs.ModeSymlink != 0:
		return nil, &fs.PathError{Op: "readdir", Path: dir, Err: fs.ErrNotExist}
	}
	return nil, &fs.PathError{Op: "readdir", Path: dir, Err: syscall.ENOTDIR}
}

// writeAsRoot is Write.
func (h *Host) writeAsRoot(ctx context.Context, p string, f host.File) error {
	script, input := fileScript, f.Data
	args := []string{p, path.Dir(p), fmt.Sprintf("%d:%d", f.UID, f.GID), octal(f.Mode)}
	switch f.Mode.Type() {
	case fs.ModeDir:
		script, input = folderScript, nil
	case fs.ModeSymlink:
		script, input = linkScript, nil
		args = []string{p, path.Dir(p), string(f.Data)}
		if strings.HasPrefix(string(f.Data), "-") {
			return &fs.PathError{Op: "symlink", Path: p, Err: syscall.EINVAL} // ln would take it for an option
		}
	case 0:
	default:
		return &fs.PathError{Op: "write", Path: p, Err: syscall.EINVAL}
	}
	out, err := h.scriptRun(ctx, "write", p, script, input, args...)
	if err != nil {
		return err
	}
	switch out {
	case "exists\n":
		return &fs.PathError{Op: "write", Path: p, Err: fs.ErrExist}
	case "nowhere\n":
		return &fs.PathError{Op: "write", Path: p, Err: fs.ErrNotExist}
	}
	made, err := parseOf(strings.TrimSuffix(out, "\n"), p)
	if err == nil && script == fileScript && made.Size != int64(len(f.Data)) {
		err = &fs.PathError{Op: "write", Path: p, Err: io.ErrShortWrite}
	}
	if err != nil {
		_ = h.removeAsRoot(ctx, p)
	}
	return err
}

// moveAsRoot is Rename.
func (h *Host) moveAsRoot(ctx context.Context, from, to string) error {
	out, err := h.scriptRun(ctx, "rename", from, moveScript, nil, from, to)
	switch {
	case err != nil:
		return err
	case out == "folder\n":
		return &fs.PathError{Op: "rename", Path: to, Err: fs.ErrExist}
	case out == "missing\n":
		return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
	case out != "moved\n":
		return &fs.PathError{Op: "rename", Path: from, Err: fmt.Errorf("the host says %q", out)}
	}
	return nil
}

// removeAsRoot is Remove.
func (h *Host) removeAsRoot(ctx context.Context, p string) error {
	out, err := h.scriptRun(ctx, "remove", p, removeScript, nil, p)
	if err == nil && out != "gone\n" {
		err = &fs.PathError{Op: "remove", Path: p, Err: fmt.Errorf("the host says %q", out)}
	}
	return err
}
