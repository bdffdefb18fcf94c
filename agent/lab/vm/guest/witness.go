//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A controller is lvsfleet at work on the controller's host.
type controller struct {
	cmd  *exec.Cmd
	done chan struct{}
	exit int
	err  error

	mu   sync.Mutex
	text bytes.Buffer
}

// Write takes what it says.
func (c *controller) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.Write(p)
}

// said is all that it has said.
func (c *controller) said() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.String()
}

// says waits until it has said something.
func (c *controller) says(what string) error {
	return await(fmt.Sprintf("lvsfleet says %q", what), reactTime, func() (bool, error) {
		return strings.Contains(c.said(), what), c.running()
	})
}

// begin starts lvsfleet and does not wait for it.
func (s *suite) begin(args ...string) (*controller, error) {
	cmd, err := s.fabric.Command("controller", append([]string{"/bin/lvsfleet"}, args...)...)
	if err != nil {
		return nil, err
	}
	c := &controller{cmd: cmd, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = c, c
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(c.done)
		var status *exec.ExitError
		if c.err = cmd.Wait(); errors.As(c.err, &status) {
			c.exit, c.err = status.ExitCode(), nil
		}
	}()
	return c, nil
}

// kill ends it by SIGKILL: the program, not the nsenter that waits for it.
func (c *controller) kill() error {
	pid := strconv.Itoa(c.cmd.Process.Pid)
	text, err := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children")
	if err != nil {
		return fmt.Errorf("find lvsfleet: %w", err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return fmt.Errorf("find lvsfleet: %w", err)
	}
	if err := unix.Kill(child, unix.SIGKILL); err != nil {
		return fmt.Errorf("kill lvsfleet: %w", err)
	}
	<-c.done
	return nil
}

// end waits for it, and wants that exit status.
func (c *controller) end(want int, limit time.Duration) (string, error) {
	select {
	case <-c.done:
	case <-time.After(limit):
		_ = c.kill()
		return "", fmt.Errorf("lvsfleet was not done after %s:\n%s", limit, c.said())
	}
	text := c.said()
	if c.err != nil {
		return text, fmt.Errorf("lvsfleet: %w\n%s", c.err, text)
	}
	if c.exit != want {
		return text, fmt.Errorf("lvsfleet: exit %d, want %d\n%s", c.exit, want, text)
	}
	return text, nil
}

// running says why it is not at work any more; nil: it is.
func (c *controller) running() error {
	select {
	case <-c.done:
		return fmt.Errorf("lvsfleet has ended, exit %d:\n%s", c.exit, c.said())
	default:
		return nil
	}
}

// pollEvery lies between two looks at what is waited for.
const pollEvery = 50 * time.Millisecond

// await looks until what is waited for is so.
func await(what string, limit time.Duration, look func() (bool, error)) error {
	for end := time.Now().Add(limit); ; time.Sleep(pollEvery) {
		ok, err := look()
		if err != nil {
			return fmt.Errorf("wait for %s: %w", what, err)
		}
		if ok {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s: not within %s", what, limit)
		}
	}
}

// Clients fetch all the time.
type clients struct {
	stop chan struct{}
	done sync.WaitGroup

	mu   sync.Mutex
	seen []visit
}

// A visit is one fetch of a client.
type visit struct {
	begun, ended time.Time
	addr, who    string // who: "" nobody
	err          error
}

// clientPause lies between two fetches of a client.
const clientPause = 100 * time.Millisecond

// visit starts a client at each of the addresses.
func (s *suite) visit(addrs ...string) *clients {
	c := &clients{stop: make(chan struct{})}
	for _, addr := range addrs {
		c.done.Go(func() {
			for {
				select {
				case <-c.stop:
					return
				case <-time.After(clientPause):
				}
				v := visit{begun: time.Now(), addr: addr}
				v.who, _, v.err = s.fetch(addr, "/", patience)
				v.ended = time.Now()
				c.mu.Lock()
				c.seen = append(c.seen, v)
				c.mu.Unlock()
			}
		})
	}
	return c
}

// end lets the clients finish, and gives all that they saw.
func (c *clients) end() []visit {
	close(c.stop)
	c.done.Wait()
	return c.seen
}

// since are the visits that began after a time.
func (c *clients) since(t time.Time) []visit {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []visit
	for _, v := range c.seen {
		if v.begun.After(t) {
			list = append(list, v)
		}
	}
	return list
}

// An outage is a time in which a client may fail.
type outage struct{ from, to time.Time }

// unserved says which visits failed outside of the outages.
func unserved(seen []visit, outages ...outage) error {
	var bad []string
	for _, v := range seen {
		within := slices.ContainsFunc(outages, func(o outage) bool { return v.ended.After(o.from) && v.begun.Before(o.to) })
		if v.err != nil && !within {
			bad = append(bad, fmt.Sprintf("%s: %v", v.addr, v.err))
		}
	}
	if len(bad) > 0 {
		return fmt.Errorf("%d of %d fetches failed:\n%s", len(bad), len(seen), strings.Join(bad[:min(len(bad), 10)], "\n"))
	}
	return nil
}

// failures counts the visits that failed.
func failures(seen []visit) (n int) {
	for _, v := range seen {
		if v.err != nil {
			n++
		}
	}
	return n
}

// visits counts those that somebody served.
func visits(seen []visit, who string) (n int) {
	for _, v := range seen {
		if v.who == who {
			n++
		}
	}
	return n
}

// weights are the live table of the director: by "VIP RIP" without their ports.
func (s *suite) weights() (map[string]string, error) {
	text, err := s.fabric.Run("lb", "ipvsadm", "-Sn")
	if err != nil {
		return nil, err
	}
	return rulesOf(text), nil
}

func rulesOf(text string) map[string]string {
	table := map[string]string{}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		// -a -t VIP:PORT -r RIP:PORT -g -w WEIGHT
		if len(f) < 8 || f[0] != "-a" || f[1] != "-t" {
			continue
		}
		vip, _, _ := strings.Cut(f[2], ":")
		rip, _, _ := strings.Cut(f[4], ":")
		for i := range f[:len(f)-1] {
			if f[i] == "-w" {
				table[vip+" "+rip] = f[i+1]
			}
		}
	}
	return table
}

