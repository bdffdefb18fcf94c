package step

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"github.com/pmezard/go-difflib/difflib"

	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/note"
)

// An Edit turns a file's content into what it must be. Old is nil where there
// is no file; nil returned means that there must be none. It keeps every byte
// that is not its own.
type Edit func(old []byte) ([]byte, error)

// A FileStep is one file: all that must be in it, composed, compared and
// written once. The zero Mode means 0644 for a new file; a file that is there
// keeps its mode and owner. Missing folders above it are made first.
//
// On a Keeper, lines that lvsfleet once wrote and that the edits no longer ask
// for go, and so does the mode that it gave the file: the edits say what it
// would be had they been made on the original. What somebody else has done to
// it since stays.
type FileStep struct {
	Path  string
	Mode  fs.FileMode // permission bits of a file that has to be made; where one says executable, of any
	Edits []Edit      // none: the file is given back
	// Rules: the file is one of IPVS rules (Change.Rules). Its edits know by
	// themselves what goes.
	Rules bool
	// Notify are the commands, in their order, by which whoever goes by the
	// file is told to read it: they run after it is in place, and again after
	// it is put back. They may be repeated, and change nothing but what is
	// known of files.
	Notify [][]string
}

// notify adds to a change the commands that tell of it.
func (c *Change) notify(list [][]string) {
	for _, argv := range list {
		c.Do = append(c.Do, Op{Kind: Notify, Argv: argv})
		c.Undo = append(c.Undo, Op{Kind: Notify, Argv: argv})
	}
}

// A Past is what became of a file by lvsfleet; nil is no file.
type Past struct {
	Orig  *host.File // from before it was first written, with what others have done since
	Wrote *host.File // what was written last
}

// A Keeper is a host that remembers what lvsfleet has written there.
type Keeper interface {
	// Past tells of the file at the first of the paths that it knows.
	Past(paths ...string) (Past, bool)
}

// PathOf is the path of what a boot step writes or removes; "" where it does
// not say (it has a method File that does).
func PathOf(s Step) string {
	if f, ok := s.(interface{ File() string }); ok {
		return f.File()
	}
	return ""
}

// ID is "file:" and the path.
func (s *FileStep) ID() string { return "file:" + s.Path }

// File is the path.
func (s *FileStep) File() string { return s.Path }

// Check composes the edits on what is there.
func (s *FileStep) Check(ctx context.Context, h host.Host) (Change, error) {
	old, err := h.ReadFile(ctx, s.Path)
	there := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Change{}, fmt.Errorf("read %s: %w", s.Path, err)
	}
	if there && !old.Mode.IsRegular() {
		return Change{}, Refuse("move it away", "%s is not a regular file", s.Path)
	}
	var data []byte
	if there {
		data = old.Data
		if data == nil {
			data = []byte{}
		}
	}
	base, err := s.base(h, old, there, data)
	if err != nil {
		return Change{}, err
	}
	next, err := s.compose(base.data)
	if err != nil {
		return Change{}, err
	}
	c := Change{Rules: s.Rules}
	wanted := base.owner
	wanted.Data = next
	// A script that must be run, and is not executable.
	if there && next != nil && s.Mode&0o111 != 0 && wanted.Mode&0o111 == 0 {
		wanted.Mode |= s.Mode & 0o111
	}
	moded := there && next != nil && (wanted.Mode != old.Mode || wanted.UID != old.UID || wanted.GID != old.GID)
	if !moded && same(next, data) {
		return base.note(Change{}, s.Path), nil
	}
	target := s.Path
	if there {
		target = old.Path // a link's target
	}
	c.Diff = Diff(s.Path, data, next)
	was, is := Absent, Absent
	if there {
		was = nodeSum(old)
	}
	if next != nil {
		is = nodeSum(wanted)
	}
	if moded {
		c.Diff = LiveDiff("mode "+s.Path, owned(old), owned(wanted)) + c.Diff
	}
	if next == nil {
		c.Do = []Op{{Kind: Remove, Path: target, Expect: was}}
	} else {
		if err := c.makeFolders(ctx, h, path.Dir(target)); err != nil {
			return Change{}, err
		}
		c.Do = append(c.Do, Op{Kind: Write, Path: target, File: &wanted, Expect: was})
	}
	back := Op{Kind: Remove, Path: target, Expect: is}
	if there {
		orig := host.File{Mode: old.Mode, UID: old.UID, GID: old.GID, Data: data}
		back = Op{Kind: Write, Path: target, File: &orig, Expect: is}
	}
	c.Undo = slices.Insert(c.Undo, 0, back)
	c.notify(s.Notify)
	return base.note(c, s.Path), nil
}

// compose makes the edits one after the other.
func (s *FileStep) compose(old []byte) ([]byte, error) {
	next := slices.Clone(old)
	var err error
	for _, edit := range s.Edits {
		if next, err = edit(next); err != nil {
			var refusal *Refusal
			if errors.As(err, &refusal) {
				return nil, err
			}
			return nil, fmt.Errorf("edit %s: %w", s.Path, err)
		}
	}
	return next, nil
}

// A base is what a file's edits are made on.
type base struct {
	data  []byte
	owner host.File // mode and owner that the file must have
	kept  bool      // lines of ours that somebody has changed are left
}

