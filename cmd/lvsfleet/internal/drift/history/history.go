// Package history keeps the drifts of a site in an SQLite database, for as long
// as it is told to. What it cannot do is an error, and no reason for anybody to
// stop watching: it is tried again with the next call.
package history

import (
	"errors"
	"time"
)

// File is the name of the database in a site's state folder.
const File = "drift.db"

// ErrNotKept is a platform on which no history is kept: the database does not
// build there.
var ErrNotKept = errors.New("the history of drift is not kept on this platform")

// A Filter says which drifts are asked for.
type Filter struct {
	Host  string    // "": every host's
	Since time.Time // there at some time since then; zero: ever
	Limit int       // the latest; 0: all
}
