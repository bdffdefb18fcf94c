package ifupdown

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/host/hosttest"
	"github.com/lvsfleet/lvsfleet/providers/linux/persist"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

func canned(files map[string]string) *hosttest.Canned {
	c := &hosttest.Canned{Name: "box", Files: map[string]host.File{}}
	for p, text := range files {
		c.Files[p] = hosttest.Regular(text)
	}
	return c
}

const stock = `source /etc/network/interfaces.d/*
auto lo
iface lo inet loopback
auto lo:0
iface lo:0 inet static
    address 10.9.0.100
    netmask 255.255.255.255
auto eth0
iface eth0 inet static
    address 10.9.0.11/24
    gateway 10.9.0.254
    up ip addr add 10.9.0.12/32 dev eth0 label eth0:7
    pre-up sysctl -w net.ipv4.conf.all.arp_ignore=1
iface eth1 inet static
    address 10.8.0.1/24
`

func TestWhichProgramItIs(t *testing.T) {
	for name, tt := range map[string]struct {
		files map[string]string
		want  string
	}{
		"Debian's":    {map[string]string{Main: stock}, Classic},
		"ifupdown2":   {map[string]string{Main: stock, "/etc/network/ifupdown2/ifupdown2.conf": ""}, Two},
		"ifupdown-ng": {map[string]string{Main: stock, "/etc/network/ifupdown-ng.conf": ""}, NG},
		"none":        {map[string]string{"/etc/network/if-up.d/x": ""}, ""},
	} {
		for _, program := range []string{Classic, Two, NG} {
			det, err := Dialect{program}.Detect(t.Context(), canned(tt.files), persist.Machine{})
			if err != nil {
				t.Fatal(err)
			}
			if got := det.Interfaces["eth0"].Evidence == Main; got != (program == tt.want) || det.Interfaces["eth1"].Evidence != "" {
				t.Errorf("%s, %s: %+v", name, program, det)
			}
		}
	}
	det, err := Dialect{Classic}.Detect(t.Context(), canned(map[string]string{Main: stock, "/run/network/ifstate": "lo=lo\neth0=eth0\n",
		"/etc/systemd/system/multi-user.target.wants/networking.service": ""}), persist.Machine{Running: true})
	if err != nil || !det.Interfaces["eth0"].Live || det.Manager == "" {
		t.Errorf("%v %+v", err, det)
	}
}

func TestAddresses(t *testing.T) {
	files := map[string]string{
		Main:                             stock,
		"/etc/network/interfaces.d/more": "iface lo inet static\n address 10.9.0.101/32\niface lo inet6 static\n address 2001:db8::1/128\nauto eth1\n",
		"/etc/network/interfaces.d/.not": "iface lo inet static\n address 10.9.0.199/32\n",
	}
	f, err := Dialect{Classic}.Read(t.Context(), canned(files), persist.Machine{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, a := range f.Addresses() {
		got = append(got, a.Dev+" "+a.Label+" "+netip.PrefixFrom(a.Addr, a.Bits).String())
	}
	want := []string{"lo lo 10.9.0.101/32", "lo lo 2001:db8::1/128", "lo lo:0 10.9.0.100/32", "eth0 eth0 10.9.0.11/24", "eth0 eth0:7 10.9.0.12/32", "eth1 eth1 10.8.0.1/24"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([]string{"lo:0", "eth0:7"}, f.Labels()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]persist.Setting{{Key: "net.ipv4.conf.all.arp_ignore", Value: "1", File: Main}}, f.Settings()); diff != "" {
		t.Error(diff)
	}
	// ifupdown takes no address in the loopback's own stanza, without a word.
	files[Main] = "auto lo\niface lo inet loopback\n address 10.9.0.102/32\n"
	for program, n := range map[string]int{Classic: 2, NG: 3} {
		if program == NG {
			files["/etc/network/ifupdown-ng.conf"] = ""
		}
		files[Main] = "source-directory interfaces.d\nauto lo\niface lo inet loopback\n address 10.9.0.102/32\n"
		f, err := Dialect{program}.Read(t.Context(), canned(files), persist.Machine{})
		if err != nil {
			t.Fatal(err)
		}
		delete(files, "/etc/network/ifupdown-ng.conf")
		count := 0
		for _, a := range f.Addresses() {
			if a.Dev == "lo" {
				count++
			}
		}
		if count != n {
			t.Errorf("%s: %v", program, f.Addresses())
		}
	}
}

func TestOwnAddresses(t *testing.T) {
	for a, want := range map[string]string{
		"10.9.0.11/24": "", "10.9.0.11/16": "gives eth0 the address 10.9.0.11/24, 10.9.0.12/32, the inventory 10.9.0.11/16", "10.9.0.99/24": "the inventory 10.9.0.99/24",
	} {
		f, err := Dialect{Classic}.Read(t.Context(), canned(map[string]string{Main: stock}), persist.Machine{})
		if err != nil {
			t.Fatal(err)
		}
		err = f.Plan(persist.Want{Interfaces: []inventory.Interface{{Device: "eth0", Addresses: []netip.Prefix{netip.MustParsePrefix(a)}}}}, &persist.Out{Plan: &step.Plan{}})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", a, err)
		}
	}
}

func FuzzFiles(f *testing.F) {
	f.Add(stock)
	f.Add("source interfaces\nsource [\nauto\niface\niface x\n address\n up\n up ip addr add\n up ip addr add x dev")
	f.Fuzz(func(t *testing.T, text string) {
		files, err := Dialect{Classic}.Read(t.Context(), canned(map[string]string{Main: text}), persist.Machine{})
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range files.Addresses() {
			if !a.Addr.IsValid() {
				t.Errorf("%q gave %+v", text, a)
			}
		}
		files.Labels()
		files.Settings()
	})
}
