//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/lvsfleet/lvsfleet/agent/lab/vm/fabric"
)

// director is a director alone: its real servers are in the inventory and
// nowhere else.
func director() cluster {
	lb := managed("lb", "linux", "", 254, card("eth0", "pool", "10.1.0.254/16"))
	return cluster{name: "ipvs", vip: "10.2.0.1", seg: "pool", lb: "eth0", hosts: []fabric.Spec{lb}}
}

// tables makes the checks of the IPVS table.
func (s *suite) tables() {
	name := func(text string) string { return "ipvs: " + text }
	c := director()
	want, err := sites.ReadFile("sites/ipvs.rules")
	if err != nil || !s.check(name("the director boots"), func() error {
		if err := s.build(c); err != nil {
			return err
		}
		_, err := s.fabric.Run("lb", "ip", "-6", "addr", "add", "fd00:1::fe/64", "dev", "eth0", "nodad")
		return err
	}) {
		return
	}
	only := []string{"/root/ipvs.hcl", "--limit", "lb"}
	foreign := "-A -t 10.9.9.9:99 -s rr\n-a -t 10.9.9.9:99 -r 10.1.0.1:99 -m -w 5\n"
	s.check(name("every attribute reads back from ipvsadm -Sn as it was meant"), func() error {
		// The real servers are nobody's: a run with a limit names none that no
		// director named before. So all of it is there, and otherwise.
		if err := s.restore("-n", otherwise(string(want))+foreign); err != nil {
			return err
		}
		if _, err := s.exits(0, append([]string{"converge"}, only...)...); err != nil {
			return err
		}
		return s.reads(string(want) + foreign)
	})
	s.check(name("thresholds read back from ipvsadm -Ln --thresholds"), s.thresholds)
	s.check(name("nothing differs"), func() error {
		_, err := s.exits(0, append([]string{"diff"}, only...)...)
		return err
	})
	s.check(name("nothing differs without the agent, through ipvsadm"), func() error {
		_, err := s.exits(0, append([]string{"diff", "--var", "agent=false"}, only...)...)
		return err
	})
	s.check(name("a table made by ipvsadm by hand has no difference"), func() error {
		if err := s.restore("-C", string(want)+foreign); err != nil {
			return err
		}
		for _, line := range limits {
			if _, err := s.fabric.Run("lb", append([]string{"ipvsadm"}, strings.Fields(line)...)...); err != nil {
				return err
			}
		}
		_, err := s.exits(0, append([]string{"diff"}, only...)...)
		return err
	})
	for _, way := range []struct{ name, agent string }{{"the agent", "agent=true"}, {"ipvsadm", "agent=false"}} {
		s.check(name("what a hand has changed is found, and mended by "+way.name), func() error {
			if err := s.restore("-n", tampering); err != nil {
				return err
			}
			out, err := s.exits(2, append([]string{"diff", "--var", way.agent}, only...)...)
			if err != nil {
				return err
			}
			for _, line := range tampered {
				if !strings.Contains(out, line) {
					return fmt.Errorf("diff does not say %q:\n%s", line, out)
				}
			}
			for line := range strings.Lines(out) {
				if t := strings.TrimSpace(line); (strings.HasPrefix(t, "+-") || strings.HasPrefix(t, "--a") || strings.HasPrefix(t, "--A")) && !slices.Contains(tampered, t) {
					return fmt.Errorf("diff says %q as well:\n%s", t, out)
				}
			}
			if _, err := s.exits(0, append([]string{"converge", "--var", way.agent}, only...)...); err != nil {
				return err
			}
			if err := s.thresholds(); err != nil {
				return err
			}
			// What was deleted is in force nowhere, and cannot be proved: it is
			// held, and put back by hand.
			left := string(want)
			for line := range strings.Lines(held) {
				left = strings.ReplaceAll(left, line, "")
			}
			if err := s.reads(left + foreign); err != nil {
				return err
			}
			return s.restore("-n", held)
		})
	}
	if s.wants("large") {
		s.large(name)
	}
	s.check(name("the director could do its part"), faultless)
}

