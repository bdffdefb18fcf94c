package linux

import (
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/host/hosttest"
	"github.com/lvsfleet/lvsfleet/providers/note"
)

const (
	el7     = "3.10.0-1160.el7.x86_64"
	el6     = "2.6.32-754.el6.x86_64"
	fc5     = "2.6.15-1.2054_FC5"
	current = "6.12.0"
)

func TestHostsThatAreLeftAlone(t *testing.T) {
	file := func(path, content string) func(*hosttest.Canned, *inventory.Desired) {
		return func(c *hosttest.Canned, _ *inventory.Desired) { c.Files[path] = hosttest.Regular(content) }
	}
	// instead puts another sign of who brings the network up in the place of
	// the network service's start link.
	instead := func(paths ...string) func(*hosttest.Canned, *inventory.Desired) {
		return func(c *hosttest.Canned, _ *inventory.Desired) {
			delete(c.Files, "/etc/rc.d/rc3.d/S10network")
			for _, p := range paths {
				c.Files[p] = hosttest.Regular("")
			}
		}
	}
	const wants = "/etc/systemd/system/multi-user.target.wants/"
	tests := []struct {
		name    string
		desired string
		damage  func(*hosttest.Canned, *inventory.Desired)
		want    string
	}{
		{"NetworkManager", "real-dr", instead(wants + "NetworkManager.service"), "the default route by 192.168.0.252 is kept by networkmanager"},
		{"NetworkManager before systemd", "real-dr", instead("/etc/rc.d/rc5.d/S23NetworkManager"), "the default route by 192.168.0.252 is kept by networkmanager"},
		{"networkd", "real-dr", instead(wants + "systemd-networkd.service"), "the default route by 192.168.0.252 is kept by networkd"},
		{"netplan, on top of networkd", "real-dr", instead("/etc/netplan/50-cloud-init.yaml", wants+"systemd-networkd.service"), "the default route by 192.168.0.252 is kept by netplan"},
		{"ifupdown", "real-dr", instead("/etc/network/interfaces"), "the default route by 192.168.0.252 is kept by ifupdown"},
		{"SUSE", "real-dr", func(c *hosttest.Canned, d *inventory.Desired) {
			instead("/etc/sysconfig/network/ifcfg-eth0")(c, d)
			delete(c.Files, networkFile)
		}, "configured by wicked"},
		{"initscripts, switched off", "real-dr", instead("/etc/rc.d/init.d/network", "/etc/rc.d/rc3.d/S55sshd"), "network service is not enabled"},
		{"initscripts are not there at all", "real-dr", instead(wants + "sshd.service"), "network service is not enabled"},
		{"initscripts are not there, before systemd", "real-dr", instead("/etc/rc3.d/S02ssh"), "network service is not enabled"},
		{"Debian", "real-dr", instead("/etc/debian_version"), "network service is not enabled"},
		{"a form that is only reserved", "real-dr", func(_ *hosttest.Canned, d *inventory.Desired) { d.Network = "wicked" }, `as "wicked"`},
		{"own address differs live", "real-dr", func(c *hosttest.Canned, _ *inventory.Desired) {
			c.Runs["ip -o -4 addr show"] = hosttest.Text("2: eth0    inet 192.168.0.161/24 scope global eth0\n")
		}, "gives eth0 the address 192.168.0.160/24, but here it has 192.168.0.161/24"},
		{"own mask differs live", "real-dr", func(c *hosttest.Canned, _ *inventory.Desired) {
			c.Runs["ip -o -4 addr show"] = hosttest.Text("2: eth0    inet 192.168.0.160/16 scope global eth0\n")
		}, "but here it has 192.168.0.160/16"},
		{"own interface is not there", "real-dr", func(c *hosttest.Canned, _ *inventory.Desired) {
			c.Runs["ip -o -4 addr show"] = hosttest.Text("2: ens3    inet 192.168.0.160/24 scope global ens3\n")
		}, "but here it has no address"},
		{"own address differs at boot", "real-dr", file(scripts+"ifcfg-eth0", "DEVICE=eth0\nIPADDR=\"192.168.0.161\" # moved\nPREFIX=24\n"),
			"gives eth0 the address 192.168.0.161/24, the inventory 192.168.0.160/24"},
		{"own mask differs at boot", "real-dr", file(scripts+"ifcfg-eth0", "DEVICE=eth0\nIPADDR=192.168.0.160\nNETMASK=255.255.0.0\n"),
			"gives eth0 the address 192.168.0.160/16"},
		{"own address differs in a file that is named by MAC", "real-dr", func(c *hosttest.Canned, _ *inventory.Desired) {
			delete(c.Files, scripts+"ifcfg-eth0")
			c.Files[scripts+"ifcfg-System_card"] = hosttest.Regular("HWADDR=02:00:c0:a8:00:a0\nIPADDR=10.0.0.1\nNETMASK=255.0.0.0\n")
		}, "ifcfg-System_card gives eth0 the address 10.0.0.1/8"},
		{"VIP of a real server in ifcfg-eth0:0", "real-dr", file(scripts+"ifcfg-eth0:0", "DEVICE='eth0:0'\nIPADDR=192.168.0.200\nNETMASK=255.255.255.255\n"),
			"ifcfg-eth0:0 puts the virtual address 192.168.0.200 on eth0"},
		{"VIP of a real server live on eth0", "real-dr", func(c *hosttest.Canned, _ *inventory.Desired) {
			c.Runs["ip -o -4 addr show"] = hosttest.Text("2: eth0    inet 192.168.0.160/24 scope global eth0\n2: eth0    inet 192.168.0.200/32 scope global eth0:0\n")
		}, "192.168.0.200 is on eth0 of this real server"},
		{"VIP of a real server live on eth0, behind arptables", "real-dr", func(c *hosttest.Canned, _ *inventory.Desired) {
			c.Runs["ip -o -4 addr show"] = hosttest.Text("2: eth0    inet 192.168.0.160/24 scope global eth0\n2: eth0    inet 192.168.0.200/24 scope global secondary eth0:1\n")
			c.Files[arptablesFile] = hosttest.Regular("*filter\n:IN ACCEPT [0:0]\n:OUT ACCEPT [0:0]\n[0:0] -A IN -d 192.168.0.200 -j DROP\n[0:0] -A OUT -s 192.168.0.200 -j mangle --mangle-ip-s 192.168.0.160\nCOMMIT\n")
		}, "192.168.0.200 is on eth0 of this real server, behind arptables (Red Hat's form of direct routing)"},
		{"VIP of a real server live on eth0, and arptables about another", "real-dr", func(c *hosttest.Canned, _ *inventory.Desired) {
			c.Runs["ip -o -4 addr show"] = hosttest.Text("2: eth0    inet 192.168.0.160/24 scope global eth0\n2: eth0    inet 192.168.0.200/32 scope global eth0:0\n")
			c.Files[arptablesFile] = hosttest.Regular("# 192.168.0.200\n-A IN -d 192.168.0.20 -j DROP\n")
		}, "192.168.0.200 is on eth0 of this real server, where it answers"},
		{"a wrong length that others hang on", "real-dr", func(c *hosttest.Canned, _ *inventory.Desired) {
			c.Runs["ip -o -4 addr show"] = hosttest.Text("1: lo    inet 192.168.0.200/24 scope global lo:0\n1: lo    inet 192.168.0.9/24 scope global secondary lo:1\n" +
				"2: eth0    inet 192.168.0.160/24 scope global eth0\n")
		}, "192.168.0.200/24 on lo would take 192.168.0.9/24 with it"},
		{"a form of ifcfg-tunl0 that the scripts refuse", "real-tun", file(scripts+"ifcfg-tunl0", "TYPE=IPIP\nMY_INNER_IPADDR=192.168.0.201\n"), "with which the scripts refuse tunl0"},
		{"tunnelling over IPv6", "real-tun", func(_ *hosttest.Canned, d *inventory.Desired) {
			d.VIPs = []inventory.VIP{{Addr: addr("2001:db8::200"), Method: inventory.TUN, Device: "eth0"}}
		}, "tunnelling over IPv6"},
		{"VIP of a director on another interface", "director-dr", func(c *hosttest.Canned, _ *inventory.Desired) {
			c.Runs["ip -o -4 addr show"] = hosttest.Text("2: eth0    inet 192.168.0.254/24 scope global eth0\n3: eth1    inet 192.168.0.200/32 scope global eth1\n")
		}, "192.168.0.200 is on eth1, the inventory wants it on eth0"},
		{"VIP of a director in another interface's file", "director-dr", file(scripts+"ifcfg-eth1:0", "IPADDR=192.168.0.200\n"),
			"ifcfg-eth1:0 puts the virtual address 192.168.0.200 on eth1"},
		{"an interface's name that leaves no room for a label", "director-dr", func(c *hosttest.Canned, d *inventory.Desired) {
			d.Interfaces = []inventory.Interface{iface("enp129s0f0.123", "192.168.0.254/24")}
			d.Director.VIPs[0].Device = "enp129s0f0.123"
		}, "longer than the kernel takes"},
		{"route to a tunnelled real server from another address", "director-tun", func(c *hosttest.Canned, _ *inventory.Desired) {
			c.Runs["ip route get 192.168.0.170"] = hosttest.Text("192.168.0.170 dev eth0  src 192.168.0.253 \n    cache  mtu 1500\n")
		}, "has the source 192.168.0.253, its tunnel expects 192.168.0.254"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := wanted()[tt.desired]
			if d.Director != nil {
				dir := *d.Director
				d.Director = &dir
				dir.VIPs = append([]inventory.DirectorVIP(nil), dir.VIPs...)
			}
			c := canned(el7, d.Address+"/24")
			tt.damage(c, &d)
			if got := refused(t, c, el7, d); !strings.Contains(got, tt.want) {
				t.Errorf("refused because %q, want %q", got, tt.want)
			}
		})
	}
}

