package importer

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
)

// Inventory writes what was found as an inventory in HCL. missing is what must
// be filled in before it is valid, notes what was left out of it and why; both
// stand in it as comments too.
func (f *Found) Inventory(o Options) (text []byte, missing, notes []string) {
	w := &writer{found: f, o: o, pools: map[string]string{}, hosts: map[netip.Addr]*host{}, alike: map[string]int{}, notes: slices.Clone(f.Notes), names: map[string]bool{}}
	w.collect()
	w.write()
	return hclwrite.Format([]byte(w.b.String())), w.missing, w.notes
}

// A writer makes one inventory.
type writer struct {
	found   *Found
	o       Options
	pools   map[string]string // the role of each set of real servers
	order   []string          // roles, in the order of their making
	hosts   map[netip.Addr]*host
	alike   map[string]int  // the plan of each service, but for its port
	names   map[string]bool // of services that are taken
	plans   []plan
	missing []string
	notes   []string
	b       strings.Builder
}

type host struct {
	name  string
	addr  netip.Addr
	roles []string
}

// A plan is one virtual_service block: a service, and the further ports that it
// stands for.
type plan struct {
	Service
	name  string
	pool  string
	ports []int
}

const directorName = "director"

// collect finds hosts, pools and blocks.
func (w *writer) collect() {
	for _, s := range w.found.Services {
		s.Dests = w.sift(s)
		if len(s.Dests) == 0 {
			w.note("%s is left out: it has no real server", s.Key)
			continue
		}
		if w.joins(s) {
			continue
		}
		p := plan{Service: s, ports: []int{int(s.Key.Port)}}
		var set []string
		for _, d := range s.Dests {
			if !w.own(d.Addr) {
				set = append(set, d.Addr.String())
			}
		}
		slices.Sort(set)
		p.pool = w.pool(set)
		for _, d := range s.Dests {
			if !w.own(d.Addr) {
				w.host(d.Addr, p.pool)
			}
		}
		w.plans = append(w.plans, p)
	}
	for i := range w.plans {
		w.plans[i].name = w.name(w.plans[i])
	}
}

func (w *writer) note(format string, args ...any) {
	w.notes = append(w.notes, fmt.Sprintf(format, args...))
}

// own says that a is an address of the director.
func (w *writer) own(a netip.Addr) bool {
	return slices.ContainsFunc(w.o.Director, func(p netip.Prefix) bool { return p.Addr() == a })
}

// sift leaves out the real servers that an inventory cannot name.
func (w *writer) sift(s Service) []ipvs.Destination {
	var out []ipvs.Destination
	seen := map[netip.Addr]ipvs.Destination{}
	for _, d := range s.Dests {
		switch {
		case d.Addr.IsLoopback() || d.Addr.IsUnspecified() || d.Addr == s.Key.Addr && !w.own(d.Addr):
			w.note("%s: the real server %s is left out: it is the director itself: add real_server %q {} if it shall serve", s.Key, d.DestKey, directorName)
		case seen[d.Addr].Addr.IsValid() && (d.Method != ipvs.NAT || seen[d.Addr].Method != ipvs.NAT):
			w.note("%s: the real server %s is left out: only by NAT is a host in a service several times, so the table that follows from this inventory differs", s.Key, d.DestKey)
		default:
			seen[d.Addr] = d
			if d.Weight > 65535 {
				w.note("%s: the weight %d of %s is made 65535", s.Key, d.Weight, d.DestKey)
				d.Weight = 65535
			}
			if d.Tunnel != ipvs.IPIP {
				w.note("%s: the tunnel type %s of %s is left out: an inventory has plain IP-in-IP tunnels", s.Key, d.Tunnel, d.DestKey)
				d.Tunnel, d.TunnelPort, d.TunnelFlags = ipvs.IPIP, 0, 0
			}
			if d.Method == ipvs.Local {
				d.Method = ipvs.DR
			}
			out = append(out, d)
		}
	}
	slices.SortFunc(out, func(a, b ipvs.Destination) int { return a.DestKey.Compare(b.DestKey) })
	return out
}

// joins adds a service to a block that says the same but for the port, which
// every real server of both has as well.
func (w *writer) joins(s Service) bool {
	if s.Key.Mark != 0 || s.Key.Port == 0 || !samePorts(s) {
		return false
	}
	key := neutral(s)
	i, there := w.alike[key]
	if !there {
		w.alike[key] = len(w.plans)
		return false
	}
	p := &w.plans[i]
	p.ports = append(p.ports, int(s.Key.Port))
	slices.Sort(p.ports)
	return true
}

func samePorts(s Service) bool {
	return !slices.ContainsFunc(s.Dests, func(d ipvs.Destination) bool { return d.Port != s.Key.Port })
}

// neutral is all that the service says but for its port.
func neutral(s Service) string {
	s.Key.Port = 0
	s.Dests = slices.Clone(s.Dests)
	for i := range s.Dests {
		s.Dests[i].Port = 0
	}
	return fmt.Sprintf("%+v", s)
}

