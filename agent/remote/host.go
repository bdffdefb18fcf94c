package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"github.com/lvsfleet/lvsfleet/providers/host"
)

// Host is a machine reached over SSH with no agent on it: commands by exec,
// files by SFTP and the commands that every Unix has. It asks of the other end
// a V7 Bourne shell, and of its SFTP server protocol version 3 with none of
// the extensions. It is safe for concurrent use.
type Host struct {
	name string
	conn *ssh.Client
	root *privilege // nil: the login is root's
	// channels bounds those that are open at once: sshd allows ten
	// (sshd_config(5), MaxSessions), and SFTP and the lock have one each.
	channels chan struct{}
	owed     atomic.Bool // something that was written may not be on the disk yet

	mu    sync.Mutex
	sftp  *sftp.Client // nil: not asked for yet
	uname *host.Result // nil: not asked for yet
}

var (
	_ host.Host   = (*Host)(nil)
	_ host.Locker = (*Host)(nil)
)

// maxCommands is how many commands run at once on one connection.
const maxCommands = 6

// NewHost makes a Host of a connection, which stays the caller's to close.
func NewHost(name string, conn *ssh.Client) *Host {
	return &Host{name: name, conn: conn, channels: make(chan struct{}, maxCommands)}
}

// environment is set by env(1), which also finds the program, so that sh and
// csh say the same when there is none. The address format is ifconfig's own
// default on FreeBSD (ifconfig(8), -f): a login file may have set another, and
// env of old cannot unset.
func environment() []string {
	return []string{"env", "LC_ALL=C", "PATH=" + host.AdminPath, "IFCONFIG_FORMAT=inet:hex"}
}

// lost makes of an error of the connection what it means.
func (h *Host) lost(err error) error {
	var exit *ssh.ExitMissingError
	var open *ssh.OpenChannelError
	switch {
	case err == nil, errors.As(err, &open):
		return err
	case errors.As(err, &exit), errors.Is(err, io.EOF), errors.Is(err, sftp.ErrSSHFxConnectionLost),
		errors.Is(err, syscall.EPIPE), strings.Contains(err.Error(), "use of closed network connection"), strings.Contains(err.Error(), "connection reset"),
		// x/crypto/ssh, (*mux).openChannel, of a connection that ends meanwhile.
		strings.Contains(err.Error(), "unexpected packet in response to channel open: <nil>"):
		return fmt.Errorf("%s: %w (%w)", h.name, host.ErrLost, err)
	}
	return err
}

// Run runs cmd through the login shell. What the machine is does not change,
// and is asked for before it is known whether an agent can run, and after: it
// is asked once.
func (h *Host) Run(ctx context.Context, cmd host.Cmd) (host.Result, error) {
	if strings.Join(cmd.Argv, " ") != "uname -s -r -m -v" {
		return h.run(ctx, cmd)
	}
	h.mu.Lock()
	known := h.uname
	h.mu.Unlock()
	if known != nil {
		return *known, nil
	}
	res, err := h.run(ctx, cmd)
	if err == nil {
		h.mu.Lock()
		h.uname = &res
		h.mu.Unlock()
	}
	return res, err
}

