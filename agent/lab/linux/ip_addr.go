package linux

import (
	"fmt"
	"net/netip"
	gopath "path"
	"strings"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
)

func (p *ipCall) addr(args []string) error {
	do, args := verb(args)
	switch do {
	case "show":
		return p.addrShow(args)
	case "add", "a":
		return p.addrEdit(args, func(dev string, a sim.Addr, _ bool) error { return p.k.addAddr(dev, a, false) })
	case "replace", "change", "chg":
		return p.addrEdit(args, func(dev string, a sim.Addr, _ bool) error { return p.k.addAddr(dev, a, true) })
	case "del", "delete", "d":
		return p.addrEdit(args, p.addrDel)
	case "flush":
		return p.addrFlush(args)
	}
	return errRefused
}

func (p *ipCall) addrDel(dev string, a sim.Addr, hasLen bool) error {
	bare := !hasLen && a.Prefix.Addr().Is4() && !a.Peer.IsValid()
	err := p.k.delAddr(dev, a.Prefix, a.Peer, bare)
	if err == nil && bare && p.k.era > fc5 {
		fmt.Fprintf(p.c.Stderr, "Warning: Executing wildcard deletion to stay compatible with old scripts.\n"+
			"         Explicitly specify the prefix length (%s/32) to avoid this warning.\n"+
			"         This special behaviour is likely to disappear in further releases,\n"+
			"         fix your scripts!\n", a.Prefix.Addr())
	}
	return err
}

// addrEdit parses the arguments of add, replace and del.
func (p *ipCall) addrEdit(args []string, do func(dev string, a sim.Addr, hasLen bool) error) error {
	var a sim.Addr
	var dev, brd string
	hasLen := false
	w := words{args}
	for {
		word, ok := w.next()
		if !ok {
			break
		}
		var v string
		var err error
		switch word {
		case "dev", "label", "brd", "broadcast", "peer", "scope", "local", "valid_lft", "preferred_lft":
			if v, err = w.value(); err != nil {
				return err
			}
		}
		switch word {
		case "dev":
			dev = v
		case "label":
			a.Label = v
		case "brd", "broadcast":
			brd = v
		case "peer":
			pre, withLen, err := p.prefix(v)
			if err != nil {
				return err
			}
			a.Peer = pre.Addr()
			if withLen {
				hasLen = true
				a.Prefix = netip.PrefixFrom(a.Prefix.Addr(), pre.Bits())
			}
		case "scope":
			if v != "global" && v != "host" && v != "link" {
				return errRefused
			}
			a.Scope = v
		case "valid_lft", "preferred_lft":
			if v != "forever" {
				return errRefused
			}
		case "nodad", "noprefixroute":
			if word == "noprefixroute" {
				return errRefused
			}
		default:
			if word == "local" {
				word = v
			}
			if a.Prefix.IsValid() {
				return usage(255, `Error: either "local" is duplicate, or "%s" is a garbage.`, word)
			}
			pre, withLen, err := p.prefix(word)
			if err != nil {
				return err
			}
			a.Prefix, hasLen = pre, hasLen || withLen
		}
	}
	if dev == "" {
		return usage(1, `Not enough information: "dev" argument is required.`)
	}
	if !a.Prefix.IsValid() {
		return errRefused
	}
	if p.k.era < current && a.Label != "" && !strings.HasPrefix(a.Label, dev) {
		return usage(1, `"dev" (%s) must match "label" (%s).`, dev, a.Label)
	}
	if len(a.Label) > 15 { // IFNAMSIZ with its zero
		return &kernelError{"Numerical result out of range", "Attribute failed policy validation."}
	}
	switch {
	case brd == "+" && a.Prefix.Addr().Is4():
		a.Brd = last(a.Prefix)
	case brd == "" || brd == "-":
	default:
		b, err := p.address(brd)
		if err != nil {
			return err
		}
		a.Brd = b
	}
	if _, err := p.device(dev); err != nil {
		return err
	}
	return do(dev, a, hasLen)
}

// An addrFilter is what a listing or a flush selects.
type addrFilter struct {
	dev, label, scope string
	to                netip.Prefix
	up                bool
	rank              string // "primary", "secondary"
}

