package picture_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"html"
	"io"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/picture"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/inventory/hclfile"
)

var update = flag.Bool("update", false, "write the goldens anew")

func site(t testing.TB, path string) *inventory.Site {
	t.Helper()
	r := hclfile.Load(path, hclfile.Input{})
	if r.Failed() {
		for _, d := range r.Diags {
			t.Errorf("%s:%d: %s %s", d.Subject.File, d.Subject.StartLine, d.Summary, d.Detail)
		}
		t.FailNow()
	}
	return r.Site
}

func sites(t testing.TB) map[string]*inventory.Site {
	const examples = "../../../../examples/"
	return map[string]*inventory.Site{
		"nat": site(t, examples+"nat"), "dr": site(t, examples+"dr"), "tun": site(t, examples+"tun"),
		"town": site(t, "testdata/town.hcl"),
	}
}

// watched is what a watcher might know of the site.
func watched(s *inventory.Site) picture.Options {
	o := picture.Options{Hosts: map[string]picture.Status{}, Weights: map[picture.Entry]int{}}
	for i, h := range s.Hosts {
		st := picture.Status{State: "clean"}
		switch i % 7 {
		case 2:
			st = picture.Status{State: "drifted", Text: "2 steps differ"}
		case 3:
			st = picture.Status{State: "unreachable", Text: "connection refused"}
		case 5:
			st = picture.Status{State: "busy"}
		}
		o.Hosts[h.Name] = st
	}
	for _, v := range s.Services {
		o.Weights[picture.Entry{Service: v.Name, Host: "rs170"}] = 0
		o.Weights[picture.Entry{Service: v.Name, Host: "rs180"}] = -1
	}
	return o
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s (-want +got):\n%s", path, d)
	}
}

func svg(t testing.TB, s *inventory.Site, o picture.Options) []byte {
	t.Helper()
	b, err := picture.New(s).SVG(o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestGoldens(t *testing.T) {
	for name, s := range sites(t) {
		t.Run(name, func(t *testing.T) {
			p := picture.New(s)
			golden(t, name+".dot", []byte(p.DOT()))
			golden(t, name+".mmd", []byte(p.Mermaid()))
			golden(t, name+".summary", []byte(p.Summary()+"\n"))
			inline := watched(s)
			inline.Inline = true // the style has no golden of its own
			golden(t, name+".svg", svg(t, s, inline))
			inline.Tall = true
			golden(t, name+".tall.svg", svg(t, s, inline))
		})
	}
}

// A picture drawn again, and from an inventory read again, is the same.
func TestDeterministic(t *testing.T) {
	first := sites(t)
	for range 5 {
		for name, s := range sites(t) {
			for _, tall := range []bool{false, true} {
				a, b := watched(first[name]), watched(s)
				a.Tall, b.Tall = tall, tall
				if !bytes.Equal(svg(t, first[name], a), svg(t, s, b)) {
					t.Errorf("%s differs", name)
				}
			}
			if picture.New(s).DOT() != picture.New(first[name]).DOT() {
				t.Errorf("%s differs as DOT", name)
			}
		}
	}
}

// texts gives what an SVG says, and fails on what is no XML.
func texts(t testing.TB, doc []byte) []string {
	t.Helper()
	var out []string
	d := xml.NewDecoder(bytes.NewReader(doc))
	d.Strict = true
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, doc)
		}
		switch tok := tok.(type) {
		case xml.CharData:
			out = append(out, string(tok))
		case xml.StartElement:
			for _, a := range tok.Attr {
				if strings.HasPrefix(a.Name.Local, "on") || a.Name.Local == "style" {
					t.Fatalf("attribute %s of %s", a.Name.Local, tok.Name.Local)
				}
			}
			if !slices.Contains([]string{"svg", "title", "desc", "style", "defs", "symbol", "marker", "use", "circle", "rect", "path", "text", "g", "a"}, tok.Name.Local) {
				t.Fatalf("element %s", tok.Name.Local)
			}
		}
	}
}

