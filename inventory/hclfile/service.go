package hclfile

import (
	"cmp"
	"math"
	"net/netip"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/lvsfleet/lvsfleet/inventory"
)

var (
	serviceSchema = schema([]string{
		"director", "pool", "address", "port", "ports", "fwmark", "family", "protocol", "scheduler",
		"scheduler_flags", "method", "weight", "persistence_timeout", "persistence_netmask", "one_packet",
		"tunnel_peer", "interface", "vip", "weights", "members", "addresses", "client_networks", "require_listener", "proof",
	}, map[string]string{"real_server": "host", "probe": ""})
	realSchema  = schema([]string{"weight", "port", "method", "address", "upper_threshold", "lower_threshold"}, nil)
	probeSchema = schema([]string{"send", "expect"}, nil)
)

func (d *decoder) readServices() []*inventory.VirtualService {
	var services []*inventory.VirtualService
	for _, bl := range d.services {
		if name, ok := d.oneLabel(bl, "virtual_service"); ok {
			b := d.body(d.content(bl.Body, bl.DefRange(), serviceSchema), d.root)
			services = append(services, d.service(b, name))
		}
	}
	return services
}

func (d *decoder) service(b *body, name string) *inventory.VirtualService {
	s := &inventory.VirtualService{
		Name: name, Director: b.str("director"), Pool: b.str("pool"), Address: b.vip(),
		Protocol: b.strDefault("protocol", "tcp"), Scheduler: b.strDefault("scheduler", "wlc"),
		SchedulerFlags: b.strs("scheduler_flags"), Method: inventory.Method(b.str("method")),
		Weight:             b.number("weight", 1, 0, 65535),
		PersistenceTimeout: b.number("persistence_timeout", 0, 0, maxSeconds),
		OnePacket:          b.on("one_packet", false), Interface: b.str("interface"),
		VIP: b.strDefault("vip", inventory.Managed), Weights: b.strDefault("weights", inventory.Managed),
		Members:         b.str("members"),
		RequireListener: b.on("require_listener", false), Proof: b.on("proof", true),
	}
	if n := b.integer("fwmark", 1, math.MaxUint32); n != nil {
		s.FWMark = uint32(*n)
	}
	one, many := b.integer("port", 0, 65535), b.ints("ports", 0, 65535)
	if a := b.Attributes["ports"]; a != nil && b.Attributes["port"] != nil {
		b.wrong(inventory.CodeExclusive, a.NameRange, "port and ports exclude each other: list all in ports.")
	} else if one != nil {
		s.Ports = []int{int(*one)}
	} else {
		s.Ports = many
	}
	for _, text := range b.strs("addresses") {
		if a := b.vipOf("addresses", text); a.IsValid() {
			s.Addresses = append(s.Addresses, a)
		}
	}
	if b.Attributes["addresses"] != nil && len(s.Addresses) == 0 && !b.bad {
		b.wrong(inventory.CodeMissing, b.Attributes["addresses"].NameRange, "addresses lists no VIP: write at least one, or leave it out.")
	}
	first := s.Address
	if vips := s.VIPs(); len(vips) > 0 {
		first = vips[0]
	}
	s.IPv6 = b.family(first)
	s.PersistenceNetmask = b.netmask(s.IPv6)
	if s.TunnelPeer = b.addr("tunnel_peer"); !s.TunnelPeer.IsValid() && b.Attributes["tunnel_peer"] == nil {
		s.TunnelPeer = inventory.DummyPeer(s.IPv6)
	}
	for _, text := range b.strs("client_networks") {
		p, why := parseNetwork(text)
		if why != "" {
			b.wrong(inventory.CodeAddress, b.Attributes["client_networks"].Expr.Range(), "%q in client_networks: %s", text, why)
			continue
		}
		s.ClientNetworks = append(s.ClientNetworks, p)
	}
	if bl := b.once("probe"); bl != nil {
		sub := d.body(d.content(bl.Body, bl.DefRange, probeSchema), b.ctx)
		s.Probe = &inventory.Probe{Send: sub.str("send"), Expect: sub.str("expect")}
		b.bad = b.bad || sub.bad
	}
	for _, bl := range b.blocks("real_server") {
		sub := d.body(d.content(bl.Body, bl.DefRange, realSchema), b.ctx)
		s.RealServers = append(s.RealServers, sub.realServer(bl.Labels[0]))
		b.bad = b.bad || sub.bad
	}
	slices.SortStableFunc(s.RealServers, func(x, y inventory.RealServer) int { return cmp.Compare(x.Host, y.Host) })
	s.Incomplete, s.Src = b.bad, b.src
	return s
}

// vip reads the address of a service, in which the length of one address is
// let pass.
func (b *body) vip() netip.Addr {
	s := b.str("address")
	if s == "" {
		b.empty("address")
		return netip.Addr{}
	}
	return b.vipOf("address", s)
}

