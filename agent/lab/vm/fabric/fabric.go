//go:build linux

// Package fabric makes hosts of network namespaces inside the lab's virtual
// machine: each host is a process tree with a network, a mount table, process
// numbers and a name of its own, and with /etc, /root and /var of its own on
// disk. Segments are bridges in the machine's first namespace, which has no
// address on any of them. Killing a host's first process is a power cut; the
// files stay, and Boot brings it up again.
package fabric

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A Spec is what a host is. It travels to the host's first process as JSON.
type Spec struct {
	Name    string
	OS      string // "linux", "freebsd", "solaris"; "" is a plain machine that lvsfleet does not manage: a client, a router
	Release string // of the stand-ins
	Links   []Link
	Routes  []Route // of a plain machine
	Router  bool    // it forwards
	Web     bool    // it serves HTTP on port 80, on every address
	SSH     bool
	Dir     string // where its files lie, filled in by the Fabric
}

// A Link is a card of a host.
type Link struct {
	Dev     string
	Segment string
	MAC     string
	Addrs   []netip.Prefix
	// Manage says that the card belongs to the lab, not to the simulated
	// system: the management network of a stand-in.
	Manage bool
}

// A Route is a static route.
type Route struct {
	Dst netip.Prefix
	Via netip.Addr
}

// A Fabric is all the hosts and segments.
type Fabric struct {
	// Self is the program that becomes a host's first process, called with
	// the argument "host".
	Self string
	// Dir holds a folder for each host.
	Dir string
	Log func(format string, args ...any)

	mu    sync.Mutex
	hosts map[string]*host
	ports int
	// dialled counts the connections of Dial.
	dialled int
}

// firstPort is below those that the kernel gives by itself
// (net.ipv4.ip_local_port_range).
const firstPort = 10000

type host struct {
	spec   Spec
	ports  []string // the other ends of its cards
	cmd    *exec.Cmd
	booted bool
}

// Segment makes a bridge.
func (f *Fabric) Segment(name string) error {
	if _, err := netlink.LinkByName(name); err == nil {
		return nil
	}
	br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}}
	off := false
	br.MulticastSnooping = &off
	if err := netlink.LinkAdd(br); err != nil {
		return fmt.Errorf("make segment %s: %w", name, err)
	}
	return netlink.LinkSetUp(br)
}

// Add makes a host known. Its folder starts empty.
func (f *Fabric) Add(s Spec) error {
	s.Dir = filepath.Join(f.Dir, s.Name)
	if err := os.RemoveAll(s.Dir); err != nil {
		return err
	}
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.hosts == nil {
		f.hosts = map[string]*host{}
	}
	f.hosts[s.Name] = &host{spec: s}
	return nil
}

// bootTime bounds a boot.
const bootTime = 60 * time.Second

// Boot starts a host that is down, and waits until it is ready.
func (f *Fabric) Boot(name string) error {
	h, err := f.find(name)
	if err != nil {
		return err
	}
	cmd := exec.Command(f.Self, "host")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
		Setpgid:    true,
	}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("boot %s: %w", name, err)
	}
	h.cmd = cmd
	fail := func(err error) error {
		_ = f.Cut(name)
		return fmt.Errorf("boot %s: %w", name, err)
	}
	for _, l := range h.spec.Links {
		port, err := f.plug(cmd.Process.Pid, l)
		if err != nil {
			return fail(fmt.Errorf("plug %s into %s: %w", l.Dev, l.Segment, err))
		}
		h.ports = append(h.ports, port)
	}
	if err := json.NewEncoder(in).Encode(h.spec); err != nil {
		return fail(err)
	}
	ready := make(chan error, 1)
	go func() {
		r := bufio.NewReader(out)
		line, err := r.ReadString('\n')
		if err == nil && line != "ready\n" {
			err = fmt.Errorf("it says %q", line)
		}
		ready <- err
		_, _ = io.Copy(io.Discard, r)
	}()
	select {
	case err := <-ready:
		if err != nil {
			return fail(err)
		}
	case <-time.After(bootTime):
		return fail(errors.New("not ready in time"))
	}
	h.booted = true
	return nil
}

// plug makes the card of a host whose first process is pid, and names its
// other end.
func (f *Fabric) plug(pid int, l Link) (port string, err error) {
	br, err := netlink.LinkByName(l.Segment)
	if err != nil {
		return "", err
	}
	f.mu.Lock()
	f.ports++
	port = "v" + strconv.Itoa(f.ports)
	f.mu.Unlock()
	v := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: port, MasterIndex: br.Attrs().Index},
		PeerName:  l.Dev, PeerNamespace: netlink.NsPid(pid),
	}
	if l.MAC != "" {
		if v.PeerHardwareAddr, err = net.ParseMAC(l.MAC); err != nil {
			return "", err
		}
	}
	if err := netlink.LinkAdd(v); err != nil {
		return "", err
	}
	return port, netlink.LinkSetUp(v)
}

