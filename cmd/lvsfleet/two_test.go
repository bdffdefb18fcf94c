package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/lvsfleet/lvsfleet/agent/lab"
)

// twoSite is a site whose real servers are all to change when the gateway is
// another one.
const twoSite = `
variable "gateway" { default = "192.168.0.252" }
variable "confirm_timeout" { default = 60 }
rollout {
  batch           = ["100%"]
  confirm_timeout = var.confirm_timeout
}
role "director" {}
role "web" { gateway = var.gateway }
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
host "rs170" {
  os      = "freebsd"
  roles   = ["web"]
  address = "192.168.0.170"
  interface "em0" { address = "192.168.0.170/24" }
}
host "rs180" {
  os      = "solaris"
  release = "5.10"
  roles   = ["web"]
  address = "192.168.0.180"
  interface "pcn0" { address = "192.168.0.180/24" }
}
host "rs181" {
  os      = "linux"
  roles   = ["web"]
  address = "192.168.0.181"
  interface "eth0" { address = "192.168.0.181/24" }
}
virtual_service "http" {
  director = "director"
  pool     = "web"
  address  = "192.168.0.200"
  port     = 80
  method   = "dr"
}
`

// twoControllers starts a lab, and gives what runs lvsfleet on it.
func twoControllers(t *testing.T) func(args ...string) *exec.Cmd {
	t.Helper()
	site, labDir, _ := startLab(t)
	return func(args ...string) *exec.Cmd {
		// Each controller remembers for itself: they may be two machines.
		return self(t, "lvsfleet", append([]string{args[0], site, "--lab", labDir, "--state", t.TempDir()}, args[1:]...)...)
	}
}

// startLab starts a lab of twoSite in a process of its own.
func startLab(t *testing.T) (site, labDir string, server *exec.Cmd) {
	t.Helper()
	dir := t.TempDir()
	site, labDir = filepath.Join(dir, "site.hcl"), filepath.Join(dir, "lab")
	if err := os.WriteFile(site, []byte(twoSite), 0o600); err != nil {
		t.Fatal(err)
	}
	server = self(t, "lvsfleet", "lab", site, "--dir", labDir)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Signal(os.Interrupt)
		_ = server.Wait()
	})
	for deadline := time.Now().Add(labDeadline); ; time.Sleep(10 * time.Millisecond) {
		if _, err := lab.Open(labDir); err == nil {
			break
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	return site, labDir, server
}

// A second lab in a folder is refused, and disturbs nothing; what one has left
// that was killed is in nobody's way.
func TestAFolderHasOneLabUntilItsProcessEnds(t *testing.T) {
	site, labDir, server := startLab(t)
	status, out := outcome(self(t, "lvsfleet", "lab", site, "--dir", labDir))
	if want := fmt.Sprintf("a lab runs in %s already, by process %d\n", labDir, server.Process.Pid); status != 1 || !strings.HasSuffix(out, want) {
		t.Errorf("%d %s", status, out)
	}
	if status, out := outcome(self(t, "lvsfleet", "diff", site, "--lab", labDir)); status != 2 {
		t.Errorf("diff on the first: %d %s", status, out)
	}
	if err := server.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = server.Wait() // it was killed
	next := self(t, "lvsfleet", "lab", site, "--dir", labDir)
	said, err := next.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := next.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(labDeadline, func() { _ = next.Process.Kill() })
	defer late.Stop()
	if line, err := bufio.NewReader(said).ReadString('\n'); err != nil || !strings.Contains(line, "5 hosts simulated in "+labDir) {
		t.Errorf("%q, %v", line, err)
	}
	if status, out := outcome(self(t, "lvsfleet", "diff", site, "--lab", labDir)); status != 2 {
		t.Errorf("diff on the next: %d %s", status, out)
	}
	if err := next.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := next.Wait(); err != nil {
		t.Error(err)
	}
}

// outcome runs a command, and gives its exit status and all that it said.
func outcome(cmd *exec.Cmd) (int, string) {
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return -1, err.Error()
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// startUntil starts a command, reads what it says on standard error until a line
// begins so, and gives the lines that are left.
func startUntil(t *testing.T, cmd *exec.Cmd, begins string) *bufio.Scanner {
	t.Helper()
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(said)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), begins) {
	}
	return lines
}

