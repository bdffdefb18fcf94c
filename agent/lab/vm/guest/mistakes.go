//go:build linux

package main

import (
	"fmt"
	"strings"
	"time"
)

// A mistake is something that goes wrong on LVS sites, made on purpose.
type mistake struct {
	name string
	host string
	// argv makes it, on the host; on a stand-in it is one command line.
	argv []string
	// diff are words that lvsfleet's diff must have.
	diff []string
	// answers says that the wrong machine answers ARP meanwhile.
	answers bool
}

func mistakes(c cluster) []mistake {
	on := func(line string) []string { return []string{"/bin/standin-sh", "-c", line} }
	ip := func(words string) []string { return strings.Fields("ip " + words) }
	weightless := mistake{
		name: "weight 0", host: "lb", diff: []string{"ipvs", "-w 0"},
		argv: strings.Fields("ipvsadm -e -t " + c.vip + ":80 -r 192.168.0.170:80 -w 0 " + map[string]string{"nat": "-m", "dr": "-g", "tun": "-i"}[c.name]),
	}
	switch c.name {
	case "nat":
		return []mistake{
			{name: "wrong gateway on a Linux real server", host: "rs160", argv: ip("route replace default via 192.168.0.1"), diff: []string{"route:default", "192.168.0.1", "192.168.0.254"}},
			{name: "wrong gateway on a FreeBSD real server", host: "rs170", argv: on("route change default 192.168.0.1"), diff: []string{"route:default", "192.168.0.254"}},
			{name: "no gateway on a Solaris real server", host: "rs180", argv: on("route delete default 192.168.0.254"), diff: []string{"route:default", "192.168.0.254"}},
			{name: "ip_forward off", host: "lb", argv: []string{"sysctl", "-q", "-w", "net.ipv4.ip_forward=0"}, diff: []string{"net.ipv4.ip_forward"}},
			weightless,
		}
	case "dr":
		return []mistake{
			{name: "no silence in ARP", host: "rs160", argv: []string{"sysctl", "-q", "-w", "net.ipv4.conf.all.arp_ignore=0", "net.ipv4.conf.eth0.arp_ignore=0"}, diff: []string{"arp_ignore"}, answers: true},
			{name: "no VIP on a Linux real server", host: "rs160", argv: ip("addr del 192.168.0.200/32 dev lo"), diff: []string{"192.168.0.200"}},
			{name: "no VIP on a FreeBSD real server", host: "rs170", argv: on("ifconfig lo0 inet 192.168.0.200 -alias"), diff: []string{"192.168.0.200"}},
			{name: "no VIP on a Solaris real server", host: "rs180", argv: on("ifconfig lo0:1 unplumb"), diff: []string{"192.168.0.200"}},
			weightless,
		}
	}
	return []mistake{
		{name: "strict reverse path on the tunnel", host: "rs160", argv: []string{"sysctl", "-q", "-w", "net.ipv4.conf.tunl0.rp_filter=1"}, diff: []string{"tunl0.rp_filter"}},
		{name: "tunnel with a wrong far end on FreeBSD", host: "rs170", argv: on("ifconfig gif0 tunnel 192.168.0.170 192.168.10.9"), diff: []string{"gif"}},
		{name: "tunnel with a wrong far end on Solaris", host: "rs180", argv: on("ifconfig ip.tun0 tdst 192.168.10.9"), diff: []string{"ip.tun"}},
		{name: "no VIP on the tunnel", host: "rs160", argv: ip("addr del 192.168.10.200/32 dev tunl0"), diff: []string{"192.168.10.200"}},
		weightless,
	}
}

// mistaken makes each mistake, has it found and mended.
func (s *suite) mistaken(c cluster, name func(string) string) {
	site := "/root/" + c.name + ".hcl"
	for _, m := range mistakes(c) {
		s.check(name("mistake: "+m.name), func() error {
			if out, err := s.fabric.Run(m.host, m.argv...); err != nil {
				return fmt.Errorf("make it: %w\n%s", err, out)
			}
			if err := s.harm(c, m); err != nil {
				return err
			}
			out, err := s.exits(2, "diff", site)
			if err != nil {
				return err
			}
			for _, word := range append(m.diff, m.host) {
				if !strings.Contains(out, word) {
					return fmt.Errorf("diff does not say %q:\n%s", word, out)
				}
			}
			if out, err := s.exits(0, "converge", site); err != nil {
				return fmt.Errorf("%w\n%s", err, out)
			}
			if err := s.alone(c); err != nil {
				return err
			}
			return s.shares(c)
		})
	}
}

// harm makes sure that the mistake does harm: what does none proves nothing.
func (s *suite) harm(c cluster, m mistake) error {
	if m.answers {
		macs, err := s.answering(c)
		if err == nil && len(macs) < 2 {
			err = fmt.Errorf("%s is answered for by %v alone: the mistake does no harm", c.vip, macs)
		}
		return err
	}
	if err := s.sharesWithin(c, time.Second); err == nil {
		return fmt.Errorf("the mistake does no harm")
	}
	return nil
}
