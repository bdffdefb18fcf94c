//go:build freebsd

package host

import (
	"io/fs"
	"syscall"
)

// flagged says which of the flags of chflags(1) keeps a file from being renamed
// over or removed, or a folder from having a name in it replaced (chflags(2),
// sys/stat.h).
func flagged(path string, info fs.FileInfo, folder bool) (what, cure string, found bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "", "", false
	}
	for _, f := range []struct {
		bit  uint32
		name string
		of   bool // of a folder too
	}{
		{0x00020000, "schg", true}, {0x00000002, "uchg", true},
		{0x00040000, "sappnd", true}, {0x00000004, "uappnd", true},
		{0x00100000, "sunlnk", false}, {0x00000010, "uunlnk", false},
	} {
		if st.Flags&f.bit != 0 && (!folder || f.of) {
			return "the flag " + f.name, "chflags no" + f.name + " " + path, true
		}
	}
	return "", "", false
}

// mounted is false: a mount over a file is another file system here, which its
// device number tells.
func mounted(string) bool { return false }

// keepAttributes keeps none: this system's ACLs have calls of their own.
func keepAttributes(_, _ string) error { return nil }
