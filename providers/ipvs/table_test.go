package ipvs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
	"github.com/lvsfleet/lvsfleet/providers/ipvs/ipvstest"
)

func TestMemory(t *testing.T) {
	ipvstest.Run(t, ipvstest.Lacks{}, func(*testing.T) ipvs.Table { return &ipvs.Memory{} })
}

func TestTool(t *testing.T) {
	ipvstest.Run(t, ipvstest.Lacks{}, func(*testing.T) ipvs.Table { return ipvs.NewTool(&program{}) })
}

// A program is a host with nothing but ipvsadm 1.31 on it.
type program struct {
	host.Host
	table ipvs.Memory
	log   []string
	fails map[string]error  // by arguments
	files map[string]string // nil: it does not say what it has loaded
}

func (p *program) ReadFile(_ context.Context, path string) (host.File, error) {
	text, ok := p.files[path]
	if !ok {
		return host.File{}, fs.ErrNotExist
	}
	return host.File{Path: path, Mode: 0o444, Data: []byte(text)}, nil
}

// A look must not load the module: ipvsadm does, also to read.
func TestToolAsksOnlyAKernelThatHasIPVS(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files map[string]string
		asks  bool
	}{
		{"not loaded", map[string]string{"/proc/modules": "ip_vs_x 1 0\nxip_vs 1 0\n"}, false},
		{"loaded first", map[string]string{"/proc/modules": "ip_vs 180 0 - Live\n"}, true},
		{"loaded later", map[string]string{"/proc/modules": "tun 1 0\nip_vs 180 0 - Live\n"}, true},
		{"built in", map[string]string{"/proc/modules": "", "/proc/net/ip_vs": "IP Virtual Server\n"}, true},
		{"a kernel without modules", nil, true},
	} {
		p := &program{files: tt.files}
		got, err := ipvs.NewTool(p).Dump(context.Background())
		if err != nil || len(got) != 0 || (len(p.log) > 0) != tt.asks {
			t.Errorf("%s: %v, %v, ran %q", tt.name, got, err, p.log)
		}
	}
}

func (p *program) Run(ctx context.Context, cmd host.Cmd) (host.Result, error) {
	args := strings.Join(cmd.Argv[1:], " ")
	p.log = append(p.log, args)
	if err := p.fails[args]; err != nil {
		return host.Result{}, err
	}
	out := &bytes.Buffer{}
	var err error
	switch args {
	case "-Sn":
		err = p.save(ctx, out)
	case "-Ln", "-Ln --thresholds":
		err = p.list(ctx, out, strings.Contains(args, "thresholds"))
	default:
		var e ipvs.Edit
		if e, err = ipvs.ParseArgs(cmd.Argv[1:]); err == nil {
			err = p.table.Apply(ctx, []ipvs.Edit{e})
		}
		var failed *ipvs.EditError
		if errors.As(err, &failed) {
			err = failed.Err
		}
	}
	if err != nil {
		return host.Result{Exit: 255}, &host.ExitError{Argv: cmd.Argv, Exit: 255, Stderr: err.Error()}
	}
	return host.Result{Stdout: out.Bytes()}, nil
}

// save leaves out the thresholds and says --tun-type of every tunnel, as the
// real one does.
func (p *program) save(ctx context.Context, out *bytes.Buffer) error {
	services, err := p.table.Dump(ctx)
	for i := range services {
		for j := range services[i].Dests {
			d := &services[i].Dests[j]
			d.Upper, d.Lower = 0, 0
		}
	}
	for line := range strings.Lines(ipvs.Format(services)) {
		line = strings.TrimSuffix(line, "\n")
		if strings.Contains(line, " -i ") && !strings.Contains(line, "--tun-type") {
			line += " --tun-type ipip"
		}
		out.WriteString(line + "\n")
	}
	return err
}

