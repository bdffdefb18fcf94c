package step_test

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/host/hosttest"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

func appendLine(line string) step.Edit {
	return func(old []byte) ([]byte, error) {
		if strings.Contains("\n"+string(old), "\n"+line+"\n") {
			return old, nil
		}
		return append(old, line+"\n"...), nil
	}
}

func canned(files map[string]host.File) *hosttest.Canned {
	return &hosttest.Canned{Name: "h", Files: files, Runs: map[string]host.Result{}}
}

func snapshot(c *hosttest.Canned) map[string]string {
	got := map[string]string{}
	for p, f := range c.Files {
		got[p] = f.Mode.String() + " " + string(f.Data)
	}
	return got
}

func do(t *testing.T, h host.Host, ops []step.Op) {
	t.Helper()
	for _, op := range ops {
		if err := op.Do(context.Background(), h); err != nil {
			t.Fatalf("%s: %v", op, err)
		}
	}
}

// Every change of files and links: what is there afterwards, and that undo
// gives back exactly what was, also when both run twice.
func TestFilesThereAndBack(t *testing.T) {
	conf := hosttest.Regular("a=1 # mine\n")
	conf.Mode, conf.UID, conf.GID = 0o640, 3, 4
	tests := []struct {
		name  string
		step  step.Step
		files map[string]host.File
		want  map[string]string
	}{
		{
			"a new file, in new folders",
			&step.FileStep{Path: "/etc/a/b/c.conf", Edits: []step.Edit{appendLine("x")}},
			map[string]host.File{"/etc": {Mode: fs.ModeDir | 0o755}},
			map[string]string{
				"/etc": "drwxr-xr-x ", "/etc/a": "drwxr-xr-x ", "/etc/a/b": "drwxr-xr-x ",
				"/etc/a/b/c.conf": "-rw-r--r-- x\n",
			},
		},
		{
			"a script that nobody may run",
			&step.FileStep{Path: "/etc/conf", Mode: 0o755, Edits: []step.Edit{appendLine("a=1 # mine")}},
			map[string]host.File{"/etc/conf": conf},
			map[string]string{"/etc/conf": "-rwxr-x--x a=1 # mine\n"},
		},
		{
			"an edit keeps mode, owner and the other bytes",
			&step.FileStep{Path: "/etc/conf", Edits: []step.Edit{appendLine("x"), appendLine("y")}},
			map[string]host.File{"/etc/conf": conf},
			map[string]string{"/etc/conf": "-rw-r----- a=1 # mine\nx\ny\n"},
		},
		{
			"a link is written through",
			&step.FileStep{Path: "/etc/hosts", Edits: []step.Edit{appendLine("x")}},
			map[string]host.File{
				"/etc/hosts":      {Mode: fs.ModeSymlink | 0o777, Data: []byte("./inet/hosts")},
				"/etc/inet/hosts": hosttest.Regular("h\n"),
			},
			map[string]string{"/etc/hosts": "Lrwxrwxrwx ./inet/hosts", "/etc/inet/hosts": "-rw-r--r-- h\nx\n"},
		},
		{
			"a file that must go",
			&step.FileStep{Path: "/etc/conf", Edits: []step.Edit{func([]byte) ([]byte, error) { return nil, nil }}},
			map[string]host.File{"/etc/conf": conf, "/etc": {Mode: fs.ModeDir | 0o755}},
			map[string]string{"/etc": "drwxr-xr-x "},
		},
		{
			"a new link",
			&step.LinkStep{Path: "/etc/rc3.d/S08ipvsadm", Target: "../init.d/ipvsadm"},
			map[string]host.File{"/etc": {Mode: fs.ModeDir | 0o755}},
			map[string]string{
				"/etc": "drwxr-xr-x ", "/etc/rc3.d": "drwxr-xr-x ",
				"/etc/rc3.d/S08ipvsadm": "Lrwxrwxrwx ../init.d/ipvsadm",
			},
		},
		{
			"a link that leads elsewhere",
			&step.LinkStep{Path: "/etc/l", Target: "new"},
			map[string]host.File{"/etc/l": {Mode: fs.ModeSymlink | 0o777, Data: []byte("old")}},
			map[string]string{"/etc/l": "Lrwxrwxrwx new"},
		},
		{
			"a link that must go",
			&step.LinkStep{Path: "/etc/l"},
			map[string]host.File{
				"/etc":   {Mode: fs.ModeDir | 0o755},
				"/etc/l": {Mode: fs.ModeSymlink | 0o777, Data: []byte("old")},
			},
			map[string]string{"/etc": "drwxr-xr-x "},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx := context.Background()
			h := canned(tt.files)
			before := snapshot(h)
			c, err := tt.step.Check(ctx, h)
			if err != nil {
				t.Fatal(err)
			}
			if c.Holds() || c.Diff == "" {
				t.Fatalf("nothing to do: %+v", c)
			}
			if diff := cmp.Diff(before, snapshot(h)); diff != "" {
				t.Errorf("check changed something:\n%s", diff)
			}
			do(t, h, c.Undo) // of what was never done
			if diff := cmp.Diff(before, snapshot(h)); diff != "" {
				t.Errorf("undo of nothing changed something:\n%s", diff)
			}
			do(t, h, c.Do)
			do(t, h, c.Do)
			if diff := cmp.Diff(tt.want, snapshot(h)); diff != "" {
				t.Errorf("after do:\n%s", diff)
			}
			again, err := tt.step.Check(ctx, h)
			if err != nil || !again.Holds() {
				t.Errorf("check after do: %+v, %v", again, err)
			}
			do(t, h, c.Undo)
			do(t, h, c.Undo)
			if diff := cmp.Diff(before, snapshot(h)); diff != "" {
				t.Errorf("after undo:\n%s", diff)
			}
		})
	}
}

