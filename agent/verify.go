package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/lvsfleet/lvsfleet/agent/journal"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/verify"
)

// A Verification is what is to be looked at on one host.
type Verification struct {
	Run    string         `json:"run"` // as of a Transaction
	Who    string         `json:"who"`
	Checks []verify.Check `json:"checks"`
}

// Verify does the checks: those that read only first, then the paths.
func (e *Engine) Verify(ctx context.Context, v Verification) ([]verify.Result, error) {
	ctx, leave, err := e.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	if !journal.ValidRun(proofRun(v.Run)) {
		return nil, fmt.Errorf("%q does not name a run", v.Run)
	}
	if err := e.identify(ctx); err != nil {
		return nil, err
	}
	results := make([]verify.Result, len(v.Checks))
	errs := make([]error, len(v.Checks))
	looker := verify.NewLooker(host.NewCache(e.Host), e.id)
	// A look may wait a second for an answer, and none disturbs another.
	each(max(e.Parallel, looksAtOnce), len(v.Checks), func(i int) {
		if v.Checks[i].Kind != verify.Path || v.Checks[i].Why != "" {
			results[i], errs[i] = looker.Look(ctx, v.Checks[i])
		}
	})
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	var paths []int
	for i, c := range v.Checks {
		if c.Kind == verify.Path && c.Why == "" {
			paths = append(paths, i)
		}
	}
	if len(paths) == 0 {
		return results, nil
	}
	return results, e.prove(ctx, v, paths, results)
}

// looksAtOnce bounds the checks that wait for neighbours at the same time.
const looksAtOnce = 16

// proofRun names the journal of a run's proofs, which stands beside the run's
// own: a director may be in the middle of a transaction while it proves.
func proofRun(run string) string { return run + proofSuffix }

const proofSuffix = "-proof"

// prove fills in the results of the paths.
func (e *Engine) prove(ctx context.Context, v Verification, paths []int, results []verify.Result) error {
	none := func(why string) {
		for _, i := range paths {
			results[i] = verify.NotProvable(why)
		}
	}
	dialer, ok := verify.DialerOf(e.Host)
	if !ok {
		none("the director has no agent, which alone can send a connection through IPVS")
		return nil
	}
	if e.release == nil || e.run != v.Run {
		if err := e.lease(ctx, Transaction{Run: v.Run, Who: v.Who}); err != nil {
			none(err.Error())
			return err
		}
		defer e.giveBack()
		if err := e.settleProofs(ctx); err != nil {
			none(err.Error())
			return err
		}
	}
	// In parts, so that neither sockets nor marks become many.
	for len(paths) > 0 {
		n := min(len(paths), proofsAtOnce)
		if err := e.provePart(ctx, dialer, v, paths[:n], results); err != nil {
			none(err.Error())
			return err
		}
		paths = paths[n:]
	}
	return nil
}

const proofsAtOnce = 128

// settleProofs takes back what a proof that was cut off has left. Of a
// transaction that was cut off nothing is touched here, and nothing can be
// proven while it lasts.
func (e *Engine) settleProofs(ctx context.Context) error {
	store, err := e.store(ctx)
	if err != nil {
		return err
	}
	runs, err := store.Unsettled(ctx)
	if err != nil {
		return err
	}
	for _, run := range runs {
		if !strings.HasSuffix(run, proofSuffix) {
			return fmt.Errorf("run %s was interrupted here; the next change of this host settles it first", run)
		}
		if err := e.settleRun(context.WithoutCancel(ctx), run, nil); err != nil {
			return fmt.Errorf("settle the interrupted run %s: %w", run, err)
		}
	}
	return nil
}

// provePart proves some paths at once: what they need is journaled and made,
// every connection is tried, and all of it is taken back, whatever happened.
func (e *Engine) provePart(ctx context.Context, dialer verify.Dialer, v Verification, paths []int, results []verify.Result) error {
	var checks []verify.Check
	for _, i := range paths {
		checks = append(checks, v.Checks[i])
	}
	plan, err := verify.PlanProof(ctx, host.NewCache(e.Host), checks)
	if err != nil {
		return err
	}
	for k, i := range paths {
		results[i] = plan.Results[k]
	}
	if !plan.Needed() {
		return nil
	}
	store, err := e.store(ctx)
	if err != nil {
		return err
	}
	mark, err := journal.MarkBoot(ctx, e.Host)
	if err != nil {
		return err
	}
	j, err := store.Create(ctx, journal.Header{Run: proofRun(v.Run), Who: v.Who, Boot: mark})
	if err != nil {
		return err
	}
	err = e.proveJournaled(ctx, j, plan)
	if err == nil {
		answers := make([]verify.Result, len(paths))
		each(len(paths), len(paths), func(k int) {
			if plan.Results[k].Status == "" {
				answers[k] = plan.Try(ctx, dialer, k)
			}
		})
		for k, i := range paths {
			if plan.Results[k].Status == "" {
				results[i] = answers[k]
			}
		}
		err = ctx.Err()
	}
	undoCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	return errors.Join(err, e.takeBack(undoCtx, j))
}

// proveJournaled makes what the proof needs, each step journaled before.
func (e *Engine) proveJournaled(ctx context.Context, j *journal.Journal, plan *verify.Proof) error {
	for _, s := range plan.Steps {
		if err := j.Live(ctx, s.Name, s.Change); err != nil {
			return err
		}
		if err := e.mine(ctx); err != nil {
			return err
		}
		for _, op := range s.Change.Do {
			if err := e.do(ctx, op); err != nil {
				return &StepError{Phase: "do", Step: s.Name, Err: err}
			}
		}
	}
	return nil
}

// takeBack undoes what a proof made. It is decided first, so that whoever goes
// on after a crash undoes too; nothing of it is worth a place in the history.
func (e *Engine) takeBack(ctx context.Context, j *journal.Journal) error {
	if _, err := j.Decide(ctx, journal.Undo); err != nil {
		return err
	}
	if err := e.undoSteps(ctx, j); err != nil {
		return err
	}
	return j.Drop(ctx)
}

// undoSteps runs the undos of a proof, last first.
func (e *Engine) undoSteps(ctx context.Context, j *journal.Journal) error {
	var failed []string
	steps := j.Steps()
	for k := len(steps) - 1; k >= 0; k-- {
		for _, op := range steps[k].Undo {
			if err := e.do(ctx, op); err != nil {
				failed = append(failed, fmt.Sprintf("%s: %v", steps[k].Step, err))
			}
		}
	}
	if len(failed) > 0 {
		return &UndoError{Failed: failed}
	}
	return nil
}

// verifyTimeout bounds a verification over the wire: the checks of a large
// director come in parts of some seconds each.
const verifyTimeout = 10 * time.Minute

// Verify asks the agent to.
func (c *Client) Verify(ctx context.Context, v Verification) ([]verify.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, verifyTimeout)
	defer cancel()
	res, err := c.ask(ctx, request{Method: methodVerify, Verify: &v}, nil)
	if err == nil && len(res.Results) != len(v.Checks) {
		err = fmt.Errorf("the agent gave %d results for %d checks", len(res.Results), len(v.Checks))
	}
	return res.Results, err
}
