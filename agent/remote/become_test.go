package remote

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/host/hosttest"
)

// Stand-ins for sudo on this machine: one that asks nobody, one that takes the
// password, and one that was told to read it and needs none.
const (
	asksNobody = "#!/bin/sh\nexec \"$@\"\n"
	takesIt    = "#!/bin/sh\nread word; test \"$word\" = 'xyzzy $x !1' || exit 1\nexec \"$@\"\n"
)

func tool(t *testing.T, text string) []string {
	t.Helper()
	file := filepath.Join(place(t), "sudo")
	if err := os.WriteFile(file, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	return []string{file}
}

func TestAHostConformsToAnotherUser(t *testing.T) {
	for _, shell := range loginShells() {
		s := startServer(t, func(s *server) { s.shell = shell })
		conn := s.connect(t)
		for name, root := range map[string]*privilege{
			"without a password":              {tool: tool(t, asksNobody)},
			"with a password":                 {tool: tool(t, takesIt), secret: []byte("xyzzy $x !1")},
			"with a password that none wants": {tool: tool(t, asksNobody), secret: []byte("xyzzy $x !1")},
		} {
			t.Run(shell+" "+name, func(t *testing.T) {
				hosttest.Conformance(t, func(t *testing.T) hosttest.Subject {
					h := NewHost("rs1", conn)
					h.root = root
					t.Cleanup(func() {
						if h.sftp != nil {
							t.Error("SFTP was opened")
						}
					})
					return hosttest.Subject{Host: h, Dir: place(t), UID: os.Geteuid(), GID: os.Getegid()}
				})
			})
		}
		for _, line := range s.lines() {
			if strings.Contains(line, "xyzzy") {
				t.Errorf("the password is in a command line: %s", line)
			}
		}
	}
}

func TestAPasswordNeverReachesACommand(t *testing.T) {
	s := startServer(t, nil)
	h := NewHost("rs1", s.connect(t))
	h.root = &privilege{tool: tool(t, asksNobody), secret: []byte("secret")}
	res, err := h.Run(t.Context(), host.Cmd{Argv: []string{"cat"}, Stdin: []byte("what\ncat\x00reads")})
	if err != nil || string(res.Stdout) != "what\ncat\x00reads" {
		t.Errorf("%q %v", res.Stdout, err)
	}
	if res, err := h.Run(t.Context(), host.Cmd{Argv: []string{"cat"}}); err != nil || len(res.Stdout) > 0 {
		t.Errorf("no input: %q %v", res.Stdout, err)
	}
	p, err := start(s.connect(t), []string{"cat"}, h.root)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := p.Write([]byte("hello\n")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 6)
	if _, err := p.Read(b); err != nil || string(b) != "hello\n" {
		t.Errorf("a program reads %q %v", b, err)
	}
}

// A password is asked for once for all hosts of a user, which the question names.
// A host that it does not name does not get it, whatever it says.
func TestAPasswordGoesToTheHostsThatTheQuestionNames(t *testing.T) {
	host := func(name, become, user string) Target {
		return Target{Name: name, Address: "192.0.2.1", Become: become, User: user}
	}
	together := []Target{
		host("rs3", "sudo", "op"), host("rs1", "sudo", "op"), host("rs2", "sudo", "other"), host("rs4", "doas", "op"), host("rs5", "", "op"),
		{Name: "rs6", Become: "sudo", User: "op", Address: ""}, host("rs7", "sudo", "nobody"),
	}
	var asked []string
	d := &Dialer{
		Together: func() []Target { return together },
		Password: func(tool, user string, hosts []string) ([]byte, error) {
			asked = append(asked, tool+" "+user+": "+strings.Join(hosts, " "))
			if user == "nobody" {
				return nil, errors.New("no")
			}
			return fmt.Appendf(nil, "%s%d", user, len(asked)), nil
		},
	}
	for range 2 {
		for _, tt := range []struct{ name, user, want string }{
			{"rs1", "op", "op1"}, {"rs3", "op", "op1"}, {"rs2", "other", "other2"}, {"rs7", "nobody", ""},
			{"stranger", "op", "op4"}, // in no question so far
		} {
			got, err := d.password(host(tt.name, "sudo", tt.user))
			if string(got) != tt.want || (err != nil) != (tt.want == "") {
				t.Errorf("%s: %q %v", tt.name, got, err)
			}
		}
	}
	want := []string{"sudo op: rs1 rs3 rs6", "sudo other: rs2", "sudo nobody: rs7", "sudo op: stranger"}
	if d := cmp.Diff(want, asked); d != "" {
		t.Error(d)
	}
	if _, err := (&Dialer{Password: func(string, string, []string) ([]byte, error) { return []byte("a\nb"), nil }}).password(Target{}); err == nil {
		t.Error("a newline was taken")
	}
}

func TestLinesOfLs(t *testing.T) {
	for line, want := range map[string]facts{
		// GNU, FreeBSD, Solaris: their manuals' examples, and a coreutils 9.
		"-rw-r--r-- 1 0 0 1234 Nov 23 11:12 /etc/hosts":                   {File: host.File{Mode: 0o644}, Size: 1234},
		"-rw-r--r--. 1 0 0 0 Jan  1  2024 /etc/hosts":                     {File: host.File{Mode: 0o644}},
		"-r-xr-x---+  1 2147483646  60001  7 Jan  1 2024 /etc/hosts":      {File: host.File{Mode: 0o550, UID: 2147483646, GID: 60001}, Size: 7},
		"drwxrwxrwt  12 0  0  512 Mar  3 04:05 /etc/hosts":                {File: host.File{Mode: fs.ModeDir | fs.ModeSticky | 0o777}, Size: 512},
		"-rwsr-sr-x   1 0        2          99 Mar  3 04:05 /etc/hosts":   {File: host.File{Mode: fs.ModeSetuid | fs.ModeSetgid | 0o755, GID: 2}, Size: 99},
		"-rwSr-lr-T   1 0        2          99 Mar  3 04:05 /etc/hosts":   {File: host.File{Mode: fs.ModeSetuid | fs.ModeSticky | 0o644, GID: 2}, Size: 99},
		"crw-rw-rw-   1 0        3        13,  2 Mar  3 04:05 /etc/hosts": {File: host.File{Mode: fs.ModeDevice | fs.ModeCharDevice | 0o666, GID: 3}},
		"lrwxrwxrwx   1 0 0 12 Mar  3 04:05 /etc/hosts -> ./inet/a -> b":  {File: host.File{Mode: fs.ModeSymlink | 0o777, Data: []byte("./inet/a -> b")}, Size: 12},
	} {
		got, err := parseOf(line, "/etc/hosts")
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v %s", line, err, diff)
		}
	}
	for line, want := range map[string]error{
		"ls: cannot access '/etc/hosts': No such file or directory": fs.ErrNotExist,
		"ls: /etc/hosts: No such file or directory":                 fs.ErrNotExist,
		"/etc/hosts: No such file or directory":                     fs.ErrNotExist,
		"ls: cannot access '/etc/hosts': Not a directory":           syscall.ENOTDIR,
		"-rw-r--r-- 1 0 0 1234 Nov 23 11:12 /etc/other":             errNoLine,
		"-rw-r--r-- 1 root root 1234 Nov 23 11:12 /etc/hosts":       errNoLine,
		"lrwxrwxrwx 1 0 0 1234 Nov 23 11:12 /etc/hosts":             errNoLine,
		"": errNoLine,
	} {
		if _, err := parseOf(line, "/etc/hosts"); !errors.Is(err, want) {
			t.Errorf("%q: %v", line, err)
		}
	}
}

