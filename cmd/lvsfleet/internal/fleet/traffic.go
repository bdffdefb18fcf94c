package fleet

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/fleet/plan"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/director"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// An entry is one real server in the live table of a director, in a service
// that the inventory names.
type entry struct {
	agent.Entry
	dir     *member
	service *inventory.DirectedService
	want    *inventory.DirectedServer // what the inventory says of it; nil: nothing, it goes
	host    string                    // whose address it is; "" nobody's of the site
	going   bool                      // its service goes, or what lvsfleet has made of it
}

// held says that this run is not about the entry.
func (e *entry) held() bool { return e.want != nil && e.want.Hold }

// replaced says that the entry cannot stay what it is while its real server
// changes: it goes, or its method is another one.
func (e *entry) replaced() bool {
	if e.want == nil {
		return true
	}
	return !e.want.Hold && e.Dest.Method != ipvs.Local && e.Dest.Method != ipvs.ParseMethod(string(e.want.Method))
}

// foreign says that somebody else sets the weight, even while it is lent.
func (e *entry) foreign() bool { return e.service.ForeignWeights }

// connections are those that a drain waits for. Of UDP, of a mark, which may
// carry it, every one counts; of TCP those that are closing do not.
func (e *entry) connections() int {
	n := e.Active + e.Persistent
	if e.Service.Protocol == "udp" || e.Service.Mark != 0 {
		n += e.Inactive
	}
	return n
}

func (e *entry) withdrawal(gone bool) inventory.Withdrawal {
	return inventory.Withdrawal{
		Addr: e.Service.Addr, Port: int(e.Service.Port), FWMark: e.Service.Mark, IPv6: e.Service.V6, Protocol: e.Service.Protocol,
		Server: e.Dest.Addr, ServerPort: int(e.Dest.Port), Gone: gone,
	}
}

// A place is a service on a director.
type place struct {
	dir *member
	key ipvs.Key
}

func (e *entry) place() place { return place{e.dir, e.Service} }

func (p place) String() string { return fmt.Sprintf("%s on %s", p.key, p.dir.host.Name) }

// A disturbance is what the live operations of a real server may break for
// the connections that it serves.
type disturbance struct{ plan.Disturbance }

// disturbanceOf reads it off the effects of a report.
func disturbanceOf(r agent.Report) disturbance {
	return disturbance{plan.DisturbanceOf(effects(r))}
}

// effects are those of all that a report finds to be done in runtime state.
func effects(r agent.Report) []step.Effect {
	var list []step.Effect
	for _, i := range r.Items {
		if i.Layer == agent.Live && !i.Change.Holds() {
			list = append(list, i.Change.Effects...)
		}
	}
	return list
}

func (d disturbance) any() bool { return d.Any() }

// hits says whether the clients of e may notice.
func (d disturbance) hits(e *entry) bool { return d.Hits(e.Service, e.vips(), e.Dest) }

// vips are those that the entry's clients ask for, as far as they are known.
func (e *entry) vips() []netip.Addr {
	switch {
	case e.service.FWMark != 0:
		return e.service.MarkVIPs
	case e.service.Addr.IsValid():
		return []netip.Addr{e.service.Addr}
	}
	return nil
}

// serves says whether somebody is served by the entry.
func (e *entry) serves() bool { return plan.Serves(e.Dest.Weight, e.connections()) }

// table reads the live table of a director.
func (m *member) table(ctx context.Context, services ...ipvs.Key) ([]agent.Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return nil, m.err
	}
	return m.session.Table(ctx, services...)
}

