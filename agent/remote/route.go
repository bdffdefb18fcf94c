package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/lvsfleet/lvsfleet/agent/remote/sshconfig"
)

// A route is a target with everything filled in: by the target itself, then by
// ssh_config, then by what lvsfleet takes without either.
type route struct {
	Target   // Jumps are in via
	settings sshconfig.Settings
	original string  // the address as it was asked for
	via      []route // the jumps, the first first
}

// addr is where the connection goes: "192.0.2.1:22".
func (r route) addr() string { return net.JoinHostPort(r.Address, strconv.Itoa(r.Port)) }

// lookup is the name under which known_hosts has the host's key.
func (r route) lookup() string {
	if r.settings.HostKeyAlias != "" {
		return net.JoinHostPort(r.settings.HostKeyAlias, "22")
	}
	return r.addr()
}

// by says by which hosts the route leads, for messages.
func (r route) by() string {
	if len(r.via) > 0 {
		names := make([]string, len(r.via))
		for i, v := range r.via {
			names[i] = v.Name
		}
		return " by " + strings.Join(names, ", ")
	}
	if r.settings.ProxyCommand != "" {
		return " by its ProxyCommand"
	}
	return ""
}

// key tells two jumps apart.
func (r route) key() string {
	keys := make([]string, 0, len(r.via)+1)
	for _, v := range append(slices.Clone(r.via), r) {
		keys = append(keys, v.User+"@"+v.addr())
	}
	return strings.Join(keys, " ")
}

// DefaultKnownHosts are the files of host keys where neither the inventory nor
// ssh_config names any (ssh_config(5), UserKnownHostsFile and
// GlobalKnownHostsFile).
func DefaultKnownHosts() (user, global []string) {
	return []string{"~/.ssh/known_hosts", "~/.ssh/known_hosts2"}, []string{"/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"}
}

// route fills in what a target leaves out.
func (d *Dialer) route(t Target) (route, error) { return d.routeWithin(t, nil) }

// routeWithin is route; path are the hosts that it is a jump for, so that a loop
// is found.
func (d *Dialer) routeWithin(t Target, path []string) (route, error) {
	r := route{Target: t, original: t.Address}
	if t.Name == "" {
		r.Name = t.Address
	}
	if slices.Contains(path, r.Name) {
		return r, fmt.Errorf("the jump hosts go round: %s, %s", strings.Join(path, ", "), r.Name)
	}
	if len(path) > sshconfig.MaxJumps {
		return r, fmt.Errorf("more than %d jump hosts lead to %s", sshconfig.MaxJumps, path[0])
	}
	if t.Config != nil {
		s, err := t.Config.Lookup(t.Address, t.User)
		if err != nil {
			return r, fmt.Errorf("read what ssh_config says of %s: %w", r.Name, err)
		}
		r.settings = s
		for _, what := range s.Unsupported {
			d.warn(r.Target, "ssh_config says %s of it, which lvsfleet does not honour", what)
		}
	}
	r.fill()
	for _, list := range [][]string{r.KnownHosts, r.IdentityFiles} {
		for i := range list {
			var err error
			if list[i], err = d.expand(list[i]); err != nil {
				return r, err
			}
		}
	}
	jumps := t.Jumps
	if jumps == nil {
		for _, j := range r.settings.ProxyJump {
			user, host, port, err := sshconfig.ParseJump(j)
			if err != nil {
				return r, fmt.Errorf("%s: %w", r.Name, err)
			}
			jumps = append(jumps, Target{Name: host, Address: host, User: user, Port: port, ConnectTimeout: t.ConnectTimeout, Config: t.Config})
		}
	} else {
		r.settings.ProxyCommand = ""
	}
	for i, j := range jumps {
		within := append(slices.Clone(path), r.Name)
		if i > 0 && j.Jumps == nil {
			j.Jumps = []Target{} // the one before leads to it
		}
		v, err := d.routeWithin(j, within)
		if err != nil {
			return r, err
		}
		r.via = append(append(r.via, v.via...), v)
	}
	for i := range r.via {
		r.via[i].via = r.via[:i:i]
	}
	return r, nil
}

