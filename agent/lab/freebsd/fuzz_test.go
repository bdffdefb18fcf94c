package freebsd_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
)

// FuzzCommands gives ifconfig, route, sysctl and netstat words that nobody
// would write: they answer, and the state can still be shown.
func FuzzCommands(f *testing.F) {
	for _, s := range []string{
		"ifconfig lo0 inet 192.168.0.200 netmask 255.255.255.255 alias", "ifconfig gif create tunnel 192.168.0.170 192.0.2.1 up",
		"ifconfig gif0 inet6 tunnel ::1 ::2", "ifconfig em0 inet6 2001:db8::1/129", "ifconfig -f inet:cidr -a", "ifconfig em0 -alias",
		"route add -inet6 default ::1", "route change 10.0.0.0/8 -mtu 99999999999", "route get default", "sysctl -a x=y", "netstat -rn -f inet6",
		"ifconfig lo0 destroy", "ifconfig lo0 inet 1.2.3.4 5.6.7.8 9.9.9.9", "route add default default", "route delete 0.0.0.0/33",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		argv := strings.Fields(line)
		if len(argv) == 0 || !map[string]bool{"ifconfig": true, "route": true, "sysctl": true, "netstat": true}[argv[0]] {
			return
		}
		m := real("52:54:00:00:08:9a", etc(map[string]string{"/etc/rc.conf": plainRC}))
		for _, argv := range [][]string{argv, {"ifconfig", "-a"}, {"netstat", "-rn"}} {
			var out bytes.Buffer
			exit := m.Exec(&sim.Call{Argv: argv, Stdout: &out, Stderr: &out})
			if exit != 0 && out.Len() == 0 && argv[0] != "sysctl" && !strings.Contains(line, "-q") {
				t.Errorf("%q: exit %d, and not a word", argv, exit)
			}
		}
	})
}

// FuzzCsh gives the login shell lines: it answers, and never with what the
// Bourne shell beneath would say of its own syntax.
func FuzzCsh(f *testing.F) {
	for _, s := range []string{
		"ifconfig -a", "echo 'a!b'", `echo a\!b`, "ls /etc/nosuch*", "ls >x 2>y", "echo $(x)", "X=1 env", "echo 'x", `echo "\$0"`,
		"true && false || echo $?", "cat /etc/rc.conf | egrep '^i'", "echo a > /tmp/x >& /tmp/y", "exec env A=b 'true'", "echo a >& /tmp/x", "!", ">",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if strings.Contains(line, "sleep") || strings.Contains(line, "yes") || strings.ContainsAny(line, ":") || strings.Contains(line, "while") || strings.Contains(line, "until") {
			return // they may take their time
		}
		m := real("52:54:00:00:08:9a", etc(map[string]string{"/etc/rc.conf": plainRC}))
		var out, errs bytes.Buffer
		m.Exec(&sim.Call{Argv: []string{"csh", "-c", line}, Stdout: &out, Stderr: &errs})
		if strings.Contains(errs.String(), "Syntax error") && !strings.Contains(line, "sh") && !strings.Contains(line, "eval") && !strings.Contains(line, ".") {
			t.Errorf("%q: %s", line, errs.String())
		}
	})
}
