package linux

import (
	"context"
	"errors"
	"flag"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/host/hosttest"
	"github.com/lvsfleet/lvsfleet/providers/linux/persist/ifcfg"
	"github.com/lvsfleet/lvsfleet/providers/step"
	"github.com/lvsfleet/lvsfleet/providers/step/steptest"
)

const (
	scripts     = ifcfg.Folder + "/"
	networkFile = ifcfg.NetworkFile
)

var update = flag.Bool("update", false, "write the goldens anew")

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func iface(dev string, prefixes ...string) inventory.Interface {
	i := inventory.Interface{Device: dev}
	for _, p := range prefixes {
		i.Addresses = append(i.Addresses, netip.MustParsePrefix(p))
	}
	return i
}

// canned is a machine as installed: lo and eth0 with address, no default
// route, the sysctls at their defaults.
func canned(release, address string) *hosttest.Canned {
	a, _, _ := strings.Cut(address, "/")
	bits := netip.MustParsePrefix(address).Bits()
	mask := map[int]string{24: "255.255.255.0"}[bits]
	c := &hosttest.Canned{Name: "box", Runs: map[string]host.Result{
		"ip -o -4 addr show": hosttest.Text("1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever preferred_lft forever\n" +
			"2: eth0    inet " + address + " brd 192.168.0.255 scope global eth0\\       valid_lft forever preferred_lft forever\n"),
		"ip -o -6 addr show": hosttest.Text("1: lo    inet6 ::1/128 scope host \\       valid_lft forever preferred_lft forever\n"),
		"ip -o link show": hosttest.Text("1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN \\    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00\n" +
			"2: eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc fq \\    link/ether 02:00:C0:A8:00:A0 brd ff:ff:ff:ff:ff:ff\n"),
		"ip route show":    hosttest.Text("192.168.0.0/24 dev eth0 proto kernel scope link src " + a + " \n"),
		"ip -6 route show": hosttest.Text(""),
	}, Files: map[string]host.File{
		"/proc/modules":                                 hosttest.Regular("loop 16384 0 - Live 0x0\n"),
		"/etc/sysconfig/network":                        hosttest.Regular("NETWORKING=yes\nHOSTNAME=box\n"),
		"/etc/sysconfig/network-scripts/ifcfg-lo":       hosttest.Regular(ifcfg.StockLoopback),
		"/etc/sysconfig/network-scripts/ifcfg-eth0":     hosttest.Regular("# Intel card\nDEVICE=eth0\nBOOTPROTO=static\nIPADDR=" + a + "\nNETMASK=" + mask + "\nONBOOT=yes\n"),
		"/etc/sysconfig/network-scripts/ifcfg-eth0.bak": hosttest.Regular("DEVICE=eth0\nIPADDR=1.2.3.4\n"),
		"/etc/rc.d/rc3.d/S10network":                    hosttest.Regular(""),
	}}
	for key, value := range map[string]string{
		"net.ipv4.ip_forward": "0", "net.ipv6.conf.all.forwarding": "0",
		"net.ipv4.conf.all.accept_redirects": "1", "net.ipv4.conf.default.rp_filter": "1",
	} {
		c.Runs["sysctl -n "+key] = hosttest.Text(value + "\n")
	}
	for _, dev := range []string{"all", "default", "lo", "eth0"} {
		for name, value := range map[string]string{"arp_ignore": "0", "arp_announce": "0", "send_redirects": "1", "forwarding": "0"} {
			c.Runs["sysctl -n net.ipv4.conf."+dev+"."+name] = hosttest.Text(value + "\n")
		}
		c.Runs["sysctl -n net.ipv6.conf."+dev+".forwarding"] = hosttest.Text("0\n")
	}
	c.Runs["sysctl -n net.ipv4.conf.tunl0.rp_filter"] = hosttest.Fail(255, "sysctl: cannot stat /proc/sys/net/ipv4/conf/tunl0/rp_filter: No such file or directory\n")
	switch {
	case host.Older(release, 2, 6, 16):
		c.Files["/etc/inittab"] = hosttest.Regular("id:3:initdefault:\n")
		c.Files["/etc/sysctl.conf"] = hosttest.Regular(fc5Sysctl)
		c.Files["/etc/rc.d/init.d/functions"] = hosttest.Regular("# functions\n")
	case host.Older(release, 3, 0, 0):
		c.Files["/etc/inittab"] = hosttest.Regular("id:3:initdefault:\n")
		c.Files["/etc/sysctl.conf"] = hosttest.Regular(el6Sysctl)
		c.Files["/etc/sysctl.d"] = host.File{Mode: os.ModeDir | 0o755}
		c.Files["/etc/rc.d/init.d/functions"] = hosttest.Regular("apply_sysctl() {\n    for file in /etc/sysctl.d/* ; do\n")
	default:
		c.Files["/etc/systemd/system/multi-user.target.wants/sshd.service"] = hosttest.Regular("")
		c.Files["/etc/modules-load.d"] = host.File{Mode: os.ModeDir | 0o755}
		c.Files["/etc/sysctl.conf"] = hosttest.Regular("# sysctl settings are defined through files in /usr/lib/sysctl.d/\n")
		c.Files["/etc/sysctl.d/99-sysctl.conf"] = host.File{Mode: os.ModeSymlink | 0o777, Data: []byte("../sysctl.conf")}
	}
	return c
}

const fc5Sysctl = `# Kernel sysctl configuration file for Red Hat Linux

# Controls IP packet forwarding
net.ipv4.ip_forward = 0

# Controls source route verification
net.ipv4.conf.default.rp_filter = 1
`

