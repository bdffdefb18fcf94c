// Package lab is the simulated fleet of a site: for each of its hosts a
// machine in memory with its system's commands (packages linux, freebsd and
// solaris below), behind an SSH server of its own on the loopback, and a small
// world of links between them. The agent's own Serve runs there on the
// simulated host, so that the same bytes cross the wire as with a real one.
package lab

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
)

// Options are what a lab can be started with.
type Options struct {
	// Dir gets the files that clients need (ssh_config, lab.json, keys). It is
	// made if it is not there, and refused while another lab runs in it. "": no
	// files; Config has the same to say, but its paths are empty.
	Dir string
	// Base is what hosts have in /etc, by host (ReadBase). A host that is not
	// in it is freshly installed.
	Base map[string]map[string]host.File
	// Clock is the machines'; nil: the real one.
	Clock host.Clock
}

// A Lab is a running one.
type Lab struct {
	ctx     context.Context
	cancel  context.CancelFunc
	world   *World
	config  Config
	signer  ssh.Signer // the user's
	known   []byte
	dir     string
	leave   func() error // takes the folder's sign down and gives the folder free; nil: there is none
	servers map[string]*server
	work    sync.WaitGroup
}

// folders are the locks of the folders that this process has labs in.
var folders host.Local

// Start makes and boots the machines of site and waits for clients. It ends
// with ctx or by Close.
func Start(ctx context.Context, site *inventory.Site, o Options) (*Lab, error) {
	l := &Lab{world: newWorld(site), servers: map[string]*server{}, config: Config{Hosts: map[string]Endpoint{}}}
	l.ctx, l.cancel = context.WithCancel(ctx)
	if err := l.start(ctx, site, o); err != nil {
		return nil, errors.Join(fmt.Errorf("start lab: %w", err), l.Close())
	}
	context.AfterFunc(ctx, func() { _ = l.Close() })
	return l, nil
}

func (l *Lab) start(ctx context.Context, site *inventory.Site, o Options) error {
	user, pemText, err := newKey("lvsfleet lab")
	if err != nil {
		return err
	}
	l.signer = user
	if o.Dir != "" {
		if l.dir, err = filepath.Abs(o.Dir); err != nil {
			return err
		}
		if err := l.occupy(ctx); err != nil {
			return err
		}
		l.config.IdentityFile = filepath.Join(l.dir, identityFile)
		l.config.KnownHosts = filepath.Join(l.dir, knownFile)
	}
	for _, h := range site.Hosts {
		m := newMachine(*h, o.Base[h.Name])
		m.Listeners = listeners(site, h)
		m.Clock = o.Clock
		l.world.add(m)
		user := loginOf(h)
		s, err := newServer(l, m, user)
		if err != nil {
			return fmt.Errorf("host %s: %w", h.Name, err)
		}
		l.servers[h.Name] = s
		l.config.Hosts[h.Name] = Endpoint{Address: "127.0.0.1", Port: s.port, User: user}
		at := fmt.Sprintf("[127.0.0.1]:%d", s.port)
		l.known = append(l.known, knownhosts.Line([]string{at}, s.hostKey)+"\n"...)
	}
	for _, s := range l.servers {
		l.work.Add(1)
		go s.accept()
	}
	if l.dir == "" {
		return nil
	}
	return l.config.write(l.dir, pemText, l.known)
}

// occupy makes the folder this lab's alone until it is closed. The kernel frees
// the folder of one that was killed.
func (l *Lab) occupy(ctx context.Context) error {
	release, err := folders.Lock(ctx, filepath.Join(l.dir, lockFile), fmt.Sprintf("process %d", os.Getpid()))
	var taken *host.TakenError
	if errors.As(err, &taken) {
		return fmt.Errorf("a lab runs in %s already, by %s", l.dir, taken.Holder)
	}
	if err != nil {
		return err
	}
	sign := filepath.Join(l.dir, sshConfigFile)
	// Once: what is there later is the next lab's.
	l.leave = sync.OnceValue(func() error {
		defer release()
		return os.RemoveAll(sign)
	})
	// One that was killed may have left it, and it says that we are ready.
	return os.RemoveAll(sign)
}

// loginOf is who logs in to a host: root, but where the inventory says how its
// user becomes root, that user, who can do no more than on a real host.
func loginOf(h *inventory.Host) string {
	if h.Become == "" || h.SSH.User == "" {
		return "root"
	}
	return h.SSH.User
}

// newKey makes an ed25519 key and its file.
func newKey(comment string) (ssh.Signer, []byte, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make key: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(private, comment)
	if err != nil {
		return nil, nil, fmt.Errorf("make key: %w", err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return nil, nil, fmt.Errorf("make key: %w", err)
	}
	return signer, pem.EncodeToMemory(block), nil
}

// Config says how to reach the hosts.
func (l *Lab) Config() Config { return l.config }

// Signer is the key that every host lets in, for a client that reads no files.
func (l *Lab) Signer() ssh.Signer { return l.signer }

// KnownHosts is the text of a known_hosts file.
func (l *Lab) KnownHosts() []byte { return l.known }

// World is what lies between the machines.
func (l *Lab) World() *World { return l.world }

// Machine gives the machine of that host; nil if there is none.
func (l *Lab) Machine(name string) *sim.Machine {
	if s := l.servers[name]; s != nil {
		return s.m
	}
	return nil
}

// Reboot reboots a machine, as its power button would.
func (l *Lab) Reboot(name string) {
	s := l.servers[name]
	s.m.Reboot()
	s.drop()
}

// Close ends every connection and takes away the files that say that the lab
// is there. It may be called more than once.
func (l *Lab) Close() error {
	l.cancel()
	var err error
	if l.leave != nil {
		err = l.leave()
	}
	for _, s := range l.servers {
		_ = s.listener.Close()
		s.drop()
	}
	l.work.Wait()
	return err
}

// Offline is the machine of h with no world around: freshly installed, or as
// it boots from base, its /etc by absolute path.
func Offline(h inventory.Host, base map[string]host.File) *sim.Machine { return newMachine(h, base) }

// listeners are the sockets of the services that h is a real server of.
func listeners(site *inventory.Site, h *inventory.Host) []sim.Listener {
	var list []sim.Listener
	for _, s := range site.Services {
		in := contains(h.Roles, s.Pool)
		port := 0
		for _, r := range s.RealServers {
			if r.Host == h.Name {
				in = true
				if r.Port != nil {
					port = *r.Port
				}
			}
		}
		if !in {
			continue
		}
		ports := s.Ports
		if port != 0 {
			ports = []int{port}
		}
		for _, p := range ports {
			l := sim.Listener{Protocol: s.Protocol, Port: p}
			if s.Probe != nil {
				l.Says = s.Probe.Expect
			}
			list = append(list, l)
		}
	}
	return list
}
