package solaris

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
)

// A booter replays the service methods of /lib/svc/method on one machine,
// through the commands that they call.
type booter struct {
	*system
	m *sim.Machine
}

// boot runs the methods in their order. What they would print goes to
// /var/log/boot.log.
func (s *system) boot(m *sim.Machine) {
	s.console.Reset()
	b := &booter{s, m}
	b.run("ifconfig", "lo0", "plumb", "127.0.0.1", "up") // net-loopback
	b.physical()
	b.tunnels()
	b.routing()
	b.run("ifconfig", "-auD4", "netmask", "+", "broadcast", "+") // net-svc; illumos: net-netmask
	m.FS.Put("/var/log/boot.log", 0o600, s.console.String())
}

func (b *booter) run(argv ...string) (stdout string, exit int) {
	var out strings.Builder
	exit = b.m.Sub(&sim.Call{Argv: argv, Stdout: &out, Stderr: &b.console})
	if exit != 0 {
		fmt.Fprintf(&b.console, "%s+ %s: exit status %d\n", out.String(), strings.Join(argv, " "), exit)
	}
	return out.String(), exit
}

func (b *booter) log(format string, args ...any) { fmt.Fprintf(&b.console, format+"\n", args...) }

var (
	physicalFile = regexp.MustCompile(`^hostname\..*[0-9]$`)
	tunnelFile   = regexp.MustCompile(`^hostname\.ip.*\..*[0-9]$`)
)

// hostnameFiles are the files that a glob finds, as the names behind
// "hostname.", in the order of the alphabet.
func (b *booter) hostnameFiles(glob *regexp.Regexp) []string {
	entries, err := b.m.FS.ReadDir("/etc")
	if err != nil {
		return nil
	}
	var list []string
	for _, e := range entries {
		if glob.MatchString(e.Name) && !e.Mode.IsDir() {
			list = append(list, strings.TrimPrefix(e.Name, "hostname."))
		}
	}
	return list
}

// read gives the lines that the shell's `while read` sees: words split at
// blanks, and a last line without a newline lost.
func read(file string) [][]string {
	var lines [][]string
	for line := range strings.Lines(file) {
		whole, ok := strings.CutSuffix(line, "\n")
		if !ok {
			break
		}
		lines = append(lines, strings.FieldsFunc(whole, func(r rune) bool { return r == ' ' || r == '\t' }))
	}
	return lines
}

// physical is net-physical: everything is plumbed, then each file is fed to
// ifconfig, then come the default routers. Solaris 10 passes over names with a
// further dot; illumos only over tunnels, which network/iptun has.
func (b *booter) physical() {
	var list []string
	for _, name := range b.hostnameFiles(physicalFile) {
		switch {
		case strings.HasPrefix(name, "ip.") || strings.HasPrefix(name, "ip6."):
			continue
		case strings.Contains(name, ".") && !b.spec.Illumos:
			continue
		case name == "xx0": // passed over "for some unknown historical reason"
			continue
		}
		if name == "lo0" {
			list = append(list, name) // net-loopback has plumbed it
			continue
		}
		if _, exit := b.run("ifconfig", name, "plumb"); exit == 0 {
			list = append(list, name)
		} else {
			b.log("moving addresses from failed IPv4 interfaces: %s", name)
		}
	}
	for _, name := range list {
		b.hostname(name, text(b.m.FS, "/etc/hostname."+name))
	}
	if strings.TrimSpace(text(b.m.FS, "/etc/nodename")) == "" {
		b.log("net-physical: /etc/nodename is empty: RARP is tried on interfaces that are down")
	}
	for _, words := range read(text(b.m.FS, "/etc/defaultrouter")) {
		if len(words) > 0 && !strings.HasPrefix(words[0], "#") {
			b.run("route", "-n", "add", "default", "-gateway", words[0])
		}
	}
}

// hostname is inet_process_hostname (net_include.sh): each line is handed to
// ifconfig when the next one is read. Only where none was handed over before
// the end, the last one gets the traditional epilogue. On illumos a blank line
// at the start counts as one that was.
func (b *booter) hostname(name, file string) {
	var pending []string
	many := false
	for _, words := range read(file) {
		if len(pending) > 0 {
			b.ifconfigInet(name, pending)
			many = true
		}
		if len(words) == 0 && b.spec.Illumos {
			many = true
		}
		pending = words
	}
	if len(pending) == 0 {
		return
	}
	if !many {
		pending = append(append([]string{}, pending...), "netmask", "+", "broadcast", "+", "up")
	}
	b.ifconfigInet(name, pending)
}

func (b *booter) ifconfigInet(name string, words []string) {
	b.run(append([]string{"ifconfig", name, "inet"}, words...)...)
}

// tunnels is net-init on Solaris 10, network/iptun on illumos: plumb, then
// every line as its own ifconfig. illumos brings the tunnel up by itself.
func (b *booter) tunnels() {
	for _, name := range b.hostnameFiles(tunnelFile) {
		if strings.HasPrefix(name, "ip6.") {
			continue
		}
		if _, exit := b.run("ifconfig", name, "plumb"); exit != 0 {
			continue
		}
		for _, words := range read(text(b.m.FS, "/etc/hostname."+name)) {
			if len(words) > 0 {
				b.ifconfigInet(name, words)
			}
		}
		if b.spec.Illumos {
			b.run("ifconfig", name, "inet", "up")
		}
	}
}

// routing is net-routing-setup. It reads /etc/defaultrouter by grep and awk,
// for which a last line without newline counts; a default route that is not
// listed goes, and a file that lists none flushes all routes.
func (b *booter) routing() {
	if exists(b.m.FS, "/etc/defaultrouter") {
		var routers []string
		for line := range strings.Lines(text(b.m.FS, "/etc/defaultrouter")) {
			if w := strings.Fields(line); len(w) > 0 && !strings.HasPrefix(line, "#") {
				routers = append(routers, w[0])
			}
		}
		before := ""
		for _, r := range b.m.Net.Routes {
			if r.Dst.Bits() == 0 {
				before = r.Gateway.String()
				break
			}
		}
		if len(routers) == 0 {
			b.run("route", "-f")
		}
		remove := before != "" && len(routers) > 0
		for _, r := range routers {
			out, exit := b.addDefault(r)
			if exit != 0 && !strings.Contains(out, routeExists) {
				b.log("%s", strings.TrimSpace(out))
			}
			remove = remove && r != before
		}
		if remove {
			b.run("route", "-n", "delete", "default", "-gateway", before)
		}
	}
	for _, words := range read(text(b.m.FS, staticRoutes)) {
		if len(words) > 0 && !strings.HasPrefix(words[0], "#") {
			if words[0] == "add" {
				words = words[1:]
			}
			b.run(append([]string{"route", "add"}, words...)...)
		}
	}
	for _, r := range b.m.Net.Routes {
		if r.Dst.Bits() == 0 {
			return
		}
	}
	b.log("net-routing-setup: no default router: in.routed may start")
}

func (b *booter) addDefault(router string) (string, int) {
	var out strings.Builder
	exit := b.m.Sub(&sim.Call{Argv: []string{"route", "-n", "add", "default", "-gateway", router}, Stdout: &out, Stderr: &b.console})
	return out.String(), exit
}
