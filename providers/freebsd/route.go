package freebsd

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// A defaultRoute is the live default route of one family: gw, and no other.
//
// There is never a moment without one. A single route is changed, which is one
// message to the kernel. From 13 on several may stand side by side
// (net.route.multipath); `route change` and `route delete` without a gateway
// know none of them then, so all but the first are deleted by their gateways,
// and the first is changed. Undo adds the old ones beside the new one and
// deletes that last; where only one can be, it changes it back.
type defaultRoute struct {
	gw       netip.Addr
	multiple bool // the kernel keeps several side by side
}

func (r defaultRoute) ID() string {
	if r.gw.Is6() {
		return "route:default6"
	}
	return "route:default"
}

// route is a route(8) command. Its -n keeps it from asking a name server that
// may be on the other side of the very route.
func (r defaultRoute) route(verb, gw string) []string {
	argv := []string{"route", "-n", verb}
	if r.gw.Is6() {
		argv = append(argv, "-inet6")
	}
	return append(argv, "default", gw)
}

func (r defaultRoute) netstat() []string {
	return []string{"netstat", "-rn", "-f", family(r.gw)}
}

// there is the condition that the default route by gw is there, or not.
func (r defaultRoute) there(gw string, not bool) step.Cond {
	match := step.Quote(gw)
	if len(gw) >= gatewayWidth {
		match = step.Quote(gw[:gatewayWidth]) + "[^[:space:]]*"
	}
	return step.Cond{Argv: r.netstat(), Match: "^default" + space + "+" + match + "(" + space + "|$)", Not: not}
}

func (r defaultRoute) Check(ctx context.Context, h host.Host) (step.Change, error) {
	res, err := host.Query(ctx, h, r.netstat()...)
	if err != nil {
		return step.Change{}, fmt.Errorf("read default route: %w", err)
	}
	var old []string
	held := false
	for _, d := range ParseDefaults(string(res.Stdout)) {
		if d.Is(r.gw) {
			held = true
			continue
		}
		gw, err := r.name(ctx, h, d)
		if err != nil {
			return step.Change{}, err
		}
		old = append(old, gw)
	}
	if held && len(old) == 0 {
		return step.Change{}, nil
	}
	return r.change(held, old), nil
}

// name is the gateway of a default route that is to go, whole.
func (r defaultRoute) name(ctx context.Context, h host.Host, d Default) (string, error) {
	if _, ok := d.Addr(); !ok || strings.ContainsAny(d.Flags, "RB") {
		return "", step.Refuse("delete it by hand, if it is to go",
			"there is a default route to %s (flags %s, by %s), which is no gateway's", d.Gateway, d.Flags, d.Netif)
	}
	if len(d.Gateway) < gatewayWidth {
		return d.Gateway, nil
	}
	res, err := host.Query(ctx, h, "route", "-n", "get", "-inet6", "default")
	if err != nil {
		return "", fmt.Errorf("read default route: %w", err)
	}
	if gw, _ := ParseRouteGet(string(res.Stdout)); strings.HasPrefix(gw, d.Gateway) {
		return gw, nil
	}
	return d.Gateway, nil
}

func (r defaultRoute) change(held bool, old []string) step.Change {
	gw := r.gw.String()
	before := slices.Clone(old)
	if held {
		before = append(before, gw)
	}
	c := step.Change{Diff: step.LiveDiff(r.ID(), strings.Join(before, "\n"), gw), Was: strings.Join(before, "\n"), Want: gw}
	add := func(verb string) step.Op {
		return step.Op{Kind: step.Run, Argv: r.route(verb, gw), If: []step.Cond{r.there(gw, true)}}
	}
	rest := old
	switch {
	case held:
	case len(old) == 0:
		c.Do = append(c.Do, add("add"))
	default:
		rest = old[1:]
	}
	for _, o := range rest {
		c.Do = append(c.Do, step.Op{Kind: step.Run, Argv: r.route("delete", o), If: []step.Cond{r.there(o, false)}})
	}
	if !held && len(old) > 0 {
		c.Do = append(c.Do, add("change"))
	}
	c.Undo = r.undo(held, old)
	var gone []netip.Addr
	for _, b := range before {
		a, _ := netip.ParseAddr(b) // one that netstat cut short is not known
		gone = append(gone, a)
	}
	c.Effects = step.Rerouted(gone, r.gw)
	return c
}

func (r defaultRoute) undo(held bool, old []string) []step.Op {
	gw := r.gw.String()
	is := r.there(gw, false)
	when := func(argv []string, conds ...step.Cond) step.Op {
		return step.Op{Kind: step.Run, Argv: argv, If: append([]step.Cond{is}, conds...)}
	}
	switch {
	case len(old) == 0:
		return []step.Op{when(r.route("delete", gw))}
	case !r.multiple && len(old) == 1 && !held:
		return []step.Op{when(r.route("change", old[0]))}
	}
	var ops []step.Op
	for _, o := range old {
		ops = append(ops, when(r.route("add", o), r.there(o, true)))
	}
	if !held {
		ops = append(ops, when(r.route("delete", gw), r.there(old[0], false)))
	}
	return ops
}
