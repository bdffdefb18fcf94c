package drift

import (
	"regexp"
	"strings"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// A key tells the drifts of one host apart.
type key struct {
	class Class
	step  string
	note  string // of ClassForeign
}

func keyOf(d Drift) key {
	k := key{class: d.Class, step: d.Step}
	if d.Class == ClassForeign {
		k.note = noteKey(d.Diff)
	}
	return k
}

// A sight is one difference as a look has found it.
type sight struct {
	key
	diff string
}

// differences lists what does not hold, by class.
func differences(r agent.Report) []sight {
	var list []sight
	for _, i := range r.Items {
		if !i.Change.Holds() {
			list = append(list, sight{key{class: classOf(i), step: i.Step}, i.Change.Diff})
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
	add := func(step, text string) {
		list = append(list, sight{key{ClassForeign, step, noteKey(text)}, text})
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

// counted are numbers in notes that change while what they tell of stays.
var counted = regexp.MustCompile(` with \d+ real servers?`)

func noteKey(text string) string { return counted.ReplaceAllString(text, "") }

// notes are a host's, for people.
func notes(r agent.Report) []string {
	var list []string
	if r.UnderWay != "" {
		list = append(list, "a change is under way: "+r.UnderWay)
	}
	if r.Unsettled != "" {
		list = append(list, "unsettled: "+r.Unsettled)
	}
	for _, s := range noted(r) {
		list = append(list, s.diff)
	}
	return list
}

// release is what `uname -r` says there.
func release(r agent.Report) string { return strings.TrimSpace(r.Identity.Release) }

// Subject names what a drift is about within its host and class, in a form that
// stays the same while it is there.
func (d Drift) Subject() string {
	if d.Class == ClassForeign {
		return d.Step + ": " + noteKey(d.Diff)
	}
	return d.Step
}
