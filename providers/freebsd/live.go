package freebsd

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"

	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// Every live step reads `ifconfig -a`, which a host.Cache asks once for all of
// them. The checks of all steps come before any of them is done, so a step
// about an interface that an earlier one creates finds it missing, and gives
// its change all the same.

const space = "[[:space:]]"

// An ifStep is a step about one interface.
func ifStep(id, dev string, probe func(l Link, there bool) (step.Change, error)) step.Step {
	return step.Func{Name: id, Probe: func(ctx context.Context, h host.Host) (step.Change, error) {
		links, err := readLinks(ctx, h)
		if err != nil {
			return step.Change{}, err
		}
		return probe(links.Find(dev))
	}}
}

func (s shows) op(argv ...string) step.Op {
	return step.Op{Kind: step.Run, Argv: argv, If: s}
}

// shows are conditions on what `ifconfig DEV` prints.
type shows []step.Cond

func (s shows) line(dev, match string) shows {
	return append(s[:len(s):len(s)], step.Cond{Argv: []string{"ifconfig", dev}, Match: match})
}

// noLine is the condition that there is no such line; what is not there at all
// has none.
func (s shows) noLine(dev, match string) shows {
	return append(s[:len(s):len(s)], step.Cond{Argv: []string{"ifconfig", dev}, Match: match, Not: true})
}

// noMore is noLine of what an operation before has to take away.
func (s shows) noMore(dev, match string) shows {
	s = s.noLine(dev, match)
	s[len(s)-1].Guard = true
	return s
}

// addrLine matches the line of an address, in any of the formats of masks that
// root's IFCONFIG_FORMAT may ask for.
func addrLine(a Addr) string {
	s := "^" + space + "+" + family(a.Prefix.Addr()) + " " + step.Quote(a.Prefix.Addr().String())
	length := "(/" + strconv.Itoa(a.Prefix.Bits()) + "| prefixlen " + strconv.Itoa(a.Prefix.Bits()) + ")"
	if a.Prefix.Addr().Is4() {
		length = "(/" + strconv.Itoa(a.Prefix.Bits()) + "| netmask (" + hexMask(a.Prefix.Bits()) + "|" + step.Quote(dottedMask(a.Prefix.Bits())) + "))"
	}
	if a.Peer.IsValid() {
		return s + "(/[0-9]+)? --> " + step.Quote(a.Peer.String()) + length + "?(" + space + "|$)"
	}
	return s + length + "(" + space + "|$)"
}

func tunnelLine(e ends) string {
	return "^" + space + "+tunnel " + family(e.local) + " " + step.Quote(e.local.String()) + " --> " + step.Quote(e.remote.String()) + "(" + space + "|$)"
}

func family(a netip.Addr) string {
	if a.Is6() {
		return "inet6"
	}
	return "inet"
}

func mask(bits int) uint32 { return uint32(uint64(0xffffffff) << (32 - bits)) }

func hexMask(bits int) string { return fmt.Sprintf("0x%08x", mask(bits)) }

func dottedMask(bits int) string {
	m := mask(bits)
	return netip.AddrFrom4([4]byte{byte(m >> 24), byte(m >> 16), byte(m >> 8), byte(m)}).String()
}

// shown is an address as ifconfig shows it.
func (a Addr) shown() string {
	s := family(a.Prefix.Addr()) + " " + a.Prefix.Addr().String()
	if a.Peer.IsValid() {
		s += " --> " + a.Peer.String()
	}
	if a.Prefix.Addr().Is6() {
		return s + " prefixlen " + strconv.Itoa(a.Prefix.Bits())
	}
	return s + " netmask " + dottedMask(a.Prefix.Bits())
}

// args is an address as ifconfig takes it, to add.
func (a Addr) args(dev string) []string {
	argv := []string{"ifconfig", dev, family(a.Prefix.Addr()), a.Prefix.Addr().String()}
	if a.Peer.IsValid() {
		argv = append(argv, a.Peer.String())
	}
	if a.Prefix.Addr().Is6() {
		argv = append(argv, "prefixlen", strconv.Itoa(a.Prefix.Bits()))
	} else {
		argv = append(argv, "netmask", dottedMask(a.Prefix.Bits()))
	}
	// Without "alias" it would replace the interface's first address: on lo0,
	// 127.0.0.1.
	return append(argv, "alias")
}

// single is an address of its own: /32 or /128.
func single(a netip.Addr) Addr { return Addr{Prefix: netip.PrefixFrom(a, a.BitLen())} }

// address puts an address on an interface. One that is there with another
// mask or far end is given the right one: ifconfig replaces those of an
// address that it is told to add again. It is added only where it is missing
// or wrong, since adding again deletes it for a moment (13). effects are those
// of an address that comes.
func address(id, dev string, want Addr, effects ...step.Effect) step.Step {
	return ifStep(id, dev, func(l Link, there bool) (step.Change, error) {
		addr := want.Prefix.Addr()
		old, held := l.Addr(addr)
		if held && old == want {
			return step.Change{}, nil
		}
		is := shows{}.line(dev, addrLine(want))
		c := step.Change{
			Diff: step.LiveDiff(dev, "", want.shown()),
			Want: want.shown(),
			Do:   []step.Op{shows{}.noLine(dev, addrLine(want)).op(want.args(dev)...)},
			Undo: []step.Op{is.op("ifconfig", dev, family(addr), addr.String(), "-alias")},
		}
		if held {
			c.Diff = step.LiveDiff(dev, old.shown(), want.shown())
			c.Was = old.shown()
			c.Undo = []step.Op{is.op(old.args(dev)...)}
		}
		for _, e := range effects {
			c.Effects = append(c.Effects, step.Toward(c.Was, c.Want, e.Kind, e.Addr))
		}
		return c, nil
	})
}

