package linux

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/linux/kernel"
	"github.com/lvsfleet/lvsfleet/providers/note"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

func readDefaults(ctx context.Context, h host.Host, v6 bool) ([]route, error) {
	return kernel.Of(h).Defaults(ctx, v6)
}

// best are the default routes that count: those of the lowest metric.
func best(list []route) []route {
	var top []route
	for _, r := range list {
		switch {
		case len(top) == 0 || r.Metric < top[0].Metric:
			top = []route{r}
		case r.Metric == top[0].Metric:
			top = append(top, r)
		}
	}
	return top
}

// through says whether every default route that counts leads to gw.
func through(list []route, gw netip.Addr) bool {
	top := best(list)
	for _, r := range top {
		if len(r.Via) != 1 || r.Via[0] != gw {
			return false
		}
	}
	return len(top) > 0
}

// defaultRoute is the live step for the default route of gw's family. The
// route that counts is replaced at its own metric, in one operation, so that
// there is never none and never a second one beside it. Routes of a higher
// metric are left.
func defaultRoute(gw netip.Addr) step.Step {
	v6 := gw.Is6()
	name, family := "route:default", 0
	if v6 {
		name, family = "route6:default", 1024 // IP6_RT_PRIO_USER, what the kernel makes of none
	}
	return step.Func{Name: name, Probe: func(ctx context.Context, h host.Host) (step.Change, error) {
		list, err := readDefaults(ctx, h, v6)
		if err != nil || through(list, gw) {
			return step.Change{}, err
		}
		metric := family
		top := best(list)
		if len(top) > 0 {
			metric = top[0].Metric
		}
		spec := []string{"via", gw.String()}
		if metric != family {
			spec = append(spec, "metric", strconv.Itoa(metric))
		}
		var lines []string
		for _, r := range list {
			lines = append(lines, "default "+strings.Join(r.Spec, " "))
		}
		after := slices.Clone(lines)
		for i, r := range slices.Backward(list) {
			if r.Metric == metric {
				after = slices.Delete(after, i, i+1)
			}
		}
		after = slices.Insert(after, 0, "default "+strings.Join(spec, " "))
		new := step.Cond{Argv: ip(v6, "route", "show"), Match: routeLine(gw, metric)}
		line := func(r route) step.Cond {
			return step.Cond{Argv: new.Argv, Match: "^default " + step.Quote(strings.Join(r.Spec, " ")) + "( |$)"}
		}
		do := step.Op{Kind: step.Run, Argv: ip(v6, append([]string{"route", "replace", "default"}, spec...)...), If: []step.Cond{new.Negate()}}
		for _, r := range top {
			// Where it is one of several, the others say that it is not so yet.
			if len(top) > 1 && !slices.Contains(r.Via, gw) {
				do.If = []step.Cond{line(r)}
			}
		}
		c := step.Change{
			Diff: step.LiveDiff("default route", strings.Join(lines, "\n"), strings.Join(after, "\n")),
			Was:  strings.Join(lines, "\n"), Want: strings.Join(after, "\n"),
			Do: []step.Op{do},
		}
		var gone []netip.Addr // the routes that are replaced
		for _, r := range top {
			if len(r.Via) == 0 {
				gone = append(gone, netip.Addr{})
			}
			gone = append(gone, r.Via...)
		}
		c.Effects = step.Rerouted(gone, gw)
		if len(top) == 0 {
			c.Undo = []step.Op{{Kind: step.Run, If: []step.Cond{new}, Argv: ip(v6, append([]string{"route", "del", "default"}, spec...)...)}}
			return c, nil
		}
		for i, r := range top {
			verb, cond := "replace", []step.Cond{new}
			if i > 0 { // several of one metric: IPv6 alone
				verb, cond = "append", []step.Cond{line(top[0]), line(r).Negate()}
			}
			c.Undo = append(c.Undo, step.Op{
				Kind: step.Run, If: cond, Argv: ip(v6, append([]string{"route", verb, "default"}, r.Spec...)...),
			})
		}
		return c, nil
	}}
}

// routeLine matches the default route that Do left, as `ip route show` prints
// it: without a metric the kernel's own is not shown for IPv4.
func routeLine(gw netip.Addr, metric int) string {
	re := "^default via " + step.Quote(gw.String()) + " dev [^ ]+ *"
	if metric > 0 {
		re += "(proto [^ ]+ *)?metric " + strconv.Itoa(metric)
	}
	return re + "( +(onlink|linkdown|dead|pref|expires|mtu|advmss|hoplimit).*)? *$"
}

// tunnelRoute checks which source address the route to a tunnelled real server
// selects: its tunnel expects that very one, and IPVS uses what the route says
// (net/netfilter/ipvs/ip_vs_xmit.c). gateways are the default routes that this
// plan sets: a route that leads through another gateway now may be mended by
// them, and is judged after that.
func tunnelRoute(r inventory.TunnelRoute, gateways []netip.Addr) step.Step {
	return step.Func{Name: "route:" + r.To.String(), Probe: func(ctx context.Context, h host.Host) (step.Change, error) {
		v6 := r.To.Is6()
		res, err := host.Query(ctx, h, ip(v6, "route", "get", r.To.String())...)
		var exit *host.ExitError
		if errors.As(err, &exit) {
			return step.Change{Notes: []note.Note{note.New(note.NoRouteYet, r.To)}}, nil
		}
		if err != nil {
			return step.Change{}, fmt.Errorf("read route to %s: %w", r.To, err)
		}
		src, via := kernel.ParseSource(string(res.Stdout))
		if src == r.From {
			return step.Change{}, nil
		}
		for _, gw := range gateways {
			if gw.Is6() != v6 || !via.IsValid() {
				continue
			}
			list, err := readDefaults(ctx, h, v6)
			if err != nil {
				return step.Change{}, err
			}
			if !through(list, gw) {
				return step.Change{Notes: []note.Note{note.New(note.RouteWillBe, r.To, gw)}}, nil
			}
		}
		return step.Change{}, step.Refuse(
			fmt.Sprintf("set tunnel_source of this director to %s, or mend its routes", src),
			"the route to real server %s has the source %s, its tunnel expects %s", r.To, src, r.From)
	}}
}
