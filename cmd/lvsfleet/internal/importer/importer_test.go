package importer_test

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/importer"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/inventory/hclfile"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
)

var update = flag.Bool("update", false, "write the goldens anew")

func options() importer.Options {
	return importer.Options{
		Source: "there", Director: []netip.Prefix{netip.MustParsePrefix("192.168.0.254/24"), netip.MustParsePrefix("2001:db8::254/64")},
		OSOf: map[netip.Addr]inventory.OS{netip.MustParseAddr("192.168.0.170"): inventory.FreeBSD, netip.MustParseAddr("192.168.0.180"): inventory.Solaris, netip.MustParseAddr("2001:db8::17"): inventory.FreeBSD},
	}
}

// load checks an inventory as validate does.
func load(t testing.TB, text []byte) *hclfile.Result {
	t.Helper()
	path := filepath.Join(t.TempDir(), "site.hcl")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return hclfile.Load(path, hclfile.Input{})
}

func TestGoldens(t *testing.T) {
	files, err := filepath.Glob("testdata/*.in")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		found, err := importer.Read(text)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		got, missing, notes := found.Inventory(options())
		if len(missing) > 0 {
			t.Errorf("%s: missing %v", file, missing)
		}
		for _, n := range notes {
			if !strings.Contains(string(got), "# Note: "+n+"\n") {
				t.Errorf("%s: the note %q is not in the inventory", file, n)
			}
		}
		golden := strings.TrimSuffix(file, ".in") + ".hcl"
		if *update {
			if err := os.WriteFile(golden, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), string(got)); d != "" {
			t.Errorf("%s (-want +got):\n%s", golden, d)
		}
		// The fixtures are of one cluster each, so the inventory is valid.
		if r := load(t, got); r.Failed() {
			for _, d := range r.Diags {
				t.Errorf("%s:%d: %s: %s", golden, d.Subject.StartLine, d.Summary, d.Detail)
			}
		}
	}
}

