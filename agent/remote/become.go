package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lvsfleet/lvsfleet/providers/host"
)

// A privilege is how the commands of a login that is not root's get root's
// rights.
type privilege struct {
	tool   []string // what stands before a command
	secret []byte   // the password, without its newline; nil: none is asked for
}

// becomes are the tools by their names in an inventory. None of them may ask:
// sudo(8) and doas(1), -n.
func becomes(name string) ([]string, bool) {
	switch name {
	case "sudo", "doas":
		return []string{name, "-n"}, true
	case "pfexec": // pfexec(1): it never asks
		return []string{name}, true
	}
	return nil, false
}

// toolPath is where the tools lie: beside the usual places, those of Solaris'
// packages (Companion CD, OpenCSW).
const toolPath = host.AdminPath + ":/opt/csw/bin:/opt/sfw/bin:/usr/sfw/bin"

// gateWord is the line after which standard input is the command's.
const gateWord = "lvsfleet:begin"

// gate starts a command with what follows gateWord on its standard input. sudo
// takes the line with the password only where it asks for one (a rule may be
// NOPASSWD for one command, a password just given may be remembered): where it
// does not, the command must never see it. A shell reads a line and not a byte
// more.
const gate = `while read line; do test "X$line" = X` + gateWord + ` && exec "$@"; done; exit 97`

// command is the line for the login shell that runs argv, and what its
// standard input begins with. p is nil for root's own login.
func (p *privilege) command(argv []string) (line string, first []byte, err error) {
	if p == nil {
		line, err = quote(append([]string{"exec"}, argv...))
		return line, nil, err
	}
	words := append([]string{"exec", "env", "LC_ALL=C", "PATH=" + toolPath}, p.tool...)
	if p.secret != nil {
		words = append(words, "/bin/sh", "-c", gate, "sh")
		first = append(bytes.Clone(p.secret), "\n"+gateWord+"\n"...)
	}
	line, err = quote(append(words, argv...))
	return line, first, err
}

// command is privilege.command with the environment that commands get.
func (h *Host) command(argv []string) (line string, first []byte, err error) {
	return h.root.command(append(environment(), argv...))
}

// probeScript runs its arguments after sudo has forgotten who gave a password
// a while ago, since what it remembers may end in the middle of a run.
const probeScript = `"$1" -k >/dev/null 2>&1; exec "$@"`

// elevate finds out how the login of h becomes root.
func (d *Dialer) elevate(ctx context.Context, t Target, h *Host) error {
	tool, ok := becomes(t.Become)
	if !ok {
		return fmt.Errorf("become = %q: it is one of sudo, doas, pfexec", t.Become)
	}
	p := &privilege{tool: tool}
	said, err := h.whoAmI(ctx, p, t.Become == "sudo")
	if asked := strings.ToLower(said); err == nil && said != "" &&
		(strings.Contains(asked, "password is required") || strings.Contains(asked, "authorization required") || strings.Contains(asked, "authentication required")) {
		if t.Become != "sudo" {
			return fmt.Errorf("%s: %s asks %s for a password, which it reads from a terminal alone: let %s go without there (doas.conf: permit nopass %s)",
				t.Name, t.Become, t.User, t.User, t.User)
		}
		if p.secret, err = d.password(t); err != nil {
			return fmt.Errorf("%s: %w", t.Name, err)
		}
		p.tool = []string{"sudo", "-S", "-p", ""}
		said, err = h.whoAmI(ctx, p, false)
		if strings.Contains(said, "incorrect password") || strings.Contains(said, "try again") {
			return fmt.Errorf("%s: sudo: wrong password for %s", t.Name, t.User)
		}
	}
	if err != nil {
		return err
	}
	if said != "" {
		return fmt.Errorf("%s: become root by %s: %s", t.Name, t.Become, said)
	}
	h.root = p
	return nil
}

// whoAmI runs id(1) by p. said is "" where that was root's, else what the host
// says instead. A wrong password is tried once: sudo finds the end of its
// input where it would read another one.
func (h *Host) whoAmI(ctx context.Context, p *privilege, forget bool) (said string, err error) {
	argv := []string{"exec", "env", "LC_ALL=C", "PATH=" + toolPath}
	if forget {
		argv = append(argv, "/bin/sh", "-c", probeScript, "sh")
	}
	line, err := quote(append(append(argv, p.tool...), "env", "LC_ALL=C", "PATH="+host.AdminPath, "id"))
	if err != nil {
		return "", err
	}
	var input []byte
	if p.secret != nil {
		input = append(bytes.Clone(p.secret), '\n')
	}
	ctx, cancel := context.WithTimeout(ctx, host.DefaultTimeout)
	defer cancel()
	res, err := h.exchange(ctx, []string{p.tool[0], "id"}, line, input)
	var exit *host.ExitError
	switch {
	case errors.As(err, &exit):
		if said = strings.TrimSpace(exit.Stderr); said == "" {
			said = fmt.Sprintf("exit status %d", exit.Exit)
		}
		return said, nil
	case err != nil:
		return "", err
	case !strings.HasPrefix(string(res.Stdout), "uid=0("):
		return fmt.Sprintf("it gives no root's rights: id says %q", strings.TrimSpace(string(res.Stdout))), nil
	}
	return "", nil
}

// password gives the password of t's user, which is asked for once a run, for all
// hosts of that user at once. A host that was not named then does not get it: it is
// asked for again, for that one.
func (d *Dialer) password(t Target) ([]byte, error) {
	if d.Password == nil {
		return nil, fmt.Errorf("sudo asks %s for a password, and there is no terminal to ask at: run lvsfleet on one, or let %s go without there (sudoers: NOPASSWD)", t.User, t.User)
	}
	d.state.prompt.Lock()
	defer d.state.prompt.Unlock()
	key := t.Become + " " + t.User
	named := map[string]bool{}
	for _, said := range d.state.passwords[key] {
		if slices.Contains(said.hosts, t.Name) {
			return said.secret, said.err
		}
		for _, h := range said.hosts {
			named[h] = true
		}
	}
	a := answer{hosts: []string{t.Name}}
	if d.Together != nil {
		for _, o := range d.Together() {
			if o.Become != t.Become || o.Name == t.Name || named[o.Name] {
				continue
			}
			// Who cannot be reached gets none.
			if r, err := d.route(o); err == nil && r.User == t.User {
				a.hosts = append(a.hosts, o.Name)
			}
		}
		slices.Sort(a.hosts)
	}
	a.secret, a.err = d.Password(t.Become, t.User, a.hosts)
	switch {
	case a.err != nil:
		a.err = fmt.Errorf("ask for the password of %s: %w", t.User, a.err)
	case bytes.ContainsAny(a.secret, "\n\r\x00"):
		a.err = fmt.Errorf("the password of %s cannot hold a newline", t.User)
	case a.secret == nil:
		a.secret = []byte{}
	}
	if d.state.passwords == nil {
		d.state.passwords = map[string][]answer{}
	}
	d.state.passwords[key] = append(d.state.passwords[key], a)
	return a.secret, a.err
}

// An answer is what a person said, once for all hosts that were named.
type answer struct {
	hosts  []string // that were named
	secret []byte
	err    error
}

// patience is how long data of that size may take on its way, beside what the
// command may: 16 kB a second is a slow line.
func patience(size int) time.Duration {
	return host.DefaultTimeout + time.Duration(size/(16<<10))*time.Second
}
