package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"time"

	"github.com/lvsfleet/lvsfleet/providers/host"
)

// Lease is the path of the host's lease.
const Lease = host.RunDir + "/lease"

func holderText(tx Transaction, now time.Time) string {
	who := tx.Who
	if who == "" {
		who = "unknown"
	}
	return fmt.Sprintf("%s, run %s, since %s", who, tx.Run, now.UTC().Format("2006-01-02T15:04:05.000Z"))
}

var holderRun = regexp.MustCompile(`, run ([0-9A-Za-z-]+), since [^,]*$`)

// runOf names the run that a lease's holder text tells of.
func runOf(holder string) string {
	if m := holderRun.FindStringSubmatch(holder); m != nil {
		return m[1]
	}
	return ""
}

func (e *Engine) locker() (host.Locker, error) {
	l, ok := host.As[host.Locker](e.Host)
	if !ok {
		return nil, errors.New("this host cannot be locked")
	}
	return l, nil
}

// lease takes the host's lease for tx, unless it is held for its run already:
// by a guard, where there can be one, else by this session.
func (e *Engine) lease(ctx context.Context, tx Transaction) error {
	if e.release != nil && e.run == tx.Run {
		return nil
	}
	if e.release != nil {
		return fmt.Errorf("this session belongs to run %s", e.run)
	}
	if err := e.awaitFormer(ctx); err != nil {
		return fmt.Errorf("take the lease: %w", err)
	}
	if e.Guard == nil {
		return e.hold(ctx, tx)
	}
	if err := e.post(ctx, tx); err != nil {
		return fmt.Errorf("take the lease: %w", err)
	}
	return nil
}

// hold takes the lease for this session itself.
func (e *Engine) hold(ctx context.Context, tx Transaction) error {
	l, err := e.locker()
	if err != nil {
		return err
	}
	holder := holderText(tx, time.Now())
	release, err := l.Lock(ctx, Lease, holder)
	if err != nil {
		return fmt.Errorf("take the lease: %w", err)
	}
	e.release, e.run, e.holder, e.guarded = release, tx.Run, holder, false
	return nil
}

// awaitFormer waits for a guard that has been told to stand down.
func (e *Engine) awaitFormer(ctx context.Context) error {
	wait, refused := 2*time.Millisecond, false
	for began := time.Now(); time.Since(began) < guardStart; wait = min(2*wait, guardPoll) {
		holder, err := e.holderNow(ctx)
		if err != nil || holder == "" {
			return err
		}
		done, err := hear(ctx, e.Host, guardDone)
		if err != nil {
			return err
		}
		// Who has just taken it, or is about to leave it, has no name in it.
		if done != holder && holder != host.Unnamed {
			// A guard without an agent takes the word away just before the
			// lease.
			if refused {
				return &host.TakenError{Path: Lease, Holder: holder}
			}
			refused, wait = true, guardPoll
		}
		if err := host.Uptime().Sleep(ctx, wait); err != nil {
			return err
		}
	}
	return errors.New("the guard of the last run does not stand down")
}

// post starts a guard, and waits until it holds the lease.
func (e *Engine) post(ctx context.Context, tx Transaction) error {
	store, err := e.store(ctx)
	if err != nil {
		return err
	}
	spawner, ok := host.As[host.Spawner](e.Host)
	if !ok {
		return errors.New("this host cannot have a guard")
	}
	d := Duty{Run: tx.Run, Holder: holderText(tx, time.Now()), Root: store.Root, Timeout: tx.ConfirmTimeout}
	if d.Timeout <= 0 {
		d.Timeout = DefaultConfirmTimeout
	}
	if p, ok := host.As[host.Processes](e.Host); ok {
		d.Boss = p.PID()
	}
	if err := e.makeRunDir(ctx); err != nil {
		return err
	}
	argv, err := e.Guard(ctx, e.Host, d)
	if err != nil {
		return err
	}
	// A disk on which nothing can be said is found here, not by waiting.
	if err := say(ctx, e.Host, guardWord, "none yet"); err != nil {
		return fmt.Errorf("start the guard: %w", err)
	}
	if err := spawner.Spawn(ctx, argv); err != nil {
		return fmt.Errorf("start the guard: %w", err)
	}
	patience := e.Patience
	if patience == 0 {
		patience = guardStart
	}
	wait := time.Millisecond
	for began := time.Now(); ; {
		holder, err := e.holderNow(ctx)
		switch {
		case err != nil:
			return err
		case holder == d.Holder:
			e.release, e.run, e.holder, e.guarded = e.startRelay(ctx, d), tx.Run, d.Holder, true
			return nil
		case holder != "" && holder != host.Unnamed:
			return &host.TakenError{Path: Lease, Holder: holder}
		case time.Since(began) > patience && holder != "":
			return &host.TakenError{Path: Lease, Holder: holder}
		case time.Since(began) > patience:
			return fmt.Errorf("the guard did not take it within %s (a full disk, or no /bin/sh?)", patience)
		}
		if err := host.Uptime().Sleep(ctx, wait); err != nil {
			return err
		}
		wait = min(2*wait, time.Second/4)
	}
}

