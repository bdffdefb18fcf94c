package sim

import (
	"context"
	"fmt"
	"io/fs"
	"path"

	"github.com/lvsfleet/lvsfleet/providers/host"
)

// A Privilege is how a user who is not root becomes root on a machine.
type Privilege struct {
	Password string // what is asked for; "": nothing is
	Denied   bool   // the user may not
}

// userKey is the key of a user's number in a context.
type userKey struct{}

// AsUser gives a context in which commands are those of the user uid.
func AsUser(ctx context.Context, uid int) context.Context {
	return context.WithValue(ctx, userKey{}, uid)
}

// UserOf is the number of the user whose command ctx belongs to; 0 is root.
func UserOf(ctx context.Context) int {
	if ctx == nil {
		return 0
	}
	uid, _ := ctx.Value(userKey{}).(int)
	return uid
}

// UID is the number of the user who calls.
func (c *Call) UID() int { return UserOf(c.Context) }

// permitted refuses a user who is not root what only root may: all that is not
// in Common, and what is there but not for everybody.
func (m *Machine) permitted(c *Call, name string) bool {
	if c.UID() == 0 || m.Common != nil && m.Common(name) {
		return true
	}
	fmt.Fprintf(c.Stderr, "%s: Operation not permitted\n", c.Argv[0])
	return false
}

// AccessAs lets the user uid have the file system for as long as f runs.
func (f *FS) AccessAs(uid int, do func()) {
	before := f.user
	f.user = uid
	defer func() { f.user = before }()
	do()
}

// may says whether the user may do to n what the bits (4 read, 2 write, 1
// search) stand for; groups are left out.
func (f *FS) may(n *host.File, bits fs.FileMode) bool {
	if f.user == 0 || n == nil {
		return true
	}
	perm := n.Mode.Perm()
	if n.UID == f.user {
		perm >>= 6
	}
	return perm&bits == bits
}

// mayName says whether the user may make, rename or remove the name at.
func (f *FS) mayName(op, at string) error {
	if f.may(f.nodes[path.Dir(at)], 2) {
		return nil
	}
	return perr(op, at, fs.ErrPermission)
}