// pool is the role of a set of real servers.
func (w *writer) pool(set []string) string {
	if len(set) == 0 {
		return directorName // it serves alone
	}
	key := strings.Join(set, " ")
	if r, ok := w.pools[key]; ok {
		return r
	}
	r := "pool" + strconv.Itoa(len(w.pools)+1)
	w.pools[key] = r
	w.order = append(w.order, r)
	return r
}

func (w *writer) host(a netip.Addr, role string) {
	h := w.hosts[a]
	if h == nil {
		h = &host{name: plainName(a), addr: a}
		w.hosts[a] = h
	}
	if !slices.Contains(h.roles, role) {
		h.roles = append(h.roles, role)
	}
}

// plainName is an address as a name of the inventory.
func plainName(a netip.Addr) string {
	if a.Is4() {
		return a.String()
	}
	return "v6-" + strings.ReplaceAll(a.String(), ":", "-")
}

// name is that of a block; the file's own is kept where it can be one.
func (w *writer) name(p plan) string {
	base := p.Name
	if !isName(base) {
		switch {
		case p.Key.Mark != 0:
			base = fmt.Sprintf("mark-%d", p.Key.Mark)
		case len(p.ports) == 1 && p.ports[0] != 0:
			base = fmt.Sprintf("%s-%s-%d", p.Key.Protocol, plainName(p.Key.Addr), p.ports[0])
		default:
			base = p.Key.Protocol + "-" + plainName(p.Key.Addr)
		}
	}
	name := base
	for n := 2; w.names[name]; n++ {
		name = fmt.Sprintf("%s-%d", base, n)
	}
	w.names[name] = true
	return name
}

func isName(s string) bool {
	for i, c := range []byte(s) {
		alnum := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !alnum && (i == 0 || c != '.' && c != '_' && c != '-') {
			return false
		}
	}
	return s != "" && len(s) <= 200
}

// line writes one line.
func (w *writer) line(format string, args ...any) {
	fmt.Fprintf(&w.b, format+"\n", args...)
}

// quote makes a string of HCL.
func quote(s string) string {
	return string(hclwrite.TokensForValue(cty.StringVal(s)).Bytes())
}

// comment makes text of a file fit for a comment.
func comment(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\u0085' || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
}

func (w *writer) write() {
	w.line("# From the %s in %s.", w.found.Form, comment(w.o.Source))
	w.line("# What that does not say is assumed, and marked so: systems, devices, lengths of")
	w.line("# networks. Correct it, then see what `lvsfleet validate` and `lvsfleet diff` say.")
	if len(w.o.Director) == 0 {
		w.missing = append(w.missing, "the director's address (--director ADDRESS/LENGTH)")
	}
	for _, m := range w.missing {
		w.line("# Missing: %s.", m)
	}
	for _, n := range w.notes {
		w.line("# Note: %s", comment(n))
	}
	w.line("\nrole %s {}", quote(directorName))
	for _, r := range w.order {
		w.line("role %s {}", quote(r))
	}
	w.director()
	var list []*host
	for _, h := range w.hosts {
		list = append(list, h)
	}
	slices.SortFunc(list, func(a, b *host) int { return a.addr.Compare(b.addr) })
	for _, h := range list {
		w.server(h)
	}
	for _, p := range w.plans {
		w.service(p)
	}
}

func (w *writer) director() {
	w.line("\nhost %s {", quote(directorName))
	w.line("os = \"linux\"")
	w.line("roles = [%s]", quote(directorName))
	if len(w.o.Director) == 0 {
		w.line("# address = \"ADDRESS\"")
		w.line("# interface \"eth0\" { address = \"ADDRESS/LENGTH\" }")
	} else {
		w.line("address = %s", quote(w.o.Director[0].Addr().String()))
		for i, p := range w.o.Director {
			w.line("interface \"eth%d\" { address = %s } # assumed: the device", i, quote(p.String()))
		}
	}
	w.line("}")
}

// device is the first network card as each system is likely to call it.
func device(os inventory.OS) string {
	if s, ok := providers.Lookup(os); ok {
		return s.Card
	}
	return "eth0"
}

func (w *writer) server(h *host) {
	os, said := w.o.OSOf[h.addr]
	mark := ""
	if !said {
		os, mark = cmp.Or(w.o.OS, inventory.Linux), " # assumed"
	}
	w.line("\nhost %s {", quote(h.name))
	w.line("os = %s%s", quote(string(os)), mark)
	var roles []string
	for _, r := range h.roles {
		roles = append(roles, quote(r))
	}
	w.line("roles = [%s]", strings.Join(roles, ", "))
	w.line("address = %s", quote(h.addr.String()))
	w.line("interface %s { address = %s } # assumed: device and length", quote(device(os)), quote(w.network(h.addr).String()))
	w.line("}")
}

