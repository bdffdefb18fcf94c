package fleet

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/agent/lab"
	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/agent/remote"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/note"
)

// provenSite is a labSite whose services want a proof.
func provenSite(method inventory.Method, gateway string, pool ...string) *inventory.Site {
	s := labSite(method, gateway, pool...)
	for _, svc := range s.Services {
		svc.Proof = true
	}
	return s
}

// breaking converges, and breaks something whenever the place of a host is
// about to be verified.
func (l *labFleet) breaking(site *inventory.Site, breaks func(host string)) Outcome {
	l.t.Helper()
	config, err := lab.Open(l.dir)
	if err != nil {
		l.t.Fatal(err)
	}
	d := &remote.Dialer{Agents: remote.LabAgents()}
	l.now = l.now.Add(time.Hour)
	f := &Fleet{
		Site: site, Parallel: 4, Run: "run-" + l.now.Format("150405"), Who: "test", Clock: l,
		Observe: func(e Event) {
			if e.Phase == PhaseProve {
				breaks(e.Host)
			}
			l.observe(e)
		},
		Dial: func(ctx context.Context, h *inventory.Host) (agent.Session, error) {
			e := config.Hosts[h.Name]
			return d.Dial(ctx, remote.Target{
				Name: h.Name, OS: h.OS, Release: h.Release, Address: e.Address, Port: e.Port, User: e.User,
				IdentityFiles: []string{config.IdentityFile}, KnownHosts: []string{config.KnownHosts},
			})
		},
	}
	d.Renew = f.Renew
	out, err := f.Converge(l.t.Context(), nil)
	if err != nil {
		l.t.Fatal(err)
	}
	return out
}

// became compares what became of the hosts.
func (l *labFleet) became(out Outcome, want map[string]Status) {
	l.t.Helper()
	if diff := cmp.Diff(want, statuses(out)); diff != "" {
		l.t.Errorf("(-want +got):\n%s", diff)
		for _, r := range out.Results {
			l.t.Logf("%s: %v", r.Host, r.Err)
		}
	}
}

func result(out Outcome, host string) Result {
	for _, r := range out.Results {
		if r.Host == host {
			return r
		}
	}
	return Result{}
}

func (l *labFleet) loseVIP(host, vip string) {
	m := l.lab.Machine(host)
	m.Locked(func() {
		for _, link := range m.Net.Links {
			link.Addrs = slices.DeleteFunc(link.Addrs, func(a sim.Addr) bool {
				return a.Prefix.IsValid() && a.Prefix.Addr() == netip.MustParseAddr(vip)
			})
		}
	})
}

// A real server whose VIP is missing, for whatever reason, is proposed and
// never gets a client; the others do.
func TestWhoseVIPIsMissingIsNotAdmitted(t *testing.T) {
	for _, method := range []inventory.Method{inventory.DR, inventory.TUN} {
		site := provenSite(method, "192.168.0.252", "rs160", "rs170", "rs180")
		l := startLab(t, site)
		out := l.breaking(site, func(host string) {
			if host == "rs170" {
				l.loseVIP(host, "192.168.0.200")
			}
		})
		l.became(out, map[string]Status{"lb": Changed, "rs160": Changed, "rs170": Failed, "rs180": Changed})
		if err := result(out, "rs170").Err; err == nil || !strings.Contains(err.Error(), "path: no answer from 192.168.0.200:80") {
			t.Errorf("%s: %v", method, err)
		}
		if text := l.table(); strings.Contains(text, "192.168.0.170") || !strings.Contains(text, "192.168.0.160") {
			t.Errorf("%s:\n%s", method, text)
		}
		if rc, _ := l.lab.Machine("rs170").ReadFile(t.Context(), "/etc/rc.conf"); strings.Contains(string(rc.Data), "192.168.0.200") {
			t.Errorf("%s: it was committed:\n%s", method, rc.Data)
		}
		// The next run finds it well.
		l.became(l.breaking(site, func(string) {}), map[string]Status{"lb": Changed, "rs160": Unchanged, "rs170": Changed, "rs180": Unchanged})
		if text := l.table(); !strings.Contains(text, "192.168.0.170") {
			t.Errorf("%s:\n%s", method, text)
		}
	}
}

func TestProofIsSwitchedOff(t *testing.T) {
	site := labSite(inventory.DR, "192.168.0.252", "rs160", "rs170") // proof = false
	l := startLab(t, site)
	l.became(l.breaking(site, func(host string) { l.loseVIP(host, "192.168.0.200") }),
		map[string]Status{"lb": Changed, "rs160": Changed, "rs170": Changed, "rs180": Changed})
}

func TestWhoHasNoListenerIsNotAdmitted(t *testing.T) {
	for _, required := range []bool{false, true} {
		site := provenSite(inventory.DR, "192.168.0.252", "rs160", "rs180")
		site.Services[0].RequireListener = required
		l := startLab(t, site)
		l.lab.Machine("rs180").Listeners = nil
		out := l.breaking(site, func(string) {})
		if admitted := strings.Contains(l.table(), "192.168.0.180"); admitted == required {
			t.Errorf("required %v:\n%s", required, l.table())
		}
		r := result(out, "rs180")
		if required != (r.Status == Failed) || !required && !slices.ContainsFunc(note.Texts(r.Report.Notes), func(n string) bool {
			return strings.Contains(n, "nobody listens on tcp 192.168.0.200:80")
		}) {
			t.Errorf("required %v: %s, %v, %q", required, r.Status, r.Err, r.Report.Notes)
		}
	}
}

// Who begins to answer for the VIP undoes itself; the others are not blamed.
func TestWhoAnswersForTheVIPIsNotAdmitted(t *testing.T) {
	site := provenSite(inventory.DR, "192.168.0.252", "rs160", "rs170", "rs180")
	l := startLab(t, site)
	out := l.breaking(site, func(host string) {
		if host != "rs160" {
			return
		}
		m := l.lab.Machine(host)
		m.Locked(func() {
			m.Net.Sysctls["net.ipv4.conf.all.arp_ignore"], m.Net.Sysctls["net.ipv4.conf.eth0.arp_ignore"] = "0", "0"
		})
	})
	l.became(out, map[string]Status{"lb": Changed, "rs160": Failed, "rs170": Changed, "rs180": Changed})
	if text := l.table(); strings.Contains(text, "192.168.0.160") || !strings.Contains(text, "192.168.0.170") {
		t.Error(text)
	}
}

// What was broken before, where clients are sent all the same, is told and not
// held against a change of something else.
func TestWhatWasBrokenBeforeIsTold(t *testing.T) {
	site := provenSite(inventory.DR, "192.168.0.252", "rs160", "rs170", "rs180")
	site.Services[0].RequireListener = true
	l := startLab(t, site)
	l.breaking(site, func(string) {})
	l.lab.Machine("rs170").Listeners = nil
	site = provenSite(inventory.DR, "192.168.0.1", "rs160", "rs170", "rs180")
	site.Services[0].RequireListener = true
	out := l.breaking(site, func(string) {})
	l.became(out, map[string]Status{"lb": Unchanged, "rs160": Changed, "rs170": Changed, "rs180": Changed})
	if notes := note.Texts(result(out, "rs170").Report.Notes); !slices.ContainsFunc(notes, func(n string) bool { return strings.Contains(n, "(it was so before)") }) {
		t.Errorf("%q", notes)
	}
	if text := l.table(); strings.Count(text, "-w 3") != 3 {
		t.Error(text)
	}
}
