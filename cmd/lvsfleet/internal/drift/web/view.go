package web

import (
	"cmp"
	"context"
	"fmt"
	"html/template"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/drift"
	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/picture"
)

// The views are what the templates show: values alone, with nothing left to
// work out.

// A Head is what every page has.
type Head struct {
	Root  string // leads to the overview: "./", "../"
	Site  string
	Title string
	Now   time.Time
	Live  bool // it follows events
}

type overview struct {
	Head
	Verdict  string
	Worst    string // the state that the page is coloured by
	Tally    []tally
	Snap     drift.Snapshot
	Wide     template.HTML
	Tall     template.HTML
	Blind    string // why there is no picture
	Hosts    []row
	Quiet    []row // clean hosts of a large site, which are folded away
	Services []service
	Timeline timeline
}

type tally struct {
	State string
	Count int
}

// A row is a host in the table.
type row struct {
	drift.Host
	Mark string // its state as a class and a mark
	Says string
}

type service struct {
	drift.Service
	Rows   []real
	Quiet  []real // of a large service, those that are as wanted: folded away
	Active int    // connections, of all
}

type real struct {
	drift.Real
	Linked bool
	Share  int // of the largest weight, in percent
	Off    bool
}

type hostView struct {
	Head
	row
	Address string
	Roles   []string
	Items   []item
	Past    past
	Blind   string // why the past is not shown
}

// A past is a list of drifts.
type past struct {
	List  []drift.Drift
	Hosts bool // they are of several hosts
}

// An item is one drift that is there, with its diff by lines.
type item struct {
	drift.Drift
	Lines []diffLine
	Cut   int // lines that were left out
}

type diffLine struct {
	Class string // "add", "del", "hunk", "name", ""
	Text  string
}

// overviewOf works out the overview.
func (p *page) overviewOf(ctx context.Context, snap drift.Snapshot) (*overview, error) {
	v := &overview{Head: Head{Root: "./", Site: snap.Site, Title: snap.Site, Now: p.opts.Now(), Live: true}, Snap: snap}
	v.Tally, v.Worst, v.Verdict = judge(snap)
	if n := len(snap.Hosts) - v.countOf("clean"); n > 0 {
		v.Title = fmt.Sprintf("(%d) %s", n, snap.Site)
	}
	const many = 40 // hosts; beyond it the clean ones are folded away
	for _, h := range snap.Hosts {
		r := newRow(h)
		if r.Mark == "clean" && len(snap.Hosts) > many {
			v.Quiet = append(v.Quiet, r)
		} else {
			v.Hosts = append(v.Hosts, r)
		}
	}
	slices.SortStableFunc(v.Hosts, func(a, b row) int { return cmp.Compare(rank(a.Mark), rank(b.Mark)) })
	for _, s := range snap.Services {
		v.Services = append(v.Services, newService(s, snap))
	}
	if err := v.draw(p, snap); err != nil {
		return nil, err
	}
	v.Timeline = p.timelineOf(ctx)
	return v, nil
}

func (v *overview) countOf(state string) int {
	for _, t := range v.Tally {
		if t.State == state {
			return t.Count
		}
	}
	return 0
}

// mark is the state as a class name: one of those that there are.
func mark(s drift.State) string {
	if slices.Contains(picture.States(), string(s)) {
		return string(s)
	}
	return string(drift.Unknown)
}

// rank puts what needs somebody first.
func rank(mark string) int {
	return slices.Index([]string{"failed", "unreachable", "drifted", "busy", "unknown", "transient", "clean"}, mark)
}

// judge counts the states and says the whole in one sentence.
func judge(snap drift.Snapshot) (all []tally, worst, verdict string) {
	n := map[string]int{}
	for _, h := range snap.Hosts {
		n[mark(h.State)]++
	}
	states := slices.Clone(picture.States())
	slices.SortFunc(states, func(a, b string) int { return cmp.Compare(rank(a), rank(b)) })
	worst = "clean"
	for i := len(states) - 1; i >= 0; i-- {
		if n[states[i]] > 0 {
			all = append(all, tally{states[i], n[states[i]]})
			worst = states[i]
		}
	}
	total := len(snap.Hosts)
	switch {
	case total == 0 || n["unknown"] == total:
		return all, "unknown", "No host has been looked at yet."
	case n["clean"] == total && total == 1:
		return all, worst, "The host is as the inventory says."
	case n["clean"] == total:
		return all, worst, fmt.Sprintf("All %d hosts are as the inventory says.", total)
	}
	says := map[string][2]string{
		"failed": {"could not be looked at", "could not be looked at"}, "unreachable": {"cannot be reached", "cannot be reached"},
		"drifted": {"has drifted", "have drifted"}, "busy": {"is being changed", "are being changed"},
		"transient": {"would not be so after a boot", "would not be so after a boot"},
		"unknown":   {"has not been looked at", "have not been looked at"},
	}
	var many, single []string
	for _, s := range states {
		switch {
		case s == "clean" || n[s] == 0:
		case n[s] > 1:
			many = append(many, fmt.Sprintf("%d %s", n[s], says[s][1]))
		default:
			i := slices.IndexFunc(snap.Hosts, func(h drift.Host) bool { return mark(h.State) == s })
			single = append(single, snap.Hosts[i].Name+" "+says[s][0])
		}
	}
	if len(many) > 0 {
		of := fmt.Sprintf("Of %d hosts, %s", total, many[0])
		if last := len(many) - 1; last > 0 {
			of = fmt.Sprintf("Of %d hosts, %s and %s", total, strings.Join(many[:last], ", "), many[last])
		}
		single = append([]string{of}, single...)
	}
	return all, worst, strings.Join(single, "; ") + "."
}

