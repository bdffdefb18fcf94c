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
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

func next(f *frameReader, v any) error {
	frame, err := f.next()
	if err != nil {
		return err
	}
	return decode(frame, v)
}

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
		if werr := newFrameWriter(&stream, "").send(response{ID: 1, Done: true, Error: toWire(err)}); werr != nil {
			t.Fatal(werr)
		}
		var res response
		if rerr := next(&frameReader{r: &stream}, &res); rerr != nil {
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
	if err := next(&frameReader{r: bytes.NewReader(huge)}, &v); err == nil || errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("too long: %v", err)
	}
	// One that could be meant, and does not come, costs nothing.
	large := binary.BigEndian.AppendUint32(nil, MaxFrame)
	allocs := testing.AllocsPerRun(1, func() { _ = next(&frameReader{r: bytes.NewReader(large)}, &v) })
	if allocs > 50 {
		t.Errorf("%v allocations", allocs)
	}
	if err := next(&frameReader{r: bytes.NewReader(large)}, &v); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("cut off: %v", err)
	}
	if err := next(&frameReader{r: strings.NewReader("")}, &v); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}

// While one long frame is on its way over a line that takes its time, a short
// one passes it, and both arrive whole.
func TestAShortFramePassesALongOne(t *testing.T) {
	near, far := io.Pipe()
	out := newFrameWriter(far, "hello\n")
	long := response{ID: 1, Done: true, Report: &Report{Unsettled: strings.Repeat("long ", 100_000)}}
	sent := make(chan error, 1)
	go func() { sent <- out.send(long) }()
	r := bufio.NewReader(near)
	if line, err := r.ReadString('\n'); line != "hello\n" || err != nil {
		t.Fatalf("%q %v", line, err)
	}
	if _, err := r.Peek(4); err != nil { // the first piece has begun
		t.Fatal(err)
	}
	go func() { sent <- out.send(response{Nonce: "now"}) }()
	time.Sleep(100 * time.Millisecond) // it waits behind the first piece by now
	frames := frameReader{r: r}
	var got []response
	for len(got) < 2 {
		var res response
		if err := next(&frames, &res); err != nil {
			t.Fatal(err)
		}
		got = append(got, res)
	}
	if err := errors.Join(<-sent, <-sent); err != nil {
		t.Fatal(err)
	}
	if got[0].Nonce != "now" || got[1].Report == nil || got[1].Report.Unsettled != long.Report.Unsettled {
		t.Errorf("the first is %+v", got[0])
	}
}

// A guard's nonce is answered while what came before it is not dealt with yet.
func TestANonceIsAnsweredWhateverElseTakesItsTime(t *testing.T) {
	near, far := net.Pipe()
	_ = far.SetDeadline(time.Now().Add(time.Minute))
	c := NewClient(near, "")
	defer c.Close()
	in, out := bufio.NewReader(far), newFrameWriter(far, hello(agentMagic, ""))
	busy, free, asked := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		_, err := c.call(t.Context(), request{Method: methodCheck}, func(Event) { close(busy); <-free })
		asked <- err
	}()
	if _, err := ReadLine(in, maxHello); err != nil {
		t.Fatal(err)
	}
	frames := &frameReader{r: in}
	var req request
	if err := next(frames, &req); err != nil || req.Method != methodCheck {
		t.Fatalf("%+v, %v", req, err)
	}
	for _, res := range []response{
		{ID: req.ID, Event: &Event{Phase: "check"}},
		{ID: req.ID, Done: true, Report: &Report{Unsettled: strings.Repeat("long ", 100_000)}},
		{Nonce: "now"},
	} {
		if err := out.send(res); err != nil {
			t.Fatal(err)
		}
	}
	<-busy
	if err := next(frames, &req); err != nil || req.Method != methodWord || req.Nonce != "now" {
		t.Errorf("the answer to a nonce: %+v, %v", req, err)
	}
	close(free)
	if err := <-asked; err != nil {
		t.Error(err)
	}
}

// longNonsense is a frame that is not JSON beyond its first words.
func longNonsense(id uint64) []byte {
	b := fmt.Appendf(nil, `{"id":%d,"method":"check","done":true,"desired":`, id)
	return append(b, bytes.Repeat([]byte("?"), 2*maxPiece)...)
}

func sendRaw(w io.Writer, frame []byte) error {
	f := newFrameWriter(w, "")
	for len(frame) > maxPiece {
		if err := f.write(longPiece, frame[:maxPiece]); err != nil {
			return err
		}
		frame = frame[maxPiece:]
	}
	return f.write(longPiece|longEnd, frame)
}

func TestALongResponseThatIsNonsenseEndsTheSession(t *testing.T) {
	near, far := net.Pipe()
	c := NewClient(near, "")
	defer c.Close()
	go func() {
		_, _ = ReadLine(bufio.NewReader(far), maxHello)
		_, _ = io.WriteString(far, hello(agentMagic, ""))
		_ = sendRaw(far, longNonsense(1))
	}()
	if _, err := c.call(t.Context(), request{Method: methodCheck}, nil); !errors.Is(err, host.ErrLost) || !strings.Contains(err.Error(), "decode frame") {
		t.Error(err)
	}
}

func TestALongRequestThatIsNonsenseIsAnsweredSo(t *testing.T) {
	near, far := net.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- Server{}.Serve(t.Context(), far, far) }()
	r := bufio.NewReader(near)
	if _, err := ReadLine(r, maxHello); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(near, hello(clientMagic, "")); err != nil {
		t.Fatal(err)
	}
	frames := &frameReader{r: r}
	for id := range uint64(2) {
		if err := sendRaw(near, longNonsense(7+id)); err != nil {
			t.Fatal(err)
		}
		var res response
		if err := next(frames, &res); err != nil || res.ID != 7+id || !res.Done || !strings.Contains(fmt.Sprint(fromWire(res.Error)), "decode frame") {
			t.Errorf("%+v, %v", res, err)
		}
	}
	_ = near.Close()
	<-ended
}

func FuzzReadFrame(f *testing.F) {
	for _, v := range []any{
		request{ID: 1, Method: methodCheck}, request{ID: 2, Method: methodBegin, Tx: &Transaction{Run: "r"}},
		response{ID: 1, Done: true, Report: &Report{}}, response{ID: 1, Error: &wireError{Undo: &wireUndo{}}},
		response{ID: 1, Error: &wireError{Step: &wireStep{}}},
	} {
		var b bytes.Buffer
		if err := newFrameWriter(&b, "").send(v); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Add([]byte{0x80, 0, 0, 1, '{', 0, 0, 0, 2, '{', '}', 0xc0, 0, 0, 1, '}'})
	f.Add([]byte{0, 0, 0, 0})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		frames := frameReader{r: bytes.NewReader(data)}
		for {
			var res response
			if err := next(&frames, &res); err != nil {
				break
			}
			if err := fromWire(res.Error); err != nil {
				_ = err.Error()
				_ = errors.Is(err, ErrUndone)
			}
		}
		var req request
		if frame, err := (&frameReader{r: bytes.NewReader(data)}).next(); err == nil {
			_, herr := headOf(frame)
			if derr := decode(frame, &req); derr == nil && herr != nil && frame[0] == '{' {
				t.Errorf("%q has no head: %v", frame, herr)
			}
		}
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
