package agent

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/lvsfleet/lvsfleet/agent/journal"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
	"github.com/lvsfleet/lvsfleet/providers/verify"
)

// The wire: each side sends one line of text, then frames. A frame is its
// length, four bytes, the most significant first, and as many bytes of JSON.
// The controller does not wait for the agent's line before it asks, so that a
// check costs one round trip.
//
// What is long, a table of tens of thousands of real servers, goes in pieces,
// between which other frames may pass: over a slow line it takes minutes, and a
// guard that hears nothing for as long would undo what is being told. The two
// highest bits of a length say so: longPiece, and longEnd with the last one. Of
// each side one frame at a time goes in pieces.
const (
	clientMagic = "lvsfleet-controller/1 "
	agentMagic  = "lvsfleet-agent/1 "
	// maxHello bounds a line, maxGarbage what may come before the agent's: a
	// login's greetings, or a shell's complaint.
	maxHello   = 256
	maxGarbage = 64 << 10
	// MaxFrame bounds a frame, in bytes.
	MaxFrame = 256 << 20

	longPiece = 1 << 31
	longEnd   = 1 << 30
	// maxPiece is what a frame may hold to go in one piece: half a second at a
	// megabit.
	maxPiece = 64 << 10
)

// hello is the line of a side whose build has that hash.
func hello(magic, build string) string {
	if build == "" {
		build = "-"
	}
	return magic + build + "\n"
}

// buildOf reads the build out of a hello's rest.
func buildOf(rest string) string {
	if rest == "-" {
		return ""
	}
	return rest
}

// A frameWriter sends frames. It is safe for concurrent use.
type frameWriter struct {
	w        io.Writer
	greeting []byte        // goes before the first one
	turn     chan struct{} // full while somebody writes: who waits longest is next, which a mutex does not promise
	long     sync.Mutex    // held for a frame that goes in pieces
}

func newFrameWriter(w io.Writer, greeting string) *frameWriter {
	return &frameWriter{w: w, greeting: []byte(greeting), turn: make(chan struct{}, 1)}
}

// send sends v, in one write where it is short.
func (f *frameWriter) send(v any) error {
	payload, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode frame: %w", err)
	}
	if len(payload) > MaxFrame {
		return fmt.Errorf("encode frame: %d bytes are more than %d", len(payload), MaxFrame)
	}
	if len(payload) <= maxPiece {
		return f.write(0, payload)
	}
	f.long.Lock()
	defer f.long.Unlock()
	for len(payload) > maxPiece {
		if err := f.write(longPiece, payload[:maxPiece]); err != nil {
			return err
		}
		payload = payload[maxPiece:]
	}
	return f.write(longPiece|longEnd, payload)
}

func (f *frameWriter) write(bits uint32, payload []byte) error {
	f.turn <- struct{}{}
	defer func() { <-f.turn }()
	b := make([]byte, 0, len(f.greeting)+4+len(payload))
	b = append(b, f.greeting...)
	f.greeting = nil
	b = binary.BigEndian.AppendUint32(b, bits|uint32(len(payload)))
	_, err := f.w.Write(append(b, payload...))
	return err
}

// A frameReader reads frames.
type frameReader struct {
	r    io.Reader
	most int          // bytes of a frame; 0: MaxFrame
	long bytes.Buffer // the pieces of one that have come
}

// next reads one frame; io.EOF where the stream ends before it. Memory grows
// with what has arrived, not with what a length promises.
func (f *frameReader) next() ([]byte, error) {
	for {
		var head [4]byte
		if _, err := io.ReadFull(f.r, head[:]); err != nil {
			if errors.Is(err, io.EOF) && f.long.Len() == 0 {
				return nil, io.EOF
			}
			return nil, fmt.Errorf("read frame: %w", noEOF(err))
		}
		n := binary.BigEndian.Uint32(head[:])
		piece, end := n&longPiece != 0, n&longEnd != 0
		n &^= longPiece | longEnd
		into := &f.long
		if !piece {
			into = &bytes.Buffer{}
		}
		most := f.most
		if most == 0 {
			most = MaxFrame
		}
		if into.Len()+int(n) > most || end && !piece {
			return nil, fmt.Errorf("read frame: %d bytes are more than %d, or no end of pieces", into.Len()+int(n), most)
		}
		if _, err := io.CopyN(into, f.r, int64(n)); err != nil {
			return nil, fmt.Errorf("read frame: %w", noEOF(err))
		}
		if piece && !end {
			continue
		}
		frame := into.Bytes()
		if piece {
			f.long = bytes.Buffer{}
		}
		return frame, nil
	}
}

// isLong says whether a frame takes so long to decode that it must be done
// beside the stream: a guard's word may be the next.
func isLong(frame []byte) bool { return len(frame) > maxPiece }

func decode(frame []byte, v any) error {
	if err := json.Unmarshal(frame, v); err != nil {
		return fmt.Errorf("decode frame: %w", err)
	}
	return nil
}

