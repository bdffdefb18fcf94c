package sim

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"sort"
	"strings"
	"syscall"

	"github.com/lvsfleet/lvsfleet/providers/host"
)

// An FS is a file system in memory: folders, files and symbolic links with
// permission bits and owners. It is not safe for concurrent use; a Machine
// guards its own.
type FS struct {
	nodes map[string]*host.File // by clean absolute path; "/" is there
	// Full makes every write fail with ENOSPC, ReadOnly with EROFS.
	Full     bool
	ReadOnly bool
	// Live gives the text of files that a kernel makes up when they are read
	// (/proc), which no listing shows; nil: there are none.
	Live func(p string) (text string, ok bool)

	user int // who has it (AccessAs); 0: root
}

// NewFS makes an empty file system.
func NewFS() *FS {
	return &FS{nodes: map[string]*host.File{"/": {Mode: fs.ModeDir | 0o755}}}
}

func perr(op, p string, err error) error { return &fs.PathError{Op: op, Path: p, Err: err} }

// resolve follows the symbolic links in p; with last, also one at its end.
func (f *FS) resolve(p string, last bool) (string, error) {
	if !strings.HasPrefix(p, "/") {
		return "", perr("open", p, errors.New("path is not absolute"))
	}
	rest := strings.Split(strings.Trim(path.Clean(p), "/"), "/")
	at := "/"
	for hops := 0; len(rest) > 0 && rest[0] != ""; {
		next := path.Join(at, rest[0])
		if dir := f.nodes[at]; dir != nil && dir.Mode.IsDir() && !f.may(dir, 1) {
			return "", perr("open", p, fs.ErrPermission)
		}
		n := f.nodes[next]
		if n != nil && n.Mode&fs.ModeSymlink != 0 && (last || len(rest) > 1) {
			if hops++; hops > 20 {
				return "", perr("open", p, syscall.ELOOP)
			}
			target := string(n.Data)
			if !strings.HasPrefix(target, "/") {
				target = path.Join(at, target)
			}
			rest = append(strings.Split(strings.Trim(path.Clean(target), "/"), "/"), rest[1:]...)
			at = "/"
			continue
		}
		at, rest = next, rest[1:]
	}
	return at, nil
}

// ReadFile reads the file at p, links followed.
func (f *FS) ReadFile(p string) (host.File, error) {
	at, err := f.resolve(p, true)
	if err != nil {
		return host.File{}, err
	}
	n := f.nodes[at]
	if n == nil && f.Live != nil {
		if text, ok := f.Live(at); ok {
			return host.File{Path: at, Mode: 0o644, Data: []byte(text)}, nil
		}
	}
	if n == nil {
		return host.File{}, perr("open", p, fs.ErrNotExist)
	}
	if n.Mode.IsDir() {
		return host.File{}, perr("read", p, syscall.EISDIR)
	}
	if !f.may(n, 4) {
		return host.File{}, perr("open", p, fs.ErrPermission)
	}
	c := *n
	c.Path, c.Data = at, slices.Clone(n.Data)
	return c, nil
}

// Stat says what p is; with follow, of a link what it leads to.
func (f *FS) Stat(p string, follow bool) (host.File, error) {
	at, err := f.resolve(p, follow)
	if err != nil {
		return host.File{}, err
	}
	n := f.nodes[at]
	if n == nil && f.Live != nil {
		if _, ok := f.Live(at); ok {
			return host.File{Path: at, Mode: 0o444}, nil // proc(5) says no size
		}
	}
	if n == nil {
		return host.File{}, perr("stat", p, fs.ErrNotExist)
	}
	c := *n
	c.Path = at
	return c, nil
}

