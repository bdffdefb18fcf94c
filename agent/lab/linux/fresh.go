package linux

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/inventory"
)

// fresh lays down what matters of a freshly installed system.
func fresh(f *sim.FS, spec sim.Spec, e era) {
	for _, d := range []string{"/root", "/tmp", "/var/run", "/var/lib", "/var/log", "/etc/sysconfig/network-scripts", "/etc/modprobe.d", "/sbin", "/usr/sbin", "/usr/bin"} {
		f.MkdirAll(d)
	}
	// Who looks whether it is installed finds it; who calls it by its path gets
	// the command.
	f.Put("/sbin/ipvsadm", 0o755, "#!/bin/sh\nexec ipvsadm \"$@\"\n")
	f.Put("/etc/hosts", 0o644, "127.0.0.1\tlocalhost.localdomain\tlocalhost\n")
	release := map[era]string{
		fc5:     "Fedora Core release 5 (Bordeaux)",
		el6:     "CentOS release 6.10 (Final)",
		el7:     "CentOS Linux release 7.9.2009 (Core)",
		current: "Rocky Linux release 8.10 (Green Obsidian)",
	}[e]
	f.Put("/etc/redhat-release", 0o644, release+"\n")
	network := "NETWORKING=yes\nHOSTNAME=" + spec.Name + "\n"
	if e.systemd() {
		network = "# Created by anaconda\n"
	}
	f.Put("/etc/sysconfig/network", 0o644, network)
	initFolders(f, e)
	sysctlFiles(f, e)
	ifcfgFiles(f, spec, e)
	if e.systemd() {
		name, version := "Rocky Linux", "8.10"
		if e == el7 {
			name, version = "CentOS Linux", "7"
		}
		id := strings.ToLower(strings.Fields(name)[0])
		f.Put("/etc/os-release", 0o644, fmt.Sprintf("NAME=%q\nVERSION=%q\nID=%q\nID_LIKE=\"rhel fedora\"\nVERSION_ID=%q\n", name, version, id, version))
		f.Put(unitDir+"ipvsadm.service", 0o644, ipvsUnit)
		runFolders(f)
		_ = f.Remove("/var/run")
		f.Link("/var/run", "../run")
		f.MkdirAll("/etc/modules-load.d")
		f.MkdirAll("/etc/systemd/system/multi-user.target.wants")
	} else {
		f.Put("/etc/inittab", 0o644, "# Default runlevel.\nid:3:initdefault:\n")
		f.MkdirAll("/etc/sysconfig/modules")
		f.Put("/etc/sysconfig/ipvsadm-config", 0o600, "IPVS_MODULES_UNLOAD=\"yes\"\nIPVS_SAVE_ON_STOP=\"no\"\nIPVS_SAVE_ON_RESTART=\"no\"\nIPVS_STATUS_NUMERIC=\"yes\"\n")
	}
	if e == fc5 {
		var conf strings.Builder
		for _, i := range spec.Interfaces {
			fmt.Fprintf(&conf, "alias %s pcnet32\n", i.Device)
		}
		f.Put("/etc/modprobe.conf", 0o644, conf.String())
		_ = f.Remove("/etc/sysconfig/ipvsadm-config")
	}
}

// runFolders are what systemd makes in /run when it starts.
func runFolders(f *sim.FS) { f.MkdirAll("/run/systemd/system") }