// tunnelSteps make one gif: one ifconfig each, since one call that creates,
// sets ends and adds an address takes "inet" for a value. vips are the host's,
// which an inside address may be.
func tunnelSteps(t *tunnel, vips map[netip.Addr]bool) []step.Step {
	dev := t.live
	right := shows{}.line(dev, tunnelLine(t.ends))
	steps := []step.Step{
		ifStep(dev+":create", dev, func(l Link, there bool) (step.Change, error) {
			if there {
				return step.Change{}, nil
			}
			// Bare again: no ends, no address but the link-local one that the
			// kernel gives by itself.
			bare := shows{}.line(dev, "^"+dev+": ").
				noMore(dev, "^"+space+"+tunnel ").
				noMore(dev, "^"+space+"+inet ").
				noMore(dev, "^"+space+"+inet6 (f[^e]|[^f])")
			return step.Change{
				Diff: step.LiveDiff(dev, "", "interface "+dev),
				Want: "interface " + dev,
				Do:   []step.Op{shows{}.noLine(dev, "^"+dev+": ").op("ifconfig", dev, "create")},
				Undo: []step.Op{bare.op("ifconfig", dev, "destroy")},

				Effects: []step.Effect{step.Gain(step.Tunnel, t.remote)},
			}, nil
		}),
		ifStep(dev+":tunnel", dev, func(l Link, there bool) (step.Change, error) {
			old := ends{l.Local, l.Remote}
			if old == t.ends {
				return step.Change{}, nil
			}
			c := step.Change{
				Diff: step.LiveDiff(dev, "", "tunnel "+t.ends.String()),
				Want: "tunnel " + t.ends.String(),
				Do:   []step.Op{shows{}.noLine(dev, tunnelLine(t.ends)).op(t.ends.args(dev)...)},
				Undo: []step.Op{right.op("ifconfig", dev, "deletetunnel")},
			}
			if old.valid() {
				c.Diff = step.LiveDiff(dev, "tunnel "+old.String(), "tunnel "+t.ends.String())
				c.Was = "tunnel " + old.String()
				c.Undo = []step.Op{right.op(old.args(dev)...)}
			}
			c.Effects = []step.Effect{step.Toward(c.Was, c.Want, step.Tunnel, t.remote)}
			return c, nil
		}),
	}
	for _, in := range t.insides {
		a := single(in.here)
		a.Peer = in.far
		effects := []step.Effect{step.Gain(step.Tunnel, t.remote)}
		if vips[in.here] {
			effects = append(effects, step.Gain(step.VIP, in.here))
		}
		steps = append(steps, address(dev+":"+in.here.String(), dev, a, effects...))
	}
	if t.six {
		steps = append(steps, ifStep(dev+":ipv6", dev, func(l Link, there bool) (step.Change, error) {
			if there && !l.IPv6Off {
				return step.Change{}, nil
			}
			const off = "nd6 options=.*[<,]IFDISABLED[,>]"
			on := right.noLine(dev, off)
			return step.Change{
				Diff: step.LiveDiff(dev, "IPv6 off (IFDISABLED)", "IPv6 on"),
				Was:  "IPv6 off", Want: "IPv6 on",
				Do:   []step.Op{shows{}.line(dev, off).op("ifconfig", dev, "inet6", "-ifdisabled")},
				Undo: []step.Op{on.op("ifconfig", dev, "inet6", "ifdisabled")},

				Effects: []step.Effect{step.Gain(step.Tunnel, t.remote)},
			}, nil
		}))
	}
	return append(steps, ifStep(dev+":up", dev, func(l Link, there bool) (step.Change, error) {
		if there && l.Up() {
			return step.Change{}, nil
		}
		flag := "^" + dev + ": flags=[0-9a-fA-F]+<([A-Z0-9_]+,)*UP[,>]"
		up := right.line(dev, flag)
		return step.Change{
			Diff: step.LiveDiff(dev, "down", "up"),
			Was:  "down", Want: "up",
			Do:   []step.Op{shows{}.noLine(dev, flag).op("ifconfig", dev, "up")},
			Undo: []step.Op{up.op("ifconfig", dev, "down")},

			Effects: []step.Effect{step.Gain(step.Tunnel, t.remote)},
		}, nil
	}))
}

// args is the command that sets the ends.
func (e ends) args(dev string) []string {
	argv := []string{"ifconfig", dev}
	if e.local.Is6() {
		argv = append(argv, "inet6")
	}
	return append(argv, "tunnel", e.local.String(), e.remote.String())
}
