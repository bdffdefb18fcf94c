package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A crash, of whatever kind, is a signal: its exit status is none that means
// something else, and no core is left.
func TestACrashIsNoExitStatus(t *testing.T) {
	const how = "LVSFLEET_TEST_CRASH"
	switch os.Getenv(how) {
	case "panic":
		crashAsSignal()
		ended := make(chan struct{})
		go func() { // the testing package catches those of its own
			defer close(ended)
			var none []int
			_ = none[len(os.Args)]
		}()
		<-ended
	case "map": // what no recover stops
		crashAsSignal()
		m := map[int]int{}
		for n := range 4 {
			go func() {
				for {
					m[n]++
				}
			}()
		}
		select {}
	}
	for _, kind := range []string{"panic", "map"} {
		dir := t.TempDir()
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), how+"="+kind)
		cmd.Dir = dir
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &said, &said
		var exit *exec.ExitError
		if err := cmd.Run(); !errors.As(err, &exit) {
			t.Fatalf("%s: %v", kind, err)
		}
		status, ok := exit.Sys().(syscall.WaitStatus)
		if !ok || !status.Signaled() || status.Signal() != syscall.SIGABRT || status.CoreDump() {
			t.Errorf("%s: %v (core: %v)", kind, exit, status.CoreDump())
		}
		if !strings.Contains(said.String(), "goroutine ") {
			t.Errorf("%s: it does not tell where:\n%s", kind, said.String())
		}
		if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
			t.Errorf("%s: left: %v", kind, left)
		}
	}
}
