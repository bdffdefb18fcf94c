package clients

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/agent/lab"
	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/fleet"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers"
	"github.com/lvsfleet/lvsfleet/providers/director"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
	"github.com/lvsfleet/lvsfleet/providers/verify"
)

// A kind is a kind of fault.
type kind string

const (
	none        kind = "no fault"
	failing     kind = "failing"     // an operation of the host fails
	lost        kind = "lost"        // its line is cut; its agent sees that and undoes
	silent      kind = "silent"      // its line is dead; its guard undoes in its time
	unreachable kind = "unreachable" // from the beginning
	skipped     kind = "skipped"     // the same, and the run is told to leave it out
	refused     kind = "refused"     // a fresh login
	limited     kind = "limited"     // the run is of this host alone
	interrupted kind = "interrupted" // Ctrl-C
)

var kinds = []kind{none, failing, lost, silent, unreachable, skipped, refused, limited, interrupted}

// A fault is one, of a host, at the call with that number.
type fault struct {
	kind kind
	host string
	at   int
}

func (f fault) String() string { return fmt.Sprintf("%s %s at %d", f.kind, f.host, f.at) }

// A town is the hosts of a pair, in memory.
type town struct {
	mu       sync.Mutex
	now      time.Time
	machines map[string]*sim.Machine
	world    *lab.World
	client   netip.Addr
	fault    fault
	calls    int // of the faulty host; of all for an interrupt
	struck   bool
	dead     bool // the faulty host answers nothing any more
	cancel   context.CancelFunc
	open     []*session
	log      []string

	watching  bool
	services  []watched
	zeroSince map[string]time.Time // entries without a weight
	served    map[string]int       // connections of entries, as last seen
	findings  []finding
}

// A watched service is in force before and after.
type watched struct {
	name  string
	vips  []netip.Addr // before and after
	ports []int
	proto string
	moves bool // its VIP is another director's after
}

const (
	nobodyServes  = "nobody serves"
	nobodyAnswers = "sent where nobody answers"
	isCut         = "a connection is cut"
	unreported    = "an end that is not reported"
	notMended     = "the next run does not mend it"

	vipChanges = "the VIP changes"
)

// A finding is what must not be.
type finding struct{ what, story string }

func newTown(p pair) *town {
	w := &town{client: farClient, now: time.Unix(1e9, 0), machines: map[string]*sim.Machine{}, zeroSince: map[string]time.Time{}, served: map[string]int{}}
	var list []*sim.Machine
	for _, s := range []*inventory.Site{p.before, p.after} {
		for _, h := range s.Hosts {
			if w.machines[h.Name] != nil {
				continue
			}
			bare := *h
			m := lab.Offline(bare, nil)
			for _, port := range []int{25, 80, 443} {
				for _, proto := range []string{"tcp", "udp"} {
					m.Listeners = append(m.Listeners, sim.Listener{Protocol: proto, Port: port})
				}
			}
			m.Loader = guardLoader
			m.FS.Put(guardPath, 0o755, "a program\n")
			w.machines[h.Name] = m
			list = append(list, m)
		}
	}
	gateways := []netip.Addr{}
	for _, a := range []string{"10.9.4.251", "10.9.4.252", "10.9.4.253"} {
		gateways = append(gateways, netip.MustParseAddr(a))
	}
	w.world = lab.NewWorld(gateways, list...)
	return w
}

const guardPath = "/usr/libexec/lvsfleet-guard"

func guardLoader(m *sim.Machine, c *sim.Call, _ host.File) int {
	p := m.NewSession()
	defer p.End()
	if agent.RunGuard(c.Context, p, c.Argv[2]) != nil {
		return 1
	}
	return 0
}

// A session is one login.
type session struct {
	*agent.Engine
	w        *town
	host     string
	proc     *sim.Session
	run      string
	timeout  time.Duration
	deadline time.Time // its guard's; zero: the line stands
	gone     bool
}

