package main

import (
	"context"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/agent/lab"
	"github.com/lvsfleet/lvsfleet/agent/remote"
	"github.com/lvsfleet/lvsfleet/agent/remote/sshconfig"
	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/fleet"
	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/state"
	"github.com/lvsfleet/lvsfleet/inventory"
)

// A dialer opens sessions with the hosts of a site, or of the lab that stands
// for it.
type dialer struct {
	remote.Dialer
	lab  *lab.Config
	site func() *inventory.Site // as it is loaded at the moment

	mu      sync.Mutex
	configs map[string]*sshconfig.Config // by the inventory's config attribute
}

func (g *globals) dialer(ctx context.Context, path string, site func() *inventory.Site) (*dialer, error) {
	d := &dialer{Dialer: remote.Dialer{
		Warn:       g.warnOnce(),
		Passphrase: g.passphrase(ctx),
		Password:   g.password(ctx),
		AuthSock:   os.Getenv("SSH_AUTH_SOCK"),
	}, site: site, configs: map[string]*sshconfig.Config{}}
	d.Together = func() []remote.Target {
		var list []remote.Target
		hosts, err := fleet.Select(d.site(), g.limit)
		if err != nil {
			return nil // whoever asks for the hosts is told
		}
		for _, h := range hosts {
			if t, err := d.target(h.Host); err == nil {
				list = append(list, t)
			}
		}
		return list
	}
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
	t, err := d.target(h)
	if err != nil {
		return nil, err
	}
	return d.Dial(ctx, t)
}

// target says how h is reached.
func (d *dialer) target(h *inventory.Host) (remote.Target, error) {
	if d.lab == nil {
		return d.real(h, nil)
	}
	t, err := labTarget(*d.lab, h.Name)
	t.OS, t.Release, t.Agent, t.Become = h.OS, h.Release, h.Agent, h.Become
	return t, err
}

// real says how the inventory and ssh_config want h to be reached; path are the
// hosts that h is a jump for.
func (d *dialer) real(h *inventory.Host, path []string) (remote.Target, error) {
	t := target(h)
	config, err := d.sshConfig(h.SSH.Config)
	if err != nil {
		return t, fmt.Errorf("%s: %w", h.Name, err)
	}
	t.Config = config
	if h.SSH.ProxyJump == nil {
		return t, nil
	}
	if slices.Contains(path, h.Name) {
		return t, fmt.Errorf("%s: the jump hosts go round: %s, %s", path[0], strings.Join(path, ", "), h.Name)
	}
	t.Jumps = []remote.Target{}
	for _, j := range h.SSH.ProxyJump {
		jump := remote.Target{ConnectTimeout: t.ConnectTimeout, Config: config}
		if of := d.site().Host(j); of != nil {
			if jump, err = d.real(of, append(slices.Clone(path), h.Name)); err != nil {
				return t, err
			}
		} else {
			if jump.User, jump.Address, jump.Port, err = sshconfig.ParseJump(j); err != nil {
				return t, fmt.Errorf("%s: %w", h.Name, err)
			}
			jump.Name = jump.Address
		}
		t.Jumps = append(t.Jumps, jump)
	}
	return t, nil
}

// sshConfig reads the ssh_config that the inventory names, once: "" are the
// person's own and the system's.
func (d *dialer) sshConfig(name string) (*sshconfig.Config, error) {
	if name == inventory.NoConfig {
		return nil, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if c, ok := d.configs[name]; ok {
		return c, nil
	}
	me, err := localFacts()
	if err != nil {
		return nil, err
	}
	own := filepath.Join(me.Home, ".ssh")
	sources := []sshconfig.Source{{Name: filepath.Join(own, "config"), Dir: own}, {Name: "/etc/ssh/ssh_config", Dir: "/etc/ssh"}}
	if name != "" {
		if rest, ok := strings.CutPrefix(name, "~/"); ok {
			name = filepath.Join(me.Home, rest)
		}
		if _, err := os.Stat(name); err != nil {
			return nil, fmt.Errorf("read ssh_config: %w", err)
		}
		sources = []sshconfig.Source{{Name: name, Dir: own}}
	}
	c, err := sshconfig.Read(onDisk{}, me, sources...)
	if err != nil {
		return nil, fmt.Errorf("read ssh_config: %w", err)
	}
	for _, w := range c.Warnings() {
		d.Warn("ssh_config", w+", and is passed over")
	}
	d.configs[name] = c
	return c, nil
}

// onDisk are the files of this machine.
type onDisk struct{}

func (onDisk) ReadFile(name string) ([]byte, error)  { return os.ReadFile(name) }
func (onDisk) Glob(pattern string) ([]string, error) { return filepath.Glob(pattern) }

// localFacts are what conditions and tokens of an ssh_config need of this machine.
func localFacts() (sshconfig.Local, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return sshconfig.Local{}, fmt.Errorf("read ssh_config: %w", err)
	}
	me := sshconfig.Local{Home: home, UID: os.Getuid(), Env: map[string]string{}}
	if u, err := user.Current(); err == nil {
		me.User = u.Username
	}
	if me.Host, err = os.Hostname(); err != nil {
		me.Host = "localhost"
	}
	for _, e := range os.Environ() {
		name, value, _ := strings.Cut(e, "=")
		me.Env[name] = value
	}
	return me, nil
}

// target says how the inventory wants h to be reached, but for jumps.
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
		IdentityFiles: []string{c.IdentityFile}, KnownHosts: []string{c.KnownHosts},
	}, nil
}

// warnOnce tells of each host's warnings on standard error, once.
func (g *globals) warnOnce() func(host, message string) {
	var mu sync.Mutex
	said := map[string]bool{}
	return func(host, message string) {
		mu.Lock()
		defer mu.Unlock()
		line := fmt.Sprintf("%s: warning: %s\n", host, hanging(message, 4))
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
func (g *globals) password(ctx context.Context) func(tool, user string, hosts []string) ([]byte, error) {
	if !isTerminal(g.in) {
		return nil
	}
	return func(tool, user string, hosts []string) ([]byte, error) {
		return g.secret(ctx, fmt.Sprintf("Password of %s for %s on %s", user, tool, strings.Join(hosts, ", ")), "password")
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
