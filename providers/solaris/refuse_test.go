package solaris

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/host/hosttest"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// What lvsfleet does not do here is refused by name, before anything changes.
func TestRefusals(t *testing.T) {
	yes, no := true, false
	v6 := addr("2001:db8::200")
	for _, c := range []struct {
		name    string
		release string // "5.10"
		change  func(d *inventory.Desired)
		says    string // "": planned
	}{
		{"as it is", "", func(*inventory.Desired) {}, ""},
		{"hostname-files by name", "", func(d *inventory.Desired) { d.Network = "hostname-files" }, ""},
		{"ipadm", "", func(d *inventory.Desired) { d.Network = "ipadm" }, `"ipadm"`},
		{"rc.conf", "", func(d *inventory.Desired) { d.Network = "rc.conf" }, `"rc.conf"`},
		{"Solaris 9", "5.9", func(*inventory.Desired) {}, "SunOS 5.9"},
		{"Solaris 11", "5.11", func(*inventory.Desired) {}, "ipadm"},
		{"a director", "", func(d *inventory.Desired) { d.Director = &inventory.Director{} }, "IPVS"},
		{"an IPv6 VIP", "", func(d *inventory.Desired) { d.VIPs[0].Addr = v6 }, "IPv6 VIPs"},
		{"an IPv6 gateway", "", func(d *inventory.Desired) { d.Gateways = append(d.Gateways, v6) }, "IPv6 routes"},
		{"IPv6 forwarding", "", func(d *inventory.Desired) { d.IPForward6 = &yes }, "IPv6 forwarding"},
		{"forwarding that is off already", "", func(d *inventory.Desired) { d.IPForward4 = &no }, ""},
		{"forwarding", "", func(d *inventory.Desired) { d.IPForward4 = &yes }, "only verifies"},
		{"two directors", "", func(d *inventory.Desired) {
			*d = tun("192.168.10.200")
			other := d.Decaps[0]
			other.Remote = addr("192.168.10.101")
			d.Decaps = append(d.Decaps, other)
		}, "several tunnels"},
		{"no far inside address", "", func(d *inventory.Desired) {
			*d = tun("192.168.10.200")
			d.VIPs[0].Peer = netip.Addr{}
		}, "far inside"},
		{"an IPv6 director", "", func(d *inventory.Desired) {
			*d = tun("192.168.10.200")
			d.Decaps[0].Remote = v6
		}, "IPv6 tunnels"},
		{"an IPv6 tunnel", "", func(d *inventory.Desired) {
			*d = plain()
			d.Tunnels[0].Inside = v6
		}, "IPv6 tunnels"},
		{"a tunnel with a name", "", func(d *inventory.Desired) {
			*d = plain()
			d.Tunnels[0].Interface = "ip.tun3"
		}, ""},
		{"a tunnel with another system's name", "", func(d *inventory.Desired) {
			*d = plain()
			d.Tunnels[0].Interface = "gif0"
		}, "gif0"},
		{"a tunnel whose name is taken", "", func(d *inventory.Desired) {
			*d = plain()
			d.Tunnels[0].Interface = "ip.tun7"
		}, "ip.tun7"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := &hosttest.Canned{
				Runs: map[string]host.Result{
					"ifconfig -a": hosttest.Text(`lo0: flags=2001000849<UP,LOOPBACK,RUNNING,MULTICAST,IPv4,VIRTUAL> mtu 8232 index 1
	inet 127.0.0.1 netmask ff000000 
pcn0: flags=1000843<UP,BROADCAST,RUNNING,MULTICAST,IPv4> mtu 1500 index 2
	inet 192.168.0.180 netmask ffffff00 broadcast 192.168.0.255
ip.tun7: flags=10008d1<UP,POINTOPOINT,RUNNING,NOARP,MULTICAST,IPv4> mtu 1480 index 3
	inet tunnel src 192.168.0.180 tunnel dst 10.9.9.9
	inet 172.16.9.1 --> 172.16.9.2 netmask ffffffff 
`),
					"ndd /dev/ip ip_strict_dst_multihoming": hosttest.Text("0\n"),
					"ndd /dev/ip ip_forwarding":             hosttest.Text("0\n"),
				},
				Files: map[string]host.File{"/etc/hostname.pcn0": hosttest.Regular("192.168.0.180/24\n")},
			}
			d := dr("192.168.0.200")
			c.change(&d)
			id := host.Identity{OS: host.Solaris, Release: c.release}
			if id.Release == "" {
				id.Release = "5.10"
			}
			f, err := Gather(context.Background(), h, id, d)
			if err == nil {
				_, err = Plan(d, f)
			}
			var refusal *step.Refusal
			switch {
			case c.says == "" && err != nil:
				t.Error(err)
			case c.says != "" && !errors.As(err, &refusal):
				t.Errorf("not refused: %v", err)
			case c.says != "" && !strings.Contains(refusal.Reason, c.says):
				t.Errorf("refused, but %v", err)
			}
		})
	}
}

// A command that fails, or prints what it should not, is an error that names
// it; never a state.
func TestGatherErrors(t *testing.T) {
	for name, runs := range map[string]map[string]host.Result{
		"ifconfig -a": {"ifconfig -a": hosttest.Fail(1, "ifconfig: socket: Permission denied")},
		"interfaces":  {"ifconfig -a": hosttest.Text("Segmentation Fault\n")},
		"ip_strict_dst_multihoming": {
			"ifconfig -a":                           hosttest.Text(sample),
			"ndd /dev/ip ip_strict_dst_multihoming": hosttest.Text("operation failed: Permission denied\n"),
		},
		"host model": {
			"ifconfig -a":                           hosttest.Text(sample),
			"ndd /dev/ip ip_strict_dst_multihoming": hosttest.Fail(127, "ndd: not found"),
		},
	} {
		h := &hosttest.Canned{Runs: runs, Files: map[string]host.File{}}
		_, err := Gather(context.Background(), h, host.Identity{OS: host.Solaris, Release: "5.10"}, dr("192.168.0.200"))
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
