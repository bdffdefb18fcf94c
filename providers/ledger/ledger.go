// Package ledger is what a host remembers of all that lvsfleet has changed on
// it: how to take it back, whichever run made it. What lvsfleet never changed
// is not in it, and is never touched by a removal.
//
// It is one document, STATE/ledger.json, replaced whole with each transaction
// and undone with it.
package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// version is that of the document.
const version = 1

// Path is where the ledger lies below a host's state folder.
func Path(root string) string { return path.Join(root, "ledger.json") }

// A Ledger is the document. The zero Ledger is that of a host on which
// lvsfleet has changed nothing.
type Ledger struct {
	Version int `json:"version"`
	// For are the parts (inventory.Desired.Parts) that what is here was made
	// for.
	For []string `json:"for,omitempty"`
	// Steps are the IDs of all steps that were planned for them, whether they
	// changed anything or not; builds before it wrote none.
	Steps []string `json:"steps,omitempty"`
	// None: they were planned with network = "none".
	None  bool      `json:"none,omitempty"`
	Live  []Step    `json:"live,omitempty"`  // in the order in which they were made
	Files []File    `json:"files,omitempty"` // in the order in which they were first written
	IPVS  []Service `json:"ipvs,omitempty"`  // by key

	rest map[string]json.RawMessage // what another build wrote
}

// A Step is a live step that lvsfleet has changed.
type Step struct {
	ID      string   `json:"id"`
	Records []Record `json:"records"` // the first made it what it was not before

	rest map[string]json.RawMessage // what another build wrote
}

// A Record is one change of a step (step.Change).
type Record struct {
	Was  string    `json:"was,omitempty"`
	Want string    `json:"want,omitempty"`
	Do   []step.Op `json:"do"`
	Undo []step.Op `json:"undo"`
	// Effects are the change's; builds before effects wrote none.
	Effects []step.Effect `json:"effects,omitempty"`

	rest map[string]json.RawMessage // what another build wrote
}

// A File is a file, a link or a folder that lvsfleet has written or removed.
type File struct {
	Path  string `json:"path"`            // what was written, not the link to it
	Step  string `json:"step"`            // the step that wrote it last
	Orig  *Node  `json:"orig,omitempty"`  // what it would be now without lvsfleet; nil: not there
	Wrote *Node  `json:"wrote,omitempty"` // what was written last; nil: it was removed
	Rules bool   `json:"rules,omitempty"` // step.Change.Rules; Wrote has no content, only its Sum
	// Notify are the commands that tell of a change of it (step.FileStep).
	Notify [][]string `json:"notify,omitempty"`
	// None: it was written too where nothing of the network was wanted at boot
	// (network = "none"): a director's rules, what loads them, what they need.
	None bool `json:"none,omitempty"`

	rest map[string]json.RawMessage // what another build wrote
}

// A Node is what is at a path.
type Node struct {
	Mode fs.FileMode `json:"mode"`
	UID  int         `json:"uid,omitempty"`
	GID  int         `json:"gid,omitempty"`
	Data []byte      `json:"data,omitempty"`
	Sum  step.Sum    `json:"sum,omitempty"`
}

// A Service is a service of the IPVS table that lvsfleet made, or took over.
type Service struct {
	Key  ipvs.Key      `json:"key"`
	Orig *ipvs.Service `json:"orig,omitempty"` // nil: there was none

	rest map[string]json.RawMessage // what another build wrote
}

func nodeOf(f *host.File) *Node {
	if f == nil {
		return nil
	}
	return &Node{Mode: f.Mode, UID: f.UID, GID: f.GID, Data: f.Data}
}

func (n *Node) file() *host.File {
	if n == nil {
		return nil
	}
	return &host.File{Mode: n.Mode, UID: n.UID, GID: n.GID, Data: n.Data}
}

// Read reads the ledger of the host whose state folder is root; the zero
// Ledger where there is none. sum is that of the file, for the next one to be
// written over it.
func Read(ctx context.Context, h host.Reader, root string) (l Ledger, sum step.Sum, err error) {
	f, err := h.ReadFile(ctx, Path(root))
	if errors.Is(err, fs.ErrNotExist) {
		return Ledger{}, step.Absent, nil
	}
	if err != nil {
		return Ledger{}, "", fmt.Errorf("read the ledger: %w", err)
	}
	if l, err = Decode(&f); err != nil {
		return Ledger{}, "", fmt.Errorf("read the ledger %s: %w", Path(root), err)
	}
	return l, step.SumOf(f), nil
}

