package freebsd

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/agent/lab/unix"
)

// vars are shell variables.
type vars map[string]string

// source runs the configuration files through the shell and gives the
// variables that they leave. ok is false where the shell gave up, as it does
// at a syntax error: /etc/rc then ends with it.
func (s system) source(m *sim.Machine, files ...string) (v vars, ok bool) {
	var script strings.Builder
	for _, p := range files {
		f, err := m.FS.ReadFile(p)
		if err != nil {
			continue
		}
		script.Write(f.Data)
		script.WriteString("\n")
	}
	v = vars{}
	shell, done := bootShell(m)
	defer done()
	shell.After = func(name, value string) { v[name] = value; ok = true }
	exit := shell.Run(strings.NewReader(s.era.defaults()+script.String()+":\n"), "/etc/rc.conf", nil)
	return v, ok && exit == 0
}

// bootShell is the shell of the boot scripts. One that does not end, such as a
// loop in rc.conf, would keep a real machine from booting; here it is stopped,
// and counts as one that gave up.
func bootShell(m *sim.Machine) (*unix.Shell, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	return &unix.Shell{
		Scope: m.Scope(true),
		Call:  &sim.Call{Context: ctx, Argv: []string{"/bin/sh"}},
	}, cancel
}

// rcFiles are read by every script, then each script's own below rc.conf.d.
func rcFiles(own ...string) []string {
	files := []string{"/etc/defaults/rc.conf", "/etc/rc.conf", "/etc/rc.conf.local"}
	for _, name := range own {
		files = append(files, "/etc/rc.conf.d/"+name)
	}
	return files
}

// boot replays the files, as /etc/rc and the scripts sysctl, netif and routing
// do. A shell that gives up on rc.conf leaves a machine without a network.
func (s system) boot(m *sim.Machine) {
	k := s.on(m)
	s.started(m)
	for i, card := range s.spec.Interfaces {
		mac := s.spec.MACs[card.Device]
		if mac == "" {
			first := netip.Addr{}
			if len(card.Addresses) > 0 {
				first = card.Addresses[0].Addr()
			}
			mac = sim.MAC(first, i)
		}
		m.Net.Add(&sim.Link{
			Name: card.Device, Kind: sim.Ether, MTU: 1500, MAC: mac,
			Flags: map[string]bool{ifdisabled: s.era.scripts() > scripts6},
		})
	}
	m.Net.Add(&sim.Link{Name: "lo0", Kind: sim.Loopback, MTU: 16384, Flags: map[string]bool{}})

	netif, ok := s.source(m, rcFiles("network", "netif")...)
	if !ok {
		return
	}
	routing, ok := s.source(m, rcFiles("network", "routing")...)
	if !ok {
		return
	}
	r := rc{kernel: k, v: netif}
	r.sysctlConf()
	r.netif()
	r.v = routing
	r.routing()
	for _, l := range m.Net.Links {
		delete(l.Flags, tentative) // it is settled by the time of a login
	}
}

// rc is the boot scripts at work.
type rc struct {
	kernel
	v vars
}

// run runs a command of the machine as the scripts do: its words are split at
// blanks, and its output goes to the console.
func (r rc) run(words ...string) bool {
	var argv []string
	for _, w := range words {
		argv = append(argv, strings.FieldsFunc(w, func(b rune) bool { return b == ' ' || b == '\t' || b == '\n' })...)
	}
	return r.m.Sub(&sim.Call{Argv: argv}) == 0
}

// get gives the variable of an interface, in whose name what no variable can
// hold is "_" (get_if_var).
func (r rc) get(before, dev, after string) string {
	return r.v[before+strings.NewReplacer(".", "_", "-", "_", "/", "_", "+", "_").Replace(dev)+after]
}

// yes is checkyesno of rc.subr.
func (r rc) yes(name string) bool {
	switch strings.ToLower(r.v[name]) {
	case "yes", "true", "on", "1":
		return true
	}
	return false
}

// none says whether a variable is "NO" or empty.
func none(v string) bool { return v == "" || strings.EqualFold(v, "no") }

func (r rc) sysctlConf() {
	f, err := r.m.FS.ReadFile("/etc/sysctl.conf")
	if err != nil {
		return
	}
	for _, line := range strings.Split(string(f.Data), "\n") {
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		r.run("sysctl", strings.Trim(words[0], `"`))
	}
}

