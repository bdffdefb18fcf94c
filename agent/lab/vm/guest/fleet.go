//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"github.com/lvsfleet/lvsfleet/agent/lab/vm/fabric"
)

const (
	fleetParallel = 32 // lvsfleet's default
	fleetRounds   = 5
	ansibleRounds = 2
	// slowHosts are few, so that the line counts and not the processors.
	slowHosts = 10
	roundTrip = 100 * time.Millisecond
)

// fleet measures fleets in the namespaces that this process is the first in,
// with root in the place of /: those that are named, "50", "200" and "slow", and
// Ansible beside the others if "ansible" is.
func fleet(root string, names []string) error {
	s := &suite{begun: time.Now()}
	if err := pivot(root); err != nil {
		return fmt.Errorf("make a root: %w", err)
	}
	for _, set := range [][2]string{{"PATH", "/usr/sbin:/usr/bin:/sbin:/bin"}, {"HOME", "/root"}} {
		if err := os.Setenv(set[0], set[1]); err != nil {
			return err
		}
	}
	if err := keys(); err != nil {
		return err
	}
	s.fabric = &fabric.Fabric{Self: "/opt/guest", Dir: "/lab"}
	defer s.fabric.Clear()
	ansible := slices.Contains(names, "ansible")
	for _, f := range []measured{
		{name: "50", hosts: 50, ansible: ansible},
		{name: "200", hosts: 200}, // with Ansible it takes an hour
		{name: "slow", hosts: slowHosts, ansible: ansible, slow: true},
	} {
		if !slices.Contains(names, f.name) {
			continue
		}
		if err := s.measureFleet(f); err != nil {
			return err
		}
	}
	return nil
}

// A measured is a fleet to measure.
type measured struct {
	name    string
	hosts   int
	ansible bool // beside the others; it takes a second for a host
	slow    bool // over a line with roundTrip
}

// addr is where the controller reaches a host.
func (f measured) addr(i int) string {
	if f.slow {
		return fmt.Sprintf("127.1.0.%d", 1+i)
	}
	return f.direct(i)
}

// direct is the host's own address on the management network.
func (f measured) direct(i int) string { return fmt.Sprintf("%s.%d", management, 2+i) }

// A way is one of those that are compared.
type way struct {
	name   string
	argv   []string // nil: the bare Go client
	rounds int
}

func (s *suite) measureFleet(f measured) error {
	what := fmt.Sprintf("%d hosts", f.hosts)
	if f.slow {
		what += fmt.Sprintf(", a line of %s", roundTrip)
	}
	playbook := []string{"/usr/bin/ansible-playbook", "-i", "/root/hosts", "-f", fmt.Sprint(fleetParallel), "/root/play.yml"}
	converge := []string{"/opt/lvsfleet", "converge", "/root/fleet.hcl"}
	// What is first is so only once: each tool gets hosts of its own.
	if f.ansible {
		if err := s.fleetBuild(f); err != nil {
			return err
		}
		if err := s.once(f, what, "Ansible, first run", playbook); err != nil {
			return err
		}
	}
	if err := s.fleetBuild(f); err != nil {
		return err
	}
	if err := s.once(f, what, "lvsfleet, first converge, agent pushed", converge); err != nil {
		return err
	}
	each := fmt.Sprintf("xargs -P %d -I N ssh -F /root/ssh_config %%s N true < /root/list", fleetParallel)
	ways := []way{
		{"lvsfleet, nothing to do", converge, fleetRounds},
		{"ssh HOST true, default key exchange", []string{"/bin/sh", "-c", fmt.Sprintf(each, "")}, fleetRounds},
		{"ssh HOST true, curve25519", []string{"/bin/sh", "-c", fmt.Sprintf(each, "-o KexAlgorithms=curve25519-sha256")}, fleetRounds},
		{"a bare Go client running true", nil, fleetRounds},
	}
	if f.ansible {
		ways = append(ways, way{"Ansible, nothing to do", playbook, ansibleRounds})
	}
	took := make([][]usage, len(ways))
	for round := range fleetRounds {
		for i, w := range ways {
			if round >= w.rounds {
				continue
			}
			u, err := s.run(f, w.argv)
			if err != nil {
				return fmt.Errorf("%s: %s: %w", what, w.name, err)
			}
			took[i] = append(took[i], u)
		}
	}
	for i, w := range ways {
		slices.SortFunc(took[i], func(a, b usage) int { return int(a.wall - b.wall) })
		s.show(f, what, fmt.Sprintf("%s (median of %d)", w.name, len(took[i])), took[i][len(took[i])/2])
	}
	return nil
}

