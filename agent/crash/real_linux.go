package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/agent/journal"
	"github.com/lvsfleet/lvsfleet/agent/lab"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/inventory/hclfile"
	"github.com/lvsfleet/lvsfleet/providers/host"
)

// The verbs by which this program is the first process of a host, and the one
// that tries a case there.
const (
	argInit = "real-init"
	argTry  = "real-try"
)

func noNamespaces() string {
	if os.Geteuid() != 0 {
		return "only root may make namespaces"
	}
	for _, prog := range []string{"ip", "sysctl"} {
		if _, err := exec.LookPath(prog); err != nil {
			return err.Error()
		}
	}
	probe := exec.Command("ip", "link", "add", "eth0", "type", "veth")
	probe.SysProcAttr = &syscall.SysProcAttr{Cloneflags: namespaces}
	if out, err := probe.CombinedOutput(); err != nil {
		return fmt.Sprintf("no namespaces with a card of their own: %v %s", err, out)
	}
	return ""
}

// namespaces are those that a host has of its own.
const namespaces = syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC

// inNamespaces tries a case on a host of its own.
func inNamespaces(c realCase) (*realModel, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, self, argInit)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: namespaces}
	var out, diag bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(text), &out, &diag
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, diag.String())
	}
	var m realModel
	if err := json.Unmarshal(out.Bytes(), &m); err != nil {
		return nil, fmt.Errorf("it printed %q: %w", out.String(), err)
	}
	return &m, nil
}

// namespaced does what the arguments say, where this process is one of such a
// host: its first, which only reaps; the one that tries; the agent; the guard.
func namespaced(args []string) bool {
	if len(args) < 2 {
		return false
	}
	switch {
	case args[1] == argInit:
		os.Exit(realInit())
	case args[1] == argTry:
		m, err := realTry(os.Stdin)
		if err == nil {
			err = json.NewEncoder(os.Stdout).Encode(m)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	case args[1] == "serve", agent.IsGuard(args):
		signal.Ignore(syscall.SIGPIPE, syscall.SIGHUP)
		os.Exit(agent.Main(context.Background(), &host.Local{Name: "rs160"}, args, os.Stdin, os.Stdout, os.Stderr))
	}
	return false
}

// realInit lays the host out, starts who tries, and reaps whoever ends: a dead
// guard must not look alive.
func realInit() int {
	if err := realMounts(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	self, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	p, err := os.StartProcess(self, []string{self, argTry}, &os.ProcAttr{Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return 1
		case pid == p.Pid && status.Exited():
			return status.ExitStatus()
		case pid == p.Pid:
			return 1
		}
	}
}

func realMounts() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make the mounts private: %w", err)
	}
	for _, d := range []string{"/etc", "/var", "/run"} {
		if err := unix.Mount("tmpfs", d, "tmpfs", 0, "mode=0755"); err != nil {
			return fmt.Errorf("mount %s: %w", d, err)
		}
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	return nil
}

// realSite is one real server by DR.
const realSite = `
role "director" {}
role "web" { gateway = "192.168.0.252" }
host "lb" {
  os      = "linux"
  roles   = ["director"]
  address = "192.168.0.254"
  interface "eth0" { address = "192.168.0.254/24" }
}
host "rs160" {
  os      = "linux"
  roles   = ["web"]
  address = "192.168.0.160"
  interface "eth0" { address = "192.168.0.160/24" }
}
virtual_service "http" {
  director = "director"
  pool     = "web"
  address  = "192.168.0.200"
  port     = 80
  method   = "dr"
}
`

// realHost lays down what is on the host's disk and gives it its network.
func realHost() (subject, error) {
	site := "/var/site.hcl"
	if err := os.WriteFile(site, []byte(realSite), 0o600); err != nil {
		return subject{}, err
	}
	r := hclfile.Load(site, hclfile.Input{})
	if err := os.Remove(site); err != nil || r.Site == nil {
		return subject{}, fmt.Errorf("the site: %v %w", r.Diags, err)
	}
	var h inventory.Host
	for _, o := range r.Site.Hosts {
		if o.Name == "rs160" {
			h = *o
		}
	}
	s := subject{site: "real", host: h, want: r.Site.Desired()[h.Name]}
	m := lab.Offline(h, nil)
	var err error
	m.Locked(func() {
		m.FS.Walk("/etc", func(p string, f host.File) {
			var e error
			switch {
			case f.Mode.IsDir():
				e = os.MkdirAll(p, 0o755)
			case f.Mode&fs.ModeSymlink != 0:
				e = os.Symlink(string(f.Data), p)
			default:
				e = os.WriteFile(p, f.Data, f.Mode.Perm())
			}
			err = errors.Join(err, e)
		})
	})
	for _, d := range []string{"/var/run", "/var/lib"} {
		err = errors.Join(err, os.MkdirAll(d, 0o755))
	}
	if err != nil {
		return s, fmt.Errorf("lay down its files: %w", err)
	}
	card := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "wire"}
	if err := netlink.LinkAdd(card); err != nil {
		return s, fmt.Errorf("make its card: %w", err)
	}
	for _, name := range []string{"lo", "wire", "eth0"} {
		l, err := netlink.LinkByName(name)
		if err == nil {
			err = netlink.LinkSetUp(l)
		}
		if err == nil && name == "eth0" {
			var a *netlink.Addr
			if a, err = netlink.ParseAddr("192.168.0.160/24"); err == nil {
				err = netlink.AddrAdd(l, a)
			}
		}
		if err != nil {
			return s, fmt.Errorf("set %s up: %w", name, err)
		}
	}
	return s, nil
}

