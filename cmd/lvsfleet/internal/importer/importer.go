// Package importer makes an inventory of what directs a cluster today: the
// rules that `ipvsadm -Sn` prints, a script that makes them, or the configuration
// of keepalived, ldirectord or piranha. None of them says what the
// real servers run, nor by which interface they are reached: what is assumed is
// marked so, and what nobody could guess is named.
package importer

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
)

// MaxSize is how large a file may be, in bytes: as large as one of an inventory.
const MaxSize = 16 << 20

// A Found is what a file says of a cluster.
type Found struct {
	Form     string // "rules of ipvsadm", "configuration of keepalived", ..."
	Services []Service
	// ForeignVIP: somebody else, keepalived's VRRP, puts the VIPs on the director.
	ForeignVIP bool
	// Notes are what an inventory cannot say, or was not understood; each with
	// its line, where it has one.
	Notes []string
	noted map[string]bool
}

// A Service is one service of the file. Its real servers have the ports that
// they are reached at.
type Service struct {
	ipvs.Service
	Name           string // "" none was given
	ForeignWeights bool   // a health checker sets them
}

// Options are what the file does not say.
type Options struct {
	Source string // what the file is called, for the heading
	// Director are the director's own addresses with their lengths; the first is
	// where SSH goes.
	Director []netip.Prefix
	OS       inventory.OS                // of the real servers
	OSOf     map[netip.Addr]inventory.OS // of some of them
}

// What a line tells of the form of its file.
var (
	keepalived = regexp.MustCompile(`(?m)^\s*(virtual_server(_group)?|vrrp_instance|vrrp_script|global_defs)(\s|$)`)
	directord  = regexp.MustCompile(`(?m)^virtual6?\s*=`)
	lvsCF      = regexp.MustCompile(`(?m)^\s*virtual\s+\S+\s*\{`)
)

// Others are files that people have at hand, and what to give instead.
var others = []struct {
	line *regexp.Regexp
	what string
}{
	{regexp.MustCompile(`(?m)^IP Virtual Server version `), "the output of `ipvsadm -Ln`; give that of `ipvsadm -Sn`"},
	{regexp.MustCompile(`(?m)^\s*virtual_service\s+"`), "an inventory of lvsfleet already"},
	{regexp.MustCompile(`(?m)^(frontend|backend|listen)\s+\S+\s*$`), "a configuration of HAProxy, which IPVS does not read"},
	{regexp.MustCompile(`(?m)^\s*upstream\s+\S+\s*\{`), "a configuration of nginx, which IPVS does not read"},
	{regexp.MustCompile(`(?m)^\*(filter|nat|mangle|raw)\s*$`), "the output of iptables-save; give that of `ipvsadm -Sn`"},
	{regexp.MustCompile(`(?m)^apiVersion:`), "a manifest of Kubernetes"},
}

// errNeither is text of no form that is known.
var errNeither = errors.New("it is none of: the output of `ipvsadm -Sn`, a shell script of ipvsadm commands, a keepalived.conf with virtual_server blocks, an ldirectord.cf, an lvs.cf of piranha")

// A Reader reads files of one director.
type Reader struct {
	// Node is which of several nodes a keepalived.conf is read for, as lines
	// "@NODE" name them (keepalived's --config-id); "": such lines are told of and
	// passed over.
	Node string
	// Open reads a file that another one includes; nil: none can be read.
	Open func(name string) ([]byte, error)
}

// Read reads, with no node and no included files, what Reader.Read reads.
func Read(text []byte) (*Found, error) { return Reader{}.Read(text) }

// Read reads rules of ipvsadm or a script that makes them, a configuration of
// keepalived, ldirectord or piranha, whichever it is. It fails on text that is
// none of these, and names the line.
func (r Reader) Read(text []byte) (*Found, error) {
	if len(text) > MaxSize {
		return nil, fmt.Errorf("it is larger than %d MiB", MaxSize>>20)
	}
	if bytes.IndexByte(text, 0) >= 0 {
		return nil, errors.New("it is not text")
	}
	for _, o := range others {
		if o.line.Match(text) {
			return nil, fmt.Errorf("it seems to be %s", o.what)
		}
	}
	read := readRules
	switch {
	case keepalived.Match(text):
		read = r.readKeepalived
	case directord.Match(text):
		read = readLdirectord
	case lvsCF.Match(text):
		read = readPiranha
	}
	f, err := read(text)
	if err != nil {
		return nil, err
	}
	if len(f.Services) == 0 {
		return nil, fmt.Errorf("there is no virtual service in it: %w", errNeither)
	}
	return f, nil
}

// passed notes lines that say nothing of the table.
func (f *Found) passed(lines []int, what, why string) {
	if len(lines) == 0 {
		return
	}
	slices.Sort(lines)
	lines = slices.Compact(lines)
	var b strings.Builder
	for i := 0; i < len(lines); {
		j := i
		for j+1 < len(lines) && lines[j+1] == lines[j]+1 {
			j++
		}
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		if fmt.Fprint(&b, lines[i]); j > i {
			fmt.Fprintf(&b, "-%d", lines[j])
		}
		i = j + 1
	}
	plural := "lines"
	if len(lines) == 1 {
		plural = "line"
	}
	f.note("%s %s: %s are not imported: %s", plural, b.String(), what, why)
}

// note notes something once, however often it is met.
func (f *Found) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if f.noted[text] {
		return
	}
	if f.noted == nil {
		f.noted = map[string]bool{}
	}
	f.noted[text] = true
	f.Notes = append(f.Notes, text)
}
