package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
)

// A Plan is a run before it happens, if nothing fails in it.
type Plan struct {
	Stages []Stage `json:"stages"`
	// LeftOut are hosts that the run leaves as they are.
	LeftOut []LeftOut `json:"left_out,omitempty"`
	// Outages are what nobody serves while the run goes on.
	Outages []Outage `json:"outages,omitempty"`
}

// A Stage is a part of the run: its transactions run side by side.
type Stage struct {
	Stage inventory.Stage `json:"stage"`
	// Batch is the number of the batch of disturbed real servers that it belongs
	// to, from 1 on; 0: none.
	Batch        int           `json:"batch,omitempty"`
	Transactions []Transaction `json:"transactions"`
}

// A Transaction is one host's part of a stage.
type Transaction struct {
	Host string `json:"host"`
	Does string `json:"does"` // in a few words
	// Drains are the entries that are quiesced, and drained, by it.
	Drains []Drain `json:"drains,omitempty"`
}

// A Drain is an entry that is drained.
type Drain struct {
	Service     string `json:"service"`
	Host        string `json:"host,omitempty"`
	Server      string `json:"server"`
	Connections int    `json:"connections"` // now
	// Deleted: it goes for good. Else it gets its weight back when its real server
	// has changed.
	Deleted bool `json:"deleted,omitempty"`
}

// LeftOut is a host that the run leaves as it is.
type LeftOut struct {
	Host string `json:"host"`
	Why  string `json:"why"`
}

// An Outage is what nobody serves.
type Outage struct {
	Host     string   `json:"host,omitempty"` // while it changes; "" for good
	Services []string `json:"services"`
}

// A Server is a real server that is to change.
type Server struct {
	Name  string
	Steps int // that do not hold
	// Touched are the entries in force that its change would break.
	Touched []Entry
	// Expands: it adds first, and takes away in a transaction of its own.
	Expands bool
}

// A Director is one that takes part.
type Director struct {
	Name    string
	Steps   int  // that do not hold; 0: it only drains
	Retires bool // it gives something up at the end
	Yields  bool // it gives VIPs up that another one takes
	Entries []Entry
	// Closing are the entries of services that go, Leaving all others that do.
	Closing, Leaving []Entry
	// Comes are the entries that it is to have with a weight above 0.
	Comes []Entry
}

// An Input is what a run is planned from.
type Input struct {
	Servers   []Server // by name
	Directors []Director
	Batch     []inventory.Share
	LeftOut   []LeftOut
	Outages   []Outage
}

// Size is how many real servers the batch number n has, of total; n is 0 for the
// first.
func Size(batch []inventory.Share, n, total int) int {
	if len(batch) == 0 {
		return total
	}
	s := batch[min(n, len(batch)-1)]
	if s.Percent {
		return max(1, total*s.N/100)
	}
	return max(1, s.N)
}

// place is a service on a director.
type place struct {
	director string
	service  ipvs.Key
}

func (e Entry) place() place { return place{e.Director, e.Service} }

// serving are the entries that take new connections.
type serving map[place]map[ipvs.DestKey]bool

func (s serving) set(e Entry, on bool) {
	if s[e.place()] == nil {
		s[e.place()] = map[ipvs.DestKey]bool{}
	}
	if on {
		s[e.place()][e.Dest.DestKey] = true
	} else {
		delete(s[e.place()], e.Dest.DestKey)
	}
}

// survive says whether every service keeps an entry without these.
func (s serving) survive(gone []Entry) bool {
	left := map[place]int{}
	for _, e := range gone {
		if !s[e.place()][e.Dest.DestKey] {
			continue
		}
		if _, seen := left[e.place()]; !seen {
			left[e.place()] = len(s[e.place()])
		}
		if left[e.place()]--; left[e.place()] == 0 {
			return false
		}
	}
	return true
}

// Make plans a run that converges.
func Make(in Input) Plan {
	p := Plan{LeftOut: in.LeftOut, Outages: in.Outages, Stages: []Stage{}}
	add := func(stage inventory.Stage, batch int, list []Transaction) {
		if len(list) > 0 {
			p.Stages = append(p.Stages, Stage{stage, batch, list})
		}
	}
	// directors gives a transaction to each of those that change.
	directors := func(does string, which func(Director) bool) []Transaction {
		var list []Transaction
		for _, d := range in.Directors {
			if which(d) {
				list = append(list, Transaction{Host: d.Name, Does: does})
			}
		}
		return list
	}
	changes := func(d Director) bool { return d.Steps > 0 }
	var pending []Server
	var first []Transaction
	for _, s := range in.Servers {
		switch disturbed := slices.ContainsFunc(s.Touched, func(e Entry) bool { return Serves(e.Dest.Weight, e.Connections) }); {
		case !disturbed:
			first = append(first, Transaction{Host: s.Name, Does: steps(s.Steps)})
		case s.Expands:
			first = append(first, Transaction{Host: s.Name, Does: "adds what the services that come need"})
			pending = append(pending, s)
		default:
			pending = append(pending, s)
		}
	}
	add(inventory.Prepare, 0, directors("gets ready: modules, forwarding, routes", changes))
	add(inventory.Change, 0, first)
	add(inventory.Withdraw, 0, directors("gives up VIPs that another director takes", func(d Director) bool { return d.Yields }))
	add(inventory.Admit, 0, directors("admits what is ready: VIPs, services, entries, weights", changes))
	var closing []Entry
	for _, d := range in.Directors {
		closing = append(closing, d.Closing...)
	}
	add(inventory.Withdraw, 0, drains(closing, func(Entry) bool { return true }))
	closed := map[place]bool{}
	for _, e := range closing {
		closed[e.place()] = true
	}
	p.batches(in, pending, closed, add, func() []Transaction {
		return directors("admits what has changed", changes)
	})
	var leaving []Entry
	for _, d := range in.Directors {
		leaving = append(leaving, d.Leaving...)
	}
	add(inventory.Retire, 0, drains(leaving, func(Entry) bool { return true }))
	add(inventory.Retire, 0, directors("gives up what it does not need any more", func(d Director) bool { return d.Retires }))
	return p
}

