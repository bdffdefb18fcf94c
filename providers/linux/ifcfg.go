package linux

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/step"
	"github.com/lvsfleet/lvsfleet/templates"
)

// scripts is where initscripts look for interfaces.
const scripts = "/etc/sysconfig/network-scripts/"

// header begins every file that is wholly lvsfleet's own.
const header = "# lvsfleet: "

// An ifcfg is one ifcfg file as it is.
type ifcfg struct {
	name  string // behind "ifcfg-"
	dev   string // the device, or alias, that it is for
	vars  *shellFile
	addrs []ifcfgAddr
}

// edit adds an edit to the boot step of the file, which is one however many
// settings live in it.
func (p *planner) edit(path string, e step.Edit) {
	for _, s := range p.plan.Boot {
		if f, ok := s.(*step.FileStep); ok && f.Path == path {
			f.Edits = append(f.Edits, e)
			return
		}
	}
	p.addBoot(&step.FileStep{Path: path, Edits: []step.Edit{e}})
}

// An ifcfgAddr is an IPv4 address in a file.
type ifcfgAddr struct {
	addr netip.Addr
	slot string // what stands behind IPADDR
	bits int    // -1: not said; an alias inherits its device's
}

func (c ifcfg) path() string { return scripts + "ifcfg-" + c.name }

// parent is the device without the alias number.
func parent(dev string) string {
	base, _, _ := strings.Cut(dev, ":")
	return base
}

// readIfcfg takes the files apart.
func (p *planner) readIfcfg() {
	for name, text := range p.f.Ifcfg {
		c := ifcfg{name: name, vars: parseShell(text)}
		c.dev, _ = c.vars.get("DEVICE")
		if c.dev == "" {
			c.dev = p.byMAC(c.vars)
		}
		if c.dev == "" {
			c.dev = name
		}
		for _, v := range c.vars.vars {
			slot, ok := strings.CutPrefix(v.name, "IPADDR")
			if _, err := strconv.Atoi(slot); !ok || slot != "" && err != nil {
				continue
			}
			text, _ := c.vars.get(v.name)
			addr, err := netip.ParseAddr(text)
			a := ifcfgAddr{addr: addr, slot: slot, bits: c.bits(slot)}
			if err == nil && !slices.Contains(c.addrs, a) {
				c.addrs = append(c.addrs, a)
			}
		}
		p.files = append(p.files, c)
		for _, label := range []string{c.dev, name} {
			if strings.Contains(label, ":") {
				p.take(label)
			}
		}
	}
	sort.Slice(p.files, func(i, j int) bool { return p.files[i].name < p.files[j].name })
	for _, a := range p.f.Addrs {
		if strings.Contains(a.Label, ":") {
			p.take(a.Label)
		}
	}
}

// byMAC finds the device that a file names by HWADDR alone.
func (p *planner) byMAC(vars *shellFile) string {
	mac, _ := vars.get("HWADDR")
	for _, l := range p.f.Links {
		if mac != "" && l.MAC == strings.ToLower(mac) {
			return l.Name
		}
	}
	return ""
}

// bits is the length of an address of the file: PREFIX wins over NETMASK
// (ifup-aliases, network-functions expand_config).
func (c ifcfg) bits(slot string) int {
	if s, ok := c.vars.get("PREFIX" + slot); ok {
		if n, err := strconv.Atoi(s); err == nil && n >= 0 && n <= 32 {
			return n
		}
	}
	s, _ := c.vars.get("NETMASK" + slot)
	if a, err := netip.ParseAddr(s); err == nil && a.Is4() {
		if n, size := net.IPMask(a.AsSlice()).Size(); size == 32 {
			return n
		}
	}
	return -1
}

func (p *planner) take(label string) {
	dev := parent(label)
	if p.labels[dev] == nil {
		p.labels[dev] = map[string]bool{}
	}
	p.labels[dev][label] = true
}

// free gives the first label of dev that neither a file nor a live address
// has, and takes it.
func (p *planner) free(dev string) string {
	for n := 0; ; n++ {
		if label := dev + ":" + strconv.Itoa(n); !p.labels[dev][label] {
			p.take(label)
			return label
		}
	}
}

