package ipvsadm

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
)

// list prints the table, or one service of it: as rules (-S) or for people
// (-L). It gives the exit status.
func (p *program) list(m *sim.Machine, c *sim.Call, r request) int {
	services := ipvs.Sorted(m.Net.IPVS)
	one := r.service.Key != (ipvs.Key{})
	if r.verb == 'L' {
		if !one {
			version := "1.2.1"
			if p.v == V124 {
				version = "1.2.0"
			}
			c.Printf("IP Virtual Server version %s (size=4096)\n", version)
		}
		title(c, r.table)
	}
	found := false
	for _, s := range services {
		if one && s.Key != r.service.Key {
			continue
		}
		found = true
		if r.verb == 'S' {
			p.rules(c, s, r.has['n'])
		} else {
			p.entry(c, s, r)
		}
	}
	if one && !found {
		fmt.Fprintln(c.Stderr, "No such service")
		return 1
	}
	return 0
}

func title(c *sim.Call, table string) {
	switch table {
	case "stats":
		c.Printf("%-33s %8s %8s %8s %8s %8s\n  -> RemoteAddress:Port\n",
			"Prot LocalAddress:Port", "Conns", "InPkts", "OutPkts", "InBytes", "OutBytes")
	case "thresholds":
		c.Printf("%-33s %-10s %-10s %-10s %-10s\n  -> RemoteAddress:Port\n",
			"Prot LocalAddress:Port", "Uthreshold", "Lthreshold", "ActiveConn", "InActConn")
	case "persistent-conn":
		c.Printf("%-33s %-9s %-11s %-10s %-10s\n  -> RemoteAddress:Port\n",
			"Prot LocalAddress:Port", "Weight", "PersistConn", "ActiveConn", "InActConn")
	default:
		c.Printf("Prot LocalAddress:Port Scheduler Flags\n" +
			"  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n")
	}
}

// endpoint prints an address with its port, which has a name without -n.
func endpoint(a netip.Addr, port uint16, numeric bool) string {
	name := portNames[port]
	if numeric || name == "" {
		name = strconv.Itoa(int(port))
	}
	if a.Is6() {
		return "[" + a.String() + "]:" + name
	}
	return a.String() + ":" + name
}

// mask prints the persistence netmask where it is not the full one.
func mask(s ipvs.Service, word string) string {
	switch {
	case s.Netmask == 0:
		return ""
	case s.Key.IPv6():
		if s.Netmask == 128 {
			return ""
		}
		return word + strconv.Itoa(s.Netmask)
	}
	bits := s.OddMask
	if s.Netmask > 0 {
		if s.Netmask >= 32 {
			return ""
		}
		bits = ^uint32(0) << (32 - s.Netmask)
	}
	return word + netip.AddrFrom4([4]byte{byte(bits >> 24), byte(bits >> 16), byte(bits >> 8), byte(bits)}).String()
}

// flags are the names of the scheduler's flags, "" none.
func flags(s ipvs.Service) string {
	var list []string
	for i, f := range []ipvs.Flags{ipvs.Sched1, ipvs.Sched2, ipvs.Sched3} {
		if s.Flags&f == 0 {
			continue
		}
		switch {
		case s.Scheduler == "sh" && i < 2, s.Scheduler == "mh" && i < 2:
			list = append(list, s.Scheduler+[]string{"-fallback", "-port"}[i])
		default:
			list = append(list, "flag-"+strconv.Itoa(i+1))
		}
	}
	return strings.Join(list, ",")
}