// batches plans those of the disturbed real servers.
func (p *Plan) batches(in Input, pending []Server, closed map[place]bool, add func(inventory.Stage, int, []Transaction), admit func() []Transaction) {
	now := serving{}
	waits := map[string]bool{}
	for _, s := range pending {
		waits[s.Name] = true
	}
	comes := func(of func(host string) bool) {
		for _, d := range in.Directors {
			for _, e := range d.Comes {
				if of(e.Host) {
					now.set(e, true)
				}
			}
		}
	}
	for _, d := range in.Directors {
		for _, e := range d.Entries {
			if e.Dest.Weight > 0 && !closed[e.place()] {
				now.set(e, true)
			}
		}
	}
	comes(func(host string) bool { return !waits[host] })
	total := len(pending)
	for n := 0; len(pending) > 0; n++ {
		size := Size(in.Batch, n, total)
		var batch, rest []Server
		var gone []Entry
		for _, s := range pending {
			touched := slices.DeleteFunc(slices.Clone(s.Touched), func(e Entry) bool { return closed[e.place()] })
			if with := slices.Concat(gone, touched); len(batch) < size && now.survive(with) {
				batch, gone = append(batch, s), with
			} else {
				rest = append(rest, s)
			}
		}
		if len(batch) == 0 { // an outage, which was agreed to
			batch, rest = pending[:1], pending[1:]
			gone = slices.DeleteFunc(slices.Clone(batch[0].Touched), func(e Entry) bool { return closed[e.place()] })
		}
		var change []Transaction
		done := map[string]bool{}
		for _, s := range batch {
			done[s.Name] = true
			change = append(change, Transaction{Host: s.Name, Does: steps(s.Steps)})
		}
		served := slices.DeleteFunc(gone, func(e Entry) bool { return e.Stays && !Serves(e.Dest.Weight, e.Connections) })
		add(inventory.Withdraw, n+1, drains(served, func(e Entry) bool { return !e.Stays }))
		add(inventory.Change, n+1, change)
		add(inventory.Admit, n+1, admit())
		for _, e := range served {
			now.set(e, e.Stays && e.Dest.Weight > 0)
		}
		comes(func(host string) bool { return done[host] })
		pending = rest
	}
}

func steps(n int) string {
	if n == 1 {
		return "changes 1 step"
	}
	return fmt.Sprintf("changes %d steps", n)
}

// drains gives each director of the entries its transaction.
func drains(entries []Entry, deleted func(Entry) bool) []Transaction {
	at := map[string]int{}
	var list []Transaction
	for _, e := range entries {
		i, ok := at[e.Director]
		if !ok {
			i = len(list)
			at[e.Director] = i
			list = append(list, Transaction{Host: e.Director, Does: "drains"})
		}
		list[i].Drains = append(list[i].Drains, Drain{
			Service: e.Service.String(), Host: e.Host, Server: e.Dest.Addr.String(), Connections: e.Connections, Deleted: deleted(e),
		})
	}
	slices.SortFunc(list, func(a, b Transaction) int { return cmp.Compare(a.Host, b.Host) })
	return list
}

// String is the plan as a person reads it.
func (p Plan) String() string {
	var b strings.Builder
	for _, s := range p.Stages {
		b.WriteString(string(s.Stage))
		if s.Batch > 0 {
			fmt.Fprintf(&b, ", batch %d", s.Batch)
		}
		b.WriteByte('\n')
		for _, t := range s.Transactions {
			fmt.Fprintf(&b, "  %s: %s\n", t.Host, t.Does)
			for _, d := range t.Drains {
				fmt.Fprintf(&b, "    %s\n", d)
			}
		}
	}
	for _, l := range p.LeftOut {
		fmt.Fprintf(&b, "left out: %s: %s\n", l.Host, l.Why)
	}
	for _, o := range p.Outages {
		if o.Host == "" {
			fmt.Fprintf(&b, "outage: no real server is left for %s\n", strings.Join(o.Services, ", "))
			continue
		}
		fmt.Fprintf(&b, "outage: while %s changes, nobody else serves %s\n", o.Host, strings.Join(o.Services, ", "))
	}
	return b.String()
}

// String is one line.
func (d Drain) String() string {
	who := d.Server
	if d.Host != "" {
		who = d.Host
	}
	end := "restored afterwards"
	if d.Deleted {
		end = "deleted"
	}
	return fmt.Sprintf("%s of %s, %d connections now, %s", who, d.Service, d.Connections, end)
}
