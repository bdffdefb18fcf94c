package ledger

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"

	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// A Bare is a host that shows its files as they would be without lvsfleet: for
// planners, whose choices (which number is free, which file there is) must not
// depend on what is about to go. Only reading is changed.
type Bare struct {
	host.Host
	Ledger Ledger
	System System
	// Asis shows the files as they are: nothing is about to go but services.
	Asis bool
}

// Unwrap gives the host as it is.
func (b Bare) Unwrap() host.Host { return b.Host }

// Taken are the services of the IPVS table that are lvsfleet's.
func (b Bare) Taken() []ipvs.Taken { return b.Ledger.Taken(b.System) }

// Made are the live steps that lvsfleet has made, where something is about to
// go.
func (b Bare) Made() []string {
	if b.Asis {
		return nil
	}
	var ids []string
	for _, s := range b.Ledger.Live {
		ids = append(ids, s.ID)
	}
	return ids
}

// ReadFile reads a file without what lvsfleet has put there.
func (b Bare) ReadFile(ctx context.Context, p string) (host.File, error) {
	f, err := b.Host.ReadFile(ctx, p)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	rec := b.Ledger.file(f.Path, p)
	if rec == nil || b.Asis {
		return f, err
	}
	now := &f
	if err != nil {
		now = nil
	}
	o := b.Ledger.orig(*rec, now, b.System)
	if o == nil || o.Mode.Type() != 0 {
		return host.File{}, &fs.PathError{Op: "read", Path: p, Err: fs.ErrNotExist}
	}
	o.Path = rec.Path
	return *o, nil
}

// ReadDir lists a folder without what lvsfleet has put there, and with what it
// has taken away.
func (b Bare) ReadDir(ctx context.Context, dir string) ([]host.Entry, error) {
	entries, err := b.Host.ReadDir(ctx, dir)
	if err != nil || b.Asis {
		return entries, err
	}
	entries = slices.Clone(entries)
	for _, rec := range b.Ledger.Files {
		if path.Dir(rec.Path) != path.Clean(dir) {
			continue
		}
		name := path.Base(rec.Path)
		i := slices.IndexFunc(entries, func(e host.Entry) bool { return e.Name == name })
		there, o := i >= 0, rec.Orig.file()
		if there && rec.Wrote.folder() {
			// Ours, but for what others have put into it.
			inside, err := b.ReadDir(ctx, rec.Path)
			if err == nil && len(inside) == 0 {
				entries = slices.Delete(entries, i, i+1)
			}
			continue
		}
		if there && !rec.Wrote.symlink() {
			f, err := b.ReadFile(ctx, rec.Path)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
			if o = &f; err != nil {
				o = nil
			}
		}
		switch {
		case there && o == nil:
			entries = slices.Delete(entries, i, i+1)
		case o != nil:
			e := host.Entry{Name: name, Mode: o.Mode}
			if o.Mode&fs.ModeSymlink != 0 {
				e.Link = string(o.Data)
			}
			if there {
				entries[i] = e
				continue
			}
			at, _ := slices.BinarySearchFunc(entries, name, func(e host.Entry, n string) int {
				switch {
				case e.Name < n:
					return -1
				case e.Name > n:
					return 1
				}
				return 0
			})
			entries = slices.Insert(entries, at, e)
		}
	}
	return entries, nil
}

// A Keeper is a host as it is that remembers what lvsfleet has written there
// (step.Keeper): for the checks of a plan that was made on the Bare one.
type Keeper struct {
	host.Host
	Ledger Ledger
}

// Unwrap gives the host without the memory.
func (k Keeper) Unwrap() host.Host { return k.Host }

// Past tells of a file.
func (k Keeper) Past(paths ...string) (step.Past, bool) {
	rec := k.Ledger.file(paths...)
	if rec == nil || rec.Rules || rec.Orig != nil && rec.Orig.Mode.Type() != 0 || rec.Wrote != nil && rec.Wrote.Mode.Type() != 0 {
		return step.Past{}, false
	}
	return step.Past{Orig: rec.Orig.file(), Wrote: rec.Wrote.file()}, true
}
