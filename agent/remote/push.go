package remote

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers"
	"github.com/lvsfleet/lvsfleet/providers/host"
)

func (d *Dialer) agents() Agents {
	if d.Agents != nil {
		return d.Agents
	}
	d.state.embed.Do(func() { d.state.carried = Embedded() })
	return d.state.carried
}

// programs are the agents that have been pushed, unpacked once for all hosts.
type programs struct {
	mu   sync.Mutex
	list map[Platform]Program
}

// program unpacks the agent of a platform, or gives the one that it has.
func (d *Dialer) program(p Platform) (Program, error) {
	d.state.programs.mu.Lock()
	defer d.state.programs.mu.Unlock()
	if have, ok := d.state.programs.list[p]; ok {
		return have, nil
	}
	have, err := d.agents().Get(p.OS, p.Arch)
	if err != nil {
		return Program{}, err
	}
	if d.state.programs.list == nil {
		d.state.programs.list = map[Platform]Program{}
	}
	d.state.programs.list[p] = have
	return have, nil
}

// runsAgent says whether a program of the Go that builds the agents runs on
// the release.
func runsAgent(os inventory.OS, release string) bool {
	s, ok := providers.Lookup(os)
	return ok && s.RunsAgent(release)
}

// platform gives the agent's platform of a machine; false where there is none.
func platform(id host.Identity) (Platform, bool) {
	arches := map[string]string{
		"x86_64": "amd64", "amd64": "amd64", "i86pc": "amd64", // illumos and Solaris 11 have no 32-bit kernel
		"aarch64": "arm64", "arm64": "arm64",
		"i386": "386", "i486": "386", "i586": "386", "i686": "386",
	}
	p := Platform{OS: id.OS, Arch: arches[id.Machine]}
	if id.Illumos {
		p.OS = "illumos"
	}
	return p, p.Arch != "" && runsAgent(inventory.OS(id.OS), id.Release)
}

// deliverScript says what the machine is, and what lies at each of its
// arguments, and then does what one line of its standard input says: nothing,
// start the agent that lies there, or take one, compressed or as it is, from
// what follows, install and start it. One command for all of it takes the
// fewest round trips, and one that is told to do nothing has changed nothing.
const deliverScript = `echo ` + deliverWord + `; uname -s -r -m -v || exit 1; for w in "$@"; do ls -ldn "$w" 2>&1; done; ` +
	`read how final state folder file sum size || exit 0; ` +
	`case $how in serve) exec "$final" serve;; unpack|store) ;; *) exit 0;; esac; ` +
	`umask 077; for w in "$state" "$folder"; do if test -d "$w"; then :; else mkdir "$w" && chmod 700 "$w" || exit 1; fi; done; ` +
	`if test "$how" = unpack; then head -c "$size" | gzip -dc >"$file"; else head -c "$size" >"$file"; fi && ` +
	`chmod 700 "$file" && exec "$file" install "$sum" "$final"; rm -f "$file"; exit 1`

// deliverWord comes before what the script says; what comes before it is a
// login file's.
const deliverWord = "lvsfleet:host"

// prepare finds out what the host is, puts the agent on it if it is not there,
// or in the way that is said, and starts it. Where none can run, it goes on
// without.
func (s *session) prepare(ctx context.Context, way delivery) error {
	d, err := s.contact(ctx)
	if err != nil {
		return err
	}
	given := false
	defer func() {
		if !given {
			_ = d.Close()
		}
	}()
	p, runs := platform(d.id)
	if !runs {
		s.without()
		return nil
	}
	program, err := s.d.program(p)
	if errors.Is(err, fs.ErrNotExist) {
		s.d.warn(s.t, "this build of lvsfleet carries no agent for %s (make dist): going on without one, slower", p)
		s.without()
		return nil
	}
	if err != nil {
		return err
	}
	if way, err = d.settle(way); err != nil {
		return fmt.Errorf("%s: %w", s.t.Name, err)
	}
	if err := d.give(way, program); err != nil && way == serve {
		return fmt.Errorf("%s: %w", s.t.Name, s.host.lost(err))
	} // else the agent says nothing, which is dealt with below
	given = true
	s.adopt(d.process)
	s.instead = func(ctx context.Context, why error) error {
		switch way {
		case serve: // something is there by its name that does not run
			return s.prepare(ctx, unpack)
		case unpack:
			return s.prepare(ctx, store)
		}
		s.d.warn(s.t, "the agent does not run there (%v): going on without one, slower", why)
		s.without()
		return nil
	}
	return nil
}

// A delivery is a way to have the agent run: the one that is there, or one
// that is sent.
type delivery string

const (
	serve  delivery = "serve"
	unpack delivery = "unpack" // sent compressed
	store  delivery = "store"  // sent as it is, where unpack has not worked
)

// A deliverer is deliverScript at work, waiting for its line.
type deliverer struct {
	*process
	in *bufio.Reader // of what it says
	id host.Identity
	// What lies at the state folder, the agents' folder and the agent.
	paths [3]string
	lie   [3]facts
	errs  [3]error
}

