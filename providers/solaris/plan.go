// Package solaris plans what a Solaris 10, Solaris 11 or illumos host needs as
// a real server: a VIP on the loopback (DR), an ip.tun that unwraps what the
// director wraps (TUN), the default route through the director (NAT); live
// with ifconfig and route, for the next boot in hostname files, netmasks,
// hosts and defaultrouter.
//
// These systems answer ARP only for the addresses of the interface that hears
// the question, so a VIP on the loopback needs no silence; it needs the weak
// host model.
package solaris

import (
	"net/netip"
	"slices"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/note"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// Plan gives the steps for d on a host with the facts f. It is a pure
// function. A *step.Refusal as error is a host, or a wish, that lvsfleet does
// not touch.
func Plan(d inventory.Desired, f Facts) (step.Plan, error) {
	if err := persistence(f.Identity, d.Network); err != nil {
		return step.Plan{}, err
	}
	p := &planner{d: d, f: f, numbers: newNumbers(f)}
	for _, check := range []func() error{p.wishes, p.hostModel, p.forwarding, p.liveVIPs, p.ownLive} {
		if err := check(); err != nil {
			return step.Plan{}, err
		}
	}
	if f.Boot != nil {
		p.readBoot()
		for _, check := range []func() error{p.strays, p.bootVIPs, p.staticRoutes, p.ownBoot} {
			if err := check(); err != nil {
				return step.Plan{}, err
			}
		}
	} else {
		p.note(note.NetworkNone, "solaris")
	}
	if err := p.tunnels(); err != nil {
		return step.Plan{}, err
	}
	if err := p.loopback(); err != nil {
		return step.Plan{}, err
	}
	p.routes()
	p.leftAlone()
	return p.assemble(), nil
}

// A planner holds what the parts of one Plan share.
type planner struct {
	d       inventory.Desired
	f       Facts
	numbers numbers

	// reader and boot are what the next boot makes of the hostname files,
	// with the netmasks that this plan adds.
	reader BootReader
	boot   []BootInterface
	// carriedLive and carriedBoot are the VIPs that tunnels hold.
	carriedLive, carriedBoot []netip.Addr

	vips, tuns, rts []step.Step // live, in this order

	hosts                                []step.Edit
	ownFiles, vipFiles, tunFiles, router []step.Step // boot, in this order
	notes                                []note.Note
}

func (p *planner) note(c note.Code, args ...any) { p.notes = append(p.notes, note.New(c, args...)) }

// assemble puts the steps in order: the VIP is there before the tunnel that
// brings packets for it; the files that hostname files depend on come first.
func (p *planner) assemble() step.Plan {
	plan := step.Plan{Live: slices.Concat(p.vips, p.tuns, p.rts), Notes: p.notes}
	if p.f.Boot == nil {
		return plan
	}
	if keep := p.hostMasks(); len(keep) > 0 && p.f.Boot.Netmasks != nil {
		file := &step.FileStep{Path: p.f.Boot.NetmasksPath}
		for _, addr := range keep {
			file.Edits = append(file.Edits, func(old []byte) ([]byte, error) {
				if old == nil {
					return nil, nil
				}
				return keepHostMask(old, addr), nil
			})
		}
		plan.Boot = append(plan.Boot, file)
	}
	if len(p.hosts) > 0 {
		plan.Boot = append(plan.Boot, &step.FileStep{Path: hostsFile, Edits: p.hosts})
	}
	plan.Boot = append(plan.Boot, p.nodename())
	plan.Boot = slices.Concat(plan.Boot, p.ownFiles, p.vipFiles, p.tunFiles, p.router)
	return plan
}

// hostMasks are the addresses that must be a /32 after boot.
func (p *planner) hostMasks() []netip.Addr {
	var list []netip.Addr
	for _, v := range p.d.VIPs {
		list = append(list, v.Addr)
	}
	for _, t := range p.d.Tunnels {
		list = append(list, t.Inside)
	}
	return list
}

// nodename keeps /etc/nodename from being empty: without it net-physical asks
// RARP on interfaces that are down.
func (p *planner) nodename() step.Step {
	return &step.FileStep{Path: nodeName, Edits: []step.Edit{func(old []byte) ([]byte, error) {
		if len(fields(string(old))) > 0 {
			return old, nil
		}
		return []byte(p.d.Host + "\n"), nil
	}}}
}

// name adds a line to hosts(4).
func (p *planner) name(addr netip.Addr, name string) {
	p.hosts = append(p.hosts, func(old []byte) ([]byte, error) { return nameHost(old, addr, name), nil })
}

// routes plans the one default route. Boot adds every router that
// /etc/defaultrouter lists and deletes every other default route
// (net-routing-setup).
func (p *planner) routes() {
	for _, gw := range p.d.Gateways {
		p.rts = append(p.rts, &defaultRoute{gw})
		if p.f.Boot == nil {
			continue
		}
		names := HostsTable(p.f.Boot.Hosts)
		p.router = append(p.router, &step.FileStep{Path: "/etc/defaultrouter", Edits: []step.Edit{func(old []byte) ([]byte, error) {
			return oneRouter(old, gw, names), nil
		}}})
	}
}
