package remote

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/agent/journal"
	"github.com/lvsfleet/lvsfleet/providers"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
)

// session is a conversation with a host whose first word is still to come: the
// agent is started before it is known to be there, so that a host that has it
// costs no round trip to find out.
type session struct {
	d    *Dialer
	t    Target
	conn *ssh.Client
	host *Host // for what is done without an agent; its SFTP may be in use
	stop context.CancelFunc

	mu    sync.Mutex
	inner agent.Session
	proc  *process // of inner, where it is an agent's
	met   bool     // inner has answered
	// instead gives another session where inner has nobody at its other end.
	instead func(ctx context.Context, why error) error
}

// dial opens a session, by an agent or without one.
func (d *Dialer) dial(ctx context.Context, t Target) (agent.Session, error) {
	plan := d.Plan
	if plan == nil {
		plan = providers.Plan
	}
	if t.Local {
		if t.Become != "" {
			return nil, fmt.Errorf("%s: become = %q is for hosts that SSH leads to: with connection = \"local\", run lvsfleet itself by %s", t.Name, t.Become, t.Become)
		}
		e := &agent.Engine{Host: d.localHost(), Plan: plan, Renew: d.renewing(t)}
		if d.Self != "" {
			e.Guard = agent.GuardArgs(d.Self, true)
		}
		return e, nil
	}
	r, err := d.route(t)
	if err != nil {
		return nil, err
	}
	t = r.Target
	conn, err := d.login(ctx, r)
	if err != nil {
		return nil, err
	}
	s := &session{d: d, t: t, conn: conn, host: NewHost(t.Name, conn)}
	alive, stop := context.WithCancel(context.Background())
	s.stop = stop
	go keepAlive(alive, conn)
	// A login that takes too long here must end as one that takes too long
	// there.
	cut := context.AfterFunc(ctx, func() { _ = conn.Close() })
	if t.Become != "" {
		err = d.elevate(ctx, t, s.host)
	}
	if err == nil {
		err = s.open(ctx)
	}
	if !cut() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

// open starts the agent, or decides to go without.
func (s *session) open(ctx context.Context) error {
	agents := s.d.agents()
	switch {
	case s.t.Agent != nil && !*s.t.Agent:
		s.without()
		return nil
	case s.t.Release != "" && !runsAgent(s.t.OS, s.t.Release):
		s.without()
		return nil
	case agents.Hash() == "":
		s.d.warn(s.t, "this build of lvsfleet carries no agents (make dist): going on without one, slower")
		s.without()
		return nil
	case s.d.Memory != nil && s.d.Memory.AgentOf(s.t.Name) == agents.Hash():
		final := agent.BinaryPath(s.stateDir(), agents.Hash())
		if err := s.exec(agent.ServeArgs(final)); err != nil {
			return err
		}
		s.instead = func(ctx context.Context, _ error) error { return s.prepare(ctx, serve) }
		return nil
	}
	return s.prepare(ctx, serve)
}

// renewing is Renew as an engine in this process asks it.
func (d *Dialer) renewing(t Target) func(context.Context, string) bool {
	if d.Renew == nil {
		return nil
	}
	return func(context.Context, string) bool { return d.Renew(t.Name) }
}

func (s *session) stateDir() string { return host.StateDir(string(s.t.OS)) }

// without goes on with an engine in this process.
func (s *session) without() {
	plan := s.d.Plan
	if plan == nil {
		plan = providers.Plan
	}
	s.inner, s.proc, s.instead = &agent.Engine{
		Host: s.host, Plan: plan, Parallel: maxCommands, Guard: Guard, Renew: s.d.renewing(s.t),
	}, nil, nil
}

// exec starts an agent and puts it in the place of what was there.
func (s *session) exec(argv []string) error {
	p, err := start(s.conn, argv, s.host.root)
	if err != nil {
		return fmt.Errorf("%s: %w", s.t.Name, s.host.lost(err))
	}
	s.adopt(p)
	return nil
}

// adopt has the agent that is starting take the place of what was there.
func (s *session) adopt(p *process) {
	client := agent.NewClient(p, s.d.agents().Hash())
	if renew := s.d.Renew; renew != nil {
		client.RenewWhile(func() bool { return renew(s.t.Name) })
	}
	s.inner, s.proc, s.instead = client, p, nil
}

// with runs f on the session, and again on another one as long as there turns
// out to be nobody.
func with[T any](ctx context.Context, s *session, f func(agent.Session) (T, error)) (T, error) {
	for {
		s.mu.Lock()
		inner, proc := s.inner, s.proc
		s.mu.Unlock()
		v, err := f(inner)
		var nobody *agent.NoAgentError
		if !errors.As(err, &nobody) {
			s.meet(proc != nil)
			return v, err
		}
		err = proc.telling(err)
		if lerr := s.alive(ctx); lerr != nil {
			return v, lerr
		}
		s.mu.Lock()
		instead := s.instead
		s.mu.Unlock()
		if instead == nil {
			return v, fmt.Errorf("%s: %w", s.t.Name, err)
		}
		_ = inner.Close()
		if err := instead(ctx, err); err != nil {
			return v, err
		}
	}
}

// alive tells an agent that is missing from a line that is cut.
func (s *session) alive(ctx context.Context) error {
	_, err := within(ctx, func() (struct{}, error) {
		_, _, err := s.conn.SendRequest("keepalive@openssh.com", true, nil)
		return struct{}{}, err
	})
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("%s: %w (%w)", s.t.Name, host.ErrLost, err)
	}
	return err
}