func (p *ipCall) addrFilter(args []string) (addrFilter, error) {
	var f addrFilter
	w := words{args}
	for {
		word, ok := w.next()
		if !ok {
			return f, nil
		}
		var err error
		switch word {
		case "dev":
			f.dev, err = w.value()
		case "label":
			f.label, err = w.value()
		case "scope":
			f.scope, err = w.value()
		case "to":
			var v string
			if v, err = w.value(); err == nil {
				if f.to, _, err = p.prefix(v); err == nil {
					p.family = 4
					if family6(f.to.Addr()) {
						p.family = 6
					}
				}
			}
		case "up":
			f.up = true
		case "primary", "secondary":
			f.rank = word
		case "permanent": // all are
		default:
			if f.dev != "" || strings.HasPrefix(word, "-") {
				return f, errRefused
			}
			f.dev = word
		}
		if err != nil {
			return f, err
		}
	}
}

func (f addrFilter) match(l *sim.Link, i int) bool {
	a := l.Addrs[i]
	if f.label != "" {
		if ok, _ := gopath.Match(f.label, a.Label); !ok {
			return false
		}
	}
	return (f.scope == "" || f.scope == scopeOf(a)) &&
		(!f.to.IsValid() || f.to.Contains(a.Prefix.Addr())) &&
		(f.rank == "" || (f.rank == "secondary") == secondary(l, i))
}

func scopeOf(a sim.Addr) string {
	switch ad := a.Prefix.Addr(); {
	case a.Scope != "":
		return a.Scope
	case ad.IsLoopback():
		return "host"
	case family6(ad) && ad.IsLinkLocalUnicast():
		return "link"
	}
	return "global"
}

func (p *ipCall) addrShow(args []string) error {
	f, err := p.addrFilter(args)
	if err != nil {
		return err
	}
	if f.dev != "" {
		if _, err := p.shown(f.dev); err != nil {
			return err
		}
	}
	if f.label != "" && p.family == 0 {
		p.family = 4 // labels are IPv4's
	}
	for _, l := range p.k.Links {
		if f.dev != "" && l.Name != f.dev || f.up && !l.Up {
			continue
		}
		var shown []int
		some := false
		for i, a := range l.Addrs {
			if !p.wants(a.Prefix.Addr()) {
				continue
			}
			some = true
			if f.match(l, i) {
				shown = append(shown, i)
			}
		}
		if len(shown) == 0 && (some || p.family != 0) {
			continue
		}
		// Up to EL6 -o lists the links too, unless a family is asked for.
		if f.label == "" && (!p.oneline || p.k.era < el7 && p.family == 0) {
			lines := []string{p.linkLine(l, false)}
			if p.family == 0 {
				lines = append(lines, linkLayer(l))
			}
			p.record(lines...)
		}
		for _, i := range shown {
			p.addrLine(l, i)
		}
	}
	return nil
}

func (p *ipCall) addrLine(l *sim.Link, i int) {
	a := l.Addrs[i]
	head := "    "
	if p.oneline {
		head = fmt.Sprintf("%d: %s    ", l.Index, l.Name)
	}
	six := family6(a.Prefix.Addr())
	s := head + "inet " + a.Prefix.String()
	if six {
		s = head + "inet6 " + a.Prefix.String()
	}
	if a.Peer.IsValid() {
		s = fmt.Sprintf("%sinet %s peer %s/%d", head, a.Prefix.Addr(), a.Peer, a.Prefix.Bits())
	}
	if a.Brd.IsValid() {
		s += " brd " + a.Brd.String()
	}
	s += " scope " + scopeOf(a)
	if secondary(l, i) {
		s += " secondary"
	}
	lines := []string{s + " " + a.Label}
	if six || p.k.era >= el7 { // IPv4 addresses have lifetimes since 3.9
		lines = append(lines, "       valid_lft forever preferred_lft forever")
	}
	p.record(lines...)
}

// addrFlush wants a device and a label, as initscripts give it: without them
// it would take the machine's own addresses.
func (p *ipCall) addrFlush(args []string) error {
	f, err := p.addrFilter(args)
	if err != nil {
		return err
	}
	if f.dev == "" || f.label == "" || f.scope != "" || f.to.IsValid() {
		return errRefused
	}
	if _, err := p.shown(f.dev); err != nil {
		return err
	}
	p.k.flush(f.dev, func(a sim.Addr) bool {
		ok, _ := gopath.Match(f.label, a.Label)
		return ok && a.Prefix.Addr().Is4()
	})
	return nil
}
