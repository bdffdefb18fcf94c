package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/providers/host"
)

// errStruck is what an access meets that does not come about.
var errStruck = errors.New("struck")

// A fault happens at one access of a transaction: before it, in its stead or
// behind it.
type fault struct {
	name string
	// strike is called at the access; its error keeps the access from being
	// made.
	strike func(r *rig) error
	only   kind // "": both
	// after is how the host is left alone afterwards; nil: the guard gets its
	// time and the host must be whole.
	settled func(r *rig, mo *model) error
	booted  bool // the machine was booted
	// nextOnly: two died at once; nobody is left to act before the next run.
	nextOnly bool
}

func faults() []fault {
	return []fault{
		{name: "the agent is killed before it", strike: func(r *rig) error { r.killAgents(); return errStruck }},
		{name: "the agent is killed after it", strike: func(r *rig) error { r.killAgents(); return nil }},
		{name: "the committing agent is killed", strike: func(r *rig) error {
			p := r.first
			if r.fresh != nil {
				p = r.fresh
			}
			r.m.Kill(p.PID())
			return nil
		}},
		{name: "the guard is killed", strike: func(r *rig) error { r.killGuard(); return nil }},
		{name: "agent and guard are killed", nextOnly: true, strike: func(r *rig) error {
			r.killAgents()
			r.killGuard()
			return nil
		}},
		{name: "the line is cut", strike: func(r *rig) error {
			if r.kind == byShell { // the session is the line
				r.killAgents()
				return errStruck
			}
			e := r.engine
			go func() { _ = e.Close() }()
			return nil
		}},
		{name: "the disk is full from then on", strike: func(r *rig) error {
			r.m.Locked(func() { r.m.FS.Full = true })
			return nil
		}, settled: func(r *rig, _ *model) error {
			r.m.Locked(func() { r.m.FS.Full = false })
			return nil
		}},
		{name: "it fails", strike: func(*rig) error { return errStruck }},
		{name: "the power is cut before it", booted: true, strike: func(r *rig) error { r.m.PowerCycle(); return errStruck }},
		{name: "it reboots before it", booted: true, strike: func(r *rig) error { r.m.Reboot(); return errStruck }},
	}
}

// try lets f happen at the access numbered at, from 1.
func (mo *model) try(s subject, k kind, f fault, at int) error {
	r := s.rig(k)
	var count atomic.Int64
	r.look(func(a sim.Access) error {
		if !mo.changing(a) || count.Add(1) != int64(at) {
			return nil
		}
		return f.strike(r)
	})
	_ = r.converge(context.Background(), "r1", limit, nil) // whatever it says, what counts is the host
	if count.Load() < int64(at) {
		return fmt.Errorf("there was no such access, only %d", count.Load())
	}
	if err := r.rest(); err != nil {
		return err
	}
	between := false
	if f.booted || f.nextOnly {
		between = r.committing()
	}
	if !between && !f.nextOnly {
		if err := mo.whole(look(r.m), f.booted); err != nil {
			return err
		}
	}
	if f.settled != nil {
		if err := f.settled(r, mo); err != nil {
			return err
		}
	}
	return r.again(mo, f.booted)
}

// committing says whether a journal is open whose transaction was decided for:
// what died among its renames waits for the next run.
func (r *rig) committing() bool {
	found := false
	root := host.StateDir(string(r.host.OS)) + "/journal/r1/commit"
	r.m.Locked(func() {
		_, err := r.m.FS.Stat(root, false)
		found = err == nil
	})
	return found
}

// tryStopped stops the agent at the access and wakes it when the guard has
// done its work.
func (mo *model) tryStopped(s subject, at int) error {
	r := s.rig(byAgent)
	var count atomic.Int64
	stopped, wake := make(chan struct{}), make(chan struct{})
	r.look(func(a sim.Access) error {
		if !mo.changing(a) || count.Add(1) != int64(at) {
			return nil
		}
		pids := []int{r.first.PID()}
		if r.fresh != nil {
			pids = append(pids, r.fresh.PID())
		}
		close(stopped)
		<-wake
		var dead error
		r.m.Locked(func() {
			for _, pid := range pids {
				if !r.m.Alive(pid) {
					dead = errStruck
				}
			}
		})
		return dead
	})
	r.silent.Store(true)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = r.converge(context.Background(), "r1", limit, nil)
	}()
	<-stopped
	err := r.rest()
	now := look(r.m)
	close(wake)
	<-ended
	if err == nil {
		err = mo.whole(now, false)
	}
	if late := look(r.m); err == nil && late != now {
		err = fmt.Errorf("what woke late changed the host: %s", differ(late, now, now))
	}
	return errors.Join(err, r.again(mo, false))
}