// meet remembers that the host has the agent, once it has answered.
func (s *session) meet(agents bool) {
	s.mu.Lock()
	first := !s.met
	s.met = true
	s.mu.Unlock()
	if first && agents && s.d.Memory != nil {
		if hash := s.d.agents().Hash(); s.d.Memory.AgentOf(s.t.Name) != hash {
			s.d.Memory.SetAgentOf(s.t.Name, hash)
		}
	}
}

func (s *session) Check(ctx context.Context, req agent.Request) (agent.Report, error) {
	return with(ctx, s, func(in agent.Session) (agent.Report, error) { return in.Check(ctx, req) })
}

func (s *session) Begin(ctx context.Context, tx agent.Transaction, progress func(agent.Event)) (agent.Begun, error) {
	return with(ctx, s, func(in agent.Session) (agent.Begun, error) { return in.Begin(ctx, tx, progress) })
}

func (s *session) Apply(ctx context.Context, progress func(agent.Event)) error {
	_, err := with(ctx, s, func(in agent.Session) (struct{}, error) { return struct{}{}, in.Apply(ctx, progress) })
	return err
}

func (s *session) Finish(ctx context.Context, run string, commit bool, progress func(agent.Event)) error {
	_, err := with(ctx, s, func(in agent.Session) (struct{}, error) {
		return struct{}{}, in.Finish(ctx, run, commit, progress)
	})
	return err
}

// Table reads the IPVS table of a director.
func (s *session) Table(ctx context.Context, services ...ipvs.Key) ([]agent.Entry, error) {
	return with(ctx, s, func(in agent.Session) ([]agent.Entry, error) { return in.Table(ctx, services...) })
}

// Clean takes away what lvsfleet keeps on the host, the agent with it.
func (s *session) Clean(ctx context.Context, keepHistory bool) error {
	_, err := with(ctx, s, func(in agent.Session) (struct{}, error) {
		return struct{}{}, in.Clean(ctx, keepHistory)
	})
	if err == nil && s.d.Memory != nil && s.d.Memory.AgentOf(s.t.Name) != "" {
		s.d.Memory.SetAgentOf(s.t.Name, "")
	}
	return err
}

// Watch looks again.
func (s *session) Watch(ctx context.Context, req *agent.Request, table bool) (agent.Sighting, error) {
	return with(ctx, s, func(in agent.Session) (agent.Sighting, error) { return in.Watch(ctx, req, table) })
}

// Outline reads the host's journals.
func (s *session) Outline(ctx context.Context) ([]journal.Outline, error) {
	return with(ctx, s, func(in agent.Session) ([]journal.Outline, error) {
		o, ok := in.(agent.Outliner)
		if !ok {
			return nil, fmt.Errorf("%s: its journals cannot be read: %w", s.t.Name, errors.ErrUnsupported)
		}
		return o.Outline(ctx)
	})
}

// Cut ends the line at once, and so whatever waits for the host; Close is still
// to be called. It is for a session that has begun nothing.
func (s *session) Cut() { _ = s.conn.Close() }

// Close ends the conversation, then the line.
func (s *session) Close() error {
	s.mu.Lock()
	inner := s.inner
	s.mu.Unlock()
	var err error
	if inner != nil {
		err = inner.Close()
	}
	s.stop()
	s.host.catchUp()
	_ = s.conn.Close()
	_ = s.host.Close() // after the line: SFTP waits for the other side's end of it
	return err
}
