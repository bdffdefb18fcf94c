package linux

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/host/hosttest"
	"github.com/lvsfleet/lvsfleet/providers/linux/persist"
	"github.com/lvsfleet/lvsfleet/providers/linux/persist/ifcfg"
	"github.com/lvsfleet/lvsfleet/providers/step"
	"github.com/lvsfleet/lvsfleet/providers/step/steptest"
)

// A paper is a dialect that says what it is told to say. It writes nothing.
type paper struct {
	name    string
	manager string
	claims  map[string]persist.Claim
	addrs   []persist.Address
	wanted  *persist.Want // what it was asked for
}

func (p *paper) Name() string { return p.name }

func (p *paper) Detect(context.Context, host.Host, persist.Machine) (persist.Detection, error) {
	return persist.Detection{Manager: p.manager, Interfaces: p.claims}, nil
}

func (p *paper) Read(context.Context, host.Host, persist.Machine) (persist.Files, error) {
	return p, nil
}

func (p *paper) Addresses() []persist.Address                { return p.addrs }
func (p *paper) Labels() (list []string)                     { return nil }
func (p *paper) Takes(string) (string, bool, bool)           { return "", false, false }
func (p *paper) Settings() []persist.Setting                 { return nil }
func (p *paper) Own([]string) []string                       { return nil }
func (p *paper) Plan(w persist.Want, out *persist.Out) error { p.wanted = &w; return nil }

// booted is a machine on which systemd runs, and no initscripts.
func booted(address string) *hosttest.Canned {
	c := canned(current, address)
	for path := range c.Files {
		if strings.HasPrefix(path, "/etc/sysconfig/network") || strings.HasPrefix(path, "/etc/rc.d") {
			delete(c.Files, path)
		}
	}
	c.Files["/run/systemd/system"] = host.File{Mode: os.ModeDir | 0o755}
	c.Runs["systemctl is-failed "+Unit] = host.Result{Exit: 1, Stdout: []byte("inactive\n")}
	c.Runs["systemctl daemon-reload"] = host.Result{}
	c.Runs["modprobe -n -q ipip"] = host.Result{}
	c.Runs["sysctl -n net.ipv6.conf.lo.disable_ipv6"] = hosttest.Text("0\n")
	return c
}

func planWith(t *testing.T, c *hosttest.Canned, d inventory.Desired, table ...Entry) (step.Plan, error) {
	t.Helper()
	f, err := GatherWith(t.Context(), c, host.Identity{OS: host.Linux, Release: current}, d, table)
	if err != nil {
		return step.Plan{}, err
	}
	return Plan(d, f)
}

func onNetworkd() *paper {
	return &paper{name: "networkd", manager: "/etc/systemd/system/multi-user.target.wants/systemd-networkd.service",
		claims: map[string]persist.Claim{"eth0": {Evidence: "/etc/systemd/network/10-eth0.network"}}}
}