// ReadDir lists the folder p.
func (f *FS) ReadDir(p string) ([]host.Entry, error) {
	at, err := f.resolve(p, true)
	if err != nil {
		return nil, err
	}
	n := f.nodes[at]
	if n == nil {
		return nil, perr("open", p, fs.ErrNotExist)
	}
	if !n.Mode.IsDir() {
		return nil, perr("readdir", p, syscall.ENOTDIR)
	}
	if !f.may(n, 4) {
		return nil, perr("open", p, fs.ErrPermission)
	}
	var list []host.Entry
	for name, c := range f.nodes {
		if name == "/" || path.Dir(name) != at {
			continue
		}
		e := host.Entry{Name: path.Base(name), Mode: c.Mode}
		if c.Mode&fs.ModeSymlink != 0 {
			e.Link = string(c.Data)
		}
		list = append(list, e)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	return list, nil
}

func (f *FS) writable(op, p string) error {
	if f.ReadOnly {
		return perr(op, p, syscall.EROFS)
	}
	return nil
}

// Write makes what n says at p, which must not exist.
func (f *FS) Write(p string, n host.File) error {
	if err := f.writable("open", p); err != nil {
		return err
	}
	if f.Full {
		return perr("write", p, syscall.ENOSPC)
	}
	at, err := f.resolve(p, false)
	if err != nil {
		return err
	}
	if f.nodes[at] != nil {
		return perr("open", p, fs.ErrExist)
	}
	if dir := f.nodes[path.Dir(at)]; dir == nil {
		return perr("open", p, fs.ErrNotExist)
	} else if !dir.Mode.IsDir() {
		return perr("open", p, syscall.ENOTDIR)
	}
	if err := f.mayName("open", at); err != nil {
		return err
	}
	n.Path, n.Data = "", slices.Clone(n.Data)
	if f.user != 0 {
		n.UID, n.GID = f.user, f.user
	}
	f.nodes[at] = &n
	return nil
}

// Rename moves from over to.
func (f *FS) Rename(from, to string) error {
	if err := f.writable("rename", from); err != nil {
		return err
	}
	src, err := f.resolve(from, false)
	if err != nil {
		return err
	}
	dst, err := f.resolve(to, false)
	if err != nil {
		return err
	}
	if err := errors.Join(f.mayName("rename", src), f.mayName("rename", dst)); err != nil {
		return err
	}
	n := f.nodes[src]
	if n == nil || f.nodes[path.Dir(dst)] == nil {
		return perr("rename", from, fs.ErrNotExist)
	}
	if old := f.nodes[dst]; old != nil && old.Mode.IsDir() != n.Mode.IsDir() {
		return perr("rename", from, syscall.EISDIR)
	}
	if n.Mode.IsDir() {
		if f.nodes[dst] != nil {
			return perr("rename", from, fs.ErrExist)
		}
		for name, c := range f.nodes {
			if strings.HasPrefix(name, src+"/") {
				delete(f.nodes, name)
				f.nodes[dst+name[len(src):]] = c
			}
		}
	}
	delete(f.nodes, src)
	f.nodes[dst] = n
	return nil
}

// Remove removes a file, a link or an empty folder; what is not there is no
// error.
func (f *FS) Remove(p string) error {
	if err := f.writable("remove", p); err != nil {
		return err
	}
	at, err := f.resolve(p, false)
	if err != nil {
		return err
	}
	n := f.nodes[at]
	if n == nil {
		return nil
	}
	if err := f.mayName("remove", at); err != nil {
		return err
	}
	if n.Mode.IsDir() {
		for name := range f.nodes {
			if strings.HasPrefix(name, at+"/") {
				return perr("remove", p, syscall.ENOTEMPTY)
			}
		}
	}
	delete(f.nodes, at)
	return nil
}

// Put writes a regular file as an installer would: folders above it are made,
// what was there is replaced, links are followed. It panics on a path that
// cannot be, which is a mistake in the lab.
func (f *FS) Put(p string, mode fs.FileMode, data string) {
	f.MkdirAll(path.Dir(p))
	at, err := f.resolve(p, true)
	if err != nil {
		panic(fmt.Sprintf("lab: put %s: %v", p, err))
	}
	f.nodes[at] = &host.File{Mode: mode, Data: []byte(data)}
}

// Link makes p a symbolic link to target, as an installer would.
func (f *FS) Link(p, target string) {
	f.MkdirAll(path.Dir(p))
	f.nodes[path.Clean(p)] = &host.File{Mode: fs.ModeSymlink | 0o777, Data: []byte(target)}
}

// MkdirAll makes p and the folders above it.
func (f *FS) MkdirAll(p string) {
	at := ""
	for _, part := range strings.Split(strings.Trim(path.Clean(p), "/"), "/") {
		if at += "/" + part; at == "/" {
			return
		}
		if real, err := f.resolve(at, true); err == nil {
			at = real
		}
		if f.nodes[at] == nil {
			f.nodes[at] = &host.File{Mode: fs.ModeDir | 0o755}
		}
	}
}

// ClearFiles removes every file and link below dir and keeps the folders.
func (f *FS) ClearFiles(dir string) {
	at, err := f.resolve(dir, true)
	if err != nil {
		return
	}
	for name, n := range f.nodes {
		if strings.HasPrefix(name, at+"/") && !n.Mode.IsDir() {
			delete(f.nodes, name)
		}
	}
}

// Walk visits everything below dir in the order of the names, links not
// followed.
func (f *FS) Walk(dir string, visit func(p string, n host.File)) {
	var names []string
	for name := range f.nodes {
		if dir == "/" || name == dir || strings.HasPrefix(name, dir+"/") {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	for _, name := range names {
		n := *f.nodes[name]
		n.Path = name
		visit(name, n)
	}
}

// RemoveAll removes p, without following a link at its end, and everything
// below it.
func (f *FS) RemoveAll(p string) {
	at, err := f.resolve(p, false)
	if err != nil || f.mayName("remove", at) != nil {
		return
	}
	for name := range f.nodes {
		if name != "/" && (name == at || strings.HasPrefix(name, strings.TrimSuffix(at, "/")+"/")) {
			delete(f.nodes, name)
		}
	}
}

// MkdirMode makes p, and the folders above it, with the mode's permission bits
// on those that were not there.
func (f *FS) MkdirMode(p string, mode fs.FileMode) {
	for dir := path.Clean(p); dir != "/"; dir = path.Dir(dir) {
		if at, err := f.resolve(dir, true); err == nil && f.nodes[at] == nil {
			f.nodes[at] = &host.File{Mode: fs.ModeDir | mode.Perm()}
		}
	}
}

// Chmod sets the permission bits of p, links followed.
func (f *FS) Chmod(p string, mode fs.FileMode) error {
	return f.attr("chmod", p, func(n *host.File) { n.Mode = n.Mode.Type() | mode.Perm() })
}

// Chown sets the owner of p, links followed; -1 keeps what is there.
func (f *FS) Chown(p string, uid, gid int) error {
	return f.attr("chown", p, func(n *host.File) {
		if uid >= 0 {
			n.UID = uid
		}
		if gid >= 0 {
			n.GID = gid
		}
	})
}

func (f *FS) attr(op, p string, set func(*host.File)) error {
	if err := f.writable(op, p); err != nil {
		return err
	}
	at, err := f.resolve(p, true)
	if err != nil {
		return err
	}
	n := f.nodes[at]
	if n == nil {
		return perr(op, p, fs.ErrNotExist)
	}
	if f.user != 0 && (op == "chown" || op == "chmod" && n.UID != f.user || !f.may(n, 2)) {
		return perr(op, p, fs.ErrPermission)
	}
	set(n)
	return nil
}

// Store puts data at p as an open with O_CREATE does: what is there keeps its
// mode and owner, appended to or replaced; links are followed.
func (f *FS) Store(p string, mode fs.FileMode, data []byte, appendTo bool) error {
	if err := f.writable("open", p); err != nil {
		return err
	}
	at, err := f.resolve(p, true)
	if err != nil {
		return err
	}
	n := f.nodes[at]
	if n != nil && n.Mode.IsDir() {
		return perr("open", p, syscall.EISDIR)
	}
	if n == nil {
		if dir := f.nodes[path.Dir(at)]; dir == nil {
			return perr("open", p, fs.ErrNotExist)
		} else if !dir.Mode.IsDir() {
			return perr("open", p, syscall.ENOTDIR)
		}
		if err := f.mayName("open", at); err != nil {
			return err
		}
		if f.Full && len(data) > 0 {
			return perr("write", p, syscall.ENOSPC)
		}
		f.nodes[at] = &host.File{Mode: mode.Perm(), UID: f.user, GID: f.user, Data: slices.Clone(data)}
		return nil
	}
	if !f.may(n, 2) {
		return perr("open", p, fs.ErrPermission)
	}
	if f.Full && len(data) > 0 {
		return perr("write", p, syscall.ENOSPC)
	}
	if appendTo {
		n.Data = append(n.Data, data...)
	} else {
		n.Data = slices.Clone(data)
	}
	return nil
}

// Patch puts data into the file p at the offset off, which makes it longer
// where need be.
func (f *FS) Patch(p string, data []byte, off int64) error {
	if f.Full && len(data) > 0 {
		return perr("write", p, syscall.ENOSPC)
	}
	return f.attr("write", p, func(n *host.File) {
		if grow := off + int64(len(data)) - int64(len(n.Data)); grow > 0 {
			n.Data = append(n.Data, make([]byte, grow)...)
		}
		copy(n.Data[off:], data)
	})
}

// Truncate makes the file p size bytes long.
func (f *FS) Truncate(p string, size int64) error {
	return f.attr("truncate", p, func(n *host.File) {
		for int64(len(n.Data)) < size {
			n.Data = append(n.Data, 0)
		}
		n.Data = n.Data[:size]
	})
}
