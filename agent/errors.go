package agent

import (
	"errors"
	"fmt"
	"strings"
)

// ErrNotApproved is a host on which the operations are no longer those that a
// person agreed to. Nothing was changed.
var ErrNotApproved = errors.New("what has to be done here is not what was agreed to: it changed meanwhile")

// ErrUndone is a transaction that cannot be committed since it has been
// undone: the session that made it was lost first.
var ErrUndone = errors.New("the transaction has been undone")

// An UndoError is a host that could not be put back wholly. What is missing is
// tried again by the next run that changes the host.
type UndoError struct {
	Cause  error    // why it was to be undone; nil: because it was asked for
	Failed []string // what could not be undone, a line each
}

func (e *UndoError) Error() string {
	var b strings.Builder
	if e.Cause != nil {
		fmt.Fprintf(&b, "%v; ", e.Cause)
	}
	b.WriteString("undo is incomplete: ")
	b.WriteString(strings.Join(e.Failed, "; "))
	return b.String()
}

func (e *UndoError) Unwrap() error { return e.Cause }

// A LeftError is a transaction that was committed, but for files that somebody
// has edited since they were looked at, and what comes after them in the plan.
// The next check finds them again.
type LeftError struct {
	Edited []string // paths, as found
	Left   []string // steps that were left as they are, the edited ones' first
}

func (e *LeftError) Error() string {
	msg := strings.Join(e.Edited, ", ") + ": edited by somebody else meanwhile and left so"
	if len(e.Left) > 1 {
		msg += fmt.Sprintf("; with it %s, which come after it (run it again)", strings.Join(e.Left[1:], ", "))
	}
	return msg
}

// A VerifyError is a step that does not hold although all that it asked for
// was done.
type VerifyError struct {
	Step string
	Diff string // what is still missing
}

func (e *VerifyError) Error() string {
	return fmt.Sprintf("%s does not hold although everything for it was done:\n%s", e.Step, strings.TrimRight(e.Diff, "\n"))
}

// A StepError says at which step something failed, and in what phase.
type StepError struct {
	Phase string // as in Event
	Step  string
	Err   error
}

func (e *StepError) Error() string { return e.Step + ": " + e.Err.Error() }

func (e *StepError) Unwrap() error { return e.Err }
