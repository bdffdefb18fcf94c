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
	back bool
}

func (s subject) String() string {
	if s.back {
		return s.site + "/" + s.host.Name + ", taken back,"
	}
	return s.site + "/" + s.host.Name
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
			all = append(all, subject{site: filepath.Base(filepath.Dir(p)), host: *h, want: desired[h.Name]})
		}
	}
	return all, nil
}

// machine is the host before the transaction: before lvsfleet comes, or with
// the run that is to be taken back.
func (s subject) machine() *sim.Machine {
	m := lab.Offline(s.host, nil)
	if !s.back {
		return m
	}
	p := m.NewSession()
	defer p.End()
	s.back = false
	e := &agent.Engine{Host: p, Plan: providers.Plan}
	ctx := context.Background()
	_, err := e.Begin(ctx, s.transaction(taken), nil)
	if err == nil {
		err = errors.Join(e.Apply(ctx, nil), e.Finish(ctx, taken, true, nil), e.Close())
	}
	if err != nil {
		panic(fmt.Sprintf("%s: %v", s, err)) // nothing was in its way
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
