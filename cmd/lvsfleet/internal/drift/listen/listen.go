// Package listen serves a watcher's pages and metrics: on the loopback as they
// are, anywhere else over TLS to who has the token.
package listen

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"
)

// Options say where, and for whom.
type Options struct {
	Addr      string // "127.0.0.1:8480"
	Cert, Key string // PEM files; both or none
	TokenFile string // one line; "": nobody is asked for a token
}

// shortestToken is how many characters a token has at least.
const shortestToken = 16

// mostConnections are served at once, so that who connects does not take the
// files that the watcher needs for its hosts.
const mostConnections = 200

// The time that a client gets for its handshake and the head of a request, and
// that a connection on which nothing is asked stays open.
const (
	patience = 5 * time.Second
	idle     = 15 * time.Second
)

// A Server is bound to its address.
type Server struct {
	o        Options
	listener net.Listener
	http     *http.Server
	loopback bool
	cert     *certificate
}

// Listen checks the options and binds the address. An address that others can
// reach needs TLS and a token. Paths in open are served without a token.
func Listen(o Options, h http.Handler, open ...string) (*Server, error) {
	s := &Server{o: o}
	var err error
	if s.loopback, err = isLoopback(o.Addr); err != nil {
		return nil, fmt.Errorf("listen on %q: %w", o.Addr, err)
	}
	if (o.Cert == "") != (o.Key == "") {
		return nil, errors.New("a TLS certificate and its key come together")
	}
	if !s.loopback {
		var lacks []string
		if o.Cert == "" {
			lacks = append(lacks, "a TLS certificate and key (--tls-cert, --tls-key)")
		}
		if o.TokenFile == "" {
			lacks = append(lacks, "a token (--token-file)")
		}
		if len(lacks) > 0 {
			return nil, fmt.Errorf("listen on %q: it is not a loopback address, and what is shown there is not for everybody: it needs %s", o.Addr, strings.Join(lacks, " and "))
		}
	}
	if o.TokenFile != "" {
		if _, err := readToken(o.TokenFile); err != nil {
			return nil, err
		}
	}
	if o.Cert != "" {
		s.cert = &certificate{cert: o.Cert, key: o.Key}
		if _, err := s.cert.get(nil); err != nil {
			return nil, err
		}
	}
	if s.listener, err = net.Listen("tcp", o.Addr); err != nil {
		return nil, err // it says on what
	}
	s.http = &http.Server{
		Handler:           s.guard(h, open),
		ReadHeaderTimeout: patience, // and for the handshake of TLS before it
		IdleTimeout:       idle,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          log.New(io.Discard, "", 0), // who fails to shake hands writes no log
	}
	s.listener = newBounded(s.listener, mostConnections, mostOf)
	if s.cert != nil {
		s.listener = tls.NewListener(s.listener, &tls.Config{
			MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}, GetCertificate: s.cert.get,
		})
	}
	return s, nil
}

// isLoopback says whether only this machine can reach the address.
func isLoopback(addr string) (bool, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false, errors.New("write ADDRESS:PORT")
	}
	if host == "localhost" {
		return true, nil // RFC 6761, 6.3
	}
	if host == "" {
		return false, nil
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return false, errors.New("write ADDRESS:PORT, with the address in numbers, or localhost")
	}
	return ip.Unmap().IsLoopback(), nil
}

// Addr is where it listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// URL is where a browser finds it.
func (s *Server) URL() string {
	scheme := "http"
	if s.cert != nil {
		scheme = "https"
	}
	return scheme + "://" + s.Addr().String() + "/"
}

// goodbye is how long requests have to end when the server does.
const goodbye = 5 * time.Second

// Serve serves until ctx ends.
func (s *Server) Serve(ctx context.Context) error {
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbye)
		defer cancel()
		if s.http.Shutdown(ctx) != nil {
			_ = s.http.Close()
		}
	})
	err := s.http.Serve(s.listener)
	if !stop() {
		<-stopped
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve on %s: %w", s.o.Addr, err)
}

// Close gives the address back; for a server that is not to serve after all.
func (s *Server) Close() error { return s.listener.Close() }

// guard lets through who may read. It only ever serves what reads.
func (s *Server) guard(next http.Handler, open []string) http.Handler {
	free := map[string]bool{}
	for _, p := range open {
		free[p] = true
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		switch {
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "this is for reading", http.StatusMethodNotAllowed)
		case free[r.URL.Path]:
			next.ServeHTTP(w, r)
		case s.o.TokenFile != "":
			if s.allowed(w, r) {
				next.ServeHTTP(w, r)
			}
		case !toLoopback(r.Host):
			// A name of somebody else's that leads here is how a page of his
			// reads this one (DNS rebinding).
			http.Error(w, "this is served by its loopback address, or localhost, alone", http.StatusMisdirectedRequest)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// toLoopback says whether a request names this machine by its loopback address.
func toLoopback(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && ip.Unmap().IsLoopback()
}

// allowed asks for the token, as a bearer's or as the password of a browser's
// user, whoever that is.
func (s *Server) allowed(w http.ResponseWriter, r *http.Request) bool {
	token, err := readToken(s.o.TokenFile)
	if err != nil {
		http.Error(w, "the token cannot be read on the server", http.StatusInternalServerError)
		return false
	}
	said, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		_, said, ok = r.BasicAuth()
	}
	// Sums, so that neither length nor content is told by how long it takes.
	want, have := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(said))
	if !ok || subtle.ConstantTimeCompare(want[:], have[:]) != 1 {
		w.Header().Set("WWW-Authenticate", `Basic realm="lvsfleet: any user, the token as password", charset="UTF-8"`)
		http.Error(w, "the token is asked for: as a bearer's, or as the password of any user", http.StatusUnauthorized)
		return false
	}
	return true
}