func (s *suite) once(f measured, what, name string, argv []string) error {
	u, err := s.run(f, argv)
	if err != nil {
		return fmt.Errorf("%s: %s: %w", what, name, err)
	}
	s.show(f, what, name, u)
	return nil
}

func (s *suite) show(f measured, what, name string, u usage) {
	s.log("%s: %-52s %9.0f ms, client CPU %6.1f ms a host", what, name, ms(u.wall), ms(u.cpu)/float64(f.hosts))
}

// pivot puts root in the place of /, with this machine's /usr and /dev in it.
func pivot(root string) error {
	for _, m := range []struct {
		from, to, kind string
		flags          uintptr
	}{
		{"", "/", "", unix.MS_REC | unix.MS_PRIVATE},
		{root, root, "", unix.MS_BIND},
		{"/usr", root + "/usr", "", unix.MS_BIND},
		{"/dev", root + "/dev", "", unix.MS_BIND | unix.MS_REC},
		{"proc", root + "/proc", "proc", 0},
		{"sysfs", root + "/sys", "sysfs", 0},
		{"tmpfs", root + "/lab", "tmpfs", 0},
		{"tmpfs", root + "/run", "tmpfs", 0},
		{"tmpfs", root + "/tmp", "tmpfs", 0},
	} {
		if err := unix.Mount(m.from, m.to, m.kind, m.flags, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.to, err)
		}
	}
	if err := unix.PivotRoot(root, root+"/old"); err != nil {
		return fmt.Errorf("pivot: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	if err := unix.Unmount("/old", unix.MNT_DETACH); err != nil {
		return err
	}
	return os.MkdirAll("/run/sshd", 0o755)
}

// fleetBuild boots the hosts, anew, and writes what the controller needs.
func (s *suite) fleetBuild(f measured) error {
	s.fabric.Clear()
	var site, hosts, list strings.Builder
	site.WriteString("ssh {\n  identity_file = \"/etc/lab/user_key\"\n  known_hosts   = \"/root/known_hosts\"\n}\n\n" +
		"role \"web\" {\n  gateway    = \"192.168.0.252\"\n  ip_forward = true\n}\n")
	specs := []fabric.Spec{plain("controller", card("mgmt0", "mgmt", management+".1/24"))}
	for i := range f.hosts {
		name := fmt.Sprintf("rs%d", 2+i)
		own := fmt.Sprintf("192.168.0.%d/24", 2+i)
		h := managed(name, "linux", "", 2+i, card("eth0", "lan", own))
		h.Web = false
		specs = append(specs, h)
		fmt.Fprintf(&site, "\nhost %q {\n  os      = \"linux\"\n  roles   = [\"web\"]\n  address = %q\n  interface \"eth0\" { address = %q }\n}\n", name, f.addr(i), own)
		fmt.Fprintf(&hosts, "%s ansible_python_interpreter=/usr/bin/python3\n", f.addr(i))
		fmt.Fprintln(&list, f.addr(i))
	}
	var names []string
	for _, h := range specs {
		for _, l := range h.Links {
			if err := s.fabric.Segment(l.Segment); err != nil {
				return err
			}
		}
		if err := s.fabric.Add(h); err != nil {
			return err
		}
		names = append(names, h.Name)
	}
	for part := range slices.Chunk(names, 8) {
		if err := s.fabric.All(part, s.fabric.Boot); err != nil {
			return err
		}
	}
	known, err := os.ReadFile("/etc/lab/known_hosts")
	if err != nil {
		return err
	}
	sshConfig := "Host *\n  User root\n  IdentityFile /etc/lab/user_key\n  UserKnownHostsFile /root/known_hosts\n  BatchMode yes\n"
	for name, text := range map[string]string{
		"fleet.hcl": site.String(), "hosts": hosts.String(), "list": list.String(), "ssh_config": sshConfig,
		"known_hosts": "127.1.0.*," + string(known),
		"ansible.cfg": "[defaults]\ngathering = explicit\n[ssh_connection]\npipelining = True\nssh_args = -F /root/ssh_config -o ControlMaster=auto -o ControlPersist=60s\n",
		"play.yml":    playbook,
	} {
		if err := s.site(name, text); err != nil {
			return err
		}
	}
	if !f.slow {
		return nil
	}
	for i := range f.hosts {
		if err := s.slowLine("controller", f.addr(i)+":22", f.direct(i)+":22"); err != nil {
			return err
		}
	}
	return nil
}

