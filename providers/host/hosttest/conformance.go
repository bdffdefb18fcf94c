package hosttest

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lvsfleet/lvsfleet/providers/host"
)

// A Subject is a Host under test.
type Subject struct {
	Host host.Host
	// Dir is an empty folder on it, without links on its way, in which the
	// suite may do what it likes.
	Dir string
	// UID and GID own what is written: root's, but where the tests do not run
	// as root.
	UID, GID int
}

// Conformance holds a Host to what its interface promises. The machine needs
// the command uname. open is called once for each test, for a fresh folder.
func Conformance(t *testing.T, open func(t *testing.T) Subject) {
	for name, test := range map[string]func(*testing.T, Subject){
		"files come back as they were written": testFiles,
		"what is there is not overwritten":     testExclusive,
		"folders":                              testFolders,
		"links":                                testLinks,
		"what is not there":                    testAbsent,
		"rename":                               testRename,
		"remove":                               testRemove,
		"replace":                              testReplace,
		"commands":                             testRun,
		"an end of the context":                testCancel,
		"locks":                                testLock,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func (s Subject) file(mode fs.FileMode, data string) host.File {
	return host.File{Mode: mode, UID: s.UID, GID: s.GID, Data: []byte(data)}
}

func (s Subject) write(t *testing.T, name string, f host.File) string {
	t.Helper()
	p := path.Join(s.Dir, name)
	if err := s.Host.Write(t.Context(), p, f); err != nil {
		t.Fatalf("write %s: %v", name, err)
	}
	return p
}

func (s Subject) read(t *testing.T, p string) host.File {
	t.Helper()
	f, err := s.Host.ReadFile(t.Context(), p)
	if err != nil {
		t.Fatalf("read %s: %v", p, err)
	}
	return f
}

func (s Subject) names(t *testing.T, dir string) []host.Entry {
	t.Helper()
	list, err := s.Host.ReadDir(t.Context(), dir)
	if err != nil {
		t.Fatalf("list %s: %v", dir, err)
	}
	return list
}

func testFiles(t *testing.T, s Subject) {
	big := strings.Repeat("0123456789abcdef", 20_000)
	for name, f := range map[string]host.File{
		"plain":   s.file(0o644, "a\nb\n"),
		"secret":  s.file(0o600, "x"),
		"script":  s.file(0o755, "#!/bin/sh\n"),
		"open":    s.file(0o666, "umask must not matter\n"),
		"nothing": s.file(0o644, ""),
		"bytes":   s.file(0o640, "\x00\xff\r\n\n\n no newline"),
		"big":     s.file(0o644, big),
		"a name with spaces; and $x 'y' \"z\" !1 \\": s.file(0o644, "odd\n"),
	} {
		p := s.write(t, name, f)
		got := s.read(t, p)
		f.Path = p
		if len(got.Data) == 0 {
			got.Data = f.Data
		}
		if diff := cmp.Diff(f, got); diff != "" && len(diff) < 2000 {
			t.Errorf("%s: %s", name, diff)
		} else if diff != "" {
			t.Errorf("%s: %d bytes came back of %d", name, len(got.Data), len(f.Data))
		}
	}
}

func testExclusive(t *testing.T, s Subject) {
	p := s.write(t, "f", s.file(0o644, "first"))
	for _, f := range []host.File{
		s.file(0o644, "second"),
		s.file(fs.ModeDir|0o755, ""),
		s.file(fs.ModeSymlink|0o777, "second"),
	} {
		if err := s.Host.Write(t.Context(), p, f); !errors.Is(err, fs.ErrExist) {
			t.Errorf("write %v over a file: %v", f.Mode, err)
		}
	}
	if got := s.read(t, p); string(got.Data) != "first" {
		t.Errorf("the file is now %q", got.Data)
	}
	link := s.write(t, "link", s.file(fs.ModeSymlink|0o777, "nowhere"))
	if err := s.Host.Write(t.Context(), link, s.file(0o644, "x")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("write over a link that leads nowhere: %v", err)
	}
}

func testFolders(t *testing.T, s Subject) {
	dir := s.write(t, "d", s.file(fs.ModeDir|0o750, ""))
	s.write(t, "d/b", s.file(0o644, "b"))
	s.write(t, "d/a", s.file(0o600, "a"))
	s.write(t, "d/.hidden", s.file(0o644, ""))
	s.write(t, "d/sub", s.file(fs.ModeDir|0o700, ""))
	s.write(t, "d/to", s.file(fs.ModeSymlink|0o777, "../d/a"))
	var got []string
	for _, e := range s.names(t, dir) {
		got = append(got, e.Name+" "+e.Mode.Type().String()+" "+e.Link)
	}
	want := []string{".hidden ---------- ", "a ---------- ", "b ---------- ", "sub d--------- ", "to L--------- ../d/a"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, e := range s.names(t, s.Dir) {
		if e.Name == "d" && e.Mode.Perm() != 0o750 {
			t.Errorf("the folder has mode %v", e.Mode)
		}
	}
	if list := s.names(t, path.Join(dir, "sub")); len(list) != 0 {
		t.Errorf("an empty folder has %v", list)
	}
	if _, err := s.Host.ReadFile(t.Context(), dir); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("read a folder as a file: %v", err)
	}
	if _, err := s.Host.ReadDir(t.Context(), path.Join(dir, "a")); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("list a file: %v", err)
	}
	if err := s.Host.Write(t.Context(), path.Join(s.Dir, "no/such/folder"), s.file(0o644, "")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("write into a folder that is not there: %v", err)
	}
}

func testLinks(t *testing.T, s Subject) {
	target := s.write(t, "target", s.file(0o644, "content"))
	s.write(t, "dir", s.file(fs.ModeDir|0o755, ""))
	for _, link := range [][2]string{
		{"relative", "target"},
		{"absolute", target},
		{"dotted", "./dir/../target"},
		{"twice", "relative"},
	} {
		p := s.write(t, link[0], s.file(fs.ModeSymlink|0o777, link[1]))
		if got := s.read(t, p); got.Path != target || string(got.Data) != "content" || !got.Mode.IsRegular() {
			t.Errorf("%s: leads to %s: %q %v", link[0], got.Path, got.Data, got.Mode)
		}
	}
	p := s.write(t, "dangling", s.file(fs.ModeSymlink|0o777, "nowhere"))
	if _, err := s.Host.ReadFile(t.Context(), p); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("read through a link to nowhere: %v", err)
	}
	if err := s.Host.Remove(t.Context(), path.Join(s.Dir, "absolute")); err != nil {
		t.Errorf("remove a link: %v", err)
	}
	if got := s.read(t, target); string(got.Data) != "content" {
		t.Error("the target went with its link")
	}
	// Folders on the way are followed too.
	s.write(t, "dir/inner", s.file(0o644, "inner"))
	s.write(t, "way", s.file(fs.ModeSymlink|0o777, "dir"))
	if got := s.read(t, path.Join(s.Dir, "way/inner")); got.Path != path.Join(s.Dir, "dir/inner") {
		t.Errorf("through a linked folder it is at %s", got.Path)
	}
}

