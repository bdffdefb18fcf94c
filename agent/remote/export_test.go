package remote

import (
	"context"

	"golang.org/x/crypto/ssh"
)

// HostOf is the host that a session without an agent works on, for tests.
func (d *Dialer) HostOf(ctx context.Context, t Target, conn *ssh.Client) (*Host, error) {
	h := NewHost(t.Name, conn)
	return h, d.elevate(ctx, t, h)
}
