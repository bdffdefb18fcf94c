package linux

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// The reading commands, in the one spelling that everything uses, so that a
// host.Cache asks once.
var (
	addrShow4 = host.AddrShow4()
	addrShow6 = host.AddrShow6()
	linkShow  = host.LinkShow()
)

func addrShow(v6 bool) []string {
	if v6 {
		return addrShow6
	}
	return addrShow4
}

func readAddrs(ctx context.Context, h host.Host, v6 bool) ([]Addr, error) {
	res, err := host.Query(ctx, h, addrShow(v6)...)
	if err != nil {
		return nil, fmt.Errorf("read addresses: %w", err)
	}
	list, err := parseAddrs(string(res.Stdout))
	if err != nil {
		return nil, fmt.Errorf("read addresses: %w", err)
	}
	return list, nil
}

func readLinks(ctx context.Context, h host.Host) ([]Link, error) {
	res, err := host.Query(ctx, h, linkShow...)
	if err != nil {
		return nil, fmt.Errorf("read links: %w", err)
	}
	list, err := parseLinks(string(res.Stdout))
	if err != nil {
		return nil, fmt.Errorf("read links: %w", err)
	}
	return list, nil
}

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
