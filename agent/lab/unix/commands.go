package unix

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/providers/host"
)

// Commands are those that run with the machine's lock.
func Commands() map[string]sim.Command {
	return map[string]sim.Command{
		"basename": basename,
		"cat":      cat,
		"chmod":    chmod,
		"chgrp":    chown,
		"chown":    chown,
		"cmp":      cmp,
		"cp":       cp,
		"date":     date,
		"diff":     diff,
		"dirname":  dirname,
		"echo":     echo,
		"egrep":    grep,
		"expr":     expr,
		"false":    func(*sim.Machine, *sim.Call) int { return 1 },
		"fgrep":    grep,
		"find":     find,
		"grep":     grep,
		"gzip":     gunzip,
		"head":     head,
		"hostname": hostname,
		"id":       id,
		"kill":     kill,
		"ln":       ln,
		"ls":       ls,
		"mkdir":    mkdir,
		"mv":       mv,
		"pwd":      pwd,
		"rm":       rm,
		"rmdir":    rmdir,
		"sed":      sed,
		"sync":     func(*sim.Machine, *sim.Call) int { return 0 },
		"touch":    touch,
		"true":     func(*sim.Machine, *sim.Call) int { return 0 },
		"uname":    uname,
		"which":    which,
	}
}

// Free are those that run without it: they run others, wait or reboot.
func Free() map[string]sim.Command {
	return map[string]sim.Command{
		"[":        builtin,
		"env":      env,
		"init":     initSix,
		"nohup":    nohup,
		"printf":   builtin,
		"reboot":   reboot,
		"sh":       Sh(false),
		"shutdown": shutdown,
		"sleep":    sleep,
		"test":     builtin,
	}
}

// Strerror is the text of strerror(3) for what FS reports.
func Strerror(err error) string {
	err = cause(err)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "No such file or directory"
	case errors.Is(err, fs.ErrExist):
		return "File exists"
	case errors.Is(err, fs.ErrPermission):
		return "Permission denied"
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		s := errno.Error()
		return strings.ToUpper(s[:1]) + s[1:]
	}
	return err.Error()
}

// Flags splits argv into single-letter options, all of which must be among
// known, and the rest. ok is false, and the call refused, where one is not.
func Flags(c *sim.Call, known string) (set map[byte]bool, args []string, ok bool) {
	set = map[byte]bool{}
	args = c.Argv[1:]
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' {
		word := args[0]
		args = args[1:]
		if word == "--" {
			break
		}
		for _, b := range []byte(word[1:]) {
			if strings.IndexByte(known, b) < 0 {
				c.Refuse()
				return nil, nil, false
			}
			set[b] = true
		}
	}
	return set, args, true
}

// fail reports err for p and gives the exit status 1.
func fail(c *sim.Call, p string, err error) int {
	c.Errorf("%s: %s", p, Strerror(err))
	return 1
}

// gunzip is gzip(1) as far as it unpacks standard input: gzip -dc.
func gunzip(_ *sim.Machine, c *sim.Call) int {
	if len(c.Argv) != 2 || c.Argv[1] != "-dc" {
		return c.Refuse()
	}
	z, err := gzip.NewReader(c.Stdin)
	if err == nil {
		_, err = io.Copy(c.Stdout, z)
	}
	if err != nil {
		c.Errorf("stdin: %v", err)
		return 1
	}
	return 0
}

// head is head(1) as far as it counts bytes: head -c N.
func head(_ *sim.Machine, c *sim.Call) int {
	if len(c.Argv) != 3 || c.Argv[1] != "-c" {
		return c.Refuse()
	}
	n, err := strconv.ParseInt(c.Argv[2], 10, 64)
	if err != nil {
		c.Errorf("invalid number of bytes: %q", c.Argv[2])
		return 1
	}
	if _, err := io.CopyN(c.Stdout, c.Stdin, n); err != nil && !errors.Is(err, io.EOF) {
		c.Errorf("write error: %v", err)
		return 1
	}
	return 0
}

func basename(_ *sim.Machine, c *sim.Call) int {
	if len(c.Argv) != 2 {
		return c.Refuse()
	}
	c.Printf("%s\n", path.Base(c.Argv[1]))
	return 0
}

func dirname(_ *sim.Machine, c *sim.Call) int {
	if len(c.Argv) != 2 {
		return c.Refuse()
	}
	c.Printf("%s\n", path.Dir(c.Argv[1]))
	return 0
}

