package drift

import (
	"context"
	"fmt"
	"time"
)

// A Store keeps the history. Whatever it cannot do is reported and tried again;
// the watching goes on without it.
type Store interface {
	// Open lists the drifts that are not gone.
	Open(ctx context.Context) ([]Drift, error)
	// Save writes drifts, and gives an ID to each that has none. All of them
	// are written, or none.
	Save(ctx context.Context, drifts []Drift) error
	// Timeline is as Source.Timeline.
	Timeline(ctx context.Context, since time.Time, limit int) ([]Drift, error)
	// Memo gives what SetMemo was told last; nil nothing.
	Memo(ctx context.Context) ([]byte, error)
	SetMemo(ctx context.Context, text []byte) error
	// Forget removes the drifts that were gone before then.
	Forget(ctx context.Context, before time.Time) error
}

// A Notice is what a round has to tell. The receivers' time is their own:
// whoever takes a Notice does not keep the watcher waiting.
type Notice struct {
	Site     string    `json:"site"`
	Time     time.Time `json:"time"`
	Firing   []Drift   `json:"firing,omitempty"`   // newly there
	Resolved []Drift   `json:"resolved,omitempty"` // newly gone
	// GivenUp are hosts whose repair has newly been given up, Resumed those
	// of which that is over.
	GivenUp []GivenUp `json:"given_up,omitempty"`
	Resumed []GivenUp `json:"resumed,omitempty"`

	// Open and Held are all that are there now: for receivers that forget.
	Open []Drift   `json:"-"`
	Held []GivenUp `json:"-"`
}

// Empty says that there is nothing new to tell.
func (n Notice) Empty() bool {
	return len(n.Firing)+len(n.Resolved)+len(n.GivenUp)+len(n.Resumed) == 0
}

// A GivenUp host drifts again after each repair, or cannot be repaired, and is
// left to people.
type GivenUp struct {
	Host  string    `json:"host"`
	Since time.Time `json:"since"`
	Tries int       `json:"tries"`
	Error string    `json:"error,omitempty"` // of the last repair
}

func (g GivenUp) String() string {
	s := fmt.Sprintf("%s drifts again after %d repairs and is not repaired any more", g.Host, g.Tries)
	if g.Error != "" {
		s += "; the last one failed: " + g.Error
	}
	return s
}
