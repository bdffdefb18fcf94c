package linux

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/linux/persist"
	"github.com/lvsfleet/lvsfleet/providers/linux/persist/ifcfg"
	"github.com/lvsfleet/lvsfleet/providers/linux/persist/ifupdown"
	"github.com/lvsfleet/lvsfleet/providers/linux/persist/netplan"
	"github.com/lvsfleet/lvsfleet/providers/linux/persist/networkd"
	"github.com/lvsfleet/lvsfleet/providers/linux/persist/networkmanager"
	"github.com/lvsfleet/lvsfleet/providers/note"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// An Entry of the table of dialects: what of it is open. A host whose dialect
// is closed for what the inventory asks for is refused by name. One is opened
// once hosts with it were booted with what lvsfleet writes.
type Entry struct {
	persist.Dialect
	Real     bool // virtual addresses of real servers
	Gateway  bool // the default route
	Director bool // virtual addresses of directors
}

// Dialects is the table. Where two of them claim one interface, the one that
// stands first has it.
func Dialects() []Entry {
	return []Entry{
		{Dialect: ifcfg.Dialect{}, Real: true, Gateway: true, Director: true},
		{Dialect: netplan.Dialect{}, Real: true},
		{Dialect: networkd.Dialect{}, Real: true},
		{Dialect: networkmanager.Dialect{}, Real: true},
		{Dialect: ifupdown.Dialect{Program: ifupdown.Classic}, Real: true},
		{Dialect: ifupdown.Dialect{Program: ifupdown.NG}, Real: true},
		// It deletes addresses of the loopback that its files do not name: their
		// stanzas are not written yet.
		{Dialect: ifupdown.Dialect{Program: ifupdown.Two}},
	}
}

// An Owner is who brings an interface up at boot, and what shows it.
type Owner struct {
	Dialect  string
	Evidence string
}

// A Source is what was read of a dialect.
type Source struct {
	Entry
	Manager string // what starts its manager at boot; "" nothing
	Files   persist.Files
}

// concerned are the interfaces whose persistent settings the plan is about.
func concerned(d inventory.Desired) []string {
	var devs []string
	add := func(dev string) {
		if dev != "" && !slices.Contains(devs, dev) {
			devs = append(devs, dev)
		}
	}
	for _, i := range d.Interfaces {
		add(i.Device)
	}
	for _, v := range d.VIPs {
		add(v.Device)
	}
	if d.Director != nil {
		for _, v := range d.Director.VIPs {
			add(v.Device)
		}
	}
	return devs
}

// dialects finds out who brings each interface up, and reads the files of
// those, and of every dialect whose manager starts at boot: it may take what
// is not its own.
func (f *Facts) dialects(ctx context.Context, h host.Host, d inventory.Desired, table []Entry) error {
	m := f.machine()
	found := make([]persist.Detection, len(table))
	for i, e := range table {
		var err error
		if found[i], err = e.Detect(ctx, h, m); err != nil {
			return fmt.Errorf("look for %s: %w", e.Name(), err)
		}
	}
	f.Owners = map[string]Owner{}
	devs := concerned(d)
	// Of whom nothing is said comes up as the host does; where that is not seen
	// either, as another of its interfaces does.
	rest := Owner{f.Network, f.Evidence}
	seen := f.Evidence != "" && !f.NetworkOff
	for _, dev := range devs {
		o, err := owner(dev, d.Network, table, found)
		if err != nil {
			return err
		}
		f.Owners[dev] = o
		if o.Dialect != "" && !seen {
			rest, seen = o, true
		}
	}
	for _, dev := range devs {
		if f.Owners[dev].Dialect == "" {
			f.Owners[dev] = rest
		}
	}
	for i, e := range table {
		name := e.Name()
		owns := len(devs) == 0 && f.Network == name
		for _, o := range f.Owners {
			owns = owns || o.Dialect == name
		}
		if name == "ifcfg" && f.NetworkOff || !owns && found[i].Manager == "" {
			continue
		}
		files, err := e.Read(ctx, h, m)
		if err != nil {
			return fmt.Errorf("read the files of %s: %w", name, err)
		}
		f.Sources = append(f.Sources, Source{e, found[i].Manager, files})
	}
	return nil
}

// owner finds who brings dev up. What a manager says itself comes first, then
// whose file matches, first among those whose manager starts at boot. The zero
// Owner is nobody.
func owner(dev, pin string, table []Entry, found []persist.Detection) (Owner, error) {
	type claim struct {
		Owner
		live, starts bool
	}
	var claims []claim
	for i, e := range table {
		if c, ok := found[i].Interfaces[dev]; ok {
			claims = append(claims, claim{Owner{e.Name(), c.Evidence}, c.Live, found[i].Manager != ""})
		}
	}
	if pin != "" && pin != "none" {
		for _, c := range claims {
			if pinned(c.Dialect, pin) {
				return c.Owner, nil
			}
		}
		return Owner{pin, fmt.Sprintf("network = %q", pin)}, nil
	}
	if i := slices.IndexFunc(claims, func(c claim) bool { return c.live }); i >= 0 {
		return claims[i].Owner, nil
	}
	if slices.ContainsFunc(claims, func(c claim) bool { return c.starts }) {
		claims = slices.DeleteFunc(claims, func(c claim) bool { return !c.starts })
	}
	switch len(claims) {
	case 0:
		return Owner{}, nil
	case 1:
		return claims[0].Owner, nil
	}
	var said []string
	for _, c := range claims {
		said = append(said, c.Dialect+" ("+c.Evidence+")")
	}
	return Owner{}, step.Refuse(fmt.Sprintf("write network = %q, or whichever brings it up", claims[0].Dialect),
		"%s is claimed by %s: it cannot be told who brings it up at boot", dev, strings.Join(said, " and "))
}