// expr knows the sum and the difference of two numbers, and what a basic
// regular expression with one group finds from the beginning of a text.
func expr(_ *sim.Machine, c *sim.Call) int {
	if len(c.Argv) == 4 && c.Argv[2] == ":" {
		if strings.ContainsAny(c.Argv[3], "+?(){}|") && strings.Count(c.Argv[3], `\(`) != 1 {
			return c.Refuse()
		}
		re, err := regexp.CompilePOSIX("^(" + strings.NewReplacer(`\(`, "(", `\)`, ")").Replace(c.Argv[3]) + ")")
		if err != nil {
			return c.Refuse()
		}
		found := re.FindStringSubmatch(c.Argv[1])
		if len(found) < 3 || found[2] == "" {
			c.Printf("\n")
			return 1
		}
		c.Printf("%s\n", found[2])
		return 0
	}
	if len(c.Argv) != 4 || c.Argv[2] != "+" && c.Argv[2] != "-" {
		return c.Refuse()
	}
	a, err1 := strconv.Atoi(c.Argv[1])
	b, err2 := strconv.Atoi(c.Argv[3])
	if err1 != nil || err2 != nil {
		c.Errorf("non-numeric argument")
		return 2
	}
	if c.Argv[2] == "-" {
		b = -b
	}
	c.Printf("%d\n", a+b)
	if a+b == 0 {
		return 1
	}
	return 0
}

func pwd(_ *sim.Machine, c *sim.Call) int {
	if len(c.Argv) != 1 {
		return c.Refuse()
	}
	c.Printf("%s\n", c.Dir)
	return 0
}

