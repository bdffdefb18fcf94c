package linux

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
)

// conf4 and conf6 are what each interface has below net.ipv4.conf and
// net.ipv6.conf, as a kernel gives it to conf.default, with the era from which
// on it is there. A part of devinet.c's and addrconf.c's: what load balancing
// and careful operators touch.
var conf4 = map[string]confDefault{
	"accept_local": {el7, "0"}, "accept_redirects": {fc5, "1"}, "accept_source_route": {fc5, "1"},
	"arp_accept": {el6, "0"}, "arp_announce": {fc5, "0"}, "arp_filter": {fc5, "0"}, "arp_ignore": {fc5, "0"},
	"arp_notify": {el6, "0"}, "disable_policy": {fc5, "0"}, "disable_xfrm": {fc5, "0"}, "forwarding": {fc5, "0"},
	"log_martians": {fc5, "0"}, "mc_forwarding": {fc5, "0"}, "promote_secondaries": {fc5, "0"},
	"proxy_arp": {fc5, "0"}, "route_localnet": {el7, "0"}, "rp_filter": {fc5, "0"}, "secure_redirects": {fc5, "1"},
	"send_redirects": {fc5, "1"}, "shared_media": {fc5, "1"}, "src_valid_mark": {el6, "0"},
}

var conf6 = map[string]confDefault{
	"accept_dad": {el6, "1"}, "accept_ra": {fc5, "1"}, "accept_redirects": {fc5, "1"}, "accept_source_route": {el6, "0"},
	"autoconf": {fc5, "1"}, "dad_transmits": {fc5, "1"}, "disable_ipv6": {el6, "0"}, "forwarding": {fc5, "0"},
	"hop_limit": {fc5, "64"}, "use_tempaddr": {fc5, "0"},
}

// others are keys that no interface has.
var others = map[string]confDefault{
	"kernel.core_uses_pid": {fc5, "0"}, "kernel.msgmax": {fc5, "8192"}, "kernel.msgmnb": {fc5, "16384"},
	"kernel.shmall": {fc5, "2097152"}, "kernel.shmmax": {fc5, "33554432"}, "kernel.sysrq": {fc5, "0"},
	"net.core.netdev_max_backlog": {fc5, "1000"}, "net.core.somaxconn": {fc5, "128"},
	"net.ipv4.icmp_echo_ignore_broadcasts": {fc5, "1"}, "net.ipv4.ip_forward": {fc5, "0"},
	"net.ipv4.ip_local_port_range": {fc5, "32768\t60999"}, "net.ipv4.ip_nonlocal_bind": {fc5, "0"},
	"net.ipv4.tcp_fin_timeout": {fc5, "60"}, "net.ipv4.tcp_syncookies": {fc5, "0"},
	"net.ipv4.tcp_timestamps": {fc5, "1"}, "net.ipv4.fwmark_reflect": {el7, "0"},
	"net.ipv4.tcp_fwmark_accept": {el7, "0"},
}

// vs are those of ip_vs (ip_vs_ctl.c), there once the module is loaded.
var vs = map[string]confDefault{
	"am_droprate": {fc5, "10"}, "amemthresh": {fc5, "1024"}, "backup_only": {el7, "0"}, "cache_bypass": {fc5, "0"},
	"conn_reuse_mode": {current, "1"}, "conntrack": {el7, "0"}, "drop_entry": {fc5, "0"}, "drop_packet": {fc5, "0"},
	"expire_nodest_conn": {fc5, "0"}, "expire_quiescent_template": {fc5, "0"}, "nat_icmp_send": {fc5, "0"},
	"pmtu_disc": {el7, "1"}, "run_estimation": {current, "1"}, "schedule_icmp": {current, "0"}, "secure_tcp": {fc5, "0"},
	"sloppy_sctp": {el7, "0"}, "sloppy_tcp": {el7, "0"}, "snat_reroute": {el7, "1"}, "sync_threshold": {fc5, "3\t50"},
}

type confDefault struct {
	since era
	value string
}

// decoupled marks a link that no longer follows conf.default: it has had an
// address (ipv4_devconf_setall in devinet.c).
const decoupled = "conf: decoupled"

// confKey is the key of an interface's setting. sysctl(8) writes a dot in the
// interface's name as a slash.
func confKey(family int, dev, name string) string {
	return "net.ipv" + strconv.Itoa(family) + ".conf." + strings.ReplaceAll(dev, ".", "/") + "." + name
}

// born sets what a kernel starts with.
func (k kernel) born() {
	for key, d := range others {
		if d.since <= k.era {
			k.Sysctls[key] = d.value
		}
	}
	for family, set := range map[int]map[string]confDefault{4: conf4, 6: conf6} {
		for name, d := range set {
			if d.since <= k.era {
				k.Sysctls[confKey(family, "default", name)] = d.value
				k.Sysctls[confKey(family, "all", name)] = d.value
			}
		}
	}
	k.Sysctls[confKey(4, "all", "accept_source_route")] = "0" // ipv4_devconf leaves it out, ipv4_devconf_dflt has it
}