func TestUndoLeavesWhatSomebodyChangedSince(t *testing.T) {
	ctx := context.Background()
	h := canned(map[string]host.File{"/etc/conf": hosttest.Regular("a\n")})
	s := &step.FileStep{Path: "/etc/conf", Edits: []step.Edit{appendLine("x")}}
	c, err := s.Check(ctx, h)
	if err != nil {
		t.Fatal(err)
	}
	do(t, h, c.Do)
	h.Files["/etc/conf"] = hosttest.Regular("a person was here\n")
	for _, op := range append(c.Undo, c.Do...) {
		if err := op.Do(ctx, h); !errors.Is(err, step.ErrChanged) {
			t.Errorf("%s: got %v, want ErrChanged", op, err)
		}
	}
	if got := string(h.Files["/etc/conf"].Data); got != "a person was here\n" {
		t.Errorf("the file is now %q", got)
	}
}

func TestAFolderGoesWithTheLastFileInIt(t *testing.T) {
	ctx := context.Background()
	h := canned(map[string]host.File{"/etc": {Mode: fs.ModeDir | 0o755}})
	before := snapshot(h)
	// Both find the folder missing, as the checks of a plan do.
	var changes []step.Change
	for _, name := range []string{"/etc/d/a", "/etc/d/b"} {
		c, err := (&step.FileStep{Path: name, Edits: []step.Edit{appendLine("x")}}).Check(ctx, h)
		if err != nil {
			t.Fatal(err)
		}
		changes = append(changes, c)
	}
	for _, c := range changes {
		do(t, h, c.Do)
	}
	do(t, h, changes[1].Undo)
	if _, ok := h.Files["/etc/d/a"]; !ok {
		t.Error("the other step's file is gone")
	}
	do(t, h, changes[0].Undo)
	if diff := cmp.Diff(before, snapshot(h)); diff != "" {
		t.Errorf("after undo:\n%s", diff)
	}

	for _, c := range changes {
		do(t, h, c.Do)
	}
	h.Files["/etc/d/other"] = hosttest.Regular("theirs\n")
	do(t, h, changes[1].Undo)
	do(t, h, changes[0].Undo)
	if _, ok := h.Files["/etc/d/other"]; !ok || len(h.Files) != 3 {
		t.Errorf("a person's file: %v", snapshot(h))
	}
}

func TestNoFileForAFolder(t *testing.T) {
	h := canned(map[string]host.File{"/etc/conf": {Mode: fs.ModeDir | 0o755}})
	_, err := (&step.LinkStep{Path: "/etc/conf", Target: "x"}).Check(context.Background(), h)
	var refusal *step.Refusal
	if !errors.As(err, &refusal) {
		t.Errorf("got %v, want a refusal", err)
	}
}

