package lab

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/agent/lab/unix"
	"github.com/lvsfleet/lvsfleet/providers/host"
)

func (s *server) sftp(ch ssh.Channel, uid int) {
	defer ch.Close()
	serveSFTP(files{s.m, uid}, ch)
	_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{}))
}

// ServeSFTP serves the file system of m, as the SFTP server of its system
// would for root, until the client goes.
func ServeSFTP(m *sim.Machine, rw io.ReadWriteCloser) { serveSFTP(files{m: m}, rw) }

func serveSFTP(h files, rw io.ReadWriteCloser) {
	wire := newExtensions(rw, runsAgents(h.m.Identity))
	srv := sftp.NewRequestServer(wire, sftp.Handlers{FileGet: h, FilePut: h, FileCmd: h, FileList: h}, sftp.WithStartDirectory("/root"))
	_ = srv.Serve() // it ends when the client goes
}

// files serves a machine's file system to one of its users.
type files struct {
	m   *sim.Machine
	uid int
}

func (h files) do(a sim.Access, f func(*sim.FS) error) (err error) {
	if h.m.Watch != nil {
		if err := h.m.Watch(a); err != nil {
			return err
		}
	}
	h.m.Locked(func() { h.m.FS.AccessAs(h.uid, func() { err = f(h.m.FS) }) })
	return err
}

// Fileread opens a file for reading.
func (h files) Fileread(r *sftp.Request) (io.ReaderAt, error) {
	var data []byte
	err := h.do(sim.Access{Op: "read", Path: r.Filepath}, func(f *sim.FS) error {
		file, err := f.ReadFile(r.Filepath)
		data = file.Data
		return err
	})
	return bytes.NewReader(data), err
}

// Filewrite opens a file for writing.
func (h files) Filewrite(r *sftp.Request) (io.WriterAt, error) {
	w := &upload{h: h, path: r.Filepath}
	flags := r.Pflags()
	mode := fs.FileMode(0o644)
	if r.AttrFlags().Permissions {
		mode = r.Attributes().FileMode().Perm()
	}
	err := h.do(sim.Access{Op: "write", Path: r.Filepath}, func(f *sim.FS) error {
		_, err := f.Stat(r.Filepath, !flags.Excl) // open(2): O_EXCL follows no link
		switch {
		case err == nil && flags.Creat && flags.Excl:
			return fs.ErrExist
		case err != nil && !flags.Creat:
			return err
		}
		if !flags.Trunc {
			return f.Store(r.Filepath, mode, nil, true)
		}
		return f.Store(r.Filepath, mode, nil, false)
	})
	return w, err
}

// upload is a file that is being written; each piece is there at once.
type upload struct {
	h    files
	path string
}

