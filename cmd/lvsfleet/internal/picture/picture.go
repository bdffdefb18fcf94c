// Package picture draws a site: its clients, directors, virtual services and
// real servers, and by which method packets get from one to the other. The same
// site gives the same bytes. It is drawn as SVG, for a file or for a page, and
// told in DOT (graphviz) and Mermaid.
//
// Services that the same real servers serve by the same methods share a box, and
// so do the real servers of one operating system that serve the same services.
// So there is one line between two boxes, with one method, and the picture of a
// hundred real servers has hardly more lines than that of three.
package picture

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/lvsfleet/lvsfleet/inventory"
)

// A Picture is what there is to draw of one site, before it is laid out. It may
// be drawn by several goroutines at once.
type Picture struct {
	name     string
	clients  []string // their networks, if the inventory names some
	blocks   []*block // directors, then services, then real servers and others
	tunnels  []string
	methods  []inventory.Method // those in use
	hosts    int
	services int
}

// A kind is a column of the picture.
type kind int

const (
	directors kind = iota
	services
	servers
	others // hosts that neither direct nor serve
)

// A block is a box of hosts or services that are alike.
type block struct {
	kind     kind
	id       string // "directors1", for formats that need a name
	title    string
	os       inventory.OS // of servers and others
	hosts    []node
	services []item
	to       []edge
}

// A node is a host in a block.
type node struct {
	name    string
	system  string // "freebsd 5.4-RELEASE"
	address string
	role    string   // what else it is: "also a director"
	weights []weight // by service, of a real server
}

// A weight is that of a host in one service.
type weight struct {
	service string
	want    int
}

// An item is a virtual service in a block.
type item struct {
	name      string
	address   string // "tcp 192.0.2.1:80,443", "mark 7"
	scheduler string
	extra     []string // persistence and the like
}

// An edge leads to a block of the next column.
type edge struct {
	to     *block
	method inventory.Method // "" from a director to its services
}

// Entry names a real server's entry in a virtual service.
type Entry struct{ Service, Host string }

// A Status is how a host was found.
type Status struct {
	// State is "clean", "transient", "drifted", "unreachable", "failed" or "busy"; anything
	// else counts as "unknown".
	State string
	Text  string // for people: "2 steps differ since 10:40"
}

// New works out the picture of a site that Validate finds no error in.
func New(site *inventory.Site) *Picture {
	b := builder{site: site, desired: site.Desired(), p: &Picture{name: site.Name, hosts: len(site.Hosts), services: len(site.Services)}}
	b.gather()
	b.serve()
	b.direct()
	b.rest()
	b.finish()
	return b.p
}

// A builder makes the blocks of one Picture.
type builder struct {
	site    *inventory.Site
	desired map[string]inventory.Desired
	p       *Picture

	byRole  map[string][]*inventory.Host
	drawn   map[string]bool      // hosts that are in a block
	members map[string][]serving // what each host serves
	directs map[string][]*block  // the blocks of services of each director
}

// A serving is a host's part in one block of services.
type serving struct {
	block   *block
	method  inventory.Method
	weights []weight
}

// gather makes the blocks of services, each with the same director role and
// the same real servers by the same methods.
func (b *builder) gather() {
	b.byRole = map[string][]*inventory.Host{}
	for _, h := range b.site.Hosts {
		for _, r := range h.Roles {
			b.byRole[r] = append(b.byRole[r], h)
		}
	}
	b.drawn, b.members, b.directs = map[string]bool{}, map[string][]serving{}, map[string][]*block{}
	byKey := map[string]*block{}
	for _, v := range b.site.Services {
		real := b.real(v)
		key := []string{v.Director}
		for _, r := range real {
			key = append(key, r.Host+" "+string(r.Method))
		}
		slices.Sort(key[1:])
		k := strings.Join(key, "\n")
		of := byKey[k]
		if of == nil {
			of = &block{kind: services}
			byKey[k] = of
			b.p.blocks = append(b.p.blocks, of)
			for _, dir := range b.byRole[v.Director] {
				b.directs[dir.Name] = append(b.directs[dir.Name], of)
			}
			for _, r := range real {
				b.members[r.Host] = append(b.members[r.Host], serving{block: of, method: r.Method})
			}
		}
		of.services = append(of.services, describe(v))
		for _, r := range real {
			for i, s := range b.members[r.Host] {
				if s.block == of {
					b.members[r.Host][i].weights = append(s.weights, weight{v.Name, r.Weight})
				}
			}
		}
		for _, c := range v.ClientNetworks {
			if !slices.Contains(b.p.clients, c.String()) {
				b.p.clients = append(b.p.clients, c.String())
			}
		}
	}
}

// real are the real servers of v, each once however many ports there are.
func (b *builder) real(v *inventory.VirtualService) []inventory.DirectedServer {
	for _, dir := range b.byRole[v.Director] {
		d := b.desired[dir.Name].Director
		if d == nil {
			continue
		}
		for _, s := range d.Services {
			if s.Name == v.Name {
				seen := map[string]bool{}
				return slices.DeleteFunc(slices.Clone(s.Real), func(r inventory.DirectedServer) bool {
					twice := seen[r.Host]
					seen[r.Host] = true
					return twice
				})
			}
		}
	}
	return nil
}

