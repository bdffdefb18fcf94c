package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// Check plans and checks, and reads only.
func (e *Engine) Check(ctx context.Context, req Request) (Report, error) {
	ctx, leave, err := e.enter(ctx)
	if err != nil {
		return Report{}, err
	}
	defer leave()
	report, _, err := e.look(ctx, req, Live, Boot)
	if err != nil {
		return Report{}, err
	}
	return report, e.state(ctx, &report)
}

// state fills in what is under way and what is unsettled.
func (e *Engine) state(ctx context.Context, r *Report) error {
	if e.id.OS == "" {
		e.id = r.Identity
	}
	holder, err := e.leaseHolder(ctx)
	if err != nil {
		return err
	}
	if e.release == nil {
		r.UnderWay = holder
	}
	if holder != "" {
		return nil // what its holder has open is not unsettled
	}
	store, err := e.store(ctx)
	if err != nil {
		return err
	}
	runs, err := store.Unsettled(ctx)
	if err != nil {
		return err
	}
	for _, run := range runs {
		j, err := store.Load(ctx, run)
		if err != nil {
			return err
		}
		who := "somebody"
		if h, ok := j.Header(); ok {
			who = h.Who
		}
		r.Unsettled = fmt.Sprintf("run %s of %s, begun %s, was interrupted; the next change of this host settles it first",
			run, who, j.Since().Format("2006-01-02 15:04:05 MST"))
	}
	return nil
}

// look plans what is asked for, and checks every step of the layers, which are
// in the order of the plan.
func (e *Engine) look(ctx context.Context, req Request, layers ...Layer) (Report, step.Plan, error) {
	if err := req.valid(); err != nil {
		return Report{}, step.Plan{}, err
	}
	p, err := e.planFor(ctx, host.NewCache(e.Host), req)
	if err != nil {
		return Report{}, step.Plan{}, fmt.Errorf("plan: %w", err)
	}
	e.id = p.id
	r := Report{Identity: p.id, Notes: p.plan.Notes, Transient: p.plan.Transient, Removes: p.removes}
	r, plan, err := e.checkSteps(ctx, p.on, r, p.plan, p.gone, layers...)
	if err == nil && p.inherited != nil {
		for n, i := range r.Items {
			r.Items[n].New = !i.Change.Holds() && p.inherited.NewWish(changeOf(i))
		}
	}
	return r, plan, err
}

// checkSteps fills the report in with every step of the layers; those of gone
// are about what is not wanted any more.
func (e *Engine) checkSteps(ctx context.Context, h host.Host, r Report, plan step.Plan, gone map[string]bool, layers ...Layer) (Report, step.Plan, error) {
	steps := make([]step.Step, 0, len(plan.Live)+len(plan.Boot))
	for _, l := range layers {
		part := plan.Live
		if l == Boot {
			part = plan.Boot
		}
		for _, s := range part {
			steps = append(steps, s)
			r.Items = append(r.Items, Item{Step: s.ID(), Layer: l, Gone: gone[s.ID()]})
		}
	}
	errs := make([]error, len(steps))
	each(e.Parallel, len(steps), func(i int) {
		if ctx.Err() != nil {
			errs[i] = ctx.Err()
			return
		}
		r.Items[i].Change, errs[i] = steps[i].Check(ctx, h)
	})
	// Every refusal is worth telling; of a lost line or an end once is enough.
	var failed []error
	for i, err := range errs {
		switch {
		case err == nil:
		case errors.Is(err, host.ErrLost), ctx.Err() != nil:
			return Report{}, step.Plan{}, &StepError{Phase: "check", Step: steps[i].ID(), Err: err}
		default:
			failed = append(failed, &StepError{Phase: "check", Step: steps[i].ID(), Err: err})
		}
	}
	if len(failed) > 0 {
		return Report{}, step.Plan{}, errors.Join(failed...)
	}
	return r, plan, nil
}

// each calls f(0) to f(n-1), at most parallel at once.
func each(parallel, n int, f func(int)) {
	if parallel <= 1 {
		for i := range n {
			f(i)
		}
		return
	}
	var wg sync.WaitGroup
	next := make(chan int)
	for range min(parallel, n) {
		wg.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}
