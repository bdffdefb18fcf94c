// Command lvsfleet makes a fleet of Linux Virtual Server hosts what one
// inventory says: the director's IPVS rules on Linux, and real servers on
// Linux, FreeBSD and Solaris, in NAT, DR and TUN.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/providers/host"
)

func main() {
	crashAsSignal()
	if agent.IsGuard(os.Args) {
		os.Exit(guard())
	}
	// Most runs are over before their garbage matters; collecting it is a
	// tenth of the work of a run that finds nothing to do. Where half of the
	// machine's memory is in use, it is collected as ever.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
		debug.SetMemoryLimit(memoryLimit(os.ReadFile))
	}
	os.Exit(mainExit())
}

// guard is this program as the guard of the machine that lvsfleet runs on
// (connection = "local"), started by itself.
func guard() int {
	signal.Ignore(syscall.SIGHUP, syscall.SIGINT, syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := agent.RunGuard(ctx, &host.Local{}, os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "lvsfleet:", err)
		return 1
	}
	return 0
}

// mainExit is main for a test that runs the command in process.
func mainExit() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the program at once: the first one is forgotten as
	// soon as it has been heard.
	context.AfterFunc(ctx, stop)
	// A reader that goes away, as head does, must not end a run in the middle:
	// the writes fail instead. A signal that is caught is not ignored by the
	// programs that are started.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	out := &output{File: os.Stdout}
	status := run(ctx, os.Args[1:], streams{in: os.Stdin, out: out, err: os.Stderr})
	if err := out.lost(); err != nil {
		fmt.Fprintf(os.Stderr, "lvsfleet: write the result: %v\n", err)
		status = max(status, 1)
	}
	return status
}

// An output is standard output. It remembers that something could not be
// written: a result that is lost is no success.
type output struct {
	*os.File
	mu  sync.Mutex
	err error // the first
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.File.Write(p)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		o.err = err
	}
	return n, err
}

// lost is why something could not be written; nil where all was, or where the
// reader wanted no more.
func (o *output) lost() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if errors.Is(o.err, syscall.EPIPE) {
		return nil
	}
	return o.err
}

// streams are where a command reads and writes. Out is the result, err the
// progress and what went wrong.
type streams struct {
	in       *os.File
	out, err io.Writer
}

// run executes one command line and returns the exit status.
func run(ctx context.Context, args []string, s streams) int {
	root := newRoot(s)
	root.SetArgs(longVars(args))
	return exitStatus(root.ExecuteContext(ctx), s.err)
}