func (f *Fabric) find(name string) (*host, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	h := f.hosts[name]
	if h == nil {
		return nil, fmt.Errorf("there is no host %s", name)
	}
	return h, nil
}

// Cut takes a host's power: every process of it is killed, and its network is
// gone.
func (f *Fabric) Cut(name string) error {
	h, err := f.find(name)
	if err != nil {
		return err
	}
	if h.cmd == nil {
		return nil
	}
	_ = h.cmd.Process.Kill() // the first process: the kernel kills the rest
	_ = h.cmd.Wait()
	h.cmd, h.booted = nil, false
	// The kernel takes its time with a network that nobody has any more, and
	// that would still answer.
	var errs []error
	for _, p := range h.ports {
		l, err := netlink.LinkByName(p)
		if err != nil {
			continue // gone already
		}
		if err := netlink.LinkDel(l); err != nil && !errors.Is(err, unix.ENODEV) {
			errs = append(errs, fmt.Errorf("unplug %s: %w", name, err))
		}
	}
	h.ports = nil
	return errors.Join(errs...)
}

// All gives a function's error for each of the hosts of that kind, joined, run
// side by side.
func (f *Fabric) All(names []string, do func(string) error) error {
	errs := make([]error, len(names))
	var wg sync.WaitGroup
	for i, n := range names {
		wg.Go(func() { errs[i] = do(n) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Names lists the hosts that match.
func (f *Fabric) Names(want func(Spec) bool) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []string
	for _, h := range f.hosts {
		if want(h.spec) {
			list = append(list, h.spec.Name)
		}
	}
	return list
}

// Clear cuts every host and forgets it.
func (f *Fabric) Clear() {
	for _, n := range f.Names(func(Spec) bool { return true }) {
		_ = f.Cut(n)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hosts = nil
}

// Command is a command on a host. It must not outlive the host.
func (f *Fabric) Command(name string, argv ...string) (*exec.Cmd, error) {
	h, err := f.find(name)
	if err != nil {
		return nil, err
	}
	if !h.booted {
		return nil, fmt.Errorf("host %s is down", name)
	}
	cmd := exec.Command("nsenter", append([]string{"-t", strconv.Itoa(h.cmd.Process.Pid), "-m", "-u", "-i", "-n", "-p", "--"}, argv...)...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "NO_COLOR=1"}
	cmd.Dir = "/"
	return cmd, nil
}

// Run runs a command on a host and gives what it printed; an error where it
// failed says all of that.
func (f *Fabric) Run(name string, argv ...string) (string, error) {
	cmd, err := f.Command(name, argv...)
	if err != nil {
		return "", err
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s: %s: %w\n%s", name, strings.Join(argv, " "), err, out)
	}
	return string(out), nil
}

// In runs do on a thread of its own whose network is the host's. What do
// opens must be opened by that goroutine itself.
func (f *Fabric) In(name string, do func() error) error {
	h, err := f.find(name)
	if err != nil {
		return err
	}
	if h.cmd == nil {
		return fmt.Errorf("host %s is down", name)
	}
	done := make(chan error, 1)
	go func() {
		// Never unlocked: the thread ends with the goroutine, and its network
		// with it.
		runtime.LockOSThread()
		fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/net", h.cmd.Process.Pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			done <- err
			return
		}
		defer unix.Close(fd)
		if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("enter the network of %s: %w", name, err)
			return
		}
		done <- do()
	}()
	return <-done
}

// Dial opens a TCP connection from a host. The address is a literal one. No
// two connections come from the same port: IPVS would send the second where
// the first went, without asking its scheduler.
func (f *Fabric) Dial(name, addr string, timeout time.Duration) (conn net.Conn, err error) {
	f.mu.Lock()
	f.dialled++
	d := net.Dialer{Timeout: timeout, LocalAddr: &net.TCPAddr{Port: firstPort + f.dialled%(1<<16-firstPort)}}
	f.mu.Unlock()
	err = f.In(name, func() error {
		c, err := d.Dial("tcp", addr)
		conn = c
		return err
	})
	return conn, err
}

// Sent counts the bytes that have left a card of a host.
func (f *Fabric) Sent(name, dev string) (n uint64, err error) {
	err = f.In(name, func() error {
		l, err := netlink.LinkByName(dev)
		if err != nil {
			return err
		}
		n = l.Attrs().Statistics.TxBytes
		return nil
	})
	return n, err
}
