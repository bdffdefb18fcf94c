package linux

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
)

// known are the modules that a kernel of these releases can load, with the era
// from which on it has them, and what they need.
var known = map[string]struct {
	since era
	needs []string
}{
	"ipip": {fc5, nil}, "dummy": {fc5, nil}, "bonding": {fc5, nil}, "bridge": {fc5, nil}, "ipv6": {fc5, nil},
	"ip_vs":    {fc5, nil},
	"ip_vs_rr": {fc5, vsOnly}, "ip_vs_wrr": {fc5, vsOnly}, "ip_vs_lc": {fc5, vsOnly}, "ip_vs_wlc": {fc5, vsOnly},
	"ip_vs_lblc": {fc5, vsOnly}, "ip_vs_lblcr": {fc5, vsOnly}, "ip_vs_dh": {fc5, vsOnly}, "ip_vs_sh": {fc5, vsOnly},
	"ip_vs_sed": {fc5, vsOnly}, "ip_vs_nq": {fc5, vsOnly}, "ip_vs_ftp": {fc5, vsOnly},
	"ip_vs_pe_sip": {el7, vsOnly},
	"ip_vs_fo":     {current, vsOnly}, "ip_vs_ovf": {current, vsOnly}, "ip_vs_mh": {current, vsOnly},
	"nf_conntrack": {el6, nil}, "ip_conntrack": {fc5, nil},
}

var vsOnly = []string{"ip_vs"}

// aliases are names that depmod gives modules (modules.alias).
var aliases = map[string]string{"netdev-tunl0": "ipip", "rtnl-link-ipip": "ipip"}

// has says whether there is such a module, loaded or not.
func (k kernel) has(name string) error {
	name = strings.ReplaceAll(name, "-", "_")
	if real, ok := aliases[strings.ReplaceAll(name, "_", "-")]; ok {
		name = real
	}
	if m, ok := known[name]; !ok || m.since > k.era {
		return fmt.Errorf("module %s not found", name)
	}
	return nil
}

// load loads a module with what it needs, and lets it set up what it brings.
func (k kernel) load(name string) error {
	name = strings.ReplaceAll(name, "-", "_")
	if real, ok := aliases[strings.ReplaceAll(name, "_", "-")]; ok {
		name = real
	}
	m, ok := known[name]
	if !ok || m.since > k.era {
		return fmt.Errorf("module %s not found", name)
	}
	if k.Modules[name] {
		return nil
	}
	for _, n := range m.needs {
		if err := k.load(n); err != nil {
			return err
		}
	}
	k.Modules[name] = true
	switch name {
	case "ipip":
		if k.Link("tunl0") == nil { // ipip_init_net: the fallback device, without ends
			k.addLink(&sim.Link{Name: "tunl0", Kind: sim.IPTunnel, MTU: 1480, Local: netip.Addr{}, Remote: netip.Addr{}})
		}
	case "ip_vs":
		for key, d := range vs {
			if d.since <= k.era {
				k.Sysctls["net.ipv4.vs."+key] = d.value
			}
		}
	}
	return nil
}

// modprobe is modprobe(8) of module-init-tools, of kmod from EL7 on. Removal
// is not modelled.
func modprobe(e era) sim.Command {
	return func(m *sim.Machine, c *sim.Call) int {
		quiet, all, dry := false, false, false
		var list []string
		for i, a := range c.Argv[1:] {
			switch {
			case a == "--":
				list = append(list, c.Argv[i+2:]...)
			case a == "-q" || a == "--quiet":
				quiet = true
				continue
			case a == "-n" || a == "--dry-run":
				dry = true
				continue
			case a == "-a" || a == "--all":
				all = true
				continue
			case strings.HasPrefix(a, "-"):
				return c.Refuse()
			default:
				list = append(list, a)
				continue
			}
			break
		}
		if len(list) == 0 {
			fmt.Fprintln(c.Stderr, "modprobe: ERROR: missing parameters. See -h.")
			return 1
		}
		if !all {
			if len(list) > 1 {
				return c.Refuse() // module parameters
			}
		}
		k := kernelOf(m, e)
		configured := moduleAliases(m.FS)
		exit := 0
		for _, name := range list {
			real := name
			if to, ok := configured[name]; ok {
				real = to
			}
			load := k.load
			if dry {
				load = k.has
			}
			if err := load(real); err != nil {
				exit = 1
				switch {
				case quiet:
				case e < el7:
					fmt.Fprintf(c.Stderr, "FATAL: Module %s not found.\n", strings.ReplaceAll(name, "-", "_"))
				default:
					fmt.Fprintf(c.Stderr, "modprobe: FATAL: Module %s not found in directory /lib/modules/%s\n", name, m.Identity.Release)
				}
			}
		}
		return exit
	}
}

// moduleAliases reads the alias lines of modprobe.conf(5).
func moduleAliases(f *sim.FS) map[string]string {
	found := map[string]string{}
	texts := []string{text(f, "/etc/modprobe.conf")}
	for _, n := range names(f, "/etc/modprobe.d") {
		if strings.HasSuffix(n, ".conf") {
			texts = append(texts, text(f, "/etc/modprobe.d/"+n))
		}
	}
	for _, t := range texts {
		for line := range strings.Lines(t) {
			if w := strings.Fields(line); len(w) == 3 && w[0] == "alias" {
				found[w[1]] = w[2]
			}
		}
	}
	return found
}

// lsmod is lsmod(8). The sizes are made up.
func lsmod(m *sim.Machine, c *sim.Call) int {
	if len(c.Argv) > 1 {
		return c.Refuse()
	}
	c.Printf("Module                  Size  Used by\n")
	for _, name := range slices.Sorted(maps.Keys(m.Net.Modules)) {
		var users []string
		for user := range m.Net.Modules {
			if slices.Contains(known[user].needs, name) {
				users = append(users, user)
			}
		}
		slices.Sort(users)
		line := fmt.Sprintf("%-20s %8d  %d %s", name, 16384, len(users), strings.Join(users, ","))
		c.Printf("%s\n", strings.TrimRight(line, " "))
	}
	return 0
}
