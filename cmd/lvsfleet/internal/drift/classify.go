package drift

import (
	"regexp"
	"strings"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/providers/note"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// A key tells the drifts of one host apart.
type key struct {
	class Class
	step  string
	which string // of ClassForeign: the note
}

func keyOf(d Drift) key {
	k := key{class: d.Class, step: d.Step}
	switch {
	case d.Class != ClassForeign:
	case d.Code != "":
		k.which = noteKey(note.Note{Code: d.Code, Subject: d.About})
	default:
		k.which = earlierKey(d.Diff)
	}
	return k
}

// noteKey says which note it is.
func noteKey(n note.Note) string { return strings.TrimSpace(string(n.Code) + " " + n.Subject) }

// earlierKey is the noteKey of a sentence that a build before codes recorded;
// one that no code is known of is its own.
func earlierKey(text string) string {
	if n, ok := note.Earlier(text); ok {
		return noteKey(n)
	}
	return text
}

// A sight is one difference as a look has found it.
type sight struct {
	key
	diff string
	note note.Note // of ClassForeign
}

// differences lists what does not hold, by class. What only this build wants is
// none: somebody is to see it in a converge first.
func differences(r agent.Report) []sight {
	var list []sight
	for _, i := range r.Items {
		if !i.Change.Holds() && !i.New {
			list = append(list, sight{key: key{class: classOf(i), step: i.Step}, diff: i.Change.Diff})
		}
	}
	return list
}

func classOf(i agent.Item) Class {
	switch {
	case i.Layer == agent.Boot:
		return ClassBoot
	case i.Change.Affects(step.IPVSTable):
		return ClassIPVS
	}
	return ClassLive
}

// noteStep is the step of what a whole plan, and none of its steps, has noted.
const noteStep = "host"

// noted lists what was seen and left alone.
func noted(r agent.Report) []sight {
	var list []sight
	add := func(step string, n note.Note) {
		list = append(list, sight{key{ClassForeign, step, noteKey(n)}, n.String(), n})
	}
	for _, n := range r.Notes {
		add(noteStep, n)
	}
	for _, i := range r.Items {
		for _, n := range i.Change.Notes {
			add(i.Step, n)
		}
	}
	return list
}

// notes are a host's, for people.
func notes(r agent.Report) []string {
	var list []string
	if r.UnderWay != "" {
		list = append(list, "a change is under way: "+r.UnderWay)
	}
	if r.Unsettled != "" {
		list = append(list, "unsettled: "+r.Unsettled)
	}
	for _, n := range news(r) {
		list = append(list, n.String())
	}
	for _, s := range noted(r) {
		list = append(list, s.diff)
	}
	return list
}

// news are what only this build wants of the host.
func news(r agent.Report) []note.Note {
	var list []note.Note
	for _, i := range r.Items {
		if !i.Change.Holds() && i.New {
			list = append(list, note.New(note.NewWithVersion, i.Layer, i.Step))
		}
	}
	return list
}

// release is what `uname -r` says there.
func release(r agent.Report) string { return strings.TrimSpace(r.Identity.Release) }

// counted are numbers in sentences that change while what they tell of stays.
var counted = regexp.MustCompile(` with \d+ real servers?`)

// Subject names what a drift is about within its host and class, in a form that
// stays the same while it is there: receivers of alerts know it by that. One
// that a build before codes found keeps the form that it was told in.
func (d Drift) Subject() string {
	switch {
	case d.Class != ClassForeign:
		return d.Step
	case d.Code == "":
		return d.Step + ": " + counted.ReplaceAllString(d.Diff, "")
	}
	return d.Step + ": " + noteKey(note.Note{Code: d.Code, Subject: d.About})
}
