//go:build solaris

package history

import (
	"context"
	"time"

	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/drift"
)

// Kept says whether a history is kept on this platform.
const Kept = false

// A DB keeps nothing here.
type DB struct{}

// Open gives a DB all of whose methods are ErrNotKept.
func Open(string) *DB { return &DB{} }

// Read is ErrNotKept.
func Read(context.Context, string, Filter) ([]drift.Drift, error) { return nil, ErrNotKept }

// Open is ErrNotKept.
func (*DB) Open(context.Context) ([]drift.Drift, error) { return nil, ErrNotKept }

// Save is ErrNotKept.
func (*DB) Save(context.Context, []drift.Drift) error { return ErrNotKept }

// Timeline is ErrNotKept.
func (*DB) Timeline(context.Context, time.Time, int) ([]drift.Drift, error) { return nil, ErrNotKept }

// Memo is ErrNotKept.
func (*DB) Memo(context.Context) ([]byte, error) { return nil, ErrNotKept }

// SetMemo is ErrNotKept.
func (*DB) SetMemo(context.Context, []byte) error { return ErrNotKept }

// Forget is ErrNotKept.
func (*DB) Forget(context.Context, time.Time) error { return ErrNotKept }

// Problems are none.
func (*DB) Problems() []string { return nil }

// Close has nothing to close.
func (*DB) Close() error { return nil }
