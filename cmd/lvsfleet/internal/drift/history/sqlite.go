//go:build !solaris

package history

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/drift"
)

// Kept says whether a history is kept on this platform.
const Kept = true

// version is that of the schema, PRAGMA user_version.
const version = 1

const schema = `
CREATE TABLE drift (
	id    INTEGER PRIMARY KEY,
	host  TEXT NOT NULL,
	step  TEXT NOT NULL,
	class TEXT NOT NULL,
	diff  TEXT NOT NULL,
	first INTEGER NOT NULL, -- these are nanoseconds since 1970
	last  INTEGER NOT NULL,
	gone  INTEGER,          -- NULL: it is still there
	ended TEXT NOT NULL
) STRICT;
CREATE INDEX drift_by_first ON drift (first);
CREATE INDEX drift_by_gone ON drift (gone);
CREATE TABLE memo (
	one  INTEGER PRIMARY KEY CHECK (one = 1),
	text TEXT NOT NULL
) STRICT;
PRAGMA user_version = 1;
`

// coded adds which note a drift is (drift.Drift's Code and About).
const coded = `
ALTER TABLE drift ADD COLUMN code TEXT NOT NULL DEFAULT '';
ALTER TABLE drift ADD COLUMN subject TEXT NOT NULL DEFAULT '';
`

// hasCode asks whether the table has those columns.
const hasCode = "SELECT count(*) FROM pragma_table_info('drift') WHERE name = 'code'"

// longestDiff is how much of a diff is kept, in bytes.
const longestDiff = 64 << 10

// patience is how long a call waits for a database that somebody else writes.
const patience = 2 * time.Second

// A DB is the history of one site. It is opened with the first call, and again
// after whatever went wrong. It is safe for concurrent use.
type DB struct {
	path string

	mu       sync.Mutex
	db       *sql.DB // nil: not open
	problems []string
	now      func() time.Time
}

var _ drift.Store = (*DB)(nil)

// Open gives the history in the file at path, which is made with the first
// call, with its folder, for its owner alone.
func Open(path string) *DB { return &DB{path: path, now: time.Now} }

// Problems are what a person should know of for as long as this process lives:
// a database that was damaged, and where it lies now.
func (d *DB) Problems() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string(nil), d.problems...)
}

// Close closes the database. A later call opens it again.
func (d *DB) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.close()
}

func (d *DB) close() error {
	db := d.db
	d.db = nil
	if db == nil {
		return nil
	}
	return db.Close()
}

// source names the database to the driver.
func source(path, mode string) string {
	q := url.Values{}
	q.Set("mode", mode)
	q.Add("_pragma", fmt.Sprintf("busy_timeout(%d)", patience.Milliseconds()))
	if mode != "ro" {
		q.Add("_pragma", "journal_mode(WAL)")
		q.Add("_pragma", "synchronous(NORMAL)")
		q.Set("_txlock", "immediate")
	}
	return (&url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}).String()
}

// get opens the database where it is not open.
func (d *DB) get(ctx context.Context) (*sql.DB, error) {
	_, err := os.Lstat(d.path)
	if err == nil && d.db != nil {
		return d.db, nil
	}
	_ = d.close() // what was deleted would be written into the void
	if err := os.MkdirAll(filepath.Dir(d.path), 0o700); err != nil {
		return nil, err
	}
	// Its companions take their mode from it.
	f, err := os.OpenFile(d.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	abs, err := filepath.Abs(d.path)
	if err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", source(abs, "rw"))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	if err := prepare(ctx, db); err != nil {
		_ = db.Close()
		return nil, err
	}
	d.db = db
	return db, nil
}

