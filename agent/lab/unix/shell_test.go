package unix_test

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/agent/lab/unix"
	"github.com/lvsfleet/lvsfleet/providers/host"
)

func machine(os string) *sim.Machine {
	m := &sim.Machine{
		Name: "rs1", Identity: host.Identity{OS: os, Release: "5.10", Machine: "i86pc"},
		FS: sim.NewFS(), Commands: unix.Commands(), Free: unix.Free(), Loader: unix.Load,
		Boot: func(*sim.Machine) {},
	}
	m.FS.MkdirAll("/etc")
	m.FS.MkdirAll("/tmp")
	m.FS.Put("/etc/motd", 0o644, "hello\nworld\n")
	m.Reboot()
	return m
}

func run(m *sim.Machine, stdin string, argv ...string) (stdout, stderr string, exit int) {
	var out, errs bytes.Buffer
	exit = m.Exec(&sim.Call{Argv: argv, Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &errs})
	return out.String(), errs.String(), exit
}

func TestShell(t *testing.T) {
	tests := []struct {
		name, script   string
		stdout, stderr string
		exit           int
	}{
		{name: "plain command", script: "cat /etc/motd", stdout: "hello\nworld\n"},
		{name: "redirects", script: "echo a > /tmp/x; echo b >> /tmp/x; cat < /tmp/x", stdout: "a\nb\n"},
		{name: "pipeline", script: "cat /etc/motd | egrep '^w' | cat", stdout: "world\n"},
		{name: "no such command", script: "nosuch -x", stderr: "nosuch: not found\n", exit: 127},
		{name: "exit status", script: "false || exit 3; echo never", exit: 3},
		{name: "status of the last", script: "true; false", exit: 1},
		{name: "exit trap", script: "trap 'echo bye' 0; trap '' 1; echo hi", stdout: "hi\nbye\n"},
		{name: "exec with environment", script: "exec env A=b sh -c 'echo $A'", stdout: "b\n"},
		{name: "here document", script: "cat <<EOF\nx $((1+1))\nEOF", stdout: "x 2\n"},
		{name: "glob", script: "cd /etc; echo mot*; ls /e*/motd", stdout: "motd\n/etc/motd\n"},
		{name: "test", script: "test -f /etc/motd && [ ! -d /nosuch ] && echo ok", stdout: "ok\n"},
		{name: "umask", script: "umask 077; echo x > /tmp/s; ls -1 /tmp", stdout: "s\n"},
		{name: "unterminated quote", script: "echo 'x", stderr: "sh: Syntax error: reached EOF without closing quote `'`\n", exit: 2},
		{name: "missing folder", script: "echo x > /nosuch/x", stderr: "sh: cannot create /nosuch/x: No such file or directory\n", exit: 1},
		{name: "own process", script: "kill -0 $$ && echo alive", stdout: "alive\n"},
		{name: "no such process", script: "kill -0 99999", stderr: "kill: 99999: No such process\n", exit: 1},
		{name: "unknown flag", script: "rm -i /etc/motd", stderr: `lvsfleet lab: ["rm" "-i" "/etc/motd"] is not modelled` + "\n", exit: sim.RefusedExit},
		{name: "command -v", script: "command -v ls; command -v nosuch", stdout: "/bin/ls\n", exit: 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, how := range []string{"argument", "stream"} {
				m := machine(host.Linux)
				var stdout, stderr string
				var exit int
				if how == "argument" {
					stdout, stderr, exit = run(m, "", "sh", "-c", test.script)
				} else {
					stdout, stderr, exit = run(m, test.script+"\n", "sh")
				}
				got := []any{stdout, stderr, exit}
				want := []any{test.stdout, test.stderr, test.exit}
				if d := cmp.Diff(want, got); d != "" {
					t.Errorf("as %s (-want +got):\n%s", how, d)
				}
			}
		})
	}
}

func TestShellLeavesTheRestOfItsInputToCommands(t *testing.T) {
	stdout, _, _ := run(machine(host.Linux), "cat\nrest\n", "sh")
	if stdout != "rest\n" {
		t.Errorf("printed %q", stdout)
	}
}

func TestShellAnswersAsItReads(t *testing.T) {
	m := machine(host.Linux)
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	go func() {
		m.Exec(&sim.Call{Argv: []string{"sh"}, Stdin: inR, Stdout: outW, Stderr: io.Discard})
		outW.Close()
	}()
	for _, word := range []string{"one", "two"} {
		if _, err := io.WriteString(inW, "echo "+word+"\n"); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, len(word)+1)
		if _, err := io.ReadFull(outR, buf); err != nil || string(buf) != word+"\n" {
			t.Fatalf("read %q, %v", buf, err)
		}
	}
	inW.Close()
	if rest, _ := io.ReadAll(outR); len(rest) > 0 {
		t.Errorf("and then %q", rest)
	}
}

func TestScriptFile(t *testing.T) {
	m := machine(host.Linux)
	m.FS.Put("/tmp/undo.sh", 0o755, "#!/bin/sh\necho \"$0 $1\"\n")
	if stdout, _, _ := run(m, "", "/tmp/undo.sh", "now"); stdout != "/tmp/undo.sh now\n" {
		t.Errorf("printed %q", stdout)
	}
	m.FS.Put("/tmp/data", 0o644, "x")
	if _, stderr, exit := run(m, "", "/tmp/data"); exit != 126 || stderr != "/tmp/data: Permission denied\n" {
		t.Errorf("exit %d, %q", exit, stderr)
	}
}

func TestBourneShellRefusesWhatItDoesNotKnow(t *testing.T) {
	m := machine(host.Solaris)
	m.Free["sh"] = unix.Sh(true)
	for _, script := range []string{"x=$(cat /etc/motd)", "echo $((1+1))", "test -e /etc/motd", "if ! false; then echo x; fi", "echo ${x#y}"} {
		if stdout, stderr, exit := run(m, "", "sh", "-c", script); exit != 2 || stdout != "" || !strings.HasPrefix(stderr, "sh: syntax error at line 1: ") {
			t.Errorf("%s: exit %d, stdout %q, stderr %q", script, exit, stdout, stderr)
		}
	}
	if stdout, _, exit := run(m, "", "sh", "-c", "x=`cat /etc/motd`; echo ${x:-none}; test -f /etc/motd"); exit != 0 || stdout != "hello world\n" {
		t.Errorf("exit %d, stdout %q", exit, stdout)
	}
}

func TestFaults(t *testing.T) {
	m := machine(host.Linux)
	m.Fail("cat", sim.Fault{Missing: true, Args: []string{"/etc/motd"}, Times: 1})
	if _, _, exit := run(m, "", "/bin/cat", "/etc/motd"); exit != 127 {
		t.Errorf("exit %d, want 127", exit)
	}
	if _, _, exit := run(m, "", "cat", "/etc/motd"); exit != 0 {
		t.Errorf("exit %d the second time", exit)
	}
	m.Fail("cat", sim.Fault{Stdout: "garbage", Exit: 4})
	if stdout, _, exit := run(m, "", "cat", "/etc/motd"); exit != 4 || stdout != "garbage" {
		t.Errorf("exit %d, %q", exit, stdout)
	}
	m.Mend()
	m.FS.Full = true
	if _, stderr, exit := run(m, "", "sh", "-c", "cp /etc/motd /tmp/x"); exit != 1 || stderr != "cp: /tmp/x: No space left on device\n" {
		t.Errorf("exit %d, %q", exit, stderr)
	}
}
