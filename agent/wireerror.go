package agent

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"syscall"

	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// A wireError is an error as it crosses the wire: its text, and of what it
// wraps those types that the other side acts upon.
type wireError struct {
	Text    string           `json:"text"`
	Is      []string         `json:"is,omitempty"` // names of sentinels
	Exit    *host.ExitError  `json:"exit,omitempty"`
	Refusal *step.Refusal    `json:"refusal,omitempty"`
	Taken   *host.TakenError `json:"taken,omitempty"`
	Left    *LeftError       `json:"left,omitempty"`
	Verify  *VerifyError     `json:"verify,omitempty"`
	Undo    *wireUndo        `json:"undo,omitempty"`
	Step    *wireStep        `json:"step,omitempty"`
}

type wireUndo struct {
	Cause  *wireError `json:"cause,omitempty"`
	Failed []string   `json:"failed"`
}

type wireStep struct {
	Phase string     `json:"phase"`
	Step  string     `json:"step"`
	Err   *wireError `json:"err"`
}

// sentinels are the errors that are known by their value.
func sentinels() map[string]error {
	return map[string]error{
		"not-approved": ErrNotApproved,
		"undone":       ErrUndone,
		"changed":      step.ErrChanged,
		"answered":     step.ErrAnswered,
		"lost":         host.ErrLost,
		"not-found":    host.ErrNotFound,
		"not-exist":    fs.ErrNotExist,
		"permission":   fs.ErrPermission,
		"no-space":     syscall.ENOSPC,
		"read-only":    syscall.EROFS,
		"canceled":     context.Canceled,
		"deadline":     context.DeadlineExceeded,
	}
}

func find[T error](err error) (t T) {
	_ = errors.As(err, &t)
	return t
}

// toWire makes err fit to cross.
func toWire(err error) *wireError {
	if err == nil {
		return nil
	}
	w := &wireError{
		Text:    err.Error(),
		Exit:    find[*host.ExitError](err),
		Refusal: find[*step.Refusal](err),
		Taken:   find[*host.TakenError](err),
		Left:    find[*LeftError](err),
		Verify:  find[*VerifyError](err),
	}
	known := sentinels()
	for _, name := range slices.Sorted(maps.Keys(known)) {
		if errors.Is(err, known[name]) {
			w.Is = append(w.Is, name)
		}
	}
	if u := find[*UndoError](err); u != nil {
		w.Undo = &wireUndo{Cause: toWire(u.Cause), Failed: u.Failed}
	}
	if s := find[*StepError](err); s != nil {
		w.Step = &wireStep{Phase: s.Phase, Step: s.Step, Err: toWire(s.Err)}
	}
	return w
}

// A remoteError is a wireError on its other side.
type remoteError struct {
	text  string
	wraps []error
}

func (e *remoteError) Error() string   { return e.text }
func (e *remoteError) Unwrap() []error { return e.wraps }

// fromWire makes it an error again, for errors.Is and errors.As.
func fromWire(w *wireError) error {
	if w == nil {
		return nil
	}
	e := &remoteError{text: w.Text}
	if w.Exit != nil {
		e.wraps = append(e.wraps, w.Exit)
	}
	if w.Refusal != nil {
		e.wraps = append(e.wraps, w.Refusal)
	}
	if w.Taken != nil {
		e.wraps = append(e.wraps, w.Taken)
	}
	if w.Left != nil {
		e.wraps = append(e.wraps, w.Left)
	}
	if w.Verify != nil {
		e.wraps = append(e.wraps, w.Verify)
	}
	if w.Undo != nil {
		e.wraps = append(e.wraps, &UndoError{Cause: fromWire(w.Undo.Cause), Failed: w.Undo.Failed})
	}
	if w.Step != nil {
		e.wraps = append(e.wraps, &StepError{Phase: w.Step.Phase, Step: w.Step.Step, Err: fromWire(w.Step.Err)})
	}
	known := sentinels()
	for _, name := range w.Is {
		if s, ok := known[name]; ok {
			e.wraps = append(e.wraps, s)
		}
	}
	return e
}
