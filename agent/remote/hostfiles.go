package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/pkg/sftp"

	"github.com/lvsfleet/lvsfleet/providers/host"
)

// fileOf is what SFTP says of a file.
func fileOf(info os.FileInfo) host.File {
	f := host.File{Mode: info.Mode()}
	if st, ok := info.Sys().(*sftp.FileStat); ok {
		f.UID, f.GID = int(st.UID), int(st.GID)
	}
	return f
}

// failed names what SFTP could not do. A version 3 server has one word for
// most of it.
func (h *Host) failed(op, p string, err error) error {
	err = h.lost(err)
	var status *sftp.StatusError
	if errors.As(err, &status) && status.FxCode() == sftp.ErrSSHFxFailure {
		err = fmt.Errorf("%w (SFTP does not say why: a full disk, a read-only file system, ...)", err)
	}
	return &fs.PathError{Op: op, Path: p, Err: err}
}

// ReadFile reads the file that path leads to.
func (h *Host) ReadFile(ctx context.Context, p string) (host.File, error) {
	if h.root != nil {
		return h.readAsRoot(ctx, p)
	}
	c, err := h.files()
	if err != nil {
		return host.File{}, err
	}
	return within(ctx, func() (host.File, error) {
		var resolved string
		var resolveErr error
		var wg sync.WaitGroup
		wg.Go(func() { resolved, resolveErr = h.resolve(c, p) })
		f, err := h.read(c, p)
		wg.Wait()
		if err == nil {
			err = resolveErr
		}
		f.Path = resolved
		if err != nil {
			return host.File{}, err
		}
		return f, nil
	})
}

func (h *Host) read(c *sftp.Client, p string) (host.File, error) {
	info, err := c.Stat(p) // a FIFO that is opened would block the server
	if err != nil {
		return host.File{}, h.failed("open", p, err)
	}
	f := fileOf(info)
	switch {
	case info.IsDir():
		return host.File{}, &fs.PathError{Op: "read", Path: p, Err: syscall.EISDIR}
	case !info.Mode().IsRegular():
		return f, nil
	case info.Size() > host.MaxFile:
		return host.File{}, fmt.Errorf("read %s: larger than %d bytes", p, host.MaxFile)
	}
	fd, err := c.Open(p)
	if err != nil {
		return host.File{}, h.failed("open", p, err)
	}
	defer fd.Close()
	var data bytes.Buffer
	if _, err := io.Copy(&data, io.LimitReader(onlyReader{fd}, host.MaxFile+1)); err != nil {
		return host.File{}, h.failed("read", p, err)
	}
	if data.Len() > host.MaxFile {
		return host.File{}, fmt.Errorf("read %s: larger than %d bytes", p, host.MaxFile)
	}
	f.Data = data.Bytes()
	if f.Data == nil {
		f.Data = []byte{}
	}
	return f, nil
}

// onlyReader keeps io.Copy from anything but reading in order: files of /proc
// have no size to go by.
type onlyReader struct{ io.Reader }

// resolve follows the links of p. It asks for every folder on the way at once:
// realpath of SFTP, by which one question would do, only cleans the path on
// some servers.
func (h *Host) resolve(c *sftp.Client, p string) (string, error) {
	p = path.Clean(p)
	for range 20 {
		var ways []string
		for w := p; w != "/" && w != "."; w = path.Dir(w) {
			ways = append(ways, w)
		}
		slices.Reverse(ways)
		infos := make([]os.FileInfo, len(ways))
		errs := make([]error, len(ways))
		var wg sync.WaitGroup
		for i := range ways {
			wg.Go(func() { infos[i], errs[i] = c.Lstat(ways[i]) })
		}
		wg.Wait()
		i := slices.IndexFunc(infos, func(f os.FileInfo) bool { return f != nil && f.Mode()&fs.ModeSymlink != 0 })
		if i < 0 {
			for k, err := range errs {
				if err != nil {
					return "", h.failed("lstat", ways[k], err)
				}
			}
			return p, nil
		}
		target, err := c.ReadLink(ways[i])
		if err != nil {
			return "", h.failed("readlink", ways[i], err)
		}
		if !path.IsAbs(target) {
			target = path.Join(path.Dir(ways[i]), target)
		}
		p = path.Join(target, strings.TrimPrefix(p, ways[i]))
	}
	return "", &fs.PathError{Op: "readlink", Path: p, Err: syscall.ELOOP}
}

// ReadDir lists a folder.
func (h *Host) ReadDir(ctx context.Context, dir string) ([]host.Entry, error) {
	if h.root != nil {
		return h.listAsRoot(ctx, dir)
	}
	c, err := h.files()
	if err != nil {
		return nil, err
	}
	return within(ctx, func() ([]host.Entry, error) {
		infos, err := c.ReadDir(dir)
		if err != nil {
			if info, serr := c.Stat(dir); serr == nil && !info.IsDir() {
				return nil, &fs.PathError{Op: "readdir", Path: dir, Err: syscall.ENOTDIR}
			}
			return nil, h.failed("open", dir, err)
		}
		entries := make([]host.Entry, 0, len(infos))
		for _, info := range infos {
			if info.Name() == "." || info.Name() == ".." {
				continue
			}
			entries = append(entries, host.Entry{Name: info.Name(), Mode: info.Mode()})
		}
		slices.SortFunc(entries, func(a, b host.Entry) int { return strings.Compare(a.Name, b.Name) })
		// The targets side by side: one round trip for all of them.
		var wg sync.WaitGroup
		errs := make([]error, len(entries))
		for i := range entries {
			if entries[i].Mode&fs.ModeSymlink != 0 {
				wg.Go(func() { entries[i].Link, errs[i] = c.ReadLink(path.Join(dir, entries[i].Name)) })
			}
		}
		wg.Wait()
		for i, err := range errs {
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, h.failed("readlink", path.Join(dir, entries[i].Name), err)
			}
		}
		return entries, nil
	})
}

