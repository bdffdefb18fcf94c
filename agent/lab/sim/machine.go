// Package sim is one simulated machine: a file system and a kernel's network
// state in memory, and the commands of its operating system over them. The
// commands print what the real ones print, and refuse what they do not know:
// a fake that answers everything proves nothing.
package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/lvsfleet/lvsfleet/providers/host"
)

// A Command is one program. It reads and changes the Machine, whose lock it
// holds (Machine.Commands) or not (Machine.Free), and returns its exit status.
type Command func(m *Machine, c *Call) int

// A Call is one invocation of a Command.
type Call struct {
	Context context.Context
	Argv    []string // Argv[0] as it was typed
	Env     func(name string) string
	Dir     string
	PID     int // of the process that called, a shell's or a session's; 0: nobody's
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer
}

// Printf writes to standard output.
func (c *Call) Printf(format string, args ...any) { fmt.Fprintf(c.Stdout, format, args...) }

// Errorf writes a line to standard error, after "NAME: ".
func (c *Call) Errorf(format string, args ...any) {
	name := c.Argv[0][strings.LastIndexByte(c.Argv[0], '/')+1:]
	fmt.Fprintf(c.Stderr, name+": "+format+"\n", args...)
}

// Refuse reports an argv that the fake does not know, loudly, so that a test
// that strays from what is modelled fails instead of passing by luck.
func (c *Call) Refuse() int {
	fmt.Fprintf(c.Stderr, "lvsfleet lab: %q is not modelled\n", c.Argv)
	return RefusedExit
}

// RefusedExit is the exit status of what a fake does not know.
const RefusedExit = 86

// A Machine is one simulated host. Its exported fields are guarded by its
// lock: Locked runs a function under it. Those that say what kind of machine
// it is (Commands, Free, Shell, Loader, Boot, Halt, Wire, Watch) are set before it
// is used and stay.
type Machine struct {
	mu sync.Mutex

	Name     string
	Identity host.Identity
	FS       *FS
	Net      *Net
	Commands map[string]Command // by base name
	// Free are commands too, but run without the machine's lock: those that
	// run others (sh, env), wait (sleep) or reboot. Within, Locked is theirs
	// to call.
	Free map[string]Command
	// Shell is the base name of root's login shell; "" is "sh". What SSH is
	// asked to run is its argument after -c.
	Shell string
	// Loader runs a file of the file system that is called by its path and is
	// executable, without the lock; nil: a file cannot be run.
	Loader func(m *Machine, c *Call, f host.File) int
	// Listeners are the sockets that wait for clients, whatever is booted.
	Listeners []Listener
	// Boot replays the boot files onto a fresh Net, with the lock held.
	Boot func(m *Machine)
	// Halt is what an orderly shutdown does before the live state goes, with
	// the lock held; nil: nothing. A power cut skips it.
	Halt func(m *Machine)
	// Wire is the world around the machine; nil: alone.
	Wire Wire
	// Watch sees every access before it is made, without the lock; its error
	// makes the access fail with nothing done. nil: none looks.
	Watch func(Access) error
	// Clock is what guards and sleep(1) go by; nil: the real one.
	Clock host.Clock
	// Common says which commands a user who is not root may run; nil: none.
	Common func(name string) bool
	// Privilege is how such a user becomes root.
	Privilege Privilege
	// Life is the context of what outlives a login; nil: it never ends.
	Life context.Context

	boots  int
	faults map[string][]Fault
	locks  map[string]*lock
	procs  map[int]bool
	killed map[int]bool
	views  map[int]*view
	pid    int
}

// A Listener is a socket that accepts clients on every local address.
type Listener struct {
	Protocol string // "tcp", "udp", "sctp"
	Port     int
	Says     string // what it answers whoever sends something
}

// A Wire is the links that machines share.
type Wire interface {
	// Ask asks the link on which m's device dev lies who answers for addr
	// (an address as text); "" nobody does. m's lock is not held.
	Ask(m *Machine, dev, addr string) (mac string)
	// Tell announces that m's dev holds addr.
	Tell(m *Machine, dev, addr string)
}

