package remote

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	sshagent "golang.org/x/crypto/ssh/agent"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/inventory"
)

// login logs in to t and runs true.
func login(ctx context.Context, d *Dialer, t Target) error {
	conn, err := d.Client(ctx, t)
	if err != nil {
		return err
	}
	defer conn.Close()
	s, err := conn.NewSession()
	if err != nil {
		return err
	}
	return s.Run("true")
}

func put(t *testing.T, name string, data []byte) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestHostKeys(t *testing.T) {
	s := startServer(t, nil)
	addr := s.listener.Addr().String()
	other, _ := newKey(t)
	for name, c := range map[string]struct {
		known string
		want  []string // of the error; nil: none
	}{
		"known":           {knownhosts.Line([]string{addr}, s.hostKey.PublicKey()), nil},
		"hashed":          {knownhosts.HashHostname(knownhosts.Normalize(addr)) + " " + string(ssh.MarshalAuthorizedKey(s.hostKey.PublicKey())), nil},
		"unknown":         {"", []string{"is not in", ssh.FingerprintSHA256(s.hostKey.PublicKey()), "ssh-keyscan -p"}},
		"another's":       {knownhosts.Line([]string{"192.0.2.1"}, s.hostKey.PublicKey()), []string{"is not in"}},
		"changed":         {"# a comment\n" + knownhosts.Line([]string{addr}, other.PublicKey()), []string{"HAS CHANGED", "line 2", "ssh-keygen -f"}},
		"revoked":         {"@revoked * " + string(ssh.MarshalAuthorizedKey(s.hostKey.PublicKey())), []string{"revoked"}},
		"not known_hosts": {"\x7fELF\n", []string{"is not in"}},
		"an odd line":     {"no such line\n" + knownhosts.Line([]string{addr}, s.hostKey.PublicKey()), nil},
		"odd, changed":    {"no such line\n" + knownhosts.Line([]string{addr}, other.PublicKey()), []string{"HAS CHANGED", "line 2", "known_hosts line 2"}},
		"odd revocation":  {"@revoked * nonsense\n" + knownhosts.Line([]string{addr}, s.hostKey.PublicKey()), []string{"read known hosts", "line 1", "@revoked"}},
	} {
		target := s.target()
		put(t, target.KnownHosts[0], []byte(c.known+"\n"))
		err := login(t.Context(), &Dialer{}, target)
		if (err == nil) != (c.want == nil) {
			t.Errorf("%s: %v", name, err)
		}
		for _, w := range c.want {
			if err != nil && !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v does not say %q", name, err, w)
			}
		}
	}
}

// A host with several keys shows the one that is known.
func TestHostKeyAlgorithmsAreThoseThatAreKnown(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	var extra []ssh.Signer
	for _, k := range []any{ec, rs} {
		signer, err := ssh.NewSignerFromKey(k)
		if err != nil {
			t.Fatal(err)
		}
		extra = append(extra, signer)
	}
	s := startServer(t, func(s *server) {
		for _, k := range extra {
			s.config.AddHostKey(k)
		}
	})
	for _, k := range append(extra, s.hostKey) {
		target := s.target()
		put(t, target.KnownHosts[0], []byte(knownhosts.Line([]string{s.listener.Addr().String()}, k.PublicKey())+"\n"))
		if err := login(t.Context(), &Dialer{}, target); err != nil {
			t.Errorf("%s: %v", k.PublicKey().Type(), err)
		}
	}
}

func TestLegacyAlgorithmsOnlyWhenAsked(t *testing.T) {
	s := startServer(t, func(s *server) {
		s.config.KeyExchanges = []string{ssh.InsecureKeyExchangeDH1SHA1}
		s.config.Ciphers = []string{ssh.InsecureCipherTripleDESCBC}
		s.config.MACs = []string{ssh.HMACSHA1}
	})
	target := s.target()
	if err := login(t.Context(), &Dialer{}, target); err == nil || !strings.Contains(err.Error(), "legacy_algorithms = true") {
		t.Errorf("not asked: %v", err)
	}
	target.LegacyAlgorithms = true
	var warned []string
	d := &Dialer{Warn: func(h, m string) { warned = append(warned, m) }}
	if err := login(t.Context(), d, target); err != nil {
		t.Errorf("asked: %v", err)
	}
	if len(warned) != 1 || !strings.Contains(warned[0], "legacy_algorithms") {
		t.Errorf("warned: %q", warned)
	}
}

