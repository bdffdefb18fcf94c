package inventory_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/inventory/hclfile"
)

var update = flag.Bool("update", false, "write the goldens")

func compareAddrs() []cmp.Option {
	return []cmp.Option{
		cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	}
}

func siteOf(t *testing.T, path string) *inventory.Site {
	t.Helper()
	r := hclfile.Load(path, hclfile.Input{})
	if r.Site == nil {
		var out bytes.Buffer
		if err := r.Write(&out, 78, false); err != nil {
			t.Fatal(err)
		}
		t.Fatal(out.String())
	}
	return r.Site
}

// sites are the examples, and those under testdata/desired that show one rule
// each.
func sites(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, pattern := range []string{"../examples/*/site.hcl", "testdata/desired/*.hcl"} {
		paths, err := filepath.Glob(pattern)
		if err != nil || len(paths) == 0 {
			t.Fatalf("%s: none, %v", pattern, err)
		}
		for _, p := range paths {
			name := strings.TrimSuffix(filepath.Base(p), ".hcl")
			if name == "site" {
				name = filepath.Base(filepath.Dir(p))
			}
			found[name] = p
		}
	}
	return found
}

func TestDesired(t *testing.T) {
	for name, path := range sites(t) {
		t.Run(name, func(t *testing.T) {
			site := siteOf(t, path)
			got, err := json.MarshalIndent(site.Desired(), "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, '\n')
			golden := filepath.Join("testdata/desired", name+".json")
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), string(got)); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

// It crosses the wire: what comes out of JSON is what went in.
func TestDesiredRoundTrip(t *testing.T) {
	for name, path := range sites(t) {
		for host, want := range siteOf(t, path).Desired() {
			data, err := json.Marshal(want)
			if err != nil {
				t.Fatal(err)
			}
			var got inventory.Desired
			if err := json.Unmarshal(data, &got); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got, compareAddrs()...); d != "" {
				t.Errorf("%s, %s (-want +got):\n%s", name, host, d)
			}
		}
	}
}

func TestDesiredIsTheSameEachTime(t *testing.T) {
	for name, path := range sites(t) {
		site := siteOf(t, path)
		first := site.Desired()
		for range 20 {
			if d := cmp.Diff(first, site.Desired(), compareAddrs()...); d != "" {
				t.Fatalf("%s: %s", name, d)
			}
		}
	}
}

func TestRIP(t *testing.T) {
	h := &inventory.Host{Address: "10.0.0.2", Interfaces: []inventory.Interface{
		{Device: "eth0", Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24"), netip.MustParsePrefix("10.0.0.2/24")}},
		{Device: "eth1", Addresses: []netip.Prefix{netip.MustParsePrefix("2001:db8::1/64")}},
	}}
	if got := h.RIP(false); got != netip.MustParseAddr("10.0.0.2") {
		t.Errorf("where SSH goes: %s", got)
	}
	if got := h.RIP(true); got != netip.MustParseAddr("2001:db8::1") {
		t.Errorf("the first of the family: %s", got)
	}
	h.Address = "rs.example.net"
	if got := h.RIP(false); got != netip.MustParseAddr("10.0.0.1") {
		t.Errorf("by a name the first: %s", got)
	}
	h.Interfaces = h.Interfaces[:1]
	if got := h.RIP(true); got.IsValid() {
		t.Errorf("none of the family: %s", got)
	}
}

func TestTunnelSource(t *testing.T) {
	itf := func(dev, addr string) inventory.Interface {
		return inventory.Interface{Device: dev, Addresses: []netip.Prefix{netip.MustParsePrefix(addr)}}
	}
	rs := &inventory.Host{Address: "192.168.0.160", Interfaces: []inventory.Interface{itf("eth0", "192.168.0.160/24")}}
	dir := func(change func(*inventory.Host)) *inventory.Host {
		h := &inventory.Host{Address: "10.0.0.1", Gateway: netip.MustParseAddr("192.168.10.1"), Interfaces: []inventory.Interface{
			itf("mgmt", "10.0.0.1/24"), itf("eth0", "192.168.10.100/24"), itf("eth1", "192.168.0.254/24"),
		}}
		change(h)
		return h
	}
	tests := []struct {
		name, want string
		dir        *inventory.Host
	}{
		{"in the real server's subnet", "192.168.0.254", dir(func(*inventory.Host) {})},
		{"towards its own gateway", "192.168.10.100", dir(func(h *inventory.Host) { h.Interfaces = h.Interfaces[:2] })},
		{"its address", "10.0.0.1", dir(func(h *inventory.Host) { h.Interfaces = h.Interfaces[:1] })},
		{"as it is said", "192.168.10.7", dir(func(h *inventory.Host) { h.TunnelSource = netip.MustParseAddr("192.168.10.7") })},
		{"said of the other family", "192.168.0.254", dir(func(h *inventory.Host) { h.TunnelSource = netip.MustParseAddr("2001:db8::7") })},
		{"by a name its first", "10.0.0.1", dir(func(h *inventory.Host) {
			h.Address, h.Gateway, h.Interfaces = "lb.example.net", netip.Addr{}, h.Interfaces[:2]
		})},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := inventory.TunnelSourceTo(tt.dir, rs, netip.MustParseAddr("192.168.0.160")); got.String() != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}
