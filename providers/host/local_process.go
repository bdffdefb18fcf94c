package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

var (
	_ Spawner   = (*Local)(nil)
	_ Processes = (*Local)(nil)
)

// Spawn starts argv by systemd-run where systemd is what runs the machine,
// since logind may end what a login leaves behind (logind.conf(5),
// KillUserProcesses); else in a session of its own.
func (l *Local) Spawn(ctx context.Context, argv []string) error {
	if len(argv) == 0 {
		return errors.New("spawn: empty argv")
	}
	// sd_booted(3)
	if _, err := os.Stat("/run/systemd/system"); err == nil {
		if _, err := l.Run(ctx, Cmd{Argv: append([]string{"systemd-run", "--quiet", "--"}, argv...)}); err == nil {
			return nil
		}
	}
	prog, ok := lookup(argv[0])
	if !ok {
		return fmt.Errorf("spawn %s: %w", argv[0], ErrNotFound)
	}
	c := exec.Command(prog)
	c.Args = slices.Clone(argv)
	c.Env = []string{"PATH=" + AdminPath, "LC_ALL=C", "HOME=/", "TERM=dumb"}
	c.Dir = "/"
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := c.Start(); err != nil {
		return fmt.Errorf("spawn %s: %w", strings.Join(argv, " "), err)
	}
	go func() { _ = c.Wait() }() // else it would stay a zombie as long as we live
	return nil
}

// PID is this process.
func (l *Local) PID() int { return os.Getpid() }

// Alive asks by a signal that is none (kill(2)).
func (l *Local) Alive(pid int) bool {
	return pid > 0 && !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}

// Kill ends pid, and its session where it leads one, as what sshd starts does:
// the commands that it runs have process groups of their own (pkill(1) knows
// -s on every system).
func (l *Local) Kill(pid int) error {
	if pid <= 1 {
		return fmt.Errorf("kill %d: not a process of ours", pid)
	}
	err := syscall.Kill(pid, syscall.SIGKILL)
	// Where there is no pkill, a command is ended by nobody but itself.
	_, _ = l.Run(context.Background(), Cmd{Argv: []string{"pkill", "-KILL", "-s", strconv.Itoa(pid)}})
	if err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("kill %d: %w", pid, err)
	}
	return nil
}
