package host

import (
	"context"
	"fmt"
)

// A Locker takes the locks of a machine that are freed when their holder dies.
// Every Host on which changes are made offers it; found with As.
type Locker interface {
	// Lock takes the lock at path (its folder is made, mode 0700) and leaves
	// holder, one line of text, in it for whoever finds it taken. It does not
	// wait: a lock that somebody holds is a *TakenError. Release may be
	// called more than once.
	Lock(ctx context.Context, path, holder string) (release func(), err error)
	// Holder tells who holds the lock at path now; "" nobody.
	Holder(ctx context.Context, path string) (holder string, err error)
}

// Unnamed is what Holder says of a lock that somebody has just taken and not
// yet written a name into.
const Unnamed = "a process that has not said its name yet"

// A TakenError is a lock that somebody else holds.
type TakenError struct {
	Path   string
	Holder string // what the holder wrote
}

func (e *TakenError) Error() string {
	return fmt.Sprintf("%s is held by %s", e.Path, e.Holder)
}

// StateDir is where lvsfleet keeps what must outlive a boot on a host of the
// system os: owned by root, mode 0700.
func StateDir(os string) string {
	if os == FreeBSD {
		return "/var/db/lvsfleet" // hier(7): FreeBSD has no /var/lib
	}
	return "/var/lib/lvsfleet"
}

// RunDir is where lvsfleet keeps what must not outlive a boot: every system
// empties /var/run when it boots.
const RunDir = "/var/run/lvsfleet"