// layout finds a place for every VIP.
func (p *planner) layout() error {
	// The first VIP in a tunnel has ifcfg-tunl0 itself, unless that is there
	// for another address.
	base := true
	for _, c := range p.files {
		if c.dev != tunnelDevice || !p.tunnelled() {
			continue
		}
		base = false
		if s, _ := c.vars.get("TYPE"); s != "" && s != "Ethernet" {
			return step.Refuse("remove TYPE from it, or the file", "%s has TYPE=%s, with which the scripts refuse %s", c.path(), s, tunnelDevice)
		}
		if s, ok := c.vars.get("ONBOOT"); ok && isNo(s) {
			p.note(fmt.Sprintf("%s says ONBOOT=%s: its aliases do not come up at boot either", c.path(), s))
		}
	}
	for _, v := range p.d.VIPs {
		at := placement{addr: v.Addr, dev: "lo", real: true}
		if v.Method == inventory.TUN {
			at.dev = tunnelDevice
		}
		if v.Addr.Is6() {
			p.vips = append(p.vips, at)
			continue
		}
		found, err := p.inFiles(&at)
		if err != nil {
			return err
		}
		if !found {
			p.fromLive(&at)
			if at.dev == tunnelDevice && base {
				base, at.label, at.file = false, tunnelDevice, tunnelDevice
			}
			if err := p.fresh(&at); err != nil {
				return err
			}
		}
		p.vips = append(p.vips, at)
	}
	if p.d.Director == nil {
		return nil
	}
	for _, v := range p.d.Director.VIPs {
		if v.Own {
			continue
		}
		at := placement{addr: v.Addr, dev: v.Device}
		if v.Addr.Is4() {
			found, err := p.inFiles(&at)
			if err != nil {
				return err
			}
			if !found {
				p.fromLive(&at)
				if err := p.fresh(&at); err != nil {
					return err
				}
			}
		}
		p.dvips = append(p.dvips, at)
	}
	return nil
}

// inFiles looks for the VIP in the files that are there.
func (p *planner) inFiles(at *placement) (bool, error) {
	for _, c := range p.files {
		i := slices.IndexFunc(c.addrs, func(a ifcfgAddr) bool { return a.addr == at.addr })
		if i < 0 {
			continue
		}
		switch dev := parent(c.dev); {
		case dev == at.dev:
			at.label, at.file, at.slot = c.dev, c.name, c.addrs[i].slot
			if at.slot != "" {
				at.label = dev // IPADDRn has its device's label
			}
			return true, nil
		case quiet(dev):
			p.note(fmt.Sprintf("%s has the virtual address %s as well and is left so", c.path(), at.addr))
		case at.real:
			return false, step.Refuse("remove that file: on a real server the address belongs on lo or tunl0",
				"%s puts the virtual address %s on %s, where it answers for the director", c.path(), at.addr, dev)
		default:
			return false, step.Refuse("remove it there, or name that interface in the virtual service",
				"%s puts the virtual address %s on %s, the inventory wants it on %s", c.path(), at.addr, dev, at.dev)
		}
	}
	return false, nil
}

// fromLive takes the label that the VIP has now, if no file has it for another
// address: ifup-aliases flushes a label that changes.
func (p *planner) fromLive(at *placement) {
	for _, a := range p.f.Addrs {
		if a.Dev != at.dev || a.Prefix.Addr() != at.addr || !aliasLabel(a.Label) {
			continue
		}
		if !slices.ContainsFunc(p.files, func(c ifcfg) bool { return c.dev == a.Label || c.name == a.Label }) {
			at.label, at.file = a.Label, a.Label
			return
		}
	}
}

// aliasLabel says whether initscripts would take the label: letters, digits
// and "_" behind the colon.
func aliasLabel(label string) bool {
	_, n, ok := strings.Cut(label, ":")
	return ok && n != "" && strings.IndexFunc(n, func(r rune) bool {
		return r > 127 || !isName(byte(r), false)
	}) < 0
}

