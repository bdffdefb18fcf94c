// Command crash is the crash matrix: for every host of the sites that it is
// given, simulated, it lets a transaction, and the one that takes it back, die
// in every way at every access that changes the host, and holds what is left, with nobody's help and after
// the next run, against the states before and after. It prints what failed,
// then a table, and the total as its last line: "N passed, N failed".
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"sort"
	"sync"
)

func main() {
	if namespaced(os.Args) {
		return
	}
	stride := flag.Int("stride", 1, "try every so manieth access only")
	flag.Parse()
	sites := flag.Args()
	if len(sites) == 0 {
		sites = []string{"examples/nat/site.hcl", "examples/dr/site.hcl", "examples/tun/site.hcl"}
	}
	failed, err := matrix(os.Stdout, *stride, sites...)
	if err != nil {
		fmt.Fprintln(os.Stderr, "crash:", err)
		os.Exit(1)
	}
	if failed > 0 {
		os.Exit(1)
	}
}

// realTries is how often each way of dying is tried on real processes.
const realTries = 10

// A trial is one case.
type trial struct {
	subject subject
	kind    kind
	name    string
	at      int // the access; 0: none
	run     func() error
}

func (t trial) String() string {
	return fmt.Sprintf("%s by %s: %s at %d", t.subject, t.kind, t.name, t.at)
}

// trials are all the cases of one host.
func trials(s subject, k kind, stride int) ([]trial, error) {
	mo, err := s.measure(k)
	if err != nil {
		return nil, fmt.Errorf("%s by %s, with nothing in its way: %w", s, k, err)
	}
	var all []trial
	add := func(name string, at int, run func() error) {
		all = append(all, trial{s, k, name, at, run})
	}
	for at := 1; at <= len(mo.accesses); at += stride {
		for _, f := range faults() {
			if f.only == "" || f.only == k {
				add(f.name, at, func() error { return mo.try(s, k, f, at) })
			}
		}
		if k == byAgent && at >= mo.begun {
			add("the agent is stopped and woken late", at, func() error { return mo.tryStopped(s, at) })
		}
		// What comes between the look at a file and its rename nobody sees.
		late := mo.accesses[at-1].Op == "rename" && mo.accesses[at-1].Path == mo.file
		if mo.file != "" && at >= mo.begun && !late {
			add("a file is edited", at, func() error { return mo.tryEdited(s, k, at) })
		}
	}
	add("the controller falls silent", 0, func() error { return mo.trySilence(s, k) })
	add("the fresh login is refused", 0, func() error { return mo.tryRefused(s, k) })
	for second := 1; second <= 8; second++ {
		at := len(mo.accesses) * 3 / 5
		add(fmt.Sprintf("the guard is killed in mid-undo (%d)", second), at, func() error {
			_, err := mo.tryTwice(s, k, at, second)
			return err
		})
	}
	return all, nil
}

// settleAlone tries the trials that failed once more, one at a time. Who dies is
// decided by the count of accesses, but who comes next is given a bounded real
// time, which a machine with other work on it can use up. What fails alone too
// has failed; what does not is told of.
func settleAlone(out io.Writer, all []trial, errs []error) {
	const most = 20 // more than these are no matter of a busy machine
	tried := 0
	for i, err := range errs {
		if err == nil || tried == most {
			continue
		}
		tried++
		if errs[i] = all[i].run(); errs[i] == nil {
			fmt.Fprintf(out, "passed alone, not beside others: %s: %v\n", all[i], err)
		}
	}
}

// matrix runs everything and writes the result to out.
func matrix(out io.Writer, stride int, sites ...string) (failed int, err error) {
	hosts, err := subjects(sites...)
	if err != nil {
		return 0, err
	}
	for _, s := range hosts[:len(hosts):len(hosts)] {
		hosts = append(hosts, s.removed())
	}
	var all []trial
	for _, s := range hosts {
		for _, k := range []kind{byAgent, byShell} {
			for _, back := range []bool{false, true} {
				if back && s.leaves {
					continue // who has been left remembers nothing to take back
				}
				n := stride
				if k == byShell {
					n *= 4 // each takes as long as many of the others
				}
				if back {
					n *= 3 // of the same engine
				}
				s.back = back
				part, err := trials(s, k, n)
				if err != nil {
					return 0, err
				}
				all = append(all, part...)
			}
		}
	}
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	next := make(chan int)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := range next {
				errs[i] = all[i].run()
			}
		})
	}
	for i := range all {
		next <- i
	}
	close(next)
	wg.Wait()
	settleAlone(out, all, errs)

	passes, fails := map[string]int{}, map[string]int{}
	for i, t := range all {
		name := fmt.Sprintf("%-5s  %s", t.kind, t.name)
		if t.subject.back {
			name = fmt.Sprintf("%-5s  taken back: %s", t.kind, t.name)
		}
		if errs[i] == nil {
			passes[name]++
			fails[name] += 0
			continue
		}
		failed++
		fails[name]++
		if failed <= 20 {
			fmt.Fprintf(out, "FAILED %s: %v\n", t, errs[i])
		}
	}
	names := make([]string, 0, len(fails))
	for name := range fails {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		fmt.Fprintf(out, "%-60s %5d passed %5d failed\n", name, passes[name], fails[name])
	}
	passed, bad := realSample(out, max(2, realTries/stride))
	passed += len(all) - failed
	failed += bad
	fmt.Fprintf(out, "%d passed, %d failed\n", passed, failed)
	return failed, nil
}
