package agent

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/lvsfleet/lvsfleet/providers/host"
)

// A Duty is what a guard watches over. A guard is a process that does not
// belong to the login: it holds the host's lease in the session's stead, is
// ready before the first operation, and ends the transaction when the session
// no longer can.
//
// They talk by files in host.RunDir, so that a shell can be a guard too:
//
//	guard.nonce  the guard's: a word that nobody can guess
//	guard.word   the session's: the nonce again, once the controller has said so
//	guard.done   the session's: the holder's text, when there is no more to do
//
// A guard ends in three ways. The session says done: it makes sure that
// nothing is open, and goes. Its nonce was not answered for Timeout, or the
// process Boss is dead: it ends what still runs, then undoes what is not
// decided, or finishes what is, and goes. The machine reboots: nothing of it is
// left, and what was live went too.
type Duty struct {
	Run     string        `json:"run"`
	Holder  string        `json:"holder"` // the lease's text, which tells this guard from any other
	Root    string        `json:"root"`   // the state folder
	Timeout time.Duration `json:"timeout"`
	// Boss is the process that has the session on this machine; 0: it is
	// elsewhere, and only its silence is noticed.
	Boss int `json:"boss,omitempty"`
	// Spare leaves Boss alone when it falls silent: it has more to do than
	// this host.
	Spare bool `json:"spare,omitempty"`
}

// The files by which a guard and a session talk.
const (
	guardNonce = host.RunDir + "/guard.nonce"
	guardWord  = host.RunDir + "/guard.word"
	guardDone  = host.RunDir + "/guard.done"
)

// DefaultConfirmTimeout is how long a guard waits for the controller's word
// where the transaction does not say.
const DefaultConfirmTimeout = 60 * time.Second

const (
	guardPoll  = 100 * time.Millisecond
	guardStart = 15 * time.Second // to hold the lease; an old lock takes a shell some seconds
	guardTries = 5                // at an undo that fails
)

// argGuard is the verb by which an agent, or lvsfleet itself, is a guard.
const argGuard = "guard"

// GuardArgs gives an Engine the argv that starts the program at path as a
// guard: an agent's, or that of lvsfleet where it has Main's verbs.
func GuardArgs(path string, spare bool) func(context.Context, host.Host, Duty) ([]string, error) {
	return func(_ context.Context, _ host.Host, d Duty) ([]string, error) {
		d.Spare = spare
		text, err := json.Marshal(d)
		if err != nil {
			return nil, fmt.Errorf("encode the guard's duty: %w", err)
		}
		return []string{path, argGuard, string(text)}, nil
	}
}

// IsGuard says whether a program that was called so is to be a guard.
func IsGuard(argv []string) bool { return len(argv) == 3 && argv[1] == argGuard }

// RunGuard is a guard as a program: duty is the JSON of a Duty. It returns
// when it has stood down.
func RunGuard(ctx context.Context, h host.Host, duty string) error {
	var d Duty
	if err := json.Unmarshal([]byte(duty), &d); err != nil {
		return fmt.Errorf("guard: read its duty: %w", err)
	}
	g := guard{Duty: d, engine: &Engine{Host: h, Root: d.Root}, clock: host.ClockOf(h)}
	g.processes, _ = host.As[host.Processes](h)
	if err := g.watch(ctx); err != nil {
		return fmt.Errorf("guard run %s: %w", d.Run, err)
	}
	return nil
}

type guard struct {
	Duty
	engine    *Engine
	clock     host.Clock
	processes host.Processes // nil: Boss is not looked after
}

func (g *guard) watch(ctx context.Context) error {
	h := g.engine.Host
	locker, err := g.engine.locker()
	if err != nil {
		return err
	}
	release, err := locker.Lock(ctx, Lease, g.Holder)
	if err != nil {
		return err
	}
	defer release()
	nonce := rand.Text()
	said := say(ctx, h, guardNonce, nonce) == nil // else it is tried again
	heard := g.clock.Now()
	for {
		done, err := hear(ctx, h, guardDone)
		if errors.Is(err, host.ErrLost) || ctx.Err() != nil {
			return err // this process is dead, or told to go: it must do nothing more
		}
		said = said || say(ctx, h, guardNonce, nonce) == nil
		if done == g.Holder || g.orphaned() {
			break
		}
		if word, err := hear(ctx, h, guardWord); err == nil && word == nonce {
			next := rand.Text()
			if say(ctx, h, guardNonce, next) == nil {
				heard, nonce = g.clock.Now(), next
			}
		}
		if g.clock.Now()-heard > g.Timeout {
			break
		}
		if err := g.clock.Sleep(ctx, guardPoll); err != nil {
			return err
		}
	}
	return g.settle(ctx)
}

// orphaned says whether the session has died.
func (g *guard) orphaned() bool {
	return g.Boss != 0 && g.processes != nil && !g.processes.Alive(g.Boss)
}

// settle leaves nothing open. What fails is tried again; in the end the next
// run is left to.
func (g *guard) settle(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	h := g.engine.Host
	if done, _ := hear(ctx, h, guardDone); done != g.Holder && g.Boss != 0 && g.processes != nil && !g.Spare {
		_ = g.processes.Kill(g.Boss) // and what it has running
	}
	var err error
	for try := range guardTries {
		if try > 0 {
			if serr := g.clock.Sleep(ctx, time.Duration(try)*time.Second); serr != nil {
				return serr
			}
		}
		// Whatever is open was this session's: the lease is held for it.
		if _, err = g.engine.settle(ctx, g.Run, nil); err == nil || errors.Is(err, host.ErrLost) {
			break
		}
	}
	for _, p := range []string{guardNonce, guardWord, guardDone} {
		_ = h.Remove(ctx, p) // they say nothing to another guard
	}
	return err
}

// hear reads the line that somebody left at path; "" none.
func hear(ctx context.Context, h host.Host, path string) (string, error) {
	f, err := h.ReadFile(ctx, path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	line, _, whole := bytes.Cut(f.Data, []byte("\n"))
	if !whole {
		return "", nil
	}
	return string(line), nil
}

// say leaves a line at path.
func say(ctx context.Context, h host.Host, path, line string) error {
	return host.Replace(ctx, h, path, host.File{Mode: 0o600, Data: []byte(line + "\n")})
}
