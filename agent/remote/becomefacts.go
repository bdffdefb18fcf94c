package remote

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"github.com/lvsfleet/lvsfleet/providers/host"
)

// facts are what a line of ls(1) says of a name.
type facts struct {
	host.File       // its Data, of a link, is the target
	Size      int64 // of a regular file
}

// longLine is a line of `ls -ln` in the C locale (POSIX, ls, STDOUT): type and
// permissions, what an ACL or a label adds, links, owner, group, the size or a
// device's numbers, three words of time, and after one space the name.
var longLine = regexp.MustCompile(`^([-dlbcpsD])([-rwxsStTlL]{9})[.+@]? +[0-9]+ +([0-9]+) +([0-9]+) +(?:([0-9]+)|[0-9]+, *[0-9]+) +[A-Z][a-z]{2} +[0-9]{1,2} +[0-9:]{4,5} (.*)$`)

// errNoLine is a line that ls does not print.
var errNoLine = errors.New("not a line of ls")

// parseLong reads a line of `ls -ln`; name is what follows the time.
func parseLong(line string) (f facts, name string, err error) {
	m := longLine.FindStringSubmatch(line)
	if m == nil {
		return f, "", fmt.Errorf("%w: %q", errNoLine, line)
	}
	for i, n := range []*int{&f.UID, &f.GID} {
		id, err := strconv.ParseUint(m[3+i], 10, 32)
		if err != nil {
			return f, "", fmt.Errorf("%w: %q", errNoLine, line)
		}
		*n = int(id)
	}
	if m[5] != "" {
		if f.Size, err = strconv.ParseInt(m[5], 10, 64); err != nil {
			return f, "", fmt.Errorf("%w: %q", errNoLine, line)
		}
	}
	f.Mode = map[string]fs.FileMode{
		"-": 0, "d": fs.ModeDir, "l": fs.ModeSymlink, "b": fs.ModeDevice, "c": fs.ModeDevice | fs.ModeCharDevice,
		"p": fs.ModeNamedPipe, "s": fs.ModeSocket, "D": fs.ModeIrregular, // a door, of Solaris
	}[m[1]] | permissions(m[2])
	return f, m[6], nil
}

// permissions reads "rwxr-sr-t".
func permissions(text string) (mode fs.FileMode) {
	special := []fs.FileMode{fs.ModeSetuid, fs.ModeSetgid, fs.ModeSticky}
	for i, c := range []byte(text) {
		switch bit := fs.FileMode(1) << (8 - i); c {
		case '-':
		case 's', 't':
			mode |= bit | special[i/3]
		case 'S', 'T':
			mode |= special[i/3]
		case 'l', 'L': // mandatory locking, of Solaris: no execution
		default:
			mode |= bit
		}
	}
	return mode
}

// octal is the mode as chmod(1) takes it.
func octal(mode fs.FileMode) string {
	n := uint32(mode.Perm())
	for i, bit := range []fs.FileMode{fs.ModeSetuid, fs.ModeSetgid, fs.ModeSticky} {
		if mode&bit != 0 {
			n |= 0o4000 >> i
		}
	}
	return fmt.Sprintf("%04o", n)
}

// parseOf reads what `ls -ldn NAME` printed, error messages included.
func parseOf(line, name string) (facts, error) {
	f, said, err := parseLong(line)
	if err != nil {
		for text, is := range map[string]error{ // strerror(3), everywhere the same in the C locale
			": No such file or directory": fs.ErrNotExist,
			": Not a directory":           syscall.ENOTDIR,
			": Permission denied":         fs.ErrPermission,
		} {
			if strings.HasSuffix(line, text) {
				return f, &fs.PathError{Op: "lstat", Path: name, Err: is}
			}
		}
		return f, &fs.PathError{Op: "lstat", Path: name, Err: err}
	}
	if f.Mode&fs.ModeSymlink != 0 {
		target, ok := strings.CutPrefix(said, name+" -> ")
		if !ok {
			return f, &fs.PathError{Op: "lstat", Path: name, Err: fmt.Errorf("%w of it: %q", errNoLine, line)}
		}
		f.Data = []byte(target)
		return f, nil
	}
	if said != name {
		return f, &fs.PathError{Op: "lstat", Path: name, Err: fmt.Errorf("%w of it: %q", errNoLine, line)}
	}
	return f, nil
}

// parseList reads what `ls -lnA` printed of a folder.
func parseList(text string) ([]host.Entry, error) {
	entries := []host.Entry{}
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		if line == "" && text == "" || i == 0 && strings.HasPrefix(line, "total ") {
			continue
		}
		f, name, err := parseLong(line)
		if err != nil {
			return nil, err
		}
		e := host.Entry{Name: name, Mode: f.Mode}
		if f.Mode&fs.ModeSymlink != 0 {
			var ok bool
			if e.Name, e.Link, ok = strings.Cut(name, " -> "); !ok {
				return nil, fmt.Errorf("%w of a link: %q", errNoLine, line)
			}
		}
		if e.Name == "" || strings.Contains(e.Name, "/") {
			return nil, fmt.Errorf("%w: %q", errNoLine, line)
		}
		if e.Name != "." && e.Name != ".." {
			entries = append(entries, e)
		}
	}
	return entries, nil
}
