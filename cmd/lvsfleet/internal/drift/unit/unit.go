// Package unit writes what a system's own supervisor needs to keep a watcher
// running: units of systemd, a manifest of SMF, a script of rc.d.
package unit

import (
	"encoding/xml"
	"fmt"
	"regexp"
	"strings"

	"github.com/lvsfleet/lvsfleet/providers/step"
)

// Kinds are those that Write knows.
func Kinds() []string { return []string{"systemd", "smf", "rcd"} }

// A Watcher is what is to be kept running.
type Watcher struct {
	Site string   // names it: letters, digits, ".", "_", "-"
	Argv []string // the program and its arguments, paths absolute
	User string   // whom it runs as; "" root
	Home string   // of that user; "" unknown
	Once bool     // it looks once and ends: something else calls it
	// Every is how often a timer has it look, in seconds.
	Every int
	// Free says that it changes this very machine, or runs commands of the
	// operator's: then it is not kept from what they may need.
	Free bool
}

var named = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z._-]*$`)

// Write gives the text of a unit; several files are told apart by comment
// lines with their names.
func Write(kind string, w Watcher) (string, error) {
	for _, a := range append([]string{w.Site, w.User, w.Home}, w.Argv...) {
		if strings.ContainsAny(a, "\x00\n\r") {
			return "", fmt.Errorf("%q cannot stand in a unit", a)
		}
	}
	if !named.MatchString(w.Site) {
		return "", fmt.Errorf("a site called %q cannot name a unit: letters, digits, \".\", \"_\" and \"-\" can", w.Site)
	}
	if w.User == "" {
		w.User = "root"
	}
	switch kind {
	case "systemd":
		return systemd(w), nil
	case "smf":
		if w.Once {
			return "", fmt.Errorf("--once: SMF runs what stays; leave it out, and say --every or --cron")
		}
		return smf(w)
	case "rcd":
		if w.Once {
			return "", fmt.Errorf("--once: rc.d runs what stays; leave it out, and say --every or --cron (or write a line for cron)")
		}
		return rcd(w), nil
	}
	return "", fmt.Errorf("%q is none of %s", kind, strings.Join(Kinds(), ", "))
}

// name is the service's: "lvsfleet-drift-web".
func (w Watcher) name() string { return "lvsfleet-drift-" + w.Site }

// hardening keeps a watcher from what it does without: it writes its state, and
// connects.
const hardening = `NoNewPrivileges=yes
PrivateDevices=yes
ProtectSystem=full
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
`

// systemd writes a service and, with Once, its timer (systemd.service(5),
// systemd.timer(5)).
func systemd(w Watcher) string {
	var b strings.Builder
	words := make([]string, len(w.Argv))
	for i, a := range w.Argv {
		words[i] = systemdWord(a)
	}
	fmt.Fprintf(&b, `# /etc/systemd/system/%s.service
[Unit]
Description=Drift of the LVS site %s
Wants=network-online.target
After=network-online.target

[Service]
User=%s
`, w.name(), w.Site, w.User)
	command, hardening := strings.Join(words, " "), hardening
	if w.Free {
		hardening = ""
	}
	if w.Once {
		// 2 is that something differs, which is no failure of the unit.
		fmt.Fprintf(&b, "Type=oneshot\nExecStart=%s\nSuccessExitStatus=2\n%s", command, hardening)
		fmt.Fprintf(&b, `
# /etc/systemd/system/%s.timer
[Unit]
Description=Look for drift of the LVS site %s

[Timer]
OnBootSec=2min
OnUnitActiveSec=%ds

[Install]
WantedBy=timers.target
`, w.name(), w.Site, w.Every)
		return b.String()
	}
	fmt.Fprintf(&b, `Type=exec