// fresh gives what has no place yet the first free number.
func (p *planner) fresh(at *placement) error {
	if at.label == "" {
		at.label = p.free(at.dev)
		at.file = at.label
	}
	if len(at.label) > 15 { // IFNAMSIZ less the end
		return step.Refuse("give the interface a shorter name, or set vip = \"foreign\"",
			"the label %s for %s is longer than the kernel takes", at.label, at.addr)
	}
	return nil
}

// bootVIPs adds the files that bring the VIPs up.
func (p *planner) bootVIPs() {
	var lo6 []netip.Addr
	for _, v := range p.vips {
		if v.addr.Is6() {
			lo6 = append(lo6, v.addr)
			continue
		}
		p.edit(scripts+"ifcfg-"+v.file, v.edit())
	}
	p.secondaries("lo", lo6)
	by := map[string][]netip.Addr{}
	for _, v := range p.dvips {
		if v.addr.Is6() {
			by[v.dev] = append(by[v.dev], v.addr)
			continue
		}
		p.edit(scripts+"ifcfg-"+v.file, v.edit())
	}
	var devs []string
	for dev := range by {
		devs = append(devs, dev)
	}
	slices.Sort(devs)
	for _, dev := range devs {
		p.secondaries(dev, by[dev])
	}
}

// edit makes the VIP's file, or mends in one that somebody else made what
// would keep the VIP from coming up as it must.
func (v placement) edit() step.Edit {
	return func(old []byte) ([]byte, error) {
		alias := strings.Contains(v.label, ":")
		if old == nil || bytes.HasPrefix(old, []byte(header)) {
			return templates.Render("linux/ifcfg-alias.tmpl", templates.Values{
				"Label": v.label, "Addr": v.addr.String(), "Alias": word(alias), "Silent": word(alias && v.real),
			})
		}
		f := parseShell(old)
		c := ifcfg{vars: f}
		if c.bits(v.slot) != 32 {
			if _, ok := f.get("PREFIX" + v.slot); ok {
				f = f.set("PREFIX"+v.slot, "32")
			} else {
				f = f.set("NETMASK"+v.slot, "255.255.255.255")
			}
		}
		onBoot := "ONBOOT"
		if alias {
			onBoot = "ONPARENT"
		}
		if s, ok := f.get(onBoot); ok && isNo(s) {
			f = f.set(onBoot, "yes")
		}
		return f.text, nil
	}
}

// stockLoopback is ifcfg-lo as initscripts install it.
const stockLoopback = `DEVICE=lo
IPADDR=127.0.0.1
NETMASK=255.0.0.0
NETWORK=127.0.0.0
BROADCAST=127.255.255.255
ONBOOT=yes
NAME=loopback
`

// secondaries adds IPv6 addresses to a device's file, in the form that
// initscripts document for addresses beyond the first (sysconfig.txt,
// IPV6ADDR_SECONDARIES): a list, which wants IPV6INIT and NETWORKING_IPV6.
func (p *planner) secondaries(dev string, addrs []netip.Addr) {
	if len(addrs) == 0 {
		return
	}
	name := dev
	for _, c := range p.files {
		if c.dev == dev {
			name = c.name
		}
	}
	p.edit(scripts+"ifcfg-"+name, func(old []byte) ([]byte, error) {
		if old == nil {
			old = []byte(stockLoopback) // the one device whose file comes with the system
		}
		f := parseShell(old)
		if s, _ := f.get("IPV6INIT"); !isYes(s) {
			f = f.set("IPV6INIT", "yes")
		}
		list, _ := f.get("IPV6ADDR_SECONDARIES")
		one, _ := f.get("IPV6ADDR")
		there := append(strings.Fields(list), one)
		for _, a := range addrs {
			p := netip.PrefixFrom(a, 128).String()
			if slices.Contains(there, p) || slices.Contains(there, a.String()) {
				continue
			}
			list = strings.TrimSpace(list + " " + p)
			f = f.set("IPV6ADDR_SECONDARIES", list)
		}
		return f.text, nil
	})
}
