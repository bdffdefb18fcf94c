package linux

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
)

func (p *ipCall) link(args []string) error {
	do, args := verb(args)
	switch do {
	case "show":
		return p.linkShow(args)
	case "set":
		return p.linkSet(args)
	case "add":
		return p.linkAdd(args)
	case "del", "delete":
		return p.linkDel(args)
	}
	return errRefused
}

func (p *ipCall) linkShow(args []string) error {
	dev, up := "", false
	w := words{args}
	for {
		word, ok := w.next()
		if !ok {
			break
		}
		switch word {
		case "dev":
			var err error
			if dev, err = w.value(); err != nil {
				return err
			}
		case "up":
			up = true
		default:
			if dev != "" || strings.HasPrefix(word, "-") {
				return errRefused
			}
			dev = word
		}
	}
	if dev != "" {
		if _, err := p.shown(dev); err != nil {
			return err
		}
	}
	for _, l := range p.k.Links {
		if dev != "" && l.Name != dev || up && !l.Up {
			continue
		}
		lines := []string{p.linkLine(l, true), linkLayer(l)}
		if p.details && p.k.era > fc5 {
			if l.Kind == sim.IPTunnel {
				lines = append(lines, fmt.Sprintf("    ipip remote %s local %s ttl inherit nopmtudisc ", anyOr(l.Remote), anyOr(l.Local)))
			} else {
				lines[1] += " promiscuity 0 "
			}
		}
		p.record(lines...)
	}
	return nil
}

func anyOr(a netip.Addr) string {
	if !a.IsValid() {
		return "any"
	}
	return a.String()
}

// linkLine is the first line of a link. The state is shown since 2008, the
// group since 3.3, LOWER_UP since 2.6.17.
func (p *ipCall) linkLine(l *sim.Link, mode bool) string {
	e := p.k.era
	name := l.Name
	flags := []string{"BROADCAST", "MULTICAST"}
	qdisc, state, qlen := "pfifo_fast", "UP", true
	if e >= current {
		qdisc = "fq_codel"
	}
	switch l.Kind {
	case sim.Loopback:
		flags, qdisc, state, qlen = []string{"LOOPBACK"}, "noqueue", "UNKNOWN", e >= el7
	case sim.IPTunnel:
		flags, qdisc, state, qlen = []string{"NOARP"}, "noqueue", "UNKNOWN", e >= el7
		if l.Remote.IsValid() {
			flags = []string{"POINTOPOINT", "NOARP"}
		}
		if e > fc5 {
			name += "@NONE"
		}
	}
	if l.Up {
		flags = append(flags, "UP")
		if e > fc5 {
			flags = append(flags, "LOWER_UP")
		}
	} else {
		qdisc, state = "noop", "DOWN"
	}
	s := fmt.Sprintf("%d: %s: <%s> mtu %d qdisc %s ", l.Index, name, strings.Join(flags, ","), l.MTU, qdisc)
	if e > fc5 {
		s += "state " + state + " "
	}
	if e >= el7 {
		if mode {
			s += "mode DEFAULT "
		}
		s += "group default "
	}
	if qlen {
		s += "qlen 1000"
	}
	return s
}

func linkLayer(l *sim.Link) string {
	switch l.Kind {
	case sim.Loopback:
		return "    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00"
	case sim.IPTunnel:
		end := func(a netip.Addr) string {
			if !a.IsValid() {
				return "0.0.0.0"
			}
			return a.String()
		}
		if l.Remote.IsValid() {
			return "    link/ipip " + end(l.Local) + " peer " + end(l.Remote)
		}
		return "    link/ipip " + end(l.Local) + " brd " + end(l.Remote)
	}
	return "    link/ether " + l.MAC + " brd ff:ff:ff:ff:ff:ff"
}

func (p *ipCall) linkSet(args []string) error {
	var l *sim.Link
	var do []func()
	w := words{args}
	for {
		word, ok := w.next()
		if !ok {
			break
		}
		switch word {
		case "up":
			do = append(do, func() { p.k.setUp(l) })
		case "down":
			do = append(do, func() { p.k.setDown(l) })
		case "mtu":
			v, err := w.value()
			if err != nil {
				return err
			}
			n, err := strconv.Atoi(v)
			if err != nil || n < 68 || n > 65536 {
				return usage(1, `Error: argument "%s" is wrong: Invalid "mtu" value`, v)
			}
			do = append(do, func() { l.MTU = n })
		default:
			if word == "dev" {
				var err error
				if word, err = w.value(); err != nil {
					return err
				}
			}
			if l != nil {
				return errRefused
			}
			var err error
			if l, err = p.device(word); err != nil {
				return err
			}
		}
	}
	if l == nil {
		return usage(255, `Not enough information: "dev" argument is required.`)
	}
	for _, f := range do {
		f()
	}
	return nil
}