// An Access is something that is about to be done on a machine.
type Access struct {
	Op   string   // "run", "read", "readdir", "write", "rename", "remove", "probe", "announce", "dial", "ipvs", "lock"
	Path string   // of a file; of a rename, where it goes
	Argv []string // of a command
}

func (m *Machine) watch(a Access) error {
	if m.Watch == nil {
		return nil
	}
	return m.Watch(a)
}

// Locked runs f with the machine to itself.
func (m *Machine) Locked(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
}

// Reboot shuts down in order, drops all live state, processes and locks
// included, and replays the boot files. /var/run loses its files and keeps its
// folders.
func (m *Machine) Reboot() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.Halt != nil {
		m.Halt(m)
	}
	m.restart()
}

// PowerCycle is Reboot without the shutdown: the power was cut.
func (m *Machine) PowerCycle() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.restart()
}

func (m *Machine) restart() {
	m.boots++
	m.FS.ClearFiles("/var/run")
	m.Net = NewNet()
	m.locks, m.procs, m.killed, m.views = nil, nil, nil, nil
	m.Boot(m)
}

// Boots counts the boots so far.
func (m *Machine) Boots() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.boots
}

// Has says whether the machine has a command of that base name.
func (m *Machine) Has(name string) bool {
	return m.Commands[name] != nil || m.Free[name] != nil
}

// Names lists the commands, sorted.
func (m *Machine) Names() []string {
	return slices.Sorted(func(yield func(string) bool) {
		for _, set := range []map[string]Command{m.Commands, m.Free} {
			for name := range maps.Keys(set) {
				if !yield(name) {
					return
				}
			}
		}
	})
}

// Exec runs one command of the machine with the streams of c. A Command with
// the lock may read and write c's streams freely: the lock is let go while it
// waits for input, and what it writes goes out once it is done.
func (m *Machine) Exec(c *Call) int {
	c.Fill()
	if err := m.watch(Access{Op: "run", Argv: c.Argv}); err != nil {
		fmt.Fprintf(c.Stderr, "lvsfleet lab: %v\n", err)
		return RefusedExit
	}
	name := baseName(c.Argv[0])
	if f, struck := m.fault(name, c.Argv); struck {
		if f.Missing {
			return notFound(c)
		}
		_, _ = io.WriteString(c.Stdout, f.Stdout)
		_, _ = io.WriteString(c.Stderr, f.Stderr)
		if !f.Then {
			return f.Exit
		}
	}
	if file, ok := m.program(c); ok {
		if file.Mode.IsDir() || file.Mode.Perm()&0o111 == 0 || m.Loader == nil {
			fmt.Fprintf(c.Stderr, "%s: Permission denied\n", c.Argv[0])
			return 126
		}
		return m.Loader(m, c, file)
	}
	free, isFree := m.Free[name]
	cmd, ok := m.Commands[name]
	switch {
	case !ok && !isFree:
		return notFound(c)
	case !m.permitted(c, name):
		return 1
	case isFree:
		return free(m, c)
	}
	return guarded(&m.mu, m, cmd, c)
}

// guarded runs cmd with mu held, but let go while cmd waits for input, and
// passes on what it wrote when mu is free again.
func guarded(mu sync.Locker, m *Machine, cmd Command, c *Call) int {
	var late delayed
	inner := *c
	inner.Stdin = &unlocking{mu: mu, m: m, r: c.Stdin}
	inner.Stdout, inner.Stderr = late.to(c.Stdout), late.to(c.Stderr)
	exit := func() int {
		mu.Lock()
		defer mu.Unlock()
		before := m.FS.user
		m.FS.user = c.UID()
		defer func() { m.FS.user = before }()
		return cmd(m, &inner)
	}()
	late.flush()
	return exit
}

// A Scope is how a shell has the machine: it runs commands and looks at files
// from several goroutines at once. Within Boot, which holds the lock, it has a
// lock of its own and no Free commands.
type Scope struct {
	M    *Machine
	held bool
	user int
	mu   sync.Mutex
}

