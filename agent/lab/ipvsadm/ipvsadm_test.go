package ipvsadm

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var addresses = cmpopts.EquateComparable(netip.Addr{})

var versions = map[string]Version{"1.24": V124, "1.26": V126, "1.31": V131}

// machine has nothing but ipvsadm, and the modules that are not in without.
func machine(v Version, without ...string) *sim.Machine {
	m := &sim.Machine{Name: "lb", FS: sim.NewFS(), Net: sim.NewNet()}
	m.Net.Add(&sim.Link{Name: "eth0", Up: true, Addrs: []sim.Addr{{Prefix: netip.MustParsePrefix("192.168.0.254/24")}}})
	m.Commands = Commands(v, func(m *sim.Machine, module string) bool {
		ok := !slices.Contains(without, module) && (module == "ip_vs" || slices.Contains([]string{"rr", "wrr", "wlc", "sh", "mh"}, strings.TrimPrefix(module, "ip_vs_")))
		m.Net.Modules[module] = ok
		return ok
	})
	return m
}

// transcript runs lines; "<<" and the lines up to "." are standard input.
func transcript(m *sim.Machine, script string) string {
	var b strings.Builder
	lines := strings.Split(strings.TrimSpace(script), "\n")
	for i := 0; i < len(lines); i++ {
		line := strings.TrimSpace(lines[i])
		if line == "" || strings.HasPrefix(line, "# ") {
			fmt.Fprintln(&b, line)
			continue
		}
		command, input, has := strings.Cut(line, " <<")
		if has {
			for i++; strings.TrimSpace(lines[i]) != "."; i++ {
				input += lines[i] + "\n"
			}
		}
		var stdout, stderr strings.Builder
		exit := m.Exec(&sim.Call{Argv: strings.Fields(command), Stdin: strings.NewReader(input), Stdout: &stdout, Stderr: &stderr})
		fmt.Fprintf(&b, "$ %s\n", line)
		for l := range strings.Lines(input) {
			fmt.Fprintf(&b, "< %s", l)
		}
		b.WriteString(stdout.String())
		if stderr.Len() > 0 {
			fmt.Fprintf(&b, "stderr:\n%s", stderr.String())
		}
		if exit != 0 {
			fmt.Fprintf(&b, "exit: %d\n", exit)
		}
	}
	return b.String()
}

func TestTranscripts(t *testing.T) {
	script, err := os.ReadFile("testdata/edit.sh")
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range versions {
		file := filepath.Join("testdata", "edit."+name+".txt")
		got := transcript(machine(v), string(script))
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), got); d != "" {
			t.Errorf("%s (-want +got):\n%s", file, d)
		}
	}
}

func TestWithoutTheModule(t *testing.T) {
	m := machine(V131, "ip_vs")
	got := transcript(m, "ipvsadm -Sn")
	want := "$ ipvsadm -Sn\nstderr:\nCan't initialize ipvs: Protocol not available\nAre you sure that IP Virtual Server is built in the kernel or as module?\nexit: 2\n"
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if l, err := ipvs.NewTool(m).Dump(context.Background()); err != nil || len(l) != 0 {
		t.Errorf("lvsfleet reads %v, %v", l, err)
	}
}

// What lvsfleet writes through ipvsadm it reads back, whatever it is.
func TestToolRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		want := randomTable(r)
		m := machine(V131)
		tool := ipvs.NewTool(m)
		for _, s := range want {
			edits := []ipvs.Edit{{Verb: ipvs.AddService, Service: &s}}
			for _, d := range s.Dests {
				edits = append(edits, ipvs.Edit{Verb: ipvs.AddDest, Service: &ipvs.Service{Key: s.Key}, Dest: d})
			}
			if err := tool.Apply(context.Background(), edits); err != nil {
				t.Fatal(err)
			}
		}
		got, err := tool.Dump(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(ipvs.Sorted(want), got, addresses, cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("-want +got:\n%s", d)
		}
		// and by way of the rules file
		var saved strings.Builder
		m.Exec(&sim.Call{Argv: []string{"ipvsadm-save", "-n"}, Stdout: &saved, Stderr: &saved})
		again := machine(V131)
		exit := again.Exec(&sim.Call{Argv: []string{"ipvsadm-restore"}, Stdin: strings.NewReader(saved.String()), Stdout: &saved, Stderr: &saved})
		if exit != 0 {
			t.Fatalf("restore: %d\n%s", exit, saved.String())
		}
		for i := range want {
			for j := range want[i].Dests {
				want[i].Dests[j].Upper, want[i].Dests[j].Lower = 0, 0 // -S leaves them out
			}
		}
		if d := cmp.Diff(ipvs.Sorted(want), ipvs.Sorted(again.Net.IPVS), addresses, cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("saved and restored (-want +got):\n%s", d)
		}
	}
}

