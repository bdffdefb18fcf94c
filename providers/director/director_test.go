package director_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/director"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/host/hosttest"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

var update = flag.Bool("update", false, "write the goldens anew")

// A machine is files, a table, and the two commands that the steps run.
type machine struct {
	*hosttest.Canned
	table ipvs.Memory
}

func (m *machine) IPVS() (ipvs.Table, error) { return &m.table, nil }

// Run answers the condition of systemd's undo from the files.
func (m *machine) Run(ctx context.Context, cmd host.Cmd) (host.Result, error) {
	if cmd.Argv[0] == "cat" {
		if f, err := m.ReadFile(ctx, cmd.Argv[1]); err == nil {
			return host.Result{Stdout: f.Data}, nil
		}
		return host.Result{Exit: 1}, &host.ExitError{Argv: cmd.Argv, Exit: 1}
	}
	if slices.Equal(cmd.Argv, []string{"systemctl", "reset-failed", director.RulesUnit}) {
		delete(m.Runs, "systemctl is-failed "+director.RulesUnit)
		m.Runs["systemctl is-failed "+director.RulesUnit] = host.Result{Exit: 1, Stdout: []byte("inactive\n")}
	}
	return m.Canned.Run(ctx, cmd)
}

// A scene is one txtar file: what the host must be, what it is, and what
// comes of it.
//
//	-- desired --            inventory.Desired as JSON
//	-- release --            what uname -r says; 5.14.0 where left out
//	-- table --              the live table, as `ipvsadm -Sn` prints it
//	-- links --              PATH TARGET, one a line
//	-- failed --             our unit has failed; the last line of its journal
//	-- host/PATH --          a file
//	-- want --               the golden
func load(t *testing.T, file string) (*machine, host.Identity, inventory.Desired, *txtar.Archive) {
	t.Helper()
	a, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	m := &machine{Canned: &hosttest.Canned{
		Name:  "lb",
		Files: map[string]host.File{"/usr/sbin/ipvsadm": {Mode: 0o755}},
		Runs: map[string]host.Result{"systemctl daemon-reload": {},
			"systemctl is-failed lvsfleet-rules.service":    {Exit: 1, Stdout: []byte("inactive\n")},
			"systemctl reset-failed lvsfleet-rules.service": {},
		},
	}}
	id := host.Identity{OS: host.Linux, Release: "5.14.0"}
	var d inventory.Desired
	for _, f := range a.Files {
		text := string(f.Data)
		switch {
		case f.Name == "desired":
			if err := json.Unmarshal(f.Data, &d); err != nil {
				t.Fatal(err)
			}
		case f.Name == "release":
			id.Release = strings.TrimSpace(text)
		case f.Name == "table":
			if m.table.Services, err = ipvs.ParseRules(f.Data); err != nil {
				t.Fatal(err)
			}
		case f.Name == "local": // addresses of the machine's own, on a kernel that shows them as Local
			own := netip.MustParseAddr(strings.TrimSpace(text))
			m.table.Local = func(a netip.Addr) bool { return a == own }
			for _, s := range m.table.Services {
				for i := range s.Dests {
					if s.Dests[i].Addr == own {
						s.Dests[i].Method = ipvs.Local
					}
				}
			}
		case f.Name == "links":
			for l := range strings.Lines(text) {
				w := strings.Fields(l)
				m.Files[w[0]] = host.File{Mode: fs.ModeSymlink | 0o777, Data: []byte(w[1])}
			}
		case f.Name == "failed":
			m.Runs["systemctl is-failed "+director.RulesUnit] = hosttest.Text("failed\n")
			m.Runs["journalctl --no-pager -q -o cat -n 1 -u "+director.RulesUnit] = hosttest.Text(text)
		case f.Name == "no-ipvsadm":
			delete(m.Files, "/usr/sbin/ipvsadm")
		case strings.HasPrefix(f.Name, "host/"):
			m.Files[strings.TrimPrefix(f.Name, "host")] = hosttest.Regular(text)
		}
	}
	return m, id, d, a
}

// withdrawn are the entries of a scene that withdraws some.
func withdrawn(t *testing.T, a *txtar.Archive) (list []inventory.Withdrawal) {
	t.Helper()
	for _, f := range a.Files {
		if f.Name == "withdraw" {
			if err := json.Unmarshal(f.Data, &list); err != nil {
				t.Fatal(err)
			}
		}
	}
	return list
}