func TestNetworkNoneIsLiveOnly(t *testing.T) {
	d := wanted()["real-dr"]
	d.Network = "none"
	c := canned(current, "192.168.0.160/24")
	delete(c.Files, "/etc/rc.d/rc3.d/S10network")
	c.Files["/etc/systemd/system/multi-user.target.wants/NetworkManager.service"] = hosttest.Regular("")
	p := plan(t, c, current, d)
	if len(p.Boot) != 0 || len(p.Live) == 0 {
		t.Errorf("%d live and %d boot steps", len(p.Live), len(p.Boot))
	}
	if !strings.Contains(strings.Join(note.Texts(p.Notes), "\n"), "nothing is written for the next boot") {
		t.Errorf("notes: %q", p.Notes)
	}
}

func TestWhichSettingsFileBootReads(t *testing.T) {
	dir := host.File{Mode: os.ModeDir | 0o755}
	tests := []struct {
		name, release, claim string
		files                map[string]host.File
		sysctlD, modulesD    bool
	}{
		{"bare current host", current, "", nil, true, true},
		{"bare old host", fc5, "2.6.15", nil, false, false},
		{"EL6 by its release alone", el6, "2.6.32", map[string]host.File{"/etc/sysctl.d": dir}, true, false},
		{"2.6.32 whose functions do not know sysctl.d", el6, "2.6.32",
			map[string]host.File{"/etc/inittab": hosttest.Regular("id:3:initdefault:\n"), "/etc/sysctl.d": dir, "/etc/init.d/functions": hosttest.Regular("sysctl -e -p /etc/sysctl.conf\n")}, false, false},
		{"a tree without sysctl.d, release unsaid", current, "", map[string]host.File{"/etc/sysctl.conf": hosttest.Regular("")}, false, true},
		{"a tree without sysctl.d of a release that reads it", current, "6.12.0", map[string]host.File{"/etc/sysctl.conf": hosttest.Regular("")}, true, true},
		{"an old tree, release unsaid", current, "", map[string]host.File{"/etc/sysctl.conf": hosttest.Regular(""), "/etc/sysconfig/modules/x": hosttest.Regular("")}, false, false},
		{"an old system under a new kernel", current, "", map[string]host.File{"/etc/inittab": hosttest.Regular("# x\nid:5:initdefault:\n"), "/etc/sysctl.d": dir}, true, false},
		{"an inittab that only says that it is not used", el7, "3.10.0", map[string]host.File{"/etc/inittab": hosttest.Regular("# id:5:initdefault:\n")}, true, true},
		{"systemd", el7, "", map[string]host.File{"/etc/systemd/system.conf": hosttest.Regular(""), "/etc/sysctl.d": dir}, true, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := canned(current, "192.168.0.160/24")
			c.Files = tt.files
			f, err := Gather(t.Context(), c, host.Identity{OS: host.Linux, Release: tt.release}, inventory.Desired{Release: tt.claim})
			if err != nil {
				t.Fatal(err)
			}
			if f.SysctlD != tt.sysctlD || f.ModulesD != tt.modulesD {
				t.Errorf("sysctl.d %v, modules-load.d %v, want %v, %v", f.SysctlD, f.ModulesD, tt.sysctlD, tt.modulesD)
			}
		})
	}
}

