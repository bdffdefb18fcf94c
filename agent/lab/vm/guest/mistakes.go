//go:build linux

package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A mistake is something that goes wrong on LVS sites, made on purpose.
type mistake struct {
	name string
	host string
	// argv makes it, on the host; on a stand-in it is one command line.
	argv []string
	// diff are words that lvsfleet's diff must have in the host's part.
	diff []string
	// silent is who serves nobody then; "" means that the host answers ARP
	// for the VIP beside the director.
	silent string
}

// mistakes are made together, in rounds, each on a host of its own.
func mistakes(c cluster) [][]mistake {
	on := func(line string) []string { return []string{"/bin/standin-sh", "-c", line} }
	words := strings.Fields
	flag := map[string]string{"nat": "-m", "dr": "-g", "tun": "-i"}[c.name]
	weightless := mistake{
		name: "weight 0", host: "lb", silent: "rs170", diff: []string{"ipvs", "-w 0"},
		argv: words("ipvsadm -e -t " + c.vip + ":80 -r 192.168.0.170:80 -w 0 " + flag),
	}
	switch c.name {
	case "nat":
		return [][]mistake{
			{
				{name: "wrong gateway on a Linux real server", host: "rs160", silent: "rs160",
					argv: words("ip route replace default via 192.168.0.1"), diff: []string{"live route:default", "192.168.0.1", "192.168.0.254"}},
				{name: "wrong gateway on a FreeBSD real server", host: "rs170", silent: "rs170",
					argv: on("route change default 192.168.0.1"), diff: []string{"live route:default", "192.168.0.254"}},
				{name: "no gateway on a Solaris real server", host: "rs180", silent: "rs180",
					argv: on("route delete default 192.168.0.254"), diff: []string{"live route:default", "192.168.0.254"}},
				weightless,
			},
			{{name: "ip_forward off", host: "lb", silent: "rs180",
				argv: words("sysctl -q -w net.ipv4.ip_forward=0"), diff: []string{"live sysctl:net.ipv4.ip_forward"}}},
		}
	case "dr":
		return [][]mistake{
			{
				{name: "no silence in ARP", host: "rs160",
					argv: words("sysctl -q -w net.ipv4.conf.all.arp_ignore=0 net.ipv4.conf.eth0.arp_ignore=0"), diff: []string{"live sysctl:net.ipv4.conf.all.arp_ignore"}},
				{name: "no VIP on a FreeBSD real server", host: "rs170", silent: "rs170",
					argv: on("ifconfig lo0 inet 192.168.0.200 -alias"), diff: []string{"live ", "192.168.0.200"}},
				{name: "no VIP on a Solaris real server", host: "rs180", silent: "rs180",
					argv: on("ifconfig lo0:1 unplumb"), diff: []string{"live ", "192.168.0.200"}},
			},
			{
				{name: "no VIP on a Linux real server", host: "rs160", silent: "rs160",
					argv: words("ip addr del 192.168.0.200/32 dev lo"), diff: []string{"live address:192.168.0.200"}},
				weightless,
			},
		}
	}
	return [][]mistake{
		{
			{name: "strict reverse path on the tunnel", host: "rs160", silent: "rs160",
				argv: words("sysctl -q -w net.ipv4.conf.tunl0.rp_filter=1"), diff: []string{"live sysctl:net.ipv4.conf.tunl0.rp_filter"}},
			{name: "tunnel with a wrong far end on FreeBSD", host: "rs170", silent: "rs170",
				argv: on("ifconfig gif0 tunnel 192.168.0.170 192.168.10.9"), diff: []string{"live gif", "192.168.10.100"}},
			{name: "tunnel with a wrong far end on Solaris", host: "rs180", silent: "rs180",
				argv: on("ifconfig ip.tun0 tdst 192.168.10.9"), diff: []string{"live ", "192.168.10.100"}},
		},
		{
			{name: "no VIP on the tunnel", host: "rs160", silent: "rs160",
				argv: words("ip addr del 192.168.10.200/32 dev tunl0"), diff: []string{"live address:192.168.10.200"}},
			weightless,
		},
	}
}

// mistaken makes each mistake, has it found, and all of a round mended.
func (s *suite) mistaken(c cluster, name func(string) string) {
	site := "/root/" + c.name + ".hcl"
	for i, round := range mistakes(c) {
		for _, m := range round {
			s.check(name("mistake: "+m.name+" does harm"), func() error {
				if out, err := s.fabric.Run(m.host, m.argv...); err != nil {
					return fmt.Errorf("make it: %w\n%s", err, out)
				}
				return s.harm(c, m)
			})
		}
		out, err := s.exits(2, "diff", site)
		for _, m := range round {
			s.check(name("mistake: "+m.name+" is found"), func() error {
				if err != nil {
					return err
				}
				part := ofHost(out, m.host)
				for _, word := range m.diff {
					if !strings.Contains(part, word) {
						return fmt.Errorf("diff does not say %q of %s:\n%s", word, m.host, out)
					}
				}
				return nil
			})
		}
		s.check(name(fmt.Sprintf("converge mends the mistakes of round %d", i+1)), func() error {
			if out, err := s.exits(0, "converge", site); err != nil {
				return fmt.Errorf("%w\n%s", err, out)
			}
			if c.name == "dr" {
				// A router may have learned the wrong answer, and would ask
				// again within the minute.
				if _, err := s.fabric.Run("in", "ip", "neigh", "flush", "all"); err != nil {
					return err
				}
			}
			if err := s.alone(c); err != nil {
				return err
			}
			return s.shares(c)
		})
	}
}

// ofHost is a host's part of what diff printed: its name at the beginning of a
// line, and what is indented below it.
func ofHost(out, host string) string {
	var b strings.Builder
	in := false
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, " ") {
			in = strings.HasPrefix(line, host+" ")
		}
		if in {
			b.WriteString(line)
		}
	}
	return b.String()
}

// harm makes sure that the mistake does harm: what does none proves nothing.
func (s *suite) harm(c cluster, m mistake) error {
	if m.silent == "" {
		macs, err := s.answering(c)
		if err == nil && len(macs) < 2 {
			err = fmt.Errorf("%s is answered for by %v alone", c.vip, macs)
		}
		return err
	}
	var served []string
	for range 8 { // more than a round of the scheduler
		if who, _, err := s.fetch(c.vip+":80", "/", 400*time.Millisecond); err == nil {
			served = append(served, who)
		}
	}
	if slices.Contains(served, m.silent) {
		return fmt.Errorf("%s serves all the same: %v", m.silent, served)
	}
	return nil
}