// Write makes f at p. It is on the disk before any command runs, file is moved
// or lock given back after it.
func (h *Host) Write(ctx context.Context, p string, f host.File) error {
	if h.root != nil {
		return h.writeAsRoot(ctx, p, f)
	}
	c, err := h.files()
	if err != nil {
		return err
	}
	_, err = within(ctx, func() (struct{}, error) { return struct{}{}, h.write(c, p, f) })
	if err != nil {
		return err
	}
	h.owe(p)
	return nil
}

func (h *Host) write(c *sftp.Client, p string, f host.File) error {
	made := func(op string, err error) error {
		// Version 3 has no word for "exists" either.
		if _, serr := c.Lstat(p); serr == nil {
			return &fs.PathError{Op: op, Path: p, Err: fs.ErrExist}
		}
		if _, serr := c.Stat(path.Dir(p)); errors.Is(serr, fs.ErrNotExist) {
			return &fs.PathError{Op: op, Path: p, Err: fs.ErrNotExist}
		}
		return h.failed(op, p, err)
	}
	switch f.Mode.Type() {
	case fs.ModeDir:
		if err := c.Mkdir(p); err != nil {
			return made("mkdir", err)
		}
		if err := h.own(c, p, f); err != nil {
			_ = c.RemoveDirectory(p)
			return err
		}
		return nil
	case fs.ModeSymlink:
		if err := c.Symlink(string(f.Data), p); err != nil {
			return made("symlink", err)
		}
		return nil
	case 0:
	default:
		return &fs.PathError{Op: "write", Path: p, Err: syscall.EINVAL}
	}
	fd, err := c.OpenFile(p, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return made("open", err)
	}
	// Nobody may read it before it has its mode; SFTP sends none on opening.
	err = h.own(c, p, f)
	if err == nil {
		if _, werr := fd.Write(f.Data); werr != nil {
			err = h.failed("write", p, werr)
		}
	}
	if cerr := fd.Close(); cerr != nil && err == nil {
		err = h.failed("close", p, cerr)
	}
	if err == nil {
		info, serr := c.Lstat(p)
		if serr != nil {
			err = h.failed("stat", p, serr)
		} else if info.Size() != int64(len(f.Data)) {
			err = &fs.PathError{Op: "write", Path: p, Err: io.ErrShortWrite}
		}
	}
	if err != nil {
		_ = c.Remove(p)
	}
	return err
}

// own sets mode and owner.
func (h *Host) own(c *sftp.Client, p string, f host.File) error {
	info, err := c.Lstat(p)
	if err != nil {
		return h.failed("stat", p, err)
	}
	if now := fileOf(info); now.UID != f.UID || now.GID != f.GID {
		if err := c.Chown(p, f.UID, f.GID); err != nil {
			return h.failed("chown", p, err)
		}
	}
	if err := c.Chmod(p, f.Mode); err != nil {
		return h.failed("chmod", p, err)
	}
	return nil
}

// owe notes that the disk has yet to catch up with what lies at p: no SFTP
// server of old can sync one file, and sync(8) for each of many would be most
// of what a host is asked. What does not outlive a boot needs none.
func (h *Host) owe(p string) {
	if !fleeting(p) {
		h.owed.Store(true)
	}
}

func fleeting(p string) bool { return strings.HasPrefix(p, host.RunDir+"/") || p == host.RunDir }

// catchUpScript runs a command once the disk has caught up, renameScript moves
// a file and has the disk catch up with that.
const (
	catchUpScript = `sync; exec "$@"`
	renameScript  = `mv -f "$1" "$2" && sync`
)

// Rename moves with mv(1): SFTP's own rename, in version 3, refuses a target
// that is there.
func (h *Host) Rename(ctx context.Context, from, to string) error {
	if h.root != nil {
		return h.moveAsRoot(ctx, from, to)
	}
	c, err := h.files()
	if err != nil {
		return err
	}
	// mv would move into a folder, and across file systems by copying; within
	// one folder's file system it is rename(2).
	target, err := within(ctx, func() (os.FileInfo, error) { return c.Lstat(to) })
	switch {
	case err == nil && target.IsDir():
		return &fs.PathError{Op: "rename", Path: to, Err: fs.ErrExist}
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return h.failed("stat", to, err)
	}
	argv := []string{"mv", "-f", from, to}
	if !fleeting(to) {
		argv = []string{"/bin/sh", "-c", renameScript, "sh", from, to}
	}
	if _, err := h.Run(ctx, host.Cmd{Argv: argv}); err != nil {
		_, serr := within(ctx, func() (os.FileInfo, error) { return c.Lstat(from) })
		if errors.Is(serr, fs.ErrNotExist) && !errors.Is(err, host.ErrLost) {
			return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
		}
		return err
	}
	return nil
}

// Remove removes p.
func (h *Host) Remove(ctx context.Context, p string) error {
	if h.root != nil {
		return h.removeAsRoot(ctx, p)
	}
	c, err := h.files()
	if err != nil {
		return err
	}
	gone, err := within(ctx, func() (bool, error) {
		info, err := c.Lstat(p)
		if errors.Is(err, fs.ErrNotExist) {
			return true, nil
		}
		if err != nil {
			return false, h.failed("stat", p, err)
		}
		remove := c.Remove
		if info.IsDir() {
			remove = c.RemoveDirectory
		}
		if err := remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, h.failed("remove", p, err)
		}
		return false, nil
	})
	if err == nil && !gone {
		h.owe(p)
	}
	return err
}
