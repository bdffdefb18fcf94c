package web

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/drift"
)

// A timeline is what drifted when: a lane for each host, and the same as a
// list.
type timeline struct {
	Blind  string // why it is not shown
	Span   string // "6 h"
	Height int
	Ticks  []tick
	Lanes  []lane
	More   int // hosts without a lane
	Past   past
	Rest   int // drifts that are not in Past
}

type tick struct{ X, Label, Anchor string }

type lane struct {
	Y    int
	Host string
	Says string
	Bars []bar
}

// A bar is one drift. Positions are percentages, so that it fits any width.
type bar struct {
	X, W        string
	Class, Text string
	Open        bool
}

const (
	laneHeight = 34
	laneTop    = 26
	mostLanes  = 24
	mostListed = 50
)

func (p *page) timelineOf(ctx context.Context) timeline {
	now := p.opts.Now()
	const limit = 1000
	all, err := p.source.Timeline(ctx, now.Add(-p.opts.Span), limit)
	if err != nil {
		return timeline{Blind: "The history cannot be read: " + firstLine(err.Error())}
	}
	t := timeline{Past: past{List: all, Hosts: true}}
	if len(all) > mostListed {
		t.Rest, t.Past.List = len(all)-mostListed, all[:mostListed]
	}
	if len(all) == 0 {
		return t
	}
	span := p.reach(all, now)
	t.Span = shortSpan(span)
	t.Ticks = ticks(now, span)
	byHost := map[string]int{}
	for _, d := range all {
		i, there := byHost[d.Host]
		if !there {
			if len(t.Lanes) == mostLanes {
				byHost[d.Host] = -1
				t.More++
				continue
			}
			i = len(t.Lanes)
			byHost[d.Host] = i
			t.Lanes = append(t.Lanes, lane{Y: laneTop + i*laneHeight, Host: d.Host})
		}
		if i < 0 {
			continue
		}
		t.Lanes[i].Bars = append(t.Lanes[i].Bars, newBar(d, now, span))
	}
	for i := range t.Lanes {
		l := &t.Lanes[i]
		open := 0
		for _, b := range l.Bars {
			if b.Open {
				open++
			}
		}
		l.Says = count(len(l.Bars), "drift")
		if open > 0 {
			l.Says += fmt.Sprintf(", %d still there", open)
		}
		// The long ones go beneath the short ones.
		slices.SortStableFunc(l.Bars, func(a, b bar) int { return len(b.W) - len(a.W) })
	}
	t.Height = laneTop + len(t.Lanes)*laneHeight
	return t
}

// reach is how far back the picture goes: the least of a few spans that shows
// the beginning of all that is in it, as far as the page goes back.
func (p *page) reach(all []drift.Drift, now time.Time) time.Duration {
	first := now
	for _, d := range all {
		if d.First.Before(first) {
			first = d.First
		}
	}
	for _, span := range []time.Duration{time.Hour, 6 * time.Hour, 24 * time.Hour} {
		if span < p.opts.Span && now.Sub(first) < span {
			return span
		}
	}
	return p.opts.Span
}

func shortSpan(d time.Duration) string {
	if d > 24*time.Hour {
		return count(int(d/(24*time.Hour)), "day")
	}
	return count(int(d/time.Hour), "hour")
}

// ticks are at round times, about six of them.
func ticks(now time.Time, span time.Duration) []tick {
	step, format := 24*time.Hour, "2 Jan"
	switch {
	case span <= time.Hour:
		step, format = 15*time.Minute, "15:04"
	case span <= 6*time.Hour:
		step, format = 90*time.Minute, "15:04"
	case span <= 24*time.Hour:
		step, format = 6*time.Hour, "15:04"
	case span > 14*24*time.Hour:
		step = span / 6
	}
	var list []tick
	from := now.Add(-span)
	for at := from.Truncate(step).Add(step); at.Before(now); at = at.Add(step) {
		x := at.Sub(from).Seconds() / span.Seconds() * 100
		t := tick{X: percent(x), Label: at.UTC().Format(format), Anchor: "middle"}
		switch {
		case x < 6:
			t.Anchor = "start"
		case x > 94:
			t.Anchor = "end"
		}
		list = append(list, t)
	}
	return list
}

func newBar(d drift.Drift, now time.Time, span time.Duration) bar {
	at := func(t time.Time) float64 {
		return max(0, min(100, 100-now.Sub(t).Seconds()/span.Seconds()*100))
	}
	end := d.Gone
	if end.IsZero() {
		end = now
	}
	const least = 0.8 // what can be seen
	x, w := at(d.First), max(least, at(end)-at(d.First))
	x = min(x, 100-w)
	what := d.Step
	if what == "" {
		what = "cannot be looked at"
	}
	return bar{
		X: percent(x), W: percent(w), Class: hue(d.Class), Open: d.Gone.IsZero(),
		Text: fmt.Sprintf("%s: %s, %s, %s, %s", d.Host, what, className(d.Class), lasted(d, now), ended(d)),
	}
}

func percent(x float64) string { return fmt.Sprintf("%.2f%%", x) }

// hue is the class of drift as a class of style: one of those that there are.
func hue(c drift.Class) string {
	switch c {
	case drift.ClassLive, drift.ClassBoot, drift.ClassIPVS, drift.ClassForeign, drift.ClassUnreachable:
		return "c-" + string(c)
	}
	return "c-other"
}