// Every host, its state and its weight are said in words, not by colour alone.
func TestSaidInWords(t *testing.T) {
	for name, s := range sites(t) {
		all := strings.Join(texts(t, svg(t, s, watched(s))), "\n")
		for h, st := range watched(s).Hosts {
			if !regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(h) + `, .*\b` + st.State + `\b`).MatchString(all) {
				t.Errorf("%s: %s is nowhere said to be %s", name, h, st.State)
			}
		}
	}
	all := strings.Join(texts(t, svg(t, sites(t)["dr"], watched(sites(t)["dr"]))), "\n")
	for _, want := range []string{"weight 0, wanted 1", "no entry, wanted 1", "weight 1", "DR", "drifted · weight 0, wanted 1"} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is not in the picture:\n%s", want, all)
		}
	}
}

// Nothing lies outside the picture, and no two cells of a box overlap.
func TestInside(t *testing.T) {
	big := &inventory.Site{Name: "big"}
	for i := range 1000 {
		a := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
		big.Hosts = append(big.Hosts, &inventory.Host{
			Name: fmt.Sprintf("host-%04d", i), OS: inventory.Linux, Address: a.String(),
			Interfaces: []inventory.Interface{{Device: "eth0", Addresses: []netip.Prefix{netip.PrefixFrom(a, 8)}}},
			Roles:      []string{[]string{"lb", "web"}[min(i, 1)]},
		})
	}
	for i := range 40 {
		big.Services = append(big.Services, &inventory.VirtualService{
			Name: fmt.Sprintf("service-%02d", i), Director: "lb", Pool: "web", Method: inventory.DR, Ports: []int{80 + i},
			Address: netip.MustParseAddr("10.9.9.9"), Weight: 1,
		})
	}
	all := sites(t)
	all["big"] = big
	all["empty"] = &inventory.Site{Name: "empty"}
	for name, s := range all {
		for _, tall := range []bool{false, true} {
			o := watched(s)
			o.Tall = tall
			p := picture.New(s)
			if err := p.Fits(o); err != nil {
				t.Errorf("%s, tall %v: %v", name, tall, err)
			}
			if got := len(svg(t, s, o)); got > 2<<20 {
				t.Errorf("%s: %d bytes", name, got)
			}
		}
	}
}

// Names that no inventory may have, should one ever come through.
var hostile = []string{
	`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `a"]; click a "javascript:alert(1)`, `\N \"`, "a\nb\x00\x1b[31m",
	"\u202egnp.exe", "&amp;&lt;", "]]>", "--> x", "%%{init: {}}%%", "#quot;", "\xff\xfe", "{{.}}", "'", "`", "end",
}

func FuzzNames(f *testing.F) {
	for _, h := range hostile {
		f.Add(h)
	}
	f.Fuzz(func(t *testing.T, name string) {
		a := netip.MustParseAddr("192.0.2.1")
		s := &inventory.Site{Name: name, Hosts: []*inventory.Host{
			{Name: name, OS: inventory.Linux, Release: name, Address: name, Roles: []string{"lb", "web"},
				Interfaces: []inventory.Interface{{Device: "eth0", Addresses: []netip.Prefix{netip.PrefixFrom(a, 24)}}}},
		}, Services: []*inventory.VirtualService{
			{Name: name, Director: "lb", Pool: "web", Method: inventory.DR, Ports: []int{80}, Address: a, Weight: 1, Scheduler: name},
		}, Tunnels: []*inventory.Tunnel{{Name: name}}}
		want := picture.Clean(name)
		if !utf8.ValidString(want) || strings.ContainsAny(want, "\n\r\x00\x1b\u202e") {
			t.Fatalf("%q is not clean", want)
		}
		p := picture.New(s)
		o := picture.Options{Hosts: map[string]picture.Status{name: {State: name, Text: name}}, Link: func(h string) string { return "host/" + h }}
		for _, inline := range []bool{false, true} {
			o.Inline = inline
			doc, err := p.SVG(o)
			if err != nil {
				t.Fatal(err)
			}
			if said := strings.Join(texts(t, doc), "\n"); !strings.Contains(said, strings.ReplaceAll(want, "\r", "\n")) {
				t.Fatalf("%q is not in the SVG:\n%s", want, doc)
			}
			if bytes.Contains(bytes.ToLower(doc), []byte(`href="javascript:`)) {
				t.Fatalf("a link that acts:\n%s", doc)
			}
		}

		dot := p.DOT()
		if n := strings.Count(dot, "\n"); n != 13 {
			t.Fatalf("%d lines of DOT:\n%s", n, dot)
		}
		if !strings.Contains(html.UnescapeString(dot), want) {
			t.Fatalf("%q is not in the DOT:\n%s", want, dot)
		}
		for _, label := range regexp.MustCompile(`(?m)label=<(.*)>\]$`).FindAllStringSubmatch(dot, -1) {
			d := xml.NewDecoder(strings.NewReader(label[1]))
			for {
				tok, err := d.Token()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatalf("%v in %s", err, label[1])
				}
				if e, ok := tok.(xml.StartElement); ok && !slices.Contains([]string{"TABLE", "TR", "TD", "B"}, e.Name.Local) {
					t.Fatalf("element %s in %s", e.Name.Local, label[1])
				}
			}
		}
		if head, _, _ := strings.Cut(dot, "\n"); !quoted.MatchString(head) {
			t.Fatalf("the graph's name is not one string: %s", head)
		}

		mmd := p.Mermaid()
		for _, line := range strings.Split(strings.TrimSuffix(mmd, "\n"), "\n") {
			if !mermaidLine.MatchString(line) {
				t.Fatalf("line %q of\n%s", line, mmd)
			}
		}
		decoded := mermaidCode.ReplaceAllStringFunc(mmd, func(m string) string {
			n, _ := strconv.Atoi(m[1 : len(m)-1])
			return string(rune(n))
		})
		if !strings.Contains(decoded, want) {
			t.Fatalf("%q is not in the Mermaid:\n%s", want, mmd)
		}
	})
}