// What is imported asks for what was there: the rules that follow from the
// inventory are the ones that it was made of.
func TestRoundTrip(t *testing.T) {
	text, err := os.ReadFile("testdata/rules.in")
	if err != nil {
		t.Fatal(err)
	}
	found, err := importer.Read(text)
	if err != nil {
		t.Fatal(err)
	}
	out, _, _ := found.Inventory(options())
	r := load(t, out)
	if r.Failed() {
		t.Fatal(r.Diags)
	}
	var services []ipvs.Service
	for _, s := range r.Site.Desired()["director"].Director.Services {
		v := ipvs.Service{
			Key:       ipvs.Key{Mark: s.FWMark, Protocol: s.Protocol, Addr: s.Addr, Port: uint16(s.Port)},
			Scheduler: s.Scheduler, Timeout: uint32(s.PersistenceTimeout), Netmask: s.PersistenceNetmask,
		}
		if s.PersistenceTimeout > 0 {
			v.Flags |= ipvs.Persistent
		}
		if s.OnePacket {
			v.Flags |= ipvs.OnePacket
		}
		for _, name := range s.SchedulerFlags {
			f, _ := ipvs.SchedulerFlag(s.Scheduler, name)
			v.Flags |= f
		}
		for _, d := range s.Real {
			v.Dests = append(v.Dests, ipvs.Destination{DestKey: ipvs.DestKey{Addr: d.Addr, Port: uint16(d.Port)}, Method: ipvs.ParseMethod(string(d.Method)), Weight: d.Weight})
		}
		services = append(services, v)
	}
	want, err := ipvs.ParseRules(text)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(ipvs.Format(want), ipvs.Format(services)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// Without the director's address the inventory says what is missing, and
// validate points at the same.
func TestMissing(t *testing.T) {
	found, err := importer.Read([]byte("-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 192.0.2.9:80 -g -w 1\n"))
	if err != nil {
		t.Fatal(err)
	}
	out, missing, _ := found.Inventory(importer.Options{Source: "there", OS: inventory.Solaris})
	if len(missing) != 1 || !strings.Contains(missing[0], "--director") {
		t.Errorf("missing %q", missing)
	}
	if !strings.Contains(string(out), `os      = "solaris" # assumed`) {
		t.Errorf("no solaris in\n%s", out)
	}
	r := load(t, out)
	if !r.Failed() || !slices.ContainsFunc(r.Diags, func(d inventory.Diagnostic) bool {
		return d.Summary == "Missing value" && strings.Contains(d.Detail, "address")
	}) {
		t.Errorf("%+v", r.Diags)
	}
}

func TestRefused(t *testing.T) {
	for text, want := range map[string]string{
		"ipvsadm -A -t 10.0.0.1:80\nipvsadm -a -t 10.0.0.1:80 -r web1": "not an address",
		"":                                  "it is none of",
		"hello":                             `"hello" is not understood`,
		"\x00":                              "not text",
		"-A -t 192.0.2.1:80 -s rr\n-a":      "line 2",
		"-A -t web.example:80":              "not an address",
		"virtual_server 1.2.3.4 80 {\n":     "line 2: the file ends within a block",
		"virtual_server 1.2.3.4 80 {\n}\n}": "line 3: a brace too many",
		"virtual_server 1.2.3 80 {\n}":      `"1.2.3" is not an address`,
		"virtual_server 1.2.3.4 80 {\n lb_kind DSR\n}":                             `line 1: virtual_server: line 2: forwarding method "DSR" is not known`,
		"virtual_server 1.2.3.4 80 {\n real_server 1.2.3.5 80 {\n  weight -1\n }}": `line 2: real_server: line 3: weight "-1"`,
		"virtual_server group x {\n}":                                              `no virtual_server_group "x"`,
		"virtual_server 1.2.3.4 80 {\n quorum_up \"x\n}":                           "line 2: a quotation mark is not closed",
		"virtual_server 1.2.3.4 80 {\n lb_algo rr\n sh-port\n}":                    "flag sh-port",
		"virtual_server 1.2.3.4 80 {\nreal_server 1.2.3.5 80 { } }\nvirtual_server 1.2.3.4 80 {\nprotocol UDP\nreal_server 1.2.3.5 80 { } }": "twice",
		"virtual_server 1.2.3.4 80 { }":                                            "no virtual service",
		"virtual_server $VIP 80 {\n}":                                              "line 1: the variable $VIP has no value",
		"virtual_server_group g {\n 10.0.0.9-3 80\n}\nvirtual_server group g {\n}": "no range",
		"IP Virtual Server version 1.2.1 (size=4096)\n":                            "`ipvsadm -Sn`",
		"frontend web\n  bind :80\n":                                               "HAProxy",
		"virtual_service \"http\" {\n}\n":                                          "inventory of lvsfleet",
		"*nat\n:PREROUTING ACCEPT\n":                                               "iptables-save",
		"virtual=10.0.0.1:80\n\treal=10.0.0.2:80 sideways\n":                       `line 2: real=10.0.0.2:80 sideways: "sideways" is none of gate`,
		"virtual=web.example.com:80\n":                                             "name the address",
		"virtual=10.0.0.1:80\nfoo=1\n":                                             `"foo" is no option of ldirectord`,
		"virtual http {\n address = 10.0.0.1 eth0:1\n":                             "the file ends within a block",
		"virtual_server x " + strings.Repeat("a {", 100):                           "nested deeper",
	} {
		_, err := importer.Read([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if _, err := importer.Read(make([]byte, importer.MaxSize+1)); err == nil || !strings.Contains(err.Error(), "16 MiB") {
		t.Errorf("a large file: %v", err)
	}
}

// Whatever is read, the inventory is HCL, holds every service that was not
// left out with a note, and is the same each time.
func FuzzImport(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.in")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("A=1; for i in $A 2; do ipvsadm -A -t 10.0.0.$i:80; done\nvirtual http {\n"))
	f.Add([]byte("virtual_server 1.2.3.4 80 {\nlvs_sched ${x}\nreal_server 1.2.3.4\n}\ninclude a\"\u2028*/\""))
	f.Fuzz(func(t *testing.T, text []byte) {
		// What takes long hangs: no input of a fuzzer is large.
		defer time.AfterFunc(20*time.Second, func() { panic(fmt.Sprintf("hangs at %q", text)) }).Stop()
		found, err := importer.Read(text)
		if err != nil {
			return
		}
		for _, o := range []importer.Options{options(), {Source: "a\nb"}} {
			out, _, notes := found.Inventory(o)
			file, diags := hclsyntax.ParseConfig(out, "site.hcl", hcl.InitialPos)
			if diags.HasErrors() {
				t.Fatalf("%v in\n%s", diags, out)
			}
			blocks := file.Body.(*hclsyntax.Body).Blocks
			n := 0
			for _, b := range blocks {
				if b.Type == "virtual_service" {
					n++
				}
			}
			if n == 0 && len(notes) == 0 {
				t.Fatalf("nothing is left of %d services:\n%s", len(found.Services), out)
			}
			if again, _, _ := found.Inventory(o); string(again) != string(out) {
				t.Fatal("another inventory the second time")
			}
		}
	})
}