// prepare makes the tables where there are none.
func prepare(ctx context.Context, db *sql.DB) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // committed, it has nothing to do
	var have int
	if err := tx.QueryRowContext(ctx, "PRAGMA user_version").Scan(&have); err != nil {
		return err
	}
	switch {
	case have == version:
		// A table of builds before codes; theirs take no harm from columns
		// that they do not name.
		var there int
		if err := tx.QueryRowContext(ctx, hasCode).Scan(&there); err != nil || there > 0 {
			return err
		}
		if _, err := tx.ExecContext(ctx, coded); err != nil {
			return err
		}
		return tx.Commit()
	case have != 0:
		return fmt.Errorf("its version is %d, this lvsfleet knows %d", have, version)
	}
	if _, err := tx.ExecContext(ctx, schema+coded); err != nil {
		return err
	}
	return tx.Commit()
}

// do calls f with the open database. What does not pass by itself closes it; a
// damaged one is put aside.
func (d *DB) do(ctx context.Context, what string, f func(*sql.DB) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	db, err := d.get(ctx)
	if err == nil {
		err = f(db)
	}
	if err == nil {
		return nil
	}
	switch code(err) {
	case lib.SQLITE_BUSY, lib.SQLITE_LOCKED, lib.SQLITE_FULL:
	case lib.SQLITE_CORRUPT, lib.SQLITE_NOTADB:
		_ = d.close()
		err = errors.Join(err, d.putAside())
	default:
		_ = d.close()
	}
	return fmt.Errorf("%s in %s: %w", what, d.path, err)
}

// code is the primary result code of SQLite; 0 where err is not its.
func code(err error) int {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return 0
	}
	return e.Code() & 0xff
}

// putAside renames a damaged database, so that nothing of it is lost and a new
// one can be begun.
func (d *DB) putAside() error {
	to := d.path + ".damaged-" + d.now().UTC().Format("20060102T150405Z")
	if _, err := os.Lstat(to); err == nil {
		return fmt.Errorf("put it aside: %s is there already", to)
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		err := os.Rename(d.path+suffix, to+suffix)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("put it aside: %w", err)
		}
	}
	d.problems = append(d.problems, fmt.Sprintf("the history was damaged: it lies in %s now, and a new one was begun", to))
	return nil
}

// Open lists the drifts that are not gone.
func (d *DB) Open(ctx context.Context) (list []drift.Drift, err error) {
	err = d.do(ctx, "read what is there", func(db *sql.DB) (err error) {
		list, err = query(ctx, db, "WHERE gone IS NULL ORDER BY first, id")
		return err
	})
	return list, err
}

// Timeline lists the drifts that were there at some time since then, the
// latest first.
func (d *DB) Timeline(ctx context.Context, since time.Time, limit int) (list []drift.Drift, err error) {
	err = d.do(ctx, "read the history", func(db *sql.DB) (err error) {
		list, err = filtered(ctx, db, Filter{Since: since, Limit: max(limit, 1)})
		return err
	})
	return list, err
}

// Save writes drifts, all or none.
func (d *DB) Save(ctx context.Context, drifts []drift.Drift) error {
	return d.do(ctx, "write the history", func(db *sql.DB) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }() // committed, it has nothing to do
		put, err := tx.PrepareContext(ctx, `
			INSERT INTO drift (id, host, step, class, diff, first, last, gone, ended, code, subject) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (id) DO UPDATE SET diff = excluded.diff, last = excluded.last, gone = excluded.gone, ended = excluded.ended`)
		if err != nil {
			return err
		}
		defer put.Close()
		ids := make([]int64, len(drifts))
		for i, r := range drifts {
			if ids[i] = r.ID; r.ID == 0 {
				// Not counted: a new database after a damaged one must not
				// give away the numbers of drifts that are still there. What
				// reads JSON in doubles holds 53 bits.
				ids[i] = rand.Int64N(1<<52) + 1
			}
			var gone any
			if !r.Gone.IsZero() {
				gone = r.Gone.UnixNano()
			}
			if _, err := put.ExecContext(ctx, ids[i], r.Host, r.Step, string(r.Class), shortened(r.Diff),
				r.First.UnixNano(), r.Last.UnixNano(), gone, string(r.End), string(r.Code), r.About); err != nil {
				return err
			}
		}
		if err := tx.Commit(); err != nil {
			return err
		}
		for i, id := range ids {
			drifts[i].ID = id
		}
		return nil
	})
}

