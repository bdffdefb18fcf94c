//go:build linux

package main

import (
	"embed"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/agent/lab/vm/fabric"
)

//go:embed sites
var sites embed.FS

// management begins every address of the management network.
const management = "10.99.0"

// A cluster is one of the reference clusters with what lies around it.
type cluster struct {
	name  string
	vip   string
	seg   string // the segment of the VIP
	lb    string // the director's card on it
	share map[string]int
	// direct says that answers do not pass the director.
	direct bool
	hosts  []fabric.Spec
	// controller has the cards and routes of the controller beside the
	// management network.
	controller fabric.Spec
}

// card makes a card of a host.
func card(dev, segment string, addrs ...string) fabric.Link {
	l := fabric.Link{Dev: dev, Segment: segment}
	for _, a := range addrs {
		l.Addrs = append(l.Addrs, netip.MustParsePrefix(a))
	}
	return l
}

// managed makes a host that lvsfleet manages, the last byte of its management
// address being n.
func managed(name, system, release string, n int, cards ...fabric.Link) fabric.Spec {
	m := card("mgmt0", "mgmt", fmt.Sprintf("%s.%d/24", management, n))
	m.Manage = system != "linux" // a Red Hat's scripts bring it up
	s := fabric.Spec{Name: name, OS: system, Release: release, Links: append(cards, m), Web: true, SSH: true}
	for i, l := range s.Links {
		s.Links[i].MAC = sim.MAC(l.Addrs[0].Addr(), i)
	}
	return s
}

func plain(name string, cards ...fabric.Link) fabric.Spec {
	return fabric.Spec{Name: name, Links: cards}
}

func router(name string, cards ...fabric.Link) fabric.Spec {
	return fabric.Spec{Name: name, Links: cards, Router: true}
}

func via(s fabric.Spec, dst, gateway string) fabric.Spec {
	s.Routes = append(s.Routes, fabric.Route{Dst: netip.MustParsePrefix(dst), Via: netip.MustParseAddr(gateway)})
	return s
}

// realServers are the three of the reference clusters.
func realServers(segment string) []fabric.Spec {
	return []fabric.Spec{
		managed("rs160", "linux", "", 160, card("eth0", segment, "192.168.0.160/24")),
		managed("rs170", "freebsd", "5.4-RELEASE", 170, card("lnc0", segment, "192.168.0.170/24")),
		managed("rs180", "solaris", "5.10", 180, card("pcn0", segment, "192.168.0.180/24")),
	}
}

func clusters() []cluster {
	return []cluster{
		{
			name: "nat", vip: "192.168.10.254", seg: "outside", lb: "eth0",
			share: map[string]int{"lb": 8, "rs160": 16, "rs170": 8, "rs180": 8},
			hosts: append(realServers("inside"),
				managed("lb", "linux", "", 254, card("eth0", "outside", "192.168.10.254/24"), card("eth1", "inside", "192.168.0.254/24")),
				plain("client", card("eth0", "outside", "192.168.10.77/24")),
			),
		},
		{
			name: "dr", vip: "192.168.0.200", seg: "lan", lb: "eth0", direct: true,
			share: map[string]int{"rs160": 10, "rs170": 20, "rs180": 10},
			hosts: append(realServers("lan"),
				managed("lb", "linux", "", 254, card("eth0", "lan", "192.168.0.254/24")),
				router("in", card("eth0", "world", "172.16.1.251/24"), card("eth1", "lan", "192.168.0.251/24")),
				router("out", card("eth0", "world", "172.16.1.252/24"), card("eth1", "lan", "192.168.0.252/24")),
				via(plain("client", card("eth0", "world", "172.16.1.77/24")), "192.168.0.0/24", "172.16.1.251"),
			),
		},
		{
			name: "tun", vip: "192.168.10.200", seg: "near", lb: "eth0", direct: true,
			share: map[string]int{"rs160": 10, "rs170": 20, "rs180": 10},
			hosts: append(realServers("far"),
				managed("lb", "linux", "", 254, card("eth0", "near", "192.168.10.100/24")),
				router("router", card("eth0", "near", "192.168.10.1/24"), card("eth1", "far", "192.168.0.1/24")),
				plain("client", card("eth0", "near", "192.168.10.77/24")),
			),
		},
	}
}

// build boots a cluster's hosts, with a controller and somebody who watches
// the segment of the VIP.
func (s *suite) build(c cluster) error {
	s.fabric.Clear()
	_ = os.Remove(faults)
	controller := plain("controller", append(c.controller.Links, card("mgmt0", "mgmt", management+".1/24"))...)
	controller.Routes = c.controller.Routes
	hosts := append([]fabric.Spec{controller, plain("watch", card("eth0", c.seg))}, c.hosts...)
	var names []string
	for _, h := range hosts {
		for _, l := range h.Links {
			if err := s.fabric.Segment(l.Segment); err != nil {
				return err
			}
		}
		if err := s.fabric.Add(h); err != nil {
			return err
		}
		names = append(names, h.Name)
	}
	if err := s.fabric.All(names, s.fabric.Boot); err != nil {
		return err
	}
	list, err := sites.ReadDir("sites")
	if err != nil {
		return err
	}
	for _, f := range list {
		text, err := sites.ReadFile("sites/" + f.Name())
		if err != nil {
			return err
		}
		if err := s.site(f.Name(), string(text)); err != nil {
			return err
		}
	}
	return nil
}

// site puts an inventory on the controller, as /root/NAME.
func (s *suite) site(name, text string) error {
	return os.WriteFile(filepath.Join(s.fabric.Dir, "controller/root", name), []byte(text), 0o600)
}

// servers are the hosts that lvsfleet manages.
func (c cluster) servers() (names []string) {
	for _, h := range c.hosts {
		if h.OS != "" {
			names = append(names, h.Name)
		}
	}
	return names
}

// mac is the Ethernet address of the director's card that has the VIP.
func (c cluster) mac() string {
	for _, h := range c.hosts {
		for _, l := range h.Links {
			if h.Name == "lb" && l.Dev == c.lb {
				return l.MAC
			}
		}
	}
	return ""
}
