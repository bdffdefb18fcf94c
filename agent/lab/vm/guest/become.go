//go:build linux

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/creack/pty"

	"github.com/lvsfleet/lvsfleet/agent/lab/vm/fabric"
)

// becoming makes the checks of a login that is not root's, on hosts with a real
// sudo: a director and a real server.
func (s *suite) becoming() {
	name := func(text string) string { return "become: " + text }
	const site = "/root/become.hcl"
	var c cluster
	for _, c = range clusters() {
		if c.name == "dr" {
			break
		}
	}
	c.hosts = slices.DeleteFunc(c.hosts, func(h fabric.Spec) bool { return h.Name == "rs170" || h.Name == "rs180" })
	c.share = map[string]int{"rs160": fetches}
	if !s.check(name("the hosts boot"), func() error { return s.build(c) }) {
		return
	}
	if !s.check(name("converge by a login that is not root's"), func() error { return s.converge(site) }) {
		return
	}
	s.check(name("40 fetches are served"), func() error { return s.shares(c) })
	s.check(name("a second converge does nothing"), func() error { return s.unchanged(site) })
	s.check(name("a wrong password of sudo's changes nothing"), func() error { return s.wrongPassword(c, site) })
	s.check(name("converge by a sudo that asks for a password, on a terminal"), func() error { return s.withPassword(c, site) })
	s.check(name("nobody but root can read what is left on the hosts"), func() error {
		for _, host := range c.servers() {
			out, err := s.fabric.Run(host, "ls", "-ldn", "/var/lib/lvsfleet")
			if err != nil {
				return err
			}
			if f := strings.Fields(out); len(f) < 4 || f[0] != "drwx------" || f[2] != "0" || f[3] != "0" {
				return fmt.Errorf("%s: %s", host, out)
			}
			strays, err := s.fabric.Run(host, "find", "/tmp", "/var", "/etc", "-user", "ops")
			if err != nil {
				return err
			}
			if strays != "" {
				return fmt.Errorf("%s: of the login's own there is\n%s", host, strays)
			}
		}
		return nil
	})
}

// sudoPassword is that of ops, where sudo asks for one; shadowed is it in a
// shadow(5) of crypt(3).
const (
	sudoPassword = `xyzzy $x !1`
	shadowed     = `ops:$6$lvsfleet$dLEekK3MwSSdkpBZeGBC4gEV5vIZZ4ftniOArFNXzPXYVa388aOh69s0/lTzCUXAdy1tLRL9ExoGnyZATqWSM.:20000::::::`
)

// wrongPassword has the hosts' sudo ask for a password from now on, mars a
// setting, and gives a wrong password.
func (s *suite) wrongPassword(c cluster, site string) error {
	for _, host := range c.servers() {
		for _, f := range []struct {
			name, text string
			mode       fs.FileMode
		}{
			{"sudoers", "Defaults secure_path=\"/usr/sbin:/usr/bin:/sbin:/bin\"\nroot ALL=(ALL) ALL\nops ALL=(ALL) ALL\n", 0o440},
			{"pam.d/sudo", "auth required pam_unix.so\naccount required pam_permit.so\nsession required pam_permit.so\n", 0o644},
			{"shadow", "root:*:20000::::::\n" + shadowed + "\n", 0o600},
		} {
			to := filepath.Join(s.fabric.Dir, host, "etc", f.name)
			if err := os.WriteFile(to, []byte(f.text), f.mode); err != nil {
				return err
			}
		}
	}
	if _, err := s.fabric.Run("rs160", "ip", "addr", "del", "192.168.0.200/32", "dev", "lo"); err != nil {
		return err
	}
	out, exit, err := s.typing("another one", "converge", "--yes", site)
	if err != nil {
		return err
	}
	if exit != 1 || !strings.Contains(out, "wrong password for ops") {
		return fmt.Errorf("exit %d:\n%s", exit, out)
	}
	held, err := s.fabric.Run("rs160", "ip", "-o", "addr", "show", "dev", "lo")
	if err == nil && strings.Contains(held, "192.168.0.200") {
		err = fmt.Errorf("rs160 was changed all the same:\n%s", held)
	}
	return err
}

// withPassword mends the setting with the right password.
func (s *suite) withPassword(c cluster, site string) error {
	out, exit, err := s.typing(sudoPassword, "converge", "--yes", "--allow-outage", site) // it serves alone
	if err != nil {
		return err
	}
	if exit != 0 || strings.Contains(out, sudoPassword) || strings.Count(out, passwordPrompt) != 1 {
		return fmt.Errorf("exit %d:\n%s", exit, out)
	}
	return s.shares(c)
}

// passwordPrompt is what lvsfleet asks at the terminal.
const passwordPrompt = "Password of ops for sudo on "

// typing runs lvsfleet on a terminal of its own, at which the password is typed
// once it is asked for.
func (s *suite) typing(password string, args ...string) (out string, exit int, err error) {
	cmd, err := s.fabric.Command("controller", append([]string{"/bin/lvsfleet"}, args...)...)
	if err != nil {
		return "", 0, err
	}
	cmd.Env = append(cmd.Env, "TERM=xterm")
	keys, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 50, Cols: 200})
	if err != nil {
		return "", 0, err
	}
	defer keys.Close()
	limit := time.AfterFunc(3*time.Minute, func() { _, _ = cmd.Process.Kill(), keys.Close() })
	defer limit.Stop()
	var all strings.Builder
	said := make([]byte, 4096)
	for answered := false; ; {
		n, rerr := keys.Read(said) // until the last one has closed its end: EIO
		all.Write(said[:n])
		if !answered && strings.Contains(all.String(), passwordPrompt) {
			answered = true
			if _, err := keys.WriteString(password + "\n"); err != nil {
				return all.String(), 0, err
			}
		}
		if rerr != nil {
			break
		}
	}
	err = cmd.Wait()
	var status *exec.ExitError
	if errors.As(err, &status) {
		return all.String(), status.ExitCode(), nil
	}
	return all.String(), 0, err
}