// rules prints a service as -S does: without the thresholds, and with
// "--tun-type ipip" from 1.31 on.
func (p *program) rules(c *sim.Call, s ipvs.Service, numeric bool) {
	name := ""
	switch {
	case s.Key.Mark != 0 && s.Key.V6:
		name = fmt.Sprintf("-f %d -6", s.Key.Mark)
	case s.Key.Mark != 0:
		name = fmt.Sprintf("-f %d", s.Key.Mark)
	default:
		opt := map[string]string{"tcp": "-t", "udp": "-u", "sctp": "--sctp-service"}[s.Key.Protocol]
		name = opt + " " + endpoint(s.Key.Addr, s.Key.Port, numeric)
	}
	line := "-A " + name + " -s " + s.Scheduler
	if f := flags(s); f != "" {
		line += " -b " + f
	}
	if s.Flags&ipvs.Persistent != 0 {
		line += fmt.Sprintf(" -p %d%s", s.Timeout, mask(s, " -M "))
	}
	if s.Engine != "" {
		line += " --pe " + s.Engine
	}
	if s.Flags&ipvs.OnePacket != 0 {
		line += " -o"
	}
	c.Printf("%s\n", line)
	for _, d := range s.Dests {
		method, tail := "-g", ""
		switch d.Method {
		case ipvs.NAT:
			method = "-m"
		case ipvs.TUN:
			method = "-i"
			if p.v >= V131 {
				tail = " --tun-type ipip"
			}
		}
		c.Printf("-a %s -r %s %s -w %d%s\n", name, endpoint(d.Addr, d.Port, numeric), method, d.Weight, tail)
	}
}

// largeNumbers prints counts as --exact does; nobody counts packets here.
func largeNumbers(n ipvs.Counts) string {
	return fmt.Sprintf(" %8d %8d %8d %8d %8d", n.Connections, 0, 0, n.InBytes, n.OutBytes)
}

// entry prints a service as -L does.
func (p *program) entry(c *sim.Call, s ipvs.Service, r request) {
	numeric := r.has['n']
	name := ""
	switch {
	case s.Key.Mark != 0 && s.Key.V6:
		name = fmt.Sprintf("FWM  %d IPv6", s.Key.Mark)
	case s.Key.Mark != 0:
		name = fmt.Sprintf("FWM  %d", s.Key.Mark)
	default:
		name = fmt.Sprintf("%-4s %s", strings.ToUpper(s.Key.Protocol), endpoint(s.Key.Addr, s.Key.Port, numeric))
	}
	if r.table == "stats" {
		var sum ipvs.Counts
		for _, d := range s.Dests {
			n := d.Counted()
			sum.Connections += n.Connections
			sum.InBytes += n.InBytes
			sum.OutBytes += n.OutBytes
		}
		c.Printf("%-33s%s\n", name, largeNumbers(sum))
		for _, d := range s.Dests {
			c.Printf("  -> %-28s%s\n", endpoint(d.Addr, d.Port, numeric), largeNumbers(d.Counted()))
		}
		return
	}
	line := name + " " + s.Scheduler
	if f := flags(s); f != "" {
		line += " (" + f + ")"
	}
	if s.Flags&ipvs.Persistent != 0 {
		line += fmt.Sprintf(" persistent %d%s", s.Timeout, mask(s, " mask "))
	}
	if s.Engine != "" {
		line += " pe " + s.Engine
	}
	if s.Flags&ipvs.OnePacket != 0 {
		line += " ops"
	}
	c.Printf("%s\n", line)
	for _, d := range s.Dests {
		at := endpoint(d.Addr, d.Port, numeric)
		switch r.table {
		case "thresholds":
			c.Printf("  -> %-28s %-10d %-10d %-10d %-10d\n", at, d.Upper, d.Lower, d.Active, d.Inactive)
		case "persistent-conn":
			c.Printf("  -> %-28s %-9d %-11d %-10d %-10d\n", at, d.Weight, d.Persistent, d.Active, d.Inactive)
		default:
			how := map[ipvs.Method]string{ipvs.NAT: "Masq", ipvs.DR: "Route", ipvs.TUN: "Tunnel", ipvs.Local: "Local"}[d.Method]
			c.Printf("  -> %-28s %-7s %-6d %-10d %-10d\n", at, how, d.Weight, d.Active, d.Inactive)
		}
	}
}
