package freebsd_test

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lvsfleet/lvsfleet/agent/lab/freebsd"
	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
)

// real is the machine of the transcripts, with the Ethernet address that em0
// had in that file and the given files in /etc.
func real(mac string, base map[string]host.File) *sim.Machine {
	m := freebsd.New(sim.Spec{
		Name: "rs170", OS: inventory.FreeBSD, Release: "13.2-RELEASE",
		Interfaces: []inventory.Interface{
			{Device: "vtnet0", Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.2.15/24")}},
			{Device: "em0", Addresses: []netip.Prefix{netip.MustParsePrefix("192.168.0.170/24")}},
		},
		MACs: map[string]string{"vtnet0": "52:54:00:12:34:56", "em0": mac},
		Base: base,
	})
	m.Locked(func() { m.Net.Sysctls["kern.ident"] = "LVSVM" })
	return m
}

const plainRC = `hostname="rs170"
ifconfig_vtnet0="inet 10.0.2.15 netmask 255.255.255.0"
ifconfig_em0="inet 192.168.0.170 netmask 255.255.255.0"
cron_enable="NO"
sendmail_enable="NONE"
devd_enable="NO"
`

func etc(files map[string]string) map[string]host.File {
	base := map[string]host.File{}
	for p, text := range files {
		base[p] = host.File{Mode: 0o644, Data: []byte(text)}
	}
	return base
}

// sh runs a command line as the transcripts did: by /bin/sh -c.
func sh(m *sim.Machine, line string) (stdout, stderr string, exit int) {
	var out, errs bytes.Buffer
	exit = m.Exec(&sim.Call{Argv: []string{"/bin/sh", "-c", line}, Stdout: &out, Stderr: &errs})
	return out.String(), errs.String(), exit
}

var macPattern = regexp.MustCompile(`ether (52:54:00:00:[0-9a-f:]+)`)

func macOf(text string) string {
	if m := macPattern.FindStringSubmatch(text); m != nil {
		return m[1]
	}
	return "52:54:00:00:08:9a"
}

// A step is one command of a transcript.
type step struct {
	line           string
	stdout, stderr string
	exit           int
}

func readTranscript(t *testing.T, name string) (steps []step, text string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range strings.Split("\n"+string(data), "\n$ ")[1:] {
		line, rest, ok1 := strings.Cut(part, "\nstdout:\n")
		stdout, rest, ok2 := strings.Cut(rest, "stderr:\n")
		i := strings.LastIndex(rest, "exit: ")
		if !ok1 || !ok2 || i < 0 {
			t.Fatalf("%s: cannot read %q", name, part)
		}
		number, _, _ := strings.Cut(rest[i+len("exit: "):], "\n")
		exit, err := strconv.Atoi(number)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		steps = append(steps, step{line: line, stdout: stdout, stderr: rest[:i], exit: exit})
	}
	return steps, string(data)
}

// outOfScope are the commands that this FreeBSD does not model, by what they
// begin with, and why.
func outOfScope() map[string]string {
	return map[string]string{
		"ping ":                                 "no packets",
		"su ":                                   "there is only root",
		"(timeout 3 route":                      "no routing socket to monitor",
		"stat ":                                 "files have no times",
		"sha256 ":                               "not needed",
		"mktemp ":                               "not needed",
		"service ":                              "refused: lvsfleet never restarts the network",
		"arp ":                                  "no ARP table",
		"sockstat ":                             "not needed",
		"netstat -rnW ":                         "not needed",
		"netstat -in ":                          "no counters",
		"netstat -I ":                           "no counters",
		"netstat -rn -f inet --libxo":           "not needed",
		"sysctl -d ":                            "no descriptions",
		"sysctl -a | grep -E '^net\\.inet\\.ip": "has counters",
		"sysctl -a | grep -E '^net\\.link":      "not needed",
		"sysctl -a | grep -E '^net\\.inet\\.(icmp": "not needed",
		"sysrc -c ": "sysrc reads only",
		"sysrc -x ": "sysrc reads only",
		"sysrc -a":  "sysrc reads only",
		"sysrc -F ": "sysrc reads only",
		"sysrc -f ": "sysrc reads only",
		"which ":    "the machine has fewer commands",
	}
}

func scoped(line string) bool {
	for prefix := range outOfScope() {
		if strings.HasPrefix(line, prefix) {
			return false
		}
	}
	return true
}

// TestTranscripts replays what a real FreeBSD 13.2 printed, command by command.
// Set-up steps that were not recorded are in before, by the number of the
// command that they precede.
func TestTranscripts(t *testing.T) {
	tests := []struct {
		file   string
		before map[int][]string
		skip   map[int]string // by number: why that one cannot be modelled
		from   int
	}{
		{file: "01-identity.txt"},
		{file: "02-ifconfig-plain.txt"},
		{file: "03-lo0-alias.txt", skip: map[int]string{37: "a mask with holes", 40: "a mask with holes"}, before: map[int][]string{
			47: {"ifconfig lo0 inet 192.168.0.201/32 alias", "ifconfig lo0 inet 192.168.0.200/32 alias"},
		}},
		{file: "04-lo0-without-alias.txt", before: map[int][]string{
			7: {"ifconfig lo0 inet 192.168.0.200 -alias", "ifconfig lo0 inet 192.168.0.201/32 alias"},
		}},
		{file: "05-gif.txt", before: map[int][]string{40: {"ifconfig gif0 destroy", "ifconfig gif1 destroy"}}},
		{file: "06-gif-ignore-source.txt", before: map[int][]string{0: {"ifconfig gif0 create"}}},
		{file: "07-gif-pairs.txt", before: map[int][]string{
			0:  {"ifconfig gif0 create", "ifconfig gif1 create"},
			11: {"ifconfig gif0 destroy", "ifconfig gif1 destroy", "ifconfig gif0 create"},
			16: {"ifconfig lo0 inet 192.168.10.200 -alias", "ifconfig gif0 destroy", "ifconfig gif0 create"},
			24: {"ifconfig gif0 destroy", "ifconfig gif0 create"},
		}},
		{file: "08-default-route.txt", skip: map[int]string{8: "after service routing stop"}},
		{file: "09-sysctl.txt"},
		{file: "12-netstat.txt", before: map[int][]string{0: {
			"ifconfig lo0 inet 192.168.0.200/32 alias", "ifconfig gif0 create", "ifconfig gif0 tunnel 192.168.0.170 192.168.10.100",
			"ifconfig gif0 inet 192.168.10.200 192.168.10.99 netmask 0xffffffff alias", "route add default 192.168.0.254",
		}}},
		{file: "13-two-defaults.txt", skip: map[int]string{25: "after service routing restart", 27: "after service routing stop"}, before: map[int][]string{
			0:  {"route add default 192.168.0.254"},
			11: {"route add default 192.168.0.251"},
			16: {"route delete default 192.168.0.251", "route delete default 192.168.0.253", "route add default 192.168.0.254"},
			23: {"sysctl net.route.multipath=1", "route add default 192.168.0.254"},
		}},
		{file: "14-lo0-wide-mask.txt"},
		{file: "15-ipv6.txt", skip: map[int]string{33: "an address is checked for doubles for a second"}, before: map[int][]string{
			22: {"ifconfig lo0 inet6 2001:db8::200 -alias"},
		}},
	}
	for _, test := range tests {
		t.Run(test.file, func(t *testing.T) {
			steps, text := readTranscript(t, test.file)
			m := real(macOf(text), etc(map[string]string{"/etc/rc.conf": plainRC}))
			for i, s := range steps {
				for _, line := range test.before[i] {
					if _, stderr, exit := sh(m, line); exit != 0 {
						t.Fatalf("set-up %q: exit %d, %s", line, exit, stderr)
					}
				}
				if !scoped(s.line) || test.skip[i] != "" {
					continue
				}
				stdout, stderr, exit := sh(m, s.line)
				got := step{s.line, stdout, stderr, exit}
				if d := cmp.Diff(s, got, cmp.AllowUnexported(step{})); d != "" {
					t.Errorf("command %d (-real +simulated):\n%s", i, d)
				}
			}
		})
	}
}

// TestBoots replays real reboots: the files in, what was there before any
// login out.
func TestBoots(t *testing.T) {
	names, err := filepath.Glob("testdata/boot-*.txt")
	if err != nil || len(names) < 31 {
		t.Fatalf("%d boot transcripts, %v", len(names), err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			files, rest, ok1 := strings.Cut(strings.TrimPrefix(string(data), "files:\n"), "\nconsole, ")
			_, after, ok2 := strings.Cut(rest, "\nafterwards:\n")
			if !ok1 || !ok2 {
				t.Fatal("cannot read it")
			}
			base := map[string]string{}
			for _, part := range strings.Split("\n"+files, "\n--- ")[1:] {
				p, text, _ := strings.Cut(part, "\n")
				base[p] = strings.TrimSuffix(text, "\n") + "\n"
			}
			m := real(macOf(string(data)), etc(base))
			for _, part := range strings.Split("\n"+after, "\n$ ")[1:] {
				line, want, _ := strings.Cut(part, "\n")
				stdout, stderr, exit := sh(m, line)
				if d := cmp.Diff(strings.TrimSuffix(want, "\n"), strings.TrimSuffix(stdout, "\n")); d != "" || stderr != "" || exit != 0 {
					t.Errorf("%s: exit %d, stderr %q, (-real +simulated):\n%s", line, exit, stderr, d)
				}
			}
		})
	}
}