// contact starts deliverScript and reads what it says: of the state folders of
// all systems, since it is not known before which one this is.
func (s *session) contact(ctx context.Context) (*deliverer, error) {
	var states []string
	for _, os := range []string{host.Linux, host.FreeBSD, host.Solaris} {
		if dir := host.StateDir(os); !slices.Contains(states, dir) {
			states = append(states, dir)
		}
	}
	var paths []string
	for _, dir := range states {
		paths = append(paths, dir, agent.BinaryDir(dir), agent.BinaryPath(dir, s.d.agents().Hash()))
	}
	p, err := start(s.conn, append(append(environment(), "/bin/sh", "-c", deliverScript, "sh"), paths...), s.host.root)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.t.Name, s.host.lost(err))
	}
	d, err := s.listen(ctx, p, states, paths)
	if err != nil {
		_ = p.Close()
		return nil, err
	}
	return d, nil
}

// maxContact bounds what deliverScript and login files say.
const maxContact = 64 << 10

func (s *session) listen(ctx context.Context, p *process, states, paths []string) (*deliverer, error) {
	stop := context.AfterFunc(ctx, func() { _ = p.Close() })
	defer stop()
	in := bufio.NewReader(p.out)
	p.out = in
	room := maxContact
	line := func() (string, error) {
		text, err := agent.ReadLine(in, room)
		room -= len(text)
		if err == nil && !strings.HasSuffix(text, "\n") {
			err = errors.New("it talks without end")
		}
		return text, err
	}
	var said strings.Builder
	for {
		text, err := line()
		if strings.HasSuffix(text, deliverWord+"\n") {
			break
		}
		said.WriteString(text)
		if err != nil {
			return nil, s.unanswered(ctx, p, said.String(), err)
		}
	}
	uname, err := line()
	if err != nil {
		return nil, s.unanswered(ctx, p, uname, err)
	}
	s.host.known(uname)
	id, err := host.Identify(ctx, s.host)
	if err != nil {
		return nil, err
	}
	d := &deliverer{process: p, in: in, id: id}
	mine := slices.Index(states, host.StateDir(id.OS))
	for i, path := range paths {
		text, err := line()
		if err != nil {
			return nil, s.unanswered(ctx, p, text, err)
		}
		if k := i - 3*mine; k >= 0 && k < 3 {
			d.paths[k] = path
			d.lie[k], d.errs[k] = parseOf(strings.TrimSuffix(text, "\n"), path)
		}
	}
	return d, nil
}

// unanswered is a host that does not say what it is.
func (s *session) unanswered(ctx context.Context, p *process, said string, err error) error {
	if lerr := s.alive(ctx); lerr != nil {
		return lerr
	}
	return fmt.Errorf("%s: ask what the machine is: %w; the host says %q", s.t.Name, err, p.withStderr(strings.TrimSpace(said)))
}

// settle decides whether the agent that is there is to be started, and makes
// sure that what root is to run is root's alone.
func (d *deliverer) settle(way delivery) (delivery, error) {
	for i, p := range d.paths {
		switch {
		case errors.Is(d.errs[i], fs.ErrNotExist):
			continue
		case d.errs[i] != nil:
			return way, d.errs[i]
		case i < 2 && !d.lie[i].Mode.IsDir():
			return way, fmt.Errorf("%s is not a folder", p)
		}
		if i == 2 && way != serve {
			continue // it is replaced
		}
		if err := safe(p, d.lie[i].File); err != nil {
			return way, err
		}
	}
	there := d.errs[2] == nil && d.lie[2].Mode.IsRegular()
	if way == serve && !there {
		way = unpack
	}
	return way, nil
}

// give says the line, and sends the program where it is to be taken. What
// takes it may read more than the program, so nothing may follow before
// somebody has spoken.
func (d *deliverer) give(way delivery, program Program) error {
	data := program.Packed
	switch way {
	case serve:
		_, err := fmt.Fprintf(d, "%s %s\n", serve, d.paths[2])
		return err
	case store:
		data = program.Data
	case unpack:
	}
	tmp := agent.NewBinaryPath(d.paths[0], rand.Text())
	_, err := fmt.Fprintf(d, "%s %s %s %s %s %x %d\n", way, d.paths[2], d.paths[0], d.paths[1], tmp, program.Sum, len(data))
	if err == nil {
		_, err = d.Write(data)
	}
	if err == nil {
		_, err = d.in.Peek(1)
	}
	return err
}

// safe makes sure that nobody but root can change what root will run.
func safe(p string, f host.File) error {
	if f.UID != 0 || f.Mode.Perm()&0o022 != 0 {
		return fmt.Errorf("%s belongs to user %d with mode %04o: it must be root's, and writable for root alone (chown root %s; chmod 700 %s)",
			p, f.UID, f.Mode.Perm(), p, path.Dir(p))
	}
	return nil
}