func (w *town) Now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// Sleep lets time pass: connections of entries without a weight end, and guards
// that have heard nothing for too long undo.
func (w *town) Sleep(ctx context.Context, d time.Duration) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
	for _, m := range w.machines {
		m.Locked(func() {
			for i := range m.Net.IPVS {
				for j := range m.Net.IPVS[i].Dests {
					if e := &m.Net.IPVS[i].Dests[j]; e.Weight == 0 && e.Active > 0 {
						e.Active--
					}
				}
			}
		})
	}
	w.guards(false)
	w.look("time passes")
	return ctx.Err()
}

// guards has those undo whose time is over; with all, each that waits.
func (w *town) guards(all bool) {
	for _, s := range w.open {
		if s.deadline.IsZero() || !all && w.now.Before(s.deadline) {
			continue
		}
		s.deadline = time.Time{}
		boss := s.proc.PID()
		s.proc.End()
		duty, err := json.Marshal(agent.Duty{Run: s.run, Holder: "the guard, run " + s.run + ", since 0", Root: s.root(), Timeout: time.Second, Boss: boss})
		if err != nil {
			panic(err)
		}
		p := w.machines[s.host].NewSession()
		if err := agent.RunGuard(context.Background(), p, string(duty)); err != nil {
			w.find("a guard cannot undo", fmt.Sprintf("%s: %v", s.host, err))
		}
		p.End()
	}
}

func (s *session) root() string { return host.StateDir(s.w.machines[s.host].Identity.OS) }

func (w *town) dial(_ context.Context, h *inventory.Host) (agent.Session, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, "dial "+h.Name)
	at := h.Name == w.fault.host
	if at && w.dead || at && (w.fault.kind == unreachable || w.fault.kind == skipped) {
		return nil, fmt.Errorf("connect to %s: %w", h.Name, host.ErrLost)
	}
	if at && w.fault.kind == refused {
		if w.calls++; w.calls == w.fault.at+1 {
			w.struck = true
			return nil, fmt.Errorf("connect to %s: login refused", h.Name)
		}
	}
	p := w.machines[h.Name].NewSession()
	s := &session{Engine: &agent.Engine{Host: p, Plan: providers.Plan}, w: w, host: h.Name, proc: p}
	w.open = append(w.open, s)
	return s, nil
}

// call does one method, unless the fault is in its way.
func (s *session) call(verb string, do func() error) error {
	w := s.w
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, verb+" "+s.host)
	defer func() { w.look(verb + " " + s.host) }()
	if s.gone {
		return fmt.Errorf("%s: %w", s.host, host.ErrLost)
	}
	f, mine := w.fault, s.host == w.fault.host
	if f.kind == interrupted || mine && f.kind != refused {
		w.calls++
	}
	if w.calls == f.at && !w.struck {
		switch {
		case f.kind == interrupted:
			w.struck = true
			w.cancel()
		case !mine:
		case f.kind == lost, f.kind == silent:
			w.struck = true
			w.dead = f.kind == silent
			for _, o := range w.open {
				if o.host == s.host && !o.gone {
					o.gone = true
					if f.kind == lost {
						_ = o.Engine.Close()
						o.proc.End()
					} else if o.run != "" {
						o.deadline = w.now.Add(o.timeout)
					}
				}
			}
			return fmt.Errorf("%s: %w", s.host, host.ErrLost)
		}
	}
	if mine && f.kind == failing && verb == "apply" && w.calls >= f.at && !w.struck {
		w.struck = true
		n := 0
		m := w.machines[s.host]
		m.Watch = func(a sim.Access) error {
			if a.Op == "ipvs" || a.Op == "run" && changing(a.Argv) {
				if n++; n == 1 {
					return errors.New("input/output error")
				}
			}
			return nil
		}
		defer func() { m.Watch = nil }()
	}
	return do()
}

// changing says whether a command changes the network.
func changing(argv []string) bool {
	text := strings.Join(argv, " ")
	return strings.Contains(text, " add ") || strings.Contains(text, " del ") || strings.Contains(text, "sysctl -w") ||
		strings.Contains(text, "alias") || strings.Contains(text, " up") || strings.Contains(text, " replace ") || strings.Contains(text, " change ")
}

func (s *session) Check(ctx context.Context, req agent.Request) (r agent.Report, err error) {
	err = s.call("check", func() error { r, err = s.Engine.Check(ctx, req); return err })
	return r, err
}

