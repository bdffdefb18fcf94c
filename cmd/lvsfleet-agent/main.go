// Command lvsfleet-agent runs lvsfleet's engine on the host that it manages:
// it is put there and started over SSH by lvsfleet, serves that one login over
// its standard input and output, and ends with it.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/providers/host"
)

func main() {
	// A line that breaks must not kill what has to undo: writes fail instead.
	signal.Ignore(syscall.SIGPIPE)
	ends := []os.Signal{syscall.SIGTERM}
	if agent.IsGuard(os.Args) {
		// The end of a login is what a guard is there for.
		signal.Ignore(syscall.SIGHUP, syscall.SIGINT)
	} else {
		ends = append(ends, syscall.SIGHUP, syscall.SIGINT)
	}
	ctx, stop := signal.NotifyContext(context.Background(), ends...)
	name, err := os.Hostname()
	if err != nil {
		name = "localhost"
	}
	status := agent.Main(ctx, &host.Local{Name: name}, os.Args, os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}
