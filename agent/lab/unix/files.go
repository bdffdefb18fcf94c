package unix

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"syscall"

	"github.com/pmezard/go-difflib/difflib"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/providers/host"
)

func cat(m *sim.Machine, c *sim.Call) int {
	_, args, ok := Flags(c, "")
	if !ok {
		return sim.RefusedExit
	}
	if len(args) == 0 {
		args = []string{"-"}
	}
	exit := 0
	for _, p := range args {
		if p == "-" {
			_, _ = io.Copy(c.Stdout, c.Stdin)
			continue
		}
		if p == "/dev/null" {
			continue
		}
		f, err := m.FS.ReadFile(abs(c.Dir, p))
		if err != nil {
			exit = fail(c, p, err)
			continue
		}
		_, _ = c.Stdout.Write(f.Data)
	}
	return exit
}

func ls(m *sim.Machine, c *sim.Call) int {
	set, args, ok := Flags(c, "1aAdlnLq")
	if !ok {
		return sim.RefusedExit
	}
	if set['n'] {
		set['l'] = true
	}
	if len(args) == 0 {
		args = []string{"."}
	}
	exit := 0
	for _, p := range args {
		at := abs(c.Dir, p)
		f, err := m.FS.Stat(at, !set['d'] && !set['l'])
		if err != nil {
			exit = fail(c, p, err)
			if m.Identity.OS == "solaris" || m.Identity.OS == "linux" {
				exit = 2 // ls(1) of both; FreeBSD's gives 1
			}
			continue
		}
		if set['l'] {
			// ls(1) follows a link that is named only without -l.
			if f, err = m.FS.Stat(at, set['L']); err != nil && m.Identity.OS != "linux" {
				f, err = m.FS.Stat(at, false) // ls(1) of BSD: the link itself, where it leads nowhere
			}
			if err != nil {
				exit = fail(c, p, err)
				continue
			}
			if !f.Mode.IsDir() || set['d'] {
				c.Printf("%s\n", long(p, f, set['n']))
				continue
			}
			entries, err := m.FS.ReadDir(at)
			if err != nil || !set['A'] || len(args) > 1 {
				return c.Refuse()
			}
			c.Printf("total %d\n", len(entries))
			for _, e := range entries {
				if f, err := m.FS.Stat(path.Join(at, e.Name), false); err == nil {
					c.Printf("%s\n", long(e.Name, f, set['n']))
				}
			}
			continue
		}
		if !f.Mode.IsDir() || set['d'] {
			c.Printf("%s\n", p)
			continue
		}
		if len(args) > 1 {
			return c.Refuse()
		}
		if set['a'] {
			c.Printf(".\n..\n")
		}
		entries, err := m.FS.ReadDir(at)
		if err != nil {
			exit = fail(c, p, err)
		}
		for _, e := range entries {
			if !strings.HasPrefix(e.Name, ".") || set['a'] || set['A'] {
				c.Printf("%s\n", e.Name)
			}
		}
	}
	return exit
}

// long is a line of ls -l, but for the owner, whom only its numbers name and
// who else is root to all of us here.
func long(name string, f host.File, numbers bool) string {
	kind, target := "-", ""
	switch {
	case f.Mode.IsDir():
		kind = "d"
	case f.Mode&fs.ModeSymlink != 0:
		kind, target = "l", " -> "+string(f.Data)
	}
	perm := f.Mode.Perm().String()[1:]
	owner := "root root"
	if numbers {
		owner = fmt.Sprintf("%d %d", f.UID, f.GID)
	}
	return fmt.Sprintf("%s%s 1 %s %d Jan  1 00:00 %s%s", kind, perm, owner, len(f.Data), name, target)
}

// find knows one file and the questions for its permission and its owner's
// and group's number.
func find(m *sim.Machine, c *sim.Call) int {
	if len(c.Argv) < 3 || c.Argv[len(c.Argv)-1] != "-print" {
		return c.Refuse()
	}
	p := c.Argv[1]
	f, err := m.FS.Stat(abs(c.Dir, p), false)
	if err != nil {
		return fail(c, p, err)
	}
	if f.Mode.IsDir() {
		return c.Refuse()
	}
	questions := c.Argv[2 : len(c.Argv)-1]
	for ; len(questions) >= 2; questions = questions[2:] {
		base := 10
		if questions[0] == "-perm" {
			base = 8
		}
		n, err := strconv.ParseUint(questions[1], base, 32)
		if err != nil {
			return c.Refuse()
		}
		var now int
		switch questions[0] {
		case "-perm":
			now = int(f.Mode.Perm())
		case "-user":
			now = f.UID
		case "-group":
			now = f.GID
		default:
			return c.Refuse()
		}
		if now != int(n) {
			return 0
		}
	}
	if len(questions) > 0 {
		return c.Refuse()
	}
	c.Printf("%s\n", p)
	return 0
}

