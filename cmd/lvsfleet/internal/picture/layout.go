package picture

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/lvsfleet/lvsfleet/inventory"
)

// Sizes, in pixels at full size. Text is at most so wide per character of the
// fonts that are asked for.
const (
	margin     = 16
	columnGap  = 100 // between columns, with room for the lines and their methods
	blockGap   = 24
	padding    = 12
	headHeight = 40
	cellGap    = 8
	portGap    = 28 // between the ends of lines on one side of a block
	legendRow  = 24

	tallWidth  = 374
	tallGutter = 78 // left of the blocks, for the lines
	laneGap    = 9
	lanes      = 4
)

// A density is how much of each host is shown; it falls with their number.
type density struct {
	class         string
	width, height int
	gap           int
	chars         int // of a name
	columns       int // 0: as many as make a good shape
}

func densityOf(n int, tall bool) density {
	switch {
	case n <= 24 && tall:
		return density{"full", tallWidth - tallGutter - 2*padding - margin, 48, cellGap, 28, 1}
	case n <= 24:
		return density{"full", 252, 48, cellGap, 26, 0}
	case n <= 160 && tall:
		return density{"compact", (tallWidth-tallGutter-2*padding-margin)/2 - 3, 26, 6, 9, 2}
	case n <= 160:
		return density{"compact", 142, 26, 6, 11, 0}
	case tall:
		return density{"dot", 18, 18, 3, 0, 12}
	}
	return density{"dot", 18, 18, 3, 0, 0}
}

// columns finds how many columns give n cells a shape that is higher than
// wide, but not by much.
func (d density) fit(n int) int {
	if d.columns > 0 {
		return d.columns
	}
	high := float64(n * (d.height + d.gap))
	c := int(math.Round(math.Sqrt(high / (1.4 * float64(d.width+d.gap)))))
	if d.class == "full" {
		c = (n + 7) / 8
	}
	return max(1, min(c, n))
}

// A drawing is a Picture with a place for everything: what the template shows.
type drawing struct {
	ID            string
	Inline        bool
	Style         string
	Width, Height int
	Title, Desc   string
	Role          string
	Ends          []string // the classes of lines that there are
	Lines         []line
	Boxes         []box
	Pills         []pill
	Legend        []key
}

// A line joins two boxes.
type line struct {
	Path, Class, Title string
}

// A pill is the word on a line.
type pill struct {
	X, Y  int // its middle
	Text  string
	Class string
}

// A box is a block with its place.
type box struct {
	X, Y, W, H  int
	Class       string
	Title, Note string
	Label       string // for those who do not see it
	Cells       []cell
}

// A cell is a host or a service in a box.
type cell struct {
	X, Y, W, H   int
	Class        string
	State        string // "" where nothing is known of any
	Name, Detail string
	Title        string // everything, for pointers and screen readers
	Href         string
	Bar          int    // of a weight: its width; 0: none
	Weight       string // in few characters, where there is no room for Detail
}

// A key is one line of the legend.
type key struct {
	X, Y  int
	Class string
	State string
	Text  string
}

// layout gives everything its place.
func (p *Picture) layout(o Options) *drawing {
	d := &drawing{ID: o.id(), Inline: o.Inline, Role: "img", Title: "Picture of the site " + clean(p.name), Desc: clean(p.Summary())}
	if o.Link != nil {
		d.Role = "group" // the links in it are of use
	}
	boxes := map[*block]*box{}
	clients := p.clientBox(o)
	all := []*box{clients}
	for _, b := range p.blocks {
		x := b.box(o)
		boxes[b] = x
		all = append(all, x)
	}
	if len(p.tunnels) > 0 {
		all = append(all, p.tunnelBox(o))
	}
	if o.Tall {
		d.stack(p, clients, all, boxes)
	} else {
		d.across(p, clients, all, boxes)
	}
	for _, b := range all {
		d.Boxes = append(d.Boxes, *b)
	}
	d.legend(p, o)
	for _, l := range d.Lines {
		if !slices.Contains(d.Ends, l.Class) {
			d.Ends = append(d.Ends, l.Class)
		}
	}
	return d
}

func (p *Picture) clientBox(o Options) *box {
	b := &box{W: 148, H: 64, Class: "clients", Title: "Clients", Note: "anywhere", Label: "Clients"}
	if len(p.clients) > 0 {
		b.Note = p.clients[0]
		if n := len(p.clients) - 1; n > 0 {
			b.Note += fmt.Sprintf(" and %d more", n)
		}
		b.Label = "Clients of " + strings.Join(p.clients, ", ")
		b.W = max(b.W, 8*len(b.Note)+2*padding)
	}
	if o.Tall {
		b.W = tallWidth - tallGutter - margin
	}
	return b
}

