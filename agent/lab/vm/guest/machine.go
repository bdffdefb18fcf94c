//go:build linux

package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"github.com/lvsfleet/lvsfleet/agent/lab/vm/fabric"
)

// machine is the first process of the virtual machine: it makes the checks
// that the kernel's command line names, and powers off.
func machine() {
	s := &suite{begun: time.Now()}
	if err := s.start(); err != nil {
		s.check("start", func() error { return err })
	} else {
		s.all()
	}
	fmt.Printf("%d passed, %d failed\n", s.passed, s.failed)
	unix.Sync()
	time.Sleep(100 * time.Millisecond) // for the serial line
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

// A suite makes checks and counts them.
type suite struct {
	fabric         *fabric.Fabric
	begun          time.Time
	passed, failed int
	parts          []string
}

func (s *suite) log(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	for line := range strings.Lines(text) {
		fmt.Printf("[%6.1f]   %s\n", time.Since(s.begun).Seconds(), strings.TrimRight(line, "\n"))
	}
}

// check makes one check and says whether it holds.
func (s *suite) check(name string, f func() error) bool {
	begun := time.Now()
	err := f()
	if err == nil {
		s.passed++
		fmt.Printf("[%6.1f] PASS %s (%.1fs)\n", time.Since(s.begun).Seconds(), name, time.Since(begun).Seconds())
		return true
	}
	s.failed++
	fmt.Printf("[%6.1f] FAIL %s (%.1fs)\n", time.Since(s.begun).Seconds(), name, time.Since(begun).Seconds())
	for line := range strings.Lines(err.Error()) {
		fmt.Printf("         | %s\n", strings.TrimRight(line, "\n"))
	}
	return false
}

// wants says whether a part was asked for.
func (s *suite) wants(part string) bool {
	return slices.Contains(s.parts, part) || slices.Contains(s.parts, "all")
}

// start makes the machine fit to live in.
func (s *suite) start() error {
	for _, m := range [][2]string{{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"devpts", "/dev/pts"}, {"tmpfs", "/run"}, {"tmpfs", "/tmp"}} {
		if err := os.MkdirAll(m[1], 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m[0], m[1], m[0], 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s: %w", m[1], err)
		}
	}
	cmdline, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return err
	}
	for _, word := range strings.Fields(string(cmdline)) {
		if list, ok := strings.CutPrefix(word, "lab="); ok {
			s.parts = strings.Split(list, ",")
		}
	}
	if err := os.Setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"); err != nil {
		return err
	}
	if out, err := exec.Command("modprobe", "-a", "veth", "bridge", "dummy").CombinedOutput(); err != nil {
		return fmt.Errorf("modprobe: %w: %s", err, out)
	}
	// New namespaces begin with these (net.core.devconf_inherit_init_net=0);
	// tunl0 of a host is older than its boot scripts, where a real one's is
	// younger and takes what they set.
	if err := fabric.Sysctl("net/ipv4/conf/default/rp_filter", "1"); err != nil {
		return err
	}
	if err := os.MkdirAll("/lab/hosts", 0o755); err != nil {
		return err
	}
	if err := keys(); err != nil {
		return err
	}
	s.fabric = &fabric.Fabric{Self: "/bin/guest", Dir: "/lab/hosts"}
	return nil
}

// keys makes the key of every host and the key of the controller.
func keys() error {
	if err := os.MkdirAll("/root/.ssh", 0o700); err != nil {
		return err
	}
	public := map[string][]byte{}
	for _, name := range []string{"host_key", "user_key"} {
		pub, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return err
		}
		block, err := ssh.MarshalPrivateKey(private, name)
		if err != nil {
			return err
		}
		key, err := ssh.NewPublicKey(pub)
		if err != nil {
			return err
		}
		public[name] = ssh.MarshalAuthorizedKey(key)
		if err := os.WriteFile("/etc/lab/"+name, pem.EncodeToMemory(block), 0o600); err != nil {
			return err
		}
	}
	if err := os.WriteFile("/etc/lab/user_key.pub", public["user_key"], 0o644); err != nil {
		return err
	}
	return os.WriteFile("/etc/lab/known_hosts", []byte(management+".* "+string(public["host_key"])), 0o644)
}
