// Package linux plans Linux machines: real servers by NAT, DR and TUN, and the
// machine side of directors (addresses, forwarding, redirects, routes,
// modules; the IPVS table is package director's). Gather finds out what the
// machine is like, Plan makes steps of it without touching anything.
//
// What is live is read in forms that Fedora Core 5 has too (ip -o without
// JSON, sysctl -n, /proc/modules). What holds at the next boot is written the
// way of Red Hat's initscripts: ifcfg files, /etc/sysconfig/network, and the
// sysctl and modules files that the release reads.
package linux

import (
	"net/netip"
	"slices"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/linux/persist"
	"github.com/lvsfleet/lvsfleet/providers/note"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// Facts are what the machine is like, as far as a plan depends on it.
type Facts struct {
	Release string // `uname -r`
	Systemd bool   // by its files: what is read at boot
	Running bool   // systemd is what runs now (systemd.Runs)

	// Network is who configures the network at boot: "ifcfg", or one that
	// lvsfleet refuses by name; Evidence is what shows it.
	Network  string
	Evidence string
	// NetworkOff: initscripts are there, but their network service is not
	// enabled, nor is any other that is known.
	NetworkOff bool

	// SysctlD: /etc/sysctl.d is read at boot, after /etc/sysctl.conf. Where it
	// is not, settings go into /etc/sysctl.conf.
	SysctlD bool
	// Later are assignments of files that are read after ours and so win.
	Later []Assignment
	// ModulesD: /etc/modules-load.d is read at boot; else
	// /etc/sysconfig/modules/*.modules are run.
	ModulesD bool

	// Owners are who brings each interface up at boot that the plan is about.
	Owners map[string]Owner
	// Sources are the dialects that were read, in the order of Table.
	Sources []Source
	// Table are the dialects that there are.
	Table []Entry
	Unfit Unfit // looked at where our own unit is to bring addresses up

	// Made are the live steps of a step.Maker.
	Made []string

	Addrs   []Addr // of both families, in the kernel's order
	Links   []Link
	Tunnels []Tunnel // looked at where plain tunnels are wanted
}

// An Assignment is a kernel setting in a file.
type Assignment struct{ File, Key, Value string }

// tunnelDevice is the device that comes with the ipip module and accepts what
// no other tunnel claims (net/ipv4/ipip.c, ipip_fb_tunnel_init).
const tunnelDevice = persist.TunnelDevice

// Plan says what must hold on the machine. An error is, or wraps, a
// *step.Refusal: a state in which nothing on the host may be changed.
//
// The live order is: the own addresses are looked at, forwarding (switching it
// resets other settings), modules, the tunnel device (which brings its module,
// and comes before the settings that it has), silence, reverse path, addresses of
// real servers, default routes, routes to tunnelled real servers, and at last
// the addresses that a director answers for.
func Plan(d inventory.Desired, f Facts) (step.Plan, error) {
	p := &planner{d: d, f: f}
	if d.Network != "none" {
		if err := p.backend(); err != nil {
			return step.Plan{}, err
		}
	}
	if err := p.unsupported(); err != nil {
		return step.Plan{}, err
	}
	if err := p.fits(); err != nil {
		return step.Plan{}, err
	}
	p.readLabels()
	if err := p.layout(); err != nil {
		return step.Plan{}, err
	}
	if err := p.nameTunnels(); err != nil {
		return step.Plan{}, err
	}
	p.live()
	if d.Network == "none" {
		p.none()
		return p.plan, nil
	}
	if err := p.boot(); err != nil {
		return step.Plan{}, err
	}
	return p.plan, nil
}

type planner struct {
	d    inventory.Desired
	f    Facts
	plan step.Plan

	labels     persist.Labels // that are taken, in files and live
	fileLabels persist.Labels // in files
	vips       []placement    // of real servers
	dvips      []placement    // of directors

	tunnels []inventory.PlainEnd // each with its interface
}

func (p *planner) note(c note.Code, args ...any) {
	p.plan.Notes = append(p.plan.Notes, note.New(c, args...))
}
func (p *planner) out() *persist.Out      { return &persist.Out{Plan: &p.plan} }
func (p *planner) addLive(s ...step.Step) { p.plan.Live = append(p.plan.Live, s...) }
func (p *planner) addBoot(s ...step.Step) { p.plan.Boot = append(p.plan.Boot, s...) }

// unsupported refuses what there are no facts for.
func (p *planner) unsupported() error {
	for _, v := range p.d.VIPs {
		if v.Method == inventory.TUN && v.Addr.Is6() {
			return step.Refuse("use dr or nat for it", "virtual address %s: tunnelling over IPv6 is not supported on Linux real servers", v.Addr)
		}
	}
	return nil
}

// live adds the live steps in their order.
func (p *planner) live() {
	p.addLive(ownAddresses(p.d.Interfaces, p.wants6()))
	if v := p.d.IPForward4; v != nil {
		p.addLive(forwarding("ipv4", *v))
	}
	if v := p.d.IPForward6; v != nil {
		p.addLive(forwarding("ipv6", *v))
	}
	for _, m := range Modules(p.d) {
		if m != "ipip" || !p.tunnelled() {
			p.addLive(module(m, p.f.Release))
		}
	}
	if p.tunnelled() {
		p.addLive(linkUp(tunnelDevice, netip.Addr{}))
	}
	for _, s := range p.settings() {
		if s.live != nil {
			p.addLive(s.live)
		}
	}
	for _, v := range p.vips {
		p.addLive(v.onRealServer(p.ours(), slices.Contains(p.f.Made, v.id())))
	}
	for _, t := range p.tunnels {
		p.addLive(liveTunnel(t, p.tunnels)...)
	}
	for _, gw := range p.d.Gateways {
		p.addLive(defaultRoute(gw))
	}
	if dir := p.d.Director; dir != nil {
		for _, r := range dir.TunnelRoutes {
			p.addLive(tunnelRoute(r, p.d.Gateways))
		}
		for _, v := range p.dvips {
			p.addLive(v.onDirector())
		}
	}
}

// boot adds the boot steps: silence before addresses, so that a power cut
// between two of them leaves no VIP that answers.
func (p *planner) boot() error {
	p.bootSettings()
	p.bootModules()
	return p.bootNetwork()
}

// none adds what is written for the next boot though nothing of the network is:
// the modules and settings of a director, whose rules are loaded there as well
// where systemd runs.
func (p *planner) none() {
	if p.d.Director == nil || !p.f.Running {
		p.note(note.NetworkNone, "linux")
		return
	}
	p.note(note.NetworkNone, "director")
	director := *p
	director.d.VIPs, director.d.Tunnels = nil, nil // silence without the addresses, or the other way round, is worth nothing
	director.bootSettings()
	director.bootModules()
	p.plan = director.plan
}

func (p *planner) tunnelled() bool {
	for _, v := range p.d.VIPs {
		if v.Method == inventory.TUN {
			return true
		}
	}
	return false
}

// wants6 says whether IPv6 addresses have to be looked at.
func (p *planner) wants6() bool { return wants6(p.d) }

func wants6(d inventory.Desired) bool {
	is6 := func(a netip.Addr) bool { return a.Is6() }
	for _, i := range d.Interfaces {
		for _, a := range i.Addresses {
			if is6(a.Addr()) {
				return true
			}
		}
	}
	for _, v := range d.VIPs {
		if is6(v.Addr) {
			return true
		}
	}
	if d.Director != nil {
		for _, v := range d.Director.VIPs {
			if is6(v.Addr) {
				return true
			}
		}
	}
	return false
}

// oldReversePath says that rp_filter is a switch, in force where both `all`
// and the interface have it; since 2.6.31 it is 0, 1 (strict) or 2 (loose) and
// the larger of the two counts (Documentation/networking/ip-sysctl).
func oldReversePath(release string) bool { return host.Older(release, 2, 6, 31) }
