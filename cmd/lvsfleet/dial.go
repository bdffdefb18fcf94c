package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/agent/lab"
	"github.com/lvsfleet/lvsfleet/agent/remote"
	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/state"
	"github.com/lvsfleet/lvsfleet/inventory"
)

// A dialer opens sessions with the hosts of a site, or of the lab that stands
// for it.
type dialer struct {
	remote.Dialer
	lab *lab.Config
}

func (g *globals) dialer(ctx context.Context, path string) (*dialer, error) {
	d := &dialer{Dialer: remote.Dialer{
		Warn:       g.warnOnce(),
		Passphrase: g.passphrase(ctx),
		Password:   g.password(ctx),
		AuthSock:   os.Getenv("SSH_AUTH_SOCK"),
	}}
	if self, err := os.Executable(); err == nil {
		d.Self = self
	}
	if g.lab != "" {
		config, err := lab.Open(g.lab)
		if err != nil {
			return nil, err
		}
		d.lab = &config
		d.Agents, d.AuthSock = remote.LabAgents(), ""
	}
	dir, err := g.stateDir(path)
	if err != nil {
		return nil, err
	}
	d.Memory = state.Open(dir)
	return d, nil
}

// dial opens a session with h.
func (d *dialer) dial(ctx context.Context, h *inventory.Host) (agent.Session, error) {
	t := target(h)
	if d.lab != nil {
		var err error
		if t, err = labTarget(*d.lab, h.Name); err != nil {
			return nil, err
		}
		t.OS, t.Release, t.Agent, t.Become = h.OS, h.Release, h.Agent, h.Become
	}
	return d.Dial(ctx, t)
}

// target says how the inventory wants h to be reached.
func target(h *inventory.Host) remote.Target {
	return remote.Target{
		Name: h.Name, OS: h.OS, Release: h.Release,
		Address: h.Address, Port: h.SSH.Port, User: h.SSH.User,
		IdentityFiles: h.SSH.IdentityFiles, KnownHosts: h.SSH.KnownHosts,
		LegacyAlgorithms: h.SSH.LegacyAlgorithms,
		ConnectTimeout:   time.Duration(h.SSH.ConnectTimeout) * time.Second,
		Agent:            h.Agent, Local: h.Connection == "local", Become: h.Become,
	}
}

// labTarget says how to reach the simulated host called name; nothing of the
// inventory's ssh and connection settings holds there, but that a host with
// become has its own user, who is as powerless as on the real one.
func labTarget(c lab.Config, name string) (remote.Target, error) {
	e, ok := c.Hosts[name]
	if !ok {
		return remote.Target{}, fmt.Errorf("the lab has no host %q: was it started with another site?", name)
	}
	return remote.Target{
		Name: name, Address: e.Address, Port: e.Port, User: e.User,
		IdentityFiles: []string{c.IdentityFile}, KnownHosts: c.KnownHosts,
	}, nil
}

// warnOnce tells of each host's warnings on standard error, once.
func (g *globals) warnOnce() func(host, message string) {
	var mu sync.Mutex
	said := map[string]bool{}
	return func(host, message string) {
		mu.Lock()
		defer mu.Unlock()
		line := fmt.Sprintf("%s: warning: %s\n", host, message)
		if !said[line] {
			said[line] = true
			g.progress.aside(func() { fmt.Fprint(g.err, line) })
		}
	}
}

// passphrase asks at the terminal; nil where there is none.
func (g *globals) passphrase(ctx context.Context) func(string) ([]byte, error) {
	if !isTerminal(g.in) {
		return nil
	}
	return func(file string) ([]byte, error) {
		return g.secret(ctx, "Passphrase for "+file, "passphrase")
	}
}

// password asks at the terminal; nil where there is none.
func (g *globals) password(ctx context.Context) func(tool, user string) ([]byte, error) {
	if !isTerminal(g.in) {
		return nil
	}
	return func(tool, user string) ([]byte, error) {
		return g.secret(ctx, fmt.Sprintf("Password of %s for %s", user, tool), "password")
	}
}

// secret asks for a line that is not shown. The end of ctx is no answer.
func (g *globals) secret(ctx context.Context, question, what string) (secret []byte, err error) {
	g.progress.aside(func() {
		if err = ctx.Err(); err != nil { // another question was interrupted
			return
		}
		fd := int(g.in.Fd())
		var show func()
		if show, err = hideTyping(fd); err != nil {
			return
		}
		defer show()
		asks := g.asks()
		fmt.Fprint(asks, question+": ")
		defer fmt.Fprintln(asks)
		secret, err = typed(ctx, func() ([]byte, error) { return term.ReadPassword(fd) })
	})
	if err != nil {
		return nil, fmt.Errorf("no %s was given", what)
	}
	return secret, nil
}

// hideTyping turns the terminal's echo off, discarding what was typed before
// there was a question, until show is called.
func hideTyping(fd int) (show func(), err error) {
	before, err := unix.IoctlGetTermios(fd, getModes)
	if err != nil {
		return nil, err
	}
	hidden := *before
	hidden.Lflag &^= unix.ECHO
	if err := unix.IoctlSetTermios(fd, setModesFlush, &hidden); err != nil {
		return nil, err
	}
	return func() { _ = unix.IoctlSetTermios(fd, setModes, before) }, nil // a terminal that is gone shows nothing
}