// readToken reads a token anew, since it may have been replaced.
func readToken(file string) (string, error) {
	text, err := readSecret(file)
	if err != nil {
		return "", fmt.Errorf("read the token: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if len(token) < shortestToken || strings.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return "", fmt.Errorf("read the token: %s does not hold one line of %d printable characters or more (openssl rand -hex 32)", file, shortestToken)
	}
	return token, nil
}

// readSecret reads a file that not everybody may read.
func readSecret(file string) ([]byte, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no file", file)
	}
	if info.Mode().Perm()&0o007 != 0 {
		return nil, fmt.Errorf("%s is open to every user of this machine (chmod 600 %s)", file, file)
	}
	return os.ReadFile(file)
}

// A certificate is read again when its file has changed.
type certificate struct {
	cert, key string

	mu     sync.Mutex
	pair   *tls.Certificate
	read   time.Time // the files' times when they were read
	looked time.Time
}

// get gives the certificate; the last good one, where the files have become
// unusable.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pair != nil && time.Since(c.looked) < time.Second {
		return c.pair, nil
	}
	c.looked = time.Now()
	changed, err := newest(c.cert, c.key)
	if err == nil && (c.pair == nil || !changed.Equal(c.read)) {
		err = c.load(changed)
	}
	if c.pair == nil {
		return nil, fmt.Errorf("read the TLS certificate: %w", err)
	}
	return c.pair, nil
}

func (c *certificate) load(changed time.Time) error {
	cert, err := os.ReadFile(c.cert)
	if err != nil {
		return err
	}
	key, err := readSecret(c.key)
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return fmt.Errorf("%s with %s: %w", c.cert, c.key, err)
	}
	c.pair, c.read = &pair, changed
	return nil
}

// newest is when one of the files was last changed.
func newest(files ...string) (time.Time, error) {
	var t time.Time
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			return t, err
		}
		if info.ModTime().After(t) {
			t = info.ModTime()
		}
	}
	return t, nil
}

// A bounded listener has so many connections at once, and lets others wait. One
// that comes from an address with as many as it may have is closed.
type bounded struct {
	net.Listener
	slots  chan struct{}
	most   func(netip.Addr) int // of an address at once
	closed chan struct{}
	once   sync.Once

	mu   sync.Mutex
	from map[netip.Addr]int
}

func newBounded(l net.Listener, slots int, most func(netip.Addr) int) *bounded {
	return &bounded{Listener: l, slots: make(chan struct{}, slots), most: most, closed: make(chan struct{}), from: map[netip.Addr]int{}}
}

// mostOf is how many connections an address may have. This machine's own are
// those of a proxy or a tunnel, which speak for many.
func mostOf(a netip.Addr) int {
	if a.IsLoopback() {
		return mostConnections
	}
	return mostConnections / 8
}

// party is whom a connection counts for: its address, of IPv6 the network of 64
// bits that a machine has to itself.
func party(c net.Conn) netip.Addr {
	at, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	a := at.Addr().Unmap().WithZone("")
	if a.Is6() && !a.IsLoopback() {
		p, _ := a.Prefix(64) // 64 is in range
		a = p.Addr()
	}
	return a
}

// enter counts a connection, unless there are too many of its party.
func (b *bounded) enter(a netip.Addr) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.from[a] >= b.most(a) {
		return false
	}
	b.from[a]++
	return true
}

func (b *bounded) leave(a netip.Addr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.from[a]--; b.from[a] == 0 {
		delete(b.from, a)
	}
}

func (b *bounded) Accept() (net.Conn, error) {
	select {
	case b.slots <- struct{}{}:
	case <-b.closed:
		return nil, net.ErrClosed
	}
	for {
		c, err := b.Listener.Accept()
		if err != nil {
			<-b.slots
			return nil, err
		}
		a := party(c)
		if !b.enter(a) {
			_ = c.Close()
			continue
		}
		return &slotted{Conn: c, free: sync.OnceFunc(func() { b.leave(a); <-b.slots })}, nil
	}
}

func (b *bounded) Close() error {
	b.once.Do(func() { close(b.closed) })
	return b.Listener.Close()
}

// A slotted connection gives its slot back.
type slotted struct {
	net.Conn
	free func()
}

func (s *slotted) Close() error {
	defer s.free()
	return s.Conn.Close()
}
