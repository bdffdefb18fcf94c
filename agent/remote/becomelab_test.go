package remote_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pkg/sftp"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/agent/lab"
	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/agent/remote"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/host/hosttest"
)

// startPlainFleet is a lab into which op logs in, who becomes root by what its
// system has.
func startPlainFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{dir: t.TempDir(), site: site()}
	for _, h := range f.site.Hosts {
		h.SSH.User, h.Become = "op", "sudo"
		switch {
		case h.OS == inventory.Solaris:
			h.Become = "pfexec"
		case h.Name == "freebsd":
			h.Become = "doas"
		}
	}
	var err error
	if f.Lab, err = lab.Start(t.Context(), f.site, lab.Options{Dir: f.dir, Clock: sim.Hurried(5)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Lab.Close() })
	return f
}

func (f *fleet) becoming(name string) remote.Target {
	t := f.target(name)
	t.Become = f.site.Host(name).Become
	return t
}

func (f *fleet) privilege(name string, p sim.Privilege) {
	m := f.Machine(name)
	m.Locked(func() { m.Privilege = p })
}

func TestAPlainUserCanChangeNothing(t *testing.T) {
	f := startPlainFleet(t)
	for _, h := range f.site.Hosts {
		t.Run(h.Name, func(t *testing.T) {
			target := f.target(h.Name)
			conn, err := (&remote.Dialer{}).Client(t.Context(), target)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			target.User = "root"
			if other, err := (&remote.Dialer{}).Client(t.Context(), target); err == nil {
				_ = other.Close()
				t.Error("root may log in")
			}
			m := f.Machine(h.Name)
			var before map[string]string
			m.Locked(func() {
				m.FS.Put("/root/secret", 0o600, "s")
				before = everything(m)
			})
			plain := remote.NewHost(h.Name, conn)
			for name, do := range map[string]func() error{
				"write":  func() error { return plain.Write(t.Context(), "/etc/x", host.File{Mode: 0o644}) },
				"rename": func() error { return plain.Rename(t.Context(), "/etc/hosts", "/etc/h") },
				"remove": func() error { return plain.Remove(t.Context(), "/etc/hosts") },
				"read":   func() error { _, err := plain.ReadFile(t.Context(), "/root/secret"); return err },
				"shell": func() error {
					_, err := plain.Run(t.Context(), host.Cmd{Argv: []string{"sh", "-c", "echo x >/etc/x"}})
					return err
				},
				"ifconfig": func() error {
					_, err := plain.Run(t.Context(), host.Cmd{Argv: []string{"ifconfig", "lo0", "down"}})
					return err
				},
			} {
				if do() == nil {
					t.Errorf("%s: op may", name)
				}
			}
			c, err := sftp.NewClient(conn)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if c.Chmod("/etc/hosts", 0o666) == nil || c.Mkdir("/etc/d") == nil || c.Truncate("/etc/hosts", 0) == nil {
				t.Error("op may by SFTP")
			}
			m.Locked(func() {
				for p, was := range everything(m) {
					if before[p] != was {
						t.Errorf("%s is %q", p, was)
					}
					delete(before, p)
				}
			})
			if len(before) > 0 {
				t.Errorf("gone: %v", before)
			}
		})
	}
}

func everything(m *sim.Machine) map[string]string {
	all := map[string]string{}
	m.FS.Walk("/", func(p string, n host.File) { all[p] = fmt.Sprint(n.Mode, n.UID, n.GID, string(n.Data)) })
	return all
}

func TestHostsOfAPlainUserConform(t *testing.T) {
	f := startPlainFleet(t)
	f.privilege("oldfreebsd", sim.Privilege{Password: "xyzzy 1"}) // csh is its login shell
	f.privilege("linux", sim.Privilege{Password: "xyzzy 1"})
	d := &remote.Dialer{Password: func(string, string, []string) ([]byte, error) { return []byte("xyzzy 1"), nil }}
	for _, h := range f.site.Hosts {
		t.Run(h.Name, func(t *testing.T) {
			conn, err := d.Client(t.Context(), f.target(h.Name))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = conn.Close() })
			n := 0
			hosttest.Conformance(t, func(t *testing.T) hosttest.Subject {
				n++
				dir := fmt.Sprintf("/var/conformance/%d", n)
				f.Machine(h.Name).Locked(func() { f.Machine(h.Name).FS.MkdirAll(dir) })
				on, err := d.HostOf(t.Context(), f.becoming(h.Name), conn)
				if err != nil {
					t.Fatal(err)
				}
				return hosttest.Subject{Host: on, Dir: dir}
			})
		})
	}
}

