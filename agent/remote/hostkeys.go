package remote

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// A HostKeyError is a host whose key is not the one in known_hosts. Nothing was
// sent to it.
type HostKeyError struct {
	Host        string // the host's name in the inventory
	Address     string // "192.0.2.1:22"
	Fingerprint string // of the key that it showed
	KnownHosts  string // the file
	Changed     []knownhosts.KnownKey
	Revoked     bool
}

func (e *HostKeyError) Error() string {
	name, port, _ := net.SplitHostPort(e.Address)
	lookup := knownhosts.Normalize(e.Address)
	switch {
	case e.Revoked:
		return fmt.Sprintf("%s shows a host key that %s marks as revoked: %s", e.Host, e.KnownHosts, e.Fingerprint)
	case len(e.Changed) > 0:
		return fmt.Sprintf("THE HOST KEY OF %s HAS CHANGED: it shows %s, and %s line %d has another. "+
			"Either the host was set up anew, or something else answers at %s. Only if you know that it was set up anew: ssh-keygen -f %s -R '%s', then connect once with ssh",
			e.Host, e.Fingerprint, e.Changed[0].Filename, e.Changed[0].Line, e.Address, e.KnownHosts, lookup)
	}
	return fmt.Sprintf("the host key of %s (%s) is not in %s: compare its fingerprint %s with the host's own, then: ssh-keyscan -p %s %s >> %s",
		e.Host, e.Address, e.KnownHosts, e.Fingerprint, port, name, e.KnownHosts)
}

// known reads a known_hosts file, once.
func (d *Dialer) known(file string) (ssh.HostKeyCallback, error) {
	d.state.mu.Lock()
	defer d.state.mu.Unlock()
	if cb, ok := d.state.known[file]; ok {
		return cb, nil
	}
	cb, err := knownhosts.New(file)
	if errors.Is(err, fs.ErrNotExist) {
		cb, err = knownhosts.New() // nobody is known
	}
	if err != nil {
		return nil, fmt.Errorf("read known hosts: %w", err)
	}
	if d.state.known == nil {
		d.state.known = map[string]ssh.HostKeyCallback{}
	}
	d.state.known[file] = cb
	return cb, nil
}

// nobodysKey is a key that no host has: asked about it, known_hosts tells
// which it expects.
func nobodysKey() ssh.PublicKey {
	key, err := ssh.NewPublicKey(ed25519.PublicKey(make([]byte, ed25519.PublicKeySize)))
	if err != nil {
		panic(err) // the key is of the right size
	}
	return key
}

// hostKeys gives the check of the host's key, and the algorithms to ask it
// for: those that known_hosts has keys of, so that a host with several keys
// shows the one that is known.
func (d *Dialer) hostKeys(t Target, addr string) (ssh.HostKeyCallback, []string, error) {
	known, err := d.known(t.KnownHosts)
	if err != nil {
		return nil, nil, err
	}
	algos := ssh.SupportedAlgorithms().HostKeys
	if t.LegacyAlgorithms {
		algos = append(algos, ssh.InsecureAlgorithms().HostKeys...)
	}
	var unknown *knownhosts.KeyError
	if err := known(addr, nowhere{}, nobodysKey()); errors.As(err, &unknown) && len(unknown.Want) > 0 {
		var types []string
		for _, k := range unknown.Want {
			types = append(types, k.Key.Type())
		}
		fit := slices.DeleteFunc(slices.Clone(algos), func(a string) bool { return !slices.Contains(types, keyType(a)) })
		if len(fit) > 0 {
			algos = fit
		}
	}
	check := func(host string, remote net.Addr, key ssh.PublicKey) error {
		err := known(addr, nowhere{}, key)
		if err == nil {
			return nil
		}
		e := &HostKeyError{Host: t.Name, Address: addr, Fingerprint: ssh.FingerprintSHA256(key), KnownHosts: t.KnownHosts}
		var changed *knownhosts.KeyError
		var revoked *knownhosts.RevokedError
		switch {
		case errors.As(err, &changed):
			e.Changed = changed.Want
		case errors.As(err, &revoked):
			e.Revoked = true
		default:
			return fmt.Errorf("check the host key of %s: %w", t.Name, err)
		}
		return e
	}
	return check, algos, nil
}

// keyType is the type of the keys that an algorithm signs with.
func keyType(algo string) string {
	switch algo {
	case ssh.KeyAlgoRSASHA256, ssh.KeyAlgoRSASHA512:
		return ssh.KeyAlgoRSA
	}
	return algo
}

// nowhere stands for the address that a name has at the moment: the name alone
// is what known_hosts is asked for.
type nowhere struct{}

func (nowhere) Network() string { return "tcp" }
func (nowhere) String() string  { return "0.0.0.0:0" }

// expand replaces a leading "~/".
func (d *Dialer) expand(path string) (string, error) {
	if len(path) < 2 || path[:2] != "~/" {
		return path, nil
	}
	home := d.Home
	if home == "" {
		var err error
		if home, err = os.UserHomeDir(); err != nil {
			return "", fmt.Errorf("expand %s: %w", path, err)
		}
	}
	return home + path[1:], nil
}