// playbook is what the site says, in Ansible's words.
const playbook = `- hosts: all
  gather_facts: false
  tasks:
    - name: forwarding, live
      ansible.builtin.command: sysctl -w net.ipv4.ip_forward=1
      changed_when: false
    - name: forwarding, at boot
      ansible.builtin.lineinfile:
        path: /etc/sysctl.conf
        regexp: '^net.ipv4.ip_forward'
        line: net.ipv4.ip_forward = 1
    - name: default route, live
      ansible.builtin.command: ip route replace default via 192.168.0.252
      changed_when: false
    - name: default route, at boot
      ansible.builtin.lineinfile:
        path: /etc/sysconfig/network
        regexp: '^GATEWAY='
        line: GATEWAY=192.168.0.252
`

// usage is what a command took on the client's side.
type usage struct{ wall, cpu time.Duration }

// run runs a command on the controller, or the bare client.
func (s *suite) run(f measured, argv []string) (usage, error) {
	if argv == nil {
		return s.bare(f)
	}
	cmd, err := s.fabric.Command("controller", argv...)
	if err != nil {
		return usage{}, err
	}
	cmd.Env = append(cmd.Env, "ANSIBLE_CONFIG=/root/ansible.cfg", "LC_ALL=C.UTF-8")
	begun := time.Now()
	out, err := cmd.CombinedOutput()
	u := usage{wall: time.Since(begun)}
	if err != nil {
		return u, fmt.Errorf("%s: %w\n%s", filepath.Base(argv[0]), err, out[max(0, len(out)-3000):])
	}
	u.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return u, nil
}

// bare connects to every host with Go's SSH client and runs true.
func (s *suite) bare(f measured) (usage, error) {
	text, err := os.ReadFile("/etc/lab/user_key")
	if err != nil {
		return usage{}, err
	}
	key, err := ssh.ParsePrivateKey(text)
	if err != nil {
		return usage{}, err
	}
	hostText, err := os.ReadFile("/etc/lab/host_key")
	if err != nil {
		return usage{}, err
	}
	hostKey, err := ssh.ParsePrivateKey(hostText)
	if err != nil {
		return usage{}, err
	}
	config := &ssh.ClientConfig{User: "root", Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, HostKeyCallback: ssh.FixedHostKey(hostKey.PublicKey())}
	var before, after unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &before); err != nil {
		return usage{}, err
	}
	begun := time.Now()
	errs := make([]error, f.hosts)
	room := make(chan struct{}, fleetParallel)
	var wg sync.WaitGroup
	for i := range f.hosts {
		wg.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			errs[i] = s.bareOne(f.addr(i)+":22", config)
		})
	}
	wg.Wait()
	u := usage{wall: time.Since(begun)}
	if err := unix.Getrusage(unix.RUSAGE_SELF, &after); err != nil {
		return usage{}, err
	}
	u.cpu = time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
	return u, errors.Join(errs...)
}

func (s *suite) bareOne(addr string, config *ssh.ClientConfig) error {
	conn, err := s.fabric.Dial("controller", addr, 30*time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	c, chans, reqs, err := ssh.NewClientConn(conn, addr, config)
	if err != nil {
		return err
	}
	client := ssh.NewClient(c, chans, reqs)
	defer client.Close()
	session, err := client.NewSession()
	if err != nil {
		return err
	}
	return session.Run("true")
}