func (p *Picture) tunnelBox(o Options) *box {
	b := &box{Class: "tunnels", Title: fmt.Sprintf("%d plain IP-in-IP %s", len(p.tunnels), plural(len(p.tunnels), "tunnel")), W: 420}
	chars := 56
	if o.Tall {
		b.W, chars = tallWidth-tallGutter-margin, 36
	}
	b.Label = b.Title
	y := headHeight
	for _, t := range p.tunnels {
		b.Cells = append(b.Cells, cell{X: padding, Y: y, W: b.W - 2*padding, H: 20, Class: "tunnel", Name: shorten(clean(t), chars), Title: clean(t)})
		y += 24
	}
	b.H = y + padding
	return b
}

// box lays out what is in the block, from its own corner.
func (b *block) box(o Options) *box {
	x := &box{Class: []string{"directors", "services", "servers", "others"}[b.kind], Title: b.title}
	if b.kind != services && len(b.hosts) > 1 {
		x.Title = fmt.Sprintf("%d %s", len(b.hosts), b.title)
	}
	if b.os != "" {
		x.Class += " os-" + osClass(b.os)
	}
	x.Label = x.Title
	if b.kind == services {
		b.fillServices(x, o)
		return x
	}
	d := densityOf(len(b.hosts), o.Tall)
	if b.kind == directors && d.class == "full" && !o.Tall {
		d.width, d.chars = 200, 20 // they have no weights to tell of
	}
	columns := d.fit(len(b.hosts))
	rows := (len(b.hosts) + columns - 1) / columns
	highest := 1
	for i := range b.hosts {
		_, w := b.hosts[i].weightText(o.Weights)
		highest = max(highest, w)
	}
	for i := range b.hosts {
		c := b.hosts[i].cell(d, o, highest)
		c.X = padding + i/rows*(d.width+d.gap)
		c.Y = headHeight + i%rows*(d.height+d.gap)
		x.Cells = append(x.Cells, c)
	}
	x.W = 2*padding + columns*(d.width+d.gap) - d.gap
	x.H = headHeight + rows*(d.height+d.gap) - d.gap + padding
	x.Note = b.counts(o)
	x.W = max(x.W, 2*padding+8*len(x.Title))
	if x.Note != "" {
		x.Label += ": " + x.Note
		// The counts have a line of their own.
		const extra = 18
		for i := range x.Cells {
			x.Cells[i].Y += extra
		}
		x.H += extra
		x.W = max(x.W, 2*padding+7*len(x.Note))
	}
	if o.Tall {
		x.W = tallWidth - tallGutter - margin
	}
	return x
}

func (b *block) fillServices(x *box, o Options) {
	w, chars := 226, 31
	columns := 1
	if o.Tall {
		w, chars = tallWidth-tallGutter-2*padding-margin, 38
	} else if len(b.services) > 12 {
		columns = int(math.Ceil(math.Sqrt(float64(len(b.services)) / 4)))
	}
	const h = 48
	rows := (len(b.services) + columns - 1) / columns
	if len(b.services) > 1 {
		x.Title = fmt.Sprintf("%d %s", len(b.services), b.title)
	}
	x.Label = x.Title
	for i, s := range b.services {
		title := s.name + ": " + s.address + ", " + s.scheduler
		for _, e := range s.extra {
			title += ", " + e
		}
		detail := s.address + " · " + s.scheduler
		if len(s.extra) > 0 {
			detail += " +"
		}
		x.Cells = append(x.Cells, cell{
			X: padding + i/rows*(w+cellGap), Y: headHeight + i%rows*(h+cellGap), W: w, H: h, Class: "service",
			Name: shorten(clean(s.name), chars-6), Detail: cut(clean(detail), chars), Title: clean(title),
		})
	}
	x.W = 2*padding + columns*(w+cellGap) - cellGap
	x.H = headHeight + rows*(h+cellGap) - cellGap + padding
}

func osClass(os inventory.OS) string {
	switch os {
	case inventory.Linux, inventory.FreeBSD, inventory.Solaris:
		return string(os)
	}
	return "else"
}

// counts says how many hosts are in which state: "2 clean, 1 drifted".
func (b *block) counts(o Options) string {
	if o.Hosts == nil || len(b.hosts) == 1 {
		return ""
	}
	n := map[string]int{}
	for _, h := range b.hosts {
		n[o.state(h.name)]++
	}
	var parts []string
	for _, s := range States() {
		if n[s] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[s], s))
		}
	}
	return strings.Join(parts, ", ")
}