func TestDiffMarksAMissingNewline(t *testing.T) {
	got := step.Diff("/etc/rc.conf", []byte("a\nb"), []byte("a\nb\nc\n"))
	want := "--- /etc/rc.conf\n+++ /etc/rc.conf\n@@ -1,2 +1,3 @@\n a\n-b\n\\ No newline at end of file\n+b\n+c\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestSysctlUndoNeedsTheValueThatDoLeft(t *testing.T) {
	ctx := context.Background()
	h := canned(nil)
	h.Runs["sysctl -n net.ipv4.ip_forward"] = hosttest.Text("0\n")
	h.Runs["sysctl -w net.ipv4.ip_forward=1"] = hosttest.Text("")
	c, err := step.Sysctl{Key: "net.ipv4.ip_forward", Value: "1"}.Check(ctx, h)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Do) != 1 || c.Do[0].String() != "sysctl -w net.ipv4.ip_forward=1" {
		t.Fatalf("do: %v", c.Do)
	}
	// The value is not 1: somebody has set it, so undo passes.
	do(t, h, c.Undo)
	if last := h.Log[len(h.Log)-1]; last != "sysctl -n net.ipv4.ip_forward" {
		t.Errorf("undo ran %q", last)
	}
	h.Runs["sysctl -n net.ipv4.ip_forward"] = hosttest.Text("1\n")
	h.Runs["sysctl -w net.ipv4.ip_forward=0"] = hosttest.Text("")
	do(t, h, c.Undo)
	if last := h.Log[len(h.Log)-1]; last != "sysctl -w net.ipv4.ip_forward=0" {
		t.Errorf("undo ended with %q", last)
	}
}

func TestQuoteMatchesItselfAlone(t *testing.T) {
	for _, s := range []string{"1.2.3.4", "a+b", "[x]", `\`, "$5^", "a|b(c)*?{2}"} {
		h := canned(nil)
		h.Runs["say"] = hosttest.Text(s + "\n")
		ok, err := step.Cond{Argv: []string{"say"}, Match: "^" + step.Quote(s) + "$"}.Holds(context.Background(), h)
		if err != nil || !ok {
			t.Errorf("%q does not match itself: %v, %v", s, ok, err)
		}
		h.Runs["say"] = hosttest.Text(s + "x\n")
		if ok, _ := (step.Cond{Argv: []string{"say"}, Match: "^" + step.Quote(s) + "$"}).Holds(context.Background(), h); ok {
			t.Errorf("%q matches more than itself", s)
		}
	}
}

func TestAConditionOnAFailedCommandSeesNoOutput(t *testing.T) {
	h := canned(nil)
	h.Runs["ifconfig gif0"] = hosttest.Fail(1, "ifconfig: interface gif0 does not exist\n")
	for _, not := range []bool{false, true} {
		ok, err := step.Cond{Argv: []string{"ifconfig", "gif0"}, Match: ".", Not: not}.Holds(context.Background(), h)
		if err != nil || ok != not {
			t.Errorf("not=%v: %v, %v", not, ok, err)
		}
	}
	// What cannot be asked is an error, never an answer.
	if _, err := (step.Cond{Argv: []string{"nosuch"}, Match: "."}).Holds(context.Background(), h); err == nil {
		t.Error("a command that could not be run gave an answer")
	}
}

// A neighbourhood answers probes.
type neighbourhood struct {
	host.Host
	mac string
	err error
}

func (n neighbourhood) Probe(context.Context, string, netip.Addr) (string, error) {
	return n.mac, n.err
}
func (n neighbourhood) Announce(context.Context, string, netip.Addr) error { return nil }

// An address that another machine answers for is not added, and neither is one
// that could not be asked for; where a host cannot ask, it is.
func TestAnAddressThatSomebodyHasIsNotAdded(t *testing.T) {
	op := step.Op{Kind: step.Run, Argv: []string{"add"}, Unanswered: &step.Neighbour{Dev: "eth0", Addr: netip.MustParseAddr("192.0.2.1")}}
	struck := errors.New("struck")
	for name, tt := range map[string]struct {
		wrap func(host.Host) host.Host
		want error
	}{
		"nobody answers":    {func(h host.Host) host.Host { return neighbourhood{Host: h} }, nil},
		"somebody does":     {func(h host.Host) host.Host { return neighbourhood{Host: h, mac: "02:00:00:00:00:01"} }, step.ErrAnswered},
		"it cannot be sent": {func(h host.Host) host.Host { return neighbourhood{Host: h, err: struck} }, struck},
		"nobody can ask":    {func(h host.Host) host.Host { return h }, nil},
	} {
		c := canned(nil)
		c.Runs["add"] = host.Result{}
		err := op.Do(t.Context(), tt.wrap(c))
		if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
