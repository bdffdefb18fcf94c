package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/agent/lab/unix"
	"github.com/lvsfleet/lvsfleet/providers/host"
)

// A server is the SSH server of one machine.
type server struct {
	l        *Lab
	m        *sim.Machine
	listener net.Listener
	port     int
	hostKey  ssh.PublicKey
	config   *ssh.ServerConfig
	user     string // who logs in; nobody else may

	mu     sync.Mutex
	conns  map[net.Conn]bool
	faults Faults
}

func newServer(l *Lab, m *sim.Machine, user string) (*server, error) {
	key, _, err := newKey(m.Name)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &server{l: l, m: m, user: user, listener: listener, hostKey: key.PublicKey(), conns: map[net.Conn]bool{}}
	s.port = listener.Addr().(*net.TCPAddr).Port
	allowed := string(l.signer.PublicKey().Marshal())
	s.config = &ssh.ServerConfig{
		PublicKeyCallback: func(c ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			if s.fault().RefuseLogins || c.User() != s.user || string(key.Marshal()) != allowed {
				return nil, errors.New("permission denied")
			}
			return nil, nil
		},
	}
	s.config.AddHostKey(key)
	m.Locked(func() { m.Loader, m.Life = s.load, l.ctx })
	return s, nil
}

func (s *server) accept() {
	defer s.l.work.Done()
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		if s.fault().Unreachable || !s.keep(conn) {
			_ = conn.Close()
			continue
		}
		s.l.work.Add(1)
		go s.serve(conn)
	}
}

// keep remembers conn, so that it can be cut; not in a lab that is closed.
func (s *server) keep(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.l.ctx.Err() != nil {
		return false
	}
	s.conns[conn] = true
	return true
}

// drop cuts every connection.
func (s *server) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.conns {
		_ = conn.Close()
	}
}

func (s *server) serve(conn net.Conn) {
	defer s.l.work.Done()
	defer func() {
		_ = conn.Close()
		s.mu.Lock()
		delete(s.conns, conn)
		s.mu.Unlock()
	}()
	_, channels, requests, err := ssh.NewServerConn(conn, s.config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for nc := range channels {
		if nc.ChannelType() != "session" {
			_ = nc.Reject(ssh.UnknownChannelType, "only sessions")
			continue
		}
		ch, reqs, err := nc.Accept()
		if err != nil {
			continue
		}
		go s.session(ch, reqs)
	}
}

// session serves one channel: one command, one shell or one SFTP.
func (s *server) session(ch ssh.Channel, reqs <-chan *ssh.Request) {
	uid := 0
	if s.user != "root" {
		uid = plainUser
	}
	started := false
	for req := range reqs {
		var run func()
		switch {
		case started:
		case req.Type == "exec":
			var payload struct{ Command string }
			if ssh.Unmarshal(req.Payload, &payload) == nil {
				run = func() { s.exec(ch, uid, s.shell(), "-c", payload.Command) }
			}
		case req.Type == "shell":
			run = func() { s.exec(ch, uid, s.shell()) }
		case req.Type == "subsystem":
			var payload struct{ Name string }
			if ssh.Unmarshal(req.Payload, &payload) == nil && payload.Name == "sftp" {
				run = func() { s.sftp(ch, uid) }
			}
		}
		if req.WantReply {
			_ = req.Reply(run != nil, nil)
		}
		if run != nil {
			started = true
			go run()
		}
	}
	if !started {
		_ = ch.Close()
	}
}

// plainUser is the number of a user who is not root.
const plainUser = 1000

func home(uid int) string {
	if uid != 0 {
		return "/"
	}
	return "/root"
}

func (s *server) shell() string {
	if s.m.Shell != "" {
		return s.m.Shell
	}
	return "sh"
}

// exec runs a command of the machine on the channel. A connection that breaks
// ends the command's streams and not the command, as a server without a
// terminal does. When it rebooted the machine, every connection ends with it.
func (s *server) exec(ch ssh.Channel, uid int, argv ...string) {
	defer ch.Close()
	boots := s.m.Boots()
	status := s.m.Exec(&sim.Call{
		Context: sim.AsUser(s.l.ctx, uid), Argv: argv, Dir: home(uid),
		Stdin: ch, Stdout: ch, Stderr: ch.Stderr(),
	})
	if status == agentKilled {
		_, _ = ch.SendRequest("exit-signal", false, ssh.Marshal(struct {
			Name  string
			Core  bool
			Error string
			Lang  string
		}{Name: "KILL"}))
	} else {
		_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{uint32(status)}))
	}
	if s.m.Boots() != boots {
		_ = ch.Close()
		s.drop()
	}
}

// agentKilled is what load gives for an agent that a fault killed.
const agentKilled = -9

// load runs a file: the agent, in this process on the simulated host, or a
// script.
func (s *server) load(m *sim.Machine, c *sim.Call, f host.File) int {
	if !strings.HasPrefix(path.Base(c.Argv[0]), binaryPrefix) {
		return unix.Load(m, c, f)
	}
	if !runsAgents(m.Identity) {
		fmt.Fprintf(c.Stderr, "%s: Exec format error\n", c.Argv[0])
		return 126
	}
	process := m.NewSession()
	defer process.End()
	ctx, cancel := context.WithCancel(c.Context)
	defer cancel()
	out := &mortal{w: c.Stdout, left: s.fault().AgentFrames, kill: func() {
		process.End()
		cancel()
	}}
	boots := m.Boots()
	status := runAgent(ctx, process, c, out)
	if out.dead() || m.Boots() != boots {
		return agentKilled
	}
	return status
}

// mortal passes on what an agent writes, frame by frame, and kills the agent
// instead of passing on the last of its frames.
type mortal struct {
	w    io.Writer
	mu   sync.Mutex
	left int // 0: immortal
	kill func()
	gone bool
}

func (m *mortal) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.gone {
		return 0, io.ErrClosedPipe
	}
	if m.left > 0 {
		if m.left--; m.left == 0 {
			m.gone = true
			m.kill()
			return 0, io.ErrClosedPipe
		}
	}
	return m.w.Write(p)
}

func (m *mortal) dead() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.gone
}
