// Command generate writes the fixtures of package earlier. It is kept to say
// how they came about: it needs the interfaces of the build that it is to speak
// for, and was run in a tree of commit 6484de9 (there it was
// agent/lab/earlier/main.go), from which dr.hcl, nat.hcl and tun.hcl are too;
// eras.hcl was examples/eras/site.hcl there:
//
//	go build ./cmd/lvsfleet && go run ./agent/lab/earlier FOLDER ./lvsfleet
//
// For each host of the three sites it runs transactions with that build's
// engine, and writes down what they had left on the machine at the moment of
// interest. Then it has the command line run a whole site, and writes down what
// that has left on the hosts and on the controller.
package main

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/agent/lab"
	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/agent/lab/unix"
	"github.com/lvsfleet/lvsfleet/agent/remote"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/inventory/hclfile"
	"github.com/lvsfleet/lvsfleet/providers"
	"github.com/lvsfleet/lvsfleet/providers/host"
)

// A fixture is what was left on one host.
type fixture struct {
	Site  string   `json:"site"`
	Host  string   `json:"host"`
	State string   `json:"state"`
	Agent bool     `json:"agent"` // the guard was the agent's, not a shell
	Files []file   `json:"files"` // what differs from the fresh machine
	Net   *sim.Net `json:"net"`   // the kernel's state
}

type file struct {
	Path string `json:"path"`
	Gone bool   `json:"gone,omitempty"`
	Mode uint32 `json:"mode,omitempty"`
	UID  int    `json:"uid,omitempty"`
	GID  int    `json:"gid,omitempty"`
	Data string `json:"data,omitempty"`
	Raw  []byte `json:"raw,omitempty"` // of the controller's
}

const guardPath = "/var/guard"

func main() {
	for _, site := range []string{"dr", "nat", "tun", "eras"} {
		all, err := ofSite(site)
		if err == nil {
			err = write(filepath.Join(os.Args[1], site+".json.gz"), all)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, site, err)
			os.Exit(1)
		}
	}
	if err := controller(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "controller:", err)
		os.Exit(1)
	}
}

// controller has lvsfleet converge, watch and repair the site dr.
func controller(out, lvsfleet string) error {
	ctx := context.Background()
	r := hclfile.Load("examples/dr/site.hcl", hclfile.Input{})
	dir, err := os.MkdirTemp("", "lab")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	l, err := lab.Start(ctx, r.Site, lab.Options{Dir: dir})
	if err != nil {
		return err
	}
	defer l.Close()
	run := func(exit int, args ...string) error {
		cmd := exec.Command(lvsfleet, append(args, "--lab", dir)...)
		text, err := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); got != exit {
			return fmt.Errorf("%q: exit %d, want %d: %w\n%s", args, got, exit, err, text)
		}
		return nil
	}
	on := func(name string, argv ...string) error {
		s := l.Machine(name).NewSession()
		defer s.End()
		_, err := s.Run(ctx, host.Cmd{Argv: argv})
		return err
	}
	const site = "examples/dr"
	for _, do := range []func() error{
		func() error { return run(0, "converge", site, "--yes") },
		func() error { return on("lb", "ipvsadm", "-A", "-t", "192.168.0.201:80", "-s", "rr") }, // known from the first look
		func() error { return run(0, "drift", site, "--once") },
		func() error { return on("rs160", "sysctl", "-w", "net.ipv4.conf.all.arp_ignore=0") },
		func() error { return on("lb", "ipvsadm", "-A", "-t", "192.168.0.202:80", "-s", "rr") }, // drift
		func() error { return run(2, "drift", site, "--once") },
		func() error { return run(0, "converge", site, "--yes") },
		func() error { return run(2, "drift", site, "--once") },
		func() error { return on("rs170", "ifconfig", "lo0", "inet", "192.168.0.200", "-alias") },
		func() error { return run(2, "drift", site, "--once", "--repair") },
		func() error { return on("rs180", "rm", "/etc/hostname.lo0:1") },
		func() error { return run(2, "drift", site, "--once") },
	} {
		if err := do(); err != nil {
			return err
		}
	}
	var all []fixture
	for _, h := range r.Site.Hosts {
		f := snapshot(l.Machine(h.Name), lab.Offline(*h, nil))
		f.Files = slices.DeleteFunc(f.Files, func(f file) bool { return strings.HasPrefix(filepath.Base(f.Path), agent.BinaryPrefix) })
		f.Site, f.Host, f.State = "dr", h.Name, "watched"
		all = append(all, f)
	}
	if err := write(filepath.Join(out, "watched.json.gz"), all); err != nil {
		return err
	}
	var state []file
	err = filepath.WalkDir(filepath.Join(dir, "state"), func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(p)
		rel, _ := filepath.Rel(filepath.Join(dir, "state"), p)
		state = append(state, file{Path: rel, Mode: 0o600, Raw: data})
		return err
	})
	if err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(out, "controller.json.gz"))
	if err != nil {
		return err
	}
	z, _ := gzip.NewWriterLevel(f, gzip.BestCompression)
	e := json.NewEncoder(z)
	e.SetIndent("", " ")
	return errors.Join(e.Encode(state), z.Close(), f.Close())
}

func write(path string, all []fixture) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	z, _ := gzip.NewWriterLevel(f, gzip.BestCompression)
	e := json.NewEncoder(z)
	e.SetIndent("", " ")
	return errors.Join(e.Encode(all), z.Close(), f.Close())
}