func randomTable(r *rand.Rand) []ipvs.Service {
	var list []ipvs.Service
	for i := range r.IntN(4) {
		s := ipvs.Service{Scheduler: []string{"rr", "wlc", "sh", "mh"}[r.IntN(4)]}
		six := r.IntN(3) == 0
		addr := func(n int) netip.Addr {
			if six {
				return netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", n+1))
			}
			return netip.AddrFrom4([4]byte{192, 168, 0, byte(n + 1)})
		}
		port := uint16(80 + i)
		switch r.IntN(5) {
		case 0:
			s.Key = ipvs.Key{Mark: uint32(i + 1), V6: six}
			port = 0
		case 1:
			s.Key = ipvs.Key{Protocol: "udp", Addr: addr(200), Port: port}
			if r.IntN(2) == 0 {
				s.Flags |= ipvs.OnePacket
			}
		case 2:
			s.Key = ipvs.Key{Protocol: "sctp", Addr: addr(200), Port: port}
		default:
			s.Key = ipvs.Key{Protocol: "tcp", Addr: addr(200), Port: port}
		}
		if r.IntN(2) == 0 {
			s.Flags |= ipvs.Persistent
			s.Timeout = uint32(1 + r.IntN(1000))
			if r.IntN(2) == 0 {
				s.Netmask = 24
			}
		}
		if s.Scheduler == "sh" || s.Scheduler == "mh" {
			s.Flags |= []ipvs.Flags{0, ipvs.Sched1, ipvs.Sched2, ipvs.Sched1 | ipvs.Sched2}[r.IntN(4)]
		}
		for j := range r.IntN(3) {
			d := ipvs.Destination{DestKey: ipvs.DestKey{Addr: addr(j), Port: port}, Weight: r.IntN(65536)}
			d.Method = []ipvs.Method{ipvs.NAT, ipvs.DR, ipvs.TUN}[r.IntN(3)]
			if d.Method == ipvs.NAT && s.Key.Mark == 0 {
				d.Port = uint16(8000 + j)
			}
			if r.IntN(3) == 0 {
				d.Upper, d.Lower = 100, 50
			}
			s.Dests = append(s.Dests, d)
		}
		list = append(list, s.Normal())
	}
	return list
}

func FuzzArguments(f *testing.F) {
	for _, s := range []string{
		"-A -t 192.168.0.200:80 -s wlc", "-Ln", "-Sn", "-a -f 7 -6 -r [2001:db8::1]:80 -m", "-At 1.2.3.4:80", "-A -t 1.2.3.4:0 -p",
		"-C", "-L -t 1.2.3.4:80", "-R", "--add-service --tcp-service=1.2.3.4:80", "-d -u 1:2", "-", "--", "-A", "-Lnnn", "-S -n -n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		for _, v := range versions {
			m := machine(v)
			if _, err := m.Run(context.Background(), host.Cmd{Argv: append([]string{"ipvsadm"}, strings.Fields(line)...)}); err != nil {
				continue
			}
			for _, s := range m.Net.IPVS {
				if s.Scheduler == "" || s.Key == (ipvs.Key{}) {
					t.Errorf("%q made the service %+v", line, s)
				}
			}
		}
	})
}

func TestToolReadsTheCounts(t *testing.T) {
	for _, v := range []Version{V124, V131} {
		m := machine(v)
		want := ipvs.Counts{Connections: 1 << 34, InBytes: 123456789012, OutBytes: 5}
		m.Net.IPVS = []ipvs.Service{{
			Key: ipvs.Key{Protocol: "tcp", Addr: netip.MustParseAddr("192.0.2.1"), Port: 80}, Scheduler: "wlc",
			Dests: []ipvs.Destination{
				{DestKey: ipvs.DestKey{Addr: netip.MustParseAddr("10.0.0.1"), Port: 80}, Method: ipvs.DR, Weight: 2, Persistent: 3, Counts: &want},
				{DestKey: ipvs.DestKey{Addr: netip.MustParseAddr("10.0.0.2"), Port: 80}, Method: ipvs.DR, Weight: 2},
			},
		}}
		got, err := ipvs.Statistics(t.Context(), ipvs.NewTool(m))
		if err != nil || len(got) != 1 || len(got[0].Dests) != 2 {
			t.Fatalf("%v, %v", got, err)
		}
		if d := got[0].Dests; d[0].Counted() != want || d[0].Persistent != 3 || d[1].Counted() != (ipvs.Counts{}) {
			t.Errorf("%+v", d)
		}
	}
}
