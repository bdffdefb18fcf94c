package networkd

import (
	"net/netip"
	"os"
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
		if to, ok := strings.CutPrefix(text, "-> "); ok {
			c.Files[p] = host.File{Mode: os.ModeSymlink | 0o777, Data: []byte(to)}
			continue
		}
		c.Files[p] = hosttest.Regular(text)
	}
	return c
}

var machine = persist.Machine{Systemd: true, Running: true, Links: []persist.Link{
	{Name: "lo", Index: 1}, {Name: "eth0", MAC: "02:00:00:00:00:01", Index: 2}, {Name: "eth1", MAC: "02:00:00:00:00:02", Index: 3},
}}

const started = "/etc/systemd/system/multi-user.target.wants/systemd-networkd.service"

func TestWhoseFileItIs(t *testing.T) {
	for name, tt := range map[string]struct {
		files map[string]string
		want  map[string]string // the file, by interface
	}{
		"by name":            {map[string]string{"/etc/systemd/network/10-a.network": "[Match]\nName=eth0\n"}, map[string]string{"eth0": "/etc/systemd/network/10-a.network"}},
		"by pattern":         {map[string]string{"/etc/systemd/network/10-a.network": "[Match]\nName=en* eth1\n"}, map[string]string{"eth1": "/etc/systemd/network/10-a.network"}},
		"by what it is not":  {map[string]string{"/etc/systemd/network/10-a.network": "[Match]\nName=!eth1 lo\n"}, map[string]string{"eth0": "/etc/systemd/network/10-a.network"}},
		"by address":         {map[string]string{"/etc/systemd/network/10-a.network": "[Match]\nMACAddress=02:00:00:00:00:02\n"}, map[string]string{"eth1": "/etc/systemd/network/10-a.network"}},
		"by type":            {map[string]string{"/etc/systemd/network/10-a.network": "[Match]\nType=ether\n"}, map[string]string{"eth0": "/etc/systemd/network/10-a.network", "eth1": "/etc/systemd/network/10-a.network"}},
		"the first by name":  {map[string]string{"/etc/systemd/network/20-a.network": "[Match]\nName=eth0\n", "/usr/lib/systemd/network/10-b.network": "[Match]\nName=eth0\n"}, map[string]string{"eth0": "/usr/lib/systemd/network/10-b.network"}},
		"one name, /etc":     {map[string]string{"/etc/systemd/network/10-a.network": "[Match]\nName=eth1\n", "/usr/lib/systemd/network/10-a.network": "[Match]\nName=eth0\n"}, map[string]string{"eth1": "/etc/systemd/network/10-a.network"}},
		"masked":             {map[string]string{"/etc/systemd/network/10-a.network": "", "/usr/lib/systemd/network/10-a.network": "[Match]\nName=eth0\n"}, map[string]string{}},
		"unmanaged":          {map[string]string{"/etc/systemd/network/10-a.network": "[Match]\nName=eth0\n[Link]\nUnmanaged=yes\n"}, map[string]string{}},
		"rendered":           {map[string]string{"/run/systemd/network/10-netplan-eth0.network": "[Match]\nName=eth0\n"}, map[string]string{}},
		"networkd has it":    {map[string]string{started: "", "/run/systemd/netif/links/2": "ADMIN_STATE=configured\nNETWORK_FILE=/etc/systemd/network/10-a.network\n"}, map[string]string{"eth0": "/etc/systemd/network/10-a.network live"}},
		"networkd leaves it": {map[string]string{started: "", "/etc/systemd/network/10-a.network": "[Match]\nName=eth0\n", "/run/systemd/netif/links/2": "ADMIN_STATE=unmanaged\n"}, map[string]string{}},
	} {
		t.Run(name, func(t *testing.T) {
			det, err := Dialect{}.Detect(t.Context(), canned(tt.files), machine)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for dev, c := range det.Interfaces {
				got[dev] = c.Evidence
				if c.Live {
					got[dev] += " live"
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if _, starts := tt.files[started]; starts != (det.Manager == started) {
				t.Errorf("manager %q", det.Manager)
			}
		})
	}
}

// plan gives what is written, or why not.
func plan(t *testing.T, files map[string]string, w persist.Want) string {
	t.Helper()
	f, err := Dialect{}.Read(t.Context(), canned(files), machine)
	if err != nil {
		t.Fatal(err)
	}
	var p step.Plan
	if err := f.Plan(w, &persist.Out{Plan: &p}); err != nil {
		return err.Error()
	}
	var b strings.Builder
	for _, n := range p.Notes {
		b.WriteString("note: " + n.String() + "\n")
	}
	for _, s := range p.Boot {
		c, err := s.Check(t.Context(), canned(files))
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range c.Do {
			if o.Kind == step.Write && o.File.Mode.IsRegular() {
				b.WriteString(o.Path + "\n" + string(o.File.Data))
			} else if o.Kind != step.Write {
				b.WriteString(o.String() + "\n")
			}
		}
	}
	return b.String()
}

func TestTheLoopback(t *testing.T) {
	w := persist.Want{Real: []persist.VIP{{Addr: netip.MustParseAddr("192.0.2.1"), Dev: "lo"}}}
	const dir = "/etc/systemd/network/"
	for name, tt := range map[string]struct {
		files map[string]string
		want  string
	}{
		"nobody knows it":      {map[string]string{dir + "10-a.network": "[Match]\nName=eth0\n"}, ""},
		"a type":               {map[string]string{dir + "10-a.network": "[Match]\nType=ether\n"}, ""},
		"a wildcard":           {map[string]string{dir + "90-all.network": "[Match]\nName=*\n"}, LoopbackFile + "\n# lvsfleet: systemd-networkd leaves the loopback alone, which /etc/systemd/network/90-all.network matches too\n[Match]\nName=lo\n\n[Link]\nUnmanaged=yes\n"},
		"a wildcard, early":    {map[string]string{dir + "00-all.network": "[Match]\nName=*\n"}, "/etc/systemd/network/00-all.network matches the loopback among others"},
		"a file of its own":    {map[string]string{dir + "20-lo.network": "[Match]\nName=lo\n[Network]\nAddress=10.1.1.1/32\n"}, dir + "20-lo.network.d/lvsfleet.conf\n# lvsfleet: what is on the loopback and in no file stays\n[Network]\nKeepConfiguration=yes\n"},
		"ours, written before": {map[string]string{dir + "90-all.network": "[Match]\nName=*\n", LoopbackFile: "[Match]\nName=lo\n[Link]\nUnmanaged=yes\n"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := plan(t, tt.files, w)
			if got != tt.want && (tt.want == "" || !strings.Contains(got, tt.want)) {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

func TestAddresses(t *testing.T) {
	files := map[string]string{
		"/etc/systemd/network/10-a.network":            "# x\n[Match]\nName=eth0\n[Network]\nAddress=192.0.2.5/24\n[Address]\nAddress=192.0.2.6/32\nLabel=eth0:1\n",
		"/etc/systemd/network/10-a.network.d/b.conf":   "[Network]\nAddress=2001:db8::5/64\n",
		"/run/systemd/network/10-a.network.d/b.conf":   "[Network]\nAddress=10.9.9.9/8\n",
		"/usr/lib/systemd/network/10-a.network.d/c.no": "[Network]\nAddress=10.9.9.8/8\n",
		"/etc/systemd/network/20-lo.network":           "[Match]\nName=lo\n[Network]\nAddress=192.0.2.200/32\n",
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
	want := []string{"lo lo 192.0.2.200/32 lost", "eth0 eth0 192.0.2.5/24", "eth0 eth0:1 192.0.2.6/32", "eth0 eth0 2001:db8::5/64"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	own := func(a string) persist.Want {
		return persist.Want{Interfaces: []inventory.Interface{{Device: "eth0", Addresses: []netip.Prefix{netip.MustParsePrefix(a)}}}}
	}
	if got := plan(t, files, own("192.0.2.5/24")); got != "" {
		t.Error(got)
	}
	for a, want := range map[string]string{
		"192.0.2.5/16": "10-a.network gives eth0 the address 192.0.2.5/24, 192.0.2.6/32, the inventory 192.0.2.5/16",
		"192.0.2.9/24": "the inventory 192.0.2.9/24",
	} {
		if got := plan(t, files, own(a)); !strings.Contains(got, want) {
			t.Errorf("%s: %s", a, got)
		}
	}
	files["/etc/systemd/network/10-a.network"] = "[Match]\nName=eth0\n[Network]\nDHCP=ipv4\n"
	if got := plan(t, files, own("192.0.2.5/24")); !strings.HasPrefix(got, "note: /etc/systemd/network/10-a.network does not name the address 192.0.2.5/24") {
		t.Error(got)
	}
}

func FuzzFiles(f *testing.F) {
	f.Add("[Match]\nName=*\n[Network]\nAddress=192.0.2.1/24\n")
	f.Add("[Match\nName=[\n]\nAddress\n=\n\\\n[Address]\nAddress=")
	f.Fuzz(func(t *testing.T, text string) {
		files, err := Dialect{}.Read(t.Context(), canned(map[string]string{"/etc/systemd/network/10-a.network": text}), machine)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range files.Addresses() {
			if !a.Addr.IsValid() || a.Dev == "" {
				t.Errorf("%q gave %+v", text, a)
			}
		}
		_ = files.Plan(persist.Want{Real: []persist.VIP{{Addr: netip.MustParseAddr("192.0.2.1"), Dev: "lo"}}}, &persist.Out{Plan: &step.Plan{}})
	})
}