func ofSite(site string) ([]fixture, error) {
	r := hclfile.Load("examples/"+site+"/site.hcl", hclfile.Input{})
	if r.Site == nil {
		return nil, fmt.Errorf("%v", r.Diags)
	}
	var all []fixture
	want := r.Site.Desired()
	for _, h := range r.Site.Hosts {
		d := want[h.Name]
		d.Whole = true
		for _, byAgent := range []bool{true, false} {
			states := []string{"committed", "open", "claimed", "undone", "removing", "reverting"}
			if site != "dr" {
				states = []string{"committed", "open"}
			} else if d.Director != nil {
				states = append(states, "withdrawn", "yielding")
			}
			if !byAgent {
				states = []string{"open"} // at rest nothing differs
			}
			if !byAgent && site != "dr" {
				continue
			}
			for _, state := range states {
				f, err := one(*h, d, state, byAgent)
				if err != nil {
					return nil, fmt.Errorf("%s %s: %w", h.Name, state, err)
				}
				f.Site = site
				all = append(all, f)
			}
		}
	}
	return all, nil
}

var errCut = errors.New("the power is cut")

func one(h inventory.Host, d inventory.Desired, state string, byAgent bool) (fixture, error) {
	m := lab.Offline(h, nil)
	m.FS.Put(guardPath, 0o755, "a program\n")
	m.Loader = func(m *sim.Machine, c *sim.Call, f host.File) int {
		if !agent.IsGuard(c.Argv) {
			return unix.Load(m, c, f)
		}
		p := m.NewSession()
		defer p.End()
		if agent.RunGuard(c.Context, p, c.Argv[2]) != nil {
			return 1
		}
		return 0
	}
	fresh := lab.Offline(h, nil)
	var cut *fixture
	dead := false
	m.Watch = func(a sim.Access) error {
		if dead {
			return errCut
		}
		if state == "claimed" && cut == nil && a.Op == "rename" && strings.HasPrefix(a.Path, "/etc/") {
			f := snapshot(m, fresh) // decided, nothing in place
			cut, dead = &f, true
			return errCut
		}
		return nil
	}
	on := func() *agent.Engine {
		e := &agent.Engine{Host: m.NewSession(), Plan: providers.Plan, Guard: remote.Guard, Patience: 30 * time.Second}
		if byAgent {
			e.Guard = agent.GuardArgs(guardPath, false)
		}
		e.Renew = func(context.Context, string) bool { return true }
		return e
	}
	ctx := context.Background()
	begin := func(tx agent.Transaction) (*agent.Engine, error) {
		e := on()
		tx.Who = "op@controller"
		begun, err := e.Begin(ctx, tx, nil)
		if err == nil && !begun.Differs {
			err = errors.New("there is nothing to do")
		}
		if err == nil {
			err = e.Apply(ctx, nil)
		}
		return e, err
	}
	whole := func(tx agent.Transaction, commit bool) error {
		e, err := begin(tx)
		if err != nil {
			return err
		}
		f := on()
		return errors.Join(f.Finish(ctx, tx.Run, commit, nil), f.Close(), e.Close())
	}
	made := agent.Transaction{Run: "20260101T000000Z-aaaaaa", Desired: d, Stage: inventory.Change}
	next := agent.Transaction{Run: "20260102T000000Z-bbbbbb", Desired: d}
	var e *agent.Engine
	var err error
	switch state {
	case "committed":
		err = whole(made, true)
	case "undone":
		err = whole(made, false)
	case "open":
		e, err = begin(made)
	case "claimed":
		e, err = begin(made)
		if err == nil {
			f := on()
			_ = f.Finish(ctx, made.Run, true, nil)
			if cut == nil {
				return fixture{}, errors.New("it was never cut")
			}
		}
	default:
		if err = whole(made, true); err != nil {
			break
		}
		switch state {
		case "removing":
			next.Desired = d.Removed()
		case "reverting":
			next.Undoes, next.Reverts = made.Run, &agent.Reverts{}
		case "withdrawn":
			s := d.Director.Services[0]
			r := s.Real[0]
			next.Stage = inventory.Withdraw
			next.Desired = d.Withdrawing([]inventory.Withdrawal{{
				Addr: s.Addr, Port: s.Port, FWMark: s.FWMark, Protocol: s.Protocol, Server: r.Addr, ServerPort: r.Port,
			}})
		case "yielding":
			next.Stage = inventory.Withdraw
			next.Desired = d.Yielding([]netip.Addr{d.Director.VIPs[0].Addr})
		}
		e, err = begin(next)
	}
	if err != nil {
		return fixture{}, err
	}
	f := snapshot(m, fresh)
	if cut != nil {
		f = *cut
	}
	f.Host, f.State, f.Agent = h.Name, state, byAgent
	if e != nil && !dead {
		_ = e.Close()
	}
	return f, nil
}

// snapshot is what differs from the fresh machine.
func snapshot(m, fresh *sim.Machine) fixture {
	all := func(m *sim.Machine) map[string]host.File {
		files := map[string]host.File{}
		m.Locked(func() {
			m.FS.Walk("/", func(p string, f host.File) { files[p] = f })
		})
		return files
	}
	was, is := all(fresh), all(m)
	var f fixture
	m.Locked(func() {
		m.FS.Walk("/", func(p string, n host.File) {
			o, there := was[p]
			if p == guardPath || p == "/" || there && o.Mode == n.Mode && o.UID == n.UID && o.GID == n.GID && string(o.Data) == string(n.Data) {
				return
			}
			f.Files = append(f.Files, file{Path: p, Mode: uint32(n.Mode), UID: n.UID, GID: n.GID, Data: string(n.Data)})
		})
	})
	for p := range was {
		if _, there := is[p]; !there {
			f.Files = append(f.Files, file{Path: p, Gone: true})
		}
	}
	m.Locked(func() {
		text, err := json.Marshal(m.Net)
		if err == nil {
			err = json.Unmarshal(text, &f.Net)
		}
		if err != nil {
			panic(err) // it is plain data
		}
	})
	return f
}
