package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/agent/journal"
	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/agent/lab/unix"
	"github.com/lvsfleet/lvsfleet/agent/remote"
	"github.com/lvsfleet/lvsfleet/providers"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// guardPath is where the simulated machines have the program that guards.
const guardPath = "/usr/libexec/lvsfleet-guard"

// A kind is how a host is guarded.
type kind string

const (
	byAgent kind = "agent" // by the agent's own program
	byShell kind = "shell" // by a script, as where no agent runs
)

// A rig is one machine with its transaction.
type rig struct {
	subject
	kind  kind
	m     *sim.Machine
	clock *clock

	first, fresh *sim.Session // that begins; that commits
	engine       *agent.Engine
	silent       atomic.Bool // the controller does not answer
	guards       sync.WaitGroup
	watch        atomic.Pointer[func(sim.Access) error]
}

// look has every access from now on asked of watch; nil: of nobody. Processes
// that run meanwhile may or may not see it for their next one.
func (r *rig) look(watch func(sim.Access) error) {
	if watch == nil {
		r.watch.Store(nil)
		return
	}
	r.watch.Store(&watch)
}

func (s subject) rig(k kind) *rig {
	r := &rig{subject: s, kind: k, m: s.machine(), clock: newClock()}
	r.m.Clock = r.clock
	r.m.Watch = func(a sim.Access) error {
		if watch := r.watch.Load(); watch != nil {
			return (*watch)(a)
		}
		return nil
	}
	r.m.FS.Put(guardPath, 0o755, "a program\n")
	r.m.Loader = func(m *sim.Machine, c *sim.Call, f host.File) int {
		if !agent.IsGuard(c.Argv) {
			return unix.Load(m, c, f)
		}
		r.guards.Add(1)
		defer r.guards.Done()
		p := m.NewSession()
		defer p.End()
		if agent.RunGuard(c.Context, p, c.Argv[2]) != nil {
			return 1
		}
		return 0
	}
	return r
}

func (r *rig) on(p *sim.Session) *agent.Engine {
	e := &agent.Engine{Host: p, Plan: providers.Plan, Guard: remote.Guard, Patience: 3 * time.Second}
	if r.kind == byAgent {
		e.Guard = agent.GuardArgs(guardPath, false)
	}
	e.Renew = func(ctx context.Context, _ string) bool { return !r.silent.Load() }
	return e
}

const limit = 10 * time.Second // of the guard, by the clock

// converge is what a controller does with one host. Between is called when all
// that is live is in force, before the fresh login; its error keeps it from
// being made.
func (r *rig) converge(ctx context.Context, run string, confirm time.Duration, between func() error) error {
	r.first = r.m.NewSession()
	defer r.first.End()
	r.engine = r.on(r.first)
	tx := r.transaction(run)
	tx.ConfirmTimeout = confirm
	begun, err := r.engine.Begin(ctx, tx, nil)
	if err == nil && begun.Differs {
		err = r.engine.Apply(ctx, nil)
		if err == nil && between != nil {
			if err = between(); err != nil {
				err = errors.Join(err, r.engine.Finish(ctx, run, false, nil))
			}
		}
		if err == nil {
			err = r.commit(ctx, run)
		}
	}
	return errors.Join(err, r.engine.Close())
}

func (r *rig) commit(ctx context.Context, run string) error {
	r.fresh = r.m.NewSession()
	defer r.fresh.End()
	f := r.on(r.fresh)
	return errors.Join(f.Finish(ctx, run, true, nil), f.Close())
}

// killGuard kills whoever holds the lease.
func (r *rig) killGuard() {
	var pid int
	r.m.Locked(func() {
		if f, err := r.m.FS.ReadFile(host.LockFolder(agent.Lease) + "/pid"); err == nil {
			pid, _ = strconv.Atoi(strings.TrimSpace(string(f.Data)))
		} else if f, err := r.m.FS.ReadFile(agent.Lease); err == nil {
			if lines := strings.Split(string(f.Data), "\n"); len(lines) > 1 {
				pid, _ = strconv.Atoi(lines[1])
			}
		}
	})
	if pid > 0 && (r.first == nil || pid != r.first.PID()) {
		r.m.Kill(pid)
	}
}

func (r *rig) killAgents() {
	for _, p := range []*sim.Session{r.first, r.fresh} {
		if p != nil {
			r.m.Kill(p.PID())
		}
	}
}

// rest lets the guard have its time, and waits until nobody holds the lease.
func (r *rig) rest() error {
	r.clock.thaw()
	for began := time.Now(); ; time.Sleep(200 * time.Microsecond) {
		by, err := r.m.Holder(context.Background(), agent.Lease)
		if err != nil || by == "" {
			return err
		}
		if time.Since(began) > 20*time.Second {
			return fmt.Errorf("the lease is still held by %s", by)
		}
	}
}

// A model is what a host may be.
type model struct {
	before, after       view
	bootBefore, bootNew view // the same, booted
	ops                 map[string]bool
	accesses            []sim.Access
	file                string // one that is there, is changed at the commit and takes comments; "" none
	fileBefore          host.File
	begun               int // the first access at which the journal is there
}