// into gives where src lands: within dst where that is a folder.
func into(m *sim.Machine, dst, src string) string {
	if f, err := m.FS.Stat(dst, true); err == nil && f.Mode.IsDir() {
		return path.Join(dst, path.Base(src))
	}
	return dst
}

func mv(m *sim.Machine, c *sim.Call) int {
	_, args, ok := Flags(c, "f")
	if !ok {
		return sim.RefusedExit
	}
	if len(args) != 2 {
		return c.Refuse()
	}
	from := abs(c.Dir, args[0])
	if err := m.FS.Rename(from, into(m, abs(c.Dir, args[1]), from)); err != nil {
		return fail(c, args[0], err)
	}
	return 0
}

func cp(m *sim.Machine, c *sim.Call) int {
	set, args, ok := Flags(c, "pf")
	if !ok {
		return sim.RefusedExit
	}
	if len(args) != 2 {
		return c.Refuse()
	}
	f, err := m.FS.ReadFile(abs(c.Dir, args[0]))
	if err != nil {
		return fail(c, args[0], err)
	}
	to := into(m, abs(c.Dir, args[1]), args[0])
	mode := f.Mode.Perm()
	if !set['p'] {
		mode &^= 0o022
	}
	if err := m.FS.Store(to, mode, f.Data, false); err != nil {
		return fail(c, args[1], err)
	}
	if set['p'] {
		if err := errors.Join(m.FS.Chmod(to, f.Mode), m.FS.Chown(to, f.UID, f.GID)); err != nil {
			return fail(c, args[1], err)
		}
	}
	return 0
}

func rm(m *sim.Machine, c *sim.Call) int {
	set, args, ok := Flags(c, "fr")
	if !ok {
		return sim.RefusedExit
	}
	exit := 0
	for _, p := range args {
		at := abs(c.Dir, p)
		f, err := m.FS.Stat(at, false)
		switch {
		case err != nil && set['f'] && errors.Is(err, fs.ErrNotExist):
		case err != nil:
			exit = fail(c, p, err)
		case f.Mode.IsDir() && !set['r']:
			c.Errorf("%s: is a directory", p)
			exit = 1
		case at == "/":
			return c.Refuse()
		case m.FS.ReadOnly:
			exit = fail(c, p, syscall.EROFS)
		default:
			m.FS.RemoveAll(at)
			if _, err := m.FS.Stat(at, false); err == nil {
				exit = fail(c, p, fs.ErrPermission)
			}
		}
	}
	return exit
}

func rmdir(m *sim.Machine, c *sim.Call) int {
	_, args, ok := Flags(c, "")
	if !ok {
		return sim.RefusedExit
	}
	exit := 0
	for _, p := range args {
		f, err := m.FS.Stat(abs(c.Dir, p), false)
		if err == nil && !f.Mode.IsDir() {
			err = syscall.ENOTDIR
		}
		if err == nil {
			err = m.FS.Remove(abs(c.Dir, p))
		}
		if err != nil {
			exit = fail(c, p, err)
		}
	}
	return exit
}

func mkdir(m *sim.Machine, c *sim.Call) int {
	mode, parents := fs.FileMode(0o755), false
	args := c.Argv[1:]
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		switch {
		case args[0] == "-p":
			parents = true
		case args[0] == "-m" && len(args) > 1:
			n, err := strconv.ParseUint(args[1], 8, 12)
			if err != nil {
				return c.Refuse()
			}
			mode = fs.FileMode(n)
			args = args[1:]
		default:
			return c.Refuse()
		}
		args = args[1:]
	}
	exit := 0
	for _, p := range args {
		at := abs(c.Dir, p)
		if parents {
			if f, err := m.FS.Stat(at, true); err == nil && f.Mode.IsDir() {
				continue
			}
			above := ""
			for _, part := range strings.Split(strings.Trim(path.Dir(at), "/"), "/") {
				above += "/" + part
				if _, err := m.FS.Stat(above, true); err == nil || above == "/" {
					continue
				}
				if err := m.FS.Write(above, host.File{Mode: fs.ModeDir | 0o755}); err != nil {
					return fail(c, p, err)
				}
			}
		}
		if err := m.FS.Write(at, host.File{Mode: fs.ModeDir | mode}); err != nil {
			exit = fail(c, p, err)
		}
	}
	return exit
}

