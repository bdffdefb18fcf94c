package ifcfg

import (
	"bytes"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/lvsfleet/lvsfleet/providers/linux/persist"
	"github.com/lvsfleet/lvsfleet/providers/step"
	"github.com/lvsfleet/lvsfleet/templates"
)

// Folder is where initscripts look for interfaces' files.
const Folder = "/etc/sysconfig/network-scripts"

const scripts = Folder + "/"

// A file is one ifcfg file as it is.
type file struct {
	name  string // behind "ifcfg-"
	dev   string // the device, or alias, that it is for
	vars  *shellFile
	addrs []ifcfgAddr
}

// An ifcfgAddr is an IPv4 address in a file.
type ifcfgAddr struct {
	addr netip.Addr
	slot string // what stands behind IPADDR
	bits int    // -1: not said; an alias inherits its device's
}

func (c file) path() string { return scripts + "ifcfg-" + c.name }

// parse takes a file apart.
func parse(name string, text []byte, m persist.Machine) file {
	c := file{name: name, vars: parseShell(text)}
	c.dev, _ = c.vars.get("DEVICE")
	if c.dev == "" {
		c.dev = byMAC(c.vars, m)
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
	return c
}

// byMAC finds the device that a file names by HWADDR alone.
func byMAC(vars *shellFile, m persist.Machine) string {
	mac, _ := vars.get("HWADDR")
	for _, l := range m.Links {
		if mac != "" && l.MAC == strings.ToLower(mac) {
			return l.Name
		}
	}
	return ""
}

// bits is the length of an address of the file: PREFIX wins over NETMASK
// (ifup-aliases, network-functions expand_config).
func (c file) bits(slot string) int {
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

// A placement is the file in which a VIP stands, or is to.
type placement struct {
	persist.VIP
	file string // its ifcfg file, without "ifcfg-"; IPv4
	// slot is the number behind IPADDR in a file that is there and that
	// somebody else made: "", "0", "1", ...
	slot string
	real bool // on a real server: nobody may be answered
}

// place finds the file that has the VIP; where none has, it is the one named
// after its label.
func (p *planner) place(v persist.VIP, real bool) placement {
	for _, c := range p.f.files {
		if persist.Device(c.dev) != v.Dev {
			continue
		}
		if i := slices.IndexFunc(c.addrs, func(a ifcfgAddr) bool { return a.addr == v.Addr }); i >= 0 {
			return placement{v, c.name, c.addrs[i].slot, real}
		}
	}
	return placement{v, v.Label, "", real}
}

// vips adds the files that bring the VIPs up.
func (p *planner) vips() {
	add := func(list []persist.VIP, real bool) {
		var devs []string
		by := map[string][]netip.Addr{}
		for _, v := range list {
			if v.Addr.Is6() {
				if by[v.Dev] == nil {
					devs = append(devs, v.Dev)
				}
				by[v.Dev] = append(by[v.Dev], v.Addr)
				continue
			}
			at := p.place(v, real)
			p.out.Edit(scripts+"ifcfg-"+at.file, at.edit())
		}
		slices.Sort(devs)
		for _, dev := range devs {
			p.secondaries(dev, by[dev])
		}
	}
	add(p.w.Real, true)
	add(p.w.Director, false)
}

// edit makes the VIP's file, or mends in one that somebody else made what
// would keep the VIP from coming up as it must.
func (v placement) edit() step.Edit {
	return func(old []byte) ([]byte, error) {
		alias := strings.Contains(v.Label, ":")
		if old == nil || bytes.HasPrefix(old, []byte(persist.Header)) {
			return templates.Render("linux/ifcfg-alias.tmpl", templates.Values{
				"Label": v.Label, "Addr": v.Addr.String(), "Alias": word(alias), "Silent": word(alias && v.real),
			})
		}
		f := parseShell(old)
		c := file{vars: f}
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

// StockLoopback is ifcfg-lo as initscripts install it.
const StockLoopback = `DEVICE=lo
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
	name := dev
	for _, c := range p.f.files {
		if c.dev == dev {
			name = c.name
		}
	}
	p.out.Edit(scripts+"ifcfg-"+name, func(old []byte) ([]byte, error) {
		if old == nil {
			old = []byte(StockLoopback) // the one device whose file comes with the system
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
