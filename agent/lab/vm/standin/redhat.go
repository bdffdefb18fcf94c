//go:build linux

package standin

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/lvsfleet/lvsfleet/agent/lab"
	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/agent/lab/vm/fabric"
	"github.com/lvsfleet/lvsfleet/providers/host"
)

// release chooses the boot scripts: Enterprise Linux 6, the last whose scripts
// do everything by commands. The kernel and the tools are the lab's own.
const release = "2.6.32-754.el6.x86_64"

// RedHat boots a Linux host: what initscripts would run is run, on the real
// files and the real network. A host without /etc/sysconfig is installed
// first. Each command that fails is told to log.
func RedHat(s fabric.Spec, log func(string)) error {
	h := inventoryHost(s)
	h.Release = release
	if _, err := os.Stat("/etc/sysconfig"); errors.Is(err, fs.ErrNotExist) {
		if err := install(lab.Offline(h, nil)); err != nil {
			return fmt.Errorf("install: %w", err)
		}
	}
	disk, err := os.MkdirTemp("/tmp", "boot")
	if err != nil {
		return err
	}
	defer os.RemoveAll(disk)
	if err := os.MkdirAll(filepath.Join(disk, s.Name), 0o755); err != nil {
		return err
	}
	if err := os.CopyFS(filepath.Join(disk, s.Name, "etc"), os.DirFS("/etc")); err != nil {
		return fmt.Errorf("read /etc: %w", err)
	}
	bases, err := lab.ReadBase(disk)
	if err != nil {
		return err
	}
	m := lab.Offline(h, bases[s.Name])
	for _, name := range []string{"ip", "sysctl", "modprobe", "ipvsadm", "ipvsadm-restore"} {
		m.Commands[name] = both(m.Commands[name], log)
	}
	m.PowerCycle()
	f, err := m.FS.ReadFile("/var/log/boot.log")
	if err != nil {
		return err
	}
	return os.WriteFile("/var/log/boot.log", f.Data, 0o600)
}

// both makes a command real: the machine's own is run as well, for what the
// scripts look at.
func both(simulated sim.Command, log func(string)) sim.Command {
	return func(m *sim.Machine, c *sim.Call) int {
		input, err := io.ReadAll(c.Stdin)
		if err != nil {
			c.Errorf("%v", err)
			return 1
		}
		inner := *c
		inner.Stdin, inner.Stdout, inner.Stderr = bytes.NewReader(input), io.Discard, io.Discard
		simulated(m, &inner)
		argv := append([]string{filepath.Base(c.Argv[0])}, c.Argv[1:]...)
		if argv[0] == "ipvsadm-restore" {
			argv = []string{"ipvsadm", "-R"}
		}
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Stdin = bytes.NewReader(input)
		out, err := cmd.CombinedOutput()
		_, _ = c.Stderr.Write(out)
		var status *exec.ExitError
		switch {
		case err == nil:
			return 0
		case errors.As(err, &status):
			log(fmt.Sprintf("boot: %q: exit status %d: %s", argv, status.ExitCode(), bytes.TrimSpace(out)))
			return status.ExitCode()
		}
		log(fmt.Sprintf("boot: %q: %v", argv, err))
		return 127
	}
}

// install writes the machine's /etc over the real one.
func install(m *sim.Machine) (err error) {
	m.FS.Walk("/etc", func(p string, f host.File) {
		if err != nil {
			return
		}
		switch {
		case f.Mode.IsDir():
			err = os.MkdirAll(p, 0o755)
		case f.Mode&fs.ModeSymlink != 0:
			_ = os.Remove(p)
			err = os.Symlink(string(f.Data), p)
		default:
			err = os.WriteFile(p, f.Data, f.Mode.Perm())
		}
		if err == nil && f.Mode.IsRegular() {
			err = os.Chmod(p, f.Mode.Perm())
		}
	})
	return err
}