// limits are the thresholds of the site, which ipvsadm -S does not print.
var limits = [2]string{
	"-e -t 10.2.0.1:2000 -r 10.1.0.1:2000 -m -w 1 -x 100 -y 50",
	"-e -t 10.2.0.1:2000 -r 10.1.0.2:2000 -m -w 1 -x 70000",
}

// tampering is what a hand changes, and tampered how diff must show it.
const tampering = `-E -t 10.2.0.1:1001 -s rr
-e -t 10.2.0.1:1002 -r 10.1.0.1:1002 -m -w 5
-d -t 10.2.0.1:1003 -r 10.1.0.2:1003
-a -t 10.2.0.1:1004 -r 10.1.0.9:1004 -m -w 1
-D -u 10.2.0.1:53
-E -t 10.2.0.1:2001 -s rr -p 60
`

// held are the entries of real servers that tampering takes away.
const held = `-a -t 10.2.0.1:1003 -r 10.1.0.2:1003 -m -w 1
-a -u 10.2.0.1:53 -r 10.1.0.1:53 -m -w 1
-a -u 10.2.0.1:53 -r 10.1.0.2:53 -m -w 1
`

// otherwise gives rules with the same services and real servers, of which all else
// differs: schedulers, their flags, persistence where it need not be, and weights.
func otherwise(rules string) string {
	var b strings.Builder
	for line := range strings.Lines(rules) {
		words := strings.Fields(line)
		if len(words) < 3 {
			continue
		}
		key := words[:3] // -A -t ADDRESS:PORT
		if len(words) > 3 && words[3] == "-6" {
			key = words[:4]
		}
		switch words[0] {
		case "-A":
			scheduler := "rr"
			if i := slices.Index(words, "-s"); i >= 0 && words[i+1] == "rr" {
				scheduler = "wlc"
			}
			fmt.Fprint(&b, strings.Join(key, " "), " -s ", scheduler)
			if strings.HasSuffix(key[2], ":0") {
				fmt.Fprint(&b, " -p 77") // every port goes with persistence alone
			}
			fmt.Fprintln(&b)
		case "-a":
			i := slices.Index(words, "-w")
			fmt.Fprintln(&b, strings.Join(words[:i], " "), "-w 9")
		}
	}
	return b.String()
}

var tampered = []string{
	"--A -t 10.2.0.1:1001 -s rr", "+-A -t 10.2.0.1:1001 -s wrr",
	"--a -t 10.2.0.1:1002 -r 10.1.0.1:1002 -m -w 5", "+-a -t 10.2.0.1:1002 -r 10.1.0.1:1002 -m -w 1",
	"+-a -t 10.2.0.1:1003 -r 10.1.0.2:1003 -m -w 1",
	"--a -t 10.2.0.1:1004 -r 10.1.0.9:1004 -m -w 1",
	"+-A -u 10.2.0.1:53 -s rr -o", "+-a -u 10.2.0.1:53 -r 10.1.0.1:53 -m -w 1", "+-a -u 10.2.0.1:53 -r 10.1.0.2:53 -m -w 1",
	"--A -t 10.2.0.1:2001 -s rr -p 60", "+-A -t 10.2.0.1:2001 -s rr -p 300 -M 255.255.255.0",
}

// restore loads rules with ipvsadm by hand; how "-C" empties the table first.
func (s *suite) restore(how, rules string) error {
	if how == "-C" {
		if _, err := s.fabric.Run("lb", "ipvsadm", "-C"); err != nil {
			return err
		}
	}
	cmd, err := s.fabric.Command("lb", "ipvsadm", "-R")
	if err != nil {
		return err
	}
	cmd.Stdin = strings.NewReader(rules)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ipvsadm -R: %w\n%s", err, out)
	}
	return nil
}