var (
	quoted      = regexp.MustCompile(`^digraph "([^"\\]|\\\\|\\")*" \{$`)
	mermaidCode = regexp.MustCompile(`#\d+;`)
	mermaidLine = regexp.MustCompile(`^(flowchart LR|  \w+\["([\p{L}\p{Nd} .,:|/-]|#\d+;|<br/>)*"\]|  \w+ (-->|==>|-\.->)(\|(NAT|DR|TUN)\|)? \w+)$`)
)

// Text can be read on what it stands on, light and dark: WCAG 2.2 asks for a
// contrast of 4.5 (AA), and for 3 of lines and marks.
func TestContrast(t *testing.T) {
	light, dark, ok := strings.Cut(picture.Style, "prefers-color-scheme: dark")
	if !ok {
		t.Fatal("no dark style")
	}
	states := picture.States()
	for name, style := range map[string]string{"light": light, "dark": dark} {
		colours := map[string]float64{}
		for _, m := range regexp.MustCompile(`--([a-z-]+): #([0-9a-f]{6});`).FindAllStringSubmatch(style, -1) {
			colours[m[1]] = luminance(t, m[2])
		}
		check := func(least float64, fore, back string) {
			a, okA := colours[fore]
			b, okB := colours[back]
			if !okA || !okB {
				t.Errorf("%s: no colour %s or %s", name, fore, back)
				return
			}
			if c := (max(a, b) + 0.05) / (min(a, b) + 0.05); c < least {
				t.Errorf("%s: %s on %s has a contrast of %.2f, under %.1f", name, fore, back, c, least)
			}
		}
		for _, back := range []string{"ground", "surface", "raised"} {
			for _, fore := range []string{"ink", "muted", "accent"} {
				check(4.5, fore, back)
			}
		}
		for _, s := range states {
			for _, back := range []string{s + "-soft", "surface", "ground"} {
				check(4.5, s, back)
			}
			check(4.5, "ink", s+"-soft")
		}
		for _, m := range []string{"nat", "dr", "tun"} {
			check(4.5, m, "surface")
			check(4.5, m, "unknown-soft")
			check(3, m, "ground")
		}
		check(3, "line", "ground")
	}
}

// luminance is the relative luminance of a colour, as WCAG defines it.
func luminance(t *testing.T, hex string) float64 {
	n, err := strconv.ParseUint(hex, 16, 32)
	if err != nil {
		t.Fatal(err)
	}
	part := func(shift uint) float64 {
		c := float64(n>>shift&0xff) / 255
		if c <= 0.04045 {
			return c / 12.92
		}
		return math.Pow((c+0.055)/1.055, 2.4)
	}
	return 0.2126*part(16) + 0.7152*part(8) + 0.0722*part(0)
}
