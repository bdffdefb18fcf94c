package freebsd

import (
	"context"
	"net/netip"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
)

func BenchmarkPlan(b *testing.B) {
	d, _ := sites("tun-two-directors", "em0")
	m := newMachine(b, "13.2-RELEASE", "em0", &txtar.Archive{Files: []txtar.File{{
		Name: "etc/rc.conf",
		Data: []byte("hostname=\"rs170\"\nifconfig_em0=\"inet 192.168.0.170 netmask 255.255.255.0\"\nsshd_enable=\"YES\"\n"),
	}}})
	f, err := Gather(context.Background(), m, host.Identity{OS: host.FreeBSD, Release: m.release}, d)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Plan(d, f); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPlanThousandVIPs shows that one host's plan grows with its VIPs,
// not with their square.
func BenchmarkPlanThousandVIPs(b *testing.B) {
	d, _ := sites("dr", "em0")
	d.VIPs = nil
	for i := range 1000 {
		a := netip.AddrFrom4([4]byte{192, 168, byte(100 + i/250), byte(i%250 + 1)})
		d.VIPs = append(d.VIPs, inventory.VIP{Addr: a, Method: inventory.DR, Device: "em0"})
	}
	m := newMachine(b, "13.2-RELEASE", "em0", &txtar.Archive{})
	f, err := Gather(context.Background(), m, host.Identity{OS: host.FreeBSD, Release: m.release}, d)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := Plan(d, f); err != nil {
			b.Fatal(err)
		}
	}
}