func (n *node) cell(d density, o Options, highest int) cell {
	weight, w := n.weightText(o.Weights)
	c := cell{W: d.width, H: d.height, Class: d.class, Name: shorten(clean(n.name), d.chars)}
	words := []string{}
	about := []string{n.name, n.system, n.address}
	if n.role != "" {
		about = append(about, n.role)
	}
	if o.Hosts != nil {
		c.State = o.state(n.name)
		c.Class += " s-" + c.State
		if c.State != "clean" {
			words = append(words, c.State)
		}
		about = append(about, c.State)
		if t := o.Hosts[n.name].Text; t != "" {
			about = append(about, t)
		}
	}
	if weight != "" {
		words = append(words, weight)
		about = append(about, weight)
		if strings.Contains(weight, "wanted") {
			c.Class += " w-off"
		}
		if w == 0 {
			c.Class += " w-zero"
		}
	}
	if n.role != "" {
		words = append(words, n.role)
	}
	if len(words) == 0 || len(words) == 1 && len(words[0])+len(n.address) < 24 {
		words = append(words, n.address)
	}
	c.Detail = cut(clean(strings.Join(words, " · ")), (d.width-2*padding)*10/71)
	if d.class == "compact" && weight != "" {
		if short := "w " + strconv.Itoa(w); utf8.RuneCountInString(c.Name)+len(short) <= d.width/9 {
			c.Weight = short
		}
	}
	c.Title = clean(strings.Join(about, ", "))
	if d.class == "full" && len(n.weights) > 0 && w > 0 {
		c.Bar = max(4, (d.width-2*padding)*w/highest)
	}
	if o.Link != nil {
		c.Href = o.Link(n.name)
	}
	return c
}

// across puts clients, directors, services and real servers side by side.
func (d *drawing) across(p *Picture, clients *box, all []*box, boxes map[*block]*box) {
	columns := [4][]*box{{clients}}
	var below []*box
	for _, b := range p.blocks {
		if b.kind == others {
			below = append(below, boxes[b])
		} else {
			columns[b.kind+1] = append(columns[b.kind+1], boxes[b])
		}
	}
	if len(p.tunnels) > 0 {
		below = append(below, all[len(all)-1])
	}
	p.makeRoom(boxes)
	height := 0
	for _, c := range columns {
		height = max(height, stackHeight(c))
	}
	x := margin
	for _, c := range columns {
		w := 0
		for _, b := range c {
			w = max(w, b.W)
		}
		if w == 0 {
			continue
		}
		y := margin
		if height < 1000 {
			y += (height - stackHeight(c)) / 2
		}
		for _, b := range c {
			b.X, b.Y, b.W = x, y, w
			y += b.H + blockGap
		}
		x += w + columnGap
	}
	d.Width = x - columnGap + margin
	y := margin + height + blockGap
	x, row := margin, 0
	for _, b := range below {
		if x > margin && x+b.W+margin > d.Width {
			x, y, row = margin, y+row+blockGap, 0
		}
		b.X, b.Y = x, y
		x += b.W + blockGap
		row = max(row, b.H)
		d.Width = max(d.Width, x-blockGap+margin)
	}
	if len(below) > 0 {
		y += row + blockGap
	}
	d.Height = y

	arrivals := map[*box]int{}
	for _, b := range p.blocks {
		if b.kind == directors {
			d.curve(clients, boxes[b], clients.Y+clients.H/2, boxes[b].Y+boxes[b].H/2, line{Class: "plain", Title: "Clients to " + members(b)})
		}
	}
	total := map[*box]int{}
	for _, b := range p.blocks {
		for _, e := range b.to {
			total[boxes[e.to]]++
		}
	}
	for _, b := range p.blocks {
		from := boxes[b]
		for i, e := range b.to {
			to := boxes[e.to]
			y2 := spread(to, arrivals[to], total[to])
			arrivals[to]++
			l := edgeLine(b, e)
			d.curve(from, to, spread(from, i, len(b.to)), y2, l)
			if e.method != "" {
				d.Pills = append(d.Pills, pill{to.X - 38, y2, methodName(e.method), l.Class})
			}
		}
	}
}

func members(b *block) string { return clean(b.members()) }

func edgeLine(b *block, e edge) line {
	if e.method == "" {
		return line{Class: "plain", Title: members(b) + " to " + members(e.to)}
	}
	return line{Class: "m-" + string(e.method), Title: members(b) + " to " + members(e.to) + " by " + methodName(e.method)}
}

// makeRoom lets boxes be high enough for the lines that end at one side.
func (p *Picture) makeRoom(boxes map[*block]*box) {
	in := map[*box]int{}
	for _, b := range p.blocks {
		for _, e := range b.to {
			in[boxes[e.to]]++
		}
		boxes[b].H = max(boxes[b].H, len(b.to)*12+headHeight)
	}
	for b, n := range in {
		b.H = max(b.H, n*portGap+padding)
	}
}