// pinned says whether the dialect is the one that an inventory means: three
// programs of Debian's family are one name.
func pinned(dialect, pin string) bool {
	return dialect == pin || pin == "ifupdown" && (dialect == "ifupdown2" || dialect == "ifupdown-ng")
}

// backend refuses who configures the network in a way that lvsfleet does not
// write, as far as the plan is about that.
func (p *planner) backend() error {
	const none = `network = "none" in the host's block makes live settings only`
	if pin := p.d.Network; pin != "" && !slices.ContainsFunc(p.f.Table, func(e Entry) bool { return pinned(e.Name(), pin) }) {
		return step.Refuse(`write network = "none", or leave it out`,
			"lvsfleet does not write the network settings of a Linux host as %q", pin)
	}
	owners := []Owner{{p.f.Network, p.f.Evidence}}
	if devs := concerned(p.d); len(devs) > 0 {
		owners = nil
		for _, dev := range devs {
			owners = append(owners, p.f.Owners[dev])
		}
	}
	for _, o := range owners {
		if o.Dialect == "ifcfg" && p.f.NetworkOff {
			return step.Refuse("where the host has it, enable it (chkconfig network on); elsewhere, "+none,
				"initscripts' network service is not enabled: nothing would read the ifcfg files (%s)", p.f.Evidence)
		}
		if e, ok := p.entry(o.Dialect); !ok || !e.Real {
			return step.Refuse(none, "the network of this host is configured by %s (%s), which lvsfleet does not write", o.Dialect, o.Evidence)
		}
	}
	for _, gw := range p.d.Gateways {
		o := p.ownerOf(leads(p.d.Interfaces, gw))
		if e, _ := p.entry(o.Dialect); !e.Gateway {
			return step.Refuse("leave gateway out and set it there by hand; or "+none,
				"the default route by %s is kept by %s (%s), where lvsfleet does not write it", gw, o.Dialect, o.Evidence)
		}
	}
	if p.d.Director == nil {
		return nil
	}
	for _, v := range p.d.Director.VIPs {
		o := p.ownerOf(v.Device)
		if e, _ := p.entry(o.Dialect); !v.Own && !e.Director {
			return step.Refuse(`set vip = "foreign" and put it there by hand; or `+none,
				"%s, which is to have the virtual address %s, is kept by %s (%s), where lvsfleet does not write it", v.Device, v.Addr, o.Dialect, o.Evidence)
		}
	}
	return nil
}

// entry finds a dialect of the table.
func (p *planner) entry(name string) (Entry, bool) {
	i := slices.IndexFunc(p.f.Table, func(e Entry) bool { return e.Name() == name })
	if i < 0 {
		return Entry{}, false
	}
	return p.f.Table[i], true
}

// ownerOf is who has the interface; of one that the plan is not about, who has
// the host's first, or the host.
func (p *planner) ownerOf(dev string) Owner {
	if o, ok := p.f.Owners[dev]; ok {
		return o
	}
	if len(p.d.Interfaces) > 0 {
		return p.f.Owners[p.d.Interfaces[0].Device]
	}
	return Owner{p.f.Network, p.f.Evidence}
}

// native are the files in which VIPs of real servers and tunnels stand; nil
// where lvsfleet's own unit has them.
func (f Facts) native() persist.Native {
	for _, s := range f.Sources {
		if n, ok := s.Files.(persist.Native); ok {
			return n
		}
	}
	return nil
}

// bootNetwork has each dialect write what is its own. Where no files have the
// virtual addresses of real servers, lvsfleet's unit has them.
func (p *planner) bootNetwork() error {
	native := p.f.native()
	for _, dev := range concerned(p.d) {
		if o := p.f.Owners[dev]; o.Dialect != "ifcfg" {
			p.note(note.InterfaceOwner, dev, o.Dialect, o.Evidence)
		}
	}
	if native == nil {
		if err := p.unit(); err != nil {
			return err
		}
	}
	for _, s := range p.f.Sources {
		n, ok := s.Files.(persist.Native)
		if err := s.Files.Plan(p.want(s.Name(), ok && n == native), p.out()); err != nil {
			return err
		}
	}
	return nil
}

// want is what must hold at the next boot of what is a dialect's.
func (p *planner) want(dialect string, native bool) persist.Want {
	w := persist.Want{Native: native, Labels: p.labels}
	for _, i := range p.d.Interfaces {
		if p.ownerOf(i.Device).Dialect == dialect {
			w.Interfaces = append(w.Interfaces, i)
		}
	}
	for _, gw := range p.d.Gateways {
		if dev := leads(p.d.Interfaces, gw); p.ownerOf(dev).Dialect == dialect {
			w.Gateways = append(w.Gateways, persist.Gateway{Addr: gw, Dev: dev})
		}
	}
	for _, v := range p.dvips {
		if p.ownerOf(v.dev).Dialect == dialect {
			w.Director = append(w.Director, v.vip())
		}
	}
	for _, v := range p.vips {
		w.Real = append(w.Real, v.vip())
	}
	if native {
		w.Tunnels = p.tunnels
	}
	return w
}

// leads is the interface whose own net has the gateway; "" none has.
func leads(list []inventory.Interface, gw netip.Addr) string {
	for _, i := range list {
		for _, a := range i.Addresses {
			if a.Masked().Contains(gw) {
				return i.Device
			}
		}
	}
	return ""
}