// headOf decodes of a request what says whose it is and what it asks for, which
// comes first: for a long one that is far less than all of it.
func headOf(frame []byte) (request, error) {
	var req request
	d := json.NewDecoder(bytes.NewReader(frame))
	t, err := d.Token()
	if err == nil && t != json.Delim('{') {
		err = fmt.Errorf("it begins with %v", t)
	}
	for err == nil && (req.ID == 0 || req.Method == "") && d.More() {
		if t, err = d.Token(); err != nil {
			break
		}
		switch t {
		case "id":
			err = d.Decode(&req.ID)
		case "method":
			err = d.Decode(&req.Method)
		default: // in another order
			return req, decode(frame, &req)
		}
	}
	if err != nil {
		return req, fmt.Errorf("decode frame: %w", err)
	}
	return req, nil
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// ReadLine reads up to and with a newline, at most limit bytes, without taking
// more than that from r.
func ReadLine(r io.ByteReader, limit int) (string, error) {
	var line []byte
	for len(line) < limit {
		b, err := r.ReadByte()
		if err != nil {
			return string(line), err
		}
		if line = append(line, b); b == '\n' {
			break
		}
	}
	return string(line), nil
}

// A NoAgentError is a stream at whose other end no agent has said its name, or
// one of another build: nothing was asked of the host.
type NoAgentError struct {
	Garbage string // what came instead, shortened; "" the stream just ended
	Build   string // the agent's, where it is another one than Want
	Want    string
	Err     error // why no more came; nil: too much came
}

func (e *NoAgentError) Error() string {
	switch said := strings.TrimSpace(e.Garbage); {
	case e.Build != e.Want && e.Build != "":
		return fmt.Sprintf("the agent there is of build %s, not %s", e.Build, e.Want)
	case said != "":
		return fmt.Sprintf("no agent answers; the host says %q", said)
	case e.Err != nil:
		return fmt.Sprintf("no agent answers: %v", e.Err)
	}
	return "no agent answers"
}

func (e *NoAgentError) Unwrap() error { return e.Err }

// awaitHello reads lines until the agent's and gives its build. What comes
// before it on the same line counts too: a greeting need not end its line.
func awaitHello(r io.ByteReader) (build string, err error) {
	var garbage strings.Builder
	for garbage.Len() < maxGarbage {
		line, err := ReadLine(r, maxGarbage-garbage.Len())
		if i := strings.Index(line, agentMagic); i >= 0 && strings.HasSuffix(line, "\n") {
			return buildOf(strings.TrimSuffix(line[i+len(agentMagic):], "\n")), nil
		}
		garbage.WriteString(line)
		if err != nil {
			return "", &NoAgentError{Garbage: shorten(garbage.String()), Err: err}
		}
	}
	return "", &NoAgentError{Garbage: shorten(garbage.String())}
}

func shorten(s string) string {
	const most = 400
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}

// The methods of a request.
const (
	methodCheck   = "check"
	methodBegin   = "begin"
	methodApply   = "apply"
	methodFinish  = "finish"
	methodVerify  = "verify"
	methodTable   = "table"
	methodClean   = "clean"
	methodWatch   = "watch"
	methodOutline = "outline"
	methodWord    = "word"   // the answer to a nonce: the run makes progress
	methodCancel  = "cancel" // the request of the same ID is no longer wanted
	methodClose   = "close"  // end what runs and what is open, answer, and go
)

// A request is what the controller asks.
type request struct {
	ID      uint64        `json:"id"`
	Method  string        `json:"method"`
	Request *Request      `json:"request,omitempty"` // check; watch, where it is another than the last
	Tx      *Transaction  `json:"tx,omitempty"`      // begin
	Run     string        `json:"run,omitempty"`     // finish
	Commit  bool          `json:"commit,omitempty"`  // finish
	Verify  *Verification `json:"verify,omitempty"`  // verify
	Nonce   string        `json:"nonce,omitempty"`   // word
	// KeepHistory is of clean.
	KeepHistory bool `json:"keep_history,omitempty"`
	// Services are those that a table is asked for; none: all.
	Services []ipvs.Key `json:"services,omitempty"`
	// Known names the report that watch has answered with last, Table asks it
	// for the live table too.
	Known string `json:"known,omitempty"`
	Table bool   `json:"table,omitempty"`
}

// A response is the agent's: any number with an Event, then one that is Done.
type response struct {
	ID     uint64  `json:"id"`
	Event  *Event  `json:"event,omitempty"`
	Done   bool    `json:"done,omitempty"`
	Report *Report `json:"report,omitempty"`
	Begun  Begun   `json:"begun,omitzero"`
	Table  []Entry `json:"table,omitempty"`
	// Results are those of a verification.
	Results []verify.Result `json:"results,omitempty"`
	// Outlines are those of the host's journals.
	Outlines []journal.Outline `json:"outlines,omitempty"`
	// Known names what a watch has found; its Report is left out where the
	// request knew it.
	Known string     `json:"known,omitempty"`
	Error *wireError `json:"error,omitempty"`
	// Nonce is the guard's latest: the controller says it again, unless its
	// run has stopped to make progress. Such a response has no ID.
	Nonce string `json:"nonce,omitempty"`
}
