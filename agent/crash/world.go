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
	// made is what lvsfleet has made of the host before; nil: nothing. back: the
	// transaction takes the run back that has made it what is wanted.
	made *inventory.Desired
	back bool
}

func (s subject) String() string {
	name := s.site + "/" + s.host.Name
	if s.made != nil {
		name += ", removed,"
	}
	if s.back {
		name += " taken back,"
	}
	return name
}

// removed is the host that lvsfleet leaves again.
func (s subject) removed() subject {
	made := s.want
	s.made, s.want = &made, made.Removed()
	return s
}

// taken is the run that is taken back.
const taken = "r0"

// transaction is what run does on the host.
func (s subject) transaction(run string) agent.Transaction {
	tx := agent.Transaction{Run: run, Who: "op@controller", Desired: s.want}
	if s.back {
		tx.Undoes, tx.Reverts = taken, &agent.Reverts{}
	}
	return tx
}

// check looks at what there is to do.
func (s subject) check(e *agent.Engine) (agent.Report, error) {
	if s.back {
		return e.CheckRevert(context.Background(), taken)
	}
	return e.Check(context.Background(), s.want)
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
			s := subject{site: filepath.Base(filepath.Dir(p)), host: *h, want: desired[h.Name]}
			s.want.Whole = true
			all = append(all, s)
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
	if s.made != nil {
		makeSo(agent.Transaction{Run: "q0", Who: "op@controller", Desired: *s.made})
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
