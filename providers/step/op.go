package step

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
)

// A Kind is what an Op does.
type Kind string

// The kinds of operation. A boot step uses Write, Remove and Notify alone.
const (
	Write    Kind = "write"    // put File at Path
	Remove   Kind = "remove"   // remove the file, link or empty folder at Path
	Run      Kind = "run"      // run Argv
	IPVS     Kind = "ipvs"     // make Edits
	Announce Kind = "announce" // tell the link of Dev that Addr is here now; failure is only noted
	Notify   Kind = "notify"   // run Argv, which has a manager read anew what a file says; failure is only noted
)

// An Op is one operation on a host, as data: it crosses the wire, lies in the
// journal, is shown by diff --ops and can be written as shell.
type Op struct {
	Kind Kind `json:"kind"`

	// Write and Remove. Expect is what must be at Path for the operation to
	// apply: the Sum of the file that was seen there. Where something else is
	// there now, somebody has been at it: the operation fails with ErrChanged.
	// Where the wanted state is there already, it is done.
	Path   string     `json:"path,omitempty"`
	File   *host.File `json:"file,omitempty"`
	Expect Sum        `json:"expect,omitempty"`

	// Run and Notify. If are the conditions under which it runs, all of them; where one
	// does not hold the operation is already so, or not to be done, and is
	// passed over. What a command does, its conditions say is not so yet, so
	// that it may be run again, and on a host on which it was never needed.
	Argv []string `json:"argv,omitempty"`
	If   []Cond   `json:"if,omitempty"`
	// Unanswered: run only after a probe on the link of Dev that nobody has
	// Addr; an answer fails the operation. Where the host cannot probe, the
	// operation runs.
	Unanswered *Neighbour    `json:"unanswered,omitempty"`
	Timeout    time.Duration `json:"timeout,omitempty"` // 0: host.DefaultTimeout

	Edits []ipvs.Edit `json:"edits,omitempty"` // IPVS

	Neighbour *Neighbour `json:"neighbour,omitempty"` // Announce
}

// A Neighbour is an address on the link of a device.
type Neighbour struct {
	Dev  string     `json:"dev"`
	Addr netip.Addr `json:"addr"`
}

// A Cond is a condition on the state of the host: what a reading command's
// standard output must, or must not, match. Match is an extended regular
// expression (POSIX ERE: no \d, \b or (?...)), tried on each line, so that
// egrep(1) decides the same. A command that fails has no output.
type Cond struct {
	Argv  []string `json:"argv"`
	Match string   `json:"match"`
	Not   bool     `json:"not,omitempty"`
	// Guard: this does not say whether the operation is needed, but whether
	// it may be done yet: an operation before it, of its own step or of
	// another, may have to come first. Silence is lifted only when no VIP is
	// left.
	Guard bool `json:"guard,omitempty"`
}

// Negate is the condition that holds where c does not.
func (c Cond) Negate() Cond {
	c.Not = !c.Not
	return c
}

// A Sum identifies the content of a file: "" for "do not care", Absent, or the
// hash of type, permission, owner and content.
type Sum string

// Absent is the Sum of what is not there.
const Absent Sum = "absent"

// SumOf gives the Sum of f.
func SumOf(f host.File) Sum {
	h := sha256.New()
	fmt.Fprintf(h, "%v %d %d\n", f.Mode, f.UID, f.GID)
	h.Write(f.Data)
	return Sum(hex.EncodeToString(h.Sum(nil)[:16]))
}

// Lstat reads what is at path itself: a link is not followed. What is not
// there is fs.ErrNotExist.
func Lstat(ctx context.Context, h host.Host, path string) (host.File, error) {
	i := strings.LastIndexByte(path, '/')
	dir, name := path[:max(i, 1)], path[i+1:]
	entries, err := h.ReadDir(ctx, dir)
	if err != nil {
		return host.File{}, err
	}
	for _, e := range entries {
		if e.Name != name {
			continue
		}
		switch {
		case e.Mode&fs.ModeSymlink != 0:
			return host.File{Path: path, Mode: fs.ModeSymlink, Data: []byte(e.Link)}, nil
		case e.Mode.IsDir():
			return host.File{Path: path, Mode: e.Mode}, nil
		}
		return h.ReadFile(ctx, path)
	}
	return host.File{}, fmt.Errorf("%s: %w", path, fs.ErrNotExist)
}

// sumAt gives the Sum of what is at path; a link counts as what it leads to
// unless asLink, a folder as its being there.
func sumAt(ctx context.Context, h host.Host, path string, want fs.FileMode) (Sum, error) {
	read := func() (host.File, error) { return h.ReadFile(ctx, path) }
	if want.Type() != 0 {
		read = func() (host.File, error) { return Lstat(ctx, h, path) }
	}
	f, err := read()
	if errors.Is(err, fs.ErrNotExist) {
		return Absent, nil
	}
	if err != nil {
		return "", err
	}
	return nodeSum(f), nil
}

// nodeSum is SumOf, except that links have no mode or owner worth the name and
// a folder is what it is called.
func nodeSum(f host.File) Sum {
	switch {
	case f.Mode&fs.ModeSymlink != 0:
		f = host.File{Mode: fs.ModeSymlink, Data: f.Data}
	case f.Mode.IsDir():
		f = host.File{Mode: fs.ModeDir}
	}
	return SumOf(f)
}

// ErrChanged is a file that is neither what was seen there nor what is wanted:
// somebody has edited it meanwhile.
var ErrChanged = errors.New("changed by somebody else meanwhile")

// ErrAnswered is a VIP that another machine of the link answers for.
var ErrAnswered = errors.New("another machine answers for the address")

