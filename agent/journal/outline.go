package journal

import (
	"context"
	"time"
)

// An Outline is what a journal is about, without the contents of files: for
// people who look for a mistake.
type Outline struct {
	Name   string    `json:"name"` // RUN of an open one, RUN.N in the history
	Who    string    `json:"who,omitempty"`
	Began  time.Time `json:"began,omitzero"`
	Stage  string    `json:"stage,omitempty"`
	Undoes string    `json:"undoes,omitempty"`
	Claim  Claim     `json:"claim"`
	Open   bool      `json:"open,omitempty"` // it is not settled
	Ready  bool      `json:"ready,omitempty"`
	Files  []Sketch  `json:"files,omitempty"`
	Live   []Sketch  `json:"live,omitempty"`
	Notes  []string  `json:"notes,omitempty"`
}

// A Sketch is a step: its operations as a person would type them, of a file its
// name, size and mode alone.
type Sketch struct {
	Step string   `json:"step"`
	Do   []string `json:"do,omitempty"`
	Undo []string `json:"undo,omitempty"`
}

// Outlines tells of every open journal, and of the latest settled ones, no more
// than most, the oldest first. It reads only.
func (s Store) Outlines(ctx context.Context, most int) ([]Outline, error) {
	past, err := s.Since(ctx, "")
	if err != nil {
		return nil, err
	}
	var list []Outline
	for _, p := range past[max(len(past)-most, 0):] {
		j, err := s.Read(ctx, p)
		if err != nil {
			return list, err
		}
		list = append(list, j.outline(p.Name))
	}
	runs, err := s.Unsettled(ctx)
	if err != nil {
		return list, err
	}
	for _, run := range runs {
		j, err := s.Load(ctx, run)
		if err != nil {
			return list, err
		}
		o := j.outline(run)
		o.Open = true
		list = append(list, o)
	}
	return list, nil
}

func (j *Journal) outline(name string) Outline {
	h, _ := j.Header()
	o := Outline{Name: name, Who: h.Who, Began: j.Since(), Stage: h.Stage, Undoes: h.Undoes, Claim: j.Claim, Ready: j.Ready()}
	for _, r := range j.Files() {
		o.Files = append(o.Files, r.sketch())
	}
	for _, r := range j.Steps() {
		o.Live = append(o.Live, r.sketch())
	}
	for _, e := range j.Entries {
		if e.Kind == Note {
			o.Notes = append(o.Notes, e.Text)
		}
	}
	return o
}

func (r Record) sketch() Sketch {
	s := Sketch{Step: r.Step}
	for _, op := range r.Do {
		s.Do = append(s.Do, op.String())
	}
	for _, op := range r.Undo {
		s.Undo = append(s.Undo, op.String())
	}
	return s
}