// trySilence lets the controller fall silent when all is in force.
func (mo *model) trySilence(s subject, k kind) error {
	r := s.rig(k)
	r.silent.Store(true)
	r.first = r.m.NewSession()
	e := r.on(r.first)
	ctx := context.Background()
	tx := r.transaction("r1")
	tx.ConfirmTimeout = limit
	if _, err := e.Begin(ctx, tx, nil); err != nil {
		return err
	}
	if err := e.Apply(ctx, nil); err != nil {
		return err
	}
	if err := r.rest(); err != nil {
		return err
	}
	if now := look(r.m); now != mo.before {
		return fmt.Errorf("not as before: %s", differ(now, mo.before, mo.before))
	}
	r.first.End()
	return r.again(mo, false)
}

// tryRefused refuses the fresh login.
func (mo *model) tryRefused(s subject, k kind) error {
	r := s.rig(k)
	err := r.converge(context.Background(), "r1", limit, func() error { return errStruck })
	if !errors.Is(err, errStruck) {
		return fmt.Errorf("it was committed: %w", err)
	}
	if err := r.rest(); err != nil {
		return err
	}
	if now := look(r.m); now != mo.before {
		return fmt.Errorf("not as before: %s", differ(now, mo.before, mo.before))
	}
	return r.again(mo, false)
}

// tryEdited has a person edit a file that the commit is about to change.
func (mo *model) tryEdited(s subject, k kind, at int) error {
	r := s.rig(k)
	edited := string(mo.fileBefore.Data) + "# a person's\n"
	var count atomic.Int64
	r.look(func(a sim.Access) error {
		if mo.changing(a) && count.Add(1) == int64(at) {
			r.m.Locked(func() { r.m.FS.Put(mo.file, mo.fileBefore.Mode.Perm(), edited) })
		}
		return nil
	})
	err := r.converge(context.Background(), "r1", limit, nil)
	if err := r.rest(); err != nil {
		return err
	}
	var left *agent.LeftError
	if err != nil && !errors.As(err, &left) {
		// A step after the commit may find it changed, and says so.
		var verify *agent.VerifyError
		if !errors.As(err, &verify) {
			return fmt.Errorf("an edit of a file failed the run: %w", err)
		}
	}
	r.look(nil)
	f, rerr := r.m.ReadFile(context.Background(), mo.file)
	if rerr != nil || string(f.Data) != edited {
		return fmt.Errorf("%s: the edit was lost: %q %w", mo.file, f.Data, rerr)
	}
	if now := look(r.m); now.Live != mo.after.Live {
		return fmt.Errorf("live: %s", differ(now, mo.after, mo.after))
	}
	r.clock.thaw()
	if err := r.converge(context.Background(), "r2", limit*1000, nil); err != nil {
		return fmt.Errorf("the next run: %w", err)
	}
	report, err := r.on(r.m.NewSession()).Check(context.Background(), r.request())
	if err != nil || agent.Differs(report) {
		return fmt.Errorf("after the next run there is still something to do: %w", err)
	}
	return nil
}

// tryTwice kills the agent at one access, and then the guard at its own
// access numbered second: the next run finds a half-walked undo.
func (mo *model) tryTwice(s subject, k kind, at, second int) (reached bool, err error) {
	r := s.rig(k)
	var count, undo atomic.Int64
	r.look(func(a sim.Access) error {
		if !mo.changing(a) {
			return nil
		}
		switch n := count.Add(1); {
		case n == int64(at):
			r.killAgents()
			return errStruck
		case n > int64(at) && undo.Add(1) == int64(second):
			r.killGuard()
		}
		return nil
	})
	_ = r.converge(context.Background(), "r1", limit, nil)
	if err := r.rest(); err != nil {
		return true, err
	}
	if undo.Load() < int64(second) {
		return false, nil
	}
	return true, r.again(mo, false)
}
