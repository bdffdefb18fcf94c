package host

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// What is answered is what the program would print.
func TestAnswerIsWhatTheProgramPrints(t *testing.T) {
	argv := unameArgv()
	printed, err := exec.Command(argv[0], argv[1:]...).Output()
	if err != nil {
		t.Fatal(err)
	}
	if out, ok := answer(Cmd{Argv: argv}); !ok || string(out) != string(printed) {
		t.Errorf("answer %q, %t; uname prints %q", out, ok, printed)
	}
	forward, err := os.ReadFile("/proc/sys/net/ipv4/ip_forward")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"net.ipv4.ip_forward", "net/ipv4/ip_forward", "net.ipv4.conf.lo.rp_filter", "net/ipv4/conf/lo/rp_filter", "net.ipv4.ip_local_port_range"} {
		out, ok := answer(Cmd{Argv: []string{"sysctl", "-n", key}})
		if !ok || !strings.HasSuffix(string(out), "\n") {
			t.Errorf("%s: %q, %t", key, out, ok)
		}
		if strings.HasSuffix(key, "ip_forward") && string(out) != string(forward) {
			t.Errorf("%s: %q, want %q", key, out, forward)
		}
		if prog, found := lookup("sysctl"); found {
			if printed, err := exec.Command(prog, "-n", key).Output(); err != nil || string(printed) != string(out) {
				t.Errorf("%s: answer %q, sysctl prints %q, %v", key, out, printed, err)
			}
		}
	}
}

// Everything else is the program's to say.
func TestAnswerLeavesTheRest(t *testing.T) {
	for _, c := range []Cmd{
		{Argv: []string{"uname", "-r"}},
		{Argv: unameArgv(), Stdin: []byte("x")},
		{Argv: []string{"sysctl", "-w", "net.ipv4.ip_forward=1"}},
		{Argv: []string{"sysctl", "-n", "net.ipv4.no_such_setting"}},
		{Argv: []string{"sysctl", "-n", "net.ipv4.ip_forward", "net.ipv4.ip_default_ttl"}},
		{Argv: []string{"sysctl", "-n", "net.ipv4"}},
		{Argv: []string{"sysctl", "-n", "../version"}},
		{Argv: []string{"sysctl", "-n", "net/../kernel/ostype"}},
		{Argv: []string{"sysctl", "-n", "net//ipv4/ip_forward"}},
		{Argv: []string{"sysctl", "-n", ""}},
		{Argv: []string{"sysctl", "-n", "fs.binfmt_misc"}},
	} {
		if out, ok := answer(c); ok {
			t.Errorf("%q is answered with %q", c.Argv, out)
		}
	}
}

// A device with a dot in its name needs slashes between the parts; with dots
// between them its own becomes a slash.
func TestAnswerForADeviceWithADot(t *testing.T) {
	for key, want := range map[string]string{
		"net/ipv4/conf/eth0.7/rp_filter": "net/ipv4/conf/eth0.7/rp_filter",
		"net.ipv4.conf.eth0/7.rp_filter": "net/ipv4/conf/eth0.7/rp_filter",
		"net.ipv4.ip_forward":            "net/ipv4/ip_forward",
		"..version":                      "//version",
	} {
		if got := sysctlPath(key); got != want {
			t.Errorf("%s is %s, want %s", key, got, want)
		}
	}
}
