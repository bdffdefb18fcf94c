package solaris

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"

	"github.com/lvsfleet/lvsfleet/providers/step"
)

func FuzzParseIfconfig(f *testing.F) {
	f.Add(sample)
	f.Add("lo0: flags=<UP\n\tinet\n\tinet tunnel src\n\tzone\n")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := ParseIfconfig([]byte(text))
		if err != nil {
			return
		}
		for _, i := range list {
			if i.Name == "" || i.Bits < -1 || i.Bits > 128 {
				t.Errorf("%+v", i)
			}
		}
	})
}

func FuzzParseDefaults(f *testing.F) {
	f.Add("Routing Table: IPv4\ndefault 192.168.0.252 UG 1 12           \n")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := ParseDefaults([]byte(text))
		if err == nil && !strings.Contains(text, "IPv4") {
			t.Errorf("no table, and yet %v", list)
		}
	})
}

// Each edit reaches its end in one go, keeps the lines that are not its own,
// and ends the file with a newline where it changes it.
func FuzzTables(f *testing.F) {
	f.Add("# hosts\n127.0.0.1 localhost\n192.168.0.200 www")
	f.Add("192.168.0.0 255.255.255.0\n192.168.0.200\t255.255.0.0 # x\n")
	f.Add("192.168.0.200 255.255.0.0")
	f.Add("\u200a\x8a")
	f.Add("#\n\n192.168.0.50 B\n192.168.0.252")
	f.Fuzz(func(t *testing.T, text string) {
		old := []byte(text)
		vip, gw := addr("192.168.0.200"), addr("192.168.0.252")
		hosts := nameHost(old, vip, vipName(vip))
		masks := keepHostMask(old, vip)
		router := oneRouter(old, gw, nil)
		if string(old) != text {
			t.Fatal("the input was changed")
		}
		if !bytes.HasPrefix(hosts, old) {
			t.Errorf("hosts lost something: %q", hosts)
		}
		if mask, ok := ParseNetmasks(masks).Lookup(vip); ok && mask != hostMask {
			t.Errorf("netmasks still give %x: %q", mask, masks)
		}
		if w := routerWords(router); len(w) != 1 || w[0] != gw.String() {
			t.Errorf("routers are %q: %q", w, router)
		}
		for name, pair := range map[string][2][]byte{
			"hosts":    {hosts, nameHost(hosts, vip, vipName(vip))},
			"netmasks": {masks, keepHostMask(masks, vip)},
			"router":   {router, oneRouter(router, gw, nil)},
		} {
			if !bytes.Equal(pair[0], pair[1]) {
				t.Errorf("%s: a second edit made %q of %q", name, pair[1], pair[0])
			}
			if !bytes.Equal(pair[0], old) && !bytes.HasSuffix(pair[0], []byte("\n")) {
				t.Errorf("%s: no newline at the end: %q", name, pair[0])
			}
		}
	})
}

func FuzzBootReader(f *testing.F) {
	f.Add("lo0:1", "192.168.0.200/32\n", "192.168.0.0 255.255.255.0\n", true)
	f.Add("ip.tun0", "tsrc 10.0.0.1 tdst 10.0.0.2\n10.0.0.3 10.0.0.4 netmask 255.255.255.255 up\n", "", false)
	f.Add("pcn0", "addif rs180 netmask + up\n\n# x", "10 x\n", false)
	f.Fuzz(func(t *testing.T, name, text, tables string, illumos bool) {
		r := BootReader{Hosts: HostsTable([]byte(tables)), Netmasks: ParseNetmasks([]byte(tables)), Illumos: illumos}
		b := r.Read(name, []byte(text))
		for _, a := range b.Addrs {
			if !a.Addr.Is4() || a.Bits < -1 || a.Bits > 32 {
				t.Errorf("%+v", a)
			}
			if a.Up && b.carries(a.Addr) && !strings.Contains(text, "\n") {
				t.Errorf("%q brings up %v without a newline", text, a)
			}
		}
	})
}

// Whatever lies in a file, the plan gives a file that works, or refuses.
func FuzzHostnameFile(f *testing.F) {
	f.Add("192.168.0.200/32")
	f.Add("# x\n192.168.0.200\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		vip := netip.MustParseAddr("192.168.0.200")
		p := &planner{}
		s, err := p.loopbackFile("lo0:1", vip)
		if err != nil {
			t.Fatal(err)
		}
		edited, err := s.(*step.FileStep).Edits[0]([]byte(text))
		if err != nil {
			return
		}
		if b := p.reader.Read("lo0:1", edited); !b.carries(vip) {
			t.Errorf("%q became %q, which does not bring the VIP up", text, edited)
		}
	})
}
