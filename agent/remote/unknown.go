package remote

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// UnknownKey connects to a host and gives its host key where known_hosts does not
// have it, or that of the jump host on the way to it; nil where it is known.
// Nothing is sent to a host whose key is not known. A key that has changed, or is
// revoked, is the error that every login has.
func (d *Dialer) UnknownKey(ctx context.Context, t Target) (*HostKeyError, error) {
	conn, err := d.connect(ctx, t)
	if err == nil {
		_ = conn.Close() // that it opened is all that was asked
		return nil, nil
	}
	var key *HostKeyError
	switch {
	case errors.As(err, &key) && !key.Revoked && len(key.Changed) == 0 && key.Key != nil:
		return key, nil
	case errors.Is(err, errLogin) && !errors.As(err, &key):
		return nil, nil // the key was right, and the login is another matter
	}
	return nil, err
}

// AddKey writes the key into its file of known hosts, which it makes where there
// is none, and what was read of the files is read anew.
func (d *Dialer) AddKey(e *HostKeyError) error {
	if err := os.MkdirAll(filepath.Dir(e.KnownHosts), 0o700); err != nil {
		return fmt.Errorf("write known hosts: %w", err)
	}
	key := e.Key
	if cert, ok := key.(*ssh.Certificate); ok {
		key = cert.Key
	}
	line := knownhosts.Line([]string{e.Lookup}, key) + "\n"
	f, err := os.OpenFile(e.KnownHosts, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("write known hosts: %w", err)
	}
	if info, err := f.Stat(); err == nil && info.Size() > 0 {
		last := make([]byte, 1)
		if _, err := f.ReadAt(last, info.Size()-1); err == nil && last[0] != '\n' {
			line = "\n" + line
		}
	}
	_, err = f.WriteString(line)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write known hosts: %w", err)
	}
	d.state.mu.Lock()
	d.state.known = nil
	d.state.mu.Unlock()
	return nil
}