// base takes out of the file what the edits would not have put there.
func (s *FileStep) base(h host.Host, now host.File, there bool, data []byte) (base, error) {
	b := base{data: data, owner: host.File{Mode: s.Mode}}
	if s.Mode == 0 {
		b.owner.Mode = 0o644
	}
	if there {
		b.owner = host.File{Mode: now.Mode, UID: now.UID, GID: now.GID}
	}
	k, ok := host.As[Keeper](h)
	if !ok || s.Rules {
		return b, nil
	}
	past, ok := k.Past(now.Path, s.Path)
	if !ok {
		return b, nil
	}
	fresh, err := s.compose(text(past.Orig))
	if err != nil {
		return b, err
	}
	b.data, b.kept = Merge(text(past.Wrote), fresh, data)
	if o, w := past.Orig, past.Wrote; o != nil && (!there || w != nil && sameOwner(*w, now)) {
		b.owner = host.File{Mode: o.Mode, UID: o.UID, GID: o.GID}
	}
	return b, nil
}

func (b base) note(c Change, path string) Change {
	if b.kept {
		c.Notes = append(c.Notes, note.New(note.LinesEdited, path))
	}
	return c
}

// text is the content of a file; nil of none.
func text(f *host.File) []byte {
	switch {
	case f == nil:
		return nil
	case f.Data == nil:
		return []byte{}
	}
	return f.Data
}

func sameOwner(a, b host.File) bool { return a.Mode == b.Mode && a.UID == b.UID && a.GID == b.GID }

// owned is a file's mode, and its owner where it is not root.
func owned(f host.File) string {
	s := fmt.Sprintf("%04o", f.Mode.Perm())
	if f.UID != 0 || f.GID != 0 {
		s += fmt.Sprintf(" %d:%d", f.UID, f.GID)
	}
	return s
}

// makeFolders adds the making of dir, and of those above it that are not
// there, outermost first, to the change.
func (c *Change) makeFolders(ctx context.Context, h host.Host, dir string) error {
	var missing []string
	for dir != "/" && dir != "." {
		_, err := h.ReadDir(ctx, dir)
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("look at folder %s: %w", dir, err)
		}
		missing = slices.Insert(missing, 0, dir)
		dir = path.Dir(dir)
	}
	for _, d := range missing {
		f := &host.File{Mode: fs.ModeDir | 0o755}
		c.Do = append(c.Do, Op{Kind: Write, Path: d, File: f, Expect: Absent})
		c.Undo = slices.Insert(c.Undo, 0, Op{Kind: Remove, Path: d, File: f})
	}
	return nil
}

// A LinkStep is one symbolic link that must be there (Target) or, with an
// empty Target, must not.
type LinkStep struct {
	Path   string
	Target string
	Notify [][]string // as FileStep's
}

// ID is "link:" and the path.
func (s *LinkStep) ID() string { return "link:" + s.Path }

// File is the path.
func (s *LinkStep) File() string { return s.Path }

// Check compares the link's target to the letter.
func (s *LinkStep) Check(ctx context.Context, h host.Host) (Change, error) {
	old, err := Lstat(ctx, h, s.Path)
	there := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Change{}, fmt.Errorf("look at %s: %w", s.Path, err)
	}
	if there && old.Mode&fs.ModeSymlink == 0 {
		return Change{}, Refuse("move it away", "%s is not a symbolic link", s.Path)
	}
	if there == (s.Target != "") && string(old.Data) == s.Target {
		return Change{}, nil
	}
	link := func(target []byte) *host.File {
		return &host.File{Mode: fs.ModeSymlink | 0o777, Data: target}
	}
	var before, after []byte
	was, is := Absent, Absent
	if there {
		before = []byte("-> " + string(old.Data) + "\n")
		was = nodeSum(*link(old.Data))
	}
	c := Change{}
	if s.Target != "" {
		after = []byte("-> " + s.Target + "\n")
		want := link([]byte(s.Target))
		is = nodeSum(*want)
		if err := c.makeFolders(ctx, h, path.Dir(s.Path)); err != nil {
			return Change{}, err
		}
		c.Do = append(c.Do, Op{Kind: Write, Path: s.Path, File: want, Expect: was})
	} else {
		c.Do = []Op{{Kind: Remove, Path: s.Path, File: link(nil), Expect: was}}
	}
	back := Op{Kind: Remove, Path: s.Path, File: link(nil), Expect: is}
	if there {
		back = Op{Kind: Write, Path: s.Path, File: link(old.Data), Expect: is}
	}
	c.Undo = slices.Insert(c.Undo, 0, back)
	c.Diff = Diff(s.Path, before, after)
	c.notify(s.Notify)
	return c, nil
}

// Diff is the unified diff of two versions of the thing called name; nil is
// "not there" and shows as /dev/null.
func Diff(name string, before, after []byte) string {
	d := difflib.UnifiedDiff{FromFile: name, ToFile: name, Context: 2}
	if before == nil {
		d.FromFile = "/dev/null"
	} else {
		d.A = lines(before)
	}
	if after == nil {
		d.ToFile = "/dev/null"
	} else {
		d.B = lines(after)
	}
	text, err := difflib.GetUnifiedDiffString(d)
	if err != nil {
		return fmt.Sprintf("--- %s\n+++ %s\n", d.FromFile, d.ToFile) // a strings.Builder does not fail
	}
	return text
}

// lines splits text after its newlines; a last line without one is marked as
// diff(1) does.
func lines(text []byte) []string {
	if len(text) == 0 {
		return nil
	}
	l := difflib.SplitLines(string(text))
	if text[len(text)-1] == '\n' {
		return l[:len(l)-1]
	}
	l[len(l)-1] += "\\ No newline at end of file\n"
	return l
}
