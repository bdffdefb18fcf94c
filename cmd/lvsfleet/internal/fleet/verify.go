package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/providers/verify"
)

// A Verdict is what verification found of one place.
type Verdict struct {
	verify.Place
	Status   verify.Status // Proven, Unproven or Broken
	Evidence []Evidence    // in the order of the place's checks
}

// Evidence is one check and what became of it.
type Evidence struct {
	Check *verify.Check
	verify.Result
}

// PhaseProve is a host whose place in the cluster is looked at.
const PhaseProve = "prove"

// Verify proves the path to every selected real server, and whatever else its
// clients need. Nothing is changed, but for what a director needs for a moment
// to prove a path. Verdicts come by director, service and real server. The
// failures are of hosts that could not be looked at: all that is about them is
// not provable. The error is one of the request itself.
func (f *Fleet) Verify(ctx context.Context) (verdicts []Verdict, failures []Finding, err error) {
	if _, err := f.members(); err != nil {
		return nil, nil, err
	}
	places := f.places()
	e := newEvidence()
	var mu sync.Mutex
	each(f, e.hosts(places), func(w hostChecks) {
		results, err := f.verifyHost(ctx, w)
		f.observe(Event{Host: w.host, Phase: PhaseDone, Error: text(err)})
		mu.Lock()
		defer mu.Unlock()
		e.take(w.checks, results, err)
		if err != nil {
			failures = append(failures, Finding{Host: w.host, Err: err})
		}
	})
	for _, p := range places {
		verdicts = append(verdicts, e.verdict(p))
	}
	return verdicts, sortedFindings(failures), nil
}

// verifyHost logs in to one host and does its checks.
func (f *Fleet) verifyHost(ctx context.Context, w hostChecks) ([]verify.Result, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f.observe(Event{Host: w.host, Phase: PhaseConnect})
	session, err := f.dial(ctx, f.Site.Host(w.host))
	if err != nil {
		return nil, err // it names the host
	}
	f.observe(Event{Host: w.host, Phase: PhaseProve})
	results, err := f.ask(ctx, session, w)
	return results, errors.Join(err, session.Close())
}

// ask does the checks over a session.
func (f *Fleet) ask(ctx context.Context, session agent.Session, w hostChecks) ([]verify.Result, error) {
	v := agent.Verification{Run: f.Run, Who: f.Who}
	for _, c := range w.checks {
		v.Checks = append(v.Checks, *c)
	}
	results, err := session.Verify(ctx, v)
	if err != nil {
		err = fmt.Errorf("verify %s: %w", w.host, err)
	}
	return results, err
}

// places are those of the selected hosts: of a real server that is selected
// every one, of a director all of its own.
func (f *Fleet) places() []verify.Place {
	all := verify.Places(f.Site)
	if len(f.Limit) == 0 {
		return all
	}
	limited := map[string]bool{}
	for _, name := range f.Limit {
		limited[name] = true
	}
	type service struct {
		director, name string
		port           int
	}
	of := func(p verify.Place) service { return service{p.Director, p.Service, p.Port} }
	named := map[service]bool{}
	for _, p := range all {
		if limited[p.Host] || limited[p.Director] {
			named[of(p)] = true
		}
	}
	var list []verify.Place
	for _, p := range all {
		if limited[p.Host] || limited[p.Director] || p.Host == "" && named[of(p)] {
			list = append(list, p)
		}
	}
	return list
}

// evidence collects what was found, by check.
type evidence struct {
	found map[*verify.Check]verify.Result
}

func newEvidence() *evidence { return &evidence{found: map[*verify.Check]verify.Result{}} }

// hostChecks are the checks of one host.
type hostChecks struct {
	host   string
	checks []*verify.Check
}

// hosts sorts the checks of places by the hosts that do them, each once.
func (e *evidence) hosts(places []verify.Place) []hostChecks {
	at := map[string]int{}
	seen := map[*verify.Check]bool{}
	var list []hostChecks
	for _, p := range places {
		for _, c := range p.Checks {
			if seen[c] {
				continue
			}
			seen[c] = true
			i, ok := at[c.Host]
			if !ok {
				i = len(list)
				at[c.Host] = i
				list = append(list, hostChecks{host: c.Host})
			}
			list[i].checks = append(list[i].checks, c)
		}
	}
	return list
}

// take notes the results of checks; where err left some out they are not
// provable.
func (e *evidence) take(checks []*verify.Check, results []verify.Result, err error) {
	for i, c := range checks {
		switch {
		case i < len(results) && results[i].Status != "":
			e.found[c] = results[i]
		case err != nil:
			e.found[c] = verify.NotProvable(err.Error())
		default:
			e.found[c] = verify.NotProvable("nothing was found out")
		}
	}
}

// verdict sums a place up: broken where anything is, else what its path is,
// which says more than all the rest; of a service itself the worst of what was
// found.
func (e *evidence) verdict(p verify.Place) Verdict {
	v := Verdict{Place: p, Status: verify.Proven}
	var path verify.Status
	for _, c := range p.Checks {
		r := e.found[c]
		v.Evidence = append(v.Evidence, Evidence{c, r})
		if c.Kind == verify.Path {
			path = r.Status
		}
		if r.Status.Worse(v.Status) && r.Status != verify.Warned {
			v.Status = r.Status
		}
	}
	if v.Status == verify.Unproven && (path == verify.Proven || path == verify.Warned) {
		v.Status = verify.Proven
	}
	return v
}

// Others is the host whose answer to the director has that link-layer address;
// "" none that was found.
func Others(verdicts []Verdict, mac string) string {
	for _, v := range verdicts {
		for _, e := range v.Evidence {
			if e.Check.Kind == verify.Reach && e.MAC == mac && mac != "" {
				return v.Host
			}
		}
	}
	return ""
}

func sortedFindings(list []Finding) []Finding {
	slices.SortFunc(list, func(a, b Finding) int { return cmp.Compare(a.Host, b.Host) })
	return list
}