// initFolders are the init scripts, as far as their names and first lines say
// who they are, and the links of the runlevels: the network is enabled,
// ipvsadm is installed and is not.
func initFolders(f *sim.FS, e era) {
	script := func(name, chkconfig string) {
		f.Put("/etc/rc.d/init.d/"+name, 0o755, "#!/bin/sh\n#\n# "+name+"\n#\n# chkconfig: "+chkconfig+"\n")
	}
	for i := range 7 {
		f.MkdirAll(fmt.Sprintf("/etc/rc.d/rc%d.d", i))
		f.Link(fmt.Sprintf("/etc/rc%d.d", i), fmt.Sprintf("rc.d/rc%d.d", i))
	}
	f.MkdirAll("/etc/rc.d/init.d")
	f.Link("/etc/init.d", "rc.d/init.d")
	script("network", "2345 10 90")
	for i := range 7 {
		link := "S10network"
		if i < 2 || i == 6 {
			link = "K90network"
		}
		f.Link(fmt.Sprintf("/etc/rc.d/rc%d.d/%s", i, link), "../init.d/network")
	}
	apply := "sysctl -e -p /etc/sysctl.conf >/dev/null 2>&1\n"
	if e >= el6 {
		apply = "apply_sysctl() {\n\tsysctl -e -p /etc/sysctl.conf >/dev/null 2>&1\n" +
			"\tfor file in /etc/sysctl.d/* ; do\n\t\tis_ignored_file \"$file\" && continue\n" +
			"\t\ttest -f \"$file\" && sysctl -e -p \"$file\" >/dev/null 2>&1\n\tdone\n}\n"
	}
	f.Put("/etc/rc.d/init.d/functions", 0o644, "# -*-Shell-script-*-\n#\n# functions\tThis file contains functions to be used by most or all\n#\t\tshell scripts in the /etc/init.d directory.\n#\n"+apply)
	if !e.systemd() {
		script("ipvsadm", "- 08 92")
		for i := range 7 {
			f.Link(fmt.Sprintf("/etc/rc.d/rc%d.d/K92ipvsadm", i), "../init.d/ipvsadm")
		}
	}
}

func sysctlFiles(f *sim.FS, e era) {
	if e.systemd() {
		f.Put("/etc/sysctl.conf", 0o644, "# sysctl settings are defined through files in\n# /usr/lib/sysctl.d/, /run/sysctl.d/, and /etc/sysctl.d/.\n")
		f.Link("/etc/sysctl.d/99-sysctl.conf", "../sysctl.conf")
		defaults := "kernel.sysrq = 16\nkernel.core_uses_pid = 1\n\n# Source route verification\nnet.ipv4.conf.default.rp_filter = 1\nnet.ipv4.conf.all.rp_filter = 1\n"
		if e == current {
			defaults = "kernel.sysrq = 16\nkernel.core_uses_pid = 1\n\n# Source route verification\nnet.ipv4.conf.default.rp_filter = 2\nnet.ipv4.conf.*.rp_filter = 2\n-net.ipv4.conf.all.rp_filter\n"
		}
		defaults += "\n# Do not accept source routing\nnet.ipv4.conf.default.accept_source_route = 0\nnet.ipv4.conf.all.accept_source_route = 0\n" +
			"\n# Promote secondary addresses when the primary address is removed\nnet.ipv4.conf.default.promote_secondaries = 1\nnet.ipv4.conf.all.promote_secondaries = 1\n"
		f.Put("/usr/lib/sysctl.d/50-default.conf", 0o644, defaults)
		return
	}
	// The file of initscripts 8.31; EL6's has a few lines more.
	conf := `# Kernel sysctl configuration file for Red Hat Linux
#
# For binary values, 0 is disabled, 1 is enabled.  See sysctl(8) and
# sysctl.conf(5) for more details.

# Controls IP packet forwarding
net.ipv4.ip_forward = 0

# Controls source route verification
net.ipv4.conf.default.rp_filter = 1

# Do not accept source routing
net.ipv4.conf.default.accept_source_route = 0

# Controls the System Request debugging functionality of the kernel
kernel.sysrq = 0

# Controls whether core dumps will append the PID to the core filename.
# Useful for debugging multi-threaded applications.
kernel.core_uses_pid = 1
`
	if e >= el6 {
		conf += "\n# Controls the use of TCP syncookies\nnet.ipv4.tcp_syncookies = 1\n"
		f.MkdirAll("/etc/sysctl.d")
	}
	f.Put("/etc/sysctl.conf", 0o644, conf)
}