func TestVirtualAddressesOfNoFile(t *testing.T) {
	dr, tun := wanted()["real-dr"], wanted()["real-tun"]
	dr.Gateways = nil
	six := dr
	six.VIPs = append([]inventory.VIP{{Addr: addr("2001:db8::200"), Method: inventory.DR, Device: "eth0", OnLAN: true}}, dr.VIPs...)
	six.Tunnels = []inventory.PlainEnd{{Name: "office", Peer: "rs170", Inside: addr("10.0.0.1"), FarInside: addr("10.0.0.2"),
		Local: addr("192.168.0.160"), Remote: addr("192.168.0.170")}}
	file := func(a string, bits int, dev, label, lost string) persist.Address {
		return persist.Address{Addr: addr(a), Bits: bits, Dev: dev, Label: label, File: "/etc/network/interfaces", Lost: lost}
	}
	for _, tt := range []struct {
		name  string
		d     inventory.Desired
		addrs []persist.Address
	}{
		{"dr", dr, nil},
		{"tun", tun, nil},
		{"both-families-and-a-tunnel", six, nil},
		{"kept-on-lo", dr, []persist.Address{file("192.168.0.200", 32, "lo", "lo:0", "")}},
		{"kept-on-a-dummy", dr, []persist.Address{file("192.168.0.200", 32, "dummy0", "dummy0", "")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := booted("192.168.0.160/24")
			c.Runs["ip tunnel show"] = hosttest.Text("")
			n := onNetworkd()
			n.addrs = tt.addrs
			table := []Entry{{Dialect: ifcfg.Dialect{}, Real: true, Gateway: true, Director: true}, {Dialect: n, Real: true}}
			p, err := planWith(t, c, tt.d, table...)
			if err != nil {
				t.Fatal(err)
			}
			text := show(t, c, p)
			for _, n := range p.Notes {
				text += "note: " + n.String() + "\n"
			}
			steptest.Golden(t, *update, "testdata/unit-"+tt.name+".golden", text)
			if n.wanted == nil || n.wanted.Native || len(n.wanted.Interfaces) != 1 || len(n.wanted.Real) != len(tt.d.VIPs) {
				t.Errorf("networkd was asked for %+v", n.wanted)
			}
			for _, s := range p.Boot {
				ch, err := s.Check(t.Context(), c)
				if err != nil {
					t.Fatal(err)
				}
				for _, o := range ch.Do {
					if err := o.Do(t.Context(), c); err != nil {
						t.Fatal(err)
					}
				}
			}
			if p, err = planWith(t, c, tt.d, table...); err != nil {
				t.Fatal(err)
			}
			for _, s := range p.Boot {
				if ch, err := s.Check(t.Context(), c); err != nil || !ch.Holds() {
					t.Errorf("%s, once written, is to be written again: %v\n%s", s.ID(), err, ch.Diff)
				}
			}
		})
	}
}

