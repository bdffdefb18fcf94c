package remote

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"slices"
	"sync"

	"golang.org/x/crypto/ssh"
	sshagent "golang.org/x/crypto/ssh/agent"

	"github.com/lvsfleet/lvsfleet/providers/host"
)

// state is what a Dialer keeps between its calls.
type state struct {
	mu          sync.Mutex
	known       map[string]ssh.HostKeyCallback
	warned      map[string]bool
	copies      map[string]string // of files of known hosts, while they are read: what they are copies of
	authorities map[string]bool   // lines of known hosts that are certificate authorities
	jumps       map[string]*jumpLine
	keys        map[string]*keyFile
	agents      map[string]sshagent.ExtendedAgent // by socket, once asked; nil: there is none
	prompt      sync.Mutex                        // one question at a time
	local       *host.Local

	passwords map[string][]answer // by tool and user

	embed    sync.Once
	carried  *Payload // what this build carries, once embed is done
	programs programs
}

// defaultKeys are tried where the inventory names none.
func defaultKeys() []string { return []string{"~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa"} }

// signers gives the keys to try, in order. pause stops the clock of the
// connection while a person types.
func (d *Dialer) signers(r route, pause func() (resume func())) ([]ssh.Signer, error) {
	var signers []ssh.Signer
	names, named := r.IdentityFiles, len(r.IdentityFiles) > 0
	if !named {
		// Those that ssh_config names may be missing, as with ssh(1).
		if names = r.settings.IdentityFiles; len(names) == 0 {
			names = defaultKeys()
		}
		if a := d.sshAgent(r); a != nil && !r.settings.IdentitiesOnly {
			held, err := a.Signers()
			if err != nil {
				return nil, fmt.Errorf("ask the SSH agent for keys: %w", err)
			}
			signers = append(signers, held...)
		}
	}
	for _, name := range names {
		if name == "none" && !named {
			continue
		}
		k, err := d.key(name)
		if errors.Is(err, fs.ErrNotExist) && !named {
			continue
		}
		if err != nil {
			return nil, err
		}
		if s := d.signer(r, k, named || r.settings.IdentitiesOnly, pause); s != nil {
			signers = append(signers, s)
		}
	}
	return d.withCertificates(r, signers)
}

// withCertificates puts before each key the certificates that are of it: those
// that ssh_config names, and FILE-cert.pub beside an identity file.
func (d *Dialer) withCertificates(r route, signers []ssh.Signer) ([]ssh.Signer, error) {
	files := slices.Clone(r.settings.CertificateFiles)
	for _, name := range append(slices.Clone(r.IdentityFiles), r.settings.IdentityFiles...) {
		files = append(files, name+"-cert.pub")
	}
	var out []ssh.Signer
	for i, name := range files {
		path, err := d.expand(name)
		if err != nil {
			return nil, err
		}
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) && i >= len(r.settings.CertificateFiles) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read certificate: %w", err)
		}
		key, _, _, _, err := ssh.ParseAuthorizedKey(text)
		cert, ok := key.(*ssh.Certificate)
		if err != nil || !ok {
			return nil, fmt.Errorf("read certificate %s: it holds no certificate", path)
		}
		for _, s := range signers {
			if bytes.Equal(s.PublicKey().Marshal(), cert.Key.Marshal()) {
				both, err := ssh.NewCertSigner(cert, s)
				if err != nil {
					return nil, fmt.Errorf("use certificate %s: %w", path, err)
				}
				out = append(out, both)
			}
		}
	}
	return append(out, signers...), nil
}

// signer gives k as a signer; nil where it cannot be used.
func (d *Dialer) signer(r route, k *keyFile, named bool, pause func() func()) ssh.Signer {
	if plain, _ := k.opened(); plain != nil {
		return plain
	}
	// Encrypted: the agent may hold it.
	if a := d.sshAgent(r); named && a != nil && k.public != nil {
		if held, err := a.Signers(); err == nil {
			for _, s := range held {
				if string(s.PublicKey().Marshal()) == string(k.public.Marshal()) {
					return s
				}
			}
		}
	}
	if d.Passphrase == nil {
		return nil
	}
	if k.public == nil {
		s, err := d.decrypt(k, pause) // which key it is cannot be seen from outside
		if err != nil {
			return nil
		}
		return s
	}
	return &lockedSigner{d: d, k: k, pause: pause}
}