// fill takes what the target leaves out from the settings, then the defaults.
func (r *route) fill() {
	s := r.settings
	if s.HostName != "" {
		r.Address = s.HostName
	}
	if r.Port == 0 {
		r.Port = s.Port
	}
	if r.Port == 0 {
		r.Port = 22
	}
	if r.User == "" {
		r.User = s.User
	}
	if r.User == "" {
		r.User = "root"
	}
	if r.ConnectTimeout == 0 {
		r.ConnectTimeout = s.ConnectTimeout
	}
	if r.ConnectTimeout == 0 {
		r.ConnectTimeout = 10 * time.Second
	}
	user, global := DefaultKnownHosts()
	if s.UserKnownHosts != nil {
		user = s.UserKnownHosts
	}
	if s.GlobalKnownHosts != nil {
		global = s.GlobalKnownHosts
	}
	if len(r.KnownHosts) == 0 {
		r.KnownHosts = slices.DeleteFunc(append(slices.Clone(user), global...), func(f string) bool { return f == "none" })
	}
	r.KnownHosts = slices.Clone(r.KnownHosts)
	r.IdentityFiles = slices.Clone(r.IdentityFiles)
}

// algorithms narrows what is offered to what ssh_config says.
func (r route) algorithms(c *ssh.ClientConfig) error {
	supported := ssh.SupportedAlgorithms()
	insecure := ssh.InsecureAlgorithms()
	for _, a := range []struct {
		name, spec     string
		list           *[]string
		known, obsolet []string
	}{
		{"Ciphers", r.settings.Ciphers, &c.Ciphers, supported.Ciphers, insecure.Ciphers},
		{"MACs", r.settings.MACs, &c.MACs, supported.MACs, insecure.MACs},
		{"KexAlgorithms", r.settings.KexAlgorithms, &c.KeyExchanges, supported.KeyExchanges, insecure.KeyExchanges},
		{"HostKeyAlgorithms", r.settings.HostKeyAlgorithms, &c.HostKeyAlgorithms, supported.HostKeys, insecure.HostKeys},
	} {
		if a.spec == "" {
			continue
		}
		list := chosen(*a.list, a.spec, append(slices.Clone(a.known), a.obsolet...))
		if len(list) == 0 {
			return fmt.Errorf("none of the %s that ssh_config names (%s) is one that lvsfleet has", a.name, a.spec)
		}
		*a.list = list
	}
	return nil
}

// chosen applies a list of ssh_config(5) to a list of defaults: "+" adds behind,
// "-" takes away, "^" puts before, else it is the list. What is not known is left
// out, as OpenSSH leaves out what it was built without.
func chosen(defaults []string, spec string, known []string) []string {
	if spec == "" {
		return defaults
	}
	sign := byte(0)
	if strings.ContainsRune("+-^", rune(spec[0])) {
		sign, spec = spec[0], spec[1:]
	}
	var named []string
	for _, pattern := range strings.Split(spec, ",") {
		for _, k := range known {
			if ok, err := filepath.Match(pattern, k); err == nil && ok && !slices.Contains(named, k) {
				named = append(named, k)
			}
		}
	}
	others := func(list []string) []string {
		return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return slices.Contains(named, s) })
	}
	switch sign {
	case '+':
		return append(slices.Clone(defaults), slices.DeleteFunc(named, func(s string) bool { return slices.Contains(defaults, s) })...)
	case '-':
		return others(defaults)
	case '^':
		return append(named, others(defaults)...)
	}
	return named
}

