package remote

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/lvsfleet/lvsfleet/agent/remote/sshconfig"
)

func TestJumps(t *testing.T) {
	first, second, end := startServer(t, nil), startServer(t, nil), startServer(t, nil)
	d := &Dialer{}
	t.Cleanup(d.CloseJumps)
	target := end.target()
	a, b := first.target(), second.target()
	a.Name, b.Name = "bastion", "inner"
	target.Jumps = []Target{a, b}
	if err := login(t.Context(), d, target); err != nil {
		t.Fatal(err)
	}
	if len(first.forwards) != 1 || first.forwards[0] != second.listener.Addr().String() || len(second.forwards) != 1 || second.forwards[0] != end.listener.Addr().String() {
		t.Errorf("the way: %v, then %v", first.forwards, second.forwards)
	}
}

// However many hosts are behind it, a jump host sees one login.
func TestHostsShareAJump(t *testing.T) {
	jump, end := startServer(t, nil), startServer(t, nil)
	d := &Dialer{}
	t.Cleanup(d.CloseJumps)
	target, j := end.target(), jump.target()
	j.Name = "bastion"
	target.Jumps = []Target{j}
	var wg sync.WaitGroup
	errs := make([]error, 40)
	for i := range errs {
		wg.Go(func() { errs[i] = login(t.Context(), d, target) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	jump.mu.Lock()
	if jump.logins != 1 {
		t.Errorf("%d logins at the jump host", jump.logins)
	}
	jump.mu.Unlock()

	// A line that breaks is made anew.
	jump.cut()
	if err := login(t.Context(), d, target); err != nil {
		t.Errorf("after the jump's line broke: %v", err)
	}
}

func TestJumpsThatFail(t *testing.T) {
	end := startServer(t, nil)
	for name, c := range map[string]struct {
		tweak func(*server)
		spoil func(*testing.T, *Target)
		want  []string
	}{
		"refuses to lead on": {tweak: func(s *server) { s.leadsNowhere = true }, want: []string{"bastion does not lead to " + end.listener.Addr().String(), "administratively prohibited"}},
		"another host key": {spoil: func(t *testing.T, j *Target) {
			other, _ := newKey(t)
			put(t, j.KnownHosts[0], []byte(knownhosts.Line([]string{net.JoinHostPort(j.Address, strconv.Itoa(j.Port))}, other.PublicKey())+"\n"))
		}, want: []string{"THE HOST KEY OF bastion HAS CHANGED"}},
		"no login": {spoil: func(t *testing.T, j *Target) {
			_, key := newKey(t)
			put(t, j.IdentityFiles[0], pemOf(t, key, ""))
		}, want: []string{"jump host: log in to bastion", "unable to authenticate"}},
		"goes round": {spoil: func(_ *testing.T, j *Target) { j.Jumps = []Target{{Name: "rs1", Address: "127.0.0.1"}} }, want: []string{"the jump hosts go round: rs1, bastion, rs1"}},
	} {
		t.Run(name, func(t *testing.T) {
			jump := startServer(t, c.tweak)
			d := &Dialer{}
			t.Cleanup(d.CloseJumps)
			target, j := end.target(), jump.target()
			j.Name = "bastion"
			if c.spoil != nil {
				c.spoil(t, &j)
			}
			target.Jumps = []Target{j}
			err := login(t.Context(), d, target)
			for _, w := range c.want {
				if err == nil || !strings.Contains(err.Error(), w) {
					t.Errorf("%v does not say %q", err, w)
				}
			}
		})
	}
}

// files are an ssh_config in memory.
type files map[string]string

func (f files) ReadFile(name string) ([]byte, error) {
	if text, ok := f[name]; ok {
		return []byte(text), nil
	}
	return nil, os.ErrNotExist
}

func (files) Glob(string) ([]string, error) { return nil, nil }

func configured(t *testing.T, text string) *sshconfig.Config {
	t.Helper()
	c, err := sshconfig.Read(files{"config": text}, sshconfig.Local{User: "op", Home: "/home/op"}, sshconfig.Source{Name: "config"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A host that ssh(1) reaches by its ssh_config is reached.
func TestSSHConfig(t *testing.T) {
	jump, end := startServer(t, nil), startServer(t, nil)
	j, e := jump.target(), end.target()
	_, jumpPort := jump.addr()
	_, endPort := end.addr()
	text := fmt.Sprintf(`Host web1
  HostName 127.0.0.1
  Port %d
  IdentityFile %s
  UserKnownHostsFile %s
  ProxyJump bastion
Host bastion
  HostName 127.0.0.1
  Port %d
  IdentityFile %s
  UserKnownHostsFile %s
`, endPort, e.IdentityFiles[0], e.KnownHosts[0], jumpPort, j.IdentityFiles[0], j.KnownHosts[0])
	d := &Dialer{}
	t.Cleanup(d.CloseJumps)
	if err := login(t.Context(), d, Target{Name: "web1", Address: "web1", Config: configured(t, text)}); err != nil {
		t.Fatal(err)
	}
	if len(jump.forwards) != 1 {
		t.Errorf("the jump host led to %v", jump.forwards)
	}

	// What the inventory says wins: no jump.
	if err := login(t.Context(), d, Target{Name: "web1", Address: "web1", Config: configured(t, text), Jumps: []Target{}}); err != nil {
		t.Fatal(err)
	}
	if len(jump.forwards) != 1 {
		t.Errorf("the jump host led to %v", jump.forwards)
	}

	// A key under another name.
	put(t, e.KnownHosts[0], []byte(knownhosts.Line([]string{"the-web"}, end.hostKey.PublicKey())+"\n"))
	if err := login(t.Context(), &Dialer{}, Target{Name: "web1", Address: "web1", Jumps: []Target{}, Config: configured(t, "HostKeyAlias the-web\n"+text)}); err != nil {
		t.Error(err)
	}

	// By a command.
	put(t, e.KnownHosts[0], []byte(knownhosts.Line([]string{end.listener.Addr().String()}, end.hostKey.PublicKey())+"\n"))
	command := `ProxyCommand bash -c 'exec 3<>/dev/tcp/$0/$1; cat <&3 & cat >&3' %h %p` + "\n"
	if err := login(t.Context(), &Dialer{}, Target{Name: "web1", Address: "web1", Config: configured(t, command+text)}); err != nil {
		t.Error(err)
	}
}

// What an ssh_config says of algorithms is offered, and nothing else.
func TestAlgorithms(t *testing.T) {
	defaults := []string{"a1", "b1", "b2"}
	known := []string{"a1", "b1", "b2", "c1"}
	for spec, want := range map[string]string{
		"": "a1 b1 b2", "b1": "b1", "c1,b*": "c1 b1 b2", "+c1": "a1 b1 b2 c1", "+b1": "a1 b1 b2", "-b*": "a1", "^b2": "b2 a1 b1", "nosuch": "",
	} {
		if got := strings.Join(chosen(defaults, spec, known), " "); got != want {
			t.Errorf("%q: %q, want %q", spec, got, want)
		}
	}
}

// authority makes certificates.
func authority(t *testing.T, ca ssh.Signer, key ssh.PublicKey, kind uint32, principal string, until time.Time) *ssh.Certificate {
	t.Helper()
	c := &ssh.Certificate{Key: key, CertType: kind, ValidPrincipals: []string{principal}, ValidBefore: uint64(until.Unix()), KeyId: "test"}
	if err := c.SignCert(rand.Reader, ca); err != nil {
		t.Fatal(err)
	}
	return c
}

// A host whose key a known authority has signed is known, but for what is revoked
// or out of date.
func TestHostCertificates(t *testing.T) {
	ca, _ := newKey(t)
	later := time.Now().Add(time.Hour)
	for name, c := range map[string]struct {
		principal string
		until     time.Time
		known     func(s *server) string
		want      string
	}{
		"signed":      {"127.0.0.1", later, func(*server) string { return "@cert-authority * " + string(ssh.MarshalAuthorizedKey(ca.PublicKey())) }, ""},
		"for another": {"192.0.2.1", later, func(*server) string { return "@cert-authority * " + string(ssh.MarshalAuthorizedKey(ca.PublicKey())) }, "principal"},
		"out of date": {"127.0.0.1", time.Now().Add(-time.Hour), func(*server) string { return "@cert-authority * " + string(ssh.MarshalAuthorizedKey(ca.PublicKey())) }, "expired"},
		"not known":   {"127.0.0.1", later, func(*server) string { return "" }, "is not in"},
		"revoked": {"127.0.0.1", later, func(s *server) string {
			return "@cert-authority * " + string(ssh.MarshalAuthorizedKey(ca.PublicKey())) + "@revoked * " + string(ssh.MarshalAuthorizedKey(ca.PublicKey()))
		}, "revoked"},
	} {
		t.Run(name, func(t *testing.T) {
			s := startServer(t, func(s *server) {
				cert := authority(t, ca, s.hostKey.PublicKey(), ssh.HostCert, c.principal, c.until)
				signer, err := ssh.NewCertSigner(cert, s.hostKey)
				if err != nil {
					t.Fatal(err)
				}
				s.config.AddHostKey(signer)
			})
			target := s.target()
			put(t, target.KnownHosts[0], []byte(c.known(s)))
			err := login(t.Context(), &Dialer{}, target)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// A certificate beside an identity file is shown.
func TestUserCertificates(t *testing.T) {
	ca, _ := newKey(t)
	s := startServer(t, func(s *server) {
		check := &ssh.CertChecker{IsUserAuthority: func(k ssh.PublicKey) bool { return string(k.Marshal()) == string(ca.PublicKey().Marshal()) }}
		s.config.PublicKeyCallback = check.Authenticate
	})
	target := s.target()
	if err := login(t.Context(), &Dialer{}, target); err == nil {
		t.Error("a login without a certificate")
	}
	cert := authority(t, ca, s.userKey.PublicKey(), ssh.UserCert, "root", time.Now().Add(time.Hour))
	if err := os.WriteFile(target.IdentityFiles[0]+"-cert.pub", ssh.MarshalAuthorizedKey(cert), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := login(t.Context(), &Dialer{}, target); err != nil {
		t.Error(err)
	}
	elsewhere := filepath.Join(t.TempDir(), "cert.pub")
	if err := os.Rename(target.IdentityFiles[0]+"-cert.pub", elsewhere); err != nil {
		t.Fatal(err)
	}
	target.Config = configured(t, "CertificateFile "+elsewhere+"\n")
	if err := login(t.Context(), &Dialer{}, target); err != nil {
		t.Error(err)
	}
}
