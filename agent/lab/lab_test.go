package lab_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/agent/lab"
	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
)

func site() *inventory.Site {
	card := func(dev, addr string) []inventory.Interface {
		return []inventory.Interface{{Device: dev, Addresses: []netip.Prefix{netip.MustParsePrefix(addr)}}}
	}
	gateway := netip.MustParseAddr("192.168.0.252")
	return &inventory.Site{
		Name: "dr",
		Hosts: []*inventory.Host{
			{Name: "lb", OS: inventory.Linux, Roles: []string{"director"}, Address: "192.168.0.254", Interfaces: card("eth0", "192.168.0.254/24")},
			{Name: "rs160", OS: inventory.Linux, Release: "2.6.15", Roles: []string{"web"}, Address: "192.168.0.160", Gateway: gateway, Interfaces: card("eth0", "192.168.0.160/24")},
			{Name: "rs170", OS: inventory.FreeBSD, Release: "5.4-RELEASE", Roles: []string{"web"}, Address: "192.168.0.170", Gateway: gateway, Interfaces: card("lnc0", "192.168.0.170/24")},
			{Name: "rs171", OS: inventory.FreeBSD, Roles: []string{"web"}, Address: "192.168.0.171", Gateway: gateway, Interfaces: card("em0", "192.168.0.171/24")},
			{Name: "rs180", OS: inventory.Solaris, Release: "5.10", Roles: []string{"web"}, Address: "192.168.0.180", Gateway: gateway, Interfaces: card("pcn0", "192.168.0.180/24")},
			{Name: "rs181", OS: inventory.Solaris, Roles: []string{"web"}, Address: "192.168.0.181", Gateway: gateway, Interfaces: card("e1000g0", "192.168.0.181/24")},
		},
		Services: []*inventory.VirtualService{{
			Name: "http", Director: "director", Pool: "web", Address: netip.MustParseAddr("192.168.0.200"),
			Ports: []int{80}, Protocol: "tcp", Method: inventory.DR,
		}},
	}
}

func start(t *testing.T) (*lab.Lab, string) {
	t.Helper()
	dir := t.TempDir()
	l, err := lab.Start(t.Context(), site(), lab.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l, dir
}

// dial logs in by the files that the lab wrote.
func dial(t *testing.T, dir, name string) (*ssh.Client, error) {
	t.Helper()
	c, err := lab.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(c.IdentityFile)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.ParsePrivateKey(text)
	if err != nil {
		t.Fatal(err)
	}
	known, err := knownhosts.New(c.KnownHosts)
	if err != nil {
		t.Fatal(err)
	}
	h := c.Hosts[name]
	client, err := ssh.Dial("tcp", net.JoinHostPort(h.Address, strconv.Itoa(h.Port)), &ssh.ClientConfig{
		User: h.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, HostKeyCallback: known,
		HostKeyAlgorithms: []string{ssh.KeyAlgoED25519},
	})
	if err == nil {
		t.Cleanup(func() { _ = client.Close() })
	}
	return client, err
}

func login(t *testing.T, dir, name string) *ssh.Client {
	t.Helper()
	c, err := dial(t, dir, name)
	if err != nil {
		t.Fatalf("log in to %s: %v", name, err)
	}
	return c
}

func remote(t *testing.T, c *ssh.Client, line string) (stdout, stderr string, err error) {
	t.Helper()
	s, err := c.NewSession()
	if err != nil {
		return "", "", err
	}
	defer s.Close()
	var out, errs bytes.Buffer
	s.Stdout, s.Stderr = &out, &errs
	err = s.Run(line)
	return out.String(), errs.String(), err
}

func exitOf(err error) int {
	var exit *ssh.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitStatus()
	}
	return -1
}

