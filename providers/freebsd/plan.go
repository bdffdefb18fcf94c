// Package freebsd plans what a FreeBSD real server must be: VIPs on lo0 (DR
// and TUN), gif(4) tunnels from the directors, the default route, and all of
// it again in /etc/rc.conf for the next boot.
//
// FreeBSD answers ARP and neighbour discovery only for addresses of the
// interface that hears the question, so a VIP on lo0 or on a gif needs no
// silence (seen on 13.2).
package freebsd

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/note"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// The persistent forms of network settings that a FreeBSD host may ask for.
const (
	networkRCConf = "rc.conf"
	networkNone   = "none"
)

// A planner is one call of Plan.
type planner struct {
	d       inventory.Desired
	f       Facts
	tunnels []*tunnel
}

// Plan says what must hold on the host. It reads nothing and is the same for
// the same arguments. A *step.Refusal means that the host is in a state that
// must not be touched.
func Plan(d inventory.Desired, f Facts) (step.Plan, error) {
	p := &planner{d: d, f: f, tunnels: wanted(d)}
	if d.Network != "" && d.Network != networkRCConf && d.Network != networkNone {
		return step.Plan{}, step.Refuse(`write network = "rc.conf" or "none", or leave it out`,
			"FreeBSD keeps its network settings in rc.conf, not in %q", d.Network)
	}
	if d.Director != nil {
		return step.Plan{}, step.Refuse("give the director's role to a Linux host",
			"IPVS is a part of Linux: a FreeBSD host cannot be a director")
	}
	c, err := newConf(f, f.RCConf)
	if err != nil {
		return step.Plan{}, err
	}
	for _, check := range []func() error{p.checkIPv6, p.checkOwn, p.checkVIPs} {
		if err := check(); err != nil {
			return step.Plan{}, err
		}
	}
	if err := nameTunnels(p.tunnels, f, c); err != nil {
		return step.Plan{}, err
	}
	if err := p.checkHostModel(c); err != nil {
		return step.Plan{}, err
	}
	plan := step.Plan{Live: p.live()}
	if d.Network == networkNone {
		plan.Notes = []note.Note{note.New(note.NetworkNone, "freebsd")}
		return plan, nil
	}
	if _, err := p.edit(f.RCConf); err != nil {
		return step.Plan{}, err
	}
	plan.Boot = append([]step.Step{&step.FileStep{Path: rcConf, Edits: []step.Edit{p.edit}}}, p.bootSysctls()...)
	plan.Notes = p.notes(c)
	return plan, nil
}

// live are the steps in force at once. The VIP comes before the tunnel: a
// packet that arrives early finds it.
func (p *planner) live() []step.Step {
	var steps []step.Step
	for _, w := range []struct {
		want *bool
		key  string
		v6   bool
	}{{p.d.IPForward4, forwarding4, false}, {p.d.IPForward6, forwarding6, true}} {
		if w.want != nil {
			steps = append(steps, step.Sysctl{
				Key: w.key, Value: boolean(*w.want), Set: setSysctl, Kind: step.Forwarding, Addr: step.Unspecified(w.v6),
			})
		}
	}
	for _, gw := range p.d.Gateways {
		steps = append(steps, defaultRoute{gw: gw, multiple: p.f.Sysctls[multipath] == "1"})
	}
	vips := map[netip.Addr]bool{}
	for _, v := range p.d.VIPs {
		vips[v.Addr] = true
		if !carries(p.tunnels, v.Addr, liveVIPs(p.f.Links)) {
			steps = append(steps, address("lo0:"+v.Addr.String(), "lo0", single(v.Addr), step.Gain(step.VIP, v.Addr)))
		}
	}
	for _, t := range p.tunnels {
		steps = append(steps, tunnelSteps(t, vips)...)
	}
	return steps
}

