//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// all makes every check that was asked for.
func (s *suite) all() {
	for _, c := range clusters() {
		if s.wants(c.name) {
			s.cluster(c)
		}
	}
	if s.wants("transaction") {
		s.transactions()
	}
	if s.wants("kernel") {
		s.kernel()
	}
	if s.wants("ipvs") {
		s.tables()
	}
	if s.wants("become") {
		s.becoming()
	}
	if slices.Contains(s.parts, "speed") { // a measurement, no part of "all"
		s.speed()
	}
	s.fabric.Clear()
}

// kernel runs the tests of the packages that talk to the kernel.
func (s *suite) kernel() {
	for _, t := range []struct{ name, program string }{
		{"the IPVS table, by netlink, getsockopt and ipvsadm", "ipvs"},
		{"the proof of a datapath", "verify"},
	} {
		s.check("kernel: "+t.name, func() error {
			if out, err := exec.Command("modprobe", "-a", "ip_vs", "ipip").CombinedOutput(); err != nil {
				return fmt.Errorf("modprobe: %w: %s", err, out)
			}
			cmd := exec.Command("/bin/"+t.program+".test", "-test.v", "-test.run", "RunningKernel",
				"-test.skip", "RunningKernel/ipvsadm/a_large_table") // one process for each entry
			cmd.Env = append(os.Environ(), "LVSFLEET_REAL_KERNEL=1")
			out, err := cmd.CombinedOutput()
			if err == nil && !strings.Contains(string(out), "--- PASS: ") {
				err = errors.New("no test was run")
			}
			if err != nil {
				return fmt.Errorf("%w\n%s", err, out)
			}
			s.log("%d tests", strings.Count(string(out), "--- PASS: "))
			return nil
		})
	}
}

// lvsfleet runs the real program on the controller.
func (s *suite) lvsfleet(args ...string) (out string, exit int, err error) {
	cmd, err := s.fabric.Command("controller", append([]string{"/bin/lvsfleet"}, args...)...)
	if err != nil {
		return "", 0, err
	}
	text, err := cmd.CombinedOutput()
	var status *exec.ExitError
	if errors.As(err, &status) {
		return string(text), status.ExitCode(), nil
	}
	return string(text), 0, err
}

// exits runs lvsfleet and wants that exit status.
func (s *suite) exits(want int, args ...string) (string, error) {
	out, exit, err := s.lvsfleet(args...)
	if err != nil {
		return out, err
	}
	if exit != want {
		return out, fmt.Errorf("lvsfleet %s: exit %d, want %d\n%s", strings.Join(args, " "), exit, want, out)
	}
	return out, nil
}

// converge makes the cluster so, and shows what was said.
func (s *suite) converge(args ...string) error {
	out, err := s.exits(0, append([]string{"converge"}, args...)...)
	if err == nil {
		s.log("%s", out)
	}
	return err
}

// unchanged converges a cluster in which nothing is to be done.
func (s *suite) unchanged(site string) error {
	out, err := s.exits(0, "converge", site, "--json")
	if err != nil {
		return err
	}
	for line := range strings.Lines(out) {
		var r struct{ Host, Status string }
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			continue // a warning on standard error
		}
		if r.Status != "unchanged" {
			return fmt.Errorf("%s is %s:\n%s", r.Host, r.Status, out)
		}
	}
	return nil
}

// same makes sure that nothing differs.
func (s *suite) same(site string) error {
	_, err := s.exits(0, "diff", site)
	return err
}

// faultless makes sure that no host had trouble with its part.
func faultless() error {
	text, err := os.ReadFile(faults)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.New(string(text))
}

// reboot takes the power of every managed host, and boots them again.
func (s *suite) reboot(c cluster) error {
	if err := s.fabric.All(c.servers(), s.fabric.Cut); err != nil {
		return err
	}
	return s.fabric.All(c.servers(), s.fabric.Boot)
}

// cluster makes the checks of one cluster.
func (s *suite) cluster(c cluster) {
	name := func(text string) string { return c.name + ": " + text }
	site := "/root/" + c.name + ".hcl"
	if !s.check(name("the hosts boot"), func() error { return s.build(c) }) {
		return
	}
	watch := s.ask(c.vip)
	ok := s.check(name("converge"), func() error { return s.converge(site) })
	s.check(name("nobody but the director answered ARP for the VIP meanwhile"), func() error {
		macs, asked, err := watch.end()
		if err != nil {
			return err
		}
		s.log("asked %d times, answered by %v", asked, macs)
		if !slices.Equal(macs, []string{c.mac()}) {
			return fmt.Errorf("%s was answered for by %v, want %s alone", c.vip, macs, c.mac())
		}
		return nil
	})
	if !ok {
		return
	}
	s.check(name("40 fetches are served as the weights say"), func() error { return s.shares(c) })
	passes := "answers do not pass the director"
	if !c.direct {
		passes = "answers pass the director"
	}
	s.check(name(passes), func() error { return s.passing(c) })
	s.check(name("exactly one Ethernet address answers for the VIP"), func() error { return s.alone(c) })
	s.check(name("a second converge does nothing"), func() error { return s.unchanged(site) })
	if s.check(name("every host reboots"), func() error { return s.reboot(c) }) {
		s.check(name("after the reboot, 40 fetches are served as the weights say"), func() error {
			err := s.shares(c)
			if err != nil {
				text, _ := s.fabric.Run("lb", "cat", "/var/log/boot.log", "/etc/sysconfig/ipvsadm")
				err = fmt.Errorf("%w\n%s", err, text)
			}
			return err
		})
		s.check(name("after the reboot, exactly one Ethernet address answers for the VIP"), func() error { return s.alone(c) })
		s.check(name("after the reboot, nothing differs"), func() error { return s.same(site) })
	}
	if s.wants("mistakes") {
		s.mistaken(c, name)
	}
	if s.wants("download") || s.wants("download-"+c.name) {
		s.downloading(c, name)
	}
	s.check(name("every stand-in could do its part"), faultless)
}