// One controller is stopped in mid-run; another one that comes meanwhile is
// told who is at it, since when, and changes nothing. Then the first goes on.
func TestASecondControllerIsToldWhoTheFirstIs(t *testing.T) {
	on := twoControllers(t)
	if status, out := outcome(on("converge")); status != 0 {
		t.Fatal(out)
	}
	first := on("converge", "-var", "gateway=192.168.0.1")
	var result bytes.Buffer
	first.Stdout = &result
	lines := startUntil(t, first, "lb: withdraw: do")
	if err := first.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	rest := make(chan struct{})
	go func() {
		defer close(rest)
		for lines.Scan() {
		}
	}()
	want := fmt.Sprintf(" pid %d, run ", first.Process.Pid)
	for _, beside := range []struct {
		args   []string
		status int
	}{
		{[]string{"converge"}, 1},
		{[]string{"diff"}, 2},
		{[]string{"drift", "--once"}, 1}, // it concludes nothing, not even that all is well
		{[]string{"drift", "--once", "--json"}, 1},
	} {
		status, out := outcome(on(append(beside.args, "-var", "gateway=192.168.0.3")...))
		if status != beside.status || !strings.Contains(out, want) || !strings.Contains(out, ", since 2") {
			t.Errorf("%s beside it: %d %s", beside.args, status, out)
		}
	}
	if err := first.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	<-rest
	if err := first.Wait(); err != nil {
		t.Errorf("the first: %v\n%s", err, result.String())
	}
	if status, out := outcome(on("diff", "-var", "gateway=192.168.0.1")); status != 0 {
		t.Errorf("afterwards: %d %s", status, out)
	}
}

// Two that start at once: each does all of its own or none of it.
func TestTwoControllersAtOnceDoNotShareTheFleet(t *testing.T) {
	// Who begins while another run is over before the last host was looked at sees
	// no lease: hosts in a hurry would make that likely.
	t.Setenv(realPace, "1")
	on := twoControllers(t)
	if status, out := outcome(on("converge")); status != 0 {
		t.Fatal(out)
	}
	done := 0
	for round := range 6 {
		gateways := [2]string{"192.168.0.1", "192.168.0.2"}
		var status [2]int
		var out [2]string
		var wg sync.WaitGroup
		for i := range 2 {
			cmd := on("converge", "-var", "gateway="+gateways[i])
			wg.Go(func() {
				time.Sleep(time.Duration(i*round) * 15 * time.Millisecond)
				status[i], out[i] = outcome(cmd)
			})
		}
		wg.Wait()
		refused := 0
		for i := range 2 {
			switch {
			case status[i] == 0:
				done++
			case status[i] == 1 && strings.Contains(out[i], " pid ") && strings.Contains(out[i], "nothing was changed"):
				refused++
			default:
				t.Errorf("round %d: %d %s", round, status[i], out[i])
			}
		}
		if refused == 2 {
			continue // it may be so, as long as nothing was changed by halves
		}
		// What is there is what one of them wanted, whole.
		a, textA := outcome(on("diff", "-var", "gateway="+gateways[0]))
		b, textB := outcome(on("diff", "-var", "gateway="+gateways[1]))
		if (a != 0) == (b != 0) || status[0] != 0 && a == 0 || status[1] != 0 && b == 0 {
			t.Errorf("round %d: they ended with %v; afterwards:\n%s\n%s", round, status, textA, textB)
		}
	}
	if done == 0 {
		t.Error("nobody ever got through")
	}
}
