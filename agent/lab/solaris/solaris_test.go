package solaris

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/inventory"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// machine makes a machine of an era with one card, pcn0.
func machine(era string, addrs ...string) *sim.Machine {
	card := inventory.Interface{Device: "pcn0"}
	if len(addrs) == 0 {
		addrs = []string{"192.168.0.180/24"}
	}
	for _, a := range addrs {
		card.Addresses = append(card.Addresses, netip.MustParsePrefix(a))
	}
	spec := sim.Spec{Name: "rs180", OS: inventory.Solaris, Release: "5.10", Interfaces: []inventory.Interface{card}}
	if era == "illumos" {
		spec.Release, spec.Illumos = "5.11", true
	}
	return New(spec)
}

// shell runs a script line by line and gives a transcript in the form of the
// real systems' transcripts. Lines "# ..." are remarks; "REBOOT" reboots,
// "POWER" cuts the power; "FILE path" and the lines up to "." write a file.
func shell(m *sim.Machine, script string) string {
	var b strings.Builder
	lines := strings.Split(strings.TrimSpace(script), "\n")
	for i := 0; i < len(lines); i++ {
		line := strings.TrimSpace(lines[i])
		switch {
		case line == "":
		case strings.HasPrefix(line, "# "):
			b.WriteString(line + "\n")
		case line == "REBOOT":
			m.Reboot()
			b.WriteString("# reboot\n")
		case line == "POWER":
			m.PowerCycle()
			b.WriteString("# power cut\n")
		case strings.HasPrefix(line, "FILE "):
			var text strings.Builder
			for i++; strings.TrimSpace(lines[i]) != "."; i++ {
				text.WriteString(strings.TrimSpace(lines[i]) + "\n")
			}
			m.Locked(func() { m.FS.Put(line[5:], 0o644, text.String()) })
			fmt.Fprintf(&b, "# %s:\n", line[5:])
			for t := range strings.Lines(text.String()) {
				b.WriteString("#   " + t)
			}
		default:
			exec(m, line, &b)
		}
	}
	return b.String()
}

func exec(m *sim.Machine, line string, b *strings.Builder) {
	var stdout, stderr strings.Builder
	exit := m.Exec(&sim.Call{Argv: []string{"sh", "-c", line}, Stdout: &stdout, Stderr: &stderr})
	fmt.Fprintf(b, "$ %s\n%s", line, stdout.String())
	if stderr.Len() > 0 {
		fmt.Fprintf(b, "stderr:\n%s", stderr.String())
	}
	if exit != 0 {
		fmt.Fprintf(b, "exit: %d\n", exit)
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got):\n%s", name, d)
	}
}

// TestTranscripts runs testdata/*.sh on the eras that its first line names and
// compares with the transcripts beside it.
func TestTranscripts(t *testing.T) {
	scripts, err := filepath.Glob("testdata/*.sh")
	if err != nil || len(scripts) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, file := range scripts {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		head, script, _ := strings.Cut(string(text), "\n")
		for _, era := range strings.Fields(strings.TrimPrefix(head, "# eras:")) {
			name := strings.TrimSuffix(filepath.Base(file), ".sh") + "." + era + ".txt"
			t.Run(name, func(t *testing.T) { golden(t, name, shell(machine(era), script)) })
		}
	}
}