// savedRules is the file from which the director's boot fills the table.
func (s *suite) savedRules() string {
	return filepath.Join(s.fabric.Dir, "lb/etc/sysconfig/ipvsadm")
}

// A keeper watches what is saved for the director's next boot.
type keeper struct {
	stop, done chan struct{}
	drained    string // the first rules that held a drained weight
}

func (s *suite) keep() *keeper {
	k := &keeper{stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(k.done)
		for k.drained == "" {
			select {
			case <-k.stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
			text, err := os.ReadFile(s.savedRules())
			if err != nil {
				continue // none yet
			}
			for _, w := range rulesOf(string(text)) {
				if w == "0" {
					k.drained = string(text)
				}
			}
		}
	}()
	return k
}

func (k *keeper) end() error {
	close(k.stop)
	<-k.done
	if k.drained != "" {
		return fmt.Errorf("the saved rules held a drained weight:\n%s", k.drained)
	}
	return nil
}

// settings are those below /proc/sys/net/ipv4 that lvsfleet may change.
var settings = []string{"ip_forward", "conf/*/forwarding", "conf/*/accept_redirects", "conf/*/arp_ignore", "conf/*/arp_announce", "conf/*/rp_filter"}

// state is what a Linux host is now, and what its next boot makes of it: all
// of it that lvsfleet may change, and its whole /etc.
func (s *suite) state(name string) (string, error) {
	var b strings.Builder
	err := s.fabric.In(name, func() error { return network(&b) })
	if err != nil {
		return "", fmt.Errorf("state of %s: %w", name, err)
	}
	if name == "lb" {
		table, err := s.fabric.Run(name, "ipvsadm", "-Sn")
		if err != nil {
			return "", err
		}
		b.WriteString(table)
	}
	boot, err := files(filepath.Join(s.fabric.Dir, name, "etc"))
	return b.String() + boot, err
}

// network writes down what the network of this thread is.
func network(b *strings.Builder) error {
	links, err := netlink.LinkList()
	if err != nil {
		return err
	}
	names := map[int]string{}
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
		addrs, err := netlink.AddrList(l, netlink.FAMILY_V4)
		if err != nil {
			return err
		}
		for _, a := range addrs {
			fmt.Fprintf(b, "%s: %s\n", l.Attrs().Name, a)
		}
	}
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return err
	}
	for _, r := range routes {
		// Which of the cards has 169.254.0.0/16 is the boot scripts' whim.
		if r.Dst == nil || !r.Dst.IP.IsLinkLocalUnicast() {
			fmt.Fprintln(b, r.Dst, r.Gw, names[r.LinkIndex], r.Priority)
		}
	}
	for _, pattern := range settings {
		list, err := filepath.Glob("/proc/sys/net/ipv4/" + pattern)
		if err != nil {
			return err
		}
		for _, name := range list {
			text, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			fmt.Fprintf(b, "%s = %s", name, text)
		}
	}
	return nil
}

// files are all files below a folder, whole.
func files(root string) (string, error) {
	var b strings.Builder
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s %s", strings.TrimPrefix(p, root), info.Mode())
		switch {
		case d.Type() == fs.ModeSymlink:
			to, err := os.Readlink(p)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " -> %s\n", to)
		case d.Type().IsRegular():
			text, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %q\n", text)
		default:
			b.WriteString("\n")
		}
		return nil
	})
	return b.String(), err
}

// unlike compares two states, line by line.
func unlike(was, is string) error {
	if was == is {
		return nil
	}
	a, b := strings.Split(was, "\n"), strings.Split(is, "\n")
	var out strings.Builder
	for _, l := range a {
		if !slices.Contains(b, l) {
			fmt.Fprintln(&out, "-", l)
		}
	}
	for _, l := range b {
		if !slices.Contains(a, l) {
			fmt.Fprintln(&out, "+", l)
		}
	}
	return fmt.Errorf("it is not as it was:\n%s", out.String())
}
