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
)

// An Edit turns a file's content into what it must be. Old is nil where there
// is no file; nil returned means that there must be none. It keeps every byte
// that is not its own.
type Edit func(old []byte) ([]byte, error)

// A FileStep is one file: all that must be in it, composed, compared and
// written once. The zero Mode means 0644 for a new file; a file that is there
// keeps its mode and owner. Missing folders above it are made first.
type FileStep struct {
	Path  string
	Mode  fs.FileMode // permission bits of a file that has to be made; where one says executable, of any
	Edits []Edit
}

// ID is "file:" and the path.
func (s *FileStep) ID() string { return "file:" + s.Path }

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
	next := slices.Clone(data)
	for _, edit := range s.Edits {
		if next, err = edit(next); err != nil {
			var refusal *Refusal
			if errors.As(err, &refusal) {
				return Change{}, err
			}
			return Change{}, fmt.Errorf("edit %s: %w", s.Path, err)
		}
	}
	// A script that must be run, and is not executable.
	dead := there && next != nil && s.Mode&0o111 != 0 && old.Mode&0o111 == 0
	if !dead && (next == nil) == !there && string(next) == string(data) {
		return Change{}, nil
	}
	target := s.Path
	if there {
		target = old.Path // a link's target
	}
	c := Change{Diff: Diff(s.Path, data, next)}
	was, is := Absent, Absent
	if there {
		was = nodeSum(old)
	}
	var wanted host.File
	if next != nil {
		mode := s.Mode
		if mode == 0 {
			mode = 0o644
		}
		wanted = host.File{Mode: mode, Data: next}
		if there {
			wanted.Mode, wanted.UID, wanted.GID = old.Mode, old.UID, old.GID
		}
		if dead {
			wanted.Mode |= s.Mode & 0o111
			c.Diff = LiveDiff("mode "+s.Path, fmt.Sprintf("%04o", old.Mode.Perm()), fmt.Sprintf("%04o", wanted.Mode.Perm())) + c.Diff
		}
		is = nodeSum(wanted)
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
	return c, nil
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
}

// ID is "link:" and the path.
func (s *LinkStep) ID() string { return "link:" + s.Path }

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
