package providers

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/host/hosttest"
	"github.com/lvsfleet/lvsfleet/providers/note"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

const uname = "uname -s -r -m -v"

func TestPlanRefusesAnotherSystemThanTheInventorySays(t *testing.T) {
	tests := []struct {
		name, uname string
		os          inventory.OS
		release     string
		want        string // part of the refusal; "" none
	}{
		{"another system", "FreeBSD 13.2-RELEASE FreeBSD 13.2-RELEASE GENERIC amd64", inventory.Linux, "", "is linux, but it is freebsd 13.2-RELEASE"},
		{"a later era of Linux", "Linux 3.10.0-1160.el7.x86_64 #1 SMP x86_64", inventory.Linux, "2.6.15", "has release 2.6.15, but it is 3.10.0-1160"},
		{"before and after rp_filter changed", "Linux 2.6.32-754.el6.x86_64 #1 SMP x86_64", inventory.Linux, "2.6.30", "has release 2.6.30"},
		{"another major release of FreeBSD", "FreeBSD 14.0-RELEASE FreeBSD 14.0 amd64", inventory.FreeBSD, "13.2-RELEASE", "has release 13.2-RELEASE"},
		{"Solaris 11 for 10", "SunOS 5.11 11.4.0.15.0 i86pc", inventory.Solaris, "5.10", "has release 5.10"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := &hosttest.Canned{Runs: map[string]host.Result{uname: hosttest.Text(tt.uname + "\n")}}
			d := inventory.Desired{Host: "box", OS: tt.os, Release: tt.release}
			_, _, err := Plan(context.Background(), h, d)
			var r *step.Refusal
			if !errors.As(err, &r) || !strings.Contains(r.Reason, tt.want) {
				t.Errorf("got %v, want a refusal with %q", err, tt.want)
			}
			if len(h.Log) != 1 {
				t.Errorf("it went on after the refusal: %q", h.Log)
			}
		})
	}
}

func linuxHost(release string) *hosttest.Canned {
	return &hosttest.Canned{Runs: map[string]host.Result{
		uname:                hosttest.Text("Linux " + release + " #1 SMP x86_64\n"),
		"ip -o -4 addr show": hosttest.Text("2: eth0    inet 192.0.2.1/24 scope global eth0\n"),
		"ip -o link show":    hosttest.Text("2: eth0: <UP> mtu 1500\n"),
	}, Files: map[string]host.File{"/etc/sysctl.d/x.conf": hosttest.Regular("")}}
}

func TestPlanOfOneEraOnlyNotesAnotherRelease(t *testing.T) {
	for claim, noted := range map[string]bool{"5.14.0": true, "6.12.0": false, "": false} {
		d := inventory.Desired{Host: "box", OS: inventory.Linux, Release: claim,
			Gateways: []netip.Addr{netip.MustParseAddr("192.0.2.254")}}
		p, id, err := Plan(context.Background(), linuxHost("6.12.0-foo"), d)
		if err != nil {
			t.Fatal(err)
		}
		if id.Release != "6.12.0-foo" {
			t.Errorf("identity %+v", id)
		}
		if got := strings.Contains(strings.Join(note.Texts(p.Notes), "\n"), "this host is 6.12.0-foo"); got != noted {
			t.Errorf("release %q: notes %q", claim, p.Notes)
		}
		if len(p.Live) == 0 || len(p.Boot) == 0 {
			t.Errorf("release %q: an empty plan", claim)
		}
	}
}

func TestPlanOfDirectorEndsWithItsTable(t *testing.T) {
	d := inventory.Desired{Host: "lb", OS: inventory.Linux, Director: &inventory.Director{
		VIPs:       []inventory.DirectorVIP{{Addr: netip.MustParseAddr("192.0.2.200"), Device: "eth0"}},
		Schedulers: []string{"wlc"},
		Services: []inventory.DirectedService{{
			Name: "http", Addr: netip.MustParseAddr("192.0.2.200"), Port: 80, Protocol: "tcp", Scheduler: "wlc",
		}},
	}}
	h := linuxHost("6.12.0")
	h.Files["/usr/sbin/ipvsadm"] = host.File{Mode: 0o755}
	p, _, err := Plan(context.Background(), h, d)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, s := range p.Live {
		ids = append(ids, s.ID())
	}
	got := strings.Join(ids, " ")
	if want := "addresses module:ip_vs module:ip_vs_wlc address:192.0.2.200 ipvs"; got != want {
		t.Errorf("live steps %q, want %q", got, want)
	}
}
