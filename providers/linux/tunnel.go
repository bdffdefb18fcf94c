package linux

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/linux/kernel"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// nameTunnels gives every plain tunnel its device: the one that has its ends
// already, live or in a file, else the one that the inventory names, else the
// first free lvsN.
func (p *planner) nameTunnels() error {
	taken := map[string]bool{}
	for _, l := range p.f.Links {
		taken[l.Name] = true
	}
	native := p.f.native()
	if native != nil {
		for _, dev := range native.Devices() {
			taken[dev] = true
		}
	}
	for _, t := range p.d.Tunnels {
		taken[t.Interface] = true
	}
	for _, want := range p.d.Tunnels {
		i := slices.IndexFunc(p.f.Tunnels, func(t Tunnel) bool { return t.Local == want.Local && t.Remote == want.Remote })
		switch {
		case i >= 0:
			want.Interface = p.f.Tunnels[i].Name
		case want.Interface != "":
			for _, t := range p.f.Tunnels {
				if t.Name == want.Interface {
					return step.Refuse("name another interface for the tunnel, or none",
						"%s leads from %s to %s, tunnel %q wants %s to %s", t.Name, t.Local, t.Remote, want.Name, want.Local, want.Remote)
				}
			}
		default:
			if native != nil {
				want.Interface = native.Tunnel(want.Local, want.Remote)
			}
			for n := 0; want.Interface == ""; n++ {
				if dev := "lvs" + strconv.Itoa(n); !taken[dev] {
					want.Interface = dev
				}
			}
		}
		taken[want.Interface] = true
		p.tunnels = append(p.tunnels, want)
	}
	return nil
}

// liveTunnel are the live steps of a plain tunnel. all are those of this
// host: several may have one inside address, since the far one tells them
// apart.
func liveTunnel(t inventory.PlainEnd, all []inventory.PlainEnd) []step.Step {
	dev := t.Interface
	ends := []string{"mode", "ipip", "local", t.Local.String(), "remote", t.Remote.String()}
	device := func(ctx context.Context, h host.Host) (step.Change, error) {
		list, err := kernel.Of(h).Tunnels(ctx)
		if err != nil {
			return step.Change{}, err
		}
		for _, have := range list {
			if have == (Tunnel{Name: dev, Local: t.Local, Remote: t.Remote}) {
				return step.Change{}, nil
			}
		}
		there := step.Cond{
			Argv:  tunnelShow,
			Match: "^" + step.Quote(dev) + ": ip/ip +remote " + step.Quote(t.Remote.String()) + " +local " + step.Quote(t.Local.String()) + " ",
		}
		want := fmt.Sprintf("local %s remote %s", t.Local, t.Remote)
		return step.Change{
			Diff: step.LiveDiff("tunnel "+dev, "", want),
			Want: want,
			Do:   []step.Op{{Kind: step.Run, Argv: ip(false, append([]string{"tunnel", "add", dev}, ends...)...), If: []step.Cond{there.Negate()}}},
			Undo: []step.Op{{Kind: step.Run, Argv: ip(false, "tunnel", "del", dev), If: []step.Cond{there}}},

			Effects: []step.Effect{step.Gain(step.Tunnel, t.Remote)},
		}, nil
	}
	address := func(ctx context.Context, h host.Host) (step.Change, error) {
		list, err := readAddrs(ctx, h, false)
		if err != nil {
			return step.Change{}, err
		}
		for _, a := range list {
			switch {
			case a.Prefix.Addr() != t.Inside:
			case a.Dev != dev && slices.ContainsFunc(all, func(o inventory.PlainEnd) bool { return o.Interface == a.Dev && o.Inside == t.Inside }):
			case a.Dev != dev:
				return step.Change{}, step.Refuse("take it away there, or choose another inside address",
					"the inside address %s of tunnel %q is on %s", t.Inside, t.Name, a.Dev)
			case a.Peer == t.FarInside:
				return step.Change{}, nil
			}
		}
		peer := []string{t.Inside.String(), "peer", t.FarInside.String(), "dev", dev}
		there := step.Cond{
			Argv: addrShow4,
			Match: "^[0-9]+: " + step.Quote(dev) + "[[:space:]]+inet " + step.Quote(t.Inside.String()) +
				" peer " + step.Quote(t.FarInside.String()) + "/32 ",
		}
		return step.Change{
			Diff: step.LiveDiff("address "+t.Inside.String(), "", strings.Join(peer, " ")),
			Want: strings.Join(peer, " "),
			Do:   []step.Op{{Kind: step.Run, Argv: ip(false, append([]string{"addr", "add"}, peer...)...), If: []step.Cond{there.Negate()}}},
			Undo: []step.Op{{Kind: step.Run, Argv: ip(false, append([]string{"addr", "del"}, peer...)...), If: []step.Cond{there}}},

			Effects: []step.Effect{step.Gain(step.Tunnel, t.Remote)},
		}, nil
	}
	return []step.Step{
		step.Func{Name: "tunnel:" + dev, Probe: device},
		linkUp(dev, t.Remote),
		step.Func{Name: "tunnel:" + dev + ":" + t.Inside.String(), Probe: address},
	}
}