// What the host prints never breaks anything, and a listing names nothing that
// lies outside its folder.
func FuzzLs(f *testing.F) {
	f.Add("total 1\n-rw-r--r-- 1 0 0 3 Nov 23 11:12 a b\nlrwxrwxrwx 1 0 0 3 Nov 23 11:12 l -> ../x\n")
	f.Add("-rw-r--r-- 1 0 0 3 Nov 23 11:12 /a\n-rw-r--r-- 1 0 0 3 Nov 23 11:12 /a\ndata\nabc")
	f.Add("lrwxrwxrwx 1 0 0 3 Nov 23 11:12 /a -> b\nls: /a: No such file or directory\nnone\n")
	f.Add("crw-rw-rw- 1 0 3 13, 2 Mar 3 04:05 /a\n")
	f.Fuzz(func(t *testing.T, text string) {
		entries, err := parseList(text)
		for _, e := range entries {
			if err != nil || e.Name == "" || strings.ContainsAny(e.Name, "/\n") {
				t.Errorf("%q %v", e.Name, err)
			}
		}
		if list, errs, got, err := parseRead(text, []string{"/a"}); err == nil {
			if len(list) != 1 || len(errs) != 1 || got.Mode&(fs.ModeDir|fs.ModeSymlink) != 0 || !strings.HasSuffix(text, string(got.Data)) {
				t.Errorf("%v %v", list, got)
			}
		}
	})
}

// Whatever the arguments and the tool, the login shell's line is one that
// gives them back.
func FuzzCommandLine(f *testing.F) {
	f.Add("it's", "!1 \\ $x `y`", "secret")
	f.Add("", "*", "")
	f.Fuzz(func(t *testing.T, a, b, secret string) {
		p := &privilege{tool: []string{"sudo", "-S", "-p", ""}, secret: []byte(secret)}
		line, first, err := p.command([]string{"/bin/echo", a, b})
		if err != nil {
			if !strings.ContainsAny(a+b, "\n\x00") {
				t.Error(err)
			}
			return
		}
		want, err := quote([]string{"/bin/echo", a, b})
		if err != nil || !strings.HasSuffix(line, " "+want) || !strings.HasPrefix(line, "exec env LC_ALL=C PATH=") {
			t.Errorf("%s: %v", line, err)
		}
		if strings.Contains(line, "\n") || string(first) != secret+"\n"+gateWord+"\n" {
			t.Errorf("%q %q", line, first)
		}
	})
}

func TestAToolThatIsNotThere(t *testing.T) {
	s := startServer(t, nil)
	h := NewHost("rs1", s.connect(t))
	for become, want := range map[string]string{"pfexec": "pfexec", "su": "one of sudo, doas, pfexec"} {
		err := (&Dialer{}).elevate(context.Background(), Target{Name: "rs1", User: "op", Become: become}, h)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", become, err)
		}
	}
}