// network gives a real server the length of the director's network that it is
// in, else a usual one.
func (w *writer) network(a netip.Addr) netip.Prefix {
	for _, p := range w.o.Director {
		if p.Contains(a) {
			return netip.PrefixFrom(a, p.Bits())
		}
	}
	if a.Is4() {
		return netip.PrefixFrom(a, 24)
	}
	return netip.PrefixFrom(a, 64)
}

func (w *writer) service(p plan) {
	method := commonest(p.Dests, func(d ipvs.Destination) ipvs.Method { return d.Method })
	weight := 0
	// Who is drained is an exception, however many they are.
	if in := slices.DeleteFunc(slices.Clone(p.Dests), func(d ipvs.Destination) bool { return d.Weight == 0 }); len(in) > 0 {
		weight = commonest(in, func(d ipvs.Destination) int { return d.Weight })
	}
	w.line("\nvirtual_service %s {", quote(p.name))
	w.line("director = %s", quote(directorName))
	w.line("pool = %s", quote(p.pool))
	switch {
	case p.Key.Mark != 0:
		w.line("fwmark = %d", p.Key.Mark)
		if p.Key.V6 {
			w.line("family = \"ipv6\"")
		}
	default:
		w.line("address = %s", quote(p.Key.Addr.String()))
		if len(p.ports) == 1 {
			w.line("port = %d", p.ports[0])
		} else {
			w.line("ports = %s", strings.Join(strings.Fields(fmt.Sprint(p.ports)), ", "))
		}
		w.line("protocol = %s", quote(p.Key.Protocol))
	}
	w.line("scheduler = %s", quote(p.Scheduler))
	if flags := w.flags(p); flags != "" {
		w.line("scheduler_flags = [%s]", flags)
	}
	w.line("method = %s", quote(method.String()))
	w.line("weight = %d", weight)
	if p.Flags&ipvs.Persistent != 0 {
		w.line("persistence_timeout = %d", p.Timeout)
		switch {
		case p.Netmask > 0:
			w.line("persistence_netmask = %d", p.Netmask)
		case p.Netmask < 0:
			w.line("# persistence_netmask: %#x is none that an inventory can say", p.OddMask)
		}
	}
	if p.Engine != "" {
		w.line("# persistence engine %s: an inventory has none", comment(p.Engine))
	}
	if p.Flags&ipvs.OnePacket != 0 {
		w.line("one_packet = true")
	}
	if w.found.ForeignVIP && p.Key.Mark == 0 {
		w.line("vip = \"foreign\" # keepalived's VRRP has it")
	}
	if p.ForeignWeights {
		w.line("weights = \"foreign\" # a health checker's: so are the members")
	}
	for _, d := range p.Dests {
		w.real(p, d, method, weight)
	}
	w.line("}")
}

// flags are the scheduler's, as the inventory has them.
func (w *writer) flags(p plan) string {
	var list []string
	for i, f := range []ipvs.Flags{ipvs.Sched1, ipvs.Sched2, ipvs.Sched3} {
		if p.Flags&f == 0 {
			continue
		}
		if (p.Scheduler == "sh" || p.Scheduler == "mh") && i < 2 {
			list = append(list, quote(p.Scheduler+[]string{"-fallback", "-port"}[i]))
		} else {
			w.line("# scheduler flag %d: an inventory has no name for it with %s", i+1, comment(p.Scheduler))
		}
	}
	return strings.Join(list, ", ")
}

// real writes what one real server has for itself, if anything.
func (w *writer) real(p plan, d ipvs.Destination, method ipvs.Method, weight int) {
	var own []string
	put := func(name, value string) { own = append(own, name+" = "+value) }
	if d.Weight != weight {
		put("weight", strconv.Itoa(d.Weight))
	}
	several := 0
	for _, o := range p.Dests {
		if o.Addr == d.Addr {
			several++
		}
	}
	if d.Port != p.Key.Port && p.Key.Mark == 0 || several > 1 {
		put("port", strconv.Itoa(int(d.Port)))
	}
	if d.Method != method {
		put("method", quote(d.Method.String()))
	}
	if d.Upper != 0 {
		put("upper_threshold", strconv.FormatUint(uint64(d.Upper), 10))
	}
	if d.Lower != 0 {
		put("lower_threshold", strconv.FormatUint(uint64(d.Lower), 10))
	}
	name := plainName(d.Addr)
	if w.own(d.Addr) {
		name = directorName
		if d.Addr != w.o.Director[0].Addr() {
			put("address", quote(d.Addr.String()))
		}
	}
	switch {
	case len(own) > 1:
		w.line("real_server %s {\n%s\n}", quote(name), strings.Join(own, "\n"))
	case len(own) == 1:
		w.line("real_server %s { %s }", quote(name), own[0])
	case name == directorName:
		w.line("real_server %s {}", quote(name))
	}
}

// commonest is the value that most of them have, of several the first.
func commonest[T comparable](dests []ipvs.Destination, of func(ipvs.Destination) T) T {
	n := map[T]int{}
	var best T
	for _, d := range dests {
		n[of(d)]++
	}
	for _, d := range dests {
		if v := of(d); n[v] > n[best] {
			best = v
		}
	}
	return best
}