func (s *session) Begin(ctx context.Context, tx agent.Transaction, progress func(agent.Event)) (b agent.Begun, err error) {
	err = s.call("begin", func() error {
		s.run, s.timeout = tx.Run, tx.ConfirmTimeout
		b, err = s.Engine.Begin(ctx, tx, progress)
		return err
	})
	return b, err
}

func (s *session) Apply(ctx context.Context, progress func(agent.Event)) error {
	return s.call("apply", func() error { return s.Engine.Apply(ctx, progress) })
}

func (s *session) Finish(ctx context.Context, run string, commit bool, progress func(agent.Event)) error {
	verb := "undo"
	if commit {
		verb = "commit"
	}
	return s.call(verb, func() error { return s.Engine.Finish(ctx, run, commit, progress) })
}

func (s *session) Table(ctx context.Context, only ...ipvs.Key) (list []agent.Entry, err error) {
	err = s.call("table", func() error { list, err = s.Engine.Table(ctx, only...); return err })
	return list, err
}

func (s *session) Verify(ctx context.Context, v agent.Verification) (list []verify.Result, err error) {
	err = s.call("verify", func() error { list, err = s.Engine.Verify(ctx, v); return err })
	return list, err
}

func (s *session) Close() error {
	w := s.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.gone {
		return nil
	}
	s.gone = true
	err := s.Engine.Close()
	s.proc.End()
	w.look("close " + s.host)
	return err
}

func (w *town) fleet(site *inventory.Site, run string) *fleet.Fleet {
	return &fleet.Fleet{Site: site, Dial: w.dial, Parallel: 1, Run: run, Who: "model", Clock: w}
}

func (w *town) find(what, detail string) {
	for _, f := range w.findings {
		if f.what == what {
			return
		}
	}
	from := max(0, len(w.log)-12)
	w.findings = append(w.findings, finding{what, detail + "\n  lately: " + strings.Join(w.log[from:], ", ")})
}

// between lists the services that are in force before and after.
func between(p pair) []watched {
	var list []watched
	for _, a := range p.before.Services {
		for _, b := range p.after.Services {
			same := a.Address == b.Address && a.Protocol == b.Protocol && slices.Equal(a.Ports, b.Ports)
			if a.FWMark != 0 || b.FWMark != 0 || b.Weight == 0 || a.Name != b.Name && !same || a.Protocol != b.Protocol || !slices.Equal(a.Ports, b.Ports) {
				continue
			}
			list = append(list, watched{
				name: a.Name, vips: []netip.Addr{a.Address, b.Address}, ports: a.Ports, proto: a.Protocol, moves: a.Director != b.Director,
			})
		}
	}
	return list
}

// Where clients are: behind a router, or, where real servers have no gateway,
// on the segment.
var (
	farClient  = netip.MustParseAddr("203.0.113.9")
	nearClient = netip.MustParseAddr("10.9.4.77")
)

// look asks what clients meet now. The lock is held.
func (w *town) look(when string) {
	if !w.watching {
		return
	}
	good := map[ipvs.Key]bool{}
	answers := map[string]bool{}
	now := map[string]int{}
	for name, m := range w.machines {
		var table []ipvs.Service
		m.Locked(func() {
			for _, s := range m.Net.IPVS {
				if s.Key.Mark == 0 {
					s.Dests = slices.Clone(s.Dests)
					table = append(table, s)
				}
			}
		})
		for _, s := range table {
			held := false
			m.Locked(func() { l := m.Net.Holder(s.Key.Addr); held = l != nil && l.Kind == sim.Ether })
			for _, d := range s.Dests {
				id := fmt.Sprintf("%s on %s by %s", s.Key, name, d.Addr)
				if d.Weight > 0 {
					delete(w.zeroSince, id)
				} else if w.zeroSince[id].IsZero() {
					w.zeroSince[id] = w.now
				}
				answers[id] = w.reaches(m, s.Key, d)
				now[id] = int(d.Active)
				if d.Weight == 0 || !held {
					continue
				}
				if answers[id] {
					good[s.Key] = true
				} else if w.concerns(s.Key) && !w.victim(name) && !w.victim(w.owner(d.Addr)) {
					w.find(nobodyAnswers, when+": "+id)
				}
			}
		}
	}
	for _, v := range w.services {
		for _, port := range v.ports {
			serves := slices.ContainsFunc(v.vips, func(a netip.Addr) bool {
				return good[ipvs.Key{Protocol: v.proto, Addr: a, Port: uint16(port)}]
			})
			if !serves && !v.moves && !w.struck {
				w.find(nobodyServes, when+": "+v.name)
			}
		}
	}
	for id, n := range w.served {
		_, there := now[id]
		since := w.zeroSince[id]
		drained := !since.IsZero() && w.now.Sub(since) >= drainTime*time.Second
		if n > 0 && (!there || !answers[id]) && !drained && !w.struckAt(id) {
			w.find(isCut, when+": "+id)
		}
	}
	w.served = now
}