// Decode reads what File gives.
func Decode(f *host.File) (Ledger, error) {
	if f == nil {
		return Ledger{}, nil
	}
	return decode(f.Data)
}

func decode(text []byte) (Ledger, error) {
	var l Ledger
	if err := json.Unmarshal(text, &l); err != nil {
		return Ledger{}, err
	}
	if l.Version != version {
		return Ledger{}, fmt.Errorf("it has version %d, this lvsfleet reads %d", l.Version, version)
	}
	l.Live = slices.DeleteFunc(l.Live, func(s Step) bool { return len(s.Records) == 0 })
	return l, nil
}

// File gives the ledger as it is written; nil where it has nothing to say.
func (l Ledger) File() (*host.File, error) {
	if l.Empty() {
		return nil, nil
	}
	l.Version = version
	text, err := json.Marshal(l)
	if err != nil {
		return nil, fmt.Errorf("encode the ledger: %w", err)
	}
	return &host.File{Mode: 0o600, Data: append(text, '\n')}, nil
}

// Empty says that nothing on the host is lvsfleet's.
func (l Ledger) Empty() bool { return len(l.Live)+len(l.Files)+len(l.IPVS) == 0 }

// Shrinks says whether d has no use any more for something that the ledger's
// contents were made for.
func (l Ledger) Shrinks(d inventory.Desired) bool {
	parts := d.Parts()
	return slices.ContainsFunc(l.For, func(p string) bool { return !slices.Contains(parts, p) })
}

// Serves says whether the ledger has a service that d does not name.
func (l Ledger) Serves(d inventory.Desired, sys System) bool {
	if len(l.IPVS) == 0 {
		return false
	}
	named := map[ipvs.Key]bool{}
	for _, k := range sys.Services(d) {
		named[k] = true
	}
	return slices.ContainsFunc(l.IPVS, func(s Service) bool { return !named[s.Key] })
}

// file finds the record of the first of the paths that has one.
func (l Ledger) file(paths ...string) *File {
	for _, p := range paths {
		for i := range l.Files {
			if p != "" && l.Files[i].Path == p {
				return &l.Files[i]
			}
		}
	}
	return nil
}

// orig is what the file would be, without lvsfleet, that is now what it is.
func (l Ledger) orig(f File, now *host.File, sys System) *host.File {
	o, w := f.Orig.file(), f.Wrote
	if o != nil && o.Mode.Type() != 0 || now != nil && now.Mode.Type() != 0 {
		return o // links and folders have no lines
	}
	if same(now, f.Wrote) {
		return o
	}
	var data []byte
	if f.Rules {
		data = sys.GiveBack(content(now), content(o), l.Taken(sys))
	} else {
		data, _ = step.Merge(content(w.file()), content(o), content(now))
	}
	if data == nil {
		return nil
	}
	out := host.File{Data: data}
	switch {
	case now != nil && !(o != nil && w != nil && now.Mode == w.Mode && now.UID == w.UID && now.GID == w.GID):
		out.Mode, out.UID, out.GID = now.Mode, now.UID, now.GID
	case o != nil:
		out.Mode, out.UID, out.GID = o.Mode, o.UID, o.GID
	}
	return &out
}

// content tells no file from an empty one.
func content(f *host.File) []byte {
	switch {
	case f == nil:
		return nil
	case f.Data == nil:
		return []byte{}
	}
	return f.Data
}

// same says whether what is there is n.
func same(f *host.File, n *Node) bool {
	if f == nil || n == nil {
		return f == nil && n == nil
	}
	g := *f
	g.Path = ""
	sum := n.Sum
	if sum == "" {
		sum = step.SumOf(*n.file())
	}
	return step.SumOf(g) == sum
}

// Taken are the services of the ledger, with what they were before.
func (l Ledger) Taken(sys System) []ipvs.Taken {
	boot := map[ipvs.Key]*ipvs.Service{}
	for _, f := range l.Files {
		if f.Rules && f.Orig != nil {
			for _, s := range sys.Rules(f.Orig.Data) {
				boot[s.Key] = &s
			}
		}
	}
	var list []ipvs.Taken
	for _, s := range l.IPVS {
		list = append(list, ipvs.Taken{Key: s.Key, Live: s.Orig, Boot: boot[s.Key]})
	}
	return list
}
