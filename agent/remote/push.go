package remote

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"sync"

	"github.com/pkg/sftp"

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

// A program is an agent with its hash.
type program struct {
	data []byte
	sum  [sha256.Size]byte
}

// programs are the agents that have been pushed, unpacked once for all hosts.
type programs struct {
	mu   sync.Mutex
	list map[Platform]program
}

// program unpacks the agent of a platform, or gives the one that it has.
func (d *Dialer) program(p Platform) (program, error) {
	d.state.programs.mu.Lock()
	defer d.state.programs.mu.Unlock()
	if have, ok := d.state.programs.list[p]; ok {
		return have, nil
	}
	data, err := d.agents().Get(p.OS, p.Arch)
	if err != nil {
		return program{}, err
	}
	have := program{data, sha256.Sum256(data)}
	if d.state.programs.list == nil {
		d.state.programs.list = map[Platform]program{}
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

// prepare finds out what the host is, with SFTP opened meanwhile, pushes the
// agent if it is not there, or anew, and starts it. Where none can run, it goes
// on without.
func (s *session) prepare(ctx context.Context, anew bool) error {
	opened := make(chan error, 1)
	if s.host.root != nil {
		opened <- nil // SFTP would be the user's
	} else {
		go func() {
			_, err := s.host.files()
			opened <- err
		}()
	}
	id, err := host.Identify(ctx, s.host)
	if err != nil {
		return err
	}
	if err := <-opened; err != nil {
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
	argv, pushed, err := s.push(ctx, id, program, anew)
	if err != nil {
		return fmt.Errorf("%s: %w", s.t.Name, err)
	}
	if err := s.exec(argv); err != nil {
		return err
	}
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

// push makes sure that the agent lies on the host, and gives the argv that
// starts it.
func (s *session) push(ctx context.Context, id host.Identity, program program, anew bool) (argv []string, pushed bool, err error) {
	state := host.StateDir(id.OS)
	final := agent.BinaryPath(state, s.d.agents().Hash())
	if s.host.root != nil {
		return s.pushAsRoot(ctx, state, final, program, anew)
	}
	c, err := s.host.files()
	if err != nil {
		return nil, false, err
	}
	if !anew {
		if info, err := c.Lstat(final); err == nil && info.Mode().IsRegular() {
			if err := safe(final, fileOf(info)); err != nil {
				return nil, false, err
			}
			return agent.ServeArgs(final), false, nil
		}
	}
	for _, dir := range []string{state, agent.BinaryDir(state)} {
		if err := s.folder(c, dir); err != nil {
			return nil, false, err
		}
	}
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails, by its documentation
	tmp := agent.NewBinaryPath(state, hex.EncodeToString(b[:]))
	_, err = within(ctx, func() (struct{}, error) { return struct{}{}, s.upload(c, tmp, program.data) })
	if err != nil {
		return nil, false, fmt.Errorf("push the agent: %w", err)
	}
	return agent.InstallArgs(tmp, program.sum, final), true, nil
}

// folder makes a folder of root's alone, or makes sure that it is.
func (s *session) folder(c *sftp.Client, dir string) error {
	info, err := c.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err := c.Mkdir(dir); err != nil {
			return s.host.failed("mkdir", dir, err)
		}
		if err := c.Chmod(dir, 0o700); err != nil {
			return s.host.failed("chmod", dir, err)
		}
		if info, err = c.Lstat(dir); err != nil {
			return s.host.failed("stat", dir, err)
		}
	}
	if err != nil {
		return s.host.failed("stat", dir, err)
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a folder", dir)
	}
	return safe(dir, fileOf(info))
}

// safe makes sure that nobody but root can change what root will run.
func safe(p string, f host.File) error {
	if f.UID != 0 || f.Mode.Perm()&0o022 != 0 {
		return fmt.Errorf("%s belongs to user %d with mode %04o: it must be root's, and writable for root alone (chown root %s; chmod 700 %s)",
			p, f.UID, f.Mode.Perm(), p, path.Dir(p))
	}
	return nil
}

// upload writes the program. Its length is looked at here, its content by
// itself when it starts.
func (s *session) upload(c *sftp.Client, tmp string, program []byte) error {
	fd, err := c.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return s.host.failed("open", tmp, err)
	}
	err = c.Chmod(tmp, 0o700)
	if err == nil {
		// As many writes under way at once as the library allows, 64 of 32 KiB:
		// one after the other each would take a round trip.
		_, err = fd.ReadFromWithConcurrency(bytes.NewReader(program), 0)
	}
	if cerr := fd.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		var info os.FileInfo
		if info, err = c.Lstat(tmp); err == nil && info.Size() != int64(len(program)) {
			err = fmt.Errorf("%d of %d bytes arrived: the disk may be full", info.Size(), len(program))
		}
	}
	if err != nil {
		_ = c.Remove(tmp)
		return s.host.failed("write", tmp, err)
	}
	return nil
}
