package linux

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/host/hosttest"
	"github.com/lvsfleet/lvsfleet/providers/linux/persist/ifcfg"
	"github.com/lvsfleet/lvsfleet/providers/note"
	"github.com/lvsfleet/lvsfleet/providers/step"
	"github.com/lvsfleet/lvsfleet/providers/step/steptest"
)

// after gives the files that the plan writes, by path.
func after(t *testing.T, c *hosttest.Canned, p step.Plan) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, s := range p.Boot {
		change, err := s.Check(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range change.Do {
			if o.Kind == step.Write && o.File.Mode.IsRegular() {
				files[o.Path] = string(o.File.Data)
			}
		}
	}
	return files
}

func TestFilesThatPeopleWrote(t *testing.T) {
	lo0, eth0 := scripts+"ifcfg-lo:0", scripts+"ifcfg-eth0"
	const own = "DEVICE=eth0\nIPADDR=192.168.0.160\nNETMASK=255.255.255.0\n"
	const gone = "(not written)"
	tests := []struct {
		name    string
		desired string
		live    string // further lines of `ip -o -4 addr show`
		before  map[string]string
		after   map[string]string
	}{
		{"the howto's ifcfg-lo:0 is taken as it is", "real-dr", "",
			map[string]string{lo0: "DEVICE=lo:0\nIPADDR=192.168.0.200\nNETMASK=255.255.255.255\nONBOOT=yes\nNAME=loopback\n"},
			map[string]string{lo0: gone, scripts + "ifcfg-lo:1": gone}},
		{"a missing mask would become the loopback's", "real-dr", "",
			map[string]string{lo0: "# by hand\nIPADDR=\"192.168.0.200\" # VIP\n"},
			map[string]string{lo0: "# by hand\nIPADDR=\"192.168.0.200\" # VIP\nNETMASK=255.255.255.255\n"}},
		{"PREFIX wins over NETMASK", "real-dr", "",
			map[string]string{lo0: "DEVICE=lo:0\nIPADDR=192.168.0.200\nPREFIX='24'  # why?\nNETMASK=255.255.255.255\nONPARENT=no"},
			map[string]string{lo0: "DEVICE=lo:0\nIPADDR=192.168.0.200\nPREFIX=32  # why?\nNETMASK=255.255.255.255\nONPARENT=yes"}},
		{"the first free number, of files and live labels alike", "real-dr", "1: lo    inet 10.9.9.9/32 scope global lo:1\n",
			map[string]string{lo0: "DEVICE=lo:0\nIPADDR=10.8.8.8\nNETMASK=255.255.255.255\n"},
			map[string]string{lo0: gone, scripts + "ifcfg-lo:1": gone,
				scripts + "ifcfg-lo:2": "# lvsfleet: virtual address of an LVS cluster\nDEVICE=lo:2\nIPADDR=192.168.0.200\nNETMASK=255.255.255.255\nPREFIX=32\nONPARENT=yes\nNO_ALIASROUTING=yes\nARPUPDATE=no\n"}},
		{"the label that the address has now", "real-dr", "1: lo    inet 192.168.0.200/32 scope global lo:7\n", nil,
			map[string]string{lo0: gone,
				scripts + "ifcfg-lo:7": "# lvsfleet: virtual address of an LVS cluster\nDEVICE=lo:7\nIPADDR=192.168.0.200\nNETMASK=255.255.255.255\nPREFIX=32\nONPARENT=yes\nNO_ALIASROUTING=yes\nARPUPDATE=no\n"}},
		{"ours is put right again", "real-dr", "",
			map[string]string{lo0: "# lvsfleet: virtual address of an LVS cluster\nDEVICE=lo:0\nIPADDR=192.168.0.200\n"},
			map[string]string{lo0: "# lvsfleet: virtual address of an LVS cluster\nDEVICE=lo:0\nIPADDR=192.168.0.200\nNETMASK=255.255.255.255\nPREFIX=32\nONPARENT=yes\nNO_ALIASROUTING=yes\nARPUPDATE=no\n"}},
		{"somebody else's tunl0 leaves the aliases", "real-tun", "",
			map[string]string{scripts + "ifcfg-tunl0": "DEVICE=tunl0\nIPADDR=10.0.0.1\nNETMASK=255.255.255.255\n"},
			map[string]string{scripts + "ifcfg-tunl0": gone,
				scripts + "ifcfg-tunl0:0": "# lvsfleet: virtual address of an LVS cluster\nDEVICE=tunl0:0\nIPADDR=192.168.0.201\nNETMASK=255.255.255.255\nPREFIX=32\nONPARENT=yes\nNO_ALIASROUTING=yes\nARPUPDATE=no\n"}},
		{"a gateway in both files", "real-nat", "",
			map[string]string{networkFile: "NETWORKING=yes\nGATEWAY=192.168.0.1 # router A\n", eth0: own + "GATEWAY=\"192.168.0.1\"\n"},
			map[string]string{networkFile: "NETWORKING=yes\nGATEWAY=192.168.0.254 # router A\n", eth0: own + "GATEWAY=\"192.168.0.254\"\n"}},
		{"a gateway of another interface", "real-nat", "",
			map[string]string{networkFile: "NETWORKING=yes", scripts + "ifcfg-eth1": "DEVICE=eth1\nIPADDR=10.0.0.2\nNETMASK=255.0.0.0\nGATEWAY=10.0.0.1\n"},
			map[string]string{networkFile: "NETWORKING=yes\nGATEWAY=192.168.0.254\nGATEWAYDEV=eth0\n", scripts + "ifcfg-eth1": gone, eth0: gone}},
		{"a gateway by DHCP on another interface", "real-nat", "",
			map[string]string{scripts + "ifcfg-eth1": "DEVICE=eth1\nBOOTPROTO=dhcp\n"},
			map[string]string{networkFile: "NETWORKING=yes\nHOSTNAME=box\nGATEWAY=192.168.0.254\nGATEWAYDEV=eth0\n"}},
		{"an interface that is not up at boot is no rival", "real-nat", "",
			map[string]string{scripts + "ifcfg-eth1": "DEVICE=eth1\nBOOTPROTO=dhcp\nONBOOT=no\n"},
			map[string]string{networkFile: "NETWORKING=yes\nHOSTNAME=box\nGATEWAY=192.168.0.254\n"}},
		{"GATEWAYDEV that names another interface, and DEFROUTE", "real-nat", "",
			map[string]string{networkFile: "NETWORKING=yes\nGATEWAY=192.168.0.254\nGATEWAYDEV=eth1\n", eth0: own + "DEFROUTE=no\n"},
			map[string]string{networkFile: "NETWORKING=yes\nGATEWAY=192.168.0.254\nGATEWAYDEV=eth0\n", eth0: own + "DEFROUTE=yes\n"}},
		{"what is right already", "real-nat", "",
			map[string]string{networkFile: "NETWORKING=yes\nexport GATEWAY='192.168.0.254'; FOO=1\n"},
			map[string]string{networkFile: gone, eth0: gone}},
		{"a setting in another spelling", "real-dr", "",
			map[string]string{"/etc/sysctl.conf": "net/ipv4/conf/all/arp_ignore=0\n  ; net.ipv4.conf.all.arp_announce=0\nnet.ipv4.conf.eth0.arp_ignore =1\n"},
			map[string]string{"/etc/sysctl.conf": "net/ipv4/conf/all/arp_ignore=1\n  ; net.ipv4.conf.all.arp_announce=0\nnet.ipv4.conf.eth0.arp_ignore =1\n"}},
		{"the last assignment counts", "real-dr", "",
			map[string]string{"/etc/sysctl.conf": "net.ipv4.conf.all.arp_ignore=1\nnet.ipv4.conf.all.arp_ignore=\n"},
			map[string]string{"/etc/sysctl.conf": "net.ipv4.conf.all.arp_ignore=1\nnet.ipv4.conf.all.arp_ignore= 1\n"}},
		{"a file of ours keeps what another part put there", "real-dr", "",
			map[string]string{sysctlFile: "# lvsfleet: settings of an LVS cluster\nnet.ipv4.ip_forward = 1\nnet.ipv4.conf.all.arp_ignore = 0\n"},
			map[string]string{sysctlFile: "# lvsfleet: settings of an LVS cluster\nnet.ipv4.ip_forward = 1\nnet.ipv4.conf.all.arp_ignore = 1\n" +
				"net.ipv4.conf.all.arp_announce = 2\nnet.ipv4.conf.eth0.arp_ignore = 1\nnet.ipv4.conf.eth0.arp_announce = 2\n"}},
		{"modules of ours, one more", "real-tun", "",
			map[string]string{"/etc/modules-load.d/lvsfleet.conf": "# lvsfleet: modules of an LVS cluster\nip_vs"},
			map[string]string{"/etc/modules-load.d/lvsfleet.conf": "# lvsfleet: modules of an LVS cluster\nip_vs\nipip\n"}},
		{"the director's alias with the mask of its net", "director-dr", "",
			map[string]string{scripts + "ifcfg-eth0:0": "DEVICE=eth0:0\nIPADDR=192.168.0.200\n"},
			map[string]string{scripts + "ifcfg-eth0:0": "DEVICE=eth0:0\nIPADDR=192.168.0.200\nNETMASK=255.255.255.255\n"}},
		{"a director's VIP as a further address of the interface", "director-dr", "",
			map[string]string{eth0: "DEVICE=eth0\nIPADDR0=192.168.0.254\nPREFIX0=24\nIPADDR1=192.168.0.200\nPREFIX1=24\n"},
			map[string]string{eth0: "DEVICE=eth0\nIPADDR0=192.168.0.254\nPREFIX0=24\nIPADDR1=192.168.0.200\nPREFIX1=32\n", scripts + "ifcfg-eth0:0": gone}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := wanted()[tt.desired]
			c := canned(el7, d.Address+"/24")
			c.Runs["ip route get 192.168.0.170"] = hosttest.Text("192.168.0.170 dev eth0 src 192.168.0.254\n")
			c.Runs["ip -o -4 addr show"] = hosttest.Text(string(c.Runs["ip -o -4 addr show"].Stdout) + tt.live)
			for path, text := range tt.before {
				c.Files[path] = hosttest.Regular(text)
			}
			p := plan(t, c, el7, d)
			written := after(t, c, p)
			got := map[string]string{}
			for path := range tt.after {
				got[path] = gone
				if text, ok := written[path]; ok {
					got[path] = text
				}
			}
			if diff := cmp.Diff(tt.after, got); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
			bootHolds(t, c, p, el7, d)
		})
	}
}

