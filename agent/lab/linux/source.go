package linux

import (
	"context"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/agent/lab/unix"
)

// scriptTime bounds a file that is run as shell: one that loops must not hang
// the lab.
const scriptTime = 10 * time.Second

func limited() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), scriptTime)
}

func sorted(list []string) []string {
	slices.Sort(list)
	return list
}

// source reads files as the scripts do, by the shell's ".": each on top of the
// variables that the ones before left. Files that are not there are passed
// over.
func (b *booter) source(vars map[string]string, files ...string) map[string]string {
	all := map[string]string{}
	for k, v := range vars {
		all[k] = v
	}
	for _, f := range files {
		data := text(b.m.FS, f)
		if data == "" {
			continue
		}
		env := map[string]string{}
		for k, v := range all {
			env[k] = v
		}
		ctx, cancel := limited()
		sh := &unix.Shell{
			Scope: b.m.Scope(true), PID: 100,
			Call: &sim.Call{Context: ctx, Argv: []string{"sh"}, Dir: "/etc/sysconfig/network-scripts",
				Env:   func(name string) string { return env[name] },
				Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: &b.console},
			After: func(name, value string) { all[name] = value },
		}
		sh.Run(strings.NewReader(data), f, nil)
		cancel()
	}
	return all
}