func TestAPassphraseIsAskedForOnceAndOnlyIfTheKeyIsTaken(t *testing.T) {
	s := startServer(t, nil)
	taken, key := newKey(t)
	_, strange := newKey(t)
	s.userKey = taken
	dir := t.TempDir()
	locked := put(t, filepath.Join(dir, "locked"), pemOf(t, key, "secret"))
	notTaken := put(t, filepath.Join(dir, "strange"), pemOf(t, strange, "secret"))
	var asked []string
	d := &Dialer{Passphrase: func(file string) ([]byte, error) {
		asked = append(asked, filepath.Base(file))
		return []byte("secret"), nil
	}}
	target := s.target()
	target.IdentityFiles = []string{notTaken, locked}
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			if err := login(t.Context(), d, target); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if !slices.Equal(asked, []string{"locked"}) {
		t.Errorf("asked: %q", asked)
	}
	if err := login(t.Context(), &Dialer{}, target); err == nil || !strings.Contains(err.Error(), "unable to authenticate") {
		t.Errorf("nobody to ask: %v", err)
	}
	wrong := &Dialer{Passphrase: func(string) ([]byte, error) { return []byte("wrong"), nil }}
	if err := login(t.Context(), wrong, target); err == nil {
		t.Error("a wrong passphrase was good enough")
	}
}

func TestKeysOfTheSSHAgentAndOfTheHome(t *testing.T) {
	s := startServer(t, nil)
	signer, key := newKey(t)
	s.userKey = signer
	dir := t.TempDir()
	ring := sshagent.NewKeyring()
	if err := ring.Add(sshagent.AddedKey{PrivateKey: &key}); err != nil {
		t.Fatal(err)
	}
	sock := filepath.Join(dir, "agent")
	l, err := net.Listen("unix", sock)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _ = sshagent.ServeAgent(ring, c) }()
		}
	}()
	target := s.target()
	target.IdentityFiles = nil
	if err := login(t.Context(), &Dialer{AuthSock: sock, Home: dir}, target); err != nil {
		t.Errorf("the agent's: %v", err)
	}
	if err := login(t.Context(), &Dialer{AuthSock: filepath.Join(dir, "stale"), Home: dir}, target); err == nil {
		t.Error("no key was good enough")
	}
	put(t, filepath.Join(dir, ".ssh", "id_ed25519"), pemOf(t, key, ""))
	if err := login(t.Context(), &Dialer{Home: dir}, target); err != nil {
		t.Errorf("the home's: %v", err)
	}
	// A file that is locked, and that the agent holds.
	target.IdentityFiles = []string{put(t, filepath.Join(dir, "locked"), pemOf(t, key, "secret"))}
	if err := login(t.Context(), &Dialer{AuthSock: sock}, target); err != nil {
		t.Errorf("locked, but the agent holds it: %v", err)
	}
}

func TestASilentServerIsGivenUp(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a := l.Addr().(*net.TCPAddr)
	target := Target{Name: "rs1", Address: a.IP.String(), Port: a.Port, KnownHosts: []string{filepath.Join(t.TempDir(), "none")}, ConnectTimeout: 50 * time.Millisecond}
	if err := login(t.Context(), &Dialer{}, target); err == nil || !strings.Contains(err.Error(), "no login within 50ms") {
		t.Errorf("%v", err)
	}
}

// What a login file prints comes before what the agent says, or instead of it.
func TestGarbageBeforeTheAgent(t *testing.T) {
	for banner, want := range map[string]string{
		"":                             "no agent answers; the host says",
		"tset: unknown terminal\n":     "tset: unknown terminal",
		strings.Repeat("yes\n", 50000): "yes\\nyes",
	} {
		s := startServer(t, func(s *server) { s.banner = banner })
		conn := s.connect(t)
		p, err := start(conn, agent.ServeArgs("/no/such/folder/lvsfleet-agent-x"), nil)
		if err != nil {
			t.Fatal(err)
		}
		c := agent.NewClient(p, "x")
		_, err = c.Check(t.Context(), agent.ToAdd(inventory.Desired{}))
		var nobody *agent.NoAgentError
		if err = p.telling(err); !errors.As(err, &nobody) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v", err)
		}
		if len(banner) < 100 && !strings.Contains(err.Error(), "not found") && !strings.Contains(err.Error(), "No such file") {
			t.Errorf("the shell's own words are missing: %v", err)
		}
		_ = c.Close()
	}
}
