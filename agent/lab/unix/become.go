package unix

import (
	"crypto/subtle"
	"fmt"
	"io"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
)

// Common says which commands a user who is not root may run: those that touch
// files, where the file system itself says what is theirs, and those that run
// others. What is the kernel's is root's.
func Common(name string) bool {
	switch name {
	case "kill", "reboot", "shutdown", "init", "sync":
		return name == "sync"
	case "csh", "sudo", "doas", "pfexec":
		return true
	}
	return Commands()[name] != nil || Free()[name] != nil
}

// Become is the command by which a user becomes root: sudo, doas or pfexec.
func Become(tool string) sim.Command {
	switch tool {
	case "doas":
		return doas
	case "pfexec":
		return pfexec
	}
	return sudo
}

// asRoot runs argv with root's rights.
func asRoot(m *sim.Machine, c *sim.Call, argv []string) int {
	if len(argv) == 0 {
		return c.Refuse()
	}
	inner := *c
	inner.Argv, inner.Context = argv, sim.AsUser(c.Context, 0)
	return m.Exec(&inner)
}

// sudo knows -n, -k alone, and -S with an empty prompt. As sudo(8) does, it
// reads the password a byte at a time, asks three times, and remembers nobody.
func sudo(m *sim.Machine, c *sim.Call) int {
	args := c.Argv[1:]
	var noPrompt, stdin bool
options:
	for len(args) > 0 {
		switch args[0] {
		case "-n":
			noPrompt = true
		case "-S":
			stdin = true
		case "-p":
			if len(args) < 2 || args[1] != "" {
				return c.Refuse()
			}
			args = args[1:]
		case "-k":
			if len(args) > 1 {
				return c.Refuse()
			}
			return 0
		default:
			break options
		}
		args = args[1:]
	}
	var p sim.Privilege
	m.Locked(func() { p = m.Privilege })
	if p.Password != "" && c.UID() != 0 {
		switch {
		case noPrompt:
			c.Errorf("a password is required")
			return 1
		case !stdin:
			c.Errorf("a terminal is required to read the password; either use the -S option to read from standard input or configure an askpass helper")
			return 1
		}
		if !rightPassword(c, p.Password) {
			return 1
		}
	}
	if p.Denied && c.UID() != 0 {
		c.Errorf("op is not in the sudoers file.")
		return 1
	}
	return asRoot(m, c, args)
}

func rightPassword(c *sim.Call, want string) bool {
	for try := range 3 {
		line, err := readLine(c.Stdin)
		if err != nil {
			if try == 0 {
				c.Errorf("no password was provided")
			} else {
				c.Errorf("%d incorrect password attempt", try)
			}
			return false
		}
		if subtle.ConstantTimeCompare([]byte(line), []byte(want)) == 1 {
			return true
		}
		fmt.Fprintf(c.Stderr, "Sorry, try again.\n")
	}
	c.Errorf("3 incorrect password attempts")
	return false
}

// readLine reads up to a newline and not a byte more.
func readLine(r io.Reader) (string, error) {
	var line []byte
	for b := make([]byte, 1); ; {
		if _, err := io.ReadFull(r, b); err != nil {
			return "", err
		}
		if b[0] == '\n' {
			return string(line), nil
		}
		line = append(line, b[0])
	}
}

// doas knows -n. A password it reads from a terminal, which nobody has here.
func doas(m *sim.Machine, c *sim.Call) int {
	args := c.Argv[1:]
	if len(args) == 0 || args[0] != "-n" {
		return c.Refuse()
	}
	var p sim.Privilege
	m.Locked(func() { p = m.Privilege })
	switch {
	case c.UID() == 0:
	case p.Denied:
		c.Errorf("Operation not permitted")
		return 1
	case p.Password != "":
		c.Errorf("Authorization required")
		return 1
	}
	return asRoot(m, c, args[1:])
}

// pfexec runs a command with what the user's profiles give it, which may be
// nothing at all.
func pfexec(m *sim.Machine, c *sim.Call) int {
	var denied bool
	m.Locked(func() { denied = m.Privilege.Denied })
	if denied {
		inner := *c
		inner.Argv = c.Argv[1:]
		if len(inner.Argv) == 0 {
			return c.Refuse()
		}
		return m.Exec(&inner)
	}
	return asRoot(m, c, c.Argv[1:])
}
