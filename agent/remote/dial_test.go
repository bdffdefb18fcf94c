package remote_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/agent/lab"
	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/agent/remote"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/host/hosttest"
)

// site has a host of each kind: with and without an agent, of each system.
func site() *inventory.Site {
	h := func(name string, os inventory.OS, release, dev, addr string) *inventory.Host {
		p := netip.MustParsePrefix(addr)
		return &inventory.Host{
			Name: name, OS: os, Release: release, Roles: []string{"web"}, Address: p.Addr().String(),
			Interfaces: []inventory.Interface{{Device: dev, Addresses: []netip.Prefix{p}}},
		}
	}
	return &inventory.Site{Name: "test", Hosts: []*inventory.Host{ // by name
		h("freebsd", inventory.FreeBSD, "", "em0", "192.168.0.170/24"),
		h("illumos", inventory.Solaris, "", "e1000g0", "192.168.0.180/24"),
		h("linux", inventory.Linux, "", "eth0", "192.168.0.160/24"),
		h("oldfreebsd", inventory.FreeBSD, "5.4-RELEASE", "lnc0", "192.168.0.171/24"),
		h("oldlinux", inventory.Linux, "2.6.15", "eth0", "192.168.0.161/24"),
		h("solaris10", inventory.Solaris, "5.10", "pcn0", "192.168.0.181/24"),
	}}
}

// A fleet is a lab and how to get there.
type fleet struct {
	*lab.Lab
	dir  string
	site *inventory.Site
}

func startFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{dir: t.TempDir(), site: site()}
	var err error
	if f.Lab, err = lab.Start(t.Context(), f.site, lab.Options{Dir: f.dir, Clock: sim.Hurried(5)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Lab.Close() })
	return f
}

func (f *fleet) target(name string) remote.Target {
	e := f.Config().Hosts[name]
	return remote.Target{
		Name: name, OS: f.site.Host(name).OS, Address: e.Address, Port: e.Port, User: e.User,
		IdentityFiles: []string{f.Config().IdentityFile}, KnownHosts: []string{f.Config().KnownHosts},
	}
}

// want is what a host must be to be left as it is.
func (f *fleet) want(name string) inventory.Desired {
	h := f.site.Host(name)
	return inventory.Desired{Host: h.Name, OS: h.OS, Address: h.Address, Interfaces: h.Interfaces}
}

// executed records the commands that a machine runs.
func executed(m *sim.Machine) func() []string {
	var mu sync.Mutex
	var argvs []string
	m.Watch = func(a sim.Access) error {
		if a.Op == "run" {
			mu.Lock()
			defer mu.Unlock()
			argvs = append(argvs, strings.Join(a.Argv, " "))
		}
		return nil
	}
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return argvs
	}
}

type memory struct {
	mu sync.Mutex
	of map[string]string
}

func (m *memory) AgentOf(h string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.of[h]
}

func (m *memory) SetAgentOf(h, hash string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.of[h] = hash
}

func TestAgentlessHostsOfEverySystemConform(t *testing.T) {
	f := startFleet(t)
	for _, h := range f.site.Hosts {
		t.Run(h.Name, func(t *testing.T) {
			conn, err := (&remote.Dialer{}).Client(t.Context(), f.target(h.Name))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = conn.Close() })
			n := 0
			hosttest.Conformance(t, func(t *testing.T) hosttest.Subject {
				n++
				dir := fmt.Sprintf("/tmp/conformance/%d", n)
				f.Machine(h.Name).Locked(func() { f.Machine(h.Name).FS.MkdirAll(dir) })
				return hosttest.Subject{Host: remote.NewHost(h.Name, conn), Dir: dir}
			})
		})
	}
}