// Do performs the operation. It may be repeated: what is so already is left.
func (o Op) Do(ctx context.Context, h host.Host) error {
	switch o.Kind {
	case Write:
		return o.write(ctx, h)
	case Remove:
		return o.remove(ctx, h)
	case Run, Notify:
		return o.run(ctx, h)
	case IPVS:
		t, err := ipvs.Open(h)
		if err != nil {
			return fmt.Errorf("open the IPVS table: %w", err)
		}
		err = ipvs.Make(ctx, t, o.Edits)
		if errors.Is(err, ipvs.ErrChanged) {
			return fmt.Errorf("edit the IPVS table: %w (%w)", err, ErrChanged)
		}
		if err != nil {
			return fmt.Errorf("edit the IPVS table: %w", err)
		}
		return nil
	case Announce:
		if n, ok := host.As[host.Neighbours](h); ok {
			if err := n.Announce(ctx, o.Neighbour.Dev, o.Neighbour.Addr); err != nil {
				return fmt.Errorf("announce %s on %s: %w", o.Neighbour.Addr, o.Neighbour.Dev, err)
			}
		}
		return nil
	}
	return fmt.Errorf("operation of unknown kind %q", o.Kind)
}

// Advisory says that the failure of the operation is only noted: what it tells
// somebody, that somebody finds out later.
func (o Op) Advisory() bool { return o.Kind == Announce || o.Kind == Notify }

// Ready says whether a Write or Remove still applies: done is true where the
// wanted state is there already.
func (o Op) Ready(ctx context.Context, h host.Host) (done bool, err error) {
	want, mode := Absent, fs.FileMode(0)
	if o.Kind == Write {
		want, mode = nodeSum(*o.File), o.File.Mode
	} else if o.File != nil {
		mode = o.File.Mode // what is to go
	}
	now, err := sumAt(ctx, h, o.Path, mode)
	switch {
	case err != nil:
		return false, fmt.Errorf("read %s: %w", o.Path, err)
	case now == want:
		return true, nil
	case o.Expect != "" && now != o.Expect:
		return false, fmt.Errorf("%s: %w", o.Path, ErrChanged)
	}
	if o.Kind == Remove && mode.IsDir() {
		// A folder that we made is left while anything is in it: another
		// step's file, whose undo has it go later, or a person's.
		inside, err := h.ReadDir(ctx, o.Path)
		if err != nil {
			return false, fmt.Errorf("read %s: %w", o.Path, err)
		}
		return len(inside) > 0, nil
	}
	return false, nil
}

func (o Op) write(ctx context.Context, h host.Host) error {
	done, err := o.Ready(ctx, h)
	if err != nil || done {
		return err
	}
	if o.File.Mode.Type() != 0 && o.Expect == Absent {
		if err := h.Write(ctx, o.Path, *o.File); err != nil {
			return fmt.Errorf("make %s: %w", o.Path, err)
		}
		return nil
	}
	return host.Replace(ctx, h, o.Path, *o.File)
}

func (o Op) remove(ctx context.Context, h host.Host) error {
	done, err := o.Ready(ctx, h)
	if err != nil || done {
		return err
	}
	if err := h.Remove(ctx, o.Path); err != nil {
		return fmt.Errorf("remove %s: %w", o.Path, err)
	}
	return nil
}

func (o Op) run(ctx context.Context, h host.Host) error {
	for _, c := range o.If {
		ok, err := c.Holds(ctx, h)
		if err != nil {
			return err
		}
		if !ok {
			return nil
		}
	}
	if o.Unanswered != nil {
		if n, ok := host.As[host.Neighbours](h); ok {
			mac, err := n.Probe(ctx, o.Unanswered.Dev, o.Unanswered.Addr)
			if err != nil {
				return fmt.Errorf("probe for %s on %s: %w", o.Unanswered.Addr, o.Unanswered.Dev, err)
			}
			if mac != "" {
				return fmt.Errorf("%s on %s: %w: %s", o.Unanswered.Addr, o.Unanswered.Dev, ErrAnswered, mac)
			}
		}
	}
	_, err := h.Run(ctx, host.Cmd{Argv: o.Argv, Timeout: o.Timeout})
	return err
}

// Holds runs the condition's command and tries its output.
func (c Cond) Holds(ctx context.Context, h host.Host) (bool, error) {
	re, err := regexp.CompilePOSIX(c.Match)
	if err != nil {
		return false, fmt.Errorf("condition %q: %w", c.Match, err)
	}
	res, err := host.Query(ctx, h, c.Argv...)
	var exit *host.ExitError
	if err != nil && !errors.As(err, &exit) {
		return false, err
	}
	matched := false
	if err == nil {
		for line := range bytes.Lines(res.Stdout) {
			matched = matched || re.Match(bytes.TrimRight(line, "\r\n"))
		}
	}
	return matched != c.Not, nil
}

// String is the operation as a person would type or say it.
func (o Op) String() string {
	switch o.Kind {
	case Write:
		switch {
		case o.File.Mode.IsDir():
			return "mkdir " + o.Path
		case o.File.Mode&fs.ModeSymlink != 0:
			return fmt.Sprintf("ln -s %s %s", o.File.Data, o.Path)
		}
		return fmt.Sprintf("write %s (%d bytes, mode %04o)", o.Path, len(o.File.Data), o.File.Mode.Perm())
	case Remove:
		return "rm " + o.Path
	case Run, Notify:
		return strings.Join(o.Argv, " ")
	case IPVS:
		var b strings.Builder
		for i, e := range o.Edits {
			if i > 0 {
				b.WriteByte('\n')
			}
			b.WriteString("ipvsadm " + strings.Join(e.Args(), " "))
		}
		return b.String()
	case Announce:
		return fmt.Sprintf("announce %s on %s", o.Neighbour.Addr, o.Neighbour.Dev)
	}
	return string(o.Kind)
}
