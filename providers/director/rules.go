package director

import (
	"context"
	"slices"
	"strings"

	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
	"github.com/lvsfleet/lvsfleet/providers/note"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// rules is the step of the file that is loaded into the table at boot. It is
// compared as a table, not as bytes: order, spelling and comments are nobody's
// concern. What it says of other services, and what is not understood, stays.
// It holds the intended weights, never those of a drain; where the weights
// belong to somebody else, those that it has stay.
type rules struct {
	path  string
	want  []ipvs.Want
	early bool // it is loaded before any network
	part  bool // see table
}

// ID is that of the file.
func (r rules) ID() string { return RulesStep(r.path) }

// RulesStep is the ID of the step of the rules file at path.
func RulesStep(path string) string { return "file:" + path }

// File is the path.
func (r rules) File() string { return r.path }

// Check compares the file. It is taken apart once: it may be long.
func (r rules) Check(ctx context.Context, h host.Host) (step.Change, error) {
	var lines []line
	var foreign []ipvs.Service
	file := step.FileStep{Path: r.path, Mode: 0o600, Rules: true, Edits: []step.Edit{func(old []byte) (next []byte, _ error) {
		lines = readRules(old)
		if r.early {
			if err := named(r.path, lines); err != nil {
				return nil, err
			}
		}
		next, foreign = editLines(old, lines, r.want)
		return next, nil
	}}}
	c, err := file.Check(ctx, h)
	if err != nil {
		return step.Change{}, err
	}
	for i, l := range lines {
		if l.err != nil {
			c.Notes = append(c.Notes, note.New(note.RuleNotUnderstood, r.path, i+1, strings.TrimSpace(l.text)))
		}
	}
	if !r.part {
		c.Notes = append(c.Notes, foreignNotes(r.path, foreign)...)
	}
	return c, nil
}

// A line of a rules file, with its newline.
type line struct {
	text string
	edit ipvs.Edit
	rule bool  // edit is set
	err  error // neither rule nor comment
	past bool  // what it made is flushed by a later line
}

// readRules takes the file apart. A "-C" flushes what the lines before made.
func readRules(text []byte) []line {
	var out []line
	for t := range strings.Lines(string(text)) {
		l := line{text: t}
		words, _, _ := strings.Cut(t, "#")
		words = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(words), "ipvsadm "))
		if words == "-C" || words == "--clear" {
			for i := range out {
				out[i].past = true
			}
		} else {
			l.edit, l.rule, l.err = ipvs.ParseRule(t)
		}
		out = append(out, l)
	}
	return out
}

// loaded gives the table that the lines make. As `ipvsadm -R` does, it goes on
// after a line that the kernel refuses.
func loaded(lines []line) []ipvs.Service {
	var edits []ipvs.Edit
	services := map[ipvs.Key]bool{}
	dests := map[ipvs.Key]map[ipvs.DestKey]bool{}
	for _, l := range lines {
		if !l.rule || l.past {
			continue
		}
		k := l.edit.Service.Key
		there, has := services[k], dests[k][l.edit.Dest.DestKey]
		switch l.edit.Verb {
		case ipvs.AddService:
			if there {
				continue
			}
			services[k], dests[k] = true, map[ipvs.DestKey]bool{}
		case ipvs.DeleteService:
			delete(services, k)
			delete(dests, k)
		case ipvs.AddDest:
			if !there || has {
				continue
			}
			dests[k][l.edit.Dest.DestKey] = true
		case ipvs.DeleteDest:
			delete(dests[k], l.edit.Dest.DestKey)
		case ipvs.EditService:
			if !there {
				continue
			}
		case ipvs.EditDest:
			if !has {
				continue
			}
		}
		edits = append(edits, l.edit)
	}
	return ipvs.After(nil, edits)
}

// editRules gives the file with our services as they must be.
func editRules(old []byte, want []ipvs.Want) []byte {
	next, _ := editLines(old, readRules(old), want)
	return next
}