func TestInterfaceWithoutAnyFile(t *testing.T) {
	d := inventory.Desired{Host: "box", Interfaces: []inventory.Interface{
		iface("eth0.5", "192.168.0.160/24", "172.16.0.1/12", "2001:db8::1/64", "2001:db8::2/64"),
	}, VIPs: []inventory.VIP{{Addr: addr("192.168.0.200"), Method: inventory.DR, Device: "eth0.5", OnLAN: true}}}
	c := &hosttest.Canned{Runs: canned(current, "192.168.0.160/24").Runs}
	c.Files = map[string]host.File{}
	p := plan(t, c, current, d)
	want := map[string]string{
		sysctlFile: "# lvsfleet: settings of an LVS cluster\nnet.ipv4.conf.all.arp_ignore = 1\nnet.ipv4.conf.all.arp_announce = 2\n" +
			"net/ipv4/conf/eth0.5/arp_ignore = 1\nnet/ipv4/conf/eth0.5/arp_announce = 2\n",
		scripts + "ifcfg-eth0.5": "# lvsfleet: own address of this host\nDEVICE=eth0.5\nBOOTPROTO=none\nONBOOT=yes\nVLAN=yes\n" +
			"IPADDR=192.168.0.160\nNETMASK=255.255.255.0\nIPV6INIT=yes\nIPV6ADDR=2001:db8::1/64\nIPV6ADDR_SECONDARIES=\"2001:db8::2/64\"\n",
		scripts + "ifcfg-eth0.5:0": "# lvsfleet: own address of this host\nDEVICE=eth0.5:0\nONPARENT=yes\nNO_ALIASROUTING=yes\nIPADDR=172.16.0.1\nNETMASK=255.240.0.0\n",
		scripts + "ifcfg-lo:0":     "# lvsfleet: virtual address of an LVS cluster\nDEVICE=lo:0\nIPADDR=192.168.0.200\nNETMASK=255.255.255.255\nPREFIX=32\nONPARENT=yes\nNO_ALIASROUTING=yes\nARPUPDATE=no\n",
		networkFile:                "NETWORKING=yes\n",
	}
	if diff := cmp.Diff(want, after(t, c, p)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	bootHolds(t, c, p, current, d)
}

func TestIPv6(t *testing.T) {
	d := inventory.Desired{Host: "box",
		Interfaces: []inventory.Interface{iface("eth0", "192.168.0.160/24")},
		Gateways:   []netip.Addr{addr("2001:db8::1")},
		VIPs: []inventory.VIP{
			{Addr: addr("2001:db8::200"), Method: inventory.DR, Device: "eth0", OnLAN: true},
			{Addr: addr("2001:db8::201"), Method: inventory.DR, Device: "eth0", OnLAN: true},
		},
		Director: &inventory.Director{VIPs: []inventory.DirectorVIP{{Addr: addr("2001:db8::300"), Device: "eth0"}}},
	}
	c := canned(el7, "192.168.0.160/24")
	lo, eth0 := scripts+"ifcfg-lo", scripts+"ifcfg-eth0"
	c.Files[lo] = hosttest.Regular(ifcfg.StockLoopback + "IPV6ADDR_SECONDARIES='2001:db8::200/128'\n")
	c.Files[networkFile] = hosttest.Regular("NETWORKING=yes\nNETWORKING_IPV6=no\n")
	eth := string(c.Files[eth0].Data)
	p := plan(t, c, el7, d)
	want := map[string]string{
		lo:          ifcfg.StockLoopback + "IPV6ADDR_SECONDARIES=\"2001:db8::200/128 2001:db8::201/128\"\nIPV6INIT=yes\n",
		eth0:        eth + "IPV6INIT=yes\nIPV6ADDR_SECONDARIES=2001:db8::300/128\n",
		networkFile: "NETWORKING=yes\nNETWORKING_IPV6=yes\nIPV6_DEFAULTGW=2001:db8::1\n",
	}
	if diff := cmp.Diff(want, after(t, c, p)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	text := show(t, c, p)
	for _, line := range []string{
		"do   ip -6 addr add 2001:db8::200/128 dev lo\n", "undo ip -6 addr del 2001:db8::200/128 dev lo\n",
		"do   ip -6 route replace default via 2001:db8::1\n",
		"do   ip -6 addr add 2001:db8::300/128 dev eth0\n", "unless somebody on eth0 answers for 2001:db8::300\n",
	} {
		if !strings.Contains(text, line) {
			t.Errorf("no line %q in\n%s", line, text)
		}
	}
	if strings.Contains(text, "arp_") {
		t.Errorf("ARP has no part in IPv6:\n%s", text)
	}
	bootHolds(t, c, p, el7, d)
}

func TestPlainTunnel(t *testing.T) {
	end := inventory.PlainEnd{Name: "office", Peer: "rs170", Inside: addr("10.0.0.1"), FarInside: addr("10.0.0.2"),
		Local: addr("192.168.0.160"), Remote: addr("192.168.0.170")}
	d := inventory.Desired{Host: "box", Interfaces: []inventory.Interface{iface("eth0", "192.168.0.160/24")}, Tunnels: []inventory.PlainEnd{end}}
	t.Run("new", func(t *testing.T) {
		c := canned(el7, "192.168.0.160/24")
		c.Runs["ip tunnel show"] = hosttest.Text("")
		c.Files[scripts+"ifcfg-lvs0"] = hosttest.Regular("DEVICE=lvs0\nTYPE=GRE\n")
		p := plan(t, c, el7, d)
		steptest.Golden(t, *update, "testdata/tunnel.golden", show(t, c, p))
		bootHolds(t, c, p, el7, d)
	})
	t.Run("one with the same ends is taken", func(t *testing.T) {
		c := canned(el7, "192.168.0.160/24")
		c.Runs["ip tunnel show"] = hosttest.Text("tunl0: ip/ip  remote any  local any  ttl inherit  nopmtudisc\noffice0: ip/ip  remote 192.168.0.170  local 192.168.0.160  ttl inherit \n")
		if text := show(t, c, plan(t, c, el7, d)); !strings.Contains(text, "tunnel:office0: holds") {
			t.Errorf("got\n%s", text)
		}
	})
	t.Run("Fedora Core 5 has no file for it", func(t *testing.T) {
		c := canned(fc5, "192.168.0.160/24")
		c.Runs["ip tunnel show"] = hosttest.Text("")
		p := plan(t, c, fc5, d)
		if !strings.Contains(strings.Join(note.Texts(p.Notes), "\n"), "gone with a reboot") {
			t.Errorf("notes %q", p.Notes)
		}
	})
	t.Run("a device with other ends is refused", func(t *testing.T) {
		named := d
		named.Tunnels = []inventory.PlainEnd{end}
		named.Tunnels[0].Interface = "t0"
		c := canned(el7, "192.168.0.160/24")
		c.Runs["ip tunnel show"] = hosttest.Text("t0: ip/ip  remote 192.168.0.180  local 192.168.0.160  ttl inherit \n")
		if got := refused(t, c, el7, named); !strings.Contains(got, "t0 leads from 192.168.0.160 to 192.168.0.180") {
			t.Error(got)
		}
	})
}
