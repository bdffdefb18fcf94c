package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/agent/lab"
	"github.com/lvsfleet/lvsfleet/agent/remote"
	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/drift"
	"github.com/lvsfleet/lvsfleet/inventory"
)

// fleetSite is a DR cluster of n hosts, the director among them.
func fleetSite(n int) string {
	var b strings.Builder
	b.WriteString(`
role "director" {}
role "web" {}

host "lb" {
  os      = "linux"
  roles   = ["director"]
  address = "10.0.0.1"
  interface "eth0" { address = "10.0.0.1/16" }
}

virtual_service "http" {
  director = "director"
  pool     = "web"
  address  = "10.0.255.1"
  port     = 80
  method   = "dr"
}
`)
	for i := 1; i < n; i++ {
		os, dev := "linux", "eth0"
		if i%2 == 0 {
			os, dev = "freebsd", "em0"
		}
		addr := fmt.Sprintf("10.0.%d.%d", 1+i/200, 1+i%200)
		fmt.Fprintf(&b, "host \"rs%d\" {\n  os = %q\n  roles = [\"web\"]\n  address = %q\n  interface %q { address = \"%s/16\" }\n}\n", i, os, addr, dev, addr)
	}
	return b.String()
}

// BenchmarkNothingToDo compares the processor time of a converge that finds
// nothing to do with that of a bare SSH client that logs in to the same hosts
// with the same parallelism and runs `true`. The hosts are simulated by
// another process, whose time does not count; the two runs alternate.
func BenchmarkNothingToDo(b *testing.B) {
	for _, n := range []int{50, 200} {
		b.Run(fmt.Sprintf("hosts=%d", n), func(b *testing.B) {
			site, labDir := startFleet(b, n)
			cpuOf(b, self(b, "lvsfleet", "converge", site, "--lab", labDir, "--yes"))
			var ours, bare, wallOurs, wallBare time.Duration
			for b.Loop() {
				start := time.Now()
				ours += cpuOf(b, self(b, "lvsfleet", "converge", site, "--lab", labDir, "--yes"))
				wallOurs += time.Since(start)
				start = time.Now()
				bare += cpuOf(b, self(b, "justtrue", labDir))
				wallBare += time.Since(start)
			}
			b.ReportMetric(float64(ours)/float64(bare), "cpu-ratio")
			b.ReportMetric(float64(wallOurs)/float64(wallBare), "wall-ratio")
			b.ReportMetric(float64(ours.Microseconds())/1000/float64(b.N*n), "cpu-ms/host")
			b.ReportMetric(float64(bare.Microseconds())/1000/float64(b.N*n), "bare-cpu-ms/host")
		})
	}
}

// startFleet simulates a fleet of n hosts in another process.
func startFleet(b *testing.B, n int) (site, labDir string) {
	b.Helper()
	dir := b.TempDir()
	site, labDir = filepath.Join(dir, "site.hcl"), filepath.Join(dir, "lab")
	if err := os.WriteFile(site, []byte(fleetSite(n)), 0o600); err != nil {
		b.Fatal(err)
	}
	server := self(b, "lvsfleet", "lab", site, "--dir", labDir)
	if err := server.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = server.Process.Signal(os.Interrupt)
		_ = server.Wait()
	})
	for deadline := time.Now().Add(labDeadline); ; time.Sleep(10 * time.Millisecond) {
		if _, err := lab.Open(labDir); err == nil {
			return site, labDir
		} else if time.Now().After(deadline) {
			b.Fatal(err)
		}
	}
}

// BenchmarkWarmRound is the processor time and the memory that a round of drift
// takes where nothing has changed and every connection is open. The hosts are
// simulated by another process, whose time does not count.
func BenchmarkWarmRound(b *testing.B) {
	for _, n := range []int{50, 200, 1000, 2000} {
		b.Run(fmt.Sprintf("hosts=%d", n), func(b *testing.B) {
			site, labDir := startFleet(b, n)
			// The hosts are as freshly installed, so all of them have drifted: as
			// nothing changes, the rounds are the same, and the memory more.
			empty := resident(b)
			g := &globals{streams: streams{err: io.Discard}, lab: labDir}
			d, err := g.dialer(b.Context(), site, nil)
			if err != nil {
				b.Fatal(err)
			}
			loaded := g.read(site, false)
			if loaded.Failed() {
				b.Fatal(loaded.Diags)
			}
			w, err := drift.NewWatcher(drift.Settings{Site: loaded.Site, Parallel: 32}, drift.Options{
				Dial: func(ctx context.Context, h *inventory.Host) (agent.Session, error) { return d.dial(ctx, h) },
			})
			if err != nil {
				b.Fatal(err)
			}
			defer w.Close()
			w.Round(b.Context())
			for _, h := range w.Snapshot().Hosts {
				if h.State != drift.Drifted || !h.Warm {
					b.Fatalf("%+v", h)
				}
			}
			cpu := ownTime(b)
			for b.Loop() {
				w.Round(b.Context())
			}
			cpu = ownTime(b) - cpu
			b.ReportMetric(float64(cpu.Microseconds())/float64(b.N*n), "cpu-µs/host")
			b.ReportMetric(float64(resident(b)-empty)/float64(n)/1024, "KB/host")
		})
	}
}

// ownTime is the processor time of this process.
func ownTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// resident is the memory of this process that the garbage collector cannot
// give back, in bytes.
func resident(b *testing.B) int {
	b.Helper()
	debug.FreeOSMemory()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Skip("this system does not tell how much memory a process has: ", err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	if err != nil {
		b.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// self is this test binary as one of the programs of TestMain.
func self(b testing.TB, name string, args ...string) *exec.Cmd {
	b.Helper()
	link := filepath.Join(b.TempDir(), name)
	if err := os.Symlink(os.Args[0], link); err != nil {
		b.Fatal(err)
	}
	return exec.Command(link, args...)
}

func cpuOf(b *testing.B, cmd *exec.Cmd) time.Duration {
	b.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%s: %v\n%s", cmd.Args, err, out)
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}

// justTrue logs in to every host of a lab, as many at a time as converge does
// by default, and runs `true`.
func justTrue() {
	config, err := lab.Open(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	d := &remote.Dialer{}
	ctx := context.Background()
	var wg sync.WaitGroup
	slots := make(chan struct{}, 32)
	for name := range config.Hosts {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if err := oneTrue(ctx, d, config, name); err != nil {
				fmt.Fprintln(os.Stderr, name, err)
				os.Exit(1)
			}
		})
	}
	wg.Wait()
}

func oneTrue(ctx context.Context, d *remote.Dialer, config lab.Config, name string) error {
	target, err := labTarget(config, name)
	if err != nil {
		return err
	}
	client, err := d.Client(ctx, target)
	if err != nil {
		return err
	}
	defer client.Close()
	s, err := client.NewSession()
	if err != nil {
		return err
	}
	return s.Run("true")
}