// way opens the connection that the login goes over.
func (d *Dialer) way(ctx context.Context, r route, pause func() func()) (net.Conn, error) {
	switch {
	case len(r.via) > 0:
		last := r.via[len(r.via)-1]
		for again := false; ; again = true {
			resume := pause() // the jump has a time of its own
			jump, err := d.jump(ctx, last)
			resume()
			if err != nil {
				return nil, err
			}
			conn, err := jump.DialContext(ctx, "tcp", r.addr())
			var refused *ssh.OpenChannelError
			switch {
			case err == nil:
				return conn, nil
			case errors.As(err, &refused):
				return nil, fmt.Errorf("%s does not lead to %s: %w", last.Name, r.addr(), err)
			case again || ctx.Err() != nil:
				return nil, fmt.Errorf("by %s: %w", last.Name, err)
			}
			d.forget(last, jump) // its line is gone: once more over a new one
		}
	case r.settings.ProxyCommand != "":
		command, err := r.Config.Command(r.settings, r.original)
		if err != nil {
			return nil, fmt.Errorf("its ProxyCommand: %w", err)
		}
		return runProxy(command)
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", r.addr())
}

// A jumpLine is the one connection with a jump host that all hosts behind it
// share. Its own login is the only one that the jump sees, so no limit on logins
// that have begun (MaxStartups of sshd_config(5)) is met, however many hosts there
// are.
type jumpLine struct {
	ready  chan struct{} // closed when client or err is set
	client *ssh.Client
	err    error
}

// jump gives the connection with a jump host; the first that needs it logs in.
func (d *Dialer) jump(ctx context.Context, r route) (*ssh.Client, error) {
	for {
		d.state.mu.Lock()
		line, there := d.state.jumps[r.key()]
		if !there {
			line = &jumpLine{ready: make(chan struct{})}
			if d.state.jumps == nil {
				d.state.jumps = map[string]*jumpLine{}
			}
			d.state.jumps[r.key()] = line
		}
		d.state.mu.Unlock()
		if !there {
			d.begin(ctx, r, line)
		}
		select {
		case <-line.ready:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		if line.err != nil && there && errors.Is(line.err, context.Canceled) && ctx.Err() == nil {
			continue // who logged in was interrupted; this one was not
		}
		return line.client, line.err
	}
}

// begin logs in to a jump host for all who wait for it.
func (d *Dialer) begin(ctx context.Context, r route, line *jumpLine) {
	defer close(line.ready)
	client, err := d.login(ctx, r)
	if err != nil {
		line.err = fmt.Errorf("jump host: %w", err)
		d.drop(r, line)
		return
	}
	line.client = client
	alive, stop := context.WithCancel(context.Background())
	go keepAlive(alive, client)
	go func() {
		_ = client.Wait() // however it ended: the next one logs in anew
		stop()
		d.drop(r, line)
	}()
}

// forget gives a jump's connection up that no longer leads anywhere.
func (d *Dialer) forget(r route, client *ssh.Client) {
	d.state.mu.Lock()
	line := d.state.jumps[r.key()]
	d.state.mu.Unlock()
	if line != nil && line.client == client {
		d.drop(r, line)
	}
	_ = client.Close()
}

func (d *Dialer) drop(r route, line *jumpLine) {
	d.state.mu.Lock()
	defer d.state.mu.Unlock()
	if d.state.jumps[r.key()] == line {
		delete(d.state.jumps, r.key())
	}
}

// CloseJumps ends the connections with jump hosts. Sessions that lead over them
// end too.
func (d *Dialer) CloseJumps() {
	d.state.mu.Lock()
	lines := d.state.jumps
	d.state.jumps = nil
	d.state.mu.Unlock()
	for _, l := range lines {
		select {
		case <-l.ready:
			if l.client != nil {
				_ = l.client.Close()
			}
		default:
		}
	}
}

// runProxy runs a ProxyCommand, which a person wrote into ssh_config, by the
// shell of who runs this program, as ssh(1) does: its input and output are the
// connection.
func runProxy(command string) (net.Conn, error) {
	shell := os.Getenv("SHELL")
	if shell == "" {
		shell = "/bin/sh"
	}
	cmd := exec.Command(shell, "-c", "exec "+command)
	here, there, err := socketPair()
	if err != nil {
		return nil, fmt.Errorf("run the ProxyCommand: %w", err)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = there, there, os.Stderr
	err = cmd.Start()
	_ = there.Close()
	if err != nil {
		_ = here.Close()
		return nil, fmt.Errorf("run the ProxyCommand: %w", err)
	}
	go func() { _ = cmd.Wait() }() // it ends with its input; what it says of itself is on standard error
	return here, nil
}
