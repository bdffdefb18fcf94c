package host

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func put(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// flag sets the flags of a file, and takes them away in the end.
func flag(t *testing.T, path string, flags uint32) {
	t.Helper()
	set := func(add bool) error {
		fd, err := unix.Open(path, unix.O_RDONLY, 0)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }()
		now, err := unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS)
		if err != nil {
			return err
		}
		if now &^= flags; add {
			now |= flags
		}
		return unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, int(now))
	}
	if err := set(true); err != nil {
		t.Skip("no flags can be set here: ", err)
	}
	t.Cleanup(func() {
		if err := set(false); err != nil {
			t.Error(err)
		}
	})
}

// What keeps a rename from being done is found before it, by the kernel's own
// word: wherever an obstacle is told the rename fails, and nowhere else. A hard
// link alone would not make it fail, but part what belongs together.
func TestObstaclesAreFoundBeforehand(t *testing.T) {
	for name, tt := range map[string]struct {
		make func(t *testing.T, dir, target string)
		what string // "" none
		cure string
		does bool // a rename is done all the same
	}{
		"a file":        {func(t *testing.T, _, target string) { put(t, target, "x", 0o644) }, "", "", true},
		"nothing there": {func(*testing.T, string, string) {}, "", "", true},
		"a link": {func(t *testing.T, dir, target string) {
			if err := os.Symlink("nowhere", target); err != nil {
				t.Fatal(err)
			}
		}, "", "", true},
		"immutable": {func(t *testing.T, _, target string) {
			put(t, target, "x", 0o644)
			flag(t, target, immutableFlag)
		}, "immutable flag", "chattr -i ", false},
		"append-only": {func(t *testing.T, _, target string) {
			put(t, target, "x", 0o644)
			flag(t, target, appendFlag)
		}, "append-only flag", "chattr -a ", false},
		"in an append-only folder": {func(t *testing.T, dir, target string) {
			put(t, target, "x", 0o644)
			flag(t, dir, appendFlag)
		}, "its folder", "chattr -a ", false},
		"hard links": {func(t *testing.T, dir, target string) {
			put(t, target, "x", 0o644)
			if err := os.Link(target, filepath.Join(dir, "other")); err != nil {
				t.Fatal(err)
			}
		}, "2 names", "-inum", true},
		"a file over it": {func(t *testing.T, dir, target string) {
			put(t, target, "x", 0o644)
			put(t, filepath.Join(dir, "other"), "y", 0o644)
			if err := unix.Mount(filepath.Join(dir, "other"), target, "", unix.MS_BIND, ""); err != nil {
				t.Skip("nothing can be mounted here: ", err)
			}
			t.Cleanup(func() { _ = unix.Unmount(target, unix.MNT_DETACH) })
		}, "mount point", "umount ", false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "a b")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			target := filepath.Join(dir, "target")
			staged := TempName(target)
			put(t, staged, "new", 0o644)
			tt.make(t, dir, target)
			var l Local
			o, found, err := l.Obstacle(t.Context(), staged, target)
			if err != nil || found != (tt.what != "") || !strings.Contains(o.What, tt.what) || !strings.Contains(o.Cure, tt.cure) {
				t.Errorf("%+v %v %v", o, found, err)
			}
			if err := l.Rename(t.Context(), staged, target); (err == nil) != tt.does {
				t.Errorf("a rename: %v", err)
			}
		})
	}
}

// acl makes the attribute of an ACL (linux/posix_acl_xattr.h): a version, and
// entries of a tag, permissions and an ID.
func acl(entries ...[3]uint32) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range entries {
		b = binary.LittleEndian.AppendUint16(b, uint16(e[0]))
		b = binary.LittleEndian.AppendUint16(b, uint16(e[1]))
		b = binary.LittleEndian.AppendUint32(b, e[2])
	}
	return b
}

// A file that is replaced keeps its ACL, its mode, and what else others have set,
// and is given nothing that its folder's default has.
func TestAReplacedFileKeepsItsAttributes(t *testing.T) {
	const none = 0xffffffff
	const access, dflt = "system.posix_acl_access", "system.posix_acl_default"
	// rw for the owner, r for the group, rw for user 1234, mask rw: ls shows 0664.
	own := acl([3]uint32{1, 6, none}, [3]uint32{2, 6, 1234}, [3]uint32{4, 4, none}, [3]uint32{0x10, 6, none}, [3]uint32{0x20, 4, none})
	theirs := acl([3]uint32{1, 7, none}, [3]uint32{2, 7, 4321}, [3]uint32{4, 7, none}, [3]uint32{0x10, 7, none}, [3]uint32{0x20, 5, none})
	get := func(path, name string) string {
		b := make([]byte, 4096)
		n, err := unix.Lgetxattr(path, name, b)
		if err != nil {
			return ""
		}
		return string(b[:n])
	}
	for name, tt := range map[string]struct {
		set  map[string][]byte // of the file
		dir  []byte            // the folder's default
		mode os.FileMode
	}{
		"nothing":            {nil, nil, 0o640},
		"an ACL":             {map[string][]byte{access: own}, nil, 0o664},
		"an ACL and others":  {map[string][]byte{access: own, "user.note": []byte("mine\x00\xff"), "trusted.note": []byte("root's")}, nil, 0o664},
		"a folder's default": {nil, theirs, 0o640},
		"both":               {map[string][]byte{access: own}, theirs, 0o664},
		"a label of SELinux": {map[string][]byte{"security.selinux": []byte("system_u:object_r:net_conf_t:s0\x00")}, nil, 0o644},
		"an empty attribute": {map[string][]byte{"user.empty": {}}, nil, 0o600},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			target := filepath.Join(dir, "target")
			put(t, target, "old", tt.mode)
			for n, v := range tt.set {
				if err := unix.Lsetxattr(target, n, v, 0); err != nil {
					t.Skipf("%s cannot be set here: %v", n, err)
				}
			}
			if tt.dir != nil {
				if err := unix.Lsetxattr(dir, dflt, tt.dir, 0); err != nil {
					t.Skip("no ACL here: ", err)
				}
			}
			before, err := attributes(target)
			if err != nil {
				t.Fatal(err)
			}
			var l Local
			f, err := l.ReadFile(t.Context(), target)
			if err != nil {
				t.Fatal(err)
			}
			if f.Mode.Perm() != tt.mode {
				t.Fatalf("mode %v", f.Mode)
			}
			f.Data = []byte("new")
			for range 2 { // there and back
				if err := Replace(t.Context(), &l, target, f); err != nil {
					t.Fatal(err)
				}
				now, err := l.ReadFile(t.Context(), target)
				if err != nil || string(now.Data) != "new" || now.Mode != f.Mode {
					t.Errorf("%q, %v, %v", now.Data, now.Mode, err)
				}
				after, err := attributes(target)
				if err != nil || len(after) != len(before) {
					t.Errorf("%q, before %q, %v", after, before, err)
				}
				for n, v := range before {
					if get(target, n) != string(v) {
						t.Errorf("%s is %q, was %q", n, get(target, n), v)
					}
				}
			}
		})
	}
	// What cannot be kept is no silent loss.
	if err := keepAttributes("/proc/self/status/none", filepath.Join(t.TempDir(), "none")); err == nil || errors.Is(err, unix.ENOTSUP) {
		t.Errorf("%v", err)
	}
}
