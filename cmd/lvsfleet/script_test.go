package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/lvsfleet/lvsfleet/agent/lab"
	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/agent/remote"
	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/state"
)

// realPace in the environment has a lab's time pass as it does elsewhere.
const realPace = "LVSFLEET_TEST_REAL_PACE"

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"lvsfleet": func() {
			if os.Getenv(realPace) == "" {
				labClock = sim.Hurried(5)
			}
			main()
		},
		"onhost":   onHost,
		"justtrue": justTrue,
		"showlast": showLast,
		"fetch":    fetch,
	})
}

// TestScripts runs the terminal sessions below testdata/script. Beside what
// testscript knows, they have
//
//	status N lvsfleet ...   the command ends with exit status N
//	lab-ready DIR           wait until the lab of DIR is ready
//	onhost DIR HOST COMMAND run a command on a simulated host over SSH
//	fetch URL [TOKEN]       print what a server answers
//	until REGEXP COMMAND    run a command until it prints what matches
//	signal HUP|TERM VERB    send a signal to the lvsfleet VERB in the background
func TestScripts(t *testing.T) {
	examples, err := filepath.Abs("../../examples")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("EXAMPLES", examples)
			e.Setenv("NO_COLOR", "1")
			e.Setenv("GORACE", os.Getenv("GORACE"))
			e.Setenv("XDG_STATE_HOME", filepath.Join(e.WorkDir, "state"))
			l, err := net.Listen("tcp", "127.0.0.1:0") // a port that is free
			if err != nil {
				return err
			}
			e.Setenv("PORT", strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
			return l.Close()
		},
		UpdateScripts: os.Getenv("UPDATE") != "",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status":    cmdStatus,
			"lab-ready": cmdLabReady,
			"until":     cmdUntil,
			"signal":    cmdSignal,
		},
	})
}

func cmdStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if err != nil {
		_, text, ok := strings.Cut(err.Error(), "exit status ")
		if !ok {
			ts.Fatalf("%v", err)
		}
		got, err = strconv.Atoi(text)
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

const labDeadline = 30 * time.Second

func cmdUntil(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until REGEXP COMMAND...")
	}
	re, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	for deadline := time.Now().Add(labDeadline); ; time.Sleep(50 * time.Millisecond) {
		err := ts.Exec(args[1], args[2:]...)
		out := ts.ReadFile("stdout")
		if re.MatchString(out) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("it never printed %q: %v\n%s", args[0], err, out)
		}
	}
}

func cmdSignal(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]os.Signal{"HUP": syscall.SIGHUP, "TERM": syscall.SIGTERM}
	if neg || len(args) != 2 || signals[args[0]] == nil {
		ts.Fatalf("usage: signal HUP|TERM VERB")
	}
	for _, c := range ts.BackgroundCmds() {
		if len(c.Args) > 1 && c.Args[1] == args[1] {
			ts.Check(c.Process.Signal(signals[args[0]]))
			return
		}
	}
	ts.Fatalf("no %s runs in the background", args[1])
}

func cmdLabReady(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: lab-ready DIR")
	}
	for deadline := time.Now().Add(labDeadline); ; time.Sleep(10 * time.Millisecond) {
		if _, err := lab.Open(ts.MkAbs(args[0])); err == nil {
			return
		} else if time.Now().After(deadline) {
			ts.Fatalf("the lab did not start: %v", err)
		}
	}
}

// onHost is a small SSH client for the scripts.
func onHost() {
	if err := runOnHost(os.Args[1], os.Args[2], strings.Join(os.Args[3:], " ")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func runOnHost(dir, host, command string) error {
	config, err := lab.Open(dir)
	if err != nil {
		return err
	}
	target, err := labTarget(config, host)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), labDeadline)
	defer cancel()
	client, err := (&remote.Dialer{}).Client(ctx, target)
	if err != nil {
		return err
	}
	defer client.Close()
	s, err := client.NewSession()
	if err != nil {
		return err
	}
	var out bytes.Buffer
	s.Stdin, s.Stdout, s.Stderr = os.Stdin, &out, os.Stderr
	err = s.Run(command)
	os.Stdout.Write(out.Bytes())
	if command == "reboot" {
		return nil // it hangs up
	}
	return err
}

// fetch is a small HTTP client, which takes any certificate.
func fetch() {
	err := func() error {
		ctx, cancel := context.WithTimeout(context.Background(), labDeadline)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, os.Args[1], nil)
		if err != nil {
			return err
		}
		if len(os.Args) > 2 {
			req.Header.Set("Authorization", "Bearer "+os.Args[2])
		}
		c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
		res, err := c.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		fmt.Println(res.Status)
		_, err = io.Copy(os.Stdout, res.Body)
		return err
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// showLast runs `lvsfleet history show` on the last run that a lab's controller
// remembers.
func showLast() {
	runs, err := state.OpenHistory(filepath.Join(os.Args[1], "state")).Runs(time.Time{})
	if err != nil || len(runs) == 0 {
		fmt.Fprintln(os.Stderr, len(runs), "runs", err)
		os.Exit(1)
	}
	os.Args = []string{"lvsfleet", "history", "show", runs[0].ID}
	main()
}