// readEntries reads what the director m serves now, as far as the inventory names it.
func (r *run) readEntries(ctx context.Context, m *member) error {
	if r.back != "" {
		return r.readAll(ctx, m)
	}
	type named struct {
		service *inventory.DirectedService
		real    map[ipvs.DestKey]*inventory.DirectedServer
	}
	services := map[ipvs.Key]named{}
	said := m.services()
	for i := range said {
		s := &said[i]
		n := named{s, make(map[ipvs.DestKey]*inventory.DirectedServer, len(s.Real))}
		for j := range s.Real {
			n.real[director.Destination(*s, s.Real[j]).DestKey] = &s.Real[j]
		}
		services[director.ServiceKey(*s)] = n
	}
	live, err := m.table(ctx)
	if err != nil {
		return fmt.Errorf("read the IPVS table of %s: %w", m.host.Name, err)
	}
	m.entries = nil
	g := goingOf(m.report, m.want)
	for _, l := range live {
		n, ok := services[l.Service]
		if !ok && !g.has(l) {
			continue
		}
		e := &entry{Entry: l, dir: m, service: n.service, want: n.real[l.Dest.DestKey], going: !ok}
		if !ok {
			e.service = formerService(l.Service)
		}
		if e.want != nil {
			e.host = e.want.Host
		} else {
			e.host = r.owners[l.Dest.Addr]
		}
		m.entries = append(m.entries, e)
	}
	return nil
}

// owners tells whose an address is.
func owners(site *inventory.Site, members []*member) map[netip.Addr]string {
	m := map[netip.Addr]string{}
	for _, h := range site.Hosts {
		for _, i := range h.Interfaces {
			for _, p := range i.Addresses {
				m[p.Addr()] = h.Name
			}
		}
	}
	for _, d := range members {
		if d.said.Director == nil {
			continue
		}
		for _, s := range d.said.Director.Services {
			for _, rs := range s.Real {
				m[rs.Addr] = rs.Host
			}
		}
	}
	return m
}

// directing lists the directors that take part.
func (r *run) directing() []*member {
	var list []*member
	for _, m := range r.members {
		if m.director() && m.err == nil && (m.takesPart() || m.reads) {
			list = append(list, m)
		}
	}
	return list
}

// touched lists, of the live entries of all directors, those that changing
// the host would break: by director, in the order of the table.
func (r *run) touched(m *member) []*entry {
	var list []*entry
	for _, d := range r.directing() {
		for _, e := range d.entries {
			if e.host == m.host.Name && !e.held() && m.disturbs.hits(e) {
				list = append(list, e)
			}
		}
	}
	return list
}

// disturbed lists the real servers that are still to change and that somebody
// is served by, by name.
func (r *run) disturbed() []*member {
	var list []*member
	for _, m := range r.changing() {
		if m.director() {
			continue
		}
		if slices.ContainsFunc(r.touched(m), (*entry).serves) {
			list = append(list, m)
		}
	}
	return list
}

// weights counts, for each service, the entries that take new connections.
type weights map[place]map[ipvs.DestKey]bool

func (w weights) set(p place, k ipvs.DestKey, positive bool) {
	if w[p] == nil {
		w[p] = map[ipvs.DestKey]bool{}
	}
	if positive {
		w[p][k] = true
	} else {
		delete(w[p], k)
	}
}

// serving are the entries of all directors with a weight above 0, but for
// those of real servers that are not whole, and of services that go.
func (r *run) serving() weights {
	w := weights{}
	for _, d := range r.directing() {
		for _, e := range d.entries {
			if e.Dest.Weight > 0 && !e.going && !r.broken.has(e.host) {
				w.set(e.place(), e.Dest.DestKey, true)
			}
		}
	}
	return w
}

// without says which services would have nobody left to serve if the entries
// were withdrawn.
func (w weights) without(entries []*entry) []place {
	left := map[place]int{}
	for _, e := range entries {
		if !w[e.place()][e.Dest.DestKey] {
			continue
		}
		if _, seen := left[e.place()]; !seen {
			left[e.place()] = len(w[e.place()])
		}
		left[e.place()]--
	}
	var out []place
	for p, n := range left {
		if n == 0 && !p.dir.target.goes(p.key) {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, byPlace)
	return out
}

func (w weights) clone() weights {
	c := weights{}
	for p, m := range w {
		c[p] = maps.Clone(m)
	}
	return c
}
