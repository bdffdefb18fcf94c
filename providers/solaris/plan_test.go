package solaris

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/host/hosttest"
	"github.com/lvsfleet/lvsfleet/providers/step"
	"github.com/lvsfleet/lvsfleet/providers/step/steptest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func rs180() inventory.Desired {
	return inventory.Desired{
		Host: "rs180", OS: inventory.Solaris, Address: "192.168.0.180",
		Interfaces: []inventory.Interface{{Device: "pcn0", Addresses: []netip.Prefix{netip.MustParsePrefix("192.168.0.180/24")}}},
	}
}

func dr(vips ...string) inventory.Desired {
	d := rs180()
	d.Gateways = []netip.Addr{addr("192.168.0.252")}
	for _, v := range vips {
		d.VIPs = append(d.VIPs, inventory.VIP{Addr: addr(v), Method: inventory.DR, Device: "pcn0", OnLAN: true, Peer: addr("192.0.0.8")})
	}
	return d
}

func nat() inventory.Desired {
	d := rs180()
	d.Gateways = []netip.Addr{addr("192.168.0.254")}
	d.NATOf = d.Gateways
	return d
}

func tun(vips ...string) inventory.Desired {
	d := rs180()
	t := inventory.Decap{Local: addr("192.168.0.180"), Remote: addr("192.168.10.100")}
	for _, v := range vips {
		t.VIPs = append(t.VIPs, addr(v))
		d.VIPs = append(d.VIPs, inventory.VIP{Addr: addr(v), Method: inventory.TUN, Device: "pcn0", Peer: addr("192.168.10.99")})
	}
	d.Decaps = []inventory.Decap{t}
	return d
}

func plain() inventory.Desired {
	d := rs180()
	d.Tunnels = []inventory.PlainEnd{{
		Name: "t", Peer: "linux", Inside: addr("172.16.0.3"), FarInside: addr("172.16.0.1"),
		Local: addr("192.168.0.180"), Remote: addr("10.0.0.1"),
	}}
	return d
}

func without(d inventory.Desired) inventory.Desired {
	d.Network = "none"
	return d
}

// wanted says, by the first words of a case's name, what the host must be.
var wanted = map[string]inventory.Desired{
	"dr":       dr("192.168.0.200"),
	"dr2":      dr("192.168.0.200", "192.168.0.201"),
	"nat":      nat(),
	"tun":      tun("192.168.10.200"),
	"tun2":     tun("192.168.10.200", "192.168.10.201"),
	"plain":    plain(),
	"liveonly": without(dr("192.168.0.200")),
}

// A scene is a host in a txtar archive: "id", "$ COMMAND" and files by path;
// "after $ COMMAND" is what the command prints once the live steps are done.
type scene struct {
	id     host.Identity
	before *hosttest.Canned
	after  map[string]host.Result
}

func load(t *testing.T, path string) scene {
	t.Helper()
	archive, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := scene{
		before: &hosttest.Canned{Name: "rs180", Runs: map[string]host.Result{}, Files: map[string]host.File{}},
		after:  map[string]host.Result{},
	}
	for _, f := range archive.Files {
		text := strings.ReplaceAll(string(f.Data), "~\n", "") // "~" ends a file without a newline
		switch {
		case f.Name == "id":
			s.id = host.Identity{OS: host.Solaris, Release: strings.Fields(text)[0], Illumos: strings.Contains(text, "illumos")}
		case strings.HasPrefix(f.Name, "$ "):
			s.before.Runs[f.Name[2:]] = hosttest.Text(text)
		case strings.HasPrefix(f.Name, "after $ "):
			s.after[f.Name[8:]] = hosttest.Text(text)
		case strings.HasPrefix(f.Name, "/"):
			s.before.Files[f.Name] = hosttest.Regular(text)
		default:
			t.Fatalf("%s: what is %q?", path, f.Name)
		}
	}
	for _, link := range []string{"hosts", "netmasks"} {
		if _, ok := s.before.Files["/etc/inet/"+link]; ok {
			s.before.Files["/etc/"+link] = host.File{Mode: os.ModeSymlink | 0o777, Data: []byte("./inet/" + link)}
		}
	}
	return s
}

// look gathers and plans.
func look(t *testing.T, h host.Host, id host.Identity, d inventory.Desired) (step.Plan, error) {
	t.Helper()
	f, err := Gather(context.Background(), h, id, d)
	if err != nil {
		return step.Plan{}, err
	}
	return Plan(d, f)
}

func TestPlan(t *testing.T) {
	paths, _ := filepath.Glob("testdata/*.txtar")
	if len(paths) == 0 {
		t.Fatal("no cases")
	}
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".txtar")
		t.Run(name, func(t *testing.T) {
			ctx := context.Background()
			kind, _, _ := strings.Cut(name, "-")
			d, ok := wanted[kind]
			if !ok {
				t.Fatalf("no desired state %q", kind)
			}
			s := load(t, path)
			var out strings.Builder
			plan, err := look(t, s.before, s.id, d)
			if err != nil {
				fmt.Fprintf(&out, "%v\n", err)
			} else if show(t, &out, s.before, plan) {
				// Once more: boot is settled by the files alone, live by what
				// the commands print afterwards.
				for argv, res := range s.after {
					s.before.Runs[argv] = res
				}
				again, err := look(t, s.before, s.id, d)
				if err != nil {
					t.Fatalf("second look: %v", err)
				}
				for _, st := range slices.Concat(again.Live, again.Boot) {
					c, err := st.Check(ctx, s.before)
					if err != nil || !c.Holds() {
						t.Errorf("second look: %s: %v\n%s", st.ID(), err, c.Diff)
					}
				}
			}
			steptest.Golden(t, *update, strings.TrimSuffix(path, ".txtar")+".golden", out.String())
		})
	}
}

// show writes the plan down, does its boot part, and writes down the files that
// it has written; false where a check failed.
func show(t *testing.T, out *strings.Builder, h *hosttest.Canned, plan step.Plan) bool {
	s := steptest.Show(t, h, plan)
	out.WriteString(s.Text)
	if s.Failed {
		return false
	}
	written := map[string]bool{}
	for _, c := range s.Boot {
		for _, o := range c.Do {
			if err := o.Do(t.Context(), h); err != nil {
				t.Fatal(err)
			}
			written[o.Path] = true
		}
	}
	for _, p := range slices.Sorted(maps.Keys(written)) {
		fmt.Fprintf(out, "== after: %s\n%s", p, h.Files[p].Data)
	}
	return true
}
