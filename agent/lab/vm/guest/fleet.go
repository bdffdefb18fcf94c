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
	fleetHosts    = 50
	fleetParallel = 32 // lvsfleet's default
	fleetRounds   = 5
)

// fleet measures a fleet in the namespaces that this process is the first in,
// with root in the place of /.
func fleet(root string) error {
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
	if err := s.fleetBuild(); err != nil {
		return err
	}
	s.log("%d hosts are up, %d at a time", fleetHosts, fleetParallel)
	converge := []string{"/opt/lvsfleet", "converge", "/root/fleet.hcl"}
	if _, err := s.timed("lvsfleet, first converge (agent pushed)", converge); err != nil {
		return err
	}
	loop := fmt.Sprintf("seq 101 %d | xargs -P %d -I N ssh -F /root/ssh_config %%s %s.N true", 100+fleetHosts, fleetParallel, management)
	ways := []struct {
		name string
		argv []string
		runs int
	}{
		{"lvsfleet, nothing to do", converge, fleetRounds},
		{"ssh HOST true, default key exchange", []string{"/bin/sh", "-c", fmt.Sprintf(loop, "")}, fleetRounds},
		{"ssh HOST true, curve25519", []string{"/bin/sh", "-c", fmt.Sprintf(loop, "-o KexAlgorithms=curve25519-sha256")}, fleetRounds},
		{"a bare Go client running true", nil, fleetRounds},
		{"Ansible, nothing to do", []string{"/usr/bin/ansible-playbook", "-i", "/root/hosts", "-f", fmt.Sprint(fleetParallel), "/root/play.yml"}, 2},
	}
	took := make([][]usage, len(ways))
	for round := range fleetRounds {
		for i, w := range ways {
			if round >= w.runs {
				continue
			}
			var u usage
			var err error
			if w.argv == nil {
				u, err = s.bare()
			} else {
				u, err = s.timed("", w.argv)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
			took[i] = append(took[i], u)
		}
	}
	for i, w := range ways {
		slices.SortFunc(took[i], func(a, b usage) int { return int(a.wall - b.wall) })
		u := took[i][len(took[i])/2]
		s.log("%-38s %9.0f ms, client CPU %6.1f ms a host (median of %d)", w.name, ms(u.wall), ms(u.cpu)/fleetHosts, len(took[i]))
	}
	return nil
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

// fleetBuild boots the hosts and writes what the controller needs.
func (s *suite) fleetBuild() error {
	var site, hosts strings.Builder
	site.WriteString("ssh {\n  identity_file = \"/etc/lab/user_key\"\n  known_hosts   = \"/etc/lab/known_hosts\"\n}\n\n" +
		"role \"web\" {\n  gateway    = \"192.168.0.252\"\n  ip_forward = true\n}\n")
	specs := []fabric.Spec{plain("controller", card("mgmt0", "mgmt", management+".1/24"))}
	for i := range fleetHosts {
		n := 101 + i
		name := fmt.Sprintf("rs%d", n)
		h := managed(name, "linux", "", n, card("eth0", "lan", fmt.Sprintf("192.168.0.%d/24", n)))
		h.Web = false
		specs = append(specs, h)
		fmt.Fprintf(&site, "\nhost %q {\n  os      = \"linux\"\n  roles   = [\"web\"]\n  address = \"%s.%d\"\n  interface \"eth0\" { address = \"192.168.0.%d/24\" }\n}\n", name, management, n, n)
		fmt.Fprintf(&hosts, "%s.%d ansible_python_interpreter=/usr/bin/python3\n", management, n)
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
	sshConfig := "Host *\n  User root\n  IdentityFile /etc/lab/user_key\n  UserKnownHostsFile /etc/lab/known_hosts\n  BatchMode yes\n"
	for name, text := range map[string]string{
		"fleet.hcl": site.String(), "hosts": hosts.String(), "ssh_config": sshConfig,
		"ansible.cfg": "[defaults]\ngathering = explicit\n[ssh_connection]\npipelining = True\nssh_args = -F /root/ssh_config -o ControlMaster=auto -o ControlPersist=60s\n",
		"play.yml":    playbook,
	} {
		if err := s.site(name, text); err != nil {
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

// timed runs a command on the controller.
func (s *suite) timed(name string, argv []string) (usage, error) {
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
	if name != "" {
		s.log("%-38s %9.0f ms, client CPU %6.1f ms a host", name, ms(u.wall), ms(u.cpu)/fleetHosts)
	}
	return u, nil
}

// bare connects to every host with Go's SSH client and runs true.
func (s *suite) bare() (usage, error) {
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
	errs := make([]error, fleetHosts)
	room := make(chan struct{}, fleetParallel)
	var wg sync.WaitGroup
	for i := range fleetHosts {
		wg.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			errs[i] = s.bareOne(fmt.Sprintf("%s.%d:22", management, 101+i), config)
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