const el6Sysctl = `# Controls IP packet forwarding
net.ipv4.ip_forward = 0 # a server is no router
net.ipv4.conf.all.arp_ignore=0
`

func yes() *bool { b := true; return &b }

// wanted are the machines of the reference clusters.
func wanted() map[string]inventory.Desired {
	real := inventory.Desired{Host: "rs160", OS: inventory.Linux, Address: "192.168.0.160",
		Interfaces: []inventory.Interface{iface("eth0", "192.168.0.160/24")}}
	nat, dr, tun := real, real, real
	nat.Gateways = []netip.Addr{addr("192.168.0.254")}
	dr.Gateways = []netip.Addr{addr("192.168.0.252")}
	dr.VIPs = []inventory.VIP{{Addr: addr("192.168.0.200"), Method: inventory.DR, Device: "eth0", OnLAN: true}}
	tun.VIPs = []inventory.VIP{
		{Addr: addr("192.168.0.201"), Method: inventory.TUN, Device: "eth0", OnLAN: true},
		{Addr: addr("192.168.10.200"), Method: inventory.TUN, Device: "eth0"},
	}
	lb := inventory.Desired{Host: "lb", OS: inventory.Linux, Address: "192.168.0.254",
		Interfaces: []inventory.Interface{iface("eth0", "192.168.0.254/24")}}
	lbNAT, lbDR, lbTUN := lb, lb, lb
	lbNAT.IPForward4 = yes()
	lbNAT.Director = &inventory.Director{
		VIPs:       []inventory.DirectorVIP{{Addr: addr("192.168.0.254"), Device: "eth0", Own: true}},
		Schedulers: []string{"wlc"}, OneArmed: []string{"eth0"},
	}
	lbDR.Gateways = []netip.Addr{addr("192.168.0.251")}
	lbDR.Director = &inventory.Director{
		VIPs:       []inventory.DirectorVIP{{Addr: addr("192.168.0.200"), Device: "eth0"}},
		Schedulers: []string{"wlc", "wrr"},
	}
	lbTUN.IPForward4 = yes()
	lbTUN.Director = &inventory.Director{
		VIPs:         []inventory.DirectorVIP{{Addr: addr("192.168.0.200"), Device: "eth0"}},
		Schedulers:   []string{"wlc"},
		TunnelRoutes: []inventory.TunnelRoute{{To: addr("192.168.0.170"), From: addr("192.168.0.254")}},
	}
	return map[string]inventory.Desired{
		"real-nat": nat, "real-dr": dr, "real-tun": tun,
		"director-nat": lbNAT, "director-dr": lbDR, "director-tun": lbTUN,
	}
}

func show(t *testing.T, h host.Host, p step.Plan) string {
	t.Helper()
	s := steptest.Show(t, h, p)
	if s.Failed {
		t.Fatal(s.Text)
	}
	return s.Text
}

func plan(t *testing.T, c *hosttest.Canned, release string, d inventory.Desired) step.Plan {
	t.Helper()
	id := host.Identity{OS: host.Linux, Release: release, Machine: "x86_64"}
	f, err := Gather(context.Background(), c, id, d)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Plan(d, f)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestGoldens(t *testing.T) {
	for _, era := range []struct{ name, release string }{
		{"fc5", "2.6.15-1.2054_FC5"}, {"el6", "2.6.32-754.el6.x86_64"}, {"el7", "3.10.0-1160.el7.x86_64"}, {"current", "6.12.0"},
	} {
		for name, d := range wanted() {
			t.Run(era.name+"-"+name, func(t *testing.T) {
				c := canned(era.release, d.Address+"/24")
				c.Runs["ip route get 192.168.0.170"] = hosttest.Text("192.168.0.170 dev eth0 src 192.168.0.254 uid 0 \n    cache \n")
				p := plan(t, c, era.release, d)
				steptest.Golden(t, *update, "testdata/"+era.name+"-"+name+".golden", show(t, c, p))
				bootHolds(t, c, p, era.release, d)
			})
		}
	}
}

// bootHolds writes every file of the plan, and expects the plan that is made
// of the machine as it is then to find nothing to write.
func bootHolds(t *testing.T, c *hosttest.Canned, p step.Plan, release string, d inventory.Desired) {
	t.Helper()
	ctx := context.Background()
	for _, s := range p.Boot {
		change, err := s.Check(ctx, c)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range change.Do {
			if err := o.Do(ctx, c); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, s := range plan(t, c, release, d).Boot {
		change, err := s.Check(ctx, c)
		if err != nil {
			t.Fatal(err)
		}
		if !change.Holds() {
			t.Errorf("%s, once written, is to be written again:\n%s", s.ID(), change.Diff)
		}
	}
}

// refused gives the reason of the refusal that planning or checking ends in.
func refused(t *testing.T, c *hosttest.Canned, release string, d inventory.Desired) string {
	t.Helper()
	ctx := context.Background()
	f, err := Gather(ctx, c, host.Identity{OS: host.Linux, Release: release}, d)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Plan(d, f)
	for _, s := range p.Live {
		if err == nil {
			_, err = s.Check(ctx, c)
		}
	}
	var r *step.Refusal
	if !errors.As(err, &r) {
		t.Fatalf("no refusal but %v", err)
	}
	if r.Hint == "" {
		t.Errorf("the refusal %q says not what to do", r.Reason)
	}
	return r.Reason
}
