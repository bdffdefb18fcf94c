package linux

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/linux/persist"
	"github.com/lvsfleet/lvsfleet/providers/note"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// A placement is where a VIP belongs on this machine.
type placement struct {
	addr  netip.Addr
	dev   string // lo, tunl0, or the director's device
	label string // "lo:0"; the device itself where it needs no own
	real  bool   // on a real server: nobody may be answered
	kept  string // the file that brings it up by itself; "" none
}

func (v placement) prefix() netip.Prefix { return netip.PrefixFrom(v.addr, v.addr.BitLen()) }

// vip is the placement as dialects are told of it.
func (v placement) vip() persist.VIP { return persist.VIP{Addr: v.addr, Dev: v.dev, Label: v.label} }

// has is the condition that the address, with this length, is on the device.
func has(dev string, p netip.Prefix) step.Cond {
	word := "inet"
	if p.Addr().Is6() {
		word = "inet6"
	}
	return step.Cond{
		Argv:  addrShow(p.Addr().Is6()),
		Match: `^[0-9]+: ` + step.Quote(dev) + `[[:space:]]+` + word + ` ` + step.Quote(p.String()) + ` `,
	}
}

func (v placement) add() step.Op {
	argv := ip(v.addr.Is6(), "addr", "add", v.prefix().String(), "dev", v.dev)
	if v.addr.Is4() && v.label != v.dev {
		argv = append(argv, "label", v.label)
	}
	return step.Op{Kind: step.Run, Argv: argv, If: []step.Cond{has(v.dev, v.prefix()).Negate()}}
}

func (v placement) del() step.Op {
	return step.Op{
		Kind: step.Run,
		Argv: ip(v.addr.Is6(), "addr", "del", v.prefix().String(), "dev", v.dev),
		If:   []step.Cond{has(v.dev, v.prefix())},
	}
}

// arptablesFile is what the service arptables(_jf) restores at boot, in Red Hat's
// guides to direct routing: rules that drop the ARP questions for the virtual
// address, and mangle what the host says from it, so that it may stand on eth0.
const arptablesFile = "/etc/sysconfig/arptables"

// arptables says whether rules that are kept there name the address.
func arptables(ctx context.Context, h host.Reader, addr netip.Addr) (bool, error) {
	f, err := h.ReadFile(ctx, arptablesFile)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read %s: %w", arptablesFile, err)
	}
	for line := range strings.Lines(string(f.Data)) {
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		for _, word := range strings.Fields(line) {
			if bare, _, _ := strings.Cut(word, "/"); bare == addr.String() {
				return true, nil
			}
		}
	}
	return false, nil
}

// onRealServer is the live step that puts the VIP on loopback or tunnel. A VIP
// that is there with its full length is taken as it is, whatever its label or
// scope; one with a shorter length makes a whole net local and is corrected.
// ours are all VIPs of this host.
//
// made says that lvsfleet put the VIP where it is. Then it moves: a VIP that another
// method had on the tunnel, or on the loopback, is added in its new place and taken
// from the old one, in one step. Elsewhere it is somebody's, and is left.
func (v placement) onRealServer(ours map[netip.Addr]bool, made bool) step.Step {
	return step.Func{Name: v.id(), Probe: func(ctx context.Context, h host.Host) (step.Change, error) {
		list, err := readAddrs(ctx, h, v.addr.Is6())
		if err != nil {
			return step.Change{}, err
		}
		var wrong []Addr
		var notes []note.Note
		there := false
		for _, a := range list {
			switch {
			case a.Prefix.Addr() != v.addr:
			case !persist.Quiet(a.Dev):
				rules, err := arptables(ctx, h, v.addr)
				if err != nil {
					return step.Change{}, err
				}
				if rules {
					return step.Change{}, step.Refuse(
						fmt.Sprintf("lvsfleet holds it on %s, silent by arp_ignore and arp_announce: ip addr del %s dev %s, take it out of what puts it there at boot, and its lines out of %s; then run it again",
							v.dev, a.Prefix, a.Dev, arptablesFile),
						"virtual address %s is on %s of this real server, behind arptables (Red Hat's form of direct routing), which lvsfleet does not keep", v.addr, a.Dev)
				}
				return step.Change{}, step.Refuse(
					fmt.Sprintf("take it away: ip addr del %s dev %s, and from the file that puts it there", a.Prefix, a.Dev),
					"virtual address %s is on %s of this real server, where it answers for the director", v.addr, a.Dev)
			case a.Dev != v.dev && made:
				wrong = append(wrong, a)
			case a.Dev != v.dev:
				notes = append(notes, note.New(note.AddressElsewhere, v.addr, a.Dev))
			case a.Prefix == v.prefix():
				there = true
			default:
				wrong = append(wrong, a)
			}
		}
		c := step.Change{Notes: notes}
		var before, after []string
		if !there {
			c.Do = append(c.Do, v.add())
			c.Undo = append(c.Undo, v.del())
			after = append(after, v.line())
		}
		for _, w := range wrong {
			if s, ok := dependent(list, w, ours); ok {
				return step.Change{}, step.Refuse("give that address its full length first",
					"%s on %s would take %s with it when it is corrected", w.Prefix, w.Dev, s.Prefix)
			}
			drop := step.Op{Kind: step.Run, Argv: ip(v.addr.Is6(), "addr", "del", w.Prefix.String(), "dev", w.Dev),
				If: []step.Cond{has(w.Dev, w.Prefix)}}
			back := step.Op{Kind: step.Run, Argv: restore(w), If: []step.Cond{has(w.Dev, w.Prefix).Negate()}}
			if there || v.addr.Is4() || w.Dev != v.dev {
				c.Do = append(c.Do, drop)
				back.If = append(back.If, has(v.dev, v.prefix()))
				c.Undo = slices.Insert(c.Undo, 0, back)
			} else {
				// IPv6 knows an address once on a device, whatever its
				// length (net/ipv6/addrconf.c, ipv6_add_addr).
				c.Do = slices.Insert(c.Do, 0, drop)
				back.If[0].Guard = true
				c.Undo = append(c.Undo, back)
			}
			before = append(before, w.Prefix.String()+" dev "+w.Dev)
		}
		if len(c.Do) > 0 {
			c.Diff = step.LiveDiff("address "+v.addr.String(), strings.Join(before, "\n"), strings.Join(after, "\n"))
			if there {
				before = append(before, v.place())
			}
			c.Was, c.Want = strings.Join(before, "\n"), v.place()
			c.Effects = []step.Effect{step.Toward(c.Was, c.Want, step.VIP, v.addr)}
		}
		return c, nil
	}}
}

