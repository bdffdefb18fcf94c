package drift

import (
	"net/netip"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
)

// servicesOf joins what a director's table has with what the inventory wants
// there. Services that the inventory does not name are left out.
func servicesOf(h *watched, table []agent.Entry, owners map[string]string) []Service {
	if h.want.Desired.Director == nil {
		return nil
	}
	found := map[ipvs.Key][]agent.Entry{}
	type place struct {
		key  ipvs.Key
		dest ipvs.DestKey
	}
	at := make(map[place]agent.Entry, len(table))
	for _, e := range table {
		found[e.Service] = append(found[e.Service], e)
		at[place{e.Service, e.Dest.DestKey}] = e
	}
	var list []Service
	for _, d := range h.want.Desired.Director.Services {
		k := tableKey(d)
		s := Service{Director: h.host.Name, Name: d.Name, Key: keyText(k)}
		wanted := map[ipvs.DestKey]bool{}
		for _, rs := range d.Real {
			dest := ipvs.DestKey{Addr: rs.Addr, Port: uint16(rs.Port)}
			wanted[dest] = true
			r := Real{Host: rs.Host, Address: rs.Addr.String(), Method: string(rs.Method), Weight: -1, Want: rs.Weight}
			if e, there := at[place{k, dest}]; there {
				r.count(e)
			}
			s.Real = append(s.Real, r)
		}
		for _, e := range found[k] {
			if !wanted[e.Dest.DestKey] {
				r := Real{Host: owners[e.Dest.Addr.String()], Address: e.Dest.Addr.String(), Method: e.Dest.Method.String(), Want: -1}
				r.count(e)
				s.Real = append(s.Real, r)
			}
		}
		list = append(list, s)
	}
	return list
}

func (r *Real) count(e agent.Entry) {
	r.Weight = e.Dest.Weight
	r.Active, r.Inactive, r.Persistent = e.Active, e.Inactive, e.Persistent
	r.Connections, r.InBytes, r.OutBytes = e.Counts.Connections, e.Counts.InBytes, e.Counts.OutBytes
}

// tableKey is the service's in the kernel's words.
func tableKey(d inventory.DirectedService) ipvs.Key {
	if d.FWMark != 0 {
		return ipvs.Key{Mark: d.FWMark, V6: d.IPv6}
	}
	return ipvs.Key{Protocol: d.Protocol, Addr: d.Addr, Port: uint16(d.Port)}
}

func keyText(k ipvs.Key) string {
	if k.Mark != 0 {
		return k.String()
	}
	return k.Protocol + " " + netip.AddrPortFrom(k.Addr, k.Port).String()
}