func TestAgentOrNot(t *testing.T) {
	f := startFleet(t)
	no := false
	for _, c := range []struct {
		host  string
		tweak func(*remote.Target)
		agent bool
	}{
		{"linux", nil, true},
		{"freebsd", nil, true},
		{"illumos", nil, true},
		{"oldlinux", nil, false},
		{"oldfreebsd", nil, false},
		{"solaris10", nil, false},
		{"solaris10", func(t *remote.Target) { t.Release = "5.10" }, false},
		{"linux", func(t *remote.Target) { t.Agent = &no }, false},
	} {
		target := f.target(c.host)
		if c.tweak != nil {
			c.tweak(&target)
		}
		ran := executed(f.Machine(c.host))
		d := &remote.Dialer{Agents: remote.LabAgents()}
		s, err := d.Dial(t.Context(), target)
		if err != nil {
			t.Errorf("%s: %v", c.host, err)
			continue
		}
		r, err := s.Check(t.Context(), agent.ToAdd(f.want(c.host)))
		if err != nil || r.Identity.OS != string(target.OS) {
			t.Errorf("%s: %+v %v", c.host, r.Identity, err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("%s: close: %v", c.host, err)
		}
		agents := slices.ContainsFunc(ran(), func(argv string) bool {
			return strings.HasPrefix(argv, agent.BinaryDir(host.StateDir(string(target.OS))))
		})
		if agents != c.agent {
			t.Errorf("%s: agent %v, ran:\n%s", c.host, agents, strings.Join(ran(), "\n"))
		}
	}
}

func TestAnAgentIsPushedOnceAndThenStartedAtOnce(t *testing.T) {
	f := startFleet(t)
	m := f.Machine("linux")
	mem := &memory{of: map[string]string{}}
	d := &remote.Dialer{Agents: remote.LabAgents(), Memory: mem}
	path := agent.BinaryPath("/var/lib/lvsfleet", remote.LabAgents().Hash())
	check := func() {
		t.Helper()
		s, err := d.Dial(t.Context(), f.target("linux"))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if _, err := s.Check(t.Context(), agent.ToAdd(f.want("linux"))); err != nil {
			t.Fatal(err)
		}
	}
	starts := func(ran []string) (starts, others []string) {
		for _, argv := range ran {
			if strings.HasPrefix(argv, agent.BinaryDir("/var/lib/lvsfleet")+"/"+agent.BinaryPrefix) {
				starts = append(starts, argv)
			} else if strings.HasPrefix(argv, "uname -s -r -m -v") {
				others = append(others, argv)
			}
		}
		return starts, others
	}

	ran := executed(m)
	check()
	first, _ := starts(ran())
	if len(first) != 1 || !strings.Contains(first[0], " install ") || mem.AgentOf("linux") != remote.LabAgents().Hash() {
		t.Errorf("the first time: %q, remembered %q", first, mem.AgentOf("linux"))
	}
	m.Locked(func() {
		info, err := m.FS.Stat(path, false)
		dir, derr := m.FS.Stat("/var/lib/lvsfleet/agent", false)
		if err != nil || derr != nil || info.Mode.Perm() != 0o700 || dir.Mode.Perm() != 0o700 {
			t.Errorf("it lies there as %v in %v: %v %v", info.Mode, dir.Mode, err, derr)
		}
		if list, _ := m.FS.ReadDir("/var/lib/lvsfleet/agent"); len(list) != 1 {
			t.Errorf("beside it: %v", list)
		}
	})

	ran = executed(m)
	check()
	if second, _ := starts(ran()); len(second) != 1 || second[0] != path+" serve" {
		t.Errorf("the second time: %q", second)
	}

	// Forgotten here, but there: found and started.
	mem.SetAgentOf("linux", "")
	ran = executed(m)
	check()
	if third, _ := starts(ran()); len(third) != 1 || third[0] != path+" serve" {
		t.Errorf("forgotten: %q", third)
	}

	// Remembered here, but gone there: pushed again.
	m.Locked(func() { _ = m.FS.Remove(path) })
	ran = executed(m)
	check()
	if fourth, _ := starts(ran()); len(fourth) != 2 || fourth[0] != path+" serve" || !strings.Contains(fourth[1], " install ") {
		t.Errorf("gone: %q", fourth)
	}

	// There, but damaged so that it cannot be started.
	m.Locked(func() { m.FS.Put(path, 0o600, "x") })
	ran = executed(m)
	check()
	if fifth, _ := starts(ran()); !strings.Contains(fifth[len(fifth)-1], " install ") {
		t.Errorf("not to be started: %q", fifth)
	}
}

func TestAFolderThatIsNotRootsAloneIsRefused(t *testing.T) {
	f := startFleet(t)
	m := f.Machine("linux")
	for _, dir := range []host.File{
		{Mode: fs.ModeDir | 0o777},
		{Mode: fs.ModeDir | 0o700, UID: 1000},
		{Mode: fs.ModeSymlink | 0o777, Data: []byte("/tmp")},
	} {
		m.Locked(func() {
			_ = m.FS.Remove("/var/lib/lvsfleet")
			if err := m.FS.Write("/var/lib/lvsfleet", dir); err != nil {
				t.Fatal(err)
			}
		})
		s, err := (&remote.Dialer{Agents: remote.LabAgents()}).Dial(t.Context(), f.target("linux"))
		if err == nil {
			t.Errorf("%v of %d was taken", dir.Mode, dir.UID)
			_ = s.Close()
		}
	}
}

// largeAgents are of a real one's size: what is sent in many writes at once
// must arrive whole, and the agent that is started verifies that it did.
type largeAgents struct{ program remote.Program }

func (largeAgents) Hash() string                              { return "large" }
func (a largeAgents) Get(_, _ string) (remote.Program, error) { return a.program, nil }

// An agent arrives whole, by the compressed way and, where that one cannot be
// unpacked, by the other.
func TestALargeAgentArrivesWhole(t *testing.T) {
	data := make([]byte, 5<<20+17)
	for i := range data {
		data[i] = byte(i * i >> 7)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err := z.Write(data)
	if err = errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	for name, sent := range map[string][]byte{"compressed": packed.Bytes(), "as it is": []byte("not what gzip knows")} {
		t.Run(name, func(t *testing.T) {
			f := startFleet(t)
			agents := largeAgents{remote.Program{Data: data, Packed: sent, Sum: sha256.Sum256(data)}}
			s, err := (&remote.Dialer{Agents: agents}).Dial(t.Context(), f.target("linux"))
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if _, err := s.Check(t.Context(), agent.ToAdd(f.want("linux"))); err != nil {
				t.Fatal(err)
			}
			m := f.Machine("linux")
			m.Locked(func() {
				got, err := m.FS.ReadFile(agent.BinaryPath("/var/lib/lvsfleet", "large"))
				if err != nil || !bytes.Equal(got.Data, data) {
					t.Errorf("%d bytes of %d arrived, or not the same: %v", len(got.Data), len(data), err)
				}
				left, err := m.FS.ReadDir(agent.BinaryDir("/var/lib/lvsfleet"))
				if err != nil || len(left) != 1 {
					t.Errorf("beside it lie %v, %v", left, err)
				}
			})
		})
	}
}

// warnings are what is said while the Linux host is looked at: the host's name
// and the text.
func warnings(t *testing.T, f *fleet, agents remote.Agents) (warned []string) {
	t.Helper()
	d := &remote.Dialer{Agents: agents, Warn: func(h, m string) { warned = append(warned, h+": "+m) }}
	s, err := d.Dial(t.Context(), f.target("linux"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Check(t.Context(), agent.ToAdd(f.want("linux"))); err != nil {
		t.Error(err)
	}
	return warned
}

// Where there is no room for an agent a host can still be looked at, and what
// is to be changed there finds the full disk before anything has changed.
func TestAFullDiskTakesNoAgent(t *testing.T) {
	f := startFleet(t)
	m := f.Machine("linux")
	m.Locked(func() { m.FS.Full = true })
	told := warnings(t, f, remote.LabAgents())
	if len(told) != 1 || !strings.Contains(told[0], "No space left on device") {
		t.Errorf("told: %q", told)
	}
	m.Locked(func() {
		if left, err := m.FS.ReadDir(agent.BinaryDir("/var/lib/lvsfleet")); err == nil && len(left) > 0 {
			t.Errorf("left there: %v", left)
		}
	})
}

func TestWithoutAgentsInThisBuildThereIsAWarning(t *testing.T) {
	f := startFleet(t)
	warned := warnings(t, f, noAgents{})
	if len(warned) != 1 || !strings.Contains(warned[0], "linux: this build of lvsfleet carries no agent for linux/amd64") {
		t.Errorf("warned: %q", warned)
	}
}

type noAgents struct{}

func (noAgents) Hash() string { return "some" }
func (noAgents) Get(os, arch string) (remote.Program, error) {
	return remote.Program{}, fmt.Errorf("%s/%s: %w", os, arch, fs.ErrNotExist)
}

// A transaction on each kind of host: a change that is undone, and what a
// login that is cut leaves.
func TestTransactionsOnEverySystem(t *testing.T) {
	f := startFleet(t)
	for _, h := range f.site.Hosts {
		t.Run(h.Name, func(t *testing.T) {
			want := f.want(h.Name)
			want.VIPs = []inventory.VIP{{
				Addr: netip.MustParseAddr("192.168.0.200"), Method: inventory.DR, Device: h.Interfaces[0].Device, OnLAN: true,
			}}
			d := &remote.Dialer{Agents: remote.LabAgents(), Memory: &memory{of: map[string]string{}}}
			dial := func() agent.Session {
				t.Helper()
				s, err := d.Dial(t.Context(), f.target(h.Name))
				if err != nil {
					t.Fatal(err)
				}
				return s
			}
			tx := agent.Transaction{Run: "r1", Who: "me", Request: agent.ToAdd(want)}

			s := dial()
			before, err := s.Check(t.Context(), agent.ToAdd(want))
			if err != nil {
				t.Fatal(err)
			}
			if !agent.Differs(before) || !agent.NeedsFreshLogin(before) {
				t.Fatalf("nothing to do: %+v", before)
			}
			if _, err := s.Begin(t.Context(), tx, nil); err != nil {
				t.Fatal(err)
			}
			if err := s.Apply(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			if err := s.Finish(t.Context(), "r1", false, nil); err != nil {
				t.Fatal(err)
			}
			undone, err := s.Check(t.Context(), agent.ToAdd(want))
			if err != nil || agent.Fingerprint(undone) != agent.Fingerprint(before) {
				t.Errorf("undone: %v", err)
			}
			if _, err := s.Begin(t.Context(), tx, nil); err != nil {
				t.Fatal(err)
			}
			if err := s.Apply(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			other := dial()
			var taken *host.TakenError
			if _, err := other.Begin(t.Context(), agent.Transaction{Run: "r2", Request: agent.ToAdd(want)}, nil); !errors.As(err, &taken) || !strings.Contains(taken.Holder, "run r1") {
				t.Errorf("a second run: %v", err)
			}
			if err := other.Finish(t.Context(), "r1", true, nil); err != nil {
				t.Errorf("commit over a fresh login: %v", err)
			}
			for _, s := range []agent.Session{other, s} {
				if err := s.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			}
			s = dial()
			defer s.Close()
			if r, err := s.Check(t.Context(), agent.ToAdd(want)); err != nil || agent.Differs(r) || r.UnderWay != "" || r.Unsettled != "" {
				t.Errorf("after it: %+v %v", r, err)
			}
		})
	}
}

func TestAnAgentThatDiesIsALostHost(t *testing.T) {
	f := startFleet(t)
	d := &remote.Dialer{Agents: remote.LabAgents()}
	f.SetFaults("linux", lab.Faults{AgentFrames: 2}) // its name, then no answer
	s, err := d.Dial(t.Context(), f.target("linux"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Check(t.Context(), agent.ToAdd(f.want("linux"))); !errors.Is(err, host.ErrLost) {
		t.Errorf("check: %v", err)
	}
}

func TestLoginsThatFail(t *testing.T) {
	f := startFleet(t)
	dir := t.TempDir()
	for name, c := range map[string]struct {
		tweak func(*remote.Target)
		fault lab.Faults
		want  []string
	}{
		"refused":      {nil, lab.Faults{RefuseLogins: true}, []string{"log in to linux", "unable to authenticate", "tried: "}},
		"unreachable":  {nil, lab.Faults{Unreachable: true}, []string{"linux"}},
		"no such key":  {func(t *remote.Target) { t.IdentityFiles = []string{filepath.Join(dir, "none")} }, lab.Faults{}, []string{"none: no such file"}},
		"unknown":      {func(t *remote.Target) { t.KnownHosts = []string{filepath.Join(dir, "none")} }, lab.Faults{}, []string{"is not in", "SHA256:", "ssh-keyscan -p"}},
		"nobody there": {func(t *remote.Target) { t.Port = 1 }, lab.Faults{}, []string{"connect to linux", "refused"}},
		"become":       {func(t *remote.Target) { t.Become = "sudo" }, lab.Faults{}, []string{"linux: become root by sudo", "sudo: not found"}},
	} {
		f.SetFaults("linux", c.fault)
		target := f.target("linux")
		if c.tweak != nil {
			c.tweak(&target)
		}
		_, err := (&remote.Dialer{Agents: remote.LabAgents()}).Dial(t.Context(), target)
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		for _, w := range c.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v does not say %q", name, err, w)
			}
		}
	}
}

func TestAContextThatEndsEndsTheLogin(t *testing.T) {
	f := startFleet(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (&remote.Dialer{Agents: remote.LabAgents()}).Dial(ctx, f.target("linux")); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestLocalSessionsShareTheirLocks(t *testing.T) {
	d := &remote.Dialer{}
	a, err := d.Dial(t.Context(), remote.Target{Name: "here", Local: true})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := d.Dial(t.Context(), remote.Target{Name: "here", Local: true})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if a.(*agent.Engine).Host != b.(*agent.Engine).Host {
		t.Error("they do not")
	}
}

// A relay passes bytes on to a host until it is frozen; then it takes them and
// says nothing, as a host that hangs.
type relay struct {
	net.Listener
	to     string
	frozen chan struct{}
	ended  chan struct{}
}

func startRelay(t *testing.T, to string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{Listener: l, to: to, frozen: make(chan struct{}), ended: make(chan struct{})}
	t.Cleanup(func() {
		close(r.ended)
		_ = l.Close()
	})
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", r.to)
			if err != nil {
				_ = near.Close()
				continue
			}
			go r.pass(near, far)
			go r.pass(far, near)
		}
	}()
	return r
}

func (r *relay) pass(to io.WriteCloser, from io.ReadCloser) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		select {
		case <-r.frozen:
			<-r.ended
			return
		default:
		}
		if err != nil {
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// Whoever ends must not wait for a host that hangs, with an agent or without.
func TestASessionWithAHostThatHangsCanBeClosed(t *testing.T) {
	f := startFleet(t)
	for _, name := range []string{"linux", "oldlinux", "solaris10"} {
		t.Run(name, func(t *testing.T) {
			target := f.target(name)
			r := startRelay(t, net.JoinHostPort(target.Address, strconv.Itoa(target.Port)))
			target.Port = r.Addr().(*net.TCPAddr).Port
			known, err := os.ReadFile(f.Config().KnownHosts)
			if err != nil {
				t.Fatal(err)
			}
			target.KnownHosts = []string{filepath.Join(t.TempDir(), "known_hosts")}
			known = bytes.ReplaceAll(known, fmt.Appendf(nil, "]:%d ", f.target(name).Port), fmt.Appendf(nil, "]:%d ", target.Port))
			if err := os.WriteFile(target.KnownHosts[0], known, 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := (&remote.Dialer{Agents: remote.LabAgents()}).Dial(t.Context(), target)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Check(t.Context(), agent.ToAdd(f.want(name))); err != nil {
				t.Fatal(err)
			}
			close(r.frozen)
			closed := make(chan struct{})
			go func() {
				defer close(closed)
				_ = s.Close() // that it is over is all that counts
			}()
			select {
			case <-closed:
			case <-time.After(20 * time.Second):
				t.Error("it still waits")
			}
		})
	}
}
