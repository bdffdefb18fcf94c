package remote

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// A HostKeyError is a host whose key is not the one in known_hosts. Nothing was
// sent to it.
type HostKeyError struct {
	Host        string // the host's name in the inventory
	Address     string // "192.0.2.1:22"
	Fingerprint string // of the key that it showed
	Key         ssh.PublicKey
	KnownHosts  string // the file that a new key goes into
	Lookup      string // the name under which it is looked for there
	Changed     []knownhosts.KnownKey
	Revoked     bool
}

func (e *HostKeyError) Error() string {
	name, port, _ := net.SplitHostPort(e.Address)
	lookup := knownhosts.Normalize(e.Lookup)
	switch {
	case e.Revoked:
		return fmt.Sprintf("%s shows a host key that is marked as revoked in known_hosts: %s", e.Host, e.Fingerprint)
	case len(e.Changed) > 0:
		return fmt.Sprintf("THE HOST KEY OF %s HAS CHANGED: it shows %s, and %s line %d has another. "+
			"Either the host was set up anew, or something else answers at %s. Only if you know that it was set up anew: ssh-keygen -f %s -R '%s', then connect once with ssh",
			e.Host, e.Fingerprint, e.Changed[0].Filename, e.Changed[0].Line, e.Address, e.Changed[0].Filename, lookup)
	}
	return fmt.Sprintf("the host key of %s (%s) is not in %s: compare its fingerprint %s with the host's own, then: lvsfleet hostkeys, or ssh-keyscan -p %s %s >> %s",
		e.Host, e.Address, e.KnownHosts, e.Fingerprint, port, name, e.KnownHosts)
}

// known reads known_hosts files, once. Those that are not there are passed over.
// A line that cannot be read is passed over with a warning, as OpenSSH does it;
// one of "@revoked" is an error, since the key that it names would be trusted.
func (d *Dialer) known(t Target) (ssh.HostKeyCallback, error) {
	key := strconv.Itoa(t.Port) + "\x00" + strings.Join(t.KnownHosts, "\x00")
	d.state.mu.Lock()
	defer d.state.mu.Unlock()
	if cb, ok := d.state.known[key]; ok {
		return cb, nil
	}
	var there []string
	for _, file := range t.KnownHosts {
		text, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read known hosts: %w", err)
		}
		clean, odd, authorities, err := readable(text, t.Port)
		if err != nil {
			return nil, fmt.Errorf("read known hosts: %s %w", file, err)
		}
		if len(odd) > 0 {
			d.warnOnce(fmt.Sprintf("%s line %d cannot be read, and is passed over (lines like it: %d)", file, odd[0], len(odd)), t)
		}
		name := file
		if !bytes.Equal(clean, text) {
			if name, err = d.copied(file, clean); err != nil {
				return nil, fmt.Errorf("read known hosts: %w", err)
			}
			defer os.Remove(name)
		}
		there = append(there, name)
		for _, n := range authorities {
			if d.state.authorities == nil {
				d.state.authorities = map[string]bool{}
			}
			d.state.authorities[lineOf(name, n)] = true
		}
	}
	cb, err := knownhosts.New(there...)
	if err != nil {
		return nil, fmt.Errorf("read known hosts: %w", err)
	}
	if d.state.known == nil {
		d.state.known = map[string]ssh.HostKeyCallback{}
	}
	d.state.known[key] = cb
	return cb, nil
}

// warnOnce warns of a file, whichever host is asked of first. The state is
// locked.
func (d *Dialer) warnOnce(message string, t Target) {
	if d.state.warned[message] {
		return
	}
	if d.state.warned == nil {
		d.state.warned = map[string]bool{}
	}
	d.state.warned[message] = true
	d.warn(t, "%s", message)
}

// readable gives the text with the lines blanked that cannot be read, and their
// numbers. The pattern "*" is made to match the port too: package knownhosts takes
// it for every host at port 22, OpenSSH for every host (match_pattern of
// "[host]:port").
// authorities are the numbers of the lines of "@cert-authority".
func readable(text []byte, port int) (clean []byte, odd, authorities []int, err error) {
	n := 0
	for line := range bytes.Lines(text) {
		n++
		trimmed := bytes.TrimSpace(line)
		if len(trimmed) > 0 && trimmed[0] != '#' {
			hosts, err := knownLine(trimmed)
			if err == nil && port != 22 && slices.Contains(hosts, "*") {
				every := append(slices.Clone(hosts), fmt.Sprintf("[*]:%d", port))
				line = bytes.Replace(line, []byte(strings.Join(hosts, ",")+" "), []byte(strings.Join(every, ",")+" "), 1)
			}
			if err != nil {
				if bytes.HasPrefix(trimmed, []byte("@revoked")) {
					return nil, nil, nil, fmt.Errorf("line %d: a line of @revoked cannot be read: %w", n, err)
				}
				odd = append(odd, n)
				line = []byte("\n")
			} else if bytes.HasPrefix(trimmed, []byte("@cert-authority")) {
				authorities = append(authorities, n)
			}
		}
		clean = append(clean, line...)
	}
	return clean, odd, authorities, nil
}

