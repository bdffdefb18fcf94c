package listen

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const token = "0123456789abcdef0123"

// files writes a certificate of that serial number, its key and a token.
func files(t *testing.T, dir string, serial int64) Options {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "lvsfleet"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Addr: "127.0.0.1:0", Cert: filepath.Join(dir, "cert"), Key: filepath.Join(dir, "key"), TokenFile: filepath.Join(dir, "token")}
	write(t, o.Cert, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), 0o644)
	write(t, o.Key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})), 0o600)
	write(t, o.TokenFile, token+"\n", 0o600)
	return o
}

func write(t *testing.T, file, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, mode); err != nil {
		t.Fatal(err)
	}
}

func hello(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "hello "+r.URL.Path) }

func serve(t *testing.T, o Options) *Server {
	t.Helper()
	s, err := Listen(o, http.HandlerFunc(hello), "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

// ask gives the status and the body of what is asked.
func ask(t *testing.T, s *Server, method, path string, change func(*http.Request)) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, strings.TrimSuffix(s.URL(), "/")+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(req)
	}
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(body), res.Header
}

func TestLoopbackNeedsNothing(t *testing.T) {
	s := serve(t, Options{Addr: "127.0.0.1:0"})
	if status, body, header := ask(t, s, "GET", "/a", nil); status != 200 || body != "hello /a" || header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%d %q", status, body)
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "TRACE"} {
		if status, _, _ := ask(t, s, method, "/a", nil); status != http.StatusMethodNotAllowed {
			t.Errorf("%s: %d", method, status)
		}
	}
	for host, want := range map[string]int{
		"localhost:8480": 200, "[::1]:8480": 200, "127.3.2.1": 200, "::ffff:127.0.0.1": 200,
		"evil.example": 421, "evil.example:8480": 421, "192.0.2.1": 421, "localhost.evil.example": 421, "": 200,
	} {
		if status, _, _ := ask(t, s, "GET", "/a", func(r *http.Request) { r.Host = host }); status != want {
			t.Errorf("Host %q: %d, want %d", host, status, want)
		}
	}
}

func TestAnotherAddressNeedsTLSAndAToken(t *testing.T) {
	all := files(t, t.TempDir(), 1)
	for _, addr := range []string{":0", "0.0.0.0:0", "[::]:0", "192.0.2.1:0"} {
		for _, o := range []Options{{Addr: addr}, {Addr: addr, Cert: all.Cert, Key: all.Key}, {Addr: addr, TokenFile: all.TokenFile}} {
			_, err := Listen(o, http.HandlerFunc(hello))
			if err == nil || !strings.Contains(err.Error(), "not a loopback address") || (o.Cert == "") != strings.Contains(err.Error(), "--tls-cert") ||
				(o.TokenFile == "") != strings.Contains(err.Error(), "--token-file") {
				t.Errorf("%+v: %v", o, err)
			}
		}
	}
	all.Addr = "0.0.0.0:0"
	s, err := Listen(all, http.HandlerFunc(hello))
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
}

func TestTheTokenIsAskedFor(t *testing.T) {
	o := files(t, t.TempDir(), 1)
	s := serve(t, o)
	bearer := func(v string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Authorization", v) }
	}
	basic := func(user, password string) func(*http.Request) {
		return func(r *http.Request) { r.SetBasicAuth(user, password) }
	}
	for name, c := range map[string]struct {
		change func(*http.Request)
		want   int
	}{
		"none": {nil, 401}, "wrong": {bearer("Bearer x" + token), 401}, "short": {bearer("Bearer " + token[:5]), 401},
		"right": {bearer("Bearer " + token), 200}, "a browser": {basic("anybody", token), 200}, "a browser, wrong": {basic(token, "x"), 401},
		"empty": {bearer("Bearer "), 401}, "another scheme": {bearer("Digest " + token), 401},
	} {
		status, body, header := ask(t, s, "GET", "/a", c.change)
		if status != c.want || strings.Contains(body, token) {
			t.Errorf("%s: %d %q", name, status, body)
		}
		if status == 401 && !strings.HasPrefix(header.Get("WWW-Authenticate"), "Basic realm=") {
			t.Errorf("%s: a browser is not asked: %v", name, header)
		}
	}
	if status, _, _ := ask(t, s, "GET", "/healthz", nil); status != 200 {
		t.Errorf("/healthz: %d", status)
	}
	// One that is replaced holds at once; one that is gone lets nobody in.
	write(t, o.TokenFile, "another-token-of-some-length", 0o600)
	if status, _, _ := ask(t, s, "GET", "/a", bearer("Bearer "+token)); status != 401 {
		t.Errorf("the old token: %d", status)
	}
	if status, _, _ := ask(t, s, "GET", "/a", bearer("Bearer another-token-of-some-length")); status != 200 {
		t.Errorf("the new token: %d", status)
	}
	if err := os.Remove(o.TokenFile); err != nil {
		t.Fatal(err)
	}
	if status, _, _ := ask(t, s, "GET", "/a", bearer("Bearer ")); status != 500 {
		t.Errorf("no token: %d", status)
	}
}

