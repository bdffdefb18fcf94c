package main

import (
	"fmt"
	"io"
	"os"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/fleet"
)

// A progress shows what the run is doing: live on a terminal (one line per
// host in flight, a bar for the fleet), else as plain lines.
type progress struct {
	w     io.Writer
	live  bool
	quiet bool
	total int

	mu      sync.Mutex
	now     map[string]string // what each host in flight is doing
	drains  map[string]int    // connections that each director last waited for
	done    map[string]bool
	running bool

	screen sync.Mutex // held by who draws, or writes beside what is drawn; locked before mu
	drawn  int        // lines on the screen that are ours
	tick   *time.Ticker
	quit   chan struct{}
	ended  chan struct{}
}

// newProgress makes the progress of a run, beside which g writes from now on.
func newProgress(g *globals, hosts int) *progress {
	g.progress = &progress{
		w: g.err, live: isTerminal(g.err) && os.Getenv("TERM") != "dumb", quiet: g.json,
		total: hosts, now: map[string]string{}, drains: map[string]int{}, done: map[string]bool{},
	}
	return g.progress
}

// observe takes an event of the run; it is called from many goroutines.
func (p *progress) observe(e fleet.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	what := e.Phase
	if e.Step != "" {
		what += " " + e.Step
	}
	drained := false
	if e.Phase == fleet.PhaseDrain {
		what = "drain, " + count(e.Connections, "connection") + " left"
		last, seen := p.drains[e.Host]
		drained = !seen || last != e.Connections
		p.drains[e.Host] = e.Connections
	}
	if e.Phase == fleet.PhaseDone && e.Error != "" {
		what = "failed"
	} else if e.Stage != "" && e.Phase != fleet.PhaseDone {
		what = string(e.Stage) + ": " + what
	}
	if e.Phase == fleet.PhaseDone {
		delete(p.drains, e.Host)
		delete(p.now, e.Host)
		p.done[e.Host] = true
	} else {
		p.now[e.Host] = what
	}
	if p.live || p.quiet {
		return
	}
	switch {
	case e.Error != "":
		fmt.Fprintf(p.w, "%s: %s: %s\n", e.Host, inline(what), hanging(e.Error, 4))
	case drained || e.Phase == "do" || e.Phase == "undo" || e.Phase == "commit" || e.Phase == "settle":
		fmt.Fprintf(p.w, "%s: %s\n", e.Host, hanging(what, 4))
	}
}

// start begins to draw, on a terminal.
func (p *progress) start() {
	if !p.live || p.quiet || p.running {
		return
	}
	p.running = true
	p.tick = time.NewTicker(100 * time.Millisecond)
	p.quit, p.ended = make(chan struct{}), make(chan struct{})
	go func() {
		defer close(p.ended)
		for {
			select {
			case <-p.quit:
				return
			case <-p.tick.C:
				p.aside(p.draw)
			}
		}
	}()
}

// stop wipes what was drawn, so that the result stands alone.
func (p *progress) stop() {
	if !p.running {
		return
	}
	p.running = false
	p.tick.Stop()
	close(p.quit)
	<-p.ended
	p.aside(func() {})
}

// aside wipes what is drawn and has do write to the terminal, or ask there:
// nothing is drawn until it returns. A nil progress draws nothing.
func (p *progress) aside(do func()) {
	if p == nil {
		do()
		return
	}
	p.screen.Lock()
	defer p.screen.Unlock()
	if p.drawn > 0 {
		fmt.Fprintf(p.w, "\r\x1b[%dA\x1b[J", p.drawn) // a key may have been shown
		p.drawn = 0
	}
	do()
}

// draw draws what is going on; by aside alone.
func (p *progress) draw() {
	columns, rows := size(p.w)
	if columns == 0 || rows == 0 {
		columns, rows = 80, 24
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	hosts := make([]string, 0, len(p.now))
	for h := range p.now {
		hosts = append(hosts, h)
	}
	sort.Strings(hosts)
	var b strings.Builder
	lines := 0
	for _, h := range hosts {
		if lines >= rows-3 {
			fmt.Fprintf(&b, "%s\n", clip(fmt.Sprintf("... and %d more", len(hosts)-lines), columns))
			lines++
			break
		}
		fmt.Fprintf(&b, "%s\n", clip(h+"  "+inline(p.now[h]), columns))
		lines++
	}
	const cells = 30
	full := 0
	if p.total > 0 {
		full = min(cells, cells*len(p.done)/p.total)
	}
	bar := strings.Repeat("#", full) + strings.Repeat("-", cells-full)
	fmt.Fprintf(&b, "%s\n", clip(fmt.Sprintf("[%s] %d/%d hosts", bar, len(p.done), p.total), columns))
	lines++
	_, _ = io.WriteString(p.w, b.String()) // a terminal that is gone is no reason to stop
	p.drawn = lines
}

// clip cuts s to the columns of the terminal, so that a line stays one line.
func clip(s string, columns int) string {
	r := []rune(strings.ReplaceAll(s, "\n", " "))
	if len(r) >= columns {
		r = r[:max(0, columns-1)]
	}
	return string(r)
}