func (h *Host) run(ctx context.Context, cmd host.Cmd) (host.Result, error) {
	if len(cmd.Argv) == 0 || cmd.Argv[0] == "" {
		return host.Result{}, errors.New("run: empty argv")
	}
	argv := cmd.Argv
	owed := h.owed.Swap(false)
	if owed {
		argv = append([]string{"/bin/sh", "-c", catchUpScript, "sh"}, argv...)
	}
	line, first, err := h.command(argv)
	if err != nil {
		h.owed.CompareAndSwap(false, owed)
		return host.Result{}, fmt.Errorf("%s: run %s: %w", h.name, cmd.Argv[0], err)
	}
	limit := cmd.Timeout
	if limit == 0 {
		limit = host.DefaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	input := cmd.Stdin
	if first != nil {
		input = append(first, input...)
	}
	return h.exchange(ctx, cmd.Argv, line, input)
}

// exchange runs a command line and gives what it says to input. argv is what
// it stands for.
func (h *Host) exchange(ctx context.Context, argv []string, line string, input []byte) (host.Result, error) {
	begun := time.Now()
	select {
	case h.channels <- struct{}{}:
		defer func() { <-h.channels }()
	case <-ctx.Done():
		return host.Result{}, ctx.Err()
	}
	s, err := h.session(ctx)
	if err != nil {
		return host.Result{}, err
	}
	defer s.Close()
	var stdout, stderr capped
	s.Stdout, s.Stderr = &stdout, &stderr
	var in io.WriteCloser
	if input != nil {
		if in, err = s.StdinPipe(); err != nil {
			return host.Result{}, fmt.Errorf("%s: %s: %w", h.name, argv[0], err)
		}
	}
	stop := context.AfterFunc(ctx, func() {
		_ = s.Signal(ssh.SIGKILL) // OpenSSH since 7.9 passes it on; older ones do not
		_ = s.Close()
	})
	if err = s.Start(line); err == nil {
		if in != nil {
			go func() { // a command may end without having read it all
				_, _ = in.Write(input)
				_ = in.Close()
			}()
		}
		err = s.Wait()
	}
	if !stop() {
		return host.Result{}, fmt.Errorf("%s: %s: ended after %s: %w", h.name, strings.Join(argv, " "), time.Since(begun).Round(time.Second/10), ctx.Err())
	}
	res := host.Result{Stdout: stdout.Bytes(), Stderr: stderr.Bytes()}
	var exit *ssh.ExitError
	switch {
	case stdout.over || stderr.over:
		return res, fmt.Errorf("%s: %s: printed more than %d bytes", h.name, strings.Join(argv, " "), host.MaxOutput)
	case err == nil:
		return res, nil
	case !errors.As(err, &exit):
		return res, fmt.Errorf("%s: %w", strings.Join(argv, " "), h.lost(err))
	}
	if res.Exit = exit.ExitStatus(); res.Exit == 0 || exit.Signal() != "" {
		res.Exit = 255
	}
	return res, &host.ExitError{Host: h.name, Argv: argv, Exit: res.Exit, Stderr: stderr.String()}
}

// session opens a channel. What a dead line does not answer, ctx ends.
func (h *Host) session(ctx context.Context) (*ssh.Session, error) {
	type opened struct {
		s   *ssh.Session
		err error
	}
	ch := make(chan opened, 1)
	go func() {
		s, err := h.conn.NewSession()
		ch <- opened{s, err}
	}()
	select {
	case o := <-ch:
		if o.err != nil {
			return nil, fmt.Errorf("%s: open a session: %w", h.name, h.lost(o.err))
		}
		return o.s, nil
	case <-ctx.Done():
		go func() {
			if o := <-ch; o.err == nil {
				_ = o.s.Close()
			}
		}()
		return nil, fmt.Errorf("%s: open a session: %w", h.name, ctx.Err())
	}
}

// known remembers what uname(1) has printed.
func (h *Host) known(uname string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.uname = &host.Result{Stdout: []byte(uname)}
}

// capped keeps the first host.MaxOutput bytes.
type capped struct {
	bytes.Buffer
	over bool
}

func (c *capped) Write(p []byte) (int, error) {
	if room := host.MaxOutput - c.Len(); len(p) > room {
		c.over = true
		c.Buffer.Write(p[:room])
		return len(p), nil
	}
	return c.Buffer.Write(p)
}

// files opens SFTP, once.
func (h *Host) files() (*sftp.Client, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.sftp != nil {
		return h.sftp, nil
	}
	c, err := sftp.NewClient(h.conn)
	if err != nil {
		return nil, fmt.Errorf("%s: open SFTP: %w", h.name, h.lost(err))
	}
	h.sftp = c
	return c, nil
}

// catchUp has what was written reach the disk.
func (h *Host) catchUp() {
	if h.owed.Swap(false) {
		ctx, cancel := context.WithTimeout(context.Background(), host.DefaultTimeout)
		defer cancel()
		_, _ = h.run(ctx, host.Cmd{Argv: []string{"sync"}}) // of a line that is lost nobody can do it
	}
}

// Close ends the SFTP session, if there is one; the connection stays. It waits
// for the other side, as long as the connection is there.
func (h *Host) Close() error {
	h.catchUp()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.sftp == nil {
		return nil
	}
	err := h.sftp.Close()
	h.sftp = nil
	return err
}

// within ends a wait for the other side when ctx does; what runs on there is
// cut off with the connection.
func within[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type result struct {
		v   T
		err error
	}
	ch := make(chan result, 1)
	go func() {
		v, err := f()
		ch <- result{v, err}
	}()
	select {
	case r := <-ch:
		return r.v, r.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// settle bounds the wait of a channel that is being closed.
const settle = 5 * time.Second
