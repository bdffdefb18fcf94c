package linux

import (
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
)

const scripts = "/etc/sysconfig/network-scripts/"

// network is `service network start` (rc.d/init.d/network): the loopback, then
// every interface whose file does not say ONBOOT=no; before and after them the
// kernel settings again, where no systemd sets them.
func (b *booter) network() {
	vars := b.source(nil, "/etc/sysconfig/network")
	if isFalse(vars["NETWORKING"]) {
		return
	}
	if !b.era.systemd() {
		b.applySysctl()
	}
	if vars["IPV6FORWARDING"] == "yes" { // init.ipv6-global start pre
		b.run("sysctl", "-e", "-w", "net.ipv6.conf.all.forwarding=1")
	}
	b.ifup("lo")
	for _, config := range b.interfaces() {
		if onBootNo.MatchString(text(b.m.FS, scripts+"ifcfg-"+config)) {
			continue
		}
		b.ifup(config)
	}
	if !b.era.systemd() {
		b.applySysctl()
	}
}

// onBootNo is the egrep of the network script.
var onBootNo = regexp.MustCompile(`(?m)^ONBOOT=['"]?[Nn][Oo]['"]?`)

// fileName is what the script's sed lets through, beside what it discards.
var fileName = regexp.MustCompile(`^ifcfg-[A-Za-z0-9._-]+$`)

// interfaces are the configurations that the network script goes through:
// aliases, ranges and the loopback left out, in the order of name and number.
func (b *booter) interfaces() []string {
	var list []string
	for _, n := range names(b.m.FS, strings.TrimSuffix(scripts, "/")) {
		if !fileName.MatchString(n) || ignored(n) || n == "ifcfg-lo" || strings.Contains(n, "-range") {
			continue
		}
		list = append(list, strings.TrimPrefix(n, "ifcfg-"))
	}
	key := func(s string) (string, int) {
		i := strings.IndexAny(s, "0123456789")
		if i < 0 {
			return s, 0
		}
		n, _ := strconv.Atoi(strings.TrimRight(s[i:], ".-_abcdefghijklmnopqrstuvwxyz"))
		return s[:i], n
	}
	slices.SortStableFunc(list, func(x, y string) int {
		nx, ix := key(x)
		ny, iy := key(y)
		return first(strings.Compare(nx, ny), ix-iy)
	})
	return list
}

func isFalse(v string) bool {
	switch strings.ToLower(v) {
	case "no", "f", "false", "off", "n", "0":
		return true
	}
	return false
}

// ifup brings one configuration up: TYPE=IPIP through ifup-tunnel (from 8.38
// on, so not on FC5), everything else through ifup-eth.
func (b *booter) ifup(config string) {
	file := scripts + "ifcfg-" + config
	if !exists(b.m.FS, file) {
		b.log("ifup: configuration for %s not found.", config)
		return
	}
	vars := b.source(nil, "/etc/sysconfig/network", file)
	if vars["DEVICE"] == "" {
		vars["DEVICE"] = config
	}
	if b.era > fc5 && (vars["TYPE"] == "IPIP" || vars["TYPE"] == "GRE") {
		if !b.ifupTunnel(vars) {
			return
		}
	} else if !b.ifupEth(vars) {
		return
	}
	b.ifupIPv6(vars)
	b.routes(vars["DEVICE"])
	b.aliases(vars["DEVICE"], file)
}

// present is is_available: FC5's asks modprobe for the device, which knows it
// by an alias of modprobe.conf; later ones only look.
func (b *booter) present(dev string) bool {
	if b.k.Link(dev) == nil && b.era == fc5 {
		b.run("modprobe", dev)
	}
	return b.k.Link(dev) != nil
}