func shortened(diff string) string {
	if len(diff) <= longestDiff {
		return diff
	}
	return strings.ToValidUTF8(diff[:longestDiff], "") + "\n... shortened\n"
}

// Memo gives what SetMemo was told.
func (d *DB) Memo(ctx context.Context) (text []byte, err error) {
	err = d.do(ctx, "read the memo", func(db *sql.DB) error {
		var s string
		err := db.QueryRowContext(ctx, "SELECT text FROM memo").Scan(&s)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		text = []byte(s)
		return err
	})
	return text, err
}

// SetMemo keeps a text, in place of the last one.
func (d *DB) SetMemo(ctx context.Context, text []byte) error {
	return d.do(ctx, "write the memo", func(db *sql.DB) error {
		_, err := db.ExecContext(ctx, "INSERT INTO memo VALUES (1, ?) ON CONFLICT (one) DO UPDATE SET text = excluded.text", string(text))
		return err
	})
}

// Forget removes the drifts that were gone before then.
func (d *DB) Forget(ctx context.Context, before time.Time) error {
	return d.do(ctx, "remove what is old", func(db *sql.DB) error {
		_, err := db.ExecContext(ctx, "DELETE FROM drift WHERE gone < ?", before.UnixNano())
		return err
	})
}

// Read lists drifts of the database at path, the latest first, and changes
// nothing. One that is not there has none.
func Read(ctx context.Context, path string, f Filter) ([]drift.Drift, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	db, err := sql.Open("sqlite", source(abs, "ro"))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	defer db.Close()
	var have int
	if err := db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&have); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	switch {
	case have == 0:
		return nil, nil // it is just being made
	case have != version:
		return nil, fmt.Errorf("read %s: its version is %d, this lvsfleet knows %d", path, have, version)
	}
	list, err := filtered(ctx, db, f)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return list, nil
}

func filtered(ctx context.Context, db *sql.DB, f Filter) ([]drift.Drift, error) {
	where, args := "WHERE 1", []any(nil)
	if f.Host != "" {
		where, args = where+" AND host = ?", append(args, f.Host)
	}
	if !f.Since.IsZero() {
		where, args = where+" AND (gone IS NULL OR gone >= ?)", append(args, f.Since.UnixNano())
	}
	where += " ORDER BY first DESC, host, class, step, id"
	if f.Limit > 0 {
		where, args = where+" LIMIT ?", append(args, f.Limit)
	}
	return query(ctx, db, where, args...)
}

func query(ctx context.Context, db *sql.DB, where string, args ...any) ([]drift.Drift, error) {
	note := "code, subject"
	var there int
	if err := db.QueryRowContext(ctx, hasCode).Scan(&there); err != nil {
		return nil, err
	}
	if there == 0 { // only read, and of a build before codes
		note = "'', ''"
	}
	rows, err := db.QueryContext(ctx, "SELECT id, host, step, class, diff, first, last, gone, ended, "+note+" FROM drift "+where, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []drift.Drift
	for rows.Next() {
		var d drift.Drift
		var first, last int64
		var gone sql.NullInt64
		if err := rows.Scan(&d.ID, &d.Host, &d.Step, &d.Class, &d.Diff, &first, &last, &gone, &d.End, &d.Code, &d.About); err != nil {
			return nil, err
		}
		d.First, d.Last = time.Unix(0, first).UTC(), time.Unix(0, last).UTC()
		if gone.Valid {
			d.Gone = time.Unix(0, gone.Int64).UTC()
		}
		list = append(list, d)
	}
	return list, rows.Err()
}