func lineOf(file string, n int) string { return file + "\x00" + strconv.Itoa(n) }

// plainKeys are those of the host itself, without those of authorities.
func (d *Dialer) plainKeys(list []knownhosts.KnownKey) (keys []knownhosts.KnownKey, signed bool) {
	d.state.mu.Lock()
	defer d.state.mu.Unlock()
	for _, k := range list {
		if d.state.authorities[lineOf(k.Filename, k.Line)] {
			signed = true
		} else {
			keys = append(keys, k)
		}
	}
	return keys, signed
}

// knownLine reads one line by itself.
func knownLine(line []byte) ([]string, error) {
	_, hosts, _, _, _, err := ssh.ParseKnownHosts(append(slices.Clone(line), '\n'))
	if err != nil {
		return nil, err
	}
	for _, h := range hosts {
		if strings.HasPrefix(h, "|") && strings.Count(h, "|") != 3 {
			return nil, fmt.Errorf("%q is no hashed name", h)
		}
	}
	return hosts, nil
}

// copied writes what can be read of a file where the reader of known_hosts, which
// takes files alone, finds it. Its name tells whose copy it is.
func (d *Dialer) copied(file string, text []byte) (string, error) {
	f, err := os.CreateTemp("", strings.ReplaceAll(filepath.Base(file), "*", "")+".readable.*")
	if err != nil {
		return "", err
	}
	_, err = f.Write(text)
	if d.state.copies == nil {
		d.state.copies = map[string]string{}
	}
	d.state.copies[f.Name()] = file
	if err = errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(f.Name()) // the first error is told
		return "", err
	}
	return f.Name(), nil
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
func (d *Dialer) hostKeys(r route) (ssh.HostKeyCallback, []string, error) {
	t, addr := r.Target, r.lookup()
	known, err := d.known(t)
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
		keys, signed := d.plainKeys(unknown.Want)
		for _, k := range keys {
			types = append(types, k.Key.Type())
		}
		fit := slices.DeleteFunc(slices.Clone(algos), func(a string) bool {
			return !slices.Contains(types, keyType(a)) && !(signed && strings.Contains(a, "-cert-v01@"))
		})
		if signed && len(keys) == 0 {
			fit = nil // it may show a certificate, or a key that is unknown
		}
		if len(fit) > 0 {
			algos = fit
		}
	}
	check := func(host string, remote net.Addr, key ssh.PublicKey) error {
		err := checkKey(known, addr, key)
		if err == nil {
			return nil
		}
		e := &HostKeyError{Host: t.Name, Address: r.addr(), Lookup: addr, Fingerprint: ssh.FingerprintSHA256(key), Key: key}
		if len(t.KnownHosts) > 0 {
			e.KnownHosts = t.KnownHosts[0]
		}
		var changed *knownhosts.KeyError
		var revoked *knownhosts.RevokedError
		switch {
		case errors.As(err, &changed):
			e.Changed, _ = d.plainKeys(changed.Want)
			for i := range e.Changed {
				if of, copied := d.originalOf(e.Changed[i].Filename); copied {
					e.Changed[i].Filename = of
				}
			}
		case errors.As(err, &revoked):
			e.Revoked = true
		default:
			return fmt.Errorf("check the host key of %s: %w", t.Name, err)
		}
		return e
	}
	return check, algos, nil
}

// originalOf is the file that a copy was made of.
func (d *Dialer) originalOf(name string) (string, bool) {
	d.state.mu.Lock()
	defer d.state.mu.Unlock()
	of, ok := d.state.copies[name]
	return of, ok
}

// checkKey asks known_hosts about a key, or a certificate. As OpenSSH does it
// (sshconnect.c), a certificate of an authority that is not known is worth as much
// as the key that it is of, and none whose authority, or whose key, is revoked is
// worth anything.
func checkKey(known ssh.HostKeyCallback, addr string, key ssh.PublicKey) error {
	cert, ok := key.(*ssh.Certificate)
	if !ok {
		return known(addr, nowhere{}, key)
	}
	plain := known(addr, nowhere{}, cert.Key)
	for _, err := range []error{plain, known(addr, nowhere{}, cert.SignatureKey)} {
		var revoked *knownhosts.RevokedError
		if errors.As(err, &revoked) {
			return err
		}
	}
	signed := known(addr, nowhere{}, cert)
	if signed == nil || plain == nil {
		return nil
	}
	if strings.Contains(signed.Error(), "no authorities for hostname") {
		return plain
	}
	return signed
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
