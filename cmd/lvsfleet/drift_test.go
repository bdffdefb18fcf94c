package main

import (
	"bufio"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A signal ends the watcher though its hosts hang, in the midst of a round or
// between two; nothing is told of hosts that were not looked at.
func TestAWatcherEndsAtOnceThoughItsHostsHang(t *testing.T) {
	for name, every := range map[string]string{"in a round": "1s", "between two": "1h"} {
		t.Run(name, func(t *testing.T) {
			site, labDir, server := startLab(t)
			watcher := self(t, "lvsfleet", "drift", site, "--lab", labDir, "--state", t.TempDir(), "--every", every)
			stdout, err := watcher.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := watcher.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = watcher.Process.Kill() }) // where it has not ended
			said := bufio.NewReader(stdout)
			for looked := map[string]bool{}; len(looked) < 5; { // nothing was converged: each of them differs
				line, err := said.ReadString('\n')
				if err != nil {
					t.Fatal(err)
				}
				looked[strings.Fields(line)[2]] = true
			}
			if err := server.Process.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = server.Process.Signal(syscall.SIGCONT) })
			time.Sleep(1500 * time.Millisecond)
			if err := watcher.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			late := time.AfterFunc(labDeadline, func() { _ = watcher.Process.Kill() })
			defer late.Stop()
			rest, err := io.ReadAll(said)
			if werr := watcher.Wait(); err != nil || werr != nil {
				t.Errorf("%v, %v", err, werr)
			}
			if took := time.Since(began); took > 20*time.Second || strings.Contains(string(rest), "unreachable") {
				t.Errorf("after %s: %s", took, rest)
			}
		})
	}
}