// Scope gives a Scope; held says that the machine's lock is held already and
// stays so while the Scope is used.
func (m *Machine) Scope(held bool) *Scope { return &Scope{M: m, held: held} }

// ScopeOf gives the Scope of the user who calls c.
func (m *Machine) ScopeOf(c *Call) *Scope { return &Scope{M: m, user: c.UID()} }

// Held says whether the lock was held already.
func (s *Scope) Held() bool { return s.held }

// Exec runs a command.
func (s *Scope) Exec(c *Call) int {
	if !s.held {
		return s.M.Exec(c)
	}
	c.Fill()
	cmd, ok := s.M.Commands[baseName(c.Argv[0])]
	if !ok {
		return notFound(c)
	}
	return guarded(&s.mu, s.M, cmd, c)
}

// Locked runs f with the machine to itself.
func (s *Scope) Locked(f func()) {
	if !s.held {
		s.M.Locked(func() { s.M.FS.AccessAs(s.user, f) })
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// Sub runs a command from within another, or from Boot: the lock is held
// already. Free commands cannot be run so, and files neither.
func (m *Machine) Sub(c *Call) int {
	c.Fill()
	cmd, ok := m.Commands[baseName(c.Argv[0])]
	if !ok {
		return notFound(c)
	}
	return cmd(m, c)
}

// program finds what the path argv0 names in the file system; commands of the
// system are not there.
func (m *Machine) program(c *Call) (host.File, bool) {
	argv0 := c.Argv[0]
	if !strings.HasPrefix(argv0, "/") {
		return host.File{}, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var f host.File
	var err error
	m.FS.AccessAs(c.UID(), func() {
		if f, err = m.FS.Stat(argv0, true); err == nil && !f.Mode.IsDir() {
			f, err = m.FS.ReadFile(argv0)
		}
	})
	if errors.Is(err, fs.ErrPermission) {
		return host.File{}, true // nothing that can be run
	}
	return f, err == nil
}

func notFound(c *Call) int {
	fmt.Fprintf(c.Stderr, "%s: not found\n", c.Argv[0])
	return 127
}

func baseName(argv0 string) string { return argv0[strings.LastIndexByte(argv0, '/')+1:] }

// Fill gives every stream and function that is not set its empty one.
func (c *Call) Fill() {
	if c.Env == nil {
		c.Env = func(string) string { return "" }
	}
	if c.Context == nil {
		c.Context = context.Background()
	}
	if c.Stdin == nil {
		c.Stdin = strings.NewReader("")
	}
	if c.Dir == "" {
		c.Dir = "/"
	}
	if c.Stdout == nil {
		c.Stdout = io.Discard
	}
	if c.Stderr == nil {
		c.Stderr = io.Discard
	}
}

// unlocking lets go of the machine while a command waits for input, which
// another command of the machine may have to produce.
type unlocking struct {
	mu sync.Locker
	m  *Machine
	r  io.Reader
}

func (u *unlocking) Read(p []byte) (int, error) {
	user := u.m.FS.user
	u.m.FS.user = 0
	u.mu.Unlock()
	defer func() {
		u.mu.Lock()
		u.m.FS.user = user
	}()
	return u.r.Read(p)
}

// delayed keeps what a command wrote, in order over all of its streams, until
// the machine is free again: a reader may be a command that waits for it.
type delayed struct{ parts []part }

type part struct {
	w    io.Writer
	text []byte
}

type delayedWriter struct {
	d *delayed
	w io.Writer
}

func (d *delayed) to(w io.Writer) io.Writer { return delayedWriter{d, w} }

func (d *delayed) flush() {
	for _, p := range d.parts {
		_, _ = p.w.Write(p.text) // a reader that went away is the writer's SIGPIPE
	}
}

func (w delayedWriter) Write(p []byte) (int, error) {
	if n := len(w.d.parts); n > 0 && w.d.parts[n-1].w == w.w {
		w.d.parts[n-1].text = append(w.d.parts[n-1].text, p...)
		return len(p), nil
	}
	w.d.parts = append(w.d.parts, part{w.w, slices.Clone(p)})
	return len(p), nil
}