func TestEveryHostAnswers(t *testing.T) {
	_, dir := start(t)
	for name, want := range map[string]string{
		"lb": "Linux 6.12.0", "rs160": "Linux 2.6.15", "rs170": "FreeBSD 5.4-RELEASE",
		"rs171": "FreeBSD 14.3-RELEASE", "rs180": "SunOS 5.10", "rs181": "SunOS 5.11",
	} {
		stdout, stderr, err := remote(t, login(t, dir, name), "uname -s -r; exit 3")
		if stdout != want+"\n" || stderr != "" || exitOf(err) != 3 {
			t.Errorf("%s: printed %q and %q, %v", name, stdout, stderr, err)
		}
	}
}

func TestFreeBSDsLoginShellIsCshUntil14(t *testing.T) {
	_, dir := start(t)
	if _, stderr, err := remote(t, login(t, dir, "rs170"), "echo $(hostname)"); stderr != "Illegal variable name.\n" || exitOf(err) != 1 {
		t.Errorf("5.4: %q, %v", stderr, err)
	}
	if stdout, _, err := remote(t, login(t, dir, "rs171"), "echo $(hostname)"); stdout != "rs171\n" || err != nil {
		t.Errorf("14: %q, %v", stdout, err)
	}
}

func TestStreams(t *testing.T) {
	_, dir := start(t)
	s, err := login(t, dir, "lb").NewSession()
	if err != nil {
		t.Fatal(err)
	}
	in, _ := s.StdinPipe()
	out, _ := s.StdoutPipe()
	if err := s.Start("exec /bin/sh -s one"); err != nil {
		t.Fatal(err)
	}
	for _, step := range [][2]string{{"echo $1\n", "one\n"}, {"read x; echo got $x\nline\n", "got line\n"}} {
		if _, err := io.WriteString(in, step[0]); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, len(step[1]))
		if _, err := io.ReadFull(out, buf); err != nil || string(buf) != step[1] {
			t.Fatalf("%q: %q, %v", step[0], buf, err)
		}
	}
	_ = in.Close()
	if err := s.Wait(); err != nil {
		t.Error(err)
	}
}