// realLook is everything of the host that the transaction may change.
func realLook() (string, error) {
	var b strings.Builder
	err := filepath.WalkDir("/etc", func(p string, d fs.DirEntry, err error) error {
		if err != nil || host.IsTemp(d.Name()) {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		var data []byte
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			to, err := os.Readlink(p)
			if err != nil {
				return err
			}
			data = []byte(to)
		case info.Mode().IsRegular():
			if data, err = os.ReadFile(p); err != nil {
				return err
			}
		}
		fmt.Fprintf(&b, "%s %v %q\n", p, info.Mode(), data)
		return nil
	})
	if err != nil {
		return "", err
	}
	for _, argv := range [][]string{
		{"ip", "-o", "-4", "addr", "show"}, {"ip", "route", "show"},
		{
			"sysctl", "net.ipv4.ip_forward", "net.ipv4.conf.all.arp_ignore", "net.ipv4.conf.all.arp_announce",
			"net.ipv4.conf.eth0.arp_ignore", "net.ipv4.conf.eth0.arp_announce",
		},
	} {
		out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, out)
		}
		b.Write(out)
	}
	return b.String(), nil
}

// A realAgent is an agent's process.
type realAgent struct {
	*agent.Client
	cmd  *exec.Cmd
	gone chan struct{}
}

type pipes struct {
	io.ReadCloser
	io.WriteCloser
}

func (p pipes) Close() error { return errors.Join(p.WriteCloser.Close(), p.ReadCloser.Close()) }

func startAgent() (*realAgent, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, "serve")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	// A pipe of our own: Wait would close the command's.
	out, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	_ = w.Close()
	a := &realAgent{Client: agent.NewClient(pipes{out, in}, ""), cmd: cmd, gone: make(chan struct{})}
	go func() { // it must not stay a zombie, which looks alive
		defer close(a.gone)
		_ = cmd.Wait()
	}()
	return a, nil
}

func (a *realAgent) signal(s syscall.Signal) {
	if a != nil {
		_ = a.cmd.Process.Signal(s)
	}
}

// realPatience is how long a guard waits for the controller's word.
const realPatience = 1500 * time.Millisecond

// realRun is one transaction, from the first agent to the commit of the second.
type realRun struct {
	subject
	mu            sync.Mutex
	first, second *realAgent
}

// start starts an agent, and lets it be known to who strikes.
func (r *realRun) start(at **realAgent) (*realAgent, error) {
	a, err := startAgent()
	r.mu.Lock()
	defer r.mu.Unlock()
	*at = a
	return a, err
}

// agents are those that have been started, the first of them once it is.
func (r *realRun) agents(ended <-chan struct{}) (first, second *realAgent) {
	for {
		r.mu.Lock()
		first, second = r.first, r.second
		r.mu.Unlock()
		if first != nil {
			return first, second
		}
		select {
		case <-ended:
			return first, second
		case <-time.After(time.Millisecond):
		}
	}
}

func (r *realRun) transact(run string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	first, err := r.start(&r.first)
	if err != nil {
		return err
	}
	defer first.Close()
	tx := r.transaction(run)
	tx.ConfirmTimeout = realPatience
	begun, err := first.Begin(ctx, tx, nil)
	if err != nil || !begun.Differs {
		return err
	}
	if err := first.Apply(ctx, nil); err != nil {
		return err
	}
	second, err := r.start(&r.second)
	if err != nil {
		return err
	}
	defer second.Close()
	return second.Finish(ctx, run, true, nil)
}

// guardPID is who holds the lease; 0: nobody.
func guardPID() int {
	data, err := os.ReadFile(agent.Lease)
	lines := strings.Split(string(data), "\n")
	if err != nil || len(lines) < 2 {
		return 0
	}
	pid, _ := strconv.Atoi(lines[1])
	return pid
}

