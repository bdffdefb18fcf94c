package networkmanager

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/host/hosttest"
	"github.com/lvsfleet/lvsfleet/providers/linux/persist"
	"github.com/lvsfleet/lvsfleet/providers/note"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

const (
	started = "/etc/systemd/system/multi-user.target.wants/NetworkManager.service"
	ask     = "nmcli -t -f DEVICE,FILENAME con show --active"
	key     = "[connection]\nid=eth0\ntype=ethernet\ninterface-name=eth0\n[ipv4]\nmethod=manual\naddress1=10.9.0.13/24,10.9.0.254\n[ipv6]\naddresses=2001:db8::13/64;\n"
)

func canned(files map[string]string, active string) *hosttest.Canned {
	c := &hosttest.Canned{Name: "box", Files: map[string]host.File{}, Runs: map[string]host.Result{ask: hosttest.Text(active)}}
	if active == "" {
		c.Runs[ask] = hosttest.Fail(8, "Error: NetworkManager is not running.\n")
	}
	for p, text := range files {
		c.Files[p] = hosttest.Regular(text)
	}
	return c
}

var machine = persist.Machine{Running: true, Links: []persist.Link{{Name: "lo"}, {Name: "eth0", MAC: "02:00:00:00:00:01"}}}

func TestWhoseProfileItIs(t *testing.T) {
	file := Folder + "/eth0.nmconnection"
	for name, tt := range map[string]struct {
		files  map[string]string
		active string
		want   map[string]persist.Claim
	}{
		"by name":        {map[string]string{file: key}, "", map[string]persist.Claim{"eth0": {Evidence: file}}},
		"by address":     {map[string]string{file: "[connection]\ntype=ethernet\n[ethernet]\nmac-address=02:00:00:00:00:01\n"}, "", map[string]persist.Claim{"eth0": {Evidence: file}}},
		"not by itself":  {map[string]string{file: key + "[connection]\nautoconnect=false\n"}, "", map[string]persist.Claim{}},
		"active":         {map[string]string{started: "", file: key}, "eth0:" + file + "\nlo:\n", map[string]persist.Claim{"eth0": {Evidence: file, Live: true}}},
		"netplan's":      {map[string]string{started: "", file: key}, "eth0:/run/NetworkManager/system-connections/netplan-eth0.nmconnection\n", map[string]persist.Claim{}},
		"only watched":   {map[string]string{started: "", "/run/NetworkManager/system-connections/eth1.nmconnection": "[.nmmeta]\nexternal=true\n"}, "eth1:/run/NetworkManager/system-connections/eth1.nmconnection\n", map[string]persist.Claim{}},
		"does not start": {map[string]string{file: key}, "eth0:" + file + "\n", map[string]persist.Claim{"eth0": {Evidence: file}}},
	} {
		t.Run(name, func(t *testing.T) {
			det, err := Dialect{}.Detect(t.Context(), canned(tt.files, tt.active), machine)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, det.Interfaces); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestPlan(t *testing.T) {
	file := Folder + "/eth0.nmconnection"
	own := func(a string) []inventory.Interface {
		return []inventory.Interface{{Device: "eth0", Addresses: []netip.Prefix{netip.MustParsePrefix(a)}}}
	}
	tun := []persist.VIP{{Addr: netip.MustParseAddr("192.0.2.1"), Dev: "tunl0"}}
	for name, tt := range map[string]struct {
		active string
		w      persist.Want
		want   string // the refusal, the note, or what is done; "" nothing
	}{
		"as it is":            {"", persist.Want{Interfaces: own("10.9.0.13/24")}, ""},
		"both families":       {"", persist.Want{Interfaces: own("2001:db8::13/64")}, ""},
		"another own address": {"", persist.Want{Interfaces: own("10.9.0.14/24")}, "gives eth0 the address 10.9.0.13/24, the inventory 10.9.0.14/24"},
		"a tunnel": {"", persist.Want{Real: tun}, TunnelConf + "\n# lvsfleet: NetworkManager leaves the tunnel device alone\n[device-lvsfleet]\nmatch-device=interface-name:tunl0\nmanaged=0\n" +
			"nmcli general reload conf\n"},
		"an ifcfg file": {"eth0:/etc/sysconfig/network-scripts/ifcfg-eth0\n", persist.Want{Interfaces: own("10.9.0.13/24")}, "is an ifcfg file that NetworkManager brings up"},
		"no file":       {"", persist.Want{Interfaces: []inventory.Interface{{Device: "eth7"}}}, "NetworkManager has no keyfile for eth7"},
	} {
		t.Run(name, func(t *testing.T) {
			c := canned(map[string]string{started: "", file: key}, tt.active)
			f, err := Dialect{}.Read(t.Context(), c, machine)
			if err != nil {
				t.Fatal(err)
			}
			var p step.Plan
			got := ""
			if err := f.Plan(tt.w, &persist.Out{Plan: &p}); err != nil {
				got = err.Error()
			}
			for _, s := range p.Boot {
				ch, err := s.Check(t.Context(), c)
				if err != nil {
					t.Fatal(err)
				}
				for _, o := range ch.Do {
					switch {
					case o.Kind == step.Write && o.File.Mode.IsRegular():
						got += o.Path + "\n" + string(o.File.Data)
					case o.Kind == step.Notify:
						got += o.String() + "\n"
					}
				}
			}
			if got += strings.Join(note.Texts(p.Notes), "\n"); got != tt.want && (tt.want == "" || !strings.Contains(got, tt.want)) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func FuzzFiles(f *testing.F) {
	f.Add(key)
	f.Add("[ipv4]\naddress=;;\naddress1=1.2.3.4/5,\naddress9999=\n[connection]\ninterface-name=lo\n")
	f.Fuzz(func(t *testing.T, text string) {
		files, err := Dialect{}.Read(t.Context(), canned(map[string]string{Folder + "/a.nmconnection": text}, ""), machine)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range files.Addresses() {
			if !a.Addr.IsValid() || a.Dev == "" {
				t.Errorf("%q gave %+v", text, a)
			}
		}
	})
}
