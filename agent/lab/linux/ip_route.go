package linux

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
)

func (p *ipCall) route(args []string) error {
	do, args := verb(args)
	switch do {
	case "show":
		return p.routeShow(args)
	case "get":
		return p.routeGet(args)
	case "add", "a":
		return p.routeEdit(args, func(r sim.Route) error { return p.k.setRoute(routeAdd, r) })
	case "replace", "repl":
		return p.routeEdit(args, func(r sim.Route) error { return p.k.setRoute(routeReplace, r) })
	case "change", "chg":
		return p.routeEdit(args, func(r sim.Route) error { return p.k.setRoute(routeChange, r) })
	case "del", "delete", "d":
		return p.routeEdit(args, func(r sim.Route) error {
			if err := p.k.delRoute(r); err != nil {
				if family6(r.Dst.Addr()) && p.k.era >= current {
					return &kernelError{errno: enoent}
				}
				return err
			}
			return nil
		})
	}
	return errRefused
}

// routeOptions take a value that is only kept and shown.
var routeOptions = map[string]bool{"advmss": true, "mtu": true, "window": true, "initcwnd": true, "initrwnd": true}

func (p *ipCall) routeEdit(args []string, do func(sim.Route) error) error {
	var r sim.Route
	var dst string
	var options []string
	w := words{args}
	for {
		word, ok := w.next()
		if !ok {
			break
		}
		var v string
		var err error
		if word != "onlink" && dst != "" || routeKeyword(word) {
			if v, err = w.value(); err != nil {
				return err
			}
		}
		switch {
		case word == "via":
			r.Gateway, err = p.address(v)
		case word == "dev" || word == "oif":
			r.Dev = v
		case word == "src":
			r.Src, err = p.address(v)
		case word == "metric" || word == "priority" || word == "preference":
			r.Metric, err = strconv.Atoi(v)
			if err != nil || r.Metric < 0 {
				err = usage(1, `Error: argument "%s" is wrong: "metric" value is invalid`, v)
			}
		case word == "proto":
			if v != "boot" && v != "static" {
				return errRefused
			}
			if v == "static" {
				options = append([]string{"proto static"}, options...)
			}
		case word == "scope":
			if v != "global" && v != "link" {
				return errRefused
			}
		case word == "table":
			if v != "main" && v != "254" {
				return errRefused
			}
		case routeOptions[word]:
			if _, err := strconv.ParseUint(v, 10, 32); err != nil {
				return usage(1, `Error: argument "%s" is wrong: "%s" value is invalid`, v, word)
			}
			options = append(options, word+" "+v)
		case dst == "":
			if word == "to" {
				if word, err = w.value(); err != nil {
					return err
				}
			}
			dst = word
		default:
			return errRefused
		}
		if err != nil {
			return err
		}
	}
	if dst == "" {
		return errRefused
	}
	if r.Gateway.IsValid() && family6(r.Gateway) {
		p.family = 6
	}
	var err error
	if r.Dst, _, err = p.prefix(dst); err != nil {
		return err
	}
	if r.Dst != r.Dst.Masked() {
		return &kernelError{einval, "Invalid prefix for given prefix length."}
	}
	if r.Gateway.IsValid() && family6(r.Gateway) != family6(r.Dst.Addr()) {
		return usage(1, `Error: inet address is expected rather than "%s".`, r.Gateway)
	}
	r.Options = strings.Join(options, " ")
	if r.Dev != "" {
		if _, err := p.device(r.Dev); err != nil {
			return err
		}
	}
	return do(r)
}

func routeKeyword(word string) bool {
	switch word {
	case "via", "dev", "oif", "src", "metric", "priority", "preference", "proto", "scope", "table":
		return true
	}
	return routeOptions[word]
}

func (p *ipCall) routeShow(args []string) error {
	var dst netip.Prefix
	var via netip.Addr
	dev, proto, scope := "", "", ""
	w := words{args}
	for {
		word, ok := w.next()
		if !ok {
			break
		}
		var v string
		var err error
		switch word {
		case "dev", "oif", "via", "proto", "scope", "table", "exact", "to":
			if v, err = w.value(); err != nil {
				return err
			}
		}
		switch word {
		case "dev", "oif":
			dev = v
		case "via":
			via, err = p.address(v)
		case "proto":
			proto = v
		case "scope":
			scope = v
		case "table":
			if v != "main" && v != "254" {
				return errRefused
			}
		case "exact", "to":
			dst, err = p.selector(v)
		default:
			if dst.IsValid() || strings.HasPrefix(word, "-") || word == "match" || word == "root" {
				return errRefused
			}
			dst, err = p.selector(word)
		}
		if err != nil {
			return err
		}
	}
	if dev != "" {
		if _, err := p.device(dev); err != nil {
			return err
		}
	}
	for _, r := range p.k.table(p.family == 6) {
		link := r.kernel || !r.Gateway.IsValid()
		switch {
		case dst.IsValid() && r.Dst != dst, dev != "" && r.Dev != dev, via.IsValid() && r.Gateway != via:
		case proto != "" && (proto == "kernel") != r.kernel, scope != "" && (scope == "link") != link:
		default:
			p.c.Printf("%s\n", p.routeLine(r, dev != "", via.IsValid()))
		}
	}
	return nil
}

