// Package ipvsadm simulates ipvsadm(8), ipvsadm-save(8) and
// ipvsadm-restore(8) over the IPVS table of a simulated machine: the versions
// 1.24 (Fedora Core 5), 1.26 (Enterprise Linux 6) and 1.31. The table itself
// is providers/ipvs' Memory, which answers as the kernel does; arguments and
// listings are this package's own, written from ipvsadm.c and libipvs.c, so
// that lvsfleet's parser and writer have something to be held against.
package ipvsadm

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"syscall"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
)

// A Version is an era of ipvsadm.
type Version int

// The versions that are known.
const (
	V124 Version = iota // no IPv6, no SCTP, no one-packet scheduling, no engines, no scheduler flags
	V126                // no SCTP, no scheduler flags
	V131
)

// Commands gives the three programs. load loads a kernel module and says
// whether the machine has it; ipvsadm loads ip_vs, the kernel the schedulers.
func Commands(v Version, load func(m *sim.Machine, module string) bool) map[string]sim.Command {
	p := &program{v: v, load: load}
	return map[string]sim.Command{
		"ipvsadm": p.main,
		"ipvsadm-restore": func(m *sim.Machine, c *sim.Call) int {
			if len(c.Argv) > 1 {
				return c.Refuse()
			}
			return p.run(m, c, []string{"-R"})
		},
		"ipvsadm-save": func(m *sim.Machine, c *sim.Call) int {
			for _, a := range c.Argv[1:] {
				if a != "-n" {
					return c.Refuse()
				}
			}
			return p.run(m, c, append([]string{"-S"}, c.Argv[1:]...))
		},
	}
}

type program struct {
	v    Version
	load func(m *sim.Machine, module string) bool
}

func (p *program) main(m *sim.Machine, c *sim.Call) int { return p.run(m, c, c.Argv[1:]) }

// errRefused is an argument of the real program that the fake does not model.
var errRefused = errors.New("not modelled")

// A fatal error is ipvsadm's fail(): its text, and exit status 2, or 255 for
// bad usage.
type fatal struct {
	text string
	exit int
}

func (e *fatal) Error() string { return e.text }

func fail(format string, args ...any) error { return &fatal{fmt.Sprintf(format, args...), 2} }

func tryHelp() error {
	return &fatal{"Try `ipvsadm -h' or 'ipvsadm --help' for more information.", 255}
}

func (p *program) run(m *sim.Machine, c *sim.Call, args []string) int {
	if !p.load(m, "ip_vs") {
		fmt.Fprintln(c.Stderr, "Can't initialize ipvs: Protocol not available\nAre you sure that IP Virtual Server is built in the kernel or as module?")
		return 2
	}
	if len(args) == 0 {
		p.list(m, c, request{verb: 'L'})
		return 0
	}
	exit, err := p.process(m, c, args, false)
	var f *fatal
	switch {
	case errors.Is(err, errRefused):
		return c.Refuse()
	case errors.As(err, &f):
		fmt.Fprintln(c.Stderr, f.text)
		return f.exit
	}
	return exit
}

// process does one command line. What the kernel refuses is printed and leaves
// 255; an error ends the whole program.
func (p *program) process(m *sim.Machine, c *sim.Call, args []string, restoring bool) (int, error) {
	r, err := p.parse(args)
	if err != nil {
		return 0, err
	}
	switch r.verb {
	case 'L', 'S':
		return p.list(m, c, r), nil
	case 'R':
		if restoring {
			return 0, tryHelp()
		}
		return p.restore(m, c)
	case 'C':
		m.Net.IPVS = nil
		return 0, nil
	case 'v':
		c.Printf("ipvsadm %s\n", map[Version]string{
			V124: "v1.24 2005/12/10 (compiled with popt and IPVS v1.2.0)",
			V126: "v1.26 2008/5/15 (compiled with popt and IPVS v1.2.1)",
			V131: "v1.31 2019/12/24 (compiled with popt and IPVS v1.2.1)",
		}[p.v])
		return 0, nil
	}
	if err := p.apply(m, ipvs.Edit{Verb: r.edit(), Service: &r.service, Dest: r.dest}); err != nil {
		fmt.Fprintln(c.Stderr, p.words(err))
		return 255, nil
	}
	return 0, nil
}

// apply makes one edit as the kernel would.
func (p *program) apply(m *sim.Machine, e ipvs.Edit) error {
	table := &ipvs.Memory{
		Services:   m.Net.IPVS,
		Schedulers: func(name string) bool { return p.load(m, "ip_vs_"+name) },
	}
	if p.v < V131 {
		table.Local = func(a netip.Addr) bool { return m.Net.Holder(a) != nil }
	}
	err := table.Apply(context.Background(), []ipvs.Edit{e})
	m.Net.IPVS = table.Services
	return err
}

// words is what ipvsadm prints for the kernel's answer.
func (p *program) words(err error) string {
	var edit *ipvs.EditError
	if errors.As(err, &edit) {
		err = edit.Err
	}
	if p.v == V124 && errors.Is(err, syscall.ENOENT) && err.Error() == "Scheduler or persistence engine not found" {
		return "Scheduler not found"
	}
	return err.Error()
}

// restore reads command lines from standard input. One that the kernel refuses
// does not end it; the status is that of the last line.
func (p *program) restore(m *sim.Machine, c *sim.Call) (int, error) {
	exit := 0
	sc := bufio.NewScanner(c.Stdin)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		line, _, _ := strings.Cut(sc.Text(), "#")
		f := strings.Fields(line)
		if len(f) > 0 && f[0] == "ipvsadm" {
			f = f[1:]
		}
		if len(f) == 0 {
			continue
		}
		var err error
		if exit, err = p.process(m, c, f, true); err != nil {
			return 0, err
		}
	}
	return exit, nil
}