// A transaction by a user who is not root, on each kind of host, with and
// without an agent, with and without a password.
func TestTransactionsOfAPlainUser(t *testing.T) {
	for _, password := range []string{"", "xyzzy 1"} {
		f := startPlainFleet(t)
		var asked atomic.Int32
		d := &remote.Dialer{
			Agents: remote.LabAgents(), Memory: &memory{of: map[string]string{}},
			Together: func() []remote.Target {
				var all []remote.Target
				for _, h := range f.site.Hosts {
					all = append(all, f.becoming(h.Name))
				}
				return all
			},
			Password: func(tool, user string, _ []string) ([]byte, error) {
				asked.Add(1)
				if tool != "sudo" || user != "op" {
					t.Errorf("asked for %s of %s", tool, user)
				}
				return []byte(password), nil
			},
		}
		var wg sync.WaitGroup
		for _, h := range f.site.Hosts {
			if h.Become == "sudo" {
				f.privilege(h.Name, sim.Privilege{Password: password})
			}
			ran := executed(f.Machine(h.Name))
			wg.Go(func() {
				f.plainTransaction(t, d, h)
				for _, argv := range ran() {
					if strings.Contains(argv, "xyzzy") {
						t.Errorf("%s: the password is in %s", h.Name, argv)
					}
				}
				f.Machine(h.Name).Locked(func() {
					for p, n := range everything(f.Machine(h.Name)) {
						if strings.Contains(n, "xyzzy") {
							t.Errorf("%s: the password is in %s", h.Name, p)
						}
					}
				})
			})
		}
		wg.Wait()
		if want := int32(len(password)) / 7; asked.Load() != want {
			t.Errorf("asked %d times", asked.Load())
		}
	}
}

func (f *fleet) plainTransaction(t *testing.T, d *remote.Dialer, h *inventory.Host) {
	want := f.want(h.Name)
	want.VIPs = []inventory.VIP{{
		Addr: netip.MustParseAddr("192.168.0.200"), Method: inventory.DR, Device: h.Interfaces[0].Device, OnLAN: true,
	}}
	for range 2 { // the second time the agent is there
		s, err := d.Dial(t.Context(), f.becoming(h.Name))
		if err != nil {
			t.Error(err)
			return
		}
		_, err = s.Begin(t.Context(), agent.Transaction{Run: "r1", Who: "me", Request: agent.ToAdd(want)}, nil)
		if err == nil {
			err = s.Apply(t.Context(), nil)
		}
		if err != nil {
			t.Errorf("%s: %v", h.Name, err)
			_ = s.Close()
			return
		}
		fresh, err := d.Dial(t.Context(), f.becoming(h.Name))
		if err == nil {
			err = errors.Join(fresh.Finish(t.Context(), "r1", true, nil), fresh.Close())
		}
		if err = errors.Join(err, s.Close()); err != nil {
			t.Errorf("%s: commit: %v", h.Name, err)
			return
		}
		if s, err = d.Dial(t.Context(), f.becoming(h.Name)); err != nil {
			t.Error(err)
			return
		}
		r, err := s.Check(t.Context(), agent.ToAdd(want))
		for err == nil && r.UnderWay != "" { // the guard has yet to see that it is done
			r, err = s.Check(t.Context(), agent.ToAdd(want))
		}
		if err != nil || agent.Differs(r) || r.Unsettled != "" {
			t.Errorf("%s: after it: %v %q %v", h.Name, agent.Differs(r), r.Unsettled, err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("%s: close: %v", h.Name, err)
		}
		want.VIPs[0].Addr = want.VIPs[0].Addr.Next()
	}
}

func TestAUserWhoCannotBecomeRoot(t *testing.T) {
	f := startPlainFleet(t)
	sesame := func(string, string, []string) ([]byte, error) { return []byte("sesame"), nil }
	for name, c := range map[string]struct {
		host   string
		p      sim.Privilege
		ask    func(string, string, []string) ([]byte, error)
		become string
		want   string
	}{
		"wrong password":         {"linux", sim.Privilege{Password: "other"}, sesame, "", "linux: sudo: wrong password for op"},
		"nobody to ask":          {"linux", sim.Privilege{Password: "sesame"}, nil, "", "NOPASSWD"},
		"nobody answers":         {"linux", sim.Privilege{Password: "sesame"}, func(string, string, []string) ([]byte, error) { return nil, errors.New("no answer") }, "", "no answer"},
		"not allowed":            {"linux", sim.Privilege{Denied: true}, sesame, "", "not in the sudoers file"},
		"not allowed, password":  {"linux", sim.Privilege{Denied: true, Password: "sesame"}, sesame, "", "not in the sudoers file"},
		"doas wants a password":  {"freebsd", sim.Privilege{Password: "sesame"}, sesame, "", "permit nopass op"},
		"doas says no":           {"freebsd", sim.Privilege{Denied: true}, sesame, "", "Operation not permitted"},
		"pfexec without profile": {"solaris10", sim.Privilege{Denied: true}, sesame, "", "uid=1000(op)"},
		"no such tool":           {"linux", sim.Privilege{}, sesame, "doas", "doas: not found"},
	} {
		t.Run(name, func(t *testing.T) {
			f.privilege(c.host, c.p)
			m := f.Machine(c.host)
			var before map[string]string
			m.Locked(func() { before = everything(m) })
			target := f.becoming(c.host)
			if c.become != "" {
				target.Become = c.become
			}
			d := &remote.Dialer{Agents: remote.LabAgents(), Password: c.ask}
			s, err := d.Dial(t.Context(), target)
			if err == nil {
				_ = s.Close()
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "sesame") {
				t.Errorf("%v", err)
			}
			m.Locked(func() {
				if len(everything(m)) != len(before) {
					t.Error("something was changed")
				}
			})
		})
	}
}
