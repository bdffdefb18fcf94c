package unit

import (
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func plain() Watcher {
	return Watcher{
		Site: "web", User: "lvs", Home: "/home/lvs",
		Argv: []string{"/usr/local/bin/lvsfleet", "drift", "/etc/lvsfleet/web/site.hcl", "--every=15m0s", "--listen=127.0.0.1:8480"},
	}
}

// hostile is every character that one of them takes for something else.
func hostile() Watcher {
	w := plain()
	w.Argv[2] = "/etc/a b/%h $HOME 'x' \"y\" `z` \\\\ & <&> ;|/site.hcl"
	return w
}

func TestUnits(t *testing.T) {
	once := plain()
	once.Once, once.Every, once.User, once.Home = true, 900, "", ""
	once.Argv[3], once.Argv = "--once", once.Argv[:4]
	free := plain()
	free.Free = true
	for name, c := range map[string]struct {
		kind string
		w    Watcher
	}{
		"systemd": {"systemd", plain()}, "systemd-once": {"systemd", once}, "systemd-free": {"systemd", free}, "systemd-hostile": {"systemd", hostile()},
		"smf": {"smf", plain()}, "smf-hostile": {"smf", hostile()}, "rcd": {"rcd", plain()}, "rcd-hostile": {"rcd", hostile()},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Write(c.kind, c.w)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", name+".txt")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), got); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

// run runs a shell on text and gives what it printed.
func run(t *testing.T, text string) string {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", text)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s\n%s", err, out, text)
	}
	return string(out)
}

func TestAShellReadsTheArgumentsOfRCAsTheyAre(t *testing.T) {
	w := hostile()
	text, err := Write("rcd", w)
	if err != nil {
		t.Fatal(err)
	}
	// rc.subr, as far as it matters here: it evaluates the command once more.
	text = strings.Replace(text, ". /etc/rc.subr", "load_rc_config() { :; }\nrun_rc_command() { eval \"$command $command_args\"; }", 1)
	text = strings.Replace(text, "command=/usr/sbin/daemon", "command='printf %s\\\\n'", 1)
	lines := strings.Split(strings.TrimSpace(run(t, text)), "\n")
	if len(lines) < len(w.Argv) || !cmp.Equal(lines[len(lines)-len(w.Argv):], w.Argv) {
		t.Errorf("%q", lines)
	}
}

func TestSMFReadsTheArgumentsAsTheyAre(t *testing.T) {
	w := hostile()
	text, err := Write("smf", w)
	if err != nil {
		t.Fatal(err)
	}
	d := xml.NewDecoder(strings.NewReader(text))
	command := ""
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if el, ok := tok.(xml.StartElement); ok && el.Name.Local == "exec_method" && command == "" {
			for _, a := range el.Attr {
				if a.Name.Local == "exec" {
					command = a.Value
				}
			}
		}
	}
	command = strings.ReplaceAll(command, "%%", "%")
	out := run(t, "printf '%s\\n' "+command)
	if d := cmp.Diff(strings.Join(w.Argv, "\n")+"\n", out); d != "" {
		t.Error(d)
	}
}

func TestWhatCannotBeAUnit(t *testing.T) {
	once := plain()
	once.Once = true
	bad, line := plain(), plain()
	bad.Site = "a b"
	line.Argv = append(line.Argv, "a\nExecStart=/bin/evil")
	for _, c := range []struct {
		kind string
		w    Watcher
		want string
	}{
		{"upstart", plain(), "none of systemd, smf, rcd"}, {"smf", once, "--once"}, {"rcd", once, "--once"},
		{"systemd", bad, "cannot name a unit"}, {"systemd", line, "cannot stand in a unit"},
	} {
		if _, err := Write(c.kind, c.w); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.kind, err)
		}
	}
}