// selector parses a listing's destination. "0/0" is the default route to old
// scripts.
func (p *ipCall) selector(s string) (netip.Prefix, error) {
	if s == "0/0" {
		s = "default"
	}
	pre, _, err := p.prefix(s)
	if err == nil && family6(pre.Addr()) {
		p.family = 6
	}
	return pre, err
}

// routeLine prints a route; what the listing selected by is left out. Before
// 4.12 attributes are parted by two spaces.
func (p *ipCall) routeLine(r route, noDev, noVia bool) string {
	six := family6(r.Dst.Addr())
	gap := " "
	if p.k.era < current {
		gap = "  "
	}
	var b strings.Builder
	switch {
	case r.Dst.Bits() == 0:
		b.WriteString("default")
	case r.Dst.IsSingleIP():
		b.WriteString(r.Dst.Addr().String())
	default:
		b.WriteString(r.Dst.String())
	}
	if r.Gateway.IsValid() && !noVia {
		b.WriteString(" via " + r.Gateway.String())
	}
	if !noDev {
		b.WriteString(" dev " + r.Dev)
	}
	sep := " "
	if p.k.era < current && !noDev {
		sep = gap
	}
	add := func(s string) {
		b.WriteString(sep + s)
		sep = gap
	}
	options := r.Options
	if rest, ok := strings.CutPrefix(options, "proto static"); ok {
		add("proto static")
		options = strings.TrimSpace(rest)
	}
	if r.kernel {
		add("proto kernel")
	}
	if !six && !r.Gateway.IsValid() {
		add("scope link")
	}
	if r.Src.IsValid() {
		add("src " + r.Src.String())
	}
	if r.Metric != 0 {
		add("metric " + strconv.Itoa(r.Metric))
	}
	if options != "" {
		add(options)
	}
	if six && p.k.era >= current {
		return b.String() + " pref medium"
	}
	return b.String() + " "
}

func (p *ipCall) routeGet(args []string) error {
	var dst, from netip.Addr
	w := words{args}
	for {
		word, ok := w.next()
		if !ok {
			break
		}
		switch word {
		case "from":
			v, err := w.value()
			if err != nil {
				return err
			}
			if from, err = p.address(v); err != nil {
				return err
			}
			continue
		case "to":
			var err error
			if word, err = w.value(); err != nil {
				return err
			}
		}
		if dst.IsValid() {
			return errRefused
		}
		pre, _, err := p.prefix(word)
		if err != nil {
			return err
		}
		dst = pre.Addr()
	}
	if !dst.IsValid() {
		return usage(1, "need at least a destination address")
	}
	if from.IsValid() && p.k.Holder(from) == nil {
		return &kernelError{errno: einval}
	}
	t, err := p.k.lookup(dst)
	if err != nil {
		return err
	}
	six := family6(dst)
	gap := " "
	if p.k.era < current {
		gap = "  "
	}
	s := dst.String()
	if t.kind != "" {
		s = t.kind + " " + s
	}
	if from.IsValid() {
		s += " from " + from.String()
	} else if six && p.k.era >= current {
		s += " from ::"
	}
	if t.via.IsValid() {
		s += " via " + t.via.String()
	}
	s += " dev " + t.dev
	if t.src.IsValid() && !from.IsValid() {
		s += gap + "src " + t.src.String()
	}
	if six {
		if t.metric != 0 {
			s += gap + "metric " + strconv.Itoa(t.metric)
		}
		if p.k.era >= current {
			s += " pref medium"
		}
		p.record(s)
		return nil
	}
	if p.k.era >= current {
		s += " uid 0"
	}
	cache := "    cache "
	switch {
	case t.kind == "local":
		cache += "<local> "
	case t.kind == "broadcast":
		cache += "<local,brd> "
	case t.options != "":
		cache += t.options + " "
	case p.k.era < el7:
		cache += " mtu 1500 advmss 1460 hoplimit 64"
	}
	p.record(s+" ", cache)
	return nil
}