// rested waits until nobody holds the lease.
func rested() error {
	l := &host.Local{}
	for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		by, err := l.Holder(context.Background(), agent.Lease)
		if err != nil || by == "" {
			return err
		}
		if time.Since(began) > 30*time.Second {
			return fmt.Errorf("the lease is still held by %s", by)
		}
	}
}

// realTry does one case, on the host that this process is on.
func realTry(in io.Reader) (*realModel, error) {
	var c realCase
	if err := json.NewDecoder(in).Decode(&c); err != nil {
		return nil, err
	}
	s, err := realHost()
	if err != nil {
		return nil, err
	}
	if c.Back {
		r := realRun{subject: s}
		if err := errors.Join(r.transact(taken), rested()); err != nil {
			return nil, fmt.Errorf("make what is to be taken back: %w", err)
		}
		s.back = true
	}
	if c.Way == profileCase {
		p, err := s.profile()
		return &realModel{Profile: p}, err
	}
	r := &realRun{subject: s}
	m := &realModel{}
	if m.Before, err = realLook(); err != nil {
		return nil, err
	}
	if c.Way == "" {
		began := time.Now()
		if err := r.transact("r1"); err != nil {
			return nil, err
		}
		m.Micros = time.Since(began).Microseconds()
		if err := rested(); err != nil {
			return nil, err
		}
		m.Settled, err = realLook()
		return m, err
	}
	return m, r.strike(c)
}

// strike lets the case's processes die when its time has come, and looks at
// what is left, alone and after the next run.
func (r *realRun) strike(c realCase) error {
	at := time.Duration(float64(c.Model.Micros)*c.After) * time.Microsecond
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = r.transact("r1") // whatever it says, what counts is the host
	}()
	time.Sleep(at)
	first, second := r.agents(ended)
	agents := []*realAgent{first, second}
	alone := true // with nobody to act, the host waits for the next run
	switch c.Way {
	case killAgent:
		for _, a := range agents {
			a.signal(syscall.SIGKILL)
		}
	case killCommit:
		if second == nil {
			second = first
		}
		second.signal(syscall.SIGKILL)
	case killGuard, killBoth:
		if c.Way == killBoth {
			alone = false
			for _, a := range agents {
				a.signal(syscall.SIGKILL)
			}
		}
		if pid := guardPID(); pid > 0 {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	case stopAgent:
		for _, a := range agents {
			a.signal(syscall.SIGSTOP)
		}
	case cutLine:
		first.signal(syscall.SIGHUP)
	}
	if c.Way != stopAgent {
		<-ended
	}
	err := rested()
	if err == nil && alone {
		err = c.Model.whole()
	}
	if c.Way == stopAgent {
		for _, a := range agents {
			a.signal(syscall.SIGCONT)
		}
		<-ended
		err = errors.Join(err, rested(), c.Model.whole())
	}
	if err != nil {
		return err
	}
	next := realRun{subject: r.subject}
	var taken *host.TakenError
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		// A guard whose agent died before it stood comes late, and goes.
		err = next.transact("r2")
		if !errors.As(err, &taken) || time.Since(began) > 10*time.Second {
			break
		}
	}
	if err := errors.Join(err, rested()); err != nil {
		return fmt.Errorf("the next run: %w", err)
	}
	now, err := realLook()
	if err != nil {
		return err
	}
	if now != c.Model.Settled {
		return fmt.Errorf("after the next run: %s", unlike(now, c.Model.Settled))
	}
	open, err := journal.Store{Host: &host.Local{}, Root: host.StateDir(host.Linux)}.Unsettled(context.Background())
	if err != nil || len(open) > 0 {
		return fmt.Errorf("after the next run: open journals %v %w", open, err)
	}
	return nil
}

// whole says what is wrong with the host where it is neither as before nor as
// after.
func (m *realModel) whole() error {
	now, err := realLook()
	if err != nil || now == m.Before || now == m.Settled {
		return err
	}
	return fmt.Errorf("neither before (%s) nor after (%s)", unlike(now, m.Before), unlike(now, m.Settled))
}

// unlike shows the lines of now that other has not, and the reverse.
func unlike(now, other string) string {
	var out []string
	for _, pair := range [][2]string{{now, other}, {other, now}} {
		have := map[string]bool{}
		for line := range strings.Lines(pair[1]) {
			have[line] = true
		}
		for line := range strings.Lines(pair[0]) {
			if !have[line] && len(out) < 8 {
				out = append(out, strings.TrimSpace(line))
			}
		}
		out = append(out, "--")
	}
	return strings.Join(out, "; ")
}