// changing says whether a is something that a transaction does, and not one of
// the many looks.
func (mo *model) changing(a sim.Access) bool {
	switch a.Op {
	case "write", "rename", "remove":
		return !strings.HasPrefix(a.Path, host.RunDir+"/guard.")
	case "ipvs":
		return true
	case "run":
		return mo.ops[strings.Join(a.Argv, "\x00")]
	}
	return false
}

// measure runs the transaction once with nothing in its way.
func (s subject) measure(k kind) (*model, error) {
	mo := &model{ops: map[string]bool{}}
	r := s.rig(k)
	mo.before = look(r.m)
	report, err := s.check(r.on(r.m.NewSession()))
	if err != nil {
		return nil, err
	}
	for _, i := range report.Items {
		for _, op := range slices.Concat(i.Change.Do, i.Change.Undo) {
			if op.Kind == step.Run {
				mo.ops[strings.Join(op.Argv, "\x00")] = true
			}
		}
		for _, op := range i.Change.Do {
			comments := strings.HasSuffix(op.Path, ".conf") || op.Path == "/etc/hosts" || op.Path == "/etc/inet/hosts"
			if !s.back && op.Kind == step.Write && op.Expect != step.Absent && op.File.Mode.IsRegular() && comments {
				mo.file = op.Path
				mo.fileBefore, _ = r.m.ReadFile(context.Background(), op.Path)
			}
		}
	}
	r.look(func(a sim.Access) error {
		if mo.changing(a) {
			mo.accesses = append(mo.accesses, a)
			if mo.begun == 0 && strings.Contains(a.Path, "/journal/") {
				mo.begun = len(mo.accesses)
			}
		}
		return nil
	})
	if err := r.converge(context.Background(), "r1", limit, nil); err != nil {
		return nil, err
	}
	r.look(nil)
	if err := r.rest(); err != nil {
		return nil, err
	}
	mo.after = look(r.m)
	r.m.Reboot()
	mo.bootNew = look(r.m)
	m := s.machine()
	m.FS.Put(guardPath, 0o755, "a program\n")
	m.Reboot()
	mo.bootBefore = look(m)
	return mo, nil
}

// whole says what is wrong with the host where it is neither as before nor as
// after.
func (mo *model) whole(v view, booted bool) error {
	before, after := mo.before, mo.after
	if booted {
		before, after = mo.bootBefore, mo.bootNew
	}
	if v == before || v == after {
		return nil
	}
	return fmt.Errorf("neither before nor after:\nfiles before %v after %v\nlive before %v after %v\n%s",
		v.Files == before.Files, v.Files == after.Files, v.Live == before.Live, v.Live == after.Live, differ(v, before, after))
}

// differ shows the first lines in which v is unlike both.
func differ(v, before, after view) string {
	var out []string
	for _, part := range [][3]string{{v.Files, before.Files, after.Files}, {v.Live, before.Live, after.Live}} {
		for _, other := range part[1:] {
			have := map[string]bool{}
			for line := range strings.Lines(other) {
				have[line] = true
			}
			for line := range strings.Lines(part[0]) {
				if !have[line] && len(out) < 12 {
					out = append(out, strings.TrimRight(line, "\n"))
				}
			}
			out = append(out, "--")
		}
	}
	return strings.Join(out, "\n")
}

// again is the next run: whatever was, the host is as wanted then, and nothing
// is left lying about.
func (r *rig) again(mo *model, booted bool) error {
	r.look(nil)
	r.clock.thaw()
	r.silent.Store(false)
	if err := r.converge(context.Background(), "r2", 1000*time.Hour, nil); err != nil {
		return fmt.Errorf("the next run: %w", err)
	}
	if err := r.rest(); err != nil {
		return fmt.Errorf("after the next run: %w", err)
	}
	report, err := r.check(r.on(r.m.NewSession()))
	switch {
	case err != nil:
		return err
	case agent.Differs(report):
		return errors.New("after the next run there is still something to do")
	case report.Unsettled != "" || report.UnderWay != "":
		return fmt.Errorf("after the next run: %s%s", report.Unsettled, report.UnderWay)
	}
	now := look(r.m)
	if now.Files != mo.after.Files {
		return fmt.Errorf("after the next run: files: %s", differ(now, mo.after, mo.after))
	}
	if now.Live != mo.after.Live && now.Live != mo.bootNew.Live && !booted {
		return fmt.Errorf("after the next run: live: %s", differ(now, mo.after, mo.after))
	}
	if left := strays(r.m); len(left) > 0 {
		return fmt.Errorf("after the next run: strays %v", left)
	}
	open, err := journal.Store{Host: r.m.NewSession(), Root: host.StateDir(string(r.host.OS))}.Unsettled(context.Background())
	if err != nil || len(open) > 0 {
		return fmt.Errorf("after the next run: open journals %v %w", open, err)
	}
	return nil
}