func TestSFTP(t *testing.T) {
	l, dir := start(t)
	for name, modern := range map[string]bool{"lb": true, "rs171": true, "rs170": false, "rs160": false, "rs180": false} {
		t.Run(name, func(t *testing.T) {
			c, err := sftp.NewClient(login(t, dir, name))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := c.Mkdir("/root/d"); err != nil {
				t.Fatal(err)
			}
			f, err := c.OpenFile("/root/d/a", os.O_WRONLY|os.O_CREATE|os.O_EXCL)
			if err != nil {
				t.Fatal(err)
			}
			text := strings.Repeat("0123456789", 10000)
			if _, err := f.ReadFrom(strings.NewReader(text)); err != nil {
				t.Fatal(err)
			}
			if err := f.Sync(); (err == nil) != modern {
				t.Errorf("fsync: %v", err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(c.Chmod("/root/d/a", 0o640), c.Chown("/root/d/a", 0, 7), c.Symlink("a", "/root/d/l")); err != nil {
				t.Error(err)
			}
			got, err := l.Machine(name).ReadFile(t.Context(), "/root/d/l")
			if err != nil || string(got.Data) != text || got.Mode.Perm() != 0o640 || got.GID != 7 {
				t.Errorf("%v: %d bytes, mode %v, group %d", err, len(got.Data), got.Mode, got.GID)
			}
			if target, err := c.ReadLink("/root/d/l"); err != nil || target != "a" {
				t.Errorf("the link says %q, %v", target, err)
			}
			if real, err := c.RealPath("/root/d/l"); err != nil || real != "/root/d/a" {
				t.Errorf("it leads to %q, %v", real, err)
			}
			if info, err := c.Lstat("/root/d/l"); err != nil || info.Mode()&fs.ModeSymlink == 0 {
				t.Errorf("lstat: %v, %v", info, err)
			}
			if list, err := c.ReadDir("/root/d"); err != nil || len(list) != 2 || list[0].Name() != "a" {
				t.Errorf("it lists %v, %v", list, err)
			}
			if _, err := c.OpenFile("/root/d/a", os.O_WRONLY|os.O_CREATE|os.O_EXCL); err == nil {
				t.Error("made what was there")
			}
			if err := c.Rename("/root/d/a", "/root/d/l"); err == nil {
				t.Error("renamed over what was there")
			}
			if err := c.PosixRename("/root/d/a", "/root/d/l"); (err == nil) != modern {
				t.Errorf("posix-rename: %v", err)
			}
			if _, err := c.Stat("/root/d/none"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("what is not there: %v", err)
			}
			l.Machine(name).Locked(func() { l.Machine(name).FS.ReadOnly = true })
			if err := c.Remove("/root/d/l"); err == nil {
				t.Error("removed from a read-only file system")
			}
		})
	}
}

// putAgent writes a file that stands for the agent.
func putAgent(l *lab.Lab, name string) string {
	path := "/root/" + agent.BinaryPrefix + "test"
	m := l.Machine(name)
	m.Locked(func() { m.FS.Put(path, 0o700, "agent") })
	return path
}

func TestAgentRunsWhereItCan(t *testing.T) {
	l, dir := start(t)
	for name, runs := range map[string]bool{"lb": true, "rs171": true, "rs181": true, "rs160": false, "rs170": false, "rs180": false} {
		stdout, stderr, err := remote(t, login(t, dir, name), "exec "+putAgent(l, name)+" serve")
		if runs != (stdout != "" && err == nil) || !runs && (exitOf(err) != 126 || !strings.HasSuffix(stderr, ": Exec format error\n")) {
			t.Errorf("%s: %q, %q, %v", name, stdout, stderr, err)
		}
	}
}

func TestAgentDiesAtAFrame(t *testing.T) {
	l, dir := start(t)
	l.SetFaults("lb", lab.Faults{AgentFrames: 1})
	stdout, _, err := remote(t, login(t, dir, "lb"), "exec "+putAgent(l, "lb")+" serve")
	var exit *ssh.ExitError
	if stdout != "" || !errors.As(err, &exit) || exit.Signal() != "KILL" {
		t.Errorf("%q, %v", stdout, err)
	}
}

func TestRebootReplaysTheFilesAndEndsConnections(t *testing.T) {
	l, dir := start(t)
	m := l.Machine("rs171")
	other := login(t, dir, "rs171")
	c := login(t, dir, "rs171")
	if _, stderr, err := remote(t, c, "ifconfig lo0 inet 192.168.0.200/32 alias; echo 'ifconfig_lo0_alias0=\"inet 192.168.0.201/32\"' >> /etc/rc.conf; touch /var/run/x"); err != nil {
		t.Fatal(stderr, err)
	}
	if _, _, err := remote(t, c, "reboot"); exitOf(err) > 0 {
		t.Errorf("reboot: %v", err)
	}
	if err := c.Wait(); err == nil {
		t.Error("the connection ended well")
	}
	_ = other.Wait()
	if m.Boots() != 2 {
		t.Errorf("it booted %d times", m.Boots())
	}
	stdout, _, err := remote(t, login(t, dir, "rs171"), "ifconfig lo0 inet; ls /var/run")
	if err != nil || strings.Contains(stdout, "192.168.0.200") || !strings.Contains(stdout, "192.168.0.201") || strings.Contains(stdout, "x\n") {
		t.Errorf("%v:\n%s", err, stdout)
	}
}

func TestFaultsOfTheWay(t *testing.T) {
	l, dir := start(t)
	c := login(t, dir, "lb")
	l.SetFaults("lb", lab.Faults{RefuseLogins: true})
	if _, err := dial(t, dir, "lb"); err == nil {
		t.Error("logged in")
	}
	if _, _, err := remote(t, c, "true"); err != nil {
		t.Errorf("the connection that was there: %v", err)
	}
	l.SetFaults("lb", lab.Faults{Unreachable: true})
	if _, err := dial(t, dir, "lb"); err == nil {
		t.Error("reached it")
	}
	l.SetFaults("lb", lab.Faults{})
	c = login(t, dir, "lb")
	l.Vanish("lb")
	if err := c.Wait(); err == nil {
		t.Error("the connection ended well")
	}
	if _, err := dial(t, dir, "lb"); err == nil {
		t.Error("reached what vanished")
	}
}

func TestWorld(t *testing.T) {
	l, _ := start(t)
	ask := func(from, dev, addr string) []string {
		return l.World().Answers(l.Machine(from), dev, netip.MustParseAddr(addr))
	}
	run := func(name string, argv ...string) {
		t.Helper()
		if _, err := l.Machine(name).Run(t.Context(), host.Cmd{Argv: argv}); err != nil {
			t.Fatal(err)
		}
	}
	mac := func(name, dev string) string {
		m := l.Machine(name)
		var mac string
		m.Locked(func() { mac = m.Net.Link(dev).MAC })
		return mac
	}
	expect := func(what string, got []string, want ...string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v answer, not %v", what, got, want)
		}
	}
	expect("a host", ask("lb", "eth0", "192.168.0.170"), mac("rs170", "lnc0"))
	expect("oneself", ask("lb", "eth0", "192.168.0.254"))
	expect("nobody", ask("lb", "eth0", "192.168.0.200"))
	expect("the router", ask("lb", "eth0", "192.168.0.252"), sim.MAC(netip.MustParseAddr("192.168.0.252"), 0))
	expect("off the segment", ask("lb", "eth0", "10.0.0.1"))
	run("rs171", "ifconfig", "lo0", "inet", "192.168.0.200/32", "alias")
	expect("FreeBSD's loopback", ask("lb", "eth0", "192.168.0.200"))
	run("rs160", "/sbin/ip", "addr", "add", "192.168.0.200/32", "dev", "lo")
	expect("Linux' loopback", ask("lb", "eth0", "192.168.0.200"), mac("rs160", "eth0"))
	run("rs160", "sysctl", "-w", "net.ipv4.conf.lo.arp_ignore=1")
	expect("silence of lo alone", ask("lb", "eth0", "192.168.0.200"), mac("rs160", "eth0"))
	run("rs160", "sysctl", "-w", "net.ipv4.conf.all.arp_ignore=1")
	expect("silence", ask("lb", "eth0", "192.168.0.200"))
	run("rs171", "ifconfig", "em0", "inet", "192.168.0.200/32", "alias")
	expect("FreeBSD's card", ask("lb", "eth0", "192.168.0.200"), mac("rs171", "em0"))

	if got, err := l.Machine("lb").Probe(t.Context(), "eth0", netip.MustParseAddr("192.168.0.200")); err != nil || got != mac("rs171", "em0") {
		t.Errorf("a probe: %q, %v", got, err)
	}
	if err := l.Machine("lb").Announce(t.Context(), "eth0", netip.MustParseAddr("192.168.0.201")); err != nil {
		t.Error(err)
	}
	if got := l.World().Announced(); len(got) != 1 || got[0].Host != "lb" || got[0].Addr.String() != "192.168.0.201" {
		t.Errorf("announced: %v", got)
	}
}

func TestListeners(t *testing.T) {
	_, dir := start(t)
	for _, name := range []string{"rs170", "rs180"} {
		if stdout, stderr, err := remote(t, login(t, dir, name), "netstat -an -f inet"); err != nil || !strings.Contains(stdout, "*.80 ") {
			t.Errorf("%s: %v %s\n%s", name, err, stderr, stdout)
		}
	}
}

func TestFilesAreClosedToOthersAndGoWithTheLab(t *testing.T) {
	l, dir := start(t)
	for _, name := range []string{"ssh_config", "lab.json", "known_hosts", "id_ed25519"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := lab.Open(dir); err == nil || !strings.Contains(err.Error(), "no lab runs there") {
		t.Errorf("open a closed lab: %v", err)
	}
}

func TestAFolderHasOneLabAtATime(t *testing.T) {
	first, dir := start(t)
	config, err := os.ReadFile(filepath.Join(dir, "lab.json"))
	if err != nil {
		t.Fatal(err)
	}
	second, err := lab.Start(t.Context(), site(), lab.Options{Dir: dir})
	if err == nil {
		_ = second.Close()
		t.Fatal("a second lab took the folder over")
	}
	if want := "a lab runs in " + dir + " already, by process " + strconv.Itoa(os.Getpid()); !strings.Contains(err.Error(), want) {
		t.Errorf("%v", err)
	}
	if now, err := os.ReadFile(filepath.Join(dir, "lab.json")); err != nil || !bytes.Equal(now, config) {
		t.Errorf("lab.json has changed: %v", err)
	}
	if _, err := lab.Open(dir); err != nil {
		t.Errorf("the first: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	next, err := lab.Start(t.Context(), site(), lab.Options{Dir: dir})
	if err != nil {
		t.Fatalf("after the first: %v", err)
	}
	defer next.Close()
	_ = first.Close() // again: that is none of the next one's business
	if _, err := lab.Open(dir); err != nil {
		t.Errorf("the next: %v", err)
	}
}

// The stock client, where there is one: with the lab's ssh_config alone.
func TestOpenSSH(t *testing.T) {
	client, err := exec.LookPath("ssh")
	if err != nil {
		t.Log("there is no ssh here; the other tests log in all the same")
		return
	}
	_, dir := start(t)
	run := func(stdin string, args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), client, append([]string{"-F", filepath.Join(dir, "ssh_config")}, args...)...)
		cmd.Stdin = strings.NewReader(stdin)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := run("", "rs171", "ifconfig", "-l"); err != nil || out != "em0 lo0\n" {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := run("echo from $0\nexit 4\n", "rs180"); exitCode(err) != 4 || !strings.Contains(out, "from sh\n") {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := run("text", "lb", "cat > /root/x; cat /root/x"); err != nil || out != "text" {
		t.Errorf("%v: %s", err, out)
	}
}

func exitCode(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return 0
}

func TestBase(t *testing.T) {
	dir := t.TempDir()
	etc := filepath.Join(dir, "rs171", "etc")
	err := errors.Join(
		os.MkdirAll(filepath.Join(etc, "inet"), 0o755),
		os.WriteFile(filepath.Join(etc, "rc.conf"), []byte("ifconfig_em0=\"inet 192.168.0.171/24\"\ndefaultrouter=\"192.168.0.251\"\n"), 0o600),
		os.WriteFile(filepath.Join(etc, "inet", "hosts"), []byte("127.0.0.1 localhost\n"), 0o644),
		os.Symlink("inet/hosts", filepath.Join(etc, "hosts")),
		os.WriteFile(filepath.Join(dir, "notes"), nil, 0o644),
	)
	if err != nil {
		t.Fatal(err)
	}
	base, err := lab.ReadBase(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(base) != 1 {
		t.Fatalf("%d hosts", len(base))
	}
	m := lab.Offline(*site().Hosts[3], base["rs171"])
	got, err := m.ReadFile(context.Background(), "/etc/hosts")
	if err != nil || got.Path != "/etc/inet/hosts" || string(got.Data) != "127.0.0.1 localhost\n" {
		t.Errorf("%+v, %v", got, err)
	}
	rc, err := m.ReadFile(context.Background(), "/etc/rc.conf")
	if err != nil || rc.Mode.Perm() != 0o600 {
		t.Errorf("%v, %v", rc.Mode, err)
	}
	res, err := m.Run(context.Background(), host.Cmd{Argv: []string{"route", "-n", "get", "default"}})
	if err != nil || !strings.Contains(string(res.Stdout), "gateway: 192.168.0.251\n") {
		t.Errorf("%s, %v", res.Stdout, err)
	}
	if _, err := lab.ReadBase(filepath.Join(dir, "nowhere")); err == nil {
		t.Error("read a base that is not there")
	}
}