// makeRunDir makes the folder of all that must not outlive a boot.
func (e *Engine) makeRunDir(ctx context.Context) error {
	err := e.Host.Write(ctx, host.RunDir, host.File{Mode: fs.ModeDir | 0o700})
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make %s: %w", host.RunDir, err)
	}
	return nil
}

// startRelay starts the relay and gives what stops it.
func (e *Engine) startRelay(ctx context.Context, d Duty) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		e.relay(ctx, d)
	}()
	return func() {
		cancel()
		select {
		case <-ended:
		case <-time.After(closeGrace): // it waits for a line that is dead
		}
	}
}

// relay passes the controller's word on to the guard, nonce by nonce, until
// ctx ends. A line that is dead answers nothing.
func (e *Engine) relay(ctx context.Context, d Duty) {
	clock := host.ClockOf(e.Host)
	every := min(max(d.Timeout/8, guardPoll), 5*time.Second)
	last := ""
	for clock.Sleep(ctx, every) == nil {
		nonce, err := hear(ctx, e.Host, guardNonce)
		if errors.Is(err, host.ErrLost) {
			return
		}
		if err != nil || nonce == "" || nonce == last {
			continue
		}
		if !e.renewed(ctx, nonce, every) {
			continue // asked again: the line may only be slow
		}
		if ctx.Err() == nil && say(ctx, e.Host, guardWord, nonce) == nil {
			last = nonce
		}
	}
}

func (e *Engine) renewed(ctx context.Context, nonce string, limit time.Duration) bool {
	if e.Renew == nil {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return e.Renew(ctx, nonce)
}

// errNoGuard is a guard that died: nothing more may be done without one.
var errNoGuard = errors.New("the host's guard is gone, and its lease with it")

// mine says whether the lease is still held for this session's run in this
// boot: every operation needs it to be. A lease that this process holds itself
// is: nobody takes it away but its end.
func (e *Engine) mine(ctx context.Context) error {
	if !e.guarded {
		return nil
	}
	holder, err := e.holderNow(ctx)
	switch {
	case err != nil:
		return err
	case holder == e.holder:
		return nil
	case holder == "":
		return errNoGuard
	}
	return &host.TakenError{Path: Lease, Holder: holder}
}

// regain takes the lease of a guard that died, so that what it watched over
// can be ended here; false where somebody else has it: then that is done.
func (e *Engine) regain(ctx context.Context) (bool, error) {
	err := e.mine(ctx)
	var taken *host.TakenError
	switch {
	case errors.As(err, &taken):
		return false, nil
	case errors.Is(err, errNoGuard):
		run := e.run
		e.release()
		e.release = nil
		err = e.hold(ctx, Transaction{Run: run})
	}
	return err == nil, err
}

// holderNow says who holds the lease; "" nobody.
func (e *Engine) holderNow(ctx context.Context) (string, error) {
	l, err := e.locker()
	if err != nil {
		return "", err
	}
	return l.Holder(ctx, Lease)
}

// leaseHolder is holderNow, but for a guard that has been told to stand down.
func (e *Engine) leaseHolder(ctx context.Context) (string, error) {
	holder, err := e.holderNow(ctx)
	if err != nil || holder == "" {
		return "", err
	}
	done, err := hear(ctx, e.Host, guardDone)
	if err != nil || done == holder {
		return "", err
	}
	return holder, nil
}

// giveBack gives the lease back: a guard is told that there is no more to do,
// and goes by itself.
func (e *Engine) giveBack() {
	if e.release == nil {
		return
	}
	if e.guarded {
		ctx, cancel := context.WithTimeout(context.Background(), fileTimeout)
		defer cancel()
		_ = say(ctx, e.Host, guardDone, e.holder) // else it finds out in its time
	}
	e.release()
	e.release, e.run, e.holder, e.guarded = nil, "", "", false
}
