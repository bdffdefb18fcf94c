package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Beside the simulated hosts there is a sample on real ones: the agent and its
// guard as processes of this machine, in namespaces of their own (a network
// with one card, /etc and /var in memory), killed by real signals. When they
// die is a matter of time there, and not of the access.

// A realWay is how a real process dies.
type realWay string

// The ways. Those that are stopped are woken when the guard has done its work.
const (
	killAgent  realWay = "the agent is killed"
	killCommit realWay = "the committing agent is killed"
	killGuard  realWay = "the guard is killed"
	killBoth   realWay = "agent and guard are killed"
	stopAgent  realWay = "the agent is stopped and woken late"
	cutLine    realWay = "the line is cut"
)

// profileCase is no way to die: the transaction's time is taken apart.
const profileCase realWay = "profile"

func realWays() []realWay {
	return []realWay{killAgent, killCommit, killGuard, killBoth, stopAgent, cutLine}
}

// A realCase is what a process in namespaces of its own is told to try.
type realCase struct {
	Back  bool    `json:"back"`  // a run is taken back, and not made
	Way   realWay `json:"way"`   // "" none: the transaction is measured
	After float64 `json:"after"` // when, as a part of what the whole takes
	// Model is what the measurement found.
	Model *realModel `json:"model,omitempty"`
}

func (c realCase) String() string {
	what := "made"
	if c.Back {
		what = "taken back"
	}
	return fmt.Sprintf("real processes, %s: %s after %.0f %%", what, c.Way, c.After*100)
}

// A realModel is what the host is before and after, and how long that takes.
type realModel struct {
	Before  string `json:"before"`
	Settled string `json:"settled"` // after the transaction
	Micros  int64  `json:"micros"`
	// Profile is what a transaction's time goes to (profileCase).
	Profile map[string]float64 `json:"profile,omitempty"`
}

// realAtOnce is how many hosts there are at a time: they mostly wait.
const realAtOnce = 8

// realSample tries every way n times, spread over what a transaction takes.
// Where it cannot run here, it says so; where everything has to be tried (CI),
// that is a failure.
func realSample(out io.Writer, n int) (passed, failed int) {
	if why := noNamespaces(); why != "" {
		fmt.Fprintf(out, "NOT TRIED on real processes: %s\n", why)
		if os.Getenv("CI") != "" {
			return 0, 1
		}
		return 0, 0
	}
	for _, back := range []bool{false, true} {
		m, err := inNamespaces(realCase{Back: back})
		if err != nil {
			fmt.Fprintf(out, "FAILED real processes, with nothing in their way: %v\n", err)
			failed++
			continue
		}
		good := map[realWay]int{}
		var mu sync.Mutex
		var g errgroup.Group
		g.SetLimit(realAtOnce)
		for _, way := range realWays() {
			for i := range n {
				c := realCase{Back: back, Way: way, After: (float64(i) + 0.5) / float64(n), Model: m}
				g.Go(func() error {
					_, err := inNamespaces(c)
					mu.Lock()
					defer mu.Unlock()
					if err != nil {
						failed++
						fmt.Fprintf(out, "FAILED %s: %v\n", c, strings.TrimSpace(err.Error()))
						return nil
					}
					good[way]++
					passed++
					return nil
				})
			}
		}
		_ = g.Wait() // no trial gives an error
		for _, way := range realWays() {
			name := "real   " + string(way)
			if back {
				name = "real   taken back: " + string(way)
			}
			fmt.Fprintf(out, "%-60s %5d passed %5d failed\n", name, good[way], n-good[way])
		}
	}
	return passed, failed
}
