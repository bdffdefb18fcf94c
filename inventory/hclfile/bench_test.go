package hclfile_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/inventory/hclfile"
)

// big writes a site of n hosts and n/10 services, each with a pool of ten real
// servers and one of n/100 directors (each of ten services).
func big(n int, forEach bool) string {
	var b strings.Builder
	services := n / 10
	for s := range services {
		fmt.Fprintf(&b, "role \"pool%d\" {}\n", s)
	}
	directors := max(1, services/10)
	for d := range directors {
		fmt.Fprintf(&b, "role \"director%d\" {}\n", d)
		fmt.Fprintf(&b, `host "lb%d" {
  os      = "linux"
  roles   = ["director%d"]
  address = "10.%d.%d.1"
  interface "eth0" { address = "10.%d.%d.1/24" }
}
`, d, d, d/250, d%250, d/250, d%250)
	}
	n -= directors
	if forEach {
		fmt.Fprintf(&b, "locals {\n  hosts = {\n")
		for h := range n {
			pool := h % services
			d := pool % directors
			fmt.Fprintf(&b, "    rs%05d = { pool = \"pool%d\", net = \"10.%d.%d.0/24\", n = %d }\n", h, pool, d/250, d%250, 2+h/directors)
		}
		b.WriteString(`  }
}
host "${each.key}" {
  for_each = local.hosts
  os       = "freebsd"
  release  = "13.2-RELEASE"
  roles    = [each.value.pool]
  address  = cidrhost(each.value.net, each.value.n)
  gateway  = cidrhost(each.value.net, 254)
  interface "em0" { address = "${cidrhost(each.value.net, each.value.n)}/24" }
}
`)
	} else {
		for h := range n {
			pool := h % services
			d := pool % directors
			ip := fmt.Sprintf("10.%d.%d.%d", d/250, d%250, 2+h/directors)
			fmt.Fprintf(&b, `host "rs%05d" {
  os      = "linux"
  release = "6.1.0"
  roles   = ["pool%d"]
  address = "%s"
  gateway = "10.%d.%d.254"
  interface "eth0" { address = "%s/24" }
}
`, h, pool, ip, d/250, d%250, ip)
		}
	}
	for s := range services {
		fmt.Fprintf(&b, `virtual_service "service%d" {
  director = "director%d"
  pool     = "pool%d"
  address  = "10.%d.%d.%d"
  port     = 80
  method   = "%s"
}
`, s, s%directors, s, 100+s/10/250, s/10%250, 1+s%10, []string{"dr", "tun"}[s%2])
	}
	return b.String()
}

// plan loads a site and derives all of its hosts.
func plan(tb testing.TB, path string, hosts int) {
	tb.Helper()
	r := hclfile.Load(path, hclfile.Input{})
	if r.Site == nil {
		tb.Fatalf("%s: %s", r.Diags[0], r.Diags[0].Detail)
	}
	for _, d := range r.Diags {
		if d.Code != inventory.CodeAddressTwice {
			tb.Fatalf("%s: %s", d, d.Detail)
		}
	}
	want := r.Site.Desired()
	if len(want) != hosts {
		tb.Fatalf("%d hosts, want %d", len(want), hosts)
	}
}

func BenchmarkSite(b *testing.B) {
	for _, n := range []int{1_000, 10_000} {
		for _, form := range []string{"blocks", "for_each"} {
			b.Run(fmt.Sprintf("%d_hosts/%s", n, form), func(b *testing.B) {
				path := b.TempDir() + "/site.hcl"
				if err := os.WriteFile(path, []byte(big(n, form == "for_each")), 0o600); err != nil {
					b.Fatal(err)
				}
				b.ReportAllocs()
				for b.Loop() {
					plan(b, path, n)
				}
			})
		}
	}
}

func TestBigSite(t *testing.T) {
	for _, forEach := range []bool{false, true} {
		path := t.TempDir() + "/site.hcl"
		if err := os.WriteFile(path, []byte(big(1_000, forEach)), 0o600); err != nil {
			t.Fatal(err)
		}
		plan(t, path, 1_000)
	}
}