// ifupEth is ifup-eth (8.31, 9.03, 9.49), without DHCP, bonds and bridges. It
// says whether the script came to its end.
func (b *booter) ifupEth(vars map[string]string) bool {
	dev := vars["DEVICE"]
	if !b.present(dev) {
		b.log("Device %s does not seem to be present, delaying initialization.", dev)
		return false
	}
	l := b.k.Link(dev)
	if mac := vars["HWADDR"]; mac != "" && !strings.EqualFold(mac, l.MAC) {
		b.log("Device %s has different MAC address than expected, ignoring.", dev)
		return false
	}
	if mtu := vars["MTU"]; mtu != "" {
		b.run("ip", "link", "set", "dev", dev, "mtu", mtu)
	}
	if vars["BOOTPROTO"] == "dhcp" || vars["BOOTPROTO"] == "bootp" {
		b.log("Determining IP information for %s... failed.", dev)
		return false
	}
	b.run("ip", "link", "set", "dev", dev, "up")
	addrs := b.expand(vars)
	for _, a := range addrs {
		if b.has(dev, a.prefix) {
			continue
		}
		brd := a.broadcast
		if brd == "" {
			brd = "+"
		}
		argv := []string{"ip", "addr", "add", a.prefix.String(), "brd", brd, "dev", dev, "label", dev}
		if dev == "lo" {
			argv = append(argv, "scope", "host")
		} else if scope := strings.Fields(vars["SCOPE"]); len(scope) == 2 {
			argv = append(argv, scope...)
		}
		b.run(argv...)
	}
	if len(addrs) > 0 {
		b.gateway(vars, addrs[0].prefix)
	}
	if vars["NOZEROCONF"] == "" && dev != "lo" && (len(addrs) > 0 || b.era >= el7) {
		if b.era == fc5 {
			b.run("ip", "route", "replace", "169.254.0.0/16", "dev", dev)
		} else {
			b.run("ip", "route", "add", "169.254.0.0/16", "dev", dev, "metric", strconv.Itoa(1000+l.Index), "scope", "link")
		}
	}
	return true
}

// A configured address of a file.
type configured struct {
	prefix    netip.Prefix
	broadcast string
}

// expand is expand_config: IPADDR with NETMASK or PREFIX, and from EL6 on
// IPADDR0, IPADDR1 and so on. An address without either is classful.
func (b *booter) expand(vars map[string]string) []configured {
	var list []configured
	suffixes := []string{""}
	if b.era > fc5 {
		for i := range 257 {
			suffixes = append(suffixes, strconv.Itoa(i))
		}
	}
	for _, s := range suffixes {
		if vars["IPADDR"+s] == "" {
			continue
		}
		pre, ok := b.ipcalc(vars["IPADDR"+s], vars["NETMASK"+s], vars["PREFIX"+s])
		if !ok {
			continue
		}
		list = append(list, configured{pre, vars["BROADCAST"+s]})
	}
	return list
}

// ipcalc is ipcalc(1) --prefix.
func (b *booter) ipcalc(addr, netmask, prefix string) (netip.Prefix, bool) {
	a, err := netip.ParseAddr(addr)
	if err != nil || !a.Is4() {
		b.log("ipcalc: bad IPv4 address: %s", addr)
		return netip.Prefix{}, false
	}
	bits := 24
	switch c := a.As4()[0]; {
	case c < 128:
		bits = 8
	case c < 192:
		bits = 16
	}
	switch {
	case netmask != "":
		n, ok := maskBits(netmask)
		if !ok {
			b.log("ipcalc: bad netmask: %s", netmask)
			return netip.Prefix{}, false
		}
		bits = n
	case prefix != "":
		n, err := strconv.Atoi(prefix)
		if err != nil || n < 0 || n > 32 {
			b.log("ipcalc: bad prefix: %s", prefix)
			return netip.Prefix{}, false
		}
		bits = n
	}
	return netip.PrefixFrom(a, bits), true
}

func maskBits(s string) (int, bool) {
	m, err := netip.ParseAddr(s)
	if err != nil || !m.Is4() {
		return 0, false
	}
	b := m.As4()
	v := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	for n := range 33 {
		if v == uint32(0xffffffff)<<(32-n) || n == 0 && v == 0 {
			return n, true
		}
	}
	return 0, false
}

func (b *booter) has(dev string, p netip.Prefix) bool {
	l := b.k.Link(dev)
	return l != nil && slices.ContainsFunc(l.Addrs, func(a sim.Addr) bool { return a.Prefix == p })
}