// linkAdd makes an IP-in-IP device.
func (p *ipCall) linkAdd(args []string) error {
	w := words{args}
	var t tunnelArgs
	kind := ""
	for {
		word, ok := w.next()
		if !ok {
			break
		}
		switch word {
		case "type":
			v, err := w.value()
			if err != nil {
				return err
			}
			kind = v
		case "name", "dev":
			v, err := w.value()
			if err != nil {
				return err
			}
			t.name = v
		default:
			if err := p.tunnelWord(&t, word, &w); err != nil {
				return err
			}
		}
	}
	if kind != "ipip" || t.name == "" || p.k.era < el7 {
		return errRefused
	}
	return p.k.addTunnel(t.name, t.local, t.remote)
}

func (p *ipCall) linkDel(args []string) error {
	if len(args) == 2 && args[0] == "dev" {
		args = args[1:]
	}
	if len(args) != 1 {
		return errRefused
	}
	l, err := p.device(args[0])
	if err != nil {
		return err
	}
	if l.Kind != sim.IPTunnel || l.Name == "tunl0" {
		return &kernelError{errno: "Operation not supported"}
	}
	p.k.delLink(l.Name)
	return nil
}

// tunnelArgs are what names an IP-in-IP device.
type tunnelArgs struct {
	name          string
	local, remote netip.Addr
}

func (p *ipCall) tunnelWord(t *tunnelArgs, word string, w *words) error {
	end := func(to *netip.Addr) error {
		v, err := w.value()
		if err != nil {
			return err
		}
		if v == "any" {
			*to = netip.Addr{}
			return nil
		}
		a, err := p.address(v)
		*to = a
		return err
	}
	switch word {
	case "local":
		return end(&t.local)
	case "remote":
		return end(&t.remote)
	case "mode":
		v, err := w.value()
		if err == nil && v != "ipip" && v != "ip/ip" {
			return errRefused
		}
		return err
	case "name":
		v, err := w.value()
		t.name = v
		return err
	}
	if t.name != "" {
		return errRefused
	}
	t.name = word
	return nil
}

// tunnel is ip-tunnel(8) for mode ipip.
func (p *ipCall) tunnel(args []string) error {
	do, args := verb(args)
	var t tunnelArgs
	w := words{args}
	for {
		word, ok := w.next()
		if !ok {
			break
		}
		if err := p.tunnelWord(&t, word, &w); err != nil {
			return err
		}
	}
	switch do {
	case "show":
		gap := " "
		if p.k.era < current {
			gap = "  "
		}
		found := t.name == ""
		for _, l := range p.k.Links {
			if l.Kind != sim.IPTunnel || t.name != "" && l.Name != t.name {
				continue
			}
			found = true
			mode, disc := "ip/ip", ""
			if l.Name == "tunl0" {
				disc = gap + "nopmtudisc"
				if p.k.era >= current {
					mode = "any/ip"
				}
			}
			p.c.Printf("%s: %s%sremote %s%slocal %s%sttl inherit%s\n", l.Name, mode, gap, anyOr(l.Remote), gap, anyOr(l.Local), gap, disc)
		}
		if !found {
			return usage(1, `get tunnel "%s" failed: No such device`, t.name)
		}
		return nil
	case "add":
		if t.name == "" {
			return errRefused
		}
		if err := p.k.addTunnel(t.name, t.local, t.remote); err != nil {
			return usage(1, `add tunnel "tunl0" failed: %v`, err)
		}
		return nil
	case "del", "delete":
		l := p.k.Link(t.name)
		switch {
		case l == nil || l.Kind != sim.IPTunnel:
			return usage(1, `delete tunnel "%s" failed: No such device`, t.name)
		case l.Name == "tunl0": // ipip_tunnel_ioctl: the fallback device stays
			return usage(1, `delete tunnel "%s" failed: Operation not permitted`, t.name)
		}
		p.k.delLink(l.Name)
		return nil
	}
	return errRefused
}