func boolean(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

// setSysctl is sysctl(8) of every release: it needs no -w, and old ones took it
// as deprecated.
func setSysctl(key, value string) []string { return []string{"sysctl", key + "=" + value} }

// bootSysctls corrects /etc/sysctl.conf, where it assigns what is managed: rc
// reads it before rc.conf's gateway_enable, which in old releases only ever
// switches forwarding on.
func (p *planner) bootSysctls() []step.Step {
	var edits []step.Edit
	for _, w := range []struct {
		want *bool
		key  string
	}{{p.d.IPForward4, forwarding4}, {p.d.IPForward6, forwarding6}} {
		if w.want == nil {
			continue
		}
		if _, line := sysctlConf(p.f.SysctlConf[sysctlFile], w.key); line > 0 {
			edits = append(edits, func(old []byte) ([]byte, error) {
				if old == nil {
					return nil, nil
				}
				return setSysctlConf(old, w.key, boolean(*w.want)), nil
			})
		}
	}
	if edits == nil {
		return nil
	}
	return []step.Step{&step.FileStep{Path: sysctlFile, Edits: edits}}
}

func (p *planner) oldIPv6() error {
	return step.Refuse("use IPv4 on this host, or a release from 9 on",
		"how FreeBSD %s configures IPv6 at boot is not known", p.f.Release)
}

// checkIPv6 refuses IPv6 where its boot variables are not known.
func (p *planner) checkIPv6() error {
	if modernIPv6(p.f.Release) || p.d.Network == networkNone {
		return nil
	}
	six := slices.ContainsFunc(p.d.Gateways, netip.Addr.Is6) || p.d.IPForward6 != nil ||
		slices.ContainsFunc(p.d.VIPs, func(v inventory.VIP) bool { return v.Addr.Is6() }) ||
		slices.ContainsFunc(p.tunnels, func(t *tunnel) bool { return t.six || t.local.Is6() })
	if six {
		return p.oldIPv6()
	}
	return nil
}

// checkOwn compares the host's own addresses, which are never set live.
func (p *planner) checkOwn() error {
	for _, i := range p.d.Interfaces {
		l, ok := p.f.Links.Find(i.Device)
		if !ok {
			return step.Refuse("mend the inventory", "%s has no interface %s", p.d.Host, i.Device)
		}
		for _, want := range i.Addresses {
			a, ok := l.Addr(want.Addr())
			switch {
			case !ok:
				return step.Refuse("mend the inventory, or the host",
					"%s of %s does not have the address %s that the inventory says", i.Device, p.d.Host, want)
			case a.Prefix != want:
				return step.Refuse("mend the inventory, or the host",
					"%s of %s has the address %s, the inventory says %s", i.Device, p.d.Host, a.Prefix, want)
			}
		}
	}
	return nil
}

// checkVIPs refuses a VIP on an interface that answers ARP for it.
func (p *planner) checkVIPs() error {
	for _, v := range p.d.VIPs {
		for _, l := range p.f.Links {
			if _, ok := l.Addr(v.Addr); ok && !strings.HasPrefix(l.Name, "lo") && !strings.HasPrefix(l.Name, "gif") {
				return step.Refuse("remove it: ifconfig "+l.Name+" "+family(v.Addr)+" "+v.Addr.String()+" -alias",
					"%s has the VIP %s and answers ARP for it", l.Name, v.Addr)
			}
		}
	}
	return nil
}

// checkHostModel refuses the strong host model, in which packets for a VIP on
// lo0 are dropped as they come in by another interface (inet(4)). Until 13 the
// knob has no effect while the host forwards (seen on 13.2).
func (p *planner) checkHostModel(c *conf) error {
	if !slices.ContainsFunc(p.d.VIPs, func(v inventory.VIP) bool {
		return v.Addr.Is4() && !(carries(p.tunnels, v.Addr, liveVIPs(p.f.Links)) && carries(p.tunnels, v.Addr, bootVIPs(c.gifs())))
	}) {
		return nil
	}
	key, excused := strongES, false
	if _, ok := p.f.Sysctls[checkInterface]; ok {
		key = checkInterface
		excused = p.f.Sysctls[forwarding4] == "1"
		if p.d.IPForward4 != nil {
			excused = *p.d.IPForward4
		}
	}
	if on(p.f.Sysctls[key]) && !excused {
		return step.Refuse("sysctl "+key+"=0", "%s is %s: packets for a VIP on lo0 would be dropped", key, p.f.Sysctls[key])
	}
	if p.d.Network == networkNone {
		return nil
	}
	if key == checkInterface {
		excused = c.yes("gateway_enable")
		if p.d.IPForward4 != nil {
			excused = *p.d.IPForward4
		}
	}
	for _, path := range []string{sysctlFile, sysctlLocal} {
		value, line := sysctlConf(p.f.SysctlConf[path], key)
		if on(value) && !excused {
			return step.Refuse("take the line out",
				"%s, line %d sets %s=%s: packets for a VIP on lo0 would be dropped after the next boot", path, line, key, value)
		}
	}
	return nil
}

func on(value string) bool { return value != "" && value != "0" }

var watched = []string{
	"cloned_interfaces", "gif_interfaces", "network_interfaces",
	"defaultrouter", "ipv6_defaultrouter", "gateway_enable", "ipv6_gateway_enable",
}

// notes says what was seen in the boot files and left alone.
func (p *planner) notes(c *conf) []note.Note {
	var notes []note.Note
	tell := func(c note.Code, args ...any) { notes = append(notes, note.New(c, args...)) }
	devs := []string{"lo0"}
	for _, i := range p.d.Interfaces {
		devs = append(devs, i.Device)
	}
	for _, t := range p.tunnels {
		devs = append(devs, t.boot)
	}
	related := func(name string) bool {
		return slices.Contains(watched, name) || strings.HasPrefix(name, "gifconfig_") ||
			slices.ContainsFunc(devs, func(dev string) bool {
				v := ifVar("ifconfig_%s", dev)
				return name == v || strings.HasPrefix(name, v+"_")
			})
	}
	for _, l := range c.later {
		names := slices.DeleteFunc(l.file.Names(), func(n string) bool { return !related(n) })
		if len(names) > 0 {
			tell(note.ReadAfter, l.Path, strings.Join(names, ", "))
		}
		for _, line := range l.file.Reads {
			tell(note.ReadsAnother, l.Path, line)
		}
	}
	for _, line := range c.rc.Reads {
		tell(note.ReadsAnother, rcConf, line)
	}
	if c.has("rc_conf_files") {
		tell(note.RCConfFiles)
	}
	for _, dev := range p.f.StartIf {
		if slices.Contains(devs, dev) {
			tell(note.StartIf, dev)
		}
	}
	for _, name := range c.inBothLists() {
		tell(note.GifInBothLists, name)
	}
	return append(notes, p.moreNotes(c)...)
}

func (p *planner) moreNotes(c *conf) []note.Note {
	var notes []note.Note
	if len(p.d.VIPs) > 0 {
		if _, free, asleep := c.aliases("lo0"); len(asleep) > 0 {
			for _, a := range asleep {
				notes = append(notes, note.New(note.AliasAsleep, a.name, free))
			}
		}
	}
	if len(p.d.Gateways) > 0 {
		for _, name := range c.names() {
			if m := ifconfigVar.FindStringSubmatch(name); m != nil && isDHCP(c.value(name)) {
				notes = append(notes, note.New(note.DHCPRoute, m[1]))
			}
		}
	}
	return notes
}
