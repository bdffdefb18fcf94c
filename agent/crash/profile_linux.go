package main

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/providers"
	"github.com/lvsfleet/lvsfleet/providers/host"
)

// A timed host adds up what the commands and the files of a machine take.
type timed struct {
	host.Host
	mu                 sync.Mutex
	commands, files    time.Duration
	nCommands, nWrites int
}

func (t *timed) Unwrap() host.Host { return t.Host }

func (t *timed) took(sum *time.Duration, n *int, began time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	*sum += time.Since(began)
	*n++
}

func (t *timed) Run(ctx context.Context, c host.Cmd) (host.Result, error) {
	defer t.took(&t.commands, &t.nCommands, time.Now())
	return t.Host.Run(ctx, c)
}

func (t *timed) Write(ctx context.Context, p string, f host.File) error {
	defer t.took(&t.files, &t.nWrites, time.Now())
	return t.Host.Write(ctx, p, f)
}

func (t *timed) Rename(ctx context.Context, from, to string) error {
	defer t.took(&t.files, &t.nWrites, time.Now())
	return t.Host.Rename(ctx, from, to)
}

func (t *timed) Remove(ctx context.Context, p string) error {
	defer t.took(&t.files, &t.nWrites, time.Now())
	return t.Host.Remove(ctx, p)
}

// profile takes the time of a transaction apart, in milliseconds, and compares
// a look at the host that has nothing to do with one that asks for neither
// lease nor journal nor ledger.
func (s subject) profile() (map[string]float64, error) {
	ctx := context.Background()
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	h := &timed{Host: &host.Local{Name: "rs160"}}
	e := &agent.Engine{Host: h, Plan: providers.Plan, Guard: agent.GuardArgs(self, true)}
	phases := map[string]time.Duration{}
	last, phase := time.Now(), ""
	turn := func(next string) {
		now := time.Now()
		phases[phase] += now.Sub(last)
		last, phase = now, next
	}
	began := last
	progress := func(ev agent.Event) { turn(ev.Phase) }
	_, err = e.Begin(ctx, s.transaction("r1"), progress)
	if err == nil {
		turn("do")
		err = e.Apply(ctx, progress)
	}
	if err == nil {
		turn("commit")
		err = e.Finish(ctx, "r1", true, progress)
	}
	turn("")
	whole := time.Since(began)
	if err := errors.Join(err, e.Close(), rested()); err != nil {
		return nil, err
	}
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	p := map[string]float64{
		"ms": ms(whole), "commands-ms": ms(h.commands), "commands": float64(h.nCommands),
		"files-ms": ms(h.files), "files": float64(h.nWrites), "lease-ms": ms(phases["lease"]),
		"check-ms": ms(phases["check"]), "stage-ms": ms(phases["stage"]),
		"do-ms": ms(phases["do"]), "verify-ms": ms(phases["verify"]), "commit-ms": ms(phases["commit"]),
	}
	if s.back {
		return p, nil
	}
	local := &host.Local{Name: "rs160"}
	var with, without time.Duration
	const looks = 20
	for range looks {
		began := time.Now()
		e := &agent.Engine{Host: local, Plan: providers.Plan}
		if _, err := e.Check(ctx, s.request()); err != nil {
			return nil, err
		}
		with += time.Since(began)
		began = time.Now()
		cache := host.NewCache(local)
		plan, _, err := providers.Plan(ctx, cache, s.want)
		if err != nil {
			return nil, err
		}
		for _, st := range append(plan.Live, plan.Boot...) {
			if _, err := st.Check(ctx, cache); err != nil {
				return nil, err
			}
		}
		without += time.Since(began)
	}
	p["look-ms"], p["look-ratio"] = ms(with)/looks, float64(with)/float64(without)
	return p, nil
}
