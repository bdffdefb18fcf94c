package verify

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// A Proof is what a director needs for a moment to prove some paths, as data:
// for each a service of a firewall mark of its own, with the one real server
// behind it, and what lets it take in answers from its own VIP.
//
// IPVS schedules the director's own packets too (ip_vs_core.c, the hooks at
// LOCAL_OUT), and looks for a mark's service first (ip_vs_service_find), so a
// marked connection goes out rewritten, wrapped or readdressed as a client's
// would, whatever weight the real server has in the service that clients see.
type Proof struct {
	Steps   []Step
	Results []Result // by check; Status "": to be tried
	checks  []Check
	marks   []uint32
}

// A Step is one change that is taken back again.
type Step struct {
	Name   string
	Change step.Change
}

// Needed says whether anything is to be tried.
func (p *Proof) Needed() bool { return len(p.Steps) > 0 }

// firstMark is where the search for free marks begins: no number that a
// person's rules would count to.
const firstMark = 0x6c767301

// PlanProof plans the proof of paths on h, the director.
func PlanProof(ctx context.Context, h host.Host, checks []Check) (*Proof, error) {
	t, err := ipvs.Open(h)
	if err != nil {
		return nil, fmt.Errorf("open the IPVS table: %w", err)
	}
	have, err := t.Dump(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the IPVS table: %w", err)
	}
	p := &Proof{checks: checks, Results: make([]Result, len(checks)), marks: make([]uint32, len(checks))}
	used := map[uint32]bool{}
	for _, s := range have {
		used[s.Key.Mark] = true
	}
	var edits []ipvs.Edit
	mark := uint32(firstMark)
	settings := map[string]bool{}
	var keys []string
	for i, c := range checks {
		held, routed, err := Holds(ctx, h, c.Addr)
		switch {
		case errors.Is(err, host.ErrLost) || ctx.Err() != nil:
			return nil, err
		case err != nil:
			p.Results[i] = NotProvable(err.Error())
			continue
		case !routed:
			p.Results[i] = NotProvable(fmt.Sprintf("the director has no route to %s", c.Addr))
			continue
		}
		if held && c.Method != ipvs.NAT && c.Addr.Is4() {
			// The answer has the director's own address as its source, and
			// is dropped as a martian without (fib_frontend.c,
			// __fib_validate_source). With NAT, IPVS turns it before. IPv6
			// has no such rule.
			if key := acceptLocal(c.SourceDev); !settings[key] {
				settings[key] = true
				keys = append(keys, key)
			}
		}
		for used[mark] {
			mark++
		}
		used[mark] = true
		p.marks[i] = mark
		edits = append(edits, p.edits(c, mark)...)
	}
	if len(edits) == 0 {
		return p, nil
	}
	for _, key := range keys {
		s := step.Sysctl{Key: key, Value: "1"}
		change, err := s.Check(ctx, h)
		if err != nil {
			return nil, err
		}
		if !change.Holds() {
			p.Steps = append(p.Steps, Step{Name: s.ID(), Change: change})
		}
	}
	p.Steps = append(p.Steps, Step{Name: "ipvs:proof", Change: step.Change{
		Do:   []step.Op{{Kind: step.IPVS, Edits: edits}},
		Undo: []step.Op{{Kind: step.IPVS, Edits: ipvs.Inverse(have, edits)}},

		Effects: []step.Effect{step.Alter(step.IPVSTable, netip.Addr{})},
	}})
	return p, nil
}

// acceptLocal is the setting of a device. With slashes a dot in its name is no
// separator (sysctl(8)).
func acceptLocal(dev string) string { return "net/ipv4/conf/" + dev + "/accept_local" }

// edits are those of one proof.
func (p *Proof) edits(c Check, mark uint32) []ipvs.Edit {
	s := ipvs.Service{Key: ipvs.Key{Mark: mark, V6: c.IPv6}, Scheduler: c.Scheduler}
	return []ipvs.Edit{
		{Verb: ipvs.AddService, Service: &s},
		{Verb: ipvs.AddDest, Service: &s, Dest: ipvs.Destination{DestKey: c.Real, Method: c.Method, Weight: 1}},
	}
}

// Try connects by the i-th path, for which everything has been made.
func (p *Proof) Try(ctx context.Context, d Dialer, i int) Result {
	c := p.checks[i]
	to := netip.AddrPortFrom(c.Addr, uint16(c.Port))
	how := strings.ToUpper(c.Method.String())
	a, err := d.Dial(ctx, Dial{
		Protocol: c.Protocol, From: c.Source, To: to, Mark: p.marks[i],
		Send: c.Send, Expect: c.Expect, Timeout: dialTimeout,
	})
	if err != nil {
		return NotProvable(err.Error())
	}
	switch a.Kind {
	case Accepted:
		return Result{Status: Proven, Detail: fmt.Sprintf("%s by %s is answered", to, how)}
	case Refused:
		if c.Protocol != "tcp" && c.Method == ipvs.TUN {
			// An ICMP message has refused it, and that may have been about
			// the wrapping.
			return NotProvable(fmt.Sprintf("%s by %s is refused: nobody listens there, or no tunnel takes it", to, how))
		}
		return Result{Status: Proven, Detail: fmt.Sprintf("%s by %s is refused by the real server itself", to, how)}
	case Wrong:
		return Result{Status: Warned, Detail: fmt.Sprintf("%s by %s is answered, but by %s", to, how, a.Text)}
	case Unreachable:
		return Result{Status: Broken, Detail: fmt.Sprintf("%s by %s: %s", to, how, a.Text)}
	}
	return Result{Status: Broken, Detail: fmt.Sprintf("no answer from %s by %s within %s: %s", to, how, dialTimeout, suspicion(c))}
}

// suspicion is what silence mostly comes from.
func suspicion(c Check) string {
	switch c.Method {
	case ipvs.DR:
		return "is the VIP on the real server, and is it on the director's segment?"
	case ipvs.TUN:
		return fmt.Sprintf("is the VIP on the real server, and does a tunnel there take packets from %s?", c.Source)
	}
	return "is the real server up, and does its way back lead through the director?"
}