func (u *upload) WriteAt(p []byte, off int64) (int, error) {
	const largest = 1 << 30
	if off < 0 || off+int64(len(p)) > largest {
		return 0, fs.ErrInvalid
	}
	err := u.h.do(sim.Access{Op: "write", Path: u.path}, func(f *sim.FS) error {
		return f.Patch(u.path, p, off)
	})
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// Filecmd does what changes names and attributes.
func (h files) Filecmd(r *sftp.Request) error {
	switch r.Method {
	case "Rename":
		return h.do(sim.Access{Op: "rename", Path: r.Target}, func(f *sim.FS) error {
			if _, err := f.Stat(r.Target, false); err == nil {
				return os.ErrExist // RFC draft, 6.5: a target that is there is an error
			}
			return f.Rename(r.Filepath, r.Target)
		})
	case "Remove":
		return h.remove(r.Filepath, false)
	case "Rmdir":
		return h.remove(r.Filepath, true)
	case "Mkdir":
		mode := fs.FileMode(0o755)
		if r.AttrFlags().Permissions {
			mode = r.Attributes().FileMode().Perm()
		}
		return h.do(sim.Access{Op: "write", Path: r.Filepath}, func(f *sim.FS) error {
			return f.Write(r.Filepath, host.File{Mode: fs.ModeDir | mode})
		})
	case "Symlink":
		// The request's Filepath is what the link says, Target its name.
		return h.do(sim.Access{Op: "write", Path: r.Target}, func(f *sim.FS) error {
			return f.Write(r.Target, host.File{Mode: fs.ModeSymlink | 0o777, Data: []byte(r.Filepath)})
		})
	case "Setstat":
		return h.setstat(r)
	}
	return sftp.ErrSSHFxOpUnsupported
}

func (h files) remove(p string, dir bool) error {
	return h.do(sim.Access{Op: "remove", Path: p}, func(f *sim.FS) error {
		now, err := f.Stat(p, false)
		if err != nil {
			return err
		}
		if now.Mode.IsDir() != dir {
			return sftp.ErrSSHFxFailure
		}
		return f.Remove(p)
	})
}

func (h files) setstat(r *sftp.Request) error {
	flags, attrs := r.AttrFlags(), r.Attributes()
	return h.do(sim.Access{Op: "write", Path: r.Filepath}, func(f *sim.FS) error {
		if flags.Size {
			if err := f.Truncate(r.Filepath, int64(attrs.Size)); err != nil {
				return err
			}
		}
		if flags.Permissions {
			if err := f.Chmod(r.Filepath, attrs.FileMode()); err != nil {
				return err
			}
		}
		if flags.UidGid {
			return f.Chown(r.Filepath, int(attrs.UID), int(attrs.GID))
		}
		return nil
	})
}

// PosixRename renames over what is there.
func (h files) PosixRename(r *sftp.Request) error {
	return h.do(sim.Access{Op: "rename", Path: r.Target}, func(f *sim.FS) error { return f.Rename(r.Filepath, r.Target) })
}

// Filelist lists a folder or looks at one name.
func (h files) Filelist(r *sftp.Request) (sftp.ListerAt, error) {
	if r.Method != "List" {
		return h.look(r.Filepath, true)
	}
	var list listing
	err := h.do(sim.Access{Op: "readdir", Path: r.Filepath}, func(f *sim.FS) error {
		entries, err := f.ReadDir(r.Filepath)
		for _, e := range entries {
			if n, err := f.Stat(path.Join(r.Filepath, e.Name), false); err == nil {
				list = append(list, info(e.Name, n))
			}
		}
		return err
	})
	return list, err
}

// Lstat looks at a name without following it.
func (h files) Lstat(r *sftp.Request) (sftp.ListerAt, error) { return h.look(r.Filepath, false) }

// Readlink reads what a link says.
func (h files) Readlink(p string) (target string, err error) {
	err = h.do(sim.Access{Op: "read", Path: p}, func(f *sim.FS) error {
		n, err := f.Stat(p, false)
		if err == nil && n.Mode&fs.ModeSymlink == 0 {
			return fs.ErrInvalid
		}
		target = string(n.Data)
		return err
	})
	return target, err
}

// RealPath follows every link.
func (h files) RealPath(p string) (real string, err error) {
	if !path.IsAbs(p) {
		p = path.Join("/root", p)
	}
	err = h.do(sim.Access{Op: "read", Path: p}, func(f *sim.FS) error {
		n, err := f.Stat(p, true)
		real = n.Path
		return err
	})
	return real, err
}

func (h files) look(p string, follow bool) (sftp.ListerAt, error) {
	var n host.File
	err := h.do(sim.Access{Op: "read", Path: p}, func(f *sim.FS) (err error) {
		n, err = f.Stat(p, follow)
		return err
	})
	return listing{info(path.Base(p), n)}, err
}

func info(name string, n host.File) os.FileInfo {
	return unix.Info{Base: name, Bits: n.Mode, Bytes: int64(len(n.Data)), UID: n.UID, GID: n.GID}
}

type listing []os.FileInfo

func (l listing) ListAt(out []os.FileInfo, off int64) (int, error) {
	if off >= int64(len(l)) {
		return 0, io.EOF
	}
	n := copy(out, l[off:])
	if n < len(out) {
		return n, io.EOF
	}
	return n, nil
}
