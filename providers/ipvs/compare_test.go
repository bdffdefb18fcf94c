package ipvs_test

import (
	"net/netip"
	"reflect"
	"testing"

	"github.com/lvsfleet/lvsfleet/providers/ipvs"
)

// Every part of a service and of a real server counts: two that differ in one of
// them alone are one edit. A field that is new must be entered here.
func TestEveryPartIsCompared(t *testing.T) {
	service := func() ipvs.Service {
		return ipvs.Service{
			Key:       ipvs.Key{Protocol: "tcp", Addr: netip.MustParseAddr("192.0.2.1"), Port: 53},
			Scheduler: "wlc", Flags: ipvs.Persistent, Timeout: 300, Netmask: 24, Engine: "sip",
			Dests: []ipvs.Destination{{
				DestKey: ipvs.DestKey{Addr: netip.MustParseAddr("10.0.0.1"), Port: 53}, Weight: 1, Method: ipvs.TUN,
				Tunnel: ipvs.GUE, TunnelPort: 6080, TunnelFlags: ipvs.TunnelCsum, Upper: 10, Lower: 5,
			}},
		}
	}
	parts := map[string]func(*ipvs.Service){
		"Service.Scheduler":       func(s *ipvs.Service) { s.Scheduler = "rr" },
		"Service.Flags":           func(s *ipvs.Service) { s.Flags |= ipvs.OnePacket },
		"Service.Timeout":         func(s *ipvs.Service) { s.Timeout = 301 },
		"Service.Netmask":         func(s *ipvs.Service) { s.Netmask = 25 },
		"Service.OddMask":         func(s *ipvs.Service) { s.Netmask, s.OddMask = -1, 0xff00ff },
		"Service.Engine":          func(s *ipvs.Service) { s.Engine = "" },
		"Destination.Weight":      func(s *ipvs.Service) { s.Dests[0].Weight = 2 },
		"Destination.Upper":       func(s *ipvs.Service) { s.Dests[0].Upper = 11 },
		"Destination.Lower":       func(s *ipvs.Service) { s.Dests[0].Lower = 6 },
		"Destination.Method":      func(s *ipvs.Service) { s.Dests[0].Method = ipvs.DR },
		"Destination.Tunnel":      func(s *ipvs.Service) { s.Dests[0].Tunnel = ipvs.GRE },
		"Destination.TunnelPort":  func(s *ipvs.Service) { s.Dests[0].TunnelPort = 6081 },
		"Destination.TunnelFlags": func(s *ipvs.Service) { s.Dests[0].TunnelFlags = 0 },
	}
	for name, change := range parts {
		other := service()
		change(&other)
		for _, pair := range [][2]ipvs.Service{{service(), other}, {other, service()}} {
			edits, foreign := ipvs.Diff(pair[:1], []ipvs.Want{{Service: pair[1]}})
			if len(edits) != 1 || len(foreign) != 0 {
				t.Errorf("%s: %d edits, %d foreign, want one edit", name, len(edits), len(foreign))
			}
		}
	}
	edits, _ := ipvs.Diff([]ipvs.Service{service()}, []ipvs.Want{{Service: service()}})
	if len(edits) != 0 {
		t.Errorf("nothing differs: %v", edits)
	}
	// What is read along says nothing of the rules, and keys have a test of
	// their own.
	for _, apart := range []string{"Service.Key", "Service.Dests", "Destination.DestKey", "Destination.Active", "Destination.Inactive", "Destination.Persistent", "Destination.Counts"} {
		parts[apart] = nil
	}
	for _, typ := range []reflect.Type{reflect.TypeFor[ipvs.Service](), reflect.TypeFor[ipvs.Destination]()} {
		for i := range typ.NumField() {
			if _, ok := parts[typ.Name()+"."+typ.Field(i).Name]; !ok {
				t.Errorf("nothing is known of %s.%s", typ.Name(), typ.Field(i).Name)
			}
		}
	}
}

// No two services are one: each is told from every other, whatever they have in
// common.
func TestEveryKeyIsItsOwn(t *testing.T) {
	var keys []ipvs.Key
	for _, addr := range []string{"192.0.2.1", "192.0.2.2", "2001:db8::1", "::ffff:192.0.2.1"} {
		for _, protocol := range []string{"tcp", "udp", "sctp"} {
			for _, port := range []uint16{0, 53, 80} {
				keys = append(keys, ipvs.Key{Protocol: protocol, Addr: netip.MustParseAddr(addr), Port: port})
			}
		}
	}
	for _, mark := range []uint32{1, 53, 0xffffffff} {
		keys = append(keys, ipvs.Key{Mark: mark}, ipvs.Key{Mark: mark, V6: true})
	}
	for i, a := range keys {
		for k, b := range keys {
			edits, foreign := ipvs.Diff(
				[]ipvs.Service{{Key: a, Scheduler: "rr"}},
				[]ipvs.Want{{Service: ipvs.Service{Key: b, Scheduler: "rr"}}})
			if same := i == k; same && len(edits)+len(foreign) != 0 || !same && (len(edits) != 1 || edits[0].Verb != ipvs.AddService || len(foreign) != 1) {
				t.Errorf("%s there, %s wanted: %d edits, %d foreign", a, b, len(edits), len(foreign))
			}
			if (a.Compare(b) == 0) != (i == k) || a.Compare(b) != -b.Compare(a) {
				t.Errorf("%s and %s compare as %d and %d", a, b, a.Compare(b), b.Compare(a))
			}
		}
	}
}
