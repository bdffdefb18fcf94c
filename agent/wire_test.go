package agent

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

func TestErrorsCrossTheWire(t *testing.T) {
	exit := &host.ExitError{Host: "rs1", Argv: []string{"ip", "addr"}, Exit: 2, Stderr: "RTNETLINK answers: File exists\n"}
	for _, err := range []error{
		errors.New("plain"),
		&StepError{Phase: "do", Step: "ip", Err: exit},
		fmt.Errorf("plan: %w", step.Refuse("a hint", "a reason")),
		&host.TakenError{Path: Lease, Holder: "somebody"},
		fmt.Errorf("x: %w", ErrNotApproved),
		fmt.Errorf("x: %w", ErrUndone),
		&UndoError{Cause: &StepError{Phase: "do", Step: "ip", Err: exit}, Failed: []string{"a", "b"}},
		&UndoError{Failed: []string{"a"}},
		&LeftError{Edited: []string{"/etc/x"}, Left: []string{"file:/etc/x", "file:/etc/y"}},
		&StepError{Phase: "verify", Step: "s", Err: &VerifyError{Step: "s", Diff: "-a\n+b\n"}},
		fmt.Errorf("x: %w", step.ErrChanged),
		&fs.PathError{Op: "write", Path: "/x", Err: syscall.ENOSPC},
		&fs.PathError{Op: "write", Path: "/x", Err: syscall.EROFS},
		fmt.Errorf("x: %w", host.ErrLost),
		context.Canceled,
		errors.Join(&StepError{Phase: "check", Step: "a", Err: step.Refuse("", "one")}, errors.New("two")),
	} {
		var stream bytes.Buffer
		if werr := writeFrame(&stream, response{ID: 1, Done: true, Error: toWire(err)}); werr != nil {
			t.Fatal(werr)
		}
		var res response
		if rerr := readFrame(&stream, &res); rerr != nil {
			t.Fatal(rerr)
		}
		got := fromWire(res.Error)
		if got.Error() != err.Error() {
			t.Errorf("%q came as %q", err, got)
		}
		if diff := cmp.Diff(toWire(err), toWire(got)); diff != "" {
			t.Errorf("%q: %s", err, diff)
		}
		for name, s := range sentinels() {
			if errors.Is(err, s) != errors.Is(got, s) {
				t.Errorf("%q: is %s %v", err, name, errors.Is(got, s))
			}
		}
	}
	if fromWire(toWire(nil)) != nil {
		t.Error("no error came as one")
	}
}

func TestHello(t *testing.T) {
	motd := strings.Repeat("Welcome to rs1\r\n", 50)
	for name, c := range map[string]struct {
		in, build, garbage string
	}{
		"alone":              {"lvsfleet-agent/1 abc\n", "abc", ""},
		"no build":           {"lvsfleet-agent/1 -\n", "", ""},
		"after a greeting":   {motd + "lvsfleet-agent/1 abc\nframes", "abc", ""},
		"on a line of csh's": {"tset: unknown terminal lvsfleet-agent/1 abc\n", "abc", ""},
		"csh without it":     {"/var/lib/x: Command not found.\n", "", "/var/lib/x: Command not found.\n"},
		"nothing":            {"", "", ""},
		"cut off":            {"lvsfleet-agent/1 ab", "", "lvsfleet-agent/1 ab"},
		"endless":            {strings.Repeat("y", 1<<20), "", strings.Repeat("y", 400) + "..."},
		"binary":             {"\x7fELF\x02\x00\n\n", "", "\x7fELF\x02\x00\n\n"},
	} {
		build, err := awaitHello(bufio.NewReader(strings.NewReader(c.in)))
		var nobody *NoAgentError
		if build != c.build || (err != nil) != (c.garbage != "" || c.in == "") {
			t.Errorf("%s: %q %v", name, build, err)
		}
		if err != nil && (!errors.As(err, &nobody) || nobody.Garbage != c.garbage) {
			t.Errorf("%s: %#v", name, err)
		}
	}
}

func TestFramesAreBounded(t *testing.T) {
	// A length that nobody could mean is refused before anything is read.
	huge := binary.BigEndian.AppendUint32(nil, MaxFrame+1)
	var v response
	if err := readFrame(bytes.NewReader(huge), &v); err == nil || errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("too long: %v", err)
	}
	// One that could be meant, and does not come, costs nothing.
	large := binary.BigEndian.AppendUint32(nil, MaxFrame)
	allocs := testing.AllocsPerRun(1, func() { _ = readFrame(bytes.NewReader(large), &v) })
	if allocs > 50 {
		t.Errorf("%v allocations", allocs)
	}
	if err := readFrame(bytes.NewReader(large), &v); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("cut off: %v", err)
	}
	if err := readFrame(strings.NewReader(""), &v); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}

func FuzzReadFrame(f *testing.F) {
	for _, v := range []any{
		request{ID: 1, Method: methodCheck}, request{ID: 2, Method: methodBegin, Tx: &Transaction{Run: "r"}},
		response{ID: 1, Done: true, Report: &Report{}}, response{ID: 1, Error: &wireError{Undo: &wireUndo{}}},
		response{ID: 1, Error: &wireError{Step: &wireStep{}}},
	} {
		var b bytes.Buffer
		if err := writeFrame(&b, v); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Add([]byte{0, 0, 0, 0})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bytes.NewReader(data)
		for {
			var res response
			if err := readFrame(r, &res); err != nil {
				break
			}
			if err := fromWire(res.Error); err != nil {
				_ = err.Error()
				_ = errors.Is(err, ErrUndone)
			}
		}
		var req request
		_ = readFrame(bytes.NewReader(data), &req)
	})
}

func FuzzAwaitHello(f *testing.F) {
	f.Add("lvsfleet-agent/1 abc\n")
	f.Add("garbage\nlvsfleet-agent/1 -\n")
	f.Fuzz(func(t *testing.T, in string) {
		build, err := awaitHello(bufio.NewReader(strings.NewReader(in)))
		if err == nil && !strings.Contains(in, agentMagic) {
			t.Fatalf("%q passed for an agent of build %q", in, build)
		}
	})
}