// ifcfgFiles are those that the installer writes: of static addresses, and
// without a gateway.
func ifcfgFiles(f *sim.FS, spec sim.Spec, e era) {
	lo := "DEVICE=lo\nIPADDR=127.0.0.1\nNETMASK=255.0.0.0\nNETWORK=127.0.0.0\n" +
		"# If you're having problems with gated making 127.0.0.0/8 a martian,\n" +
		"# you can change this to something else (255.255.255.255, for example)\n" +
		"BROADCAST=127.255.255.255\nONBOOT=yes\nNAME=loopback\n"
	f.Put(scripts+"ifcfg-lo", 0o644, lo)
	for i, card := range spec.Interfaces {
		var four, six []netip.Prefix
		for _, p := range card.Addresses {
			if p.Addr().Is4() {
				four = append(four, p)
			} else {
				six = append(six, p)
			}
		}
		f.Put(scripts+"ifcfg-"+card.Device, 0o644, ifcfgFile(card, sim.MAC(cardAddr(card.Addresses), i), four, six, e))
		if len(six) > 0 && e < el7 {
			network := text(f, "/etc/sysconfig/network")
			if !strings.Contains(network, "NETWORKING_IPV6") {
				f.Put("/etc/sysconfig/network", 0o644, strings.Replace(network, "NETWORKING=yes\n", "NETWORKING=yes\nNETWORKING_IPV6=yes\n", 1))
			}
		}
		if e == fc5 {
			for n := 1; n < len(four); n++ {
				name := fmt.Sprintf("%s:%d", card.Device, n)
				f.Put(scripts+"ifcfg-"+name, 0o644, fmt.Sprintf("DEVICE=%s\nIPADDR=%s\nNETMASK=%s\n", name, four[n].Addr(), netmask(four[n].Bits())))
			}
		}
	}
}

func ifcfgFile(card inventory.Interface, mac string, four, six []netip.Prefix, e era) string {
	var b strings.Builder
	add := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	switch e {
	case fc5:
		add("# Advanced Micro Devices [AMD] 79c970 [PCnet32 LANCE]")
		add("DEVICE=%s\nBOOTPROTO=static", card.Device)
		if len(four) > 0 {
			p := four[0]
			add("BROADCAST=%s", last(p))
			add("HWADDR=%s\nIPADDR=%s\nNETMASK=%s\nNETWORK=%s", strings.ToUpper(mac), p.Addr(), netmask(p.Bits()), p.Masked().Addr())
		} else {
			add("HWADDR=%s", strings.ToUpper(mac))
		}
		add("ONBOOT=yes\nTYPE=Ethernet")
	default:
		if e == el6 {
			add("DEVICE=%s\nHWADDR=%s\nTYPE=Ethernet\nONBOOT=yes\nNM_CONTROLLED=no\nBOOTPROTO=static", card.Device, strings.ToUpper(mac))
		} else {
			add("TYPE=Ethernet\nBOOTPROTO=none\nNAME=%s\nDEVICE=%s\nONBOOT=yes\nNM_CONTROLLED=no", card.Device, card.Device)
		}
		for i, p := range four {
			suffix := ""
			if i > 0 {
				suffix = fmt.Sprint(i)
			}
			if e == el6 {
				add("IPADDR%s=%s\nNETMASK%s=%s", suffix, p.Addr(), suffix, netmask(p.Bits()))
			} else {
				add("IPADDR%s=%s\nPREFIX%s=%d", suffix, p.Addr(), suffix, p.Bits())
			}
		}
	}
	if len(six) > 0 {
		add("IPV6INIT=yes\nIPV6ADDR=%s", six[0])
		if len(six) > 1 {
			var more []string
			for _, p := range six[1:] {
				more = append(more, p.String())
			}
			add("IPV6ADDR_SECONDARIES=%q", strings.Join(more, " "))
		}
	}
	return b.String()
}

func netmask(bits int) string {
	v := uint32(0)
	if bits > 0 {
		v = ^uint32(0) << (32 - bits)
	}
	return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}).String()
}