// reads compares the table, as ipvsadm -Sn prints it, with the rules in want,
// in whatever order. ipvsadm prints a mark as a signed number, and names the
// type of a tunnel that is the default (ipvsadm 1.31).
func (s *suite) reads(want string) error {
	out, err := s.fabric.Run("lb", "ipvsadm", "-Sn")
	if err != nil {
		return err
	}
	sorted := func(text string) []string {
		var list []string
		for line := range strings.Lines(text) {
			line = strings.TrimSuffix(strings.TrimSpace(line), " --tun-type ipip")
			line = strings.Replace(line, "-f -1 ", "-f 4294967295 ", 1)
			if line != "" {
				list = append(list, line)
			}
		}
		slices.Sort(list)
		return list
	}
	have, wanted := sorted(out), sorted(want)
	var errs []error
	for _, line := range wanted {
		if !slices.Contains(have, line) {
			errs = append(errs, fmt.Errorf("not there: %s", line))
		}
	}
	for _, line := range have {
		if !slices.Contains(wanted, line) {
			errs = append(errs, fmt.Errorf("there:     %s", line))
		}
	}
	return errors.Join(errs...)
}

func (s *suite) thresholds() error {
	out, err := s.fabric.Run("lb", "ipvsadm", "-Ln", "--thresholds")
	if err != nil {
		return err
	}
	text := strings.Join(strings.Fields(out), " ")
	for _, want := range []string{"10.1.0.1:2000 100 50 ", "10.1.0.2:2000 70000 0 "} {
		if !strings.Contains(text, want) {
			return fmt.Errorf("%q is not there:\n%s", want, out)
		}
	}
	return nil
}

// The large table: a site with 2,284 services and 37,298 real servers in them.
const (
	sixteen   = 1530 // services with 16 real servers
	seventeen = 754  // services with 17
	services  = sixteen + seventeen
	entries   = 16*sixteen + 17*seventeen
)

// large applies the large table with lvsfleet and with ipvsadm -R.
func (s *suite) large(name func(string) string) {
	const site = "/root/large.hcl"
	only := []string{site, "--limit", "lb"}
	count := func() error {
		out, err := s.fabric.Run("lb", "ipvsadm", "-Sn")
		if err != nil {
			return err
		}
		if a, r := strings.Count(out, "-A "), strings.Count(out, "-a "); a != services || r != entries {
			return fmt.Errorf("the table has %d services with %d real servers, want %d with %d", a, r, services, entries)
		}
		return nil
	}
	s.check(name(fmt.Sprintf("%d services with %d real servers get other schedulers and weights", services, entries)), func() error {
		if err := s.site("large.hcl", largeSite()); err != nil {
			return err
		}
		rules, err := s.measure("lvsfleet render", "controller", []string{"/bin/lvsfleet", "render", site, "--limit", "lb", "--out", "/root/large"}, "")
		if err != nil {
			return err
		}
		text, err := s.fabric.Run("controller", "cat", "/root/large/lb.ipvs")
		if err != nil {
			return fmt.Errorf("%w\n%s", err, rules)
		}
		// As above: real servers that no director named before are not named by a
		// run with a limit.
		if err := s.restore("-C", otherwise(text)); err != nil {
			return err
		}
		if _, err := s.measure("lvsfleet converge (first)", "controller", append([]string{"/bin/lvsfleet", "converge"}, only...), ""); err != nil {
			return err
		}
		return count()
	})
	s.check(name("and nothing differs then"), func() error {
		_, err := s.measure("lvsfleet diff (nothing to do)", "controller", append([]string{"/bin/lvsfleet", "diff"}, only...), "")
		return err
	})
	s.check(name("ipvsadm does the same, for comparison"), func() error {
		rules, err := s.measure("ipvsadm -Sn", "lb", []string{"ipvsadm", "-Sn"}, "")
		if err != nil {
			return err
		}
		if _, err := s.fabric.Run("lb", "ipvsadm", "-C"); err != nil {
			return err
		}
		if _, err := s.measure("ipvsadm -R", "lb", []string{"ipvsadm", "-R"}, rules); err != nil {
			return err
		}
		return count()
	})
	s.check(name("what ipvsadm -R has loaded does not differ"), func() error {
		_, err := s.exits(0, append([]string{"diff"}, only...)...)
		return err
	})
}