func TestRouteThatComesLaterIsNoRefusal(t *testing.T) {
	d := wanted()["director-tun"]
	d.Gateways = []netip.Addr{addr("192.168.0.251")}
	for name, get := range map[string]host.Result{
		"no route yet":          hosttest.Fail(2, "RTNETLINK answers: Network is unreachable\n"),
		"through the old route": hosttest.Text("192.168.0.170 via 192.168.0.1 dev eth0 src 192.168.0.253 \n"),
	} {
		t.Run(name, func(t *testing.T) {
			c := canned(current, "192.168.0.254/24")
			c.Runs["ip route get 192.168.0.170"] = get
			c.Runs["ip route show"] = hosttest.Text("default via 192.168.0.1 dev eth0 \n")
			if text := show(t, c, plan(t, c, current, d)); !strings.Contains(text, "route:192.168.0.170: holds\n  note: ") {
				t.Errorf("got\n%s", text)
			}
		})
	}
}

func TestLaterSettingsFileIsReported(t *testing.T) {
	c := canned(current, "192.168.0.160/24")
	c.Files["/usr/lib/sysctl.d/zz-vendor.conf"] = hosttest.Regular("net/ipv4/conf/all/arp_ignore = 0\nnet.ipv4.conf.eth0.arp_announce=2\n")
	c.Files["/usr/lib/sysctl.d/50-default.conf"] = hosttest.Regular("net.ipv4.conf.all.arp_announce = 0\n")
	p := plan(t, c, current, wanted()["real-dr"])
	got := strings.Join(note.Texts(p.Notes), "\n")
	if want := "/usr/lib/sysctl.d/zz-vendor.conf sets net/ipv4/conf/all/arp_ignore to 0 and is read later than lvsfleet's settings: it wins at boot"; got != want {
		t.Errorf("notes %q, want %q", got, want)
	}
}
