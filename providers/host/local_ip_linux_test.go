package host

import (
	"bytes"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What is answered for ip(8) is what it prints, on a machine that has grown
// step by step; what is not answered says which of its questions the program
// itself gets then. The VM lab asks a kernel that has tunnels.
func TestAnswerIsWhatIpPrintsOfTheRunningKernel(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("NOT RUN: a network namespace wants root")
		}
		t.Skip("NOT RUN: a network namespace wants root")
	}
	prog, found := lookup("ip")
	if !found {
		t.Fatal("NOT RUN: there is no ip(8)")
	}
	runtime.LockOSThread() // the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	// Later versions say who made an address.
	maker := regexp.MustCompile(` proto kernel_(lo|ll|ra)`)
	questions := [][]string{AddrShow4(), AddrShow6(), LinkShow(), {"ip", "route", "show"}}
	for _, s := range []struct {
		do     string // of ip(8); several, separated by ";"
		untold string // the questions that are left to the program from now on, "addr4 addr6 link route"
		back   string // takes the step back
	}{
		{do: "link set lo up"},
		{do: "addr add 192.0.2.200/32 dev lo label lo:1; addr add 192.0.2.201/32 dev lo"},
		{do: "link add veth0 type veth peer name veth1; link set veth0 addrgenmode none; link set veth1 addrgenmode none"},
		{do: "link add br0 type bridge; link set br0 addrgenmode none; link set veth1 master br0; link set br0 up; link set veth1 up"},
		{do: "link set veth0 mtu 1400 txqueuelen 7 multicast off"},
		{do: "addr add 10.0.0.1/24 brd + dev veth0; addr add 10.0.0.2/24 brd + dev veth0 label veth0:1"},
		{do: "addr add 10.9.0.1 peer 10.9.0.2/32 dev veth0; addr add 10.7.0.1/24 dev veth0 scope link"},
		{do: "route add default via 10.0.0.254", untold: ""}, // the link is down yet: refused
		{do: "link set veth0 up"},
		{do: "route add default via 10.0.0.254; route add default via 10.0.0.253 metric 100 src 10.0.0.2"},
		{do: "route add 10.20.0.0/16 via 10.0.0.254 proto static; route add 10.21.0.1 dev veth0"},
		{do: "route add 10.22.0.0/16 via 10.1.1.1 dev veth0 onlink"},
		{do: "link set veth1 down"}, // routes of a link without carrier
		{do: "link set veth1 up"},
		{do: "link property add dev veth0 altname other0 altname other1", back: "link property del dev veth0 altname other0 altname other1"},
		{do: "link add tun5 type ipip local 10.0.0.1 remote 10.0.0.9; link set tun5 up; link set tunl0 up"}, // where the kernel has it
		{do: "addr add 10.6.0.1/24 dev veth0 valid_lft 3600 preferred_lft 1800", untold: "addr4", back: "addr del 10.6.0.1/24 dev veth0"},
		{do: "-6 addr add fd00::1/64 dev veth0 nodad", untold: "addr6", back: "-6 addr del fd00::1/64 dev veth0"},
		{do: "route add unreachable 10.23.0.0/16", untold: "route", back: "route del unreachable 10.23.0.0/16"},
		{do: "route add 10.24.0.0/16 nexthop via 10.0.0.254 nexthop via 10.0.0.253", untold: "route", back: "route del 10.24.0.0/16"},
		{do: "route add 10.25.0.0/16 dev veth0 mtu 1300", untold: "route", back: "route del 10.25.0.0/16"},
		{do: "route add 10.26.0.0/16 dev veth0 proto 99", untold: "route", back: "route del 10.26.0.0/16"},
		{do: "link set veth0 alias uplink", untold: "link"},
	} {
		ip := func(line string) {
			for part := range strings.SplitSeq(line, ";") {
				if part = strings.TrimSpace(part); part == "" {
					continue
				}
				if out, err := exec.Command(prog, strings.Fields(part)...).CombinedOutput(); err != nil {
					t.Logf("ip %s: %v: %s", part, err, out)
				}
			}
		}
		ip(s.do)
		for i, q := range questions {
			// A carrier comes and goes by itself, some time after what it
			// depends on: what changes meanwhile is asked again.
			var printed, out []byte
			ok := false
			for range 100 {
				before, _ := answer(Cmd{Argv: q})
				var err error
				if printed, err = exec.Command(prog, q[1:]...).Output(); err != nil {
					t.Fatal(err)
				}
				if out, ok = answer(Cmd{Argv: q}); bytes.Equal(before, out) {
					break
				}
			}
			printed = maker.ReplaceAll(printed, nil)
			name := []string{"addr4", "addr6", "link", "route"}[i]
			left := strings.Contains(" "+s.untold+" ", " "+name+" ")
			switch {
			case ok == left:
				t.Errorf("after ip %s: %q is answered: %t; ip prints\n%s", s.do, q, ok, printed)
			case ok && string(out) != string(printed):
				t.Errorf("after ip %s: %q is answered with\n%sip prints\n%s", s.do, q, out, printed)
			}
		}
		ip(s.back)
	}
}