// concerns says whether a service in force before and after has the address.
func (w *town) concerns(k ipvs.Key) bool {
	return slices.ContainsFunc(w.services, func(v watched) bool {
		return v.proto == k.Protocol && slices.Contains(v.vips, k.Addr) && slices.Contains(v.ports, int(k.Port))
	})
}

// victim says whether the fault has struck the host: its clients are exempt.
func (w *town) victim(name string) bool { return w.struck && w.fault.host == name }

// struckAt says whether the fault has struck who is named in the entry.
func (w *town) struckAt(id string) bool {
	if !w.struck {
		return false
	}
	m := w.machines[w.fault.host]
	return m != nil && (strings.Contains(id, " on "+w.fault.host+" ") || w.owner(mustLast(id)) == w.fault.host)
}

func mustLast(id string) netip.Addr {
	return netip.MustParseAddr(id[strings.LastIndexByte(id, ' ')+1:])
}

func (w *town) owner(a netip.Addr) (name string) {
	for n, m := range w.machines {
		m.Locked(func() {
			if l := m.Net.Holder(a); l != nil && l.Kind == sim.Ether {
				name = n
			}
		})
	}
	return name
}

// reaches says whether a client of the service is answered by the entry.
func (w *town) reaches(m *sim.Machine, k ipvs.Key, d ipvs.Destination) bool {
	p := sim.Packet{Protocol: k.Protocol, From: w.client, To: netip.AddrPortFrom(k.Addr, k.Port), Via: d.DestKey, Method: d.Method}
	if d.Method == ipvs.NAT {
		p.From = netip.Addr{}
	}
	if w.world.Carry(m, p).Kind != verify.Accepted {
		return false
	}
	if d.Method != ipvs.NAT {
		return true
	}
	// The answer must pass the director, which must pass it on.
	var back netip.Addr
	far := w.machines[w.owner(d.Addr)]
	far.Locked(func() {
		for _, r := range far.Net.Routes {
			if r.Dst.Bits() == 0 && r.Dst.Addr().Is4() {
				back = r.Gateway
			}
		}
	})
	ok := false
	m.Locked(func() { ok = m.Net.Holder(back) != nil && m.Net.Sysctls["net.ipv4.ip_forward"] == "1" })
	return ok
}

// connect gives each entry two connections.
func (w *town) connect() {
	for _, m := range w.machines {
		m.Locked(func() {
			for i := range m.Net.IPVS {
				for j := range m.Net.IPVS[i].Dests {
					m.Net.IPVS[i].Dests[j].Active = 2
				}
			}
		})
	}
}

// leftAtZero looks for entries that the site gives a weight, and that have none.
func (w *town) leftAtZero(site *inventory.Site) string {
	for name, want := range site.Desired() {
		if want.Director == nil {
			continue
		}
		table := w.machines[name].Net.IPVS
		for _, s := range want.Director.Services {
			for _, rs := range s.Real {
				for _, have := range table {
					for _, d := range have.Dests {
						if have.Key == director.ServiceKey(s) && d.DestKey == director.Destination(s, rs).DestKey && d.Weight == 0 && rs.Weight > 0 {
							return fmt.Sprintf("%s on %s by %s", have.Key, name, rs.Host)
						}
					}
				}
			}
		}
	}
	return ""
}