func describe(v *inventory.VirtualService) item {
	i := item{name: v.Name, scheduler: cmp.Or(v.Scheduler, "wlc")}
	switch {
	case v.FWMark != 0 && len(v.VIPs()) > 0:
		i.address = fmt.Sprintf("mark %d, %s", v.FWMark, v.VIPs()[0])
		if more := len(v.VIPs()) - 1; more > 0 {
			i.address += fmt.Sprintf(" and %d more", more)
		}
	case v.FWMark != 0:
		i.address = fmt.Sprintf("mark %d", v.FWMark)
	default:
		ports := make([]string, len(v.Ports))
		for n, p := range v.Ports {
			ports[n] = strconv.Itoa(p)
			if p == 0 {
				ports[n] = "all ports"
			}
		}
		host := v.Address.String()
		if v.Address.Is6() {
			host = "[" + host + "]"
		}
		i.address = cmp.Or(v.Protocol, "tcp") + " " + host + ":" + strings.Join(ports, ",")
	}
	i.extra = append(i.extra, v.SchedulerFlags...)
	if v.PersistenceTimeout > 0 {
		i.extra = append(i.extra, fmt.Sprintf("persistent for %d s", v.PersistenceTimeout))
	}
	if v.OnePacket {
		i.extra = append(i.extra, "one packet")
	}
	if v.VIP == inventory.Foreign {
		i.extra = append(i.extra, "VIP foreign")
	}
	if v.Weights == inventory.Foreign {
		i.extra = append(i.extra, "weights foreign")
	}
	if v.ForeignMembers() != (v.Weights == inventory.Foreign) {
		i.extra = append(i.extra, "members "+v.Members)
	}
	return i
}

// serve makes the blocks of real servers, each of one system and one part in
// the services.
func (b *builder) serve() {
	byKey := map[string]*block{}
	for _, h := range b.site.Hosts {
		in := b.members[h.Name]
		if len(in) == 0 {
			continue
		}
		k := string(h.OS)
		for _, s := range in {
			k += fmt.Sprintf("\n%d %s", slices.Index(b.p.blocks, s.block), s.method)
		}
		of := byKey[k]
		if of == nil {
			of = &block{kind: servers, os: h.OS}
			byKey[k] = of
			b.p.blocks = append(b.p.blocks, of)
			for _, s := range in {
				s.block.to = append(s.block.to, edge{of, s.method})
				if !slices.Contains(b.p.methods, s.method) {
					b.p.methods = append(b.p.methods, s.method)
				}
			}
		}
		n := newNode(h)
		if len(b.directs[h.Name]) > 0 {
			n.role = "also a director"
		}
		for _, s := range in {
			n.weights = append(n.weights, s.weights...)
		}
		of.hosts = append(of.hosts, n)
		b.drawn[h.Name] = true
	}
}

func newNode(h *inventory.Host) node {
	return node{name: h.Name, system: strings.TrimSpace(string(h.OS) + " " + h.Release), address: h.Address}
}

// direct makes the blocks of directors, each of those that direct the same.
func (b *builder) direct() {
	byKey := map[string]*block{}
	for _, h := range b.site.Hosts {
		to := b.directs[h.Name]
		if len(to) == 0 {
			continue
		}
		k := ""
		for _, s := range to {
			k += fmt.Sprintf("%d ", slices.Index(b.p.blocks, s))
		}
		of := byKey[k]
		if of == nil {
			of = &block{kind: directors, os: h.OS}
			byKey[k] = of
			b.p.blocks = append(b.p.blocks, of)
			for _, s := range to {
				of.to = append(of.to, edge{to: s})
			}
		}
		n := newNode(h)
		if b.drawn[h.Name] {
			n.role = "also a real server"
		}
		of.hosts = append(of.hosts, n)
		b.drawn[h.Name] = true
	}
}

// rest makes the blocks of the hosts that are left, and tells of the tunnels.
func (b *builder) rest() {
	byOS := map[inventory.OS]*block{}
	for _, h := range b.site.Hosts {
		if b.drawn[h.Name] {
			continue
		}
		of := byOS[h.OS]
		if of == nil {
			of = &block{kind: others, os: h.OS}
			byOS[h.OS] = of
			b.p.blocks = append(b.p.blocks, of)
		}
		of.hosts = append(of.hosts, newNode(h))
	}
	for _, t := range b.site.Tunnels {
		a, z := t.Ends[0], t.Ends[1]
		b.p.tunnels = append(b.p.tunnels, fmt.Sprintf("%s: %s (%s) to %s (%s)", t.Name, a.Host, a.Inside, z.Host, z.Inside))
	}
	slices.Sort(b.p.tunnels)
}