// vipOf reads one VIP of the attribute.
func (b *body) vipOf(attr, s string) netip.Addr {
	at := b.Attributes[attr].Expr.Range()
	if p, err := netip.ParsePrefix(s); err == nil && unfit(p.Addr()) == "" {
		if !p.IsSingleIP() {
			b.wrong(inventory.CodeVIPLength, at, "%s names a network of the length %d, and the VIP is %s.", s, p.Bits(), p.Addr())
		}
		return p.Addr()
	}
	a, why := parseAddr(s)
	if why != "" {
		b.wrong(inventory.CodeAddress, at, "%q as the VIP: %s", s, why)
		return netip.Addr{}
	}
	return a
}

// family is IPv6 where the VIP or, without one, the attribute says so.
func (b *body) family(vip netip.Addr) bool {
	family := b.str("family")
	if family == "" {
		return vip.Is6()
	}
	at := b.Attributes["family"].Expr.Range()
	if family != "ipv4" && family != "ipv6" {
		b.wrong(inventory.CodeWord, at, "family is \"ipv4\" or \"ipv6\", not %q.", family)
	} else if vip.IsValid() && vip.Is6() != (family == "ipv6") {
		b.wrong(inventory.CodeExclusive, at, "The VIP %s is not %s. With an address, family need not be said.", vip, family)
	} else if b.Attributes["fwmark"] == nil && !vip.IsValid() && !b.bad {
		b.wrong(inventory.CodeExclusive, at, "family is said of a service by fwmark only: elsewhere the address says it.")
	}
	return family == "ipv6" || vip.Is6()
}

// netmask reads persistence_netmask, a mask or a length.
func (b *body) netmask(v6 bool) int {
	v, at, ok := b.value("persistence_netmask")
	if !ok {
		return 0
	}
	text := ""
	switch v.Type() {
	case cty.String:
		text = v.AsString()
	case cty.Number:
		text = v.AsBigFloat().Text('f', -1)
	default:
		b.wrong(inventory.CodeType, at, "persistence_netmask is a mask (\"255.255.255.0\") or a length (24).")
		return 0
	}
	full := 32
	if v6 {
		full = 128
	}
	length, ok := parseMask(text)
	if !ok || length < 1 || length > full {
		b.wrong(inventory.CodeRange, at, "persistence_netmask is a mask or a length from 1 to %d, not %q.", full, text)
		return 0
	}
	if length == full {
		return 0
	}
	return length
}

func (b *body) realServer(host string) inventory.RealServer {
	r := inventory.RealServer{
		Host: host, Method: inventory.Method(b.str("method")), Address: b.addr("address"), Src: b.src,
	}
	pointer := func(name string, hi int64) *int {
		if n := b.integer(name, 0, hi); n != nil {
			v := int(*n)
			return &v
		}
		return nil
	}
	r.Weight, r.Port = pointer("weight", 65535), pointer("port", 65535)
	if n := b.integer("upper_threshold", 0, math.MaxUint32); n != nil {
		r.UpperThreshold = uint32(*n)
	}
	if n := b.integer("lower_threshold", 0, math.MaxUint32); n != nil {
		r.LowerThreshold = uint32(*n)
	}
	return r
}

var (
	tunnelSchema = schema(nil, map[string]string{"end": "host"})
	endSchema    = schema([]string{"inside", "outside", "interface"}, nil)
)

func (d *decoder) readTunnels() []*inventory.Tunnel {
	var tunnels []*inventory.Tunnel
	for _, bl := range d.tunnels {
		name, ok := d.oneLabel(bl, "tunnel")
		if !ok {
			continue
		}
		b := d.body(d.content(bl.Body, bl.DefRange(), tunnelSchema), d.root)
		t := &inventory.Tunnel{Name: name, Src: b.src}
		ends := b.blocks("end")
		if len(ends) != 2 {
			b.wrong(inventory.CodeTunnelEnds, bl.DefRange(), "The tunnel %q does not have two blocks end \"HOST\" { inside = \"ADDRESS\" }, but %d.", name, len(ends))
		}
		for i, e := range ends[:min(2, len(ends))] {
			t.Ends[i] = d.end(b, e)
		}
		t.Incomplete = b.bad
		tunnels = append(tunnels, t)
	}
	return tunnels
}

func (d *decoder) end(b *body, e *hcl.Block) inventory.TunnelEnd {
	sub := d.body(d.content(e.Body, e.DefRange, endSchema), b.ctx)
	out := inventory.TunnelEnd{
		Host: e.Labels[0], Inside: sub.addr("inside"), Outside: sub.addr("outside"),
		Interface: sub.str("interface"), Src: sub.src,
	}
	if sub.Attributes["inside"] == nil {
		sub.wrong(inventory.CodeMissing, e.DefRange, "The end %q has no inside address: write inside = \"ADDRESS\".", out.Host)
	}
	b.bad = b.bad || sub.bad
	return out
}
