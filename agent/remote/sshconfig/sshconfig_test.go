package sshconfig_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lvsfleet/lvsfleet/agent/remote/sshconfig"
)

// disk are the files of this machine.
type disk struct{}

func (disk) ReadFile(name string) ([]byte, error)  { return os.ReadFile(name) }
func (disk) Glob(pattern string) ([]string, error) { return filepath.Glob(pattern) }

func local(t testing.TB) sshconfig.Local {
	t.Helper()
	who, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(who.Uid)
	return sshconfig.Local{User: who.Username, Home: who.HomeDir, UID: uid, Host: host, Env: map[string]string{"KEYS": "/keys"}}
}

// configs are files that ssh(1) itself is asked about. DIR is their folder, in
// which DIR/inc/*.conf are.
func configs() []string {
	return []string{
		"",
		"Host a\n  HostName 10.0.0.1\n",
		"Host a\n  HostName %h.example.com\n",
		"Host a b\n  Port 2222\n",
		"Host *\n  Port 2222\nHost a\n  Port 22\n",
		"Host a\n  Port 22\nHost *\n  Port 2222\n",
		"Host !a *\n  User x\n",
		"Host * !a\n  User x\n",
		"Host ?\n  User one\nHost ??\n  User two\n",
		"Host *.example.com\n  User web\n",
		"HOST A\n  USER upper\n",
		"host=a\n user=x\n",
		"Host a\n  User = x\n  Port=33\n",
		"Host a\n\tUser\tx\n",
		"User first\nHost a\n  User second\n",
		"Host a\n  IdentityFile ~/.ssh/k1\n  IdentityFile ~/.ssh/k2\nHost *\n  IdentityFile /k3\n",
		"Host a\n  IdentityFile \"/with blank/k\"\n",
		"IdentityFile /keys/%h-%p-%r\nHost a\n  HostName b\n  Port 7\n  User u\n",
		"IdentityFile ${KEYS}/id\n",
		"IdentitiesOnly yes\n",
		"IdentitiesOnly no\nIdentitiesOnly yes\n",
		"IdentityAgent none\n",
		"IdentityAgent SSH_AUTH_SOCK\n",
		"IdentityAgent /run/agent.sock\n",
		"CertificateFile /c1\nCertificateFile /c2\n",
		"ProxyJump j\n",
		"ProxyJump u@j:2222\n",
		"ProxyJump j1,u@j2,[::1]:77\n",
		"Host j\n  ProxyJump none\nHost *\n  ProxyJump j\n",
		"Host a\n  ProxyJump none\nHost *\n  ProxyJump j\n",
		"Host a\n  ProxyCommand nc %h %p\nHost *\n  ProxyJump j\n",
		"Host a\n  ProxyJump j\nHost *\n  ProxyCommand nc %h %p\n",
		"ProxyCommand none\n",
		"UserKnownHostsFile /k1 /k2\n",
		"UserKnownHostsFile ~/.ssh/known_%h\n",
		"GlobalKnownHostsFile /g1\n",
		"HostKeyAlias alias.example\n",
		"ConnectTimeout 5\n",
		"ConnectTimeout 1m30s\n",
		"ConnectTimeout none\n",
		"Match host a\n  User x\n",
		"Match host b\n  User x\n",
		"Host a\n  HostName b\nMatch host b\n  User x\n",
		"Host a\n  HostName b\nMatch originalhost a\n  User x\n",
		"Host a\n  HostName b\nMatch originalhost b\n  User x\n",
		"Match user nosuch\n  Port 9\n",
		"User bob\nMatch user bob\n  Port 9\n",
		"Match localuser nosuch\n  Port 9\n",
		"Match !localuser nosuch\n  Port 9\n",
		"Match host a,b !user bob\n  Port 9\n",
		"Match all\n  Port 9\n",
		"Match final\n  Port 9\nHost a\n  HostName b\n",
		"Match final host b\n  Port 9\nHost a\n  HostName b\n",
		"Match canonical\n  Port 9\n",
		"Match canonical all\n  Port 9\nMatch final all\n  User late\n",
		"Host a\n  User early\nMatch final all\n  User late\n  Port 10\n",
		"Include DIR/inc/one.conf\n",
		"Include DIR/inc/*.conf\nHost *\n  Port 44\n",
		"Host b\n  Include DIR/inc/one.conf\n",
		"Host a\n  Include DIR/inc/block.conf\n  User after\n",
		"Host a\n  Include DIR/inc/block.conf\nHost *\n  User after\n",
		"Include DIR/inc/nosuch.conf\nUser x\n",
		"Host a # a comment\n  User x # another\n",
		"# nothing\n\n   # here\nHost a\n\n  User x\n",
		"Host \"a\" \"b c\"\n  User x\n",
		"HostKeyAlgorithms ssh-ed25519\nCiphers aes256-ctr\nMACs hmac-sha2-256\nKexAlgorithms curve25519-sha256\n",
		"Host a\n  HostName 10.0.0.%%1\n",
	}
}

