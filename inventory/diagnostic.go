package inventory

import "fmt"

// A Range is a piece of a source file. Lines and columns count from 1, bytes
// from 0; the end is exclusive. The zero Range is no place.
type Range struct {
	File                string
	StartLine, StartCol int
	EndLine, EndCol     int
	StartByte, EndByte  int
}

// A Source says where an element stands: its header, and each attribute that
// was written.
type Source struct {
	Block Range
	Attrs map[string]Range
}

// Attr gives the place of the attribute, or of the block where it was not
// written.
func (s Source) Attr(name string) Range {
	if r, ok := s.Attrs[name]; ok {
		return r
	}
	return s.Block
}

// A Severity is Error or Warning.
type Severity int

// The severities.
const (
	Error Severity = iota
	Warning
)

// A Diagnostic is one mistake, for the person who wrote it.
type Diagnostic struct {
	Severity Severity
	Code     string // "LVS001"; "" where the language itself was broken
	Summary  string // one line, no full stop
	Detail   string // what is wrong, and what to do about it
	Subject  Range
}

func (d Diagnostic) String() string {
	return fmt.Sprintf("%s:%d: %s", d.Subject.File, d.Subject.StartLine, d.Summary)
}
