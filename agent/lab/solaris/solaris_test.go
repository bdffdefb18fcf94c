package solaris

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// machine makes a machine of an era with one card, pcn0.
func machine(era string, addrs ...string) *sim.Machine {
	card := inventory.Interface{Device: "pcn0"}
	if len(addrs) == 0 {
		addrs = []string{"192.168.0.180/24"}
	}
	for _, a := range addrs {
		card.Addresses = append(card.Addresses, netip.MustParsePrefix(a))
	}
	spec := sim.Spec{Name: "rs180", OS: inventory.Solaris, Release: "5.10", Interfaces: []inventory.Interface{card}}
	if era == "illumos" {
		spec.Release, spec.Illumos = "5.11", true
	}
	return New(spec)
}

// shell runs a script line by line and gives a transcript in the form of the
// real systems' transcripts. Lines "# ..." are remarks; "REBOOT" reboots,
// "POWER" cuts the power; "FILE path" and the lines up to "." write a file.
func shell(m *sim.Machine, script string) string {
	var b strings.Builder
	lines := strings.Split(strings.TrimSpace(script), "\n")
	for i := 0; i < len(lines); i++ {
		line := strings.TrimSpace(lines[i])
		switch {
		case line == "":
		case strings.HasPrefix(line, "# "):
			b.WriteString(line + "\n")
		case line == "REBOOT":
			m.Reboot()
			b.WriteString("# reboot\n")
		case line == "POWER":
			m.PowerCycle()
			b.WriteString("# power cut\n")
		case strings.HasPrefix(line, "FILE "):
			var text strings.Builder
			for i++; strings.TrimSpace(lines[i]) != "."; i++ {
				text.WriteString(strings.TrimSpace(lines[i]) + "\n")
			}
			m.Locked(func() { m.FS.Put(line[5:], 0o644, text.String()) })
			fmt.Fprintf(&b, "# %s:\n", line[5:])
			for t := range strings.Lines(text.String()) {
				b.WriteString("#   " + t)
			}
		default:
			exec(m, line, &b)
		}
	}
	return b.String()
}

func exec(m *sim.Machine, line string, b *strings.Builder) {
	var stdout, stderr strings.Builder
	exit := m.Exec(&sim.Call{Argv: []string{"sh", "-c", line}, Stdout: &stdout, Stderr: &stderr})
	fmt.Fprintf(b, "$ %s\n%s", line, stdout.String())
	if stderr.Len() > 0 {
		fmt.Fprintf(b, "stderr:\n%s", stderr.String())
	}
	if exit != 0 {
		fmt.Fprintf(b, "exit: %d\n", exit)
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got):\n%s", name, d)
	}
}

// TestTranscripts runs testdata/*.sh on the eras that its first line names and
// compares with the transcripts beside it.
func TestTranscripts(t *testing.T) {
	scripts, err := filepath.Glob("testdata/*.sh")
	if err != nil || len(scripts) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, file := range scripts {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		head, script, _ := strings.Cut(string(text), "\n")
		for _, era := range strings.Fields(strings.TrimPrefix(head, "# eras:")) {
			name := strings.TrimSuffix(filepath.Base(file), ".sh") + "." + era + ".txt"
			t.Run(name, func(t *testing.T) { golden(t, name, shell(machine(era), script)) })
		}
	}
}

// A boot leaves nothing behind that would change the next one.
func TestSecondBootIsTheSame(t *testing.T) {
	for _, era := range []string{"solaris10", "illumos"} {
		m := machine(era, "192.168.0.180/24", "192.168.1.180/24", "10.0.0.1/8")
		first := state(m)
		m.Reboot()
		if d := cmp.Diff(first, state(m)); d != "" {
			t.Errorf("%s (-first +second):\n%s", era, d)
		}
	}
}

// With a base tree in the place of /etc the machine boots from that alone.
func TestBase(t *testing.T) {
	spec := sim.Spec{
		Name: "rs180", OS: inventory.Solaris, Release: "5.10",
		Interfaces: []inventory.Interface{{Device: "pcn0", Addresses: []netip.Prefix{netip.MustParsePrefix("192.168.0.180/24")}}},
		Base: map[string]host.File{
			"/etc/hostname.pcn0": {Mode: 0o644, Data: []byte("10.1.2.3/16\n")},
			"/etc/nodename":      {Mode: 0o644, Data: []byte("x\n")},
		},
	}
	got := shell(New(spec), "ifconfig pcn0\nls /etc")
	want := "$ ifconfig pcn0\npcn0: flags=1000843<UP,BROADCAST,RUNNING,MULTICAST,IPv4> mtu 1500 index 2\n" +
		"\tinet 10.1.2.3 netmask ffff0000 broadcast 10.1.255.255\n\tether 2:0:c0:a8:0:b4 \n$ ls /etc\nhostname.pcn0\nnodename\n"
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func FuzzIfconfig(f *testing.F) {
	for _, s := range []string{
		"lo0:1 plumb 10.0.0.1/32 up", "-a", "-auD4 netmask + broadcast +", "ip.tun0 plumb tsrc 1.1.1.1 tdst 2.2.2.2 3.3.3.3 4.4.4.4 up",
		"lo0 addif 10.0.0.1/32 up", "pcn0 netmask 0xffffff00", "lo0:1 unplumb", "pcn0 inet", "pcn0 mtu 1", "lo0:99999 plumb", ": plumb", "lo0: plumb",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		m := machine("solaris10")
		for _, name := range []string{"ifconfig", "route", "netstat", "ndd"} {
			_, _ = m.Run(t.Context(), host.Cmd{Argv: append([]string{name}, strings.Fields(line)...)})
		}
		res, err := m.Run(t.Context(), host.Cmd{Argv: []string{"ifconfig", "-a"}})
		if err != nil || len(res.Stdout) == 0 {
			t.Errorf("after %q: %v", line, err)
		}
	})
}

func FuzzBoot(f *testing.F) {
	f.Add("tsrc 1.1.1.1 tdst 2.2.2.2\n3.3.3.3 4.4.4.4 up\n", "10.0.0.1/32\n", "192.168.0.1\n", "10.0.0.0 255.0.0.0\n")
	f.Add("up", "# x\n\n", "\n", "x y\n1 2")
	f.Fuzz(func(t *testing.T, tun, lo, router, masks string) {
		for _, era := range []string{"solaris10", "illumos"} {
			m := machine(era)
			m.Locked(func() {
				m.FS.Put("/etc/hostname.ip.tun0", 0o644, tun)
				m.FS.Put("/etc/hostname.lo0:1", 0o644, lo)
				m.FS.Put("/etc/defaultrouter", 0o644, router)
				m.FS.Put("/etc/inet/netmasks", 0o644, masks)
			})
			m.Reboot()
			first := state(m)
			m.Reboot()
			if d := cmp.Diff(first, state(m)); d != "" {
				t.Errorf("second boot differs:\n%s", d)
			}
		}
	})
}