func stackHeight(c []*box) int {
	h := -blockGap
	for _, b := range c {
		h += b.H + blockGap
	}
	return max(0, h)
}

// spread gives the i-th of n places on the side of a box.
func spread(b *box, i, n int) int { return b.Y + b.H*(2*i+1)/(2*n) }

// curve draws from the right side of one box to the left of another.
func (d *drawing) curve(from, to *box, y1, y2 int, l line) {
	x1, x2 := from.X+from.W, to.X
	flat := x2 - 12
	if l.Class != "plain" {
		flat = x2 - 60 // the pill's
	}
	mid := (x1 + flat) / 2
	l.Path = fmt.Sprintf("M%d %dC%d %d %d %d %d %dH%d", x1, y1, mid, y1, mid, y2, flat, y2, x2-2)
	d.Lines = append(d.Lines, l)
}

// stack puts everything in one column, for narrow screens, with the lines in
// a gutter at its left.
func (d *drawing) stack(p *Picture, clients *box, all []*box, boxes map[*block]*box) {
	d.Width = tallWidth
	p.makeRoom(boxes)
	y := margin
	for _, b := range all {
		b.X, b.Y = tallGutter, y
		y += b.H + blockGap
	}
	d.Height = y

	type wire struct {
		from *box
		to   []*box
		line []line
		pill []string
	}
	var wires []wire
	first := wire{from: clients}
	for _, b := range p.blocks {
		if b.kind == directors {
			first.to = append(first.to, boxes[b])
			first.line = append(first.line, line{Class: "plain", Title: "Clients to " + members(b)})
			first.pill = append(first.pill, "")
		}
	}
	wires = append(wires, first)
	for _, b := range p.blocks {
		w := wire{from: boxes[b]}
		for _, e := range b.to {
			w.to = append(w.to, boxes[e.to])
			w.line = append(w.line, edgeLine(b, e))
			w.pill = append(w.pill, "")
			if e.method != "" {
				w.pill[len(w.pill)-1] = methodName(e.method)
			}
		}
		wires = append(wires, w)
	}
	arrivals := map[*box]int{}
	var ends [lanes]int // how far down each lane is taken
	for _, w := range wires {
		if len(w.to) == 0 {
			continue
		}
		y1 := w.from.Y + w.from.H - 18
		last := w.to[len(w.to)-1]
		lane := 0
		for lane < lanes-1 && ends[lane] > y1 {
			lane++
		}
		ends[lane] = last.Y + last.H
		x := margin - 6 + lane*laneGap
		for i, to := range w.to {
			y2 := to.Y + 20 + arrivals[to]*portGap
			arrivals[to]++
			l := w.line[i]
			const r = 6
			l.Path = fmt.Sprintf("M%d %dH%dQ%d %d %d %dV%dQ%d %d %d %dH%d", w.from.X, y1, x+r, x, y1, x, y1+r, y2-r, x, y2, x+r, y2, to.X-2)
			d.Lines = append(d.Lines, l)
			if w.pill[i] != "" {
				d.Pills = append(d.Pills, pill{to.X - 24, y2, w.pill[i], l.Class})
			}
		}
	}
}

// legend says below the picture what lines and marks mean.
func (d *drawing) legend(p *Picture, o Options) {
	x, y := margin, d.Height
	put := func(k key, width int) {
		if x > margin && x+width > d.Width-margin {
			x, y = margin, y+legendRow
		}
		k.X, k.Y = x, y
		d.Legend = append(d.Legend, k)
		x += width
	}
	if o.Hosts != nil {
		used := map[string]bool{}
		for _, b := range p.blocks {
			for _, h := range b.hosts {
				used[o.state(h.name)] = true
			}
		}
		for _, s := range States() {
			if used[s] {
				put(key{Class: "s-" + s, State: s, Text: s}, 34+8*len(s))
			}
		}
		if x > margin {
			x, y = margin, y+legendRow
		}
	}
	for _, m := range p.methods {
		text := methodName(m) + ": " + meaning(m)
		put(key{Class: "m-" + string(m), Text: text}, min(64+7*len(text), d.Width-2*margin))
	}
	if x > margin {
		y += legendRow
	}
	d.Height = y + margin/2
}

// States are the states of a host as this package knows them, the best first.
func States() []string {
	return []string{"clean", "transient", "drifted", "unreachable", "failed", "busy", "unknown"}
}

func (o *Options) state(host string) string {
	s := o.Hosts[host].State
	if !slices.Contains(States(), s) {
		return "unknown"
	}
	return s
}

func (o *Options) id() string { return cmp.Or(o.ID, "lvs") }
