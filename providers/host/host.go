// Package host is how lvsfleet touches one machine: run an argv, read files,
// write files. Everything above it (steps, providers, the engine) sees a
// machine only through these interfaces, so that the same code runs in the
// agent, over SSH from the controller, and on the simulated fleet.
package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"
)

// A Cmd is one command: an argv, never a shell string.
type Cmd struct {
	Argv    []string      // Argv[0] is looked up in the system's administrative path.
	Stdin   []byte        // nil: /dev/null.
	Timeout time.Duration // 0: DefaultTimeout.
}

// DefaultTimeout bounds a command that names no limit of its own.
const DefaultTimeout = 30 * time.Second

// A Result is what a command left behind.
type Result struct {
	Stdout []byte
	Stderr []byte
	Exit   int // 0 to 255; 127 where the command was not found.
}

// An ExitError is a command that ran and failed. The Result comes beside it.
type ExitError struct {
	Host   string
	Argv   []string
	Exit   int
	Stderr string // whole, not only its last line
}

// Error says what ran, where, how it ended and what it said.
func (e *ExitError) Error() string {
	msg := fmt.Sprintf("%s: %s: exit status %d", e.Host, strings.Join(e.Argv, " "), e.Exit)
	if s := strings.TrimSpace(e.Stderr); s != "" {
		msg += ": " + s
	}
	return msg
}

// Is makes errors.Is(err, ErrNotFound) hold for a command that is not there.
func (e *ExitError) Is(target error) bool { return target == ErrNotFound && e.Exit == 127 }

var (
	// ErrNotFound is a command that the machine does not have.
	ErrNotFound = errors.New("command not found")
	// ErrLost is a machine that stopped answering: nothing may be concluded
	// about its state from it.
	ErrLost = errors.New("connection lost")
)

// A Runner runs commands. Run returns a *ExitError, and the Result, for a
// command that ran and did not exit with 0; any other error means that it is
// not known what happened.
type Runner interface {
	Run(ctx context.Context, cmd Cmd) (Result, error)
}

// A File is a regular file, a folder or a symbolic link, with what identifies
// it to its users.
type File struct {
	Path string      // the resolved path, where it came from ReadFile
	Mode fs.FileMode // type and permission bits; fs.ModeDir and fs.ModeSymlink are the only types beside regular
	UID  int
	GID  int
	Data []byte // content; of a link, its target
}

// An Entry is one name in a folder.
type Entry struct {
	Name string
	Mode fs.FileMode // type bits; permission bits of folders, of others where they are known
	Link string      // the target, of a symbolic link
}

// A Reader reads files. What is not there is fs.ErrNotExist, by errors.Is.
type Reader interface {
	// ReadFile follows symbolic links and says in File.Path where they led.
	ReadFile(ctx context.Context, path string) (File, error)
	// ReadDir lists a folder, sorted by name, links not followed.
	ReadDir(ctx context.Context, path string) ([]Entry, error)
}

// A Writer changes files. Each call is durable when it returns: the content
// and the folder that names it have reached the disk.
type Writer interface {
	// Write makes the file, folder or link f at path, which must not exist,
	// with exactly f's mode and owner. It is not atomic: write to a temporary
	// name and Rename, or use Replace.
	Write(ctx context.Context, path string, f File) error
	// Rename moves from over to, atomically.
	Rename(ctx context.Context, from, to string) error
	// Remove removes a file, a link (not its target) or an empty folder.
	// What is not there is no error.
	Remove(ctx context.Context, path string) error
}

// A Host is one machine.
type Host interface {
	Runner
	Reader
	Writer
}

// Unwrap lets As look beneath a Host that decorates another.
type Unwrap interface{ Unwrap() Host }

// As finds the outermost layer of h that offers T: an ability beyond Host,
// such as Neighbours, that only some machines have.
func As[T any](h Host) (T, bool) {
	for {
		if t, ok := h.(T); ok {
			return t, true
		}
		u, ok := h.(Unwrap)
		if !ok {
			var none T
			return none, false
		}
		h = u.Unwrap()
	}
}
