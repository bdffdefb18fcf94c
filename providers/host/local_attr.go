package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// An Obstacle is why a file cannot be replaced by renaming another over it, or
// should not be.
type Obstacle struct {
	What string // "it has the immutable flag"
	Cure string // "chattr -i /etc/x"
}

// Obstacles is a Host that can tell beforehand whether a rename or a removal
// would fail, or part what belongs together.
type Obstacles interface {
	// Obstacle looks at target, which is not followed where it is a link. staged
	// is what is to be renamed over it; "": it is to be removed. What is not there
	// has no flags; its folder may have.
	Obstacle(ctx context.Context, staged, target string) (Obstacle, bool, error)
}

var _ Obstacles = (*Local)(nil)

// Obstacle looks at flags, mounts, file systems and hard links.
func (l *Local) Obstacle(_ context.Context, staged, target string) (Obstacle, bool, error) {
	dir := filepath.Dir(target)
	folder, err := os.Lstat(dir)
	if err != nil {
		return Obstacle{}, false, err
	}
	if what, cure, found := flagged(dir, folder, true); found {
		return Obstacle{"its folder " + dir + " has " + what, cure}, true, nil
	}
	info, err := os.Lstat(target)
	if errors.Is(err, fs.ErrNotExist) {
		return Obstacle{}, false, nil
	}
	if err != nil {
		return Obstacle{}, false, err
	}
	if what, cure, found := flagged(target, info, false); found {
		return Obstacle{"it has " + what, cure}, true, nil
	}
	if mounted(target) {
		return Obstacle{"it is a mount point: something is mounted over this file alone", "umount " + target + ", or leave the file to whoever mounts it"}, true, nil
	}
	beside := folder
	if staged != "" {
		if beside, err = os.Lstat(staged); err != nil {
			return Obstacle{}, false, err
		}
	}
	at, ok := info.Sys().(*syscall.Stat_t)
	by, ok2 := beside.Sys().(*syscall.Stat_t)
	if !ok || !ok2 {
		return Obstacle{}, false, nil
	}
	if at.Dev != by.Dev && !info.IsDir() {
		return Obstacle{"it lies on another file system than its folder", "umount " + target + ", or leave the file to whoever mounts it"}, true, nil
	}
	if n := uint64(at.Nlink); staged != "" && info.Mode().IsRegular() && n > 1 { //nolint:unconvert // of another type on other systems
		return Obstacle{
			fmt.Sprintf("it has %d names (hard links), of which one alone would be replaced", n),
			fmt.Sprintf("find the others (find / -xdev -inum %d), and make this one a file of its own, or the others symbolic links to it", at.Ino),
		}, true, nil
	}
	return Obstacle{}, false, nil
}