func testAbsent(t *testing.T, s Subject) {
	p := path.Join(s.Dir, "absent")
	if _, err := s.Host.ReadFile(t.Context(), p); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("read: %v", err)
	}
	if _, err := s.Host.ReadDir(t.Context(), p); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("list: %v", err)
	}
	if err := s.Host.Remove(t.Context(), p); err != nil {
		t.Errorf("remove: %v", err)
	}
	if err := s.Host.Remove(t.Context(), path.Join(p, "below")); err != nil {
		t.Errorf("remove below it: %v", err)
	}
	if err := s.Host.Rename(t.Context(), p, p+"2"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("rename: %v", err)
	}
}

func testRename(t *testing.T, s Subject) {
	a := s.write(t, "a", s.file(0o640, "a"))
	b := s.write(t, "b", s.file(0o644, "b"))
	if err := s.Host.Rename(t.Context(), a, b); err != nil {
		t.Fatalf("over a file: %v", err)
	}
	if got := s.read(t, b); string(got.Data) != "a" || got.Mode != 0o640 {
		t.Errorf("over a file: %q %v", got.Data, got.Mode)
	}
	if _, err := s.Host.ReadFile(t.Context(), a); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the old name is still there: %v", err)
	}
	link := s.write(t, "link", s.file(fs.ModeSymlink|0o777, "b"))
	c := s.write(t, "c", s.file(0o644, "c"))
	if err := s.Host.Rename(t.Context(), c, link); err != nil {
		t.Fatalf("over a link: %v", err)
	}
	if got := s.read(t, link); got.Path != link || string(got.Data) != "c" || string(s.read(t, b).Data) != "a" {
		t.Errorf("over a link: %s %q", got.Path, got.Data)
	}
	dir := s.write(t, "dir", s.file(fs.ModeDir|0o755, ""))
	s.write(t, "dir/x", s.file(0o644, "x"))
	if err := s.Host.Rename(t.Context(), dir, dir+"2"); err != nil {
		t.Fatalf("a folder: %v", err)
	}
	if got := s.read(t, dir+"2/x"); string(got.Data) != "x" {
		t.Errorf("a folder: %q", got.Data)
	}
	if err := s.Host.Rename(t.Context(), b, dir+"2"); err == nil {
		t.Error("a file took the place of a folder")
	}
	if got := s.names(t, dir+"2"); len(got) != 1 {
		t.Errorf("a file went into a folder: %v", got)
	}
}