func TestPlan(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no scenes", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			m, id, d, a := load(t, file)
			got := play(t, m, id, d, withdrawn(t, a))
			i := slices.IndexFunc(a.Files, func(f txtar.File) bool { return f.Name == "want" })
			if *update {
				if i < 0 {
					i = len(a.Files)
					a.Files = append(a.Files, txtar.File{Name: "want"})
				}
				a.Files[i].Data = []byte(got)
				if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if i < 0 {
				t.Fatal("no golden: run with -update")
			}
			if d := cmp.Diff(string(a.Files[i].Data), got); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

// play plans, does all that has to be done, and undoes it: each twice.
// list are the entries that it withdraws and looks at nothing else; nil: it is all
// that d says.
func play(t *testing.T, m *machine, id host.Identity, d inventory.Desired, list []inventory.Withdrawal) string {
	t.Helper()
	ctx := context.Background()
	var b strings.Builder
	f, err := director.Gather(ctx, m, id, d)
	if err != nil {
		var refusal *step.Refusal
		if !errors.As(err, &refusal) {
			t.Fatal(err)
		}
		return err.Error() + "\n"
	}
	before := picture(m)
	p, err := director.Plan(d, f)
	if err != nil {
		t.Fatal(err)
	}
	if list != nil {
		p = director.Withdraw(list, f, d.Network != "none")
	}
	for _, n := range p.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	var changes []step.Change
	steps := slices.Concat(p.Live, p.Boot)
	for i, s := range steps {
		layer := "live"
		if i >= len(p.Live) {
			layer = "boot"
		}
		c, err := s.Check(ctx, m)
		if refusal := (*step.Refusal)(nil); errors.As(err, &refusal) {
			fmt.Fprintf(&b, "%s %s %v\n", layer, s.ID(), err)
			return b.String()
		}
		if err != nil {
			t.Fatalf("%s: %v", s.ID(), err)
		}
		state := "holds"
		if !c.Holds() {
			state = "differs"
		}
		if says := len(c.Effects) > 0; says != (layer == "live" && !c.Holds()) {
			t.Errorf("%s %s, which %s, has the effects %v", layer, s.ID(), state, c.Effects)
		}
		fmt.Fprintf(&b, "%s %s %s\n", layer, s.ID(), state)
		for _, n := range c.Notes {
			fmt.Fprintf(&b, "note: %s\n", n)
		}
		b.WriteString(c.Diff)
		for _, o := range c.Do {
			fmt.Fprintf(&b, "do: %s\n", strings.ReplaceAll(o.String(), "\n", "\n    "))
			if layer == "boot" && o.Kind != step.Write && o.Kind != step.Remove && o.Kind != step.Notify {
				t.Errorf("%s acts before the next boot: %s", s.ID(), o)
			}
		}
		for _, o := range c.Undo {
			fmt.Fprintf(&b, "undo: %s\n", strings.ReplaceAll(o.String(), "\n", "\n      "))
		}
		changes = append(changes, c)
	}
	for i, s := range steps {
		for range 2 {
			do(t, m, changes[i].Do)
		}
		c, err := s.Check(ctx, m)
		if err != nil || !c.Holds() {
			t.Errorf("%s does not hold after it was done: %v\n%s", s.ID(), err, c.Diff)
		}
	}
	if f, err = director.Gather(ctx, m, id, d); err != nil {
		t.Fatal(err)
	}
	if p, err = director.Plan(d, f); err != nil {
		t.Fatal(err)
	}
	if list != nil {
		p = director.Withdraw(list, f, d.Network != "none")
	}
	for _, s := range slices.Concat(p.Live, p.Boot) {
		if c, err := s.Check(ctx, m); err != nil || !c.Holds() {
			t.Errorf("%s does not hold when it is planned again: %v\n%s", s.ID(), err, c.Diff)
		}
	}
	for range 2 {
		for _, c := range slices.Backward(changes) {
			do(t, m, c.Undo)
		}
	}
	if d := cmp.Diff(before, picture(m)); d != "" {
		t.Errorf("after the undo (-before +after):\n%s", d)
	}
	return b.String()
}

func do(t *testing.T, m *machine, ops []step.Op) {
	t.Helper()
	for _, o := range ops {
		if err := o.Do(context.Background(), m); err != nil {
			t.Fatalf("%s: %v", o, err)
		}
	}
}

// picture is all that a change could have left behind.
func picture(m *machine) map[string]string {
	p := map[string]string{"the table": ipvs.Format(m.table.Services)}
	for name, f := range m.Files {
		p[name] = fmt.Sprintf("%v %s", f.Mode, f.Data)
	}
	return p
}
