package linux

import (
	"bytes"
	"strings"
	"testing"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
)

// said runs a command line.
func said(m *sim.Machine, line string) (string, int) {
	var out bytes.Buffer
	exit := m.Exec(&sim.Call{Argv: strings.Fields(line), Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out})
	return out.String(), exit
}

const vipUnit = `[Unit]
DefaultDependencies=no
After=systemd-sysctl.service
Before=network-pre.target shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/sbin/sysctl -q -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2
ExecStart=-/sbin/ip link set nosuch up
ExecStart=/sbin/ip address replace 10.0.0.100/32 dev lo label lo:1
ExecStop=-/sbin/ip address del 10.0.0.100/32 dev lo
`

// withUnit is a machine whose network nobody brings up, with an own unit that
// is started at boot.
func withUnit(t *testing.T, text string) *sim.Machine {
	t.Helper()
	m := machine("current", "10.0.0.1/24")
	m.Locked(func() {
		for _, dir := range []string{"rc2.d", "rc3.d", "rc4.d", "rc5.d"} {
			_ = m.FS.Remove("/etc/rc.d/" + dir + "/S10network")
		}
		m.FS.Put("/etc/systemd/system/own.service", 0o644, text)
		m.FS.Link("/etc/systemd/system/multi-user.target.wants/own.service", "/etc/systemd/system/own.service")
	})
	m.Reboot()
	return m
}

func TestAUnitBeforeTheNetwork(t *testing.T) {
	m := withUnit(t, vipUnit)
	if out, _ := said(m, "ip -o -4 addr show dev lo"); !strings.Contains(out, "127.0.0.1/8") || !strings.Contains(out, "inet 10.0.0.100/32 scope global lo:1") {
		t.Errorf("lo has\n%s", out)
	}
	if out, _ := said(m, "sysctl -n net.ipv4.conf.all.arp_ignore"); out != "1\n" {
		t.Errorf("arp_ignore %q", out)
	}
	if out, exit := said(m, "systemctl is-active own.service"); out != "active\n" || exit != 0 {
		t.Errorf("%s %d", out, exit)
	}
	// A change that systemd has not read is no change.
	m.Locked(func() {
		m.FS.Put("/etc/systemd/system/own.service", 0o644, strings.ReplaceAll(vipUnit, "10.0.0.100", "10.0.0.101"))
	})
	for _, want := range []string{"10.0.0.100/32", "10.0.0.101/32"} {
		if out, exit := said(m, "systemctl restart own.service"); exit != 0 {
			t.Fatal(out)
		}
		if out, _ := said(m, "ip -o -4 addr show dev lo"); !strings.Contains(out, want) {
			t.Errorf("after a restart lo has not %s but\n%s", want, out)
		}
		if out, exit := said(m, "systemctl daemon-reload"); exit != 0 {
			t.Fatal(out)
		}
	}
}

func TestAUnitThatFails(t *testing.T) {
	m := withUnit(t, strings.ReplaceAll(vipUnit, "arp_ignore=1", "arp_nosuch=1"))
	if out, _ := said(m, "ip -o -4 addr show dev lo"); strings.Contains(out, "10.0.0.100") {
		t.Errorf("an address without what comes before it:\n%s", out)
	}
	if out, exit := said(m, "systemctl is-failed own.service"); out != "failed\n" || exit != 0 {
		t.Errorf("%s %d", out, exit)
	}
	if out, _ := said(m, "journalctl --no-pager -q -o cat -n 1 -u own.service"); !strings.Contains(out, "arp_nosuch") {
		t.Errorf("the journal ends with %q", out)
	}
	if out, exit := said(m, "systemctl start own.service"); exit != 1 || !strings.Contains(out, "Job for own.service failed") {
		t.Errorf("%s %d", out, exit)
	}
	if out, exit := said(m, "systemctl reset-failed own.service"); exit != 0 {
		t.Error(out)
	}
	if out, exit := said(m, "systemctl is-failed own.service"); out != "inactive\n" || exit != 1 {
		t.Errorf("%s %d", out, exit)
	}
}