ExecStart=%s
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
RestartSec=30
TimeoutStopSec=10min
LimitNOFILE=65536
%s
[Install]
WantedBy=multi-user.target
`, command, hardening)
	return b.String()
}

// systemdWord quotes an argument of ExecStart (systemd.service(5), "Command
// lines"): "%" begins a specifier, "$" a variable.
func systemdWord(a string) string {
	a = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "%", "%%", "$", "$$").Replace(a)
	if a != "" && !strings.ContainsAny(a, " \t'\";\\") {
		return a
	}
	return `"` + a + `"`
}

// smf writes a manifest (service_bundle(5)) of a service whose method is its
// process (startd/duration "child"); refresh has it read the inventory again.
func smf(w Watcher) (string, error) {
	words := make([]string, len(w.Argv))
	for i, a := range w.Argv {
		words[i] = step.Word(a)
	}
	// "%" begins a token of SMF's (smf_method(5)).
	command := strings.ReplaceAll(strings.Join(words, " "), "%", "%%")
	attr := func(s string) string {
		var b strings.Builder
		_ = xml.EscapeText(&b, []byte(s)) // a Builder takes everything
		return b.String()
	}
	home := ""
	if w.Home != "" {
		home = fmt.Sprintf("\n        <method_environment><envvar name='HOME' value='%s'/></method_environment>", attr(w.Home))
	}
	return fmt.Sprintf(`<?xml version='1.0'?>
<!DOCTYPE service_bundle SYSTEM '/usr/share/lib/xml/dtd/service_bundle.dtd.1'>
<!-- svccfg import FILE, then svcadm enable and the name below -->
<service_bundle type='manifest' name='%[1]s'>
  <service name='site/%[1]s' type='service' version='1'>
    <create_default_instance enabled='false'/>
    <single_instance/>
    <dependency name='network' grouping='require_all' restart_on='none' type='service'>
      <service_fmri value='svc:/milestone/network:default'/>
    </dependency>
    <dependency name='filesystem' grouping='require_all' restart_on='none' type='service'>
      <service_fmri value='svc:/system/filesystem/local:default'/>
    </dependency>
    <exec_method type='method' name='start' exec='%[2]s' timeout_seconds='0'>
      <method_context>
        <method_credential user='%[3]s'/>%[4]s
      </method_context>
    </exec_method>
    <exec_method type='method' name='refresh' exec=':kill -HUP' timeout_seconds='60'/>
    <exec_method type='method' name='stop' exec=':kill -TERM' timeout_seconds='600'/>
    <property_group name='startd' type='framework'>
      <propval name='duration' type='astring' value='child'/>
    </property_group>
    <stability value='Evolving'/>
    <template>
      <common_name><loctext xml:lang='C'>drift of the LVS site %[5]s</loctext></common_name>
    </template>
  </service>
</service_bundle>
`, attr(w.name()), attr(command), attr(w.User), home, attr(w.Site)), nil
}

// rcd writes a script for FreeBSD's rc(8). daemon(8) keeps the program running;
// it opens its files as the user (daemon(8), -p). A HUP is for the program, not
// for daemon.
func rcd(w Watcher) string {
	words := make([]string, len(w.Argv))
	for i, a := range w.Argv {
		words[i] = step.Word(a)
	}
	name := "lvsfleet_drift_" + strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, w.Site)
	home := w.Home
	if home == "" {
		home = "/root"
	}
	run := "/var/run/" + name
	args := fmt.Sprintf("-f -r -P %[1]s/daemon.pid -p %[1]s/child.pid -u %[2]s -o %[1]s/log %[3]s", run, step.Word(w.User), strings.Join(words, " "))
	return fmt.Sprintf(`#!/bin/sh
# /usr/local/etc/rc.d/%[1]s (mode 0555); sysrc %[1]s_enable=YES
#
# PROVIDE: %[1]s
# REQUIRE: NETWORKING FILESYSTEMS
# KEYWORD: shutdown

. /etc/rc.subr

name=%[1]s
rcvar=%[1]s_enable
desc=%[2]s

load_rc_config $name
: ${%[1]s_enable:=NO}

pidfile=%[3]s/daemon.pid
command=/usr/sbin/daemon
command_args=%[4]s
extra_commands=reload
start_precmd=%[1]s_prestart
reload_cmd=%[1]s_reload

%[1]s_prestart()
{
	HOME=%[5]s
	export HOME
	install -d -m 0755 -o %[6]s %[3]s
}

%[1]s_reload()
{
	kill -HUP $(cat %[3]s/child.pid)
}

run_rc_command "$1"
`, name, step.Word("Drift of the LVS site "+w.Site), run, step.Word(args), step.Word(home), step.Word(w.User))
}
