package journal

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/lvsfleet/lvsfleet/providers/step"
)

// A Kind is what an Entry records.
type Kind string

// The kinds of entry, in the order in which they come.
const (
	Begin Kind = "begin" // the first: whose transaction it is
	Stage Kind = "stage" // before the files are staged: what will be put in place
	Live  Kind = "live"  // before a live step is done: how to undo it
	Ready Kind = "ready" // every live step is in force and verified
	Note  Kind = "note"  // what was left undone or in place, for people
)

// An Entry is one record. It is whole or it is not there.
type Entry struct {
	Kind   Kind      `json:"kind"`
	Time   time.Time `json:"time"`
	Header *Header   `json:"header,omitempty"` // Begin
	Files  []Record  `json:"files,omitempty"`  // Stage
	Step   *Record   `json:"step,omitempty"`   // Live
	Text   string    `json:"text,omitempty"`   // Note
}

// A Header says whose transaction a journal is of.
type Header struct {
	Run     string          `json:"run"`
	Who     string          `json:"who"`
	Boot    string          `json:"boot"` // the mark of the boot in which the live part was made
	Request json.RawMessage `json:"request,omitempty"`
	Stage   string          `json:"stage,omitempty"` // of the fleet's run
	// Undoes: it is a part of taking that run back.
	Undoes string `json:"undoes,omitempty"`
	// Desired and Reverts are the request as builds before requests wrote it.
	Desired json.RawMessage `json:"desired,omitempty"`
	Reverts json.RawMessage `json:"reverts,omitempty"`
}

// A Record is one step's change.
type Record struct {
	Step string    `json:"step"`
	Do   []step.Op `json:"do"`
	Undo []step.Op `json:"undo"`
	// Was and Want are those of the change.
	Was  string `json:"was,omitempty"`
	Want string `json:"want,omitempty"`
	// Effects are the change's, of a live step; builds before effects wrote
	// none.
	Effects []step.Effect `json:"effects,omitempty"`
	// Staged is, for each of Do, the temporary file that waits to be renamed
	// to its path; "" where there is none.
	Staged []string `json:"staged,omitempty"`
}

// errTorn is an entry that was not written whole.
var errTorn = errors.New("torn journal entry")

const magic = "lvsfleet-journal-1"

// maxEntry bounds the payload of an entry, in bytes.
const maxEntry = 256 << 20

// encode renders e as entry number seq: a line with the magic word, the
// number, the payload's length and its SHA-256, and the payload, JSON in one
// line.
func encode(seq int, e Entry) ([]byte, error) {
	payload, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encode journal entry: %w", err)
	}
	payload = append(payload, '\n')
	if len(payload) > maxEntry {
		return nil, fmt.Errorf("encode journal entry: %d bytes are more than %d", len(payload), maxEntry)
	}
	sum := sha256.Sum256(payload)
	head := fmt.Sprintf("%s %d %d %x\n", magic, seq, len(payload), sum)
	return append([]byte(head), payload...), nil
}

// decode reads what encode rendered. Whatever is not that, to the byte, is
// torn.
func decode(seq int, data []byte) (Entry, error) {
	head, payload, ok := bytes.Cut(data, []byte("\n"))
	f := strings.Split(string(head), " ")
	if !ok || len(f) != 4 || f[0] != magic || f[1] != strconv.Itoa(seq) || f[2] != strconv.Itoa(len(payload)) {
		return Entry{}, errTorn
	}
	sum := sha256.Sum256(payload)
	if f[3] != hex.EncodeToString(sum[:]) {
		return Entry{}, errTorn
	}
	var e Entry
	if err := json.Unmarshal(payload, &e); err != nil {
		return Entry{}, fmt.Errorf("decode journal entry %d: %w", seq, err)
	}
	return e, nil
}