func (r rc) netif() {
	r.clone()
	for _, dev := range r.interfaces() {
		r.start(dev)
	}
	if r.era.scripts() == scripts6 && r.yes("ipv6_enable") {
		r.ipv6Six()
	}
}

// clone makes what cloned_interfaces and gif_interfaces name.
func (r rc) clone() {
	for _, word := range strings.Fields(r.v["cloned_interfaces"]) {
		name, _, _ := strings.Cut(word, ":") // "gif0:sticky"
		args := ""
		if r.era.scripts() > scripts6 {
			args = r.get("create_args_", name, "")
		}
		r.run("ifconfig", name, "create", args)
	}
	if none(r.v["gif_interfaces"]) {
		return
	}
	for _, name := range strings.Fields(r.v["gif_interfaces"]) {
		ends := r.get("gifconfig_", name, "")
		switch r.era.scripts() {
		case scripts6:
			if ends == "" {
				continue
			}
			r.run("ifconfig", name, "create")
			r.run("ifconfig", name, "tunnel", ends)
			r.run("ifconfig", name, "up")
		case scripts10:
			// It overwrites ifconfig_IF: the tunnel comes up, its address is lost.
			if r.m.Net.Link(name) == nil && r.run("ifconfig", name, "create") && ends != "" {
				r.v["ifconfig_"+name] = "tunnel " + ends
			}
		case scripts13:
			if r.m.Net.Link(name) == nil {
				r.run("ifconfig", name, "create tunnel", ends)
			}
		}
	}
}

// interfaces lists those to configure: lo0 first, where they are found by
// themselves, and otherwise as they are named. Era 6 leaves lo0 out where it
// is not named.
func (r rc) interfaces() []string {
	var list []string
	if named := r.v["network_interfaces"]; !strings.EqualFold(named, "auto") {
		list = strings.Fields(named)
		for _, word := range strings.Fields(r.v["cloned_interfaces"]) {
			name, _, _ := strings.Cut(word, ":")
			list = append(list, name)
		}
		if r.era.scripts() > scripts6 {
			if !slices.Contains(list, "lo0") {
				list = append([]string{"lo0"}, list...)
			}
			if !none(r.v["gif_interfaces"]) {
				list = append(list, strings.Fields(r.v["gif_interfaces"])...)
			}
		}
		return list
	}
	list = []string{"lo0"}
	for _, l := range r.m.Net.Links {
		if l.Name != "lo0" {
			list = append(list, l.Name)
		}
	}
	return list
}

// start brings one interface up: start_if.IF, ifconfig_IF, the aliases.
func (r rc) start(dev string) {
	if f, err := r.m.FS.ReadFile("/etc/start_if." + dev); err == nil {
		shell, done := bootShell(r.m)
		defer done()
		shell.Run(strings.NewReader(string(f.Data)+"\n"), "/etc/start_if."+dev, nil)
	}
	if r.era.scripts() == scripts6 {
		r.startSix(dev)
		return
	}
	ipv6 := dev == "lo0" || r.yes("ipv6_activate_all_interfaces") || r.get("ifconfig_", dev, "_ipv6") != ""
	configured := dev == "lo0"
	if dev == "lo0" || r.yes("ipv6_activate_all_interfaces") {
		r.run("ifconfig", dev, "inet6 -ifdisabled")
	}
	args := r.get("ifconfig_", dev, "")
	if args != "" && !strings.EqualFold(args, "dhcp") {
		r.run("ifconfig", dev, args)
		configured = true
	}
	if six := r.get("ifconfig_", dev, "_ipv6"); six != "" {
		if !strings.HasPrefix(six, "inet6 ") && strings.Contains(six, ":") {
			six = "inet6 " + six
		}
		r.run("ifconfig", dev, "inet6 -ifdisabled")
		r.run("ifconfig", dev, six)
		configured = true
	}
	if configured {
		r.run("ifconfig", dev, "up")
	}
	if dev == "lo0" && args == "" {
		r.run("ifconfig", "lo0 inet 127.0.0.1/8 alias")
	}
	r.aliases(dev, "inet")
	if ipv6 {
		r.aliases(dev, "inet6")
	}
}

// startSix is start in era 6. 5.0's network1 passed over what was up already,
// and gif_up has that effect.
func (r rc) startSix(dev string) {
	l := r.m.Net.Link(dev)
	passed := r.era.major == 5 && r.era.minor == 0 && l != nil && l.Up && l.Kind == sim.IPTunnel
	if args := r.get("ifconfig_", dev, ""); args != "" && !passed {
		r.run("ifconfig", dev, args)
		r.run("ifconfig", dev, "up")
	}
	for n := 0; ; n++ {
		args := r.get("ifconfig_", dev, fmt.Sprintf("_alias%d", n))
		if args == "" {
			return
		}
		r.run("ifconfig", dev, args, "alias")
	}
}