func newRow(h drift.Host) row {
	r := row{Host: h, Mark: mark(h.State)}
	switch {
	case r.Mark == "drifted" && len(h.Drifts) > 0:
		by := map[drift.Class]int{}
		var order []drift.Class
		for _, d := range h.Drifts {
			if by[d.Class]++; by[d.Class] == 1 {
				order = append(order, d.Class)
			}
		}
		for i, c := range order {
			if i > 0 {
				r.Says += ", "
			}
			r.Says += fmt.Sprintf("%d %s", by[c], className(c))
		}
	case h.Error != "":
		r.Says = firstLine(h.Error)
	case len(h.Transient) > 0:
		r.Says = "until the next boot: " + strings.Join(h.Transient, ", ")
	case len(h.Notes) > 0:
		r.Says = count(len(h.Notes), "note")
	}
	return r
}

// firstLine is the beginning of what may be long.
func firstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	if r := []rune(s); len(r) > 160 {
		s = string(r[:159]) + "…"
	}
	return s
}

func newService(s drift.Service, snap drift.Snapshot) service {
	const many = 16 // real servers; beyond it those that are as wanted are folded away
	v := service{Service: s}
	highest := 1
	for _, r := range s.Real {
		highest = max(highest, r.Weight)
	}
	for _, r := range s.Real {
		row := real{
			Real: r, Share: 100 * max(0, r.Weight) / highest, Off: r.Weight != r.Want,
			Linked: slices.ContainsFunc(snap.Hosts, func(h drift.Host) bool { return r.Host != "" && h.Name == r.Host }),
		}
		v.Active += r.Active
		if !row.Off && len(s.Real) > many {
			v.Quiet = append(v.Quiet, row)
		} else {
			v.Rows = append(v.Rows, row)
		}
	}
	return v
}

// draw makes the pictures, one for wide screens and one for narrow ones.
func (v *overview) draw(p *page, snap drift.Snapshot) error {
	site := p.site()
	if site == nil {
		v.Blind = "The inventory has not been read."
		return nil
	}
	pic := picture.New(site)
	o := picture.Options{Inline: true, Hosts: map[string]picture.Status{}, Weights: weights(snap), Link: func(h string) string { return v.Root + "host/" + url.PathEscape(h) }}
	for _, h := range snap.Hosts {
		r := newRow(h)
		o.Hosts[h.Name] = picture.Status{State: r.Mark, Text: r.Says}
	}
	for _, tall := range []bool{false, true} {
		o.Tall, o.ID = tall, "wide"
		to := &v.Wide
		if tall {
			o.ID, to = "tall", &v.Tall
		}
		svg, err := pic.SVG(o)
		if err != nil {
			return err
		}
		*to = template.HTML(svg) // made and escaped by an html/template of package picture
	}
	return nil
}

// weights are those of the live tables. Where directors, or the ports of a
// service, differ, one that is not as wanted is told.
func weights(snap drift.Snapshot) map[picture.Entry]int {
	w := map[picture.Entry]int{}
	for _, s := range snap.Services {
		for _, r := range s.Real {
			e := picture.Entry{Service: s.Name, Host: r.Host}
			if _, there := w[e]; r.Host != "" && r.Want >= 0 && (!there || r.Weight != r.Want) {
				w[e] = r.Weight
			}
		}
	}
	return w
}

// hostOf works out the page of one host.
func (p *page) hostOf(ctx context.Context, snap drift.Snapshot, name string) (*hostView, bool) {
	i := slices.IndexFunc(snap.Hosts, func(h drift.Host) bool { return h.Name == name })
	if i < 0 {
		return nil, false
	}
	v := &hostView{row: newRow(snap.Hosts[i]), Head: Head{Root: "../", Site: snap.Site, Title: name + " · " + snap.Site, Now: p.opts.Now(), Live: true}}
	if site := p.site(); site != nil {
		if h := site.Host(name); h != nil {
			v.Address, v.Roles = h.Address, h.Roles
		}
	}
	for _, d := range v.Drifts {
		v.Items = append(v.Items, newItem(d))
	}
	const limit = 1000
	all, err := p.source.Timeline(ctx, p.opts.Now().Add(-p.opts.Span), limit)
	if err != nil {
		v.Blind = "The history cannot be read: " + firstLine(err.Error())
	}
	for _, d := range all {
		if d.Host == name && len(v.Past.List) < 100 {
			v.Past.List = append(v.Past.List, d)
		}
	}
	return v, true
}

// newItem splits a diff into lines, and ends it where a page would be
// unreadable.
func newItem(d drift.Drift) item {
	const most = 2000
	it := item{Drift: d}
	if d.Diff == "" {
		return it
	}
	lines := strings.Split(strings.TrimRight(d.Diff, "\n"), "\n")
	if len(lines) > most {
		it.Cut, lines = len(lines)-most, lines[:most]
	}
	for _, l := range lines {
		it.Lines = append(it.Lines, diffLine{lineClass(l), plain(l)})
	}
	return it
}

func lineClass(l string) string {
	switch {
	case strings.HasPrefix(l, "+++ "), strings.HasPrefix(l, "--- "):
		return "name"
	case strings.HasPrefix(l, "@@"):
		return "hunk"
	case strings.HasPrefix(l, "+"):
		return "add"
	case strings.HasPrefix(l, "-"):
		return "del"
	}
	return ""
}
