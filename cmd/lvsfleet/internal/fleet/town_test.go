package fleet

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/director"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// A town is a site with traffic: directors with IPVS tables, and real servers
// that are as before, in the middle of their change, or as wanted. After every
// call it looks whether clients are served.
type town struct {
	t  *testing.T
	mu sync.Mutex

	tables map[string]*ipvs.Memory // by director
	state  map[string]string       // of a real server: "before", "between", "after"
	steps  map[string][]string     // what its change does, live
	fits   func(host, state string, e ipvs.Destination) bool
	counts map[netip.Addr]int // active connections; one ends at every look
	now    time.Time

	first   map[place2]bool // services that have had somebody to serve them
	hits    map[string]bool // hosts on which traffic may be cut by their change
	drained map[string]bool // entries with weight 0
	undone  map[string]bool // hosts whose last transaction was undone
	smooth  bool            // nothing fails: what is drained stays so until it has changed
	calls   int
	dieAt   int    // the call at which the controller dies; 0: never
	loseAt  int    // the call at which the line of lose is cut
	lose    string // a host
	dead    bool
	fail    map[string]error  // by "VERB HOST"
	before  map[string]func() // what somebody does just before that, by "VERB HOST"; once
	theirs  map[string]bool   // directors whose weights somebody sets by hand
	log     []string
	open    []*citizen
	outages bool              // agreed to
	past    map[string][]deed // by director: what was committed
	slept   time.Duration
}

type place2 struct {
	dir string
	key ipvs.Key
}

// A deed is what a run has done to a table.
type deed struct {
	run, undoes string
	change      step.Change
}

// A citizen is a session with a host of the town.
type citizen struct {
	unable
	w       *town
	host    string
	tx      *agent.Transaction
	undo    [][]ipvs.Edit // of a director, in force and not committed
	did     [][]ipvs.Edit // the same, as done
	applied bool
	lost    bool
}

var errDead = fmt.Errorf("%w: the controller is dead", host.ErrLost)

func (w *town) Now() time.Time { return w.now }

func (w *town) Sleep(ctx context.Context, d time.Duration) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
	w.slept += d
	return ctx.Err()
}

// call counts a call, with the lock held, and gives its failure.
func (w *town) call(s *citizen, verb, name string) error {
	if w.dead {
		return errDead
	}
	w.calls++
	w.log = append(w.log, verb+" "+name)
	if f := w.before[verb+" "+name]; f != nil {
		delete(w.before, verb+" "+name)
		f()
	}
	if w.calls == w.dieAt {
		w.dead = true
		// Every host settles by itself; the loans outlive the real servers.
		for _, directors := range []bool{false, true} {
			for _, c := range w.open {
				if (w.tables[c.host] != nil) == directors {
					c.settle()
				}
			}
		}
		return errDead
	}
	if w.calls == w.loseAt {
		for _, c := range w.open {
			if c.host == w.lose {
				c.lost = true
				c.settle()
			}
		}
	}
	if s != nil && s.lost {
		return fmt.Errorf("%w: the line was cut", host.ErrLost)
	}
	return w.fail[verb+" "+name]
}

// settle undoes what the session has in force.
func (c *citizen) settle() {
	if t := c.w.tables[c.host]; t != nil {
		for _, edits := range slices.Backward(c.undo) {
			err := ipvs.Make(context.Background(), t, edits)
			if errors.Is(err, ipvs.ErrChanged) && c.w.theirs[c.host] {
				continue // theirs now: the engine notes it
			}
			if err != nil {
				c.w.t.Errorf("undo on %s: %v", c.host, err)
			}
		}
	} else if c.applied && c.w.state[c.host] == "between" {
		c.w.state[c.host] = "before"
		if c.tx.Request.Kind == agent.Revert {
			c.w.state[c.host] = "after"
		}
	}
	if c.applied {
		c.w.undone[c.host] = true
	}
	c.undo, c.did, c.applied, c.tx = nil, nil, false, nil
}

func (w *town) dial(_ context.Context, h *inventory.Host) (agent.Session, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.call(nil, "dial", h.Name); err != nil {
		return nil, err
	}
	c := &citizen{w: w, host: h.Name}
	w.open = append(w.open, c)
	return c, nil
}

// edits are what the director lacks.
func (c *citizen) edits(req agent.Request) []ipvs.Edit {
	table, d := c.w.tables[c.host], req.Desired
	have, _ := table.Dump(context.Background())
	if list := req.Entries; list != nil {
		var edits []ipvs.Edit
		for _, x := range list {
			for _, s := range have {
				for _, dest := range s.Dests {
					if s.Key != director.KeyOf(x) || dest.Addr != x.Server || int(dest.Port) != x.ServerPort {
						continue
					}
					e := ipvs.Edit{Verb: ipvs.DeleteDest, Service: &ipvs.Service{Key: s.Key}, Dest: dest}
					if !x.Gone {
						if dest.Weight == 0 {
							continue
						}
						e.Verb, e.Dest.Weight = ipvs.EditDest, 0
					}
					edits = append(edits, e)
				}
			}
		}
		return edits
	}
	if d.Director == nil || d.Director.Services == nil {
		return nil
	}
	edits, _ := ipvs.Diff(have, director.Wants(d.Director.Services))
	return edits
}