func TestWhoseInterfaceItIs(t *testing.T) {
	dr := wanted()["real-dr"]
	dr.Gateways = nil
	claim := func(evidence string, live bool) map[string]persist.Claim {
		return map[string]persist.Claim{"eth0": {Evidence: evidence, Live: live}}
	}
	lo := func(lost string, bits int, dev string) []persist.Address {
		return []persist.Address{{Addr: addr("192.168.0.200"), Bits: bits, Dev: dev, Label: dev, File: "/etc/netplan/01.yaml", Lost: lost}}
	}
	nd := Entry{Dialect: onNetworkd(), Real: true}
	for name, tt := range map[string]struct {
		d     func(d *inventory.Desired)
		files func(c *hosttest.Canned)
		table []Entry
		want  string // the refusal; "" none
		owner string // else: who was asked for eth0
	}{
		"closed": {table: []Entry{{Dialect: onNetworkd()}}, want: "configured by networkd (/etc/systemd/network/10-eth0.network)"},
		"the manager's word is worth more than a file": {
			table: []Entry{nd, {Dialect: &paper{name: "networkmanager", manager: "m", claims: claim("eth0.nmconnection", true)}, Real: true}}, owner: "networkmanager"},
		"a manager that does not start claims nothing": {
			table: []Entry{{Dialect: &paper{name: "ifupdown", claims: claim("/etc/network/interfaces", false)}, Real: true}, nd}, owner: "networkd"},
		"two that start": {
			table: []Entry{{Dialect: &paper{name: "ifupdown", manager: "m", claims: claim("/etc/network/interfaces", false)}, Real: true}, nd},
			want:  "eth0 is claimed by ifupdown (/etc/network/interfaces) and networkd"},
		"two that start, and one that is named": {
			d:     func(d *inventory.Desired) { d.Network = "ifupdown" },
			table: []Entry{nd, {Dialect: &paper{name: "ifupdown", manager: "m", claims: claim("/etc/network/interfaces", false)}, Real: true}}, owner: "ifupdown"},
		"a gateway that is not written": {
			d: func(d *inventory.Desired) { d.Gateways = wanted()["real-dr"].Gateways }, table: []Entry{nd}, want: "the default route by 192.168.0.252 is kept by networkd"},
		"a director's address that is not written": {
			d: func(d *inventory.Desired) {
				d.VIPs = nil
				d.Director = &inventory.Director{VIPs: []inventory.DirectorVIP{{Addr: addr("192.168.0.200"), Device: "eth0"}}}
			}, table: []Entry{nd}, want: "eth0, which is to have the virtual address 192.168.0.200, is kept by networkd"},
		"systemd does not run": {
			files: func(c *hosttest.Canned) { delete(c.Files, "/run/systemd/system") }, table: []Entry{nd}, want: "systemd does not run here"},
		"an address on lo that does not last": {
			table: []Entry{{Dialect: &paper{name: "netplan", manager: "m", claims: claim("01.yaml", false), addrs: lo("networkd deletes it", 32, "lo")}, Real: true}},
			want:  "/etc/netplan/01.yaml has the virtual address 192.168.0.200 on lo, where it does not last: networkd deletes it"},
		"an address on lo with the length of a network": {
			table: []Entry{{Dialect: &paper{name: "netplan", manager: "m", claims: claim("01.yaml", false), addrs: lo("", 24, "lo")}, Real: true}},
			want:  "puts the virtual address 192.168.0.200 with /24 on lo"},
		"no IPv6 on the loopback": {
			d: func(d *inventory.Desired) {
				d.VIPs = []inventory.VIP{{Addr: addr("2001:db8::200"), Method: inventory.DR, Device: "eth0", OnLAN: true}}
			},
			files: func(c *hosttest.Canned) { c.Runs["sysctl -n net.ipv6.conf.lo.disable_ipv6"] = hosttest.Text("1\n") },
			table: []Entry{nd}, want: "IPv6 is off on the loopback"},
		"a container without modules": {
			d:     func(d *inventory.Desired) { d.VIPs = wanted()["real-tun"].VIPs },
			files: func(c *hosttest.Canned) { c.Runs["modprobe -n -q ipip"] = hosttest.Fail(1, "") },
			table: []Entry{nd}, want: "the kernel module ipip is not to be had here"},
		"ostree": {
			files: func(c *hosttest.Canned) { c.Files["/run/ostree-booted"] = hosttest.Regular("") },
			table: []Entry{nd}, want: "the system is an ostree deployment"},
		"/etc on an overlay": {
			files: func(c *hosttest.Canned) {
				c.Files["/proc/mounts"] = hosttest.Regular("/dev/vda1 / ext4 ro,relatime 0 0\noverlay /etc overlay rw,lowerdir=/etc 0 0\n")
			},
			table: []Entry{nd}, want: "/etc is a file system of its own, of type overlay"},
		"a read-only root": {
			files: func(c *hosttest.Canned) {
				c.Files["/proc/mounts"] = hosttest.Regular("/dev/vda1 / ext4 ro,relatime 0 0\n")
			},
			table: []Entry{nd}, want: "/ is mounted read-only"},
		"an address on the card": {
			table: []Entry{{Dialect: &paper{name: "netplan", manager: "m", claims: claim("01.yaml", false), addrs: lo("", 32, "eth0")}, Real: true}},
			want:  "puts the virtual address 192.168.0.200 on eth0, where it answers for the director"},
	} {
		t.Run(name, func(t *testing.T) {
			d := dr
			if tt.d != nil {
				tt.d(&d)
			}
			c := booted("192.168.0.160/24")
			if tt.files != nil {
				tt.files(c)
			}
			_, err := planWith(t, c, d, tt.table...)
			var r *step.Refusal
			switch {
			case tt.want == "" && err != nil:
				t.Fatal(err)
			case tt.want == "":
				for _, e := range tt.table {
					p := e.Dialect.(*paper)
					if got := p.wanted != nil && len(p.wanted.Interfaces) > 0; got != (p.name == tt.owner) {
						t.Errorf("%s was asked for %+v", p.name, p.wanted)
					}
				}
			case !errors.As(err, &r):
				t.Fatalf("no refusal but %v", err)
			case !strings.Contains(r.Reason, tt.want) || r.Hint == "":
				t.Errorf("refused because %q (%s), want %q", r.Reason, r.Hint, tt.want)
			}
		})
	}
}