func TestACertificateThatIsReplacedIsUsed(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, files(t, dir, 1))
	serial := func() int64 {
		conn, err := tls.Dial("tcp", s.Addr().String(), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	if n := serial(); n != 1 {
		t.Fatal(n)
	}
	files(t, dir, 2)
	soon := time.Now().Add(2 * time.Second)
	for _, f := range []string{"cert", "key"} {
		if err := os.Chtimes(filepath.Join(dir, f), soon, soon); err != nil {
			t.Fatal(err)
		}
	}
	s.cert.mu.Lock()
	s.cert.looked = time.Time{}
	s.cert.mu.Unlock()
	if n := serial(); n != 2 {
		t.Errorf("certificate %d", n)
	}
	write(t, filepath.Join(dir, "cert"), "broken", 0o644)
	s.cert.mu.Lock()
	s.cert.looked = time.Time{}
	s.cert.mu.Unlock()
	if n := serial(); n != 2 {
		t.Errorf("with a broken file certificate %d", n)
	}
	if _, err := tls.Dial("tcp", s.Addr().String(), &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}); err == nil {
		t.Error("TLS 1.1 is spoken")
	}
}

func TestBadFilesAndAddressesAreRefused(t *testing.T) {
	good := files(t, t.TempDir(), 1)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	other := files(t, t.TempDir(), 2)
	open, short, missing := filepath.Join(t.TempDir(), "open"), filepath.Join(t.TempDir(), "short"), filepath.Join(t.TempDir(), "missing")
	write(t, open, token, 0o644)
	write(t, short, "short", 0o600)
	for name, c := range map[string]struct {
		o    Options
		want string
	}{
		"a port in use":       {Options{Addr: taken.Addr().String()}, "address already in use"},
		"no port":             {Options{Addr: "127.0.0.1"}, "write ADDRESS:PORT"},
		"a name":              {Options{Addr: "example.net:80"}, "address in numbers"},
		"a cert alone":        {Options{Addr: "127.0.0.1:0", Cert: good.Cert}, "come together"},
		"another's key":       {Options{Addr: "127.0.0.1:0", Cert: good.Cert, Key: other.Key}, "private key does not match"},
		"no certificate":      {Options{Addr: "127.0.0.1:0", Cert: good.Key, Key: good.Key}, good.Key},
		"no such certificate": {Options{Addr: "127.0.0.1:0", Cert: missing, Key: good.Key}, "no such file"},
		"an open key":         {Options{Addr: "127.0.0.1:0", Cert: good.Cert, Key: open}, "chmod 600"},
		"an open token":       {Options{Addr: "127.0.0.1:0", TokenFile: open}, "chmod 600"},
		"a short token":       {Options{Addr: "127.0.0.1:0", TokenFile: short}, "16 printable characters"},
		"no such token":       {Options{Addr: "127.0.0.1:0", TokenFile: missing}, "no such file"},
		"a folder":            {Options{Addr: "127.0.0.1:0", TokenFile: filepath.Dir(open)}, "no file"},
	} {
		s, err := Listen(c.o, http.HandlerFunc(hello))
		if err == nil {
			_ = s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), token) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestConnectionsAreBoundedAndEnd(t *testing.T) {
	s := serve(t, Options{Addr: "127.0.0.1:0"})
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	for range mostConnections {
		c, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	late, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	if _, err := io.WriteString(late, "GET /a HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	_ = late.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	if _, err := late.Read(make([]byte, 1)); err == nil {
		t.Error("one too many is served")
	}
	_ = conns[0].Close()
	_ = late.SetReadDeadline(time.Now().Add(20 * time.Second))
	if n, err := late.Read(make([]byte, 20)); err != nil || n == 0 {
		t.Errorf("a slot that is free is not given: %v", err)
	}
}

// One address cannot take the place of all others, and what it gives back it may
// have again.
func TestNoAddressTakesThePlaceOfAllOthers(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := newBounded(l, 5, func(netip.Addr) int { return 3 })
	accepted := make(chan net.Conn, 10)
	go func() {
		for {
			c, err := b.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	defer b.Close()
	// open says whether a connection from the address is served.
	open := func(from string) bool {
		t.Helper()
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		c, err := d.DialContext(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Skip("this system has no such loopback address: ", err)
		}
		t.Cleanup(func() { _ = c.Close() })
		refused := make(chan struct{})
		go func() {
			if _, err := c.Read(make([]byte, 1)); err == nil || !errors.Is(err, net.ErrClosed) {
				close(refused)
			}
		}()
		select {
		case a := <-accepted:
			if a.RemoteAddr().String() != c.LocalAddr().String() {
				t.Errorf("%s was served", a.RemoteAddr())
			}
			t.Cleanup(func() { _ = a.Close() })
			last = a
			return true
		case <-refused:
			return false
		}
	}
	for n := range 5 {
		if got := open("127.0.0.2"); got != (n < 3) {
			t.Errorf("connection %d of one address is served: %v", n, got)
		}
	}
	if !open("127.0.0.3") {
		t.Error("another address is not served")
	}
	_ = last.Close()
	_ = last.Close() // twice gives back once
	for range 2 {
		if !open("127.0.0.3") {
			t.Error("what was given back is not given")
		}
	}
}

var last net.Conn // that was served

// Of IPv6 a machine has a network of its own, and this machine's own connections
// are a proxy's.
func TestWhomAConnectionCountsFor(t *testing.T) {
	for from, want := range map[string]string{
		"192.0.2.1:1": "192.0.2.1", "[::ffff:192.0.2.1]:1": "192.0.2.1", "[2001:db8:1:2:3:4:5:6]:1": "2001:db8:1:2::", "[fe80::1%eth0]:1": "fe80::", "[::1]:1": "::1",
	} {
		if got := party(from2{from}); got.String() != want {
			t.Errorf("%s counts for %s, want %s", from, got, want)
		}
	}
	for a, want := range map[string]int{"127.0.0.1": mostConnections, "::1": mostConnections, "192.0.2.1": mostConnections / 8, "2001:db8::": mostConnections / 8} {
		if got := mostOf(netip.MustParseAddr(a)); got != want {
			t.Errorf("%s may have %d", a, got)
		}
	}
}

type from2 struct{ at string }

func (f from2) RemoteAddr() net.Addr           { return f }
func (f from2) LocalAddr() net.Addr            { return f }
func (f from2) Network() string                { return "tcp" }
func (f from2) String() string                 { return f.at }
func (from2) Read([]byte) (int, error)         { return 0, io.EOF }
func (from2) Write(b []byte) (int, error)      { return len(b), nil }
func (from2) Close() error                     { return nil }
func (from2) SetDeadline(time.Time) error      { return nil }
func (from2) SetReadDeadline(time.Time) error  { return nil }
func (from2) SetWriteDeadline(time.Time) error { return nil }

// Who connects, or shakes hands, and says nothing, is sent away in seconds.
func TestWhoSaysNothingIsSentAway(t *testing.T) {
	t.Parallel() // it waits
	plain := serve(t, Options{Addr: "127.0.0.1:0"})
	if plain.http.ReadHeaderTimeout != 5*time.Second || plain.http.IdleTimeout > time.Minute || plain.http.IdleTimeout == 0 {
		t.Errorf("head %s, idle %s", plain.http.ReadHeaderTimeout, plain.http.IdleTimeout)
	}
	o := files(t, t.TempDir(), 1)
	o.Addr = "127.0.0.1:0"
	began, conns := time.Now(), map[string]net.Conn{}
	for name, s := range map[string]*Server{"plain": plain, "TLS": serve(t, o)} {
		c, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns[name] = c
	}
	for name, c := range conns {
		_ = c.SetReadDeadline(began.Add(time.Minute))
		if _, err := c.Read(make([]byte, 1)); err == nil || time.Since(began) > 30*time.Second {
			t.Errorf("%s: after %s: %v", name, time.Since(began), err)
		}
	}
}
