package remote

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/inventory"
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
// the release (Go 1.26's minimum: Linux 3.2; FreeBSD 12.3, of which 10 and 11
// are known to lack system calls; Solaris 11.4 and illumos, both 5.11).
func runsAgent(os inventory.OS, release string) bool {
	switch os {
	case inventory.Linux:
		return !host.Older(release, 3, 2, 0)
	case inventory.FreeBSD:
		return !host.Older(release, 12, 0, 0)
	case inventory.Solaris:
		return !host.Older(release, 5, 11, 0)
	}
	return false
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

// findScript says what the machine is, and what lies at each of its arguments.
const findScript = `uname -s -r -m -v || exit 1; ` + lookScript

// The scripts that take an agent from standard input, compressed or as it is.
// Their arguments are the state folder, the agents' folder in it and the file;
// they print what lies at each. Nothing is written where a folder is anything
// but root's alone.
const (
	takeFolders = `umask 077; for w in "$1" "$2"; do ` +
		`if ls -ld "$w" >/dev/null 2>&1; then :; else mkdir "$w" && chmod 700 "$w" || exit 1; fi; ` +
		"t=`ls -ldn \"$w\"`; case $t in d????-??-?*) if (set x $t; test \"$4\" = 0); then continue; fi;; esac; " +
		lookScript + `; done; `
	takeLook     = `chmod 700 "$3"; then ` + lookScript + `; fi; rm -f "$3"; exit 1`
	unpackScript = takeFolders + `if gzip -dc >"$3" && ` + takeLook
	storeScript  = takeFolders + `if cat >"$3" && ` + takeLook
)

// prepare finds out what the host is and whether the agent is there, pushes it
// if it is not, or anew, and starts it. Where none can run, it goes on without.
// The channels that it takes are opened side by side.
func (s *session) prepare(ctx context.Context, anew bool) error {
	s.host.openAhead(2)
	started := openStream(s.conn)
	begun := false
	defer func() {
		if !begun {
			started.drop()
		}
	}()
	id, lies, err := s.find(ctx)
	if err != nil {
		return err
	}
	p, runs := platform(id)
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
	state := host.StateDir(id.OS)
	final := agent.BinaryPath(state, s.d.agents().Hash())
	argv, pushed := agent.ServeArgs(final), false
	if at := lies[state]; anew || at.what != nil || !at.Mode.IsRegular() {
		if argv, err = s.push(ctx, state, final, program); err != nil {
			return fmt.Errorf("%s: push the agent: %w", s.t.Name, err)
		}
		pushed = true
	} else if err := safe(final, at.File); err != nil {
		return fmt.Errorf("%s: %w", s.t.Name, err)
	}
	begun = true
	if err := s.execOn(started, argv); err != nil {
		return err
	}
	s.host.dropAhead()
	s.instead = func(ctx context.Context, why error) error {
		if !pushed { // something is there by its name that does not run
			return s.prepare(ctx, true)
		}
		s.d.warn(s.t, "the agent does not run there (%v): going on without one, slower", why)
		s.without()
		return nil
	}
	return nil
}

// A found is what lies at a path, or why that is not told.
type found struct {
	facts
	what error
}

// find asks what the machine is, and what lies where its agent would: by the
// state folders of all systems, since it is not known yet which one this is.
func (s *session) find(ctx context.Context) (host.Identity, map[string]found, error) {
	states := []string{host.StateDir(host.Linux)}
	for _, os := range []string{host.FreeBSD, host.Solaris} {
		if dir := host.StateDir(os); !slices.Contains(states, dir) {
			states = append(states, dir)
		}
	}
	var paths []string
	for _, dir := range states {
		paths = append(paths, agent.BinaryPath(dir, s.d.agents().Hash()))
	}
	out, err := s.host.scriptRun(ctx, "lstat", paths[0], findScript, nil, paths...)
	if err != nil {
		return host.Identity{}, nil, err
	}
	said, rest, _ := strings.Cut(out, "\n")
	s.host.known(said + "\n")
	id, err := host.Identify(ctx, s.host)
	if err != nil {
		return host.Identity{}, nil, err
	}
	list, errs, _, err := parseLook(rest, paths)
	if err != nil {
		return host.Identity{}, nil, fmt.Errorf("%s: %w", s.t.Name, err)
	}
	lies := map[string]found{}
	for i, dir := range states {
		lies[dir] = found{list[i], errs[i]}
	}
	return id, lies, nil
}

// push puts the agent on the host, compressed where the host can unpack it,
// and gives the argv that makes sure of its content, installs it as final and
// starts it.
func (s *session) push(ctx context.Context, state, final string, program Program) (argv []string, err error) {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails, by its documentation
	tmp := agent.NewBinaryPath(state, hex.EncodeToString(b[:]))
	paths := []string{state, agent.BinaryDir(state), tmp}
	out, err := s.host.scriptRun(ctx, "write", tmp, unpackScript, program.Packed, paths...)
	var failed *fs.PathError
	if errors.As(err, &failed) && !errors.Is(err, host.ErrLost) && ctx.Err() == nil {
		out, err = s.host.scriptRun(ctx, "write", tmp, storeScript, program.Data, paths...)
	}
	if err != nil {
		return nil, err
	}
	list, errs, _, err := parseLook(out, paths)
	if err != nil {
		return nil, err
	}
	for i, p := range paths {
		if errs[i] != nil {
			return nil, errs[i]
		}
		if p != tmp && !list[i].Mode.IsDir() {
			return nil, fmt.Errorf("%s is not a folder", p)
		}
		if err := safe(p, list[i].File); err != nil {
			return nil, err
		}
	}
	if got := list[2].Size; got != int64(len(program.Data)) {
		return nil, fmt.Errorf("%d of %d bytes arrived: the disk may be full", got, len(program.Data))
	}
	return agent.InstallArgs(tmp, program.Sum, final), nil
}

// safe makes sure that nobody but root can change what root will run.
func safe(p string, f host.File) error {
	if f.UID != 0 || f.Mode.Perm()&0o022 != 0 {
		return fmt.Errorf("%s belongs to user %d with mode %04o: it must be root's, and writable for root alone (chown root %s; chmod 700 %s)",
			p, f.UID, f.Mode.Perm(), p, path.Dir(p))
	}
	return nil
}
