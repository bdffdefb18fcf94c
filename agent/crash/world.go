package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/agent/lab"
	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/inventory/hclfile"
	"github.com/lvsfleet/lvsfleet/providers"
	"github.com/lvsfleet/lvsfleet/providers/host"
)

// A subject is one host of one site, which is to become what the site says or,
// back, what it was before that.
type subject struct {
	site string
	host inventory.Host
	want inventory.Desired
	// leaves: lvsfleet has made the host so before, and is to leave it. back:
	// the transaction takes the run back that has made it what is wanted.
	leaves, back bool
}

func (s subject) String() string {
	name := s.site + "/" + s.host.Name
	if s.leaves {
		name += ", removed,"
	}
	if s.back {
		name += " taken back,"
	}
	return name
}

// removed is the host that lvsfleet leaves again.
func (s subject) removed() subject {
	s.leaves = true
	return s
}

// taken is the run that is taken back.
const taken = "r0"

// transaction is what run does on the host.
func (s subject) transaction(run string) agent.Transaction {
	return agent.Transaction{Run: run, Who: "op@controller", Request: s.request()}
}

// request is what is asked of the host.
func (s subject) request() agent.Request {
	switch {
	case s.back:
		return agent.ToRevert(s.want, taken, agent.Reverts{})
	case s.leaves:
		return agent.ToRemove(s.want)
	}
	return agent.ToConverge(s.want)
}

// check looks at what there is to do.
func (s subject) check(e *agent.Engine) (agent.Report, error) {
	return e.Check(context.Background(), s.request())
}

// subjects are the hosts of the sites at paths.
func subjects(paths ...string) ([]subject, error) {
	var all []subject
	for _, p := range paths {
		r := hclfile.Load(p, hclfile.Input{})
		if r.Site == nil {
			return nil, fmt.Errorf("load %s: %v", p, r.Diags)
		}
		desired := r.Site.Desired()
		for _, h := range r.Site.Hosts {
			all = append(all, subject{site: filepath.Base(filepath.Dir(p)), host: *h, want: desired[h.Name]})
		}
	}
	return all, nil
}

// machine is the host before the transaction: before lvsfleet comes, or with
// what it has made, or the run that is to be taken back.
func (s subject) machine() *sim.Machine {
	m := lab.Offline(s.host, nil)
	makeSo := func(tx agent.Transaction) {
		p := m.NewSession()
		defer p.End()
		e := &agent.Engine{Host: p, Plan: providers.Plan}
		ctx := context.Background()
		_, err := e.Begin(ctx, tx, nil)
		if err == nil {
			err = errors.Join(e.Apply(ctx, nil), e.Finish(ctx, tx.Run, true, nil), e.Close())
		}
		if err != nil {
			panic(fmt.Sprintf("%s: %v", s, err)) // nothing was in its way
		}
	}
	if s.leaves {
		makeSo(agent.Transaction{Run: "q0", Who: "op@controller", Request: agent.ToConverge(s.want)})
	}
	if s.back {
		s.back = false
		makeSo(s.transaction(taken))
	}
	return m
}

// A view is everything of a machine that a transaction may change.
type view = sim.View

func look(m *sim.Machine) view { return m.View() }

// strays are temporary files on m.
func strays(m *sim.Machine) []string {
	var found []string
	m.Locked(func() {
		m.FS.Walk("/", func(p string, _ host.File) {
			if host.IsTemp(filepath.Base(p)) {
				found = append(found, p)
			}
		})
	})
	return found
}