func ln(m *sim.Machine, c *sim.Call) int {
	set, args, ok := Flags(c, "sf")
	if !ok {
		return sim.RefusedExit
	}
	if len(args) != 2 || !set['s'] {
		return c.Refuse()
	}
	at := into(m, abs(c.Dir, args[1]), args[0])
	if set['f'] {
		if err := m.FS.Remove(at); err != nil {
			return fail(c, args[1], err)
		}
	}
	if err := m.FS.Write(at, host.File{Mode: fs.ModeSymlink | 0o777, Data: []byte(args[0])}); err != nil {
		return fail(c, args[1], err)
	}
	return 0
}

func chmod(m *sim.Machine, c *sim.Call) int {
	_, args, ok := Flags(c, "")
	if !ok || len(args) < 2 {
		return c.Refuse()
	}
	mode, err := strconv.ParseUint(args[0], 8, 12)
	if err != nil {
		return c.Refuse()
	}
	exit := 0
	for _, p := range args[1:] {
		if err := m.FS.Chmod(abs(c.Dir, p), fs.FileMode(mode)); err != nil {
			exit = fail(c, p, err)
		}
	}
	return exit
}

// chown knows numbers, and root and its group by name; it is chgrp too.
func chown(m *sim.Machine, c *sim.Call) int {
	_, args, ok := Flags(c, "")
	if !ok || len(args) < 2 {
		return c.Refuse()
	}
	user, group, haveGroup := strings.Cut(args[0], ":")
	number := func(s string) int {
		if s == "root" || s == "wheel" {
			return 0
		}
		n, err := strconv.ParseUint(s, 10, 31)
		if err != nil {
			return -2
		}
		return int(n)
	}
	uid, gid := number(user), -1
	switch {
	case c.Argv[0] == "chgrp" && haveGroup:
		return c.Refuse()
	case c.Argv[0] == "chgrp":
		uid, gid = -1, uid
	case haveGroup:
		gid = number(group)
	}
	if uid == -2 || gid == -2 {
		return c.Refuse()
	}
	exit := 0
	for _, p := range args[1:] {
		if err := m.FS.Chown(abs(c.Dir, p), uid, gid); err != nil {
			exit = fail(c, p, err)
		}
	}
	return exit
}

func touch(m *sim.Machine, c *sim.Call) int {
	_, args, ok := Flags(c, "")
	if !ok || len(args) == 0 {
		return c.Refuse()
	}
	exit := 0
	for _, p := range args {
		if err := m.FS.Store(abs(c.Dir, p), 0o644, nil, true); err != nil {
			exit = fail(c, p, err)
		}
	}
	return exit
}

// operand reads a file, or standard input for "-".
func operand(m *sim.Machine, c *sim.Call, p string) ([]byte, error) {
	if p == "-" {
		return io.ReadAll(c.Stdin)
	}
	if p == "/dev/null" {
		return nil, nil
	}
	f, err := m.FS.ReadFile(abs(c.Dir, p))
	return f.Data, err
}

func cmp(m *sim.Machine, c *sim.Call) int {
	set, args, ok := Flags(c, "s")
	if !ok {
		return sim.RefusedExit
	}
	if len(args) != 2 {
		return c.Refuse()
	}
	var text [2][]byte
	for i, p := range args {
		var err error
		if text[i], err = operand(m, c, p); err != nil {
			if !set['s'] {
				fail(c, p, err)
			}
			return 2
		}
	}
	if bytes.Equal(text[0], text[1]) {
		return 0
	}
	if set['s'] {
		return 1
	}
	for i := 0; ; i++ {
		switch {
		case i == len(text[0]) || i == len(text[1]):
			short := args[0]
			if i == len(text[1]) {
				short = args[1]
			}
			c.Errorf("EOF on %s", short)
			return 1
		case text[0][i] != text[1][i]:
			c.Printf("%s %s differ: char %d, line %d\n", args[0], args[1], i+1, 1+bytes.Count(text[0][:i], []byte("\n")))
			return 1
		}
	}
}

func diff(m *sim.Machine, c *sim.Call) int {
	set, args, ok := Flags(c, "u")
	if !ok {
		return sim.RefusedExit
	}
	if len(args) != 2 || !set['u'] {
		return c.Refuse()
	}
	var text [2][]byte
	for i, p := range args {
		var err error
		if text[i], err = operand(m, c, p); err != nil {
			fail(c, p, err)
			return 2
		}
	}
	if bytes.Equal(text[0], text[1]) {
		return 0
	}
	out, err := difflib.GetUnifiedDiffString(difflib.UnifiedDiff{
		A: difflib.SplitLines(strings.TrimSuffix(string(text[0]), "\n")), B: difflib.SplitLines(strings.TrimSuffix(string(text[1]), "\n")),
		FromFile: args[0], ToFile: args[1], Context: 3,
	})
	if err != nil {
		return c.Refuse()
	}
	c.Printf("%s", out)
	return 1
}