// finish puts the blocks in order and names them.
func (b *builder) finish() {
	order := []inventory.OS{inventory.Linux, inventory.FreeBSD, inventory.Solaris}
	slices.SortStableFunc(b.p.blocks, func(x, y *block) int {
		if c := cmp.Compare(x.kind, y.kind); c != 0 || x.kind == services || x.kind == directors {
			return c
		}
		return cmp.Compare(slices.Index(order, x.os), slices.Index(order, y.os))
	})
	slices.Sort(b.p.clients)
	slices.SortFunc(b.p.methods, func(x, y inventory.Method) int {
		all := []inventory.Method{inventory.NAT, inventory.DR, inventory.TUN}
		return cmp.Compare(slices.Index(all, x), slices.Index(all, y))
	})
	numbers := map[kind]int{}
	place := map[*block]int{}
	for i, k := range b.p.blocks {
		numbers[k.kind]++
		place[k] = i
		k.id = []string{"directors", "services", "servers", "others"}[k.kind] + strconv.Itoa(numbers[k.kind])
		switch k.kind {
		case directors:
			k.title = plural(len(k.hosts), "Director")
		case services:
			k.title = plural(len(k.services), "Virtual service")
			slices.SortStableFunc(k.services, func(a, b item) int { return cmp.Compare(a.name, b.name) })
		case servers:
			k.title = osName(k.os) + " " + plural(len(k.hosts), "real server")
		case others:
			k.title = "Other " + osName(k.os) + " " + plural(len(k.hosts), "host")
		}
	}
	for _, k := range b.p.blocks {
		slices.SortStableFunc(k.to, func(x, y edge) int { return cmp.Compare(place[x.to], place[y.to]) })
	}
}

// plural is the noun for n of them.
func plural(n int, noun string) string {
	if n == 1 {
		return noun
	}
	return noun + "s"
}

func osName(os inventory.OS) string {
	switch os {
	case inventory.Linux:
		return "Linux"
	case inventory.FreeBSD:
		return "FreeBSD"
	case inventory.Solaris:
		return "Solaris"
	}
	return string(os)
}

// meaning is what a forwarding method does with the answers: the part of it
// that a line from left to right does not show.
func meaning(m inventory.Method) string {
	switch m {
	case inventory.NAT:
		return "rewritten; answers return through the director"
	case inventory.DR:
		return "same segment; answers go straight to the client"
	case inventory.TUN:
		return "wrapped in IP; answers go straight to the client"
	}
	return ""
}

func methodName(m inventory.Method) string { return strings.ToUpper(string(m)) }

// weightText says a host's weights in few words, and what share of the largest
// it has. live gives the weight that a director really has, if it is known.
func (n *node) weightText(live map[Entry]int) (text string, highest int) {
	if len(n.weights) == 0 {
		return "", 0
	}
	lowest := n.weights[0].want
	for _, w := range n.weights {
		have, known := live[Entry{w.service, n.name}]
		if known && have != w.want {
			switch {
			case have < 0:
				return fmt.Sprintf("no entry, wanted %d", w.want), 0
			default:
				return fmt.Sprintf("weight %d, wanted %d", have, w.want), have
			}
		}
		lowest, highest = min(lowest, w.want), max(highest, w.want)
	}
	switch {
	case highest == 0:
		return "weight 0: drained", 0
	case lowest == highest:
		return fmt.Sprintf("weight %d", highest), highest
	}
	return fmt.Sprintf("weights %d to %d", lowest, highest), highest
}

// Summary tells the site in a few sentences, for those who do not see it.
func (p *Picture) Summary() string {
	var s []string
	for _, b := range p.blocks {
		switch b.kind {
		case directors:
			s = append(s, fmt.Sprintf("%s %s: %s.", b.title, names(b.hosts), targets(b)))
		case services:
			var parts []string
			for _, e := range b.to {
				parts = append(parts, fmt.Sprintf("%s by %s", e.to.members(), methodName(e.method)))
			}
			if len(parts) > 0 {
				s = append(s, fmt.Sprintf("%s: served by %s.", b.members(), strings.Join(parts, "; ")))
			}
		case others:
			s = append(s, fmt.Sprintf("%s: %s.", b.title, names(b.hosts)))
		}
	}
	for _, t := range p.tunnels {
		s = append(s, "Tunnel "+t+".")
	}
	return strings.Join(s, " ")
}

func targets(b *block) string {
	n := 0
	for _, e := range b.to {
		n += len(e.to.services)
	}
	return fmt.Sprintf("%d virtual %s", n, plural(n, "service"))
}

// members names what is in a block, up to a few.
func (b *block) members() string {
	if b.kind != services {
		return b.title + " " + names(b.hosts)
	}
	var list []string
	for _, s := range b.services {
		list = append(list, s.name+" ("+s.address+", "+s.scheduler+")")
	}
	return b.title + " " + some(list)
}

func names(hosts []node) string {
	var list []string
	for _, h := range hosts {
		list = append(list, h.name)
	}
	return some(list)
}

// some joins the first few.
func some(list []string) string {
	const few = 6
	if len(list) <= few {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:few], ", "), len(list)-few)
}
