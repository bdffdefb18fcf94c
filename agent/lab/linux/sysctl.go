package linux

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
)

// sysctl is sysctl(8): of procps 3.2 up to EL6, of procps-ng after. Texts and
// exit statuses of a failure differ: 255 before procps-ng 4, 1 with it.
func sysctl(e era) sim.Command {
	return func(m *sim.Machine, c *sim.Call) int {
		s := &sysctlCall{k: kernelOf(m, e), c: c}
		var file string
		load, all := false, false
		var args []string
		for i := 1; i < len(c.Argv); i++ {
			a := c.Argv[i]
			if !strings.HasPrefix(a, "-") || a == "-" {
				args = append(args, a)
				continue
			}
			switch a {
			case "--ignore":
				a = "-e"
			case "--values":
				a = "-n"
			case "--write":
				a = "-w"
			case "--quiet":
				a = "-q"
			case "--all":
				a = "-a"
			case "--load":
				a = "-p"
			}
			if f, ok := strings.CutPrefix(a, "--load="); ok {
				load, args = true, append(args, f)
				continue
			}
			if strings.HasPrefix(a, "--") {
				return c.Refuse()
			}
			for _, o := range a[1:] {
				switch o {
				case 'n':
					s.values = true
				case 'w':
					s.write = true
				case 'e':
					s.ignore = true
				case 'q':
					s.quiet = true
				case 'a', 'A':
					all = true
				case 'p':
					load = true
				default:
					return c.Refuse()
				}
			}
		}
		switch {
		case load:
			if len(args) == 0 {
				args = []string{"/etc/sysctl.conf"}
			}
			for _, file = range args {
				s.load(m.FS, file)
			}
		case all:
			for _, key := range slices.Sorted(maps.Keys(s.k.Sysctls)) {
				s.read(key)
			}
		case len(args) == 0:
			return c.Refuse() // usage
		default:
			for _, a := range args {
				if s.write || strings.Contains(a, "=") {
					s.assign(a)
				} else {
					s.read(a)
				}
			}
		}
		if !s.failed {
			return 0
		}
		if e < current {
			return 255
		}
		return 1
	}
}

// A sysctlCall is one run of the command.
type sysctlCall struct {
	k                            kernel
	c                            *sim.Call
	values, write, ignore, quiet bool
	failed                       bool
}

func (s *sysctlCall) fail(old, new string, args ...any) {
	s.failed = true
	if s.k.era < el7 {
		fmt.Fprintf(s.c.Stderr, old+"\n", args...)
		return
	}
	fmt.Fprintf(s.c.Stderr, "sysctl: "+new+"\n", args...)
}

func (s *sysctlCall) unknown(key string) {
	if s.ignore {
		return
	}
	if s.k.era < el7 {
		s.fail(`error: "%s" is an unknown key`, "", key)
		return
	}
	s.fail("", "cannot stat %s: No such file or directory", procPath(key))
}

func (s *sysctlCall) read(arg string) {
	key := canonical(arg)
	v, ok := s.k.Sysctls[key]
	switch {
	case !ok:
		s.unknown(key)
	case s.values:
		s.c.Printf("%s\n", v)
	default:
		s.c.Printf("%s = %s\n", key, v)
	}
}

func (s *sysctlCall) assign(arg string) {
	name, value, ok := strings.Cut(arg, "=")
	if !ok || name == "" || value == "" {
		if s.k.era < el7 {
			s.fail(`error: "%s" must be of the form name=value`, "", arg)
		} else if s.k.era < current {
			s.fail("", `"%s" must be of the form name=value`, arg)
		} else {
			s.fail("", "command line(0): invalid syntax, continuing...")
		}
		return
	}
	s.set(strings.TrimSpace(name), strings.TrimSpace(value), false)
}

// set writes one key. minus is the "-" of a file's line: failure does not
// count (procps-ng).
func (s *sysctlCall) set(name, value string, minus bool) {
	key := canonical(name)
	if _, ok := s.k.Sysctls[key]; !ok {
		before := s.failed
		s.unknown(key)
		if minus {
			s.failed = before
		}
		return
	}
	if err := s.k.setSysctl(key, value); err != nil {
		before := s.failed
		s.fail(`error: "%s" setting key "%s"`, `setting key "%[2]s": %[1]s`, err.Error(), key)
		if minus {
			s.failed = before
		}
		return
	}
	switch {
	case s.quiet:
	case s.values:
		s.c.Printf("%s\n", s.k.Sysctls[key])
	default:
		s.c.Printf("%s = %s\n", key, s.k.Sysctls[key])
	}
}

// load reads a file of the form of sysctl.conf(5).
func (s *sysctlCall) load(f *sim.FS, file string) {
	data, err := f.ReadFile(file)
	if err != nil {
		s.fail(`error: unable to open preload file "%s"`, `cannot open "%s": No such file or directory`, file)
		return
	}
	n := 0
	var todo []func()
	defer func() {
		for _, f := range todo {
			f()
		}
	}()
	for line := range strings.Lines(string(data.Data)) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		minus := s.k.era >= current && strings.HasPrefix(name, "-")
		if minus {
			name = name[1:]
		}
		if !ok || name == "" {
			if s.k.era < el7 {
				fmt.Fprintf(s.c.Stderr, "warning: %s(%d): invalid syntax, continuing...\n", file, n)
			} else {
				fmt.Fprintf(s.c.Stderr, "sysctl: %s(%d): invalid syntax, continuing...\n", file, n)
			}
			continue
		}
		if s.k.era >= current { // procps-ng 4 reads the whole file first
			todo = append(todo, func() { s.set(name, value, minus) })
		} else {
			s.set(name, value, minus)
		}
	}
}
