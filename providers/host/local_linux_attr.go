//go:build linux

package host

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// The flags of FS_IOC_GETFLAGS (linux/fs.h).
const (
	immutableFlag = 0x10
	appendFlag    = 0x20
)

// flagged says which of the flags of chattr(1) keeps a file from being renamed
// over or removed, or a folder from having a name in it replaced
// (ioctl_iflags(2): of a file immutable and append-only, of a folder both too).
func flagged(path string, info fs.FileInfo, _ bool) (what, cure string, found bool) {
	if !info.Mode().IsRegular() && !info.IsDir() {
		return "", "", false // a link has none, and what is neither is not opened
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", "", false
	}
	defer func() { _ = unix.Close(fd) }()
	flags, err := unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS)
	switch {
	case err != nil: // a file system without flags
	case flags&immutableFlag != 0:
		return "the immutable flag", "chattr -i " + path, true
	case flags&appendFlag != 0:
		return "the append-only flag", "chattr -a " + path, true
	}
	return "", "", false
}

// mounted says whether something is mounted over path (proc(5), mountinfo: the
// fifth field, in which space, tab, newline and backslash are octal).
func mounted(path string) bool {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return false
	}
	escaped := strings.NewReplacer(" ", `\040`, "\t", `\011`, "\n", `\012`, `\`, `\134`).Replace(path)
	for line := range bytes.Lines(text) {
		if f := bytes.Fields(line); len(f) > 4 && string(f[4]) == escaped {
			return true
		}
	}
	return false
}

// keepAttributes gives the file at to, which takes the place of the one at from,
// its extended attributes: its ACL, its SELinux label, and whatever others set.
// Its mode stays as it is. Without the ACL its mask, which stands in the mode in
// the group's place, would become the group's rights (acl(5)); and an ACL that
// a folder's default has given to the new file alone goes.
func keepAttributes(from, to string) error {
	mode, err := os.Lstat(to)
	if err != nil {
		return err
	}
	have, err := attributes(from)
	if err != nil {
		return err
	}
	made, err := attributes(to)
	if err != nil {
		return err
	}
	const acl = "system.posix_acl_access"
	if _, ok := have[acl]; !ok && made[acl] != nil {
		if err := unix.Lremovexattr(to, acl); err != nil {
			return fmt.Errorf("remove %s of %s: %w", acl, to, err)
		}
	}
	changed := false
	for name, value := range have {
		if is, ok := made[name]; ok && bytes.Equal(is, value) {
			continue
		}
		if err := unix.Lsetxattr(to, name, value, 0); err != nil {
			return fmt.Errorf("keep %s of %s: %w", name, from, err)
		}
		changed = changed || name == acl
	}
	if _, ok := have[acl]; changed || !ok && made[acl] != nil {
		return os.Chmod(to, mode.Mode())
	}
	return nil
}

// attributes reads the extended attributes of a file that are its own: not what
// the kernel works out of its content (ima, evm), nor what an overlay keeps.
func attributes(path string) (map[string][]byte, error) {
	names := make([]byte, 64<<10) // XATTR_LIST_MAX
	n, err := unix.Llistxattr(path, names)
	if errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.ENOSYS) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the attributes of %s: %w", path, err)
	}
	list := map[string][]byte{}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names[:n]), "\x00"), "\x00") {
		if name == "" || name == "security.ima" || name == "security.evm" || strings.HasPrefix(name, "trusted.overlay.") {
			continue
		}
		value := make([]byte, 64<<10) // XATTR_SIZE_MAX
		n, err := unix.Lgetxattr(path, name, value)
		if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP) {
			continue // gone since, or a name without a value
		}
		if err != nil {
			return nil, fmt.Errorf("read %s of %s: %w", name, path, err)
		}
		list[name] = value[:n:n]
	}
	return list, nil
}
