package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// LockFolder is the folder that stands for the lock at path where it is held
// without an agent (mkdir is what an old shell has): in it are the files "pid"
// and "holder".
func LockFolder(path string) string { return path + ".d" }

// Lock takes the lock at path: a record lock (fcntl(2), F_SETLK), which every
// Unix has and the kernel frees when the process ends, however it ends. The
// file stays; its first line is the holder and its second the process, so that
// an agentless login can ask too.
func (l *Local) Lock(ctx context.Context, path, holder string) (func(), error) {
	if strings.ContainsAny(holder, "\n\x00") {
		return nil, fmt.Errorf("lock %s: holder %q is not one line", path, holder)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if by, held := l.locks[path]; held {
		return nil, &TakenError{Path: path, Holder: by}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	fd, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	lk := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	if err := unix.FcntlFlock(fd.Fd(), unix.F_SETLK, &lk); err != nil {
		defer fd.Close()
		if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES) {
			return nil, &TakenError{Path: path, Holder: firstLine(fd)}
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if by := folderHolder(path); by != "" {
		fd.Close()
		return nil, &TakenError{Path: path, Holder: by}
	}
	text := fmt.Sprintf("%s\n%d\n", holder, os.Getpid())
	if err := errors.Join(fd.Truncate(0), writeAt(fd, text)); err != nil {
		fd.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if l.locks == nil {
		l.locks = map[string]string{}
	}
	l.locks[path] = holder
	release := sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		_ = fd.Truncate(0)
		_ = fd.Close() // frees the lock
		delete(l.locks, path)
	})
	return release, nil
}

func writeAt(fd *os.File, text string) error {
	_, err := fd.WriteAt([]byte(text), 0)
	return err
}

// firstLine is the holder that the file names; somebody who has just locked
// it may not have written yet.
func firstLine(fd *os.File) string {
	buf := make([]byte, 4096)
	n, _ := fd.ReadAt(buf, 0)
	line, _, _ := strings.Cut(string(buf[:n]), "\n")
	if line == "" {
		return Unnamed
	}
	return line
}

// folderHolder is who holds the lock at path without an agent; "" nobody.
func folderHolder(path string) string {
	text, err := os.ReadFile(filepath.Join(LockFolder(path), "pid"))
	if err != nil {
		return ""
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 1 || errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return ""
	}
	holder, _ := os.ReadFile(filepath.Join(LockFolder(path), "holder"))
	line, _, _ := strings.Cut(string(holder), "\n")
	if line == "" {
		return "process " + strconv.Itoa(pid)
	}
	return line
}

// Holder asks the kernel whether the lock is held (F_GETLK), which disturbs
// nobody who takes it at the same time.
func (l *Local) Holder(_ context.Context, path string) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	// Closing any descriptor of the file would free a lock of this process.
	if by, held := l.locks[path]; held {
		return by, nil
	}
	if by := folderHolder(path); by != "" {
		return by, nil
	}
	fd, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("look at lock %s: %w", path, err)
	}
	defer fd.Close()
	lk := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	if err := unix.FcntlFlock(fd.Fd(), unix.F_GETLK, &lk); err != nil {
		return "", fmt.Errorf("look at lock %s: %w", path, err)
	}
	if lk.Type == unix.F_UNLCK {
		return "", nil
	}
	return firstLine(fd), nil
}