// gateway sets the default route where GATEWAY lies in the first address's
// subnet and GATEWAYDEV, if set, is this device.
func (b *booter) gateway(vars map[string]string, own netip.Prefix) {
	dev, only := vars["DEVICE"], vars["GATEWAYDEV"]
	if isFalse(vars["DEFROUTE"]) || only != "" && only != dev {
		return
	}
	gw, err := netip.ParseAddr(vars["GATEWAY"])
	argv := []string{"ip", "route", "replace", "default"}
	if m := vars["METRIC"]; m != "" {
		argv = append(argv, "metric", m)
	}
	switch {
	case err == nil && own.Masked().Contains(gw):
		argv = append(argv, "via", gw.String())
		if b.era == fc5 {
			argv = append(argv, "dev", dev)
		}
	case only == dev:
		argv = append(argv, "dev", dev)
	default:
		return
	}
	b.run(argv...)
}

// ifupTunnel is ifup-tunnel for IP-in-IP.
func (b *booter) ifupTunnel(vars map[string]string) bool {
	dev := vars["DEVICE"]
	if dev == "tunl0" || vars["TYPE"] != "IPIP" {
		b.log("Device '%s' isn't supported as a valid GRE device name.", dev)
		return false
	}
	b.run("modprobe", "ipip")
	argv := []string{"ip", "tunnel", "add", dev, "mode", "ipip"}
	if v := vars["MY_OUTER_IPADDR"]; v != "" {
		argv = append(argv, "local", v)
	}
	if v := vars["PEER_OUTER_IPADDR"]; v != "" {
		argv = append(argv, "remote", v)
	}
	b.run(argv...)
	if mtu := vars["MTU"]; mtu != "" {
		b.run("ip", "link", "set", dev, "mtu", mtu)
	}
	argv = []string{"ip", "addr", "add", vars["MY_INNER_IPADDR"], "dev", dev}
	if peer := vars["PEER_INNER_IPADDR"]; peer != "" && peer != vars["PEER_OUTER_IPADDR"] {
		argv = append(argv, "peer", peer)
	}
	b.run(argv...)
	b.run("ip", "link", "set", "dev", dev, "up")
	return true
}

// ifupIPv6 is ifup-ipv6, without autoconfiguration and 6to4. Up to EL6 it runs
// only where NETWORKING_IPV6 and IPV6INIT say yes, later where IPV6INIT does
// not say no.
func (b *booter) ifupIPv6(vars map[string]string) {
	dev := vars["DEVICE"]
	if b.era < el7 && (vars["NETWORKING_IPV6"] != "yes" || vars["IPV6INIT"] != "yes") || isFalse(vars["IPV6INIT"]) {
		return
	}
	add := func(a string) {
		if !strings.Contains(a, "/") {
			a += "/64"
		}
		b.run("ip", "-6", "addr", "replace", a, "dev", dev)
	}
	if a := vars["IPV6ADDR"]; a != "" {
		add(a)
	}
	if vars["IPV6_SET_SYSCTLS"] != "no" {
		forward, auto := "0", "1"
		if vars["IPV6FORWARDING"] == "yes" {
			forward, auto = "1", "0"
			if vars["IPV6_ROUTER"] == "no" {
				forward = "0"
			}
		}
		for _, kv := range [][2]string{{"forwarding", forward}, {"accept_ra", auto}, {"accept_redirects", auto}, {"autoconf", auto}} {
			b.run("sysctl", "-q", "-e", "-w", confKey(6, dev, kv[0])+"="+kv[1])
		}
	}
	for _, a := range strings.Fields(vars["IPV6ADDR_SECONDARIES"]) {
		add(a)
	}
	gw, only := vars["IPV6_DEFAULTGW"], vars["IPV6_DEFAULTDEV"]
	if i := strings.IndexByte(gw, '%'); i >= 0 {
		gw, only = gw[:i], gw[i+1:]
	}
	if gw == "" || only != "" && only != dev {
		return
	}
	argv := []string{"ip", "-6", "route", "add", "default", "via", gw, "metric", "1"}
	if only != "" {
		argv = append(argv, "dev", only)
	}
	b.run(argv...)
}

// routes is ifup-routes for files in the form of ip(8).
func (b *booter) routes(dev string) {
	for line := range strings.Lines(text(b.m.FS, scripts+"route-"+dev)) {
		w := strings.Fields(line)
		if len(w) == 0 || strings.HasPrefix(w[0], "#") || strings.Contains(w[0], "=") {
			continue
		}
		argv := append([]string{"ip", "route", "add"}, w...)
		if !slices.Contains(w, "dev") {
			argv = append(argv, "dev", dev)
		}
		b.run(argv...)
	}
}
