package remote

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// A server is an SSH server on this machine: commands go through a login shell
// as processes of their own, SFTP sees the real files.
type server struct {
	t            *testing.T
	listener     net.Listener
	hostKey      ssh.Signer
	userKey      ssh.Signer
	userPEM      []byte
	config       *ssh.ServerConfig
	shell        string // login shell
	leadsNowhere bool   // forwards are refused
	banner       string // what a login file prints before each command

	mu       sync.Mutex
	conns    []net.Conn
	execs    []string // the command lines
	logins   int
	forwards []string // where connections were asked to be led to
}

func newKey(t *testing.T) (ssh.Signer, ed25519.PrivateKey) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return s, key
}

func pemOf(t *testing.T, key ed25519.PrivateKey, phrase string) []byte {
	t.Helper()
	var block *pem.Block
	var err error
	if phrase == "" {
		block, err = ssh.MarshalPrivateKey(key, "test")
	} else {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(key, "test", []byte(phrase))
	}
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(block)
}

// startServer starts one; tweak may change its configuration first.
func startServer(t *testing.T, tweak func(*server)) *server {
	t.Helper()
	s := &server{t: t, shell: "/bin/sh"}
	s.hostKey, _ = newKey(t)
	var key ed25519.PrivateKey
	s.userKey, key = newKey(t)
	s.userPEM = pemOf(t, key, "")
	s.config = &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, k ssh.PublicKey) (*ssh.Permissions, error) {
		if string(k.Marshal()) != string(s.userKey.PublicKey().Marshal()) {
			return nil, errors.New("not this one")
		}
		return nil, nil
	}}
	if tweak != nil {
		tweak(s)
	}
	s.config.AddHostKey(s.hostKey)
	var err error
	if s.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	go s.accept()
	t.Cleanup(s.stop)
	return s
}

func (s *server) stop() {
	_ = s.listener.Close()
	s.cut()
}

// cut breaks every line.
func (s *server) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		_ = c.Close()
	}
	s.conns = nil
}

// lines are the command lines so far.
func (s *server) lines() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.execs)
}

func (s *server) addr() (host string, port int) {
	a := s.listener.Addr().(*net.TCPAddr)
	return a.IP.String(), a.Port
}

// target writes the client's files and says how to reach the server.
func (s *server) target() Target {
	s.t.Helper()
	dir := s.t.TempDir()
	host, port := s.addr()
	known := knownhosts.Line([]string{s.listener.Addr().String()}, s.hostKey.PublicKey())
	t := Target{
		Name: "rs1", OS: "linux", Address: host, Port: port, User: "root",
		IdentityFiles: []string{filepath.Join(dir, "id")}, KnownHosts: []string{filepath.Join(dir, "known_hosts")},
	}
	for name, data := range map[string][]byte{t.IdentityFiles[0]: s.userPEM, t.KnownHosts[0]: []byte(known + "\n")} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	return t
}

func (s *server) accept() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns = append(s.conns, c)
		s.mu.Unlock()
		go s.serve(c)
	}
}

func (s *server) serve(c net.Conn) {
	defer c.Close()
	_, chans, reqs, err := ssh.NewServerConn(c, s.config)
	if err != nil {
		return
	}
	s.mu.Lock()
	s.logins++
	s.mu.Unlock()
	go ssh.DiscardRequests(reqs)
	for n := range chans {
		if n.ChannelType() == "direct-tcpip" {
			go s.forward(n)
			continue
		}
		ch, reqs, err := n.Accept()
		if err != nil {
			return
		}
		go s.session(ch, reqs)
	}
}

// forward leads a connection on, as a jump host does.
func (s *server) forward(n ssh.NewChannel) {
	var to struct {
		Host   string
		Port   uint32
		Origin string
		From   uint32
	}
	if err := ssh.Unmarshal(n.ExtraData(), &to); err != nil {
		_ = n.Reject(ssh.ConnectionFailed, "not understood")
		return
	}
	addr := net.JoinHostPort(to.Host, strconv.Itoa(int(to.Port)))
	s.mu.Lock()
	s.forwards = append(s.forwards, addr)
	s.mu.Unlock()
	if s.leadsNowhere {
		_ = n.Reject(ssh.Prohibited, "administratively prohibited")
		return
	}
	out, err := net.Dial("tcp", addr)
	if err != nil {
		_ = n.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	ch, reqs, err := n.Accept()
	if err != nil {
		_ = out.Close()
		return
	}
	go ssh.DiscardRequests(reqs)
	go func() {
		_, _ = io.Copy(out, ch)
		_ = out.Close()
	}()
	_, _ = io.Copy(ch, out)
	_ = ch.Close()
}

func (s *server) session(ch ssh.Channel, reqs <-chan *ssh.Request) {
	var cmd *exec.Cmd
	for r := range reqs {
		var arg struct{ Text string }
		_ = ssh.Unmarshal(r.Payload, &arg)
		switch {
		case r.Type == "subsystem" && arg.Text == "sftp":
			_ = r.Reply(true, nil)
			go func() {
				defer ch.Close()
				if srv, err := sftp.NewServer(ch); err == nil {
					_ = srv.Serve()
				}
			}()
		case r.Type == "exec" && cmd == nil:
			s.mu.Lock()
			s.execs = append(s.execs, arg.Text)
			s.mu.Unlock()
			cmd = exec.Command(s.shell, "-c", arg.Text)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			cmd.Stdout, cmd.Stderr = ch, ch.Stderr()
			in, err := cmd.StdinPipe()
			_, _ = io.WriteString(ch, s.banner)
			if err != nil || cmd.Start() != nil {
				_ = r.Reply(false, nil)
				_ = ch.Close()
				continue
			}
			_ = r.Reply(true, nil)
			go func() {
				_, _ = io.Copy(in, ch)
				_ = in.Close()
			}()
			go func() {
				_ = cmd.Wait()
				status := struct{ N uint32 }{uint32(max(cmd.ProcessState.ExitCode(), 0))}
				_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(status))
				_ = ch.Close()
			}()
		case r.Type == "signal" && cmd != nil && arg.Text == "KILL":
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		default:
			_ = r.Reply(false, nil)
		}
	}
}

// connect logs in to s.
func (s *server) connect(t *testing.T) *ssh.Client {
	t.Helper()
	conn, err := (&Dialer{}).Client(t.Context(), s.target())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// place is an empty folder for a test.
func place(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