func TestAsSSHReadsIt(t *testing.T) {
	if _, err := exec.LookPath("ssh"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("ssh(1) is missing: apt-get install openssh-client")
		}
		t.Skip("no ssh(1) here")
	}
	if n := len(configs()); n < 60 {
		t.Errorf("%d files", n)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"one.conf":   "Host a\n  User included\n",
		"two.conf":   "Host *\n  Port 55\n",
		"block.conf": "Host z\n  Port 66\nHost a\n  Port 67\n",
	} {
		if err := os.MkdirAll(filepath.Join(dir, "inc"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "inc", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	me := local(t)
	for i, text := range configs() {
		path := filepath.Join(dir, fmt.Sprintf("config%d", i))
		text = strings.ReplaceAll(text, "DIR", dir)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := sshconfig.Read(disk{}, me, sshconfig.Source{Name: path, Dir: filepath.Join(me.Home, ".ssh")})
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		for _, who := range []string{"", "bob"} {
			for _, host := range []string{"a", "b", "www.example.com"} {
				args := []string{"-G", "-F", path}
				if who != "" {
					args = append(args, "-l", who)
				}
				cmd := exec.Command("ssh", append(args, host)...)
				cmd.Env = append(os.Environ(), "KEYS=/keys")
				var stderr bytes.Buffer
				cmd.Stderr = &stderr
				out, err := cmd.Output()
				if err != nil {
					t.Fatalf("%q: ssh -G: %v\n%s", text, err, stderr.Bytes())
				}
				got, err := c.Lookup(host, who)
				if err != nil {
					t.Errorf("%q: %v", text, err)
					continue
				}
				if d := cmp.Diff(said(string(out), me, text), said(printed(got, me), me, text)); d != "" {
					t.Errorf("%q, %s@%s (-ssh +here):\n%s", text, who, host, d)
				}
			}
		}
	}
}

// printed are the settings as `ssh -G` prints them, defaults filled in.
func printed(s sshconfig.Settings, me sshconfig.Local) string {
	var b strings.Builder
	put := func(name string, value ...string) {
		if v := strings.Join(value, " "); v != "" {
			fmt.Fprintln(&b, name, v)
		}
	}
	or := func(a, b string) string {
		if a == "" {
			return b
		}
		return a
	}
	port := s.Port
	if port == 0 {
		port = 22
	}
	put("hostname", s.HostName)
	put("user", or(s.User, me.User))
	put("port", strconv.Itoa(port))
	for _, f := range s.IdentityFiles {
		put("identityfile", f)
	}
	for _, f := range s.CertificateFiles {
		put("certificatefile", f)
	}
	put("identitiesonly", map[bool]string{true: "yes", false: "no"}[s.IdentitiesOnly])
	put("identityagent", s.IdentityAgent)
	put("proxyjump", strings.Join(s.ProxyJump, ","))
	put("proxycommand", s.ProxyCommand)
	put("userknownhostsfile", s.UserKnownHosts...)
	put("globalknownhostsfile", s.GlobalKnownHosts...)
	put("hostkeyalias", s.HostKeyAlias)
	timeout := "none"
	if s.ConnectTimeout > 0 {
		timeout = strconv.Itoa(int(s.ConnectTimeout.Seconds()))
	}
	put("connecttimeout", timeout)
	put("hostkeyalgorithms", s.HostKeyAlgorithms)
	put("ciphers", s.Ciphers)
	put("macs", s.MACs)
	put("kexalgorithms", s.KexAlgorithms)
	return b.String()
}

// said are the lines that both speak of, of those options that the file sets,
// with names of paths made whole.
func said(out string, me sshconfig.Local, text string) []string {
	always := []string{"hostname", "user", "port", "identitiesonly", "connecttimeout"}
	set := strings.Fields(strings.ToLower(strings.ReplaceAll(text, "=", " ")))
	var list []string
	for line := range strings.Lines(out) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if !slices.Contains(always, name) && !slices.Contains(set, name) {
			continue
		}
		switch name {
		case "identityfile", "certificatefile", "userknownhostsfile", "globalknownhostsfile":
			// ssh puts the values in later than -G prints.
			if strings.ContainsAny(text, "%$") {
				continue
			}
			value = strings.ReplaceAll(value, "~/", me.Home+"/")
			if strings.HasPrefix(value, me.Home+"/.ssh/id_") {
				continue // ssh's defaults
			}
		case "proxycommand", "proxyjump":
			if value == "none" {
				continue
			}
		case "hostname", "user", "port", "identitiesonly", "identityagent", "hostkeyalias", "connecttimeout", "hostkeyalgorithms", "ciphers", "macs", "kexalgorithms":
		default:
			continue
		}
		list = append(list, name+" "+value)
	}
	slices.Sort(list)
	return list
}

// memory are files in memory.
type memory map[string]string

func (m memory) ReadFile(name string) ([]byte, error) {
	text, ok := m[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return []byte(text), nil
}

func (m memory) Glob(pattern string) ([]string, error) {
	var list []string
	for name := range m {
		ok, err := filepath.Match(pattern, name)
		if err != nil {
			return nil, err
		}
		if ok {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list, nil
}

func read(t testing.TB, files memory) (*sshconfig.Config, error) {
	t.Helper()
	me := sshconfig.Local{User: "op", Home: "/home/op", UID: 1000, Host: "ops.example.com", Env: map[string]string{"KEYS": "/keys"}}
	return sshconfig.Read(files, me, sshconfig.Source{Name: "/home/op/.ssh/config", Dir: "/home/op/.ssh"}, sshconfig.Source{Name: "/etc/ssh/ssh_config", Dir: "/etc/ssh"})
}

func TestPathsAndTokens(t *testing.T) {
	c, err := read(t, memory{
		"/home/op/.ssh/config": "Include conf.d/*\nHost rs1\n  HostName 10.0.0.1\n  Port 2222\n  IdentityFile ~/.ssh/%r@%h:%p\n  IdentityFile ${KEYS}/%n-%u-%i-%L\n" +
			"  UserKnownHostsFile ~/.ssh/known_%k /etc/known\n  ProxyCommand nc -X 5 %h %p\n",
		"/home/op/.ssh/conf.d/a": "Host rs1\n  User admin\n",
		"/etc/ssh/ssh_config":    "User nobody\nConnectTimeout 3\nPort 1\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.Lookup("rs1", "")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"/home/op/.ssh/admin@10.0.0.1:2222", "/keys/rs1-op-1000-ops"}, s.IdentityFiles); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"/home/op/.ssh/known_rs1", "/etc/known"}, s.UserKnownHosts); d != "" {
		t.Error(d)
	}
	if s.User != "admin" || s.Port != 2222 || s.ConnectTimeout.Seconds() != 3 {
		t.Errorf("%+v", s)
	}
	if cmd, err := c.Command(s, "rs1"); err != nil || cmd != "nc -X 5 10.0.0.1 2222" {
		t.Errorf("%q, %v", cmd, err)
	}
}

// A value that goes into a command of the shell is a name and nothing more.
func TestNoShellFromData(t *testing.T) {
	c, err := read(t, memory{"/home/op/.ssh/config": "Host *\n  ProxyCommand nc %h %p\n"})
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"a;reboot", "$(reboot)", "-oProxyCommand=x", "a b", "", "a\nb", "a'b"} {
		s, err := c.Lookup(host, "")
		if err != nil {
			continue
		}
		if cmd, err := c.Command(s, host); err == nil {
			t.Errorf("%q became %q", host, cmd)
		}
	}
}

func TestRefused(t *testing.T) {
	for text, want := range map[string]string{
		"Host a\n  Port x\n":             `/home/op/.ssh/config line 2: port "x" is none`,
		"Port\n":                         "line 1: Port has no value",
		"Match\n":                        "line 1: Match has no value",
		"Match nosuch x\n":               `"nosuch" is no condition`,
		"Match host\n":                   "host has no value",
		"User \"x\n":                     "a quotation mark is not closed",
		"ProxyJump a b@:3\n":             "",
		"ProxyJump -oFoo=bar\n":          "no name of a host",
		"ProxyJump u@\n":                 "no name of a host",
		"ProxyJump a:99999\n":            "no port",
		"IdentityFile %z\n":              "%z",
		"IdentityFile ${NOSUCH}/a\n":     "NOSUCH",
		"IdentitiesOnly perhaps\n":       "yes or no",
		"ConnectTimeout soon\n":          "no time",
		"Include /home/op/.ssh/config\n": "deep",
		"Match all host a\n":             "`all` stands alone",
		"ProxyJump " + strings.Repeat("a,", 20) + "a\n": "more than 16",
	} {
		c, err := read(t, memory{"/home/op/.ssh/config": text})
		if err == nil {
			_, err = c.Lookup("a", "")
		}
		if want == "" != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestToldOf(t *testing.T) {
	c, err := read(t, memory{"/home/op/.ssh/config": "Match exec \"true\"\n  Port 9\nHost *\n  ProxyUseFdpass yes\n  PKCS11Provider /lib/x.so\n  NoSuchOption 1\n"})
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.Lookup("a", "")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"Match exec", "PKCS11Provider", "ProxyUseFdpass"}, s.Unsupported); d != "" {
		t.Error(d)
	}
	if s.Port != 0 {
		t.Error("a condition that cannot be judged was taken for true")
	}
	if d := cmp.Diff([]string{`/home/op/.ssh/config line 6: "NoSuchOption" is no option that is known`}, c.Warnings()); d != "" {
		t.Error(d)
	}
}

// Whatever is in the files, reading and asking end, and do so the same twice.
func FuzzConfig(f *testing.F) {
	for _, text := range configs() {
		f.Add(text, "a", "bob")
	}
	f.Add("Include conf.d/*\nMatch exec x\nProxyCommand ${A} %h\n", "b", "")
	f.Fuzz(func(t *testing.T, text, host, who string) {
		files := memory{"/home/op/.ssh/config": text, "/home/op/.ssh/conf.d/a": text}
		c, err := read(t, files)
		if err != nil {
			return
		}
		s, err := c.Lookup(host, who)
		again, err2 := c.Lookup(host, who)
		if fmt.Sprint(err) != fmt.Sprint(err2) || !cmp.Equal(s, again) {
			t.Fatalf("%+v, then %+v", s, again)
		}
		if err == nil {
			if cmd, err := c.Command(s, host); err == nil && s.ProxyCommand == "%h" && strings.ContainsAny(cmd, " ;$`'\"\n") {
				t.Fatalf("%q from %q", cmd, host)
			}
		}
	})
}