// sshAgent connects to the SSH agent of the route, once; nil where there is none.
func (d *Dialer) sshAgent(r route) sshagent.ExtendedAgent {
	socket := d.AuthSock
	switch which := r.settings.IdentityAgent; which {
	case "", "SSH_AUTH_SOCK":
	case "none":
		return nil
	default:
		socket = which
	}
	if socket == "" {
		return nil
	}
	d.state.mu.Lock()
	defer d.state.mu.Unlock()
	if a, asked := d.state.agents[socket]; asked {
		return a
	}
	if d.state.agents == nil {
		d.state.agents = map[string]sshagent.ExtendedAgent{}
	}
	var a sshagent.ExtendedAgent
	if conn, err := net.Dial("unix", socket); err == nil { // a stale socket is as good as none, as with ssh(1)
		a = sshagent.NewClient(conn)
	}
	d.state.agents[socket] = a
	return a
}

// A keyFile is one private key, read once.
type keyFile struct {
	path   string
	text   []byte
	public ssh.PublicKey // nil: not known before it is decrypted

	mu    sync.Mutex // guards plain and err, never for long
	plain ssh.Signer // nil: still encrypted
	err   error      // the person was asked, and could not say
}

func (k *keyFile) opened() (ssh.Signer, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.plain, k.err
}

// key reads a key file, once.
func (d *Dialer) key(name string) (*keyFile, error) {
	path, err := d.expand(name)
	if err != nil {
		return nil, err
	}
	d.state.mu.Lock()
	defer d.state.mu.Unlock()
	if k := d.state.keys[path]; k != nil {
		return k, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	k := &keyFile{path: path, text: text}
	var locked *ssh.PassphraseMissingError
	k.plain, err = ssh.ParsePrivateKey(text)
	switch {
	case errors.As(err, &locked):
		if k.public = locked.PublicKey; k.public == nil {
			if pub, err := os.ReadFile(path + ".pub"); err == nil {
				k.public, _, _, _, _ = ssh.ParseAuthorizedKey(pub)
			}
		}
	case err != nil:
		return nil, fmt.Errorf("read key %s: %w", path, err)
	}
	if d.state.keys == nil {
		d.state.keys = map[string]*keyFile{}
	}
	d.state.keys[path] = k
	return k, nil
}

// decrypt asks for the passphrase, once for all hosts.
func (d *Dialer) decrypt(k *keyFile, pause func() func()) (ssh.Signer, error) {
	defer pause()()
	d.state.prompt.Lock()
	defer d.state.prompt.Unlock()
	if plain, err := k.opened(); plain != nil || err != nil {
		return plain, err
	}
	var plain ssh.Signer
	phrase, err := d.Passphrase(k.path)
	if err == nil {
		plain, err = ssh.ParsePrivateKeyWithPassphrase(k.text, phrase)
	}
	if err != nil {
		err = fmt.Errorf("decrypt key %s: %w", k.path, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.plain, k.err = plain, err
	return plain, err
}

// A lockedSigner is an encrypted key whose public half is known: the person is
// asked only when a host accepts it.
type lockedSigner struct {
	d     *Dialer
	k     *keyFile
	pause func() func()
}

func (s *lockedSigner) PublicKey() ssh.PublicKey { return s.k.public }

func (s *lockedSigner) Sign(r io.Reader, data []byte) (*ssh.Signature, error) {
	return s.SignWithAlgorithm(r, data, "")
}

func (s *lockedSigner) SignWithAlgorithm(_ io.Reader, data []byte, algo string) (*ssh.Signature, error) {
	plain, err := s.d.decrypt(s.k, s.pause)
	if err != nil {
		return nil, err
	}
	if as, ok := plain.(ssh.AlgorithmSigner); ok && algo != "" {
		return as.SignWithAlgorithm(rand.Reader, data, algo)
	}
	return plain.Sign(rand.Reader, data)
}
