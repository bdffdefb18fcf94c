package hclfile_test

import (
	"os"
	"strings"
	"testing"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/inventory/hclfile"
)

// The howto that the three examples come from has mistakes of its own. Those
// that can be written into an inventory are found; what is derived from one
// source cannot be wrong on one host.
func TestMistakesOfTheHowto(t *testing.T) {
	tests := []struct {
		name, example, old, new, code string
	}{
		{"a default router of .50 on one host", "dr", "address = \"192.168.0.180\"\n", "address = \"192.168.0.180\"\n  gateway = \"192.168.0.50\"\n", inventory.CodeGatewaysDiffer},
		{"172.168 for 172.16", "dr", "", "tunnel \"t\" {\n  end \"lb\" { inside = \"172.168.0.1\" }\n  end \"rs170\" { inside = \"172.16.0.2\" }\n}\n", inventory.CodeInsideApart},
		{"172.16.0.2.2", "dr", "", "tunnel \"t\" {\n  end \"lb\" { inside = \"172.16.0.1\" }\n  end \"rs170\" { inside = \"172.16.0.2.2\" }\n}\n", inventory.CodeAddress},
		{"typographic quotes", "tun", `"192.168.10.99"`, `“192.168.10.99”`, inventory.CodeQuotes},
		{"ip_forward on DR real servers", "dr", "gateway = \"192.168.0.252\"", "gateway = \"192.168.0.252\"\n  ip_forward = true\n#", inventory.CodeNeedlessRoute},
		{"clients on the NAT segment", "nat", "method    = \"nat\"", "method    = \"nat\"\n  client_networks = [\"192.168.0.0/24\"]", inventory.CodeClientsInside},
		{"wlc as weighted round robin", "nat", `"wlc"`, `"weighted round robin"`, inventory.CodeWord},
		{"another port on a tunnel's end", "tun", "method    = \"tun\"", "method    = \"tun\"\n  real_server \"rs170\" { port = 8080 }", inventory.CodePort},
		{"another gateway with NAT", "nat", `role "web" {}`, `role "web" { gateway = "192.168.0.252" }`, inventory.CodeGateway},
		{"a VIP of /24", "dr", `"192.168.0.200"`, `"192.168.0.200/24"`, inventory.CodeVIPLength},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			src, err := os.ReadFile("../../examples/" + tt.example + "/site.hcl")
			if err != nil {
				t.Fatal(err)
			}
			wrong := string(src) + tt.new
			if tt.old != "" {
				if !strings.Contains(string(src), tt.old) {
					t.Fatalf("no %q in the example", tt.old)
				}
				wrong = strings.Replace(string(src), tt.old, tt.new, 1)
			}
			r := load(t, hclfile.Input{}, map[string]string{"site.hcl": wrong})
			for _, d := range r.Diags {
				if d.Code == tt.code {
					return
				}
			}
			t.Errorf("no %s:\n%s", tt.code, text(t, r))
		})
	}
}

// The howto's DR cluster has 192.168.0.200 on two hosts and 192.168.10.200 on
// the other two.
func TestTheVIPIsWrittenOnce(t *testing.T) {
	want := clean(t, hclfile.Load("../../examples/dr", hclfile.Input{})).Desired()
	vip := addr("192.168.0.200")
	for _, name := range []string{"rs160", "rs170", "rs180"} {
		if vips := want[name].VIPs; len(vips) != 1 || vips[0].Addr != vip {
			t.Errorf("%s: %+v", name, vips)
		}
	}
	if vips := want["lb"].Director.VIPs; len(vips) != 1 || vips[0].Addr != vip {
		t.Errorf("lb: %+v", vips)
	}
}