func testRemove(t *testing.T, s Subject) {
	dir := s.write(t, "d", s.file(fs.ModeDir|0o755, ""))
	f := s.write(t, "d/f", s.file(0o644, ""))
	if err := s.Host.Remove(t.Context(), dir); err == nil {
		t.Error("a folder went with what was in it")
	}
	for _, p := range []string{f, dir} {
		if err := s.Host.Remove(t.Context(), p); err != nil {
			t.Errorf("%s: %v", p, err)
		}
	}
	if list := s.names(t, s.Dir); len(list) != 0 {
		t.Errorf("left: %v", list)
	}
}

func testReplace(t *testing.T, s Subject) {
	p := s.write(t, "f", s.file(0o644, "old"))
	if err := host.Replace(t.Context(), s.Host, p, s.file(0o600, "new")); err != nil {
		t.Fatal(err)
	}
	if got := s.read(t, p); string(got.Data) != "new" || got.Mode != 0o600 {
		t.Errorf("%q %v", got.Data, got.Mode)
	}
	if list := s.names(t, s.Dir); len(list) != 1 {
		t.Errorf("left: %v", list)
	}
}

func testRun(t *testing.T, s Subject) {
	if _, err := host.Identify(t.Context(), s.Host); err != nil {
		t.Error(err)
	}
	res, err := s.Host.Run(t.Context(), host.Cmd{Argv: []string{"lvsfleet-no-such-command", "x"}})
	var exit *host.ExitError
	if !errors.Is(err, host.ErrNotFound) || !errors.As(err, &exit) || res.Exit != 127 {
		t.Errorf("a command that is not there: %d %v", res.Exit, err)
	} else if exit.Host == "" || strings.Join(exit.Argv, " ") != "lvsfleet-no-such-command x" {
		t.Errorf("it is not named: %v", exit)
	}
	if _, err := s.Host.Run(t.Context(), host.Cmd{}); err == nil {
		t.Error("an empty argv ran")
	}
}

func testCancel(t *testing.T, s Subject) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var exit *host.ExitError
	if _, err := s.Host.Run(ctx, host.Cmd{Argv: []string{"uname"}}); err == nil || errors.As(err, &exit) {
		t.Errorf("a command was run: %v", err)
	}
}

func testLock(t *testing.T, s Subject) {
	l, ok := host.As[host.Locker](s.Host)
	if !ok {
		t.Fatal("it has no locks")
	}
	p := path.Join(s.Dir, "run", "lease")
	holder := func(want string) {
		t.Helper()
		if got, err := l.Holder(t.Context(), p); err != nil || got != want {
			t.Errorf("the holder is %q, not %q: %v", got, want, err)
		}
	}
	holder("")
	for range 2 {
		release, err := l.Lock(t.Context(), p, "somebody, run r1, since now")
		if err != nil {
			t.Fatal(err)
		}
		holder("somebody, run r1, since now")
		var taken *host.TakenError
		if _, err := l.Lock(t.Context(), p, "else"); !errors.As(err, &taken) || taken.Holder != "somebody, run r1, since now" {
			t.Errorf("taken twice: %v", err)
		}
		release()
		release()
		holder("")
	}
}