// editLines gives the file, of these lines, with our services as they must be
// and every other line as it was, and the services of others in it.
func editLines(old []byte, lines []line, want []ipvs.Want) (next []byte, foreign []ipvs.Service) {
	have := loaded(lines)
	edits, foreign := ipvs.Diff(have, want)
	if len(edits) == 0 {
		return old, foreign
	}
	wrong := map[ipvs.Key]bool{}
	var order []ipvs.Key
	for _, e := range edits {
		if !wrong[e.Service.Key] {
			wrong[e.Service.Key] = true
			order = append(order, e.Service.Key)
		}
	}
	target := map[ipvs.Key]ipvs.Service{}
	for _, s := range ipvs.After(have, edits) {
		if wrong[s.Key] {
			target[s.Key] = s
		}
	}
	places := map[ipvs.Key][]int{} // of the lines about a service that is wrong
	for i, l := range lines {
		if l.rule && !l.past && wrong[l.edit.Service.Key] {
			places[l.edit.Service.Key] = append(places[l.edit.Service.Key], i)
		}
	}
	instead := map[int]string{} // of a line
	var tail strings.Builder
	for _, k := range order {
		s, there := target[k]
		if at := places[k]; len(at) > 0 {
			for i, text := range block(lines, at, s, there) {
				instead[at[i]] = text
			}
		} else if there {
			tail.WriteString(ipvs.Format([]ipvs.Service{s}))
		}
	}
	var b strings.Builder
	for i, l := range lines {
		text, changed := instead[i]
		if !changed {
			text = l.text
		}
		if text != "" && !strings.HasSuffix(text, "\n") && (changed || i < len(lines)-1 || tail.Len() > 0) {
			text += "\n"
		}
		b.WriteString(text)
	}
	return append([]byte(b.String()), tail.String()...), foreign
}

// block gives what must stand in place of the lines at the places, for the
// service s to be made of them. Lines that are right stay to the byte.
func block(lines []line, at []int, s ipvs.Service, there bool) []string {
	out := make([]string, len(at))
	if !there {
		return out
	}
	whole := ipvs.Format([]ipvs.Service{s})
	plain := lines[at[0]].edit.Verb == ipvs.AddService
	seen := map[ipvs.DestKey]bool{}
	for _, i := range at[1:] {
		e := lines[i].edit
		plain = plain && e.Verb == ipvs.AddDest && !seen[e.Dest.DestKey]
		seen[e.Dest.DestKey] = true
	}
	if !plain {
		out[0] = whole // the lines contradict each other: once, and clearly
		return out
	}
	var missing []string
	right := map[string]bool{}
	for i, p := range at {
		e := lines[p].edit
		if i == 0 {
			out[0] = keep(lines[p], ipvs.Edit{Verb: ipvs.AddService, Service: &s})
			continue
		}
		j := slices.IndexFunc(s.Dests, func(d ipvs.Destination) bool { return d.DestKey == e.Dest.DestKey })
		if j >= 0 {
			right[s.Dests[j].DestKey.String()] = true
			out[i] = keep(lines[p], destRule(s, s.Dests[j]))
		}
	}
	for _, d := range s.Dests {
		if !right[d.DestKey.String()] {
			missing = append(missing, destRule(s, d).Rule()+"\n")
		}
	}
	last := len(out) - 1
	for last > 0 && out[last] == "" {
		last--
	}
	if len(missing) > 0 {
		out[last] = strings.TrimSuffix(out[last], "\n") + "\n" + strings.Join(missing, "")
	}
	return out
}

func destRule(s ipvs.Service, d ipvs.Destination) ipvs.Edit {
	return ipvs.Edit{Verb: ipvs.AddDest, Service: &ipvs.Service{Key: s.Key}, Dest: d}
}

// keep gives the line as it was where it says e, else e.
func keep(l line, e ipvs.Edit) string {
	if l.edit.Rule() == e.Rule() {
		return l.text
	}
	return e.Rule() + "\n"
}