// back is what takes a run back on the director, as the engine would have it.
func (c *citizen) back(tx agent.Transaction) []ipvs.Edit {
	if tx.Request.Reverts.Part == agent.Machine {
		return nil
	}
	spared := func(list ...inventory.Withdrawal) func(ipvs.Edit) bool {
		return func(e ipvs.Edit) bool {
			return slices.ContainsFunc(list, func(x inventory.Withdrawal) bool {
				same := director.KeyOf(x) == e.Service.Key
				return same && (e.Verb == ipvs.DeleteService || e.Dest.Addr == x.Server && int(e.Dest.Port) == x.ServerPort)
			})
		}
	}
	var made []step.Made
	for _, d := range c.w.past[c.host] {
		spare := spared(tx.Request.Reverts.Hold...)
		switch {
		case d.undoes == tx.Request.Of:
		case d.run == tx.Request.Of && d.undoes == "":
			spare = spared(append(tx.Request.Reverts.Keep, tx.Request.Reverts.Hold...)...)
		default:
			continue
		}
		part := func(ops []step.Op) []step.Op {
			return []step.Op{{Kind: step.IPVS, Edits: slices.DeleteFunc(slices.Clone(ops[0].Edits), spare)}}
		}
		made = append(made, step.Made{Step: "ipvs", Change: step.Change{Do: part(d.change.Do), Undo: part(d.change.Undo)}})
	}
	for _, s := range step.Reversals(made) {
		change, err := s.Check(context.Background(), tabled{table: c.w.tables[c.host]})
		if err != nil {
			c.w.t.Error(err)
		}
		for _, op := range change.Do {
			return op.Edits
		}
	}
	return nil
}

// tabled is a host that has a table and nothing else.
type tabled struct {
	host.Host
	table ipvs.Table
}

func (h tabled) IPVS() (ipvs.Table, error) { return h.table, nil }

// todo is what is to be done to the director's table.
func (c *citizen) todo(tx agent.Transaction) []ipvs.Edit {
	if tx.Request.Kind == agent.Revert {
		return c.back(tx)
	}
	return c.edits(tx.Request)
}

// effectsOf are those of a step that is made, by its ID.
func effectsOf(id string) []step.Effect { return step.RecordedEffects(nil, id, "", "x") }

func (c *citizen) report(tx agent.Transaction) agent.Report {
	r := agent.Report{Identity: host.Identity{OS: string(tx.Request.Desired.OS)}}
	if c.w.tables[c.host] != nil {
		item := agent.Item{Step: director.TableStep, Layer: agent.Live}
		if edits := c.todo(tx); len(edits) > 0 {
			item.Change = step.Change{Diff: "x", Do: []step.Op{{Kind: step.IPVS, Edits: edits}}, Effects: effectsOf(director.TableStep)}
		}
		r.Items = append(r.Items, item)
		return r
	}
	for _, s := range c.w.steps[c.host] {
		item := agent.Item{Step: s, Layer: agent.Live}
		if wanted := tx.Request.Kind != agent.Revert; (c.w.state[c.host] == "after") != wanted {
			item.Change = step.Change{Diff: "x", Do: []step.Op{{Kind: step.Run, Argv: []string{"x"}}}, Effects: effectsOf(s)}
		}
		r.Items = append(r.Items, item)
	}
	return r
}

func (c *citizen) Check(_ context.Context, req agent.Request) (agent.Report, error) {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	defer c.w.look("check " + c.host)
	if err := c.w.call(c, "check", c.host); err != nil {
		return agent.Report{}, err
	}
	return c.report(agent.Transaction{Request: req}), nil
}

func (c *citizen) Begin(_ context.Context, tx agent.Transaction, _ func(agent.Event)) (agent.Begun, error) {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	defer c.w.look("begin " + c.host)
	if err := c.w.call(c, "begin", c.host); err != nil {
		return agent.Begun{}, err
	}
	if tx.Continues {
		if c.tx == nil || !c.applied {
			c.w.t.Errorf("continued on %s what was not begun", c.host)
		}
	} else {
		c.settle()
	}
	c.tx, c.applied = &tx, false
	delete(c.w.undone, c.host)
	return begun(c.report(tx), ""), nil
}