// ipv6Six is rc.d/network_ipv6 of era 6.
func (r rc) ipv6Six() {
	for _, l := range r.m.Net.Links {
		if args := r.get("ipv6_ifconfig_", l.Name, ""); args != "" {
			r.run("ifconfig", l.Name, "inet6", args, "alias")
		}
		for n := 0; ; n++ {
			args := r.get("ipv6_ifconfig_", l.Name, fmt.Sprintf("_alias%d", n))
			if args == "" {
				break
			}
			r.run("ifconfig", l.Name, "inet6", args, "alias")
		}
	}
}

// aliases adds those of one family: ifconfig_IF_aliases, then ifconfig_IF_aliasN
// by N. An empty one ends them; one without a family is IPv4.
func (r rc) aliases(dev, af string) {
	for _, args := range split(r.get("ifconfig_", dev, "_aliases")) {
		r.alias(dev, af, args)
	}
	prefix := "ifconfig_" + strings.NewReplacer(".", "_", "-", "_").Replace(dev) + "_alias"
	var numbers []int
	for name := range r.v {
		rest, ok := strings.CutPrefix(name, prefix)
		if n, err := strconv.Atoi(rest); ok && err == nil {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	for _, n := range numbers {
		args := r.v[prefix+strconv.Itoa(n)]
		if args == "" {
			return
		}
		r.alias(dev, af, args)
	}
}

// split cuts "inet A inet6 B" before each family.
func split(list string) []string {
	var out []string
	for _, word := range strings.Fields(list) {
		if word == "inet" || word == "inet6" || len(out) == 0 {
			out = append(out, word)
			continue
		}
		out[len(out)-1] += " " + word
	}
	return out
}

// alias adds one alias, "inet 192.0.2.10-12/32" for each of the range.
func (r rc) alias(dev, af, args string) {
	family, rest, _ := strings.Cut(args, " ")
	if family != "inet" && family != "inet6" {
		family, rest = "inet", args
	}
	if family != af {
		return
	}
	for _, one := range expandRange(rest) {
		r.run("ifconfig", dev, family, one, "alias")
	}
}

// expandRange is ifalias_expand_addr for what it has of one range, in the last
// number of an IPv4 address: all but the first get /32.
func expandRange(args string) []string {
	addr, more, _ := strings.Cut(args, " ")
	addr, length, hasLength := strings.Cut(addr, "/")
	head, last, ok := strings.Cut(addr, "-")
	i := strings.LastIndexByte(head, '.')
	from, err1 := strconv.Atoi(head[i+1:])
	to, err2 := strconv.Atoi(last)
	if !ok || i < 0 || err1 != nil || err2 != nil || to > 255 || from > to {
		return []string{args}
	}
	var out []string
	for n := from; n <= to; n++ {
		one := fmt.Sprintf("%s.%d", head[:i], n)
		switch {
		case n > from:
			one += "/32"
		case hasLength:
			one += "/" + length
		}
		out = append(out, strings.TrimSpace(one+" "+more))
	}
	return out
}

// routing is rc.d/routing.
func (r rc) routing() {
	if r.era.scripts() > scripts6 {
		r.run("route add -host 127.0.0.1 -iface lo0")
	}
	if v := r.v["defaultrouter"]; !none(v) {
		r.run("route add default", v)
	}
	for _, name := range strings.Fields(r.v["static_routes"]) {
		r.run("route add", r.v["route_"+name])
	}
	if lo := r.m.Net.Link("lo0"); lo != nil && r.era.scripts() > scripts6 {
		lo.Flags[reject6] = true
	}
	if v := r.v["ipv6_defaultrouter"]; !none(v) {
		r.run("route add -inet6 default", v)
	}
	for _, knob := range [][2]string{{"gateway_enable", "net.inet.ip.forwarding"}, {"ipv6_gateway_enable", "net.inet6.ip6.forwarding"}} {
		switch {
		case r.yes(knob[0]):
			r.run("sysctl", knob[1]+"=1")
		case r.era.scripts() == scripts13:
			r.run("sysctl", knob[1]+"=0") // era 6 never resets it
		}
	}
}