// bearConf gives an interface its conf, as conf.default is now.
func (k kernel) bearConf(dev string) {
	for family, set := range map[int]map[string]confDefault{4: conf4, 6: conf6} {
		for name, d := range set {
			if d.since <= k.era {
				k.Sysctls[confKey(family, dev, name)] = k.Sysctls[confKey(family, "default", name)]
			}
		}
	}
	if dev == "lo" {
		k.Sysctls[confKey(4, dev, "disable_policy")] = "1" // inetdev_event, NETDEV_REGISTER
		k.Sysctls[confKey(4, dev, "disable_xfrm")] = "1"
	}
}

// canonical turns a key as typed, with dots or slashes between its parts, into
// the form with dots (sysctl(8)): the first of the two that stands in it says
// which one separates.
func canonical(key string) string {
	i := strings.IndexAny(key, "./")
	if i < 0 || key[i] == '.' {
		return key
	}
	return strings.NewReplacer("/", ".", ".", "/").Replace(key)
}

// procPath is the file of a key below /proc/sys.
func procPath(key string) string {
	return "/proc/sys/" + strings.NewReplacer("/", ".", ".", "/").Replace(key)
}

// setSysctl writes a key, with all that the kernel changes by it. The value is
// one integer, or as many as are there now.
func (k kernel) setSysctl(key, value string) error {
	old, ok := k.Sysctls[key]
	if !ok {
		return &kernelError{errno: enoent}
	}
	fields := strings.Fields(value)
	if len(fields) == 0 {
		return &kernelError{errno: einval}
	}
	// What stands behind the last number is not looked at ("1 # why"; seen on
	// 6.18).
	fields = fields[:min(len(fields), len(strings.Fields(old)))]
	for i, f := range fields {
		n, err := strconv.ParseInt(f, 0, 64)
		if err != nil {
			return &kernelError{errno: einval}
		}
		fields[i] = strconv.FormatInt(n, 10)
	}
	value = strings.Join(fields, "\t")
	k.Sysctls[key] = value
	switch {
	case key == "net.ipv4.ip_forward" || key == confKey(4, "all", "forwarding"):
		k.Sysctls["net.ipv4.ip_forward"], k.Sysctls[confKey(4, "all", "forwarding")] = value, value
		if value != old {
			k.forwardAll4(value)
		}
	case key == confKey(6, "all", "forwarding"):
		if value != old {
			k.each(6, "forwarding", value) // addrconf_fixup_forwarding
		}
	case key == confKey(6, "all", "disable_ipv6"):
		k.each(6, "disable_ipv6", value)
	case strings.HasPrefix(key, confKey(4, "default", "")):
		name := strings.TrimPrefix(key, confKey(4, "default", ""))
		for _, l := range k.Links { // devinet_copy_dflt_conf, since 2.6.25
			if k.era > fc5 && !l.Flags[decoupled] && !l.Flags["conf: "+name] && name != "forwarding" {
				k.Sysctls[confKey(4, l.Name, name)] = value
			}
		}
	}
	for _, l := range k.Links {
		if name, ok := strings.CutPrefix(key, confKey(4, l.Name, "")); ok {
			l.Flags["conf: "+name] = true
		}
	}
	return nil
}

// forwardAll4 is inet_forward_change (devinet.c): every interface follows, and
// accept_redirects of all takes the opposite.
func (k kernel) forwardAll4(value string) {
	k.each(4, "forwarding", value)
	redirects := "1"
	if value != "0" {
		redirects = "0"
	}
	k.Sysctls[confKey(4, "all", "accept_redirects")] = redirects
}

func (k kernel) each(family int, name, value string) {
	k.Sysctls[confKey(family, "default", name)] = value
	for _, l := range k.Links {
		k.Sysctls[confKey(family, l.Name, name)] = value
	}
}

// file gives the text of a file below /proc.
func (k kernel) file(p string) (string, bool) {
	if p == "/proc/modules" {
		var b strings.Builder
		for _, m := range slices.Sorted(maps.Keys(k.Modules)) {
			b.WriteString(m + " 16384 0 - Live 0x0000000000000000\n")
		}
		return b.String(), true
	}
	if p == "/proc/net/ip_vs" && k.Modules["ip_vs"] {
		return "IP Virtual Server version 1.2.1 (size=4096)\n", true
	}
	rest, ok := strings.CutPrefix(p, "/proc/sys/")
	if !ok {
		return "", false
	}
	v, ok := k.Sysctls[strings.NewReplacer("/", ".", ".", "/").Replace(rest)]
	return v + "\n", ok
}

// start puts the hardware and the loopback in place, as a kernel finds them.
func (k kernel) start(spec sim.Spec) {
	k.born()
	mtu := 65536
	if k.era < el7 {
		mtu = 16436
	}
	k.addLink(&sim.Link{Name: "lo", Kind: sim.Loopback, MTU: mtu})
	for i, card := range spec.Interfaces {
		mac := sim.MAC(cardAddr(card.Addresses), i)
		k.addLink(&sim.Link{Name: card.Device, Kind: sim.Ether, MAC: mac, MTU: 1500})
	}
}
