package sim

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/lvsfleet/lvsfleet/providers/ipvs"
	"github.com/lvsfleet/lvsfleet/providers/verify"
)

// A Carrier is a Wire that carries connections.
type Carrier interface {
	// Carry brings p from m to whoever takes it, and the answer back to m.
	// m's lock is not held.
	Carry(m *Machine, p Packet) verify.Answer
}

// A Packet is the first of a connection, as it leaves a machine.
type Packet struct {
	Protocol string
	From     netip.Addr     // the connection's own ends; zero: as the machine chooses
	To       netip.AddrPort //
	Expect   string
	// Via is the real server that IPVS sends it to, by Method; "" none has
	// touched it.
	Via    ipvs.DestKey
	Method ipvs.Method
}

// Dial connects from m, as its kernel would: through IPVS, whose services of
// marks come first (ip_vs_service_find in ip_vs_ctl.c), or straight.
func (m *Machine) Dial(ctx context.Context, d verify.Dial) (verify.Answer, error) {
	if err := ctx.Err(); err != nil {
		return verify.Answer{}, err
	}
	if err := m.watch(Access{Op: "dial", Path: d.To.String()}); err != nil {
		return verify.Answer{}, err
	}
	p := Packet{Protocol: d.Protocol, From: d.From, To: d.To, Expect: d.Expect}
	var err error
	var here *verify.Answer
	deaf := false
	m.Locked(func() {
		if d.From.IsValid() && m.Net.Holder(d.From) == nil {
			err = fmt.Errorf("bind to %s: cannot assign requested address", d.From)
			return
		}
		own := m.Net.Holder(d.To.Addr()) != nil
		s := m.service(d)
		switch {
		case s == nil && own:
			a := m.Answer(d.Protocol, int(d.To.Port()), d.Expect)
			here = &a
			return
		case s == nil:
			return
		}
		at := slices.IndexFunc(s.Dests, func(t ipvs.Destination) bool { return t.Weight > 0 })
		if at < 0 {
			here = &verify.Answer{Kind: verify.Refused} // ip_vs_leave: ICMP port unreachable
			return
		}
		p.Via, p.Method = s.Dests[at].DestKey, s.Dests[at].Method
		// An answer from an address of its own is a martian, but with NAT
		// IPVS turns it before it is looked at.
		deaf = own && p.Method != ipvs.NAT && d.To.Addr().Is4() && !m.acceptsLocal(d.From)
	})
	if err != nil {
		return verify.Answer{}, err
	}
	if here != nil {
		return *here, nil
	}
	carrier, ok := m.Wire.(Carrier)
	if !ok {
		return verify.Answer{Kind: verify.Silent}, nil
	}
	a := carrier.Carry(m, p)
	if deaf && a.Kind != verify.Unreachable {
		a = verify.Answer{Kind: verify.Silent}
	}
	return a, nil
}

// service finds that of IPVS that takes the connection; nil none.
func (m *Machine) service(d verify.Dial) *ipvs.Service {
	keys := []ipvs.Key{
		{Mark: d.Mark, V6: d.To.Addr().Is6()},
		{Protocol: d.Protocol, Addr: d.To.Addr(), Port: d.To.Port()},
	}
	if d.Mark == 0 {
		keys = keys[1:]
	}
	for _, k := range keys {
		for i := range m.Net.IPVS {
			if m.Net.IPVS[i].Key == k {
				return &m.Net.IPVS[i]
			}
		}
	}
	return nil
}

// acceptsLocal says whether an answer to addr may come from an address of the
// machine's own: accept_local of all or of the device (ip-sysctl.rst).
func (m *Machine) acceptsLocal(addr netip.Addr) bool {
	l := m.Net.Holder(addr)
	if l == nil {
		return false
	}
	return m.Net.Sysctls["net.ipv4.conf.all.accept_local"] == "1" || m.Net.Sysctls["net.ipv4.conf."+l.Name+".accept_local"] == "1"
}

// Answer is what a client of one of the machine's addresses gets. The lock is
// held.
func (m *Machine) Answer(protocol string, port int, expect string) verify.Answer {
	for _, l := range m.Listeners {
		if l.Protocol != protocol || l.Port != port {
			continue
		}
		if expect != "" && l.Says != expect {
			return verify.Answer{Kind: verify.Wrong, Text: fmt.Sprintf("%q", l.Says)}
		}
		return verify.Answer{Kind: verify.Accepted}
	}
	return verify.Answer{Kind: verify.Refused}
}

// Dial connects from the machine.
func (v *view) Dial(ctx context.Context, d verify.Dial) (a verify.Answer, err error) {
	err = v.alive(func() (err error) { a, err = v.m.Dial(ctx, d); return })
	return a, err
}