// measure runs a command and shows how long it took and how much memory it
// and, where there is one, the agent had.
func (s *suite) measure(what, host string, argv []string, stdin string) (string, error) {
	cmd, err := s.fabric.Command(host, argv...)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &out
	stop, peak := make(chan struct{}), make(chan int)
	go func() { peak <- agentPeak(stop) }()
	begun := time.Now()
	err = cmd.Run()
	took := time.Since(begun)
	close(stop)
	agent := <-peak
	if err != nil {
		text := out.String()
		return "", fmt.Errorf("%s: %w\n%s", what, err, text[max(0, len(text)-2000):])
	}
	line := fmt.Sprintf("%-30s %6.2f s, %3d MiB", what, took.Seconds(), cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss>>10)
	if agent > 0 {
		line += fmt.Sprintf(", the agent %d MiB", agent>>10)
	}
	s.log("%s", line)
	return out.String(), nil
}

// agentPeak looks for agents until told to stop, and gives the most memory
// that one had, in KiB.
func agentPeak(stop <-chan struct{}) (most int) {
	for {
		select {
		case <-stop:
			return most
		case <-time.After(200 * time.Millisecond):
		}
		dirs, err := filepath.Glob("/proc/[0-9]*/comm")
		if err != nil {
			continue
		}
		for _, at := range dirs {
			comm, err := os.ReadFile(at)
			if err != nil || !strings.HasPrefix(string(comm), "agent") && !strings.HasPrefix(string(comm), "lvsfleet-agent") {
				continue
			}
			status, err := os.ReadFile(filepath.Dir(at) + "/status")
			if err != nil {
				continue
			}
			_, rest, _ := strings.Cut(string(status), "VmHWM:")
			if f := strings.Fields(rest); len(f) > 0 {
				if n, err := strconv.Atoi(f[0]); err == nil {
					most = max(most, n)
				}
			}
		}
	}
}

// largeSite is the inventory of the large table.
func largeSite() string {
	var b strings.Builder
	b.WriteString(`ssh {
  identity_file   = "/etc/lab/user_key"
  known_hosts     = "/etc/lab/known_hosts"
  connect_timeout = 60
}

role "director" {}
role "sixteen" {}
role "seventeen" {}

host "lb" {
  os      = "linux"
  roles   = ["director"]
  address = "10.99.0.254"
  interface "eth0" { address = "10.1.0.254/16" }
}
`)
	for i := range 17 {
		roles := `"sixteen", "seventeen"`
		if i == 16 {
			roles = `"seventeen"`
		}
		fmt.Fprintf(&b, "\nhost \"r%d\" {\n  os = \"linux\"\n  roles = [%s]\n  address = \"10.99.1.%d\"\n  interface \"eth0\" { address = \"10.1.0.%d/16\" }\n}\n", i+1, roles, i+1, i+1)
	}
	for _, p := range []struct {
		pool, vip string
		n         int
	}{{"sixteen", "10.2.0.16", sixteen}, {"seventeen", "10.2.0.17", seventeen}} {
		list := make([]string, p.n)
		for i := range list {
			list[i] = strconv.Itoa(i + 1)
		}
		fmt.Fprintf(&b, "\nvirtual_service \"%s\" {\n  director = \"director\"\n  pool = \"%s\"\n  address = \"%s\"\n  vip = \"foreign\"\n  ports = [%s]\n  scheduler = \"wrr\"\n  method = \"dr\"\n}\n",
			p.pool, p.pool, p.vip, strings.Join(list, ", "))
	}
	return b.String()
}
