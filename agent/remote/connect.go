package remote

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/lvsfleet/lvsfleet/providers/host"
)

func (d *Dialer) warn(t Target, format string, args ...any) {
	if d.Warn != nil {
		d.Warn(t.Name, fmt.Sprintf(format, args...))
	}
}

// connect dials and logs in.
func (d *Dialer) connect(ctx context.Context, t Target) (*ssh.Client, error) {
	r, err := d.route(t)
	if err != nil {
		return nil, err
	}
	return d.login(ctx, r)
}

// login dials and logs in along a route.
func (d *Dialer) login(ctx context.Context, r route) (*ssh.Client, error) {
	t, addr := r.Target, r.addr()
	check, hostAlgos, err := d.hostKeys(r)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// The clock stands while a person is asked for a passphrase.
	late := fmt.Errorf("no login within %s", t.ConnectTimeout)
	clock := time.AfterFunc(t.ConnectTimeout, func() { cancel(late) })
	defer clock.Stop()
	pause := func() func() {
		clock.Stop()
		return func() { clock.Reset(t.ConnectTimeout) }
	}
	config := &ssh.ClientConfig{
		User:              t.User,
		HostKeyCallback:   check,
		HostKeyAlgorithms: hostAlgos,
		ClientVersion:     "SSH-2.0-lvsfleet",
		Auth:              []ssh.AuthMethod{ssh.PublicKeysCallback(func() ([]ssh.Signer, error) { return d.signers(r, pause) })},
	}
	good := ssh.SupportedAlgorithms()
	config.KeyExchanges, config.Ciphers, config.MACs = good.KeyExchanges, good.Ciphers, good.MACs
	if t.LegacyAlgorithms {
		d.warn(t, "legacy_algorithms: broken ciphers and key exchanges are offered to this host")
		old := ssh.InsecureAlgorithms()
		config.KeyExchanges = append(config.KeyExchanges, old.KeyExchanges...)
		config.Ciphers = append(config.Ciphers, old.Ciphers...)
		config.MACs = append(config.MACs, old.MACs...)
	}
	if err := r.algorithms(config); err != nil {
		return nil, fmt.Errorf("log in to %s: %w", t.Name, err)
	}

	raw, err := d.way(ctx, r, pause)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", t.Name, cause(ctx, err))
	}
	conn := acknowledging(raw)
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	sshConn, chans, reqs, err := ssh.NewClientConn(conn, addr, config)
	if !stop() || err != nil {
		_ = conn.Close()
		err = d.explain(t, cause(ctx, err))
		if strings.Contains(err.Error(), "unable to authenticate") {
			err = &loginError{err}
		}
		return nil, fmt.Errorf("log in to %s (%s@%s%s): %w", t.Name, t.User, addr, r.by(), err)
	}
	return ssh.NewClient(sshConn, chans, reqs), nil
}

// errLogin is a login that the host refused, with the right host key.
var errLogin = errors.New("the host refuses the login")

type loginError struct{ error }

func (e *loginError) Is(target error) bool { return target == errLogin }
func (e *loginError) Unwrap() error        { return e.error }

// cause prefers why ctx ended to what that broke.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// explain says what can be done about a login that failed.
func (d *Dialer) explain(t Target, err error) error {
	var key *HostKeyError
	if errors.As(err, &key) {
		return key
	}
	var none *ssh.AlgorithmNegotiationError
	if errors.As(err, &none) && !t.LegacyAlgorithms {
		return fmt.Errorf("%w (if this is an old system, legacy_algorithms = true in its ssh block speaks its old ones)", err)
	}
	if strings.Contains(err.Error(), "unable to authenticate") {
		what := "the SSH agent's keys and ~/.ssh/id_*"
		if len(t.IdentityFiles) > 0 {
			what = strings.Join(t.IdentityFiles, ", ")
		}
		return fmt.Errorf("%w (tried: %s)", err, what)
	}
	return err
}

// keepAliveEvery is how often a connection that is in use is asked whether it still
// lives, and keepAliveAnswer how long it may stay silent.
const (
	keepAliveEvery  = 15 * time.Second
	keepAliveAnswer = 30 * time.Second
)

// keepAlive closes conn when its host stops answering, until ctx ends: TCP
// alone would take hours to notice.
func keepAlive(ctx context.Context, conn *ssh.Client) {
	tick := time.NewTicker(keepAliveEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		patience := time.AfterFunc(keepAliveAnswer, func() { _ = conn.Close() })
		_, _, err := conn.SendRequest("keepalive@openssh.com", true, nil)
		patience.Stop()
		if err != nil {
			return
		}
	}
}

// localHost is this machine, the same for every session: its locks are
// between them.
func (d *Dialer) localHost() *host.Local {
	d.state.mu.Lock()
	defer d.state.mu.Unlock()
	if d.state.local == nil {
		name, err := os.Hostname()
		if err != nil {
			name = "localhost"
		}
		d.state.local = &host.Local{Name: name}
	}
	return d.state.local
}