// id names the step of the VIP.
func (v placement) id() string { return "address:" + v.addr.String() }

// place is the VIP as it is compared: whatever its label.
func (v placement) place() string { return v.prefix().String() + " dev " + v.dev }

// line is the VIP as a diff shows it.
func (v placement) line() string {
	s := v.place()
	if v.addr.Is4() && v.label != v.dev {
		s += " label " + v.label
	}
	return s
}

// restore is the argv that adds w as it was.
func restore(w Addr) []string {
	argv := ip(w.Prefix.Addr().Is6(), "addr", "add", w.Prefix.String())
	if w.Broadcast != "" {
		argv = append(argv, "brd", w.Broadcast)
	}
	if w.Scope != "" && w.Scope != "global" {
		argv = append(argv, "scope", w.Scope)
	}
	argv = append(argv, "dev", w.Dev)
	if w.Label != "" && w.Label != w.Dev {
		argv = append(argv, "label", w.Label)
	}
	return argv
}

// dependent finds a secondary address that the kernel would drop with w, the
// primary of its net (net/ipv4/devinet.c, __inet_del_ifa), and that is none of
// ours, which are corrected themselves.
func dependent(list []Addr, w Addr, ours map[netip.Addr]bool) (Addr, bool) {
	if w.Secondary {
		return Addr{}, false
	}
	for _, a := range list {
		if a.Secondary && a.Dev == w.Dev && a.Prefix.Masked() == w.Prefix.Masked() && !ours[a.Prefix.Addr()] {
			return a, true
		}
	}
	return Addr{}, false
}

// onDirector is the live step that puts the VIP on the director's device,
// after a probe that nobody answers, and announces it.
func (v placement) onDirector() step.Step {
	return step.Func{Name: "address:" + v.addr.String(), Probe: func(ctx context.Context, h host.Host) (step.Change, error) {
		list, err := readAddrs(ctx, h, v.addr.Is6())
		if err != nil {
			return step.Change{}, err
		}
		var notes []note.Note
		there := false
		for _, a := range list {
			switch {
			case a.Prefix.Addr() != v.addr:
			case a.Dev == v.dev:
				there = true
				if a.Prefix != v.prefix() {
					// Taking away a primary address would take the host's
					// own with it, and the line that leads here.
					notes = append(notes, note.New(note.AddressLength, v.addr, v.dev, a.Prefix.Bits()))
				}
			case persist.Quiet(a.Dev):
				notes = append(notes, note.New(note.AddressElsewhere, v.addr, a.Dev))
			default:
				return step.Change{}, step.Refuse("take it away there, or name that interface in the virtual service",
					"virtual address %s is on %s, the inventory wants it on %s", v.addr, a.Dev, v.dev)
			}
		}
		if there {
			return step.Change{Notes: notes}, nil
		}
		add := v.add()
		add.Unanswered = &step.Neighbour{Dev: v.dev, Addr: v.addr}
		return step.Change{
			Diff:  step.LiveDiff("address "+v.addr.String(), "", v.line()),
			Want:  v.place(),
			Do:    []step.Op{add, {Kind: step.Announce, Neighbour: &step.Neighbour{Dev: v.dev, Addr: v.addr}}},
			Undo:  []step.Op{v.del()},
			Notes: notes,

			Effects: []step.Effect{step.Gain(step.VIP, v.addr)},
		}, nil
	}}
}

// ours are the VIPs of this host as a real server.
func (p *planner) ours() map[netip.Addr]bool {
	m := map[netip.Addr]bool{}
	for _, v := range p.d.VIPs {
		m[v.Addr] = true
	}
	return m
}

// ownAddresses looks at the host's own addresses, which are never set: one
// that differs ends everything before anything has changed.
func ownAddresses(want []inventory.Interface, v6 bool) step.Step {
	return step.Func{Name: "addresses", Probe: func(ctx context.Context, h host.Host) (step.Change, error) {
		list, err := readAddrs(ctx, h, false)
		if err != nil {
			return step.Change{}, err
		}
		if v6 {
			more, err := readAddrs(ctx, h, true)
			if err != nil {
				return step.Change{}, err
			}
			list = append(list, more...)
		}
		for _, i := range want {
			var have []string
			for _, a := range list {
				if a.Dev == i.Device {
					have = append(have, a.Prefix.String())
				}
			}
			for _, p := range i.Addresses {
				if !slices.Contains(have, p.String()) {
					has := "has no address"
					if len(have) > 0 {
						has = "has " + strings.Join(have, ", ")
					}
					return step.Change{}, step.Refuse("correct the inventory, or the host: own addresses are never set live",
						"the inventory gives %s the address %s, but here it %s", i.Device, p, has)
				}
			}
		}
		return step.Change{}, nil
	}}
}
