package freebsd

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// ends are the outer addresses of a tunnel.
type ends struct{ local, remote netip.Addr }

func (e ends) valid() bool { return e.local.IsValid() && e.remote.IsValid() }

// spec is what ifconfig(8) takes to set the ends.
func (e ends) spec() string {
	if e.local.Is6() {
		return "inet6 tunnel " + e.local.String() + " " + e.remote.String()
	}
	return "tunnel " + e.local.String() + " " + e.remote.String()
}

// A tunnel is a gif that must be there, live under one name and at boot under
// one; they are the same wherever what the host has leaves the choice.
type tunnel struct {
	ends
	live, boot string
	fixed      string // the name that the inventory asks for; "" any
	six        bool   // carries IPv6 within
	insides    []inside
	vips       []netip.Addr // what arrives by it
}

// An inside is the pair of inner addresses of a plain tunnel.
type inside struct{ here, far netip.Addr }

// wanted lists the tunnels of d, one per pair of ends.
func wanted(d inventory.Desired) []*tunnel {
	var list []*tunnel
	find := func(e ends) *tunnel {
		for _, t := range list {
			if t.ends == e {
				return t
			}
		}
		t := &tunnel{ends: e}
		list = append(list, t)
		return t
	}
	for _, c := range d.Decaps {
		t := find(ends{c.Local, c.Remote})
		t.vips = append(t.vips, c.VIPs...)
		t.six = t.six || c.Local.Is6() || slices.ContainsFunc(c.VIPs, netip.Addr.Is6)
	}
	for _, p := range d.Tunnels {
		t := find(ends{p.Local, p.Remote})
		t.insides = append(t.insides, inside{p.Inside, p.FarInside})
		t.six = t.six || p.Inside.Is6()
		if p.Interface != "" {
			t.fixed = p.Interface
		}
	}
	return list
}

// nameTunnels gives every tunnel its names. What has the ends already, live or
// at boot, is taken as it is, whoever made it. Otherwise the first number is
// taken that neither the kernel nor any boot file has.
func nameTunnels(list []*tunnel, f Facts, c *conf) error {
	taken := map[string]bool{}
	for _, l := range f.Links {
		taken[l.Name] = true
	}
	for _, name := range c.mentionedGifs() {
		taken[name] = true
	}
	gifs := c.gifs()
	for _, t := range list {
		if l, ok := f.Links.ByEnds(t.ends); ok {
			t.live = l.Name
		}
		if i := slices.IndexFunc(gifs, func(g bootGif) bool { return g.ends == t.ends }); i >= 0 {
			t.boot = gifs[i].name
		}
		if t.fixed == "" {
			continue
		}
		if err := t.fix(f, gifs); err != nil {
			return err
		}
		taken[t.fixed] = true
	}
	for _, t := range list {
		if t.live == "" && t.boot != "" && t.mayHave(t.boot, list, f.Links) {
			t.live = t.boot
		}
		if t.boot == "" && t.live != "" && t.mayWrite(t.live, c) {
			t.boot = t.live
		}
	}
	for _, t := range list {
		if t.live != "" && t.boot != "" {
			continue
		}
		name := firstFree(taken)
		taken[name] = true
		if t.live == "" {
			t.live = name
		}
		if t.boot == "" {
			t.boot = name
		}
	}
	return nil
}

// fix applies the name that the inventory gives.
func (t *tunnel) fix(f Facts, gifs []bootGif) error {
	if !gifName.MatchString(t.fixed) {
		return step.Refuse("name it gif0, gif1, ..., or leave interface out",
			"the tunnel interface %q is no gif(4)", t.fixed)
	}
	if l, ok := f.Links.Find(t.fixed); ok && l.Local.IsValid() && (ends{l.Local, l.Remote}) != t.ends && t.live != t.fixed {
		return step.Refuse("name another interface", "%s has other ends: %s to %s", t.fixed, l.Local, l.Remote)
	}
	for _, g := range gifs {
		if g.name == t.fixed && g.ends.valid() && g.ends != t.ends {
			return step.Refuse("name another interface", "%s has other ends at boot: %s to %s", t.fixed, g.ends.local, g.ends.remote)
		}
	}
	if t.live == "" {
		t.live = t.fixed
	}
	if t.boot == "" {
		t.boot = t.fixed
	}
	return nil
}

// mayHave says whether the live interface name, which the boot files give
// these ends, may get them now: it is not there, has no ends, or ends that
// only somebody at the console can have given it, and nobody here wants.
func (t *tunnel) mayHave(name string, list []*tunnel, links Links) bool {
	l, ok := links.Find(name)
	if !ok || !l.Local.IsValid() {
		return true
	}
	return !slices.ContainsFunc(list, func(o *tunnel) bool { return o.ends == ends{l.Local, l.Remote} })
}

// mayWrite says whether the boot files leave name, which has these ends live,
// free for them: they do not configure it, or with the same local end and
// nothing else, so that it is this tunnel with a far end that is out of date.
func (t *tunnel) mayWrite(name string, c *conf) bool {
	for _, v := range c.names() {
		for _, prefix := range []string{"ifconfig_", "gifconfig_", "create_args_", "ipv6_ifconfig_"} {
			rest, ok := strings.CutPrefix(v, prefix)
			if !ok || rest != name && !strings.HasPrefix(rest, name+"_") || !c.has(v) {
				continue
			}
			if v == "ifconfig_"+name+"_ipv6" {
				continue
			}
			e, ok := specEnds(c.value(v))
			if v != "ifconfig_"+name || !ok || e.local != t.local || strings.TrimSuffix(c.value(v), " up") != e.spec() {
				return false
			}
		}
	}
	return !slices.Contains(c.list("gif_interfaces"), name) && gifName.MatchString(name)
}

func firstFree(taken map[string]bool) string {
	for n := 0; ; n++ {
		if name := "gif" + strconv.Itoa(n); !taken[name] {
			return name
		}
	}
}

// carries says whether the gif, with the ends that it needs, holds the VIP of
// its own: the form of gif_interfaces and of the manual page, in which the
// loopback has no part.
func carries(list []*tunnel, vip netip.Addr, addrs func(t *tunnel) []netip.Addr) bool {
	for _, t := range list {
		if slices.Contains(t.vips, vip) && slices.Contains(addrs(t), vip) {
			return true
		}
	}
	return false
}

// liveVIPs and bootVIPs are for carries.
func liveVIPs(links Links) func(t *tunnel) []netip.Addr {
	return func(t *tunnel) []netip.Addr {
		l, ok := links.Find(t.live)
		if !ok || (ends{l.Local, l.Remote}) != t.ends {
			return nil
		}
		var list []netip.Addr
		for _, a := range l.Addrs {
			list = append(list, a.Prefix.Addr())
		}
		return list
	}
}

func bootVIPs(gifs []bootGif) func(t *tunnel) []netip.Addr {
	return func(t *tunnel) []netip.Addr {
		var list []netip.Addr
		for _, g := range gifs {
			if g.name == t.boot && g.ends == t.ends {
				for _, a := range g.addrs {
					list = append(list, a.Prefix.Addr())
				}
			}
		}
		return list
	}
}

// String names a tunnel for people.
func (e ends) String() string { return fmt.Sprintf("%s --> %s", e.local, e.remote) }