func (c *citizen) Apply(context.Context, func(agent.Event)) error {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	defer c.w.look("apply " + c.host)
	if err := c.w.call(c, "apply", c.host); err != nil {
		if c.tx != nil {
			c.settle()
		}
		return err
	}
	c.applied = true
	table := c.w.tables[c.host]
	if table == nil {
		c.w.state[c.host] = "between"
		return nil
	}
	have, _ := table.Dump(context.Background())
	edits := c.todo(*c.tx)
	c.did = append(c.did, edits)
	c.undo = append(c.undo, ipvs.Inverse(have, edits))
	return ipvs.Make(context.Background(), table, edits)
}

func (c *citizen) Finish(_ context.Context, _ string, commit bool, _ func(agent.Event)) error {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	verb := "undo"
	if commit {
		verb = "commit"
	}
	defer c.w.look(verb + " " + c.host)
	if err := c.w.call(c, verb, c.host); err != nil {
		return err
	}
	if commit && c.w.undone[c.host] {
		return fmt.Errorf("commit on %s: %w", c.host, agent.ErrUndone)
	}
	if commit && c.w.tables[c.host] == nil && c.w.hits[c.host] && c.w.calls != c.w.loseAt {
		for dir, table := range c.w.tables {
			for _, s := range table.Services {
				for _, d := range s.Dests {
					if c.w.hostOf(d.Addr) == c.host && d.Weight > 0 {
						c.w.t.Errorf("%s is committed while %s gives it connections", c.host, dir)
					}
				}
			}
		}
	}
	for _, o := range c.w.open {
		switch {
		case o.host != c.host || !o.applied:
		case !commit:
			o.settle()
		default:
			if c.w.tables[c.host] == nil {
				c.w.state[c.host] = "after"
				if o.tx.Request.Kind == agent.Revert {
					c.w.state[c.host] = "before"
				}
			}
			for i := range o.did {
				c.w.past[c.host] = append(c.w.past[c.host], deed{o.tx.Run, o.tx.Undoes, step.Change{
					Do: []step.Op{{Kind: step.IPVS, Edits: o.did[i]}}, Undo: []step.Op{{Kind: step.IPVS, Edits: o.undo[i]}},
				}})
			}
			o.undo, o.did, o.applied, o.tx = nil, nil, false, nil
		}
	}
	return nil
}

func (c *citizen) Table(context.Context, ...ipvs.Key) ([]agent.Entry, error) {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	defer c.w.look("table " + c.host)
	if err := c.w.call(c, "table", c.host); err != nil {
		return nil, err
	}
	var list []agent.Entry
	services, _ := c.w.tables[c.host].Dump(context.Background())
	for _, s := range services {
		for _, d := range s.Dests {
			e := agent.Entry{Service: s.Key, Dest: d, Active: c.w.counts[d.Addr]}
			if d.Weight == 0 && c.w.counts[d.Addr] > 0 {
				c.w.counts[d.Addr]--
			}
			list = append(list, e)
		}
	}
	return list, nil
}

func (c *citizen) Close() error {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	if !c.w.dead && !c.lost {
		c.settle()
		c.w.look("close " + c.host)
	}
	return nil
}

// look asserts that clients are served: every service that was keeps an entry
// that takes new connections, and none that does leads to a real server that
// does not fit it.
func (w *town) look(when string) {
	for dir, table := range w.tables {
		services, _ := table.Dump(context.Background())
		for _, s := range services {
			good := 0
			for _, d := range s.Dests {
				name := w.hostOf(d.Addr)
				id := fmt.Sprint(dir, s.Key, d.Addr, d.Method)
				if d.Weight == 0 {
					w.drained[id] = true
					continue
				}
				if w.drained[id] && w.smooth && w.state[name] == "before" {
					w.t.Errorf("%s: %s gives %s to %s again, which is drained and not changed", when, dir, s.Key, name)
				}
				delete(w.drained, id)
				if w.lost(dir) || w.theirs[dir] {
					good++ // its weights came back with its line, or by hand: nobody commits on them
					continue
				}
				if !w.fits(name, w.state[name], d) {
					w.t.Errorf("%s: %s gives %s (%s, %s) to %s, which is %s", when, dir, s.Key, d.Addr, d.Method, name, w.state[name])
					continue
				}
				good++
			}
			p := place2{dir, s.Key}
			if good > 0 {
				w.first[p] = true
			} else if w.first[p] && !w.outages {
				w.t.Errorf("%s: nobody serves %s on %s:\n%s", when, s.Key, dir, ipvs.Format(services))
			}
		}
	}
}

func (w *town) lost(host string) bool { return w.lose == host && w.loseAt > 0 && w.calls >= w.loseAt }

func (w *town) hostOf(a netip.Addr) string {
	b := a.As4()
	return fmt.Sprintf("rs%d", b[3]-10)
}

// text is every table.
func (w *town) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var b strings.Builder
	for _, dir := range []string{"lb1", "lb2"} {
		if t := w.tables[dir]; t != nil {
			fmt.Fprintf(&b, "%s:\n%s", dir, ipvs.Format(ipvs.Sorted(t.Services)))
		}
	}
	return b.String()
}

var errNo = errors.New("no")