// echo knows -n where it is BSD's or Linux', and backslashes where it is
// System V's (echo(1) of each).
func echo(m *sim.Machine, c *sim.Call) int {
	args, end := c.Argv[1:], "\n"
	sysv := m.Identity.OS == "solaris"
	if !sysv && len(args) > 0 && args[0] == "-n" {
		args, end = args[1:], ""
	}
	text := strings.Join(args, " ")
	if sysv {
		if i := strings.Index(text, `\c`); i >= 0 {
			text, end = text[:i], ""
		}
		text = strings.NewReplacer(`\n`, "\n", `\t`, "\t", `\\`, `\`).Replace(text)
	}
	c.Printf("%s%s", text, end)
	return 0
}

func hostname(m *sim.Machine, c *sim.Call) int {
	set, args, ok := Flags(c, "s")
	if !ok {
		return sim.RefusedExit
	}
	if len(args) > 0 {
		return c.Refuse()
	}
	name := m.Name
	if set['s'] {
		name, _, _ = strings.Cut(name, ".")
	}
	c.Printf("%s\n", name)
	return 0
}

func id(m *sim.Machine, c *sim.Call) int {
	set, args, ok := Flags(c, "un")
	if !ok {
		return sim.RefusedExit
	}
	if len(args) > 0 {
		return c.Refuse()
	}
	switch {
	case c.UID() != 0:
		if len(set) > 0 {
			return c.Refuse()
		}
		c.Printf("uid=%d(op) gid=%d(op)\n", c.UID(), c.UID())
	case set['u'] && set['n']:
		c.Printf("root\n")
	case set['u']:
		if m.Identity.OS == "solaris" && m.Identity.Release == "5.10" {
			return c.Refuse() // Solaris 10's /usr/bin/id has no -u
		}
		c.Printf("0\n")
	case m.Identity.OS == "freebsd":
		c.Printf("uid=0(root) gid=0(wheel) groups=0(wheel)\n")
	case m.Identity.OS == "solaris":
		c.Printf("uid=0(root) gid=0(root)\n")
	default:
		c.Printf("uid=0(root) gid=0(root) groups=0(root)\n")
	}
	return 0
}

func kill(m *sim.Machine, c *sim.Call) int {
	if len(c.Argv) != 3 || c.Argv[1] != "-0" && (c.Argv[1] != "-s" || c.Argv[2] != "0") {
		return c.Refuse()
	}
	pid, err := strconv.Atoi(c.Argv[2])
	if err != nil {
		return c.Refuse()
	}
	if !m.Alive(pid) {
		c.Errorf("%d: No such process", pid)
		return 1
	}
	return 0
}

func date(_ *sim.Machine, c *sim.Call) int {
	now := time.Now().UTC()
	switch {
	case len(c.Argv) == 1:
		c.Printf("%s\n", now.Format("Mon Jan _2 15:04:05 UTC 2006"))
	case len(c.Argv) == 3 && c.Argv[1] == "-u" && c.Argv[2] == "+%Y%m%dT%H%M%SZ":
		c.Printf("%s\n", now.Format("20060102T150405Z"))
	default:
		return c.Refuse()
	}
	return 0
}

func which(m *sim.Machine, c *sim.Call) int {
	_, args, ok := Flags(c, "")
	if !ok || len(args) == 0 {
		return c.Refuse()
	}
	exit := 0
	for _, name := range args {
		if !m.Has(name) {
			exit = 1
			continue
		}
		c.Printf("%s\n", Where(name))
	}
	return exit
}

// Where says in which folder a command lies: where FreeBSD has it
// (transcript 01-identity), which is right enough for the others.
func Where(name string) string {
	switch name {
	case "ifconfig", "route", "sysctl", "ping", "sha256", "md5", "reboot", "shutdown", "init", "kldload", "kldstat", "ip":
		return "/sbin/" + name
	case "sysrc", "service", "ipvsadm":
		return "/usr/sbin/" + name
	case "sh", "csh", "cat", "chmod", "cp", "date", "echo", "hostname", "kill", "ln", "ls", "mkdir", "mv", "pwd", "rm", "rmdir", "sleep", "sync", "test", "[":
		return "/bin/" + name
	}
	return "/usr/bin/" + name
}

func uname(m *sim.Machine, c *sim.Call) int {
	all := "snrvm"
	known := "asnrvmp"
	switch {
	case m.Identity.OS == "linux":
		all, known = "snrvmo", known+"io"
	case m.Identity.OS == "freebsd":
		known += "io"
	default:
		all, known = "snrvmpi", known+"iX"
		if m.Identity.Illumos {
			known += "o"
		}
	}
	set := map[byte]bool{}
	for _, arg := range c.Argv[1:] {
		if len(arg) < 2 || arg[0] != '-' {
			return c.Refuse()
		}
		for _, b := range []byte(arg[1:]) {
			if strings.IndexByte(known, b) < 0 {
				c.Errorf("illegal option -- %c", b)
				fmt.Fprintf(c.Stderr, "usage: uname [-%s]\n", known)
				return 1
			}
			if b == 'a' {
				for _, x := range []byte(all) {
					set[x] = true
				}
				continue
			}
			set[b] = true
		}
	}
	if len(set) == 0 {
		set['s'] = true
	}
	var words []string
	for _, b := range []byte("snrvmpio") {
		if set[b] {
			words = append(words, unameField(m, b))
		}
	}
	c.Printf("%s\n", strings.Join(words, " "))
	return 0
}

func unameField(m *sim.Machine, field byte) string {
	id := m.Identity
	switch field {
	case 'n':
		return m.Name
	case 'r':
		return id.Release
	case 'm':
		return id.Machine
	}
	switch id.OS {
	case "linux":
		return map[byte]string{'s': "Linux", 'v': "#1 SMP", 'p': id.Machine, 'i': id.Machine, 'o': "GNU/Linux"}[field]
	case "freebsd":
		ident := m.Net.Sysctls["kern.ident"]
		return map[byte]string{
			's': "FreeBSD", 'v': "FreeBSD " + id.Release + " " + ident, 'p': id.Machine, 'i': ident, 'o': "FreeBSD",
		}[field]
	}
	version := "Generic_147148-26"
	switch {
	case id.Illumos:
		version = "illumos-2ca5b6583c"
	case id.Release == "5.11":
		version = "11.4.0.15.0"
	}
	return map[byte]string{'s': "SunOS", 'v': version, 'p': "i386", 'i': id.Machine, 'o': "illumos"}[field]
}

// Sh is sh(1); old makes it System V's Bourne shell.
func Sh(old bool) sim.Command {
	return func(m *sim.Machine, c *sim.Call) int {
		sh := &Shell{Scope: m.ScopeOf(c), Call: c, Old: old}
		pid, exit := m.Start()
		defer exit()
		sh.PID = pid
		args := c.Argv[1:]
		name := c.Argv[0]
		line := ""
		haveLine, stdin := false, false
		for len(args) > 0 && strings.HasPrefix(args[0], "-") {
			switch args[0] {
			case "-c":
				if len(args) < 2 {
					c.Errorf("-c requires an argument")
					return 2
				}
				line, haveLine = args[1], true
				args = args[1:]
			case "-s":
				stdin = true // what follows are the script's arguments
			case "-":
			case "-e":
				line0 := "set -e\n"
				line = line0 + line
			default:
				return c.Refuse()
			}
			args = args[1:]
			if haveLine || stdin {
				break
			}
		}
		switch {
		case haveLine:
			if words, ok := simple(line); ok && len(args) == 0 && (!old || m.Free[words[0]] == nil) {
				inner := *c
				inner.Argv, inner.PID = words, pid
				return m.Exec(&inner)
			}
			if len(args) > 0 {
				name, args = args[0], args[1:]
			}
			return sh.Run(strings.NewReader(line+"\n"), name, args)
		case stdin:
			return sh.Run(c.Stdin, name, args)
		case len(args) > 0:
			var text []byte
			var err error
			m.ScopeOf(c).Locked(func() {
				f, rerr := m.FS.ReadFile(abs(c.Dir, args[0]))
				text, err = f.Data, rerr
			})
			if err != nil {
				fmt.Fprintf(c.Stderr, "%s: cannot open %s: %s\n", name, args[0], Strerror(err))
				return 2
			}
			return sh.Run(strings.NewReader(line+string(text)+"\n"), args[0], args[1:])
		}
		if line != "" {
			return c.Refuse()
		}
		return sh.Run(c.Stdin, name, nil)
	}
}

// Load runs a file of the file system: a script that names its shell.
func Load(m *sim.Machine, c *sim.Call, f host.File) int {
	first, _, _ := strings.Cut(string(f.Data), "\n")
	words := strings.Fields(strings.TrimPrefix(first, "#!"))
	if !strings.HasPrefix(first, "#!") || len(words) == 0 {
		fmt.Fprintf(c.Stderr, "%s: Exec format error\n", c.Argv[0])
		return 126
	}
	inner := *c
	inner.Argv = append(append(words, c.Argv[0]), c.Argv[1:]...)
	return m.Exec(&inner)
}

// builtin runs what a shell has built in as a command of its own.
func builtin(m *sim.Machine, c *sim.Call) int {
	sh := &Shell{Scope: m.ScopeOf(c), Call: c}
	return sh.Run(strings.NewReader(path.Base(c.Argv[0])+" \"$@\"\n"), c.Argv[0], c.Argv[1:])
}

func env(m *sim.Machine, c *sim.Call) int {
	args := c.Argv[1:]
	set := map[string]string{}
	outer := c.Env
	for len(args) > 0 {
		if args[0] == "-i" {
			outer = func(string) string { return "" }
			args = args[1:]
			continue
		}
		name, value, ok := strings.Cut(args[0], "=")
		if !ok {
			break
		}
		set[name] = value
		args = args[1:]
	}
	if len(args) == 0 || strings.HasPrefix(args[0], "-") {
		return c.Refuse()
	}
	inner := *c
	inner.Argv = args
	inner.Env = func(name string) string {
		if v, ok := set[name]; ok {
			return v
		}
		return outer(name)
	}
	return m.Exec(&inner)
}

func nohup(m *sim.Machine, c *sim.Call) int {
	if len(c.Argv) < 2 {
		return c.Refuse()
	}
	inner := *c
	inner.Argv = c.Argv[1:]
	return m.Exec(&inner)
}

func sleep(m *sim.Machine, c *sim.Call) int {
	if len(c.Argv) != 2 {
		return c.Refuse()
	}
	d, err := strconv.Atoi(c.Argv[1])
	if err != nil || d < 0 {
		return c.Refuse()
	}
	if m.Sleep(c.Context, time.Duration(d)*time.Second) != nil {
		return 143
	}
	return 0
}

func reboot(m *sim.Machine, c *sim.Call) int {
	if len(c.Argv) != 1 {
		return c.Refuse()
	}
	m.Reboot()
	return 0
}

// shutdown knows `-r now` and Solaris' `-y -i6 -g0`.
func shutdown(m *sim.Machine, c *sim.Call) int {
	switch strings.Join(c.Argv[1:], " ") {
	case "-r now":
		if m.Identity.OS == "solaris" {
			return c.Refuse()
		}
	case "-y -i6 -g0":
		if m.Identity.OS != "solaris" {
			return c.Refuse()
		}
	default:
		return c.Refuse()
	}
	m.Reboot()
	return 0
}

func initSix(m *sim.Machine, c *sim.Call) int {
	if len(c.Argv) != 2 || c.Argv[1] != "6" || m.Identity.OS == "freebsd" {
		return c.Refuse()
	}
	m.Reboot()
	return 0
}
