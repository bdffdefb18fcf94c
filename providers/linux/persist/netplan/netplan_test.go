package netplan

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/host/hosttest"
	"github.com/lvsfleet/lvsfleet/providers/linux/persist"
	"github.com/lvsfleet/lvsfleet/providers/linux/persist/networkd"
	"github.com/lvsfleet/lvsfleet/providers/note"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

func canned(files map[string]string) *hosttest.Canned {
	c := &hosttest.Canned{Name: "box", Files: map[string]host.File{}}
	for p, text := range files {
		c.Files[p] = hosttest.Regular(text)
	}
	return c
}

var machine = persist.Machine{Running: true, Links: []persist.Link{{Name: "lo"}, {Name: "eth0", MAC: "02:00:00:00:00:01"}, {Name: "eth1", MAC: "02:00:00:00:00:02"}}}

const cloud = `network:
  version: 2
  ethernets:
    lo:
      addresses: [127.0.0.1/8, 10.9.0.100/32]
    eth0:
      addresses: [10.9.0.12/24]
      routes: [{to: default, via: 10.9.0.254}]
`

func TestWhatTheFilesSay(t *testing.T) {
	files := map[string]string{
		"/etc/netplan/50-cloud-init.yaml": cloud,
		"/etc/netplan/60-more.yaml":       "network:\n  ethernets:\n    eth0:\n      addresses:\n        - \"2001:db8::12/64\"\n        - 10.9.0.13/32: {label: \"eth0:1\"}\n    second:\n      match: {macaddress: \"02:00:00:00:00:02\"}\n      dhcp4: true\n",
		"/run/netplan/50-cloud-init.yaml": "network: {ethernets: {eth9: {dhcp4: true}}}\n",
		"/etc/netplan/70-not.yml":         "nonsense: [",
	}
	det, err := Dialect{}.Detect(t.Context(), canned(files), machine)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]persist.Claim{"eth0": {Evidence: "/etc/netplan/50-cloud-init.yaml"}, "eth1": {Evidence: "/etc/netplan/60-more.yaml"}}
	if diff := cmp.Diff(want, det.Interfaces); diff != "" || det.Manager != "/etc/netplan/50-cloud-init.yaml" {
		t.Errorf("%s (-want +got)\n%s", det.Manager, diff)
	}
	f, err := Dialect{}.Read(t.Context(), canned(files), machine)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, a := range f.Addresses() {
		line := a.Dev + " " + a.Label + " " + netip.PrefixFrom(a.Addr, a.Bits).String()
		if a.Lost != "" {
			line += " lost"
		}
		got = append(got, line)
	}
	lines := []string{"eth0 eth0 10.9.0.12/24", "eth0 eth0 2001:db8::12/64", "eth0 eth0:1 10.9.0.13/32", "lo lo 127.0.0.1/8 lost", "lo lo 10.9.0.100/32 lost"}
	if diff := cmp.Diff(lines, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if file, wild, ok := f.Takes("lo"); file != "/etc/netplan/50-cloud-init.yaml" || wild || !ok {
		t.Errorf("lo is taken by %q %t %t", file, wild, ok)
	}
}

func TestPlan(t *testing.T) {
	onLo := []persist.VIP{{Addr: netip.MustParseAddr("192.0.2.1"), Dev: "lo"}}
	own := func(a string) []inventory.Interface {
		return []inventory.Interface{{Device: "eth0", Addresses: []netip.Prefix{netip.MustParsePrefix(a)}}}
	}
	plain := "network: {ethernets: {eth0: {addresses: [10.9.0.12/24]}}}\n"
	for name, tt := range map[string]struct {
		files map[string]string
		w     persist.Want
		want  string // the refusal, the note, or the file written; "" nothing
	}{
		"as it is":             {map[string]string{"/etc/netplan/a.yaml": plain}, persist.Want{Interfaces: own("10.9.0.12/24"), Real: onLo}, ""},
		"another own address":  {map[string]string{"/etc/netplan/a.yaml": plain}, persist.Want{Interfaces: own("10.9.0.13/24")}, "/etc/netplan/a.yaml gives eth0 the address 10.9.0.12/24, the inventory 10.9.0.13/24"},
		"an interface by DHCP": {map[string]string{"/etc/netplan/a.yaml": "network: {ethernets: {eth0: {dhcp4: yes}}}\n"}, persist.Want{Interfaces: own("10.9.0.13/24")}, "does not name the address 10.9.0.13/24"},
		"what netplan refuses": {map[string]string{"/etc/netplan/a.yaml": plain, "/etc/netplan/b.yaml": "network: [\n"}, persist.Want{}, "/etc/netplan/b.yaml: yaml: "},
		"a card by NetworkManager": {map[string]string{"/etc/netplan/a.yaml": "network: {renderer: NetworkManager, ethernets: {eth0: {addresses: [10.9.0.11/24]}}}\n"},
			persist.Want{Real: onLo, Interfaces: []inventory.Interface{{Device: "eth0", Addresses: []netip.Prefix{netip.MustParsePrefix("10.9.0.11/24")}}}}, "renders eth0 for NetworkManager"},
		"lo by NetworkManager":   {map[string]string{"/etc/netplan/a.yaml": "network: {renderer: NetworkManager, ethernets: {lo: {addresses: [127.0.0.1/8]}}}\n"}, persist.Want{Real: onLo}, "has lo with the renderer NetworkManager"},
		"a wildcard of networkd": {map[string]string{"/etc/netplan/a.yaml": plain, "/etc/systemd/network/90-all.network": "[Match]\nName=*\n"}, persist.Want{Real: onLo}, networkd.LoopbackFile},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := Dialect{}.Read(t.Context(), canned(tt.files), machine)
			if err != nil {
				t.Fatal(err)
			}
			var p step.Plan
			got := ""
			if err := f.Plan(tt.w, &persist.Out{Plan: &p}); err != nil {
				got = err.Error()
			}
			for _, s := range p.Boot {
				got += s.ID()
			}
			if got += strings.Join(note.Texts(p.Notes), "\n"); got != tt.want && (tt.want == "" || !strings.Contains(got, tt.want)) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func FuzzFiles(f *testing.F) {
	f.Add(cloud)
	f.Add("network: {ethernets: {lo: {addresses: [{a: b}, {192.0.2.1/24: }], match: {name: \"[\"}}}}")
	f.Add("a: &x [*x]\nnetwork: *x")
	f.Fuzz(func(t *testing.T, text string) {
		files, err := Dialect{}.Read(t.Context(), canned(map[string]string{"/etc/netplan/a.yaml": text}), machine)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range files.Addresses() {
			if !a.Addr.IsValid() {
				t.Errorf("%q gave %+v", text, a)
			}
		}
	})
}