func (p *program) list(ctx context.Context, out *bytes.Buffer, thresholds bool) error {
	services, err := p.table.Dump(ctx)
	out.WriteString("IP Virtual Server version 1.2.1 (size=4096)\n")
	if thresholds {
		fmt.Fprintf(out, "%-33s %-10s %-10s %-10s %-10s\n  -> RemoteAddress:Port\n",
			"Prot LocalAddress:Port", "Uthreshold", "Lthreshold", "ActiveConn", "InActConn")
	} else {
		out.WriteString("Prot LocalAddress:Port Scheduler Flags\n" +
			"  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n")
	}
	for _, s := range services {
		name := strings.Replace(s.Key.String(), " ", "  ", 1)
		fmt.Fprintf(out, "%s %s persistent 300\n", name, s.Scheduler)
		for _, d := range s.Dests {
			if thresholds {
				fmt.Fprintf(out, "  -> %-28s %-10d %-10d %-10d %-10d\n", d.DestKey, d.Upper, d.Lower, d.Active, d.Inactive)
				continue
			}
			how := map[ipvs.Method]string{ipvs.NAT: "Masq", ipvs.DR: "Route", ipvs.TUN: "Tunnel", ipvs.Local: "Local"}[d.Method]
			fmt.Fprintf(out, "  -> %-28s %-7s %-6d %-10d %-10d\n", d.DestKey, how, d.Weight, d.Active, d.Inactive)
		}
	}
	return err
}

func TestToolReadsWhatSaveLeavesOut(t *testing.T) {
	p := &program{}
	p.table.Services = ipvstest.Rules(t, `
-A -t 192.0.2.1:80 -s wlc
-a -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 1
-a -t 192.0.2.1:80 -r 10.0.0.2:80 -m -w 1 -x 9 -y 4`)
	p.table.Services[0].Dests[0].Method = ipvs.Local
	p.table.Services[0].Dests[1].Active = 5
	p.table.Services[0].Dests[1].Inactive = 6
	got, err := ipvs.NewTool(p).Dump(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	d := got[0].Dests
	if d[0].Method != ipvs.Local || d[0].Port != 8080 {
		t.Errorf("the director's own address: %+v", d[0])
	}
	if d[1].Upper != 9 || d[1].Lower != 4 || d[1].Active != 5 || d[1].Inactive != 6 {
		t.Errorf("got %+v", d[1])
	}
	if want := []string{"-Sn", "-Ln --thresholds", "-Ln"}; !slices.Equal(p.log, want) {
		t.Errorf("ran %q", p.log)
	}
}

func TestToolWithoutIPVS(t *testing.T) {
	ctx := context.Background()
	exit := func(code int, stderr string) error {
		return &host.ExitError{Host: "lb", Argv: []string{"ipvsadm"}, Exit: code, Stderr: stderr}
	}
	p := &program{fails: map[string]error{"-Sn": exit(2, "Can't initialize ipvs: Protocol not available\nAre you sure that IP Virtual Server is built in the kernel or as module?\n")}}
	if got, err := ipvs.NewTool(p).Dump(ctx); err != nil || len(got) != 0 {
		t.Errorf("a kernel without IPVS: %v, %v", got, err)
	}
	p.fails["-Sn"] = exit(127, "ipvsadm: command not found")
	if _, err := ipvs.NewTool(p).Dump(ctx); !errors.Is(err, host.ErrNotFound) || !strings.Contains(err.Error(), "install the package ipvsadm") {
		t.Errorf("no ipvsadm: %v", err)
	}
	p.fails["-Sn"] = exit(2, "Can't initialize ipvs: Permission denied (you must be root)")
	if _, err := ipvs.NewTool(p).Dump(ctx); err == nil {
		t.Error("no permission reads as an empty table")
	}
	p.fails["-Sn"] = host.ErrLost
	if _, err := ipvs.NewTool(p).Dump(ctx); !errors.Is(err, host.ErrLost) {
		t.Errorf("a lost connection: %v", err)
	}
}

type owner struct {
	host.Host
	table ipvs.Table
}

func (o owner) IPVS() (ipvs.Table, error) { return o.table, nil }

func TestOpen(t *testing.T) {
	own := &ipvs.Memory{}
	got, err := ipvs.Open(host.NewCache(owner{table: own}))
	if err != nil || got != ipvs.Table(own) {
		t.Errorf("a host with a table of its own: %v, %v", got, err)
	}
	got, err = ipvs.Open(&program{})
	if _, ok := got.(*ipvs.Tool); !ok || err != nil {
		t.Errorf("a host that is reached by argv: %T, %v", got, err)
	}
	got, err = ipvs.Open(host.NewCache(&host.Local{}))
	if _, ok := got.(*ipvs.Tool); got == nil || ok || err != nil {
		t.Errorf("this machine: %T, %v", got, err)
	}
}
