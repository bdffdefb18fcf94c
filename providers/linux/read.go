package linux

import (
	"context"
	"net/netip"

	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/linux/kernel"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// An Addr is one that a kernel has.
type Addr = kernel.Addr

// A Link is a network device of a kernel.
type Link = kernel.Link

// A Tunnel is an IP-in-IP device of a kernel.
type Tunnel = kernel.Tunnel

type route = kernel.Route

// The reading commands, as conditions of operations name them.
var (
	addrShow4  = kernel.AddrShow4
	linkShow   = kernel.LinkShow
	tunnelShow = kernel.TunnelShow
)

func addrShow(v6 bool) []string { return kernel.AddrShow(v6) }

func readAddrs(ctx context.Context, h host.Host, v6 bool) ([]Addr, error) {
	return kernel.Of(h).Addrs(ctx, v6)
}

func readLinks(ctx context.Context, h host.Host) ([]Link, error) { return kernel.Of(h).Links(ctx) }

// ip gives the argv of ip(8) for the family of an address.
func ip(v6 bool, args ...string) []string {
	if v6 {
		return append([]string{"ip", "-6"}, args...)
	}
	return append([]string{"ip"}, args...)
}

// linkUp is the live step that brings a tunnel device up. Taken down again it
// is only when nothing is left on it; the device itself stays. The one that
// comes with a module loads it: a run that took the device down may itself be
// taken back after a boot, when it is gone. far is the tunnel's far end.
func linkUp(dev string, far netip.Addr) step.Step {
	return step.Func{Name: "link:" + dev, Probe: func(ctx context.Context, h host.Host) (step.Change, error) {
		links, err := readLinks(ctx, h)
		if err != nil {
			return step.Change{}, err
		}
		before := ""
		for _, l := range links {
			if l.Name == dev {
				if l.Up {
					return step.Change{}, nil
				}
				before = "down"
			}
		}
		there := `^[0-9]+: ` + step.Quote(dev) + `(@[^ ]*)?: `
		up := step.Cond{Argv: linkShow, Match: there + `<([^>]*,)?UP[,>]`}
		var do []step.Op
		if dev == tunnelDevice {
			do = append(do, step.Op{Kind: step.Run, Argv: []string{"modprobe", "ipip"}, If: []step.Cond{{Argv: linkShow, Match: there, Not: true}}})
		}
		do = append(do, step.Op{Kind: step.Run, Argv: ip(false, "link", "set", dev, "up"), If: []step.Cond{up.Negate()}})
		return step.Change{
			Diff: step.LiveDiff("link "+dev, before, "up"),
			Was:  before, Want: "up",
			Do: do,
			Undo: []step.Op{{Kind: step.Run, Argv: ip(false, "link", "set", dev, "down"), If: []step.Cond{
				up, {Argv: addrShow4, Match: `^[0-9]+: ` + step.Quote(dev) + `[[:space:]]+inet `, Not: true, Guard: true},
			}}},
			Effects: []step.Effect{step.Gain(step.Tunnel, far)},
		}, nil
	}}
}
