package step

import (
	"net/netip"
	"slices"
)

// An Effect is something that the runtime operations of a change disturb or
// provide for clients. A run drains for effects, a ledger keeps them, and
// drift classifies by them: a step's ID only names it.
type Effect struct {
	Kind EffectKind `json:"kind"`
	Act  Act        `json:"act"`
	// Addr is what it is about, as far as that is known: of VIP the address;
	// of DefaultRoute the gateway, or the unspecified address of its family;
	// of Forwarding the unspecified address of its family; of Tunnel the far
	// outer end, the zero Addr of one that takes packets from anywhere. The
	// other kinds have none.
	Addr netip.Addr `json:"addr,omitzero"`
}

// An EffectKind is what clients depend on.
type EffectKind string

// The kinds of effect. Support is what a change has that no client notices by
// itself: a kernel module, a reverse path setting, a redirect that is not sent.
// It comes and goes with an effect of another kind.
const (
	VIP            EffectKind = "vip"
	Tunnel         EffectKind = "tunnel"
	DefaultRoute   EffectKind = "default_route"
	Forwarding     EffectKind = "forwarding"
	ARPSuppression EffectKind = "arp_suppression"
	IPVSTable      EffectKind = "ipvs_table"
	Support        EffectKind = "support"
)

// An Act is what becomes of it.
type Act string

// Gains: it is not there before and is afterwards. Loses: the opposite.
// Alters: it is there before and after, and is another one, or is away for a
// moment: whoever relies on what it was before may lose that.
const (
	Gains  Act = "gains"
	Loses  Act = "loses"
	Alters Act = "alters"
)

// Gain is the effect of what comes; addr may be the zero Addr, here and below.
func Gain(k EffectKind, addr netip.Addr) Effect { return Effect{Kind: k, Act: Gains, Addr: addr} }

// Lose is the effect of what goes.
func Lose(k EffectKind, addr netip.Addr) Effect { return Effect{Kind: k, Act: Loses, Addr: addr} }

// Alter is the effect of what stays and is another.
func Alter(k EffectKind, addr netip.Addr) Effect { return Effect{Kind: k, Act: Alters, Addr: addr} }

// Toward is the effect of a change between two states of which "" is "not
// there" (Change.Was and Want).
func Toward(was, want string, k EffectKind, addr netip.Addr) Effect {
	switch {
	case was == "":
		return Gain(k, addr)
	case want == "":
		return Lose(k, addr)
	}
	return Alter(k, addr)
}

// Switched is the effect of a change of a kernel setting of which "0" is off.
func Switched(was, want string, k EffectKind, addr netip.Addr) Effect {
	off := func(v string) string {
		if v == "0" {
			return ""
		}
		return v
	}
	return Toward(off(was), off(want), k, addr)
}

// Rerouted are the effects of default routes by the gateways old that give way
// to one by gw. An old one that has no gateway is the unspecified address.
func Rerouted(old []netip.Addr, gw netip.Addr) []Effect {
	var list []Effect
	for _, o := range old {
		if !o.IsValid() {
			o = Unspecified(gw.Is6())
		}
		if o != gw {
			list = append(list, Lose(DefaultRoute, o))
		}
	}
	if !slices.Contains(old, gw) {
		list = append(list, Gain(DefaultRoute, gw))
	}
	return list
}

// Unspecified is the address that stands for a whole family.
func Unspecified(v6 bool) netip.Addr {
	if v6 {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

// Mirror is the effect of the change that takes back one with e.
func (e Effect) Mirror() Effect {
	switch e.Act {
	case Gains:
		e.Act = Loses
	case Loses:
		e.Act = Gains
	case Alters:
	}
	return e
}

func mirrored(list []Effect) []Effect {
	var out []Effect
	for _, e := range list {
		out = append(out, e.Mirror())
	}
	return out
}

// both are the effects of two changes that follow each other, as one.
func both(first, second []Effect) []Effect {
	out := slices.Clone(first)
	for _, e := range second {
		i := slices.IndexFunc(out, func(o Effect) bool { return o.Kind == e.Kind && o.Addr == e.Addr })
		switch {
		case i < 0:
			out = append(out, e)
		case out[i].Act == Gains && e.Act == Loses:
			out = slices.Delete(out, i, i+1) // it was there in between only
		case out[i].Act == Gains:
		case out[i].Act == Loses, e.Act == Alters:
			out[i].Act = Alters
		default:
			out[i].Act = e.Act
		}
	}
	if len(out) == 0 && len(first) > 0 {
		return []Effect{Alter(first[0].Kind, first[0].Addr)} // something is still done
	}
	return out
}

// Affects says whether the change has an effect of the kind.
func (c Change) Affects(k EffectKind) bool {
	return slices.ContainsFunc(c.Effects, func(e Effect) bool { return e.Kind == k })
}

// Has says whether the change has the effect of that kind and act on addr.
func (c Change) Has(e Effect) bool { return slices.Contains(c.Effects, e) }
