package web_test

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/drift"
	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/drift/web"
	"github.com/lvsfleet/lvsfleet/inventory"
)

const examples = "../../../../../examples/"

func handler(ctx context.Context, t testing.TB, f *fakeSource, site *inventory.Site, o web.Options) http.Handler {
	t.Helper()
	if o.Now == nil {
		o.Now = func() time.Time { return noon }
	}
	h, err := web.New(ctx, f, func() *inventory.Site { return site }, o)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func ask(h http.Handler, method, target string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, target, nil))
	return w
}

// seen is what a page comes to: its text, and its elements.
type seen struct {
	text     string
	elements map[string]int
	attrs    map[string][]string
	nodes    *html.Node
}

func read(t testing.TB, page string) seen {
	t.Helper()
	n, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	s := seen{elements: map[string]int{}, attrs: map[string][]string{}, nodes: n}
	var b strings.Builder
	for n := range n.Descendants() {
		switch n.Type {
		case html.TextNode:
			b.WriteString(n.Data)
		case html.ElementNode:
			s.elements[n.Data]++
			for _, a := range n.Attr {
				s.attrs[a.Key] = append(s.attrs[a.Key], a.Val)
			}
		}
	}
	s.text = b.String()
	return s
}

func TestOverview(t *testing.T) {
	for _, name := range []string{"nat", "dr", "tun"} {
		site := siteOf(t, examples+name)
		f := watched(name, site, noon)
		h := handler(t.Context(), t, f, site, web.Options{})
		w := ask(h, "GET", "/")
		if w.Code != 200 {
			t.Fatalf("%s: status %d: %s", name, w.Code, w.Body)
		}
		s := read(t, w.Body.String())
		for _, want := range []string{
			"All 4 hosts are as the inventory says.", "Round 1\u202f288", "3 min ago", "next in 12 min", "Picture of the site",
			"rs170", "solaris 5.10", "1\u202f204\u202f331", "8.81 GB", "Nothing has drifted.",
		} {
			if !strings.Contains(s.text, want) {
				t.Errorf("%s: no %q in the page", name, want)
			}
		}

		f.change(func(s *drift.Snapshot) {
			drifted(s, "rs170", drift.Drift{Step: "lo0:192.168.0.200", Class: drift.ClassLive, Diff: arpDiff, First: noon.Add(-time.Hour), Last: noon})
			s.Hosts[3].State, s.Hosts[3].Error = drift.Unreachable, "dial tcp: connection refused\nand more"
			s.Problems = []string{"the history cannot be written: disk full"}
			s.Services[0].Real[0].Weight = -1
		})
		s = read(t, ask(h, "GET", "/").Body.String())
		for _, want := range []string{
			"rs180 cannot be reached; rs170 has drifted.", "dial tcp: connection refused", "disk full", "no entry, wanted 1", "(2) " + name,
		} {
			if !strings.Contains(s.text, want) {
				t.Errorf("%s: no %q in the page", name, want)
			}
		}
	}
}

func TestHost(t *testing.T) {
	site := siteOf(t, examples+"dr")
	f := watched("dr", site, noon)
	f.past = []drift.Drift{
		{Host: "rs160", Step: "sysctl:net.ipv4.conf.all.arp_ignore", Class: drift.ClassLive, First: noon.Add(-time.Hour), Last: noon},
		{Host: "rs160", Step: "file:/etc/sysctl.conf", Class: drift.ClassBoot, First: noon.Add(-5 * time.Hour), Last: noon, Gone: noon.Add(-3 * time.Hour), End: drift.EndRepaired},
		{Host: "rs170", Step: "lo0:192.168.0.200", Class: drift.ClassLive, First: noon.Add(-time.Hour), Last: noon},
	}
	f.change(func(s *drift.Snapshot) {
		drifted(s, "rs160", drift.Drift{Step: "sysctl:net.ipv4.conf.all.arp_ignore", Class: drift.ClassLive, Diff: arpDiff, First: noon.Add(-time.Hour)})
		s.Hosts[1].Notes = []string{"a gif that nobody asked for"}
	})
	h := handler(t.Context(), t, f, site, web.Options{})
	s := read(t, ask(h, "GET", "/host/rs160").Body.String())
	for _, want := range []string{"rs160", "192.168.0.160", "drifted: 1 live", "sysctl:net.ipv4.conf.all.arp_ignore", "\n-0\n+1\n", "repaired by the watcher", "2 h", "a gif that nobody asked for"} {
		if !strings.Contains(s.text, want) {
			t.Errorf("no %q in the page:\n%s", want, s.text)
		}
	}
	if strings.Contains(s.text, "lo0:192.168.0.200") {
		t.Error("another host's drift is on the page")
	}
	f.pastErr = errors.New("database disk image is malformed")
	for _, page := range []string{"/", "/host/rs160"} {
		if s := read(t, ask(h, "GET", page+"?x").Body.String()); !strings.Contains(s.text, "The history cannot be read: database disk image is malformed") {
			t.Errorf("%s does not say that the history cannot be read", page)
		}
	}
}

func TestAnswers(t *testing.T) {
	site := siteOf(t, examples+"dr")
	h := handler(t.Context(), t, watched("dr", site, noon), site, web.Options{})
	for _, c := range []struct {
		method, target string
		status         int
	}{
		{"GET", "/", 200}, {"HEAD", "/", 200}, {"GET", "/host/rs160", 200}, {"GET", "/style.css", 200}, {"GET", "/page.js", 200}, {"GET", "/icon.svg", 200},
		{"HEAD", "/events", 200},
		{"GET", "/host/nobody", 404}, {"GET", "/host/", 404}, {"GET", "/host/rs160/more", 404}, {"GET", "/nosuch", 404}, {"GET", "/host/%2e%2e%2fpage.js", 404},
		{"GET", "/host/%3Cscript%3E", 404}, {"GET", "/assets/page.tmpl", 404},
		{"POST", "/", 405}, {"PUT", "/host/rs160", 405}, {"DELETE", "/events", 405}, {"OPTIONS", "/", 405}, {"POST", "/nosuch", 405},
	} {
		w := ask(h, c.method, c.target)
		if w.Code != c.status {
			t.Errorf("%s %s: status %d, want %d", c.method, c.target, w.Code, c.status)
		}
		header := w.Result().Header
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store", "X-Frame-Options": "DENY",
			"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
		} {
			if got := header.Get(name); got != want {
				t.Errorf("%s %s: %s is %q, want %q", c.method, c.target, name, got, want)
			}
		}
		csp := header.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'", "script-src 'self';", "style-src 'self';"} {
			if !strings.Contains(csp, want) {
				t.Errorf("%s %s: no %s in %q", c.method, c.target, want, csp)
			}
		}
		if strings.Contains(csp, "unsafe") || strings.Contains(csp, "*") {
			t.Errorf("%s %s: %q", c.method, c.target, csp)
		}
		if c.status == 405 && header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s %s: Allow is %q", c.method, c.target, header.Get("Allow"))
		}
		if c.method == "HEAD" && w.Body.Len() > 0 {
			t.Errorf("HEAD %s has a body", c.target)
		}
	}
}

// What the policy of the page would keep from working is not in it.
func TestNothingInline(t *testing.T) {
	site := siteOf(t, examples+"nat")
	f := watched("nat", site, noon)
	f.change(func(s *drift.Snapshot) {
		drifted(s, "rs170", drift.Drift{Step: "x", Class: drift.ClassBoot, Diff: arpDiff, First: noon})
	})
	f.past = f.snap.Hosts[2].Drifts
	h := handler(t.Context(), t, f, site, web.Options{})
	for _, page := range []string{"/", "/host/rs170", "/host/nobody"} {
		s := read(t, ask(h, "GET", page).Body.String())
		for n := range s.nodes.Descendants() {
			if n.Type != html.ElementNode {
				continue
			}
			if n.Data == "style" || n.Data == "script" && n.FirstChild != nil {
				t.Errorf("%s has an inline %s", page, n.Data)
			}
			for _, a := range n.Attr {
				if a.Key == "style" || strings.HasPrefix(a.Key, "on") {
					t.Errorf("%s: %s of %s", page, a.Key, n.Data)
				}
				if (a.Key == "src" || a.Key == "href") && strings.Contains(a.Val, "//") {
					t.Errorf("%s: %s leads outside: %s", page, n.Data, a.Val)
				}
			}
		}
	}
}

// Every id is there once, and whatever refers to one finds it; every table has
// a caption and its heads a scope.
func TestMarkup(t *testing.T) {
	site := siteOf(t, examples+"nat")
	f := watched("nat", site, noon)
	f.change(func(s *drift.Snapshot) {
		for _, step := range []string{"x", "y"} {
			drifted(s, "rs170", drift.Drift{Step: step, Class: drift.ClassBoot, Diff: arpDiff, First: noon})
		}
	})
	f.past = f.snap.Hosts[2].Drifts
	h := handler(t.Context(), t, f, site, web.Options{})
	for _, page := range []string{"/", "/host/rs170", "/host/nobody"} {
		s := read(t, ask(h, "GET", page).Body.String())
		ids := map[string]int{}
		for _, id := range s.attrs["id"] {
			if ids[id]++; ids[id] > 1 {
				t.Errorf("%s: id %q twice", page, id)
			}
		}
		for _, key := range []string{"aria-labelledby", "aria-describedby"} {
			for _, id := range s.attrs[key] {
				if ids[id] == 0 {
					t.Errorf("%s: %s names %q, which is not there", page, key, id)
				}
			}
		}
		for n := range s.nodes.Descendants() {
			if n.Type != html.ElementNode {
				continue
			}
			attr := map[string]string{}
			for _, a := range n.Attr {
				attr[a.Key] = a.Val
			}
			switch n.Data {
			case "table":
				if n.FirstChild.NextSibling.Data != "caption" {
					t.Errorf("%s: a table without a caption", page)
				}
			case "th":
				if attr["scope"] == "" {
					t.Errorf("%s: a head without a scope", page)
				}
			case "img":
				if _, ok := attr["alt"]; !ok {
					t.Errorf("%s: an image without alt", page)
				}
			case "a":
				if strings.HasPrefix(attr["href"], "#") && ids[attr["href"][1:]] == 0 {
					t.Errorf("%s: a link to %s, which is not there", page, attr["href"])
				}
			}
		}
		if s.elements["h1"] != 1 || s.elements["main"] != 1 {
			t.Errorf("%s: %d h1, %d main", page, s.elements["h1"], s.elements["main"])
		}
	}
}

var hostile = []string{
	`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `' onmouseover='alert(1)`, `javascript:alert(1)`, `</title><script>alert(1)</script>`,
	`{{.}}`, "a\x00b\x1b[31m", "\u202egnp", "../../etc", `</pre></main><iframe src="//evil.example">`, "%2e%2e/%00", "a/b?c#d", "\xff\xfe", `\"]}`,
}

// hostileSource has s wherever a host or a person could have put it.
func hostileSource(s string) *fakeSource {
	d := drift.Drift{Host: s, Step: s, Class: drift.Class(s), Diff: s + "\n+" + s + "\n-" + s, First: noon.Add(-time.Hour), End: drift.End(s)}
	return &fakeSource{
		snap: drift.Snapshot{
			Site: s, Time: noon, Problems: []string{s},
			Hosts:    []drift.Host{{Name: s, OS: s, Release: s, State: drift.State(s), Error: s, Notes: []string{s}, Drifts: []drift.Drift{d}}},
			Services: []drift.Service{{Director: s, Name: s, Key: s, Real: []drift.Real{{Host: s, Address: s, Method: s}}}},
		},
		past: []drift.Drift{d},
	}
}

func checkHostile(t *testing.T, s string) {
	t.Helper()
	plain := handler(t.Context(), t, hostileSource("plain"), &inventory.Site{Name: "plain", Hosts: []*inventory.Host{{Name: "plain", OS: inventory.Linux, Address: "plain"}}}, web.Options{})
	h := handler(t.Context(), t, hostileSource(s), &inventory.Site{Name: s, Hosts: []*inventory.Host{{Name: s, OS: inventory.Linux, Address: s, Roles: []string{s}}}}, web.Options{})
	for _, pages := range [][2]string{{"/", "/"}, {"/host/plain", "/host/" + url.PathEscape(s)}} {
		want := read(t, ask(plain, "GET", pages[0]).Body.String())
		w := ask(h, "GET", pages[1])
		if w.Code != 200 {
			// A path that is no name of a page: it is cleaned, or not found.
			if pages[1] != "/" && (w.Code == 404 || w.Code == 301 || w.Code == 307) {
				continue
			}
			t.Fatalf("%q: %s: status %d: %s", s, pages[1], w.Code, w.Body)
		}
		got := read(t, w.Body.String())
		for name, n := range got.elements {
			switch name {
			case "span", "dt", "dd", "div":
				continue // lines of a diff, and the facts that there are
			}
			if want.elements[name] != n {
				t.Errorf("%q on %s: %d elements %s, want %d", s, pages[1], n, name, want.elements[name])
			}
		}
		for key, values := range got.attrs {
			if want.attrs[key] == nil {
				t.Errorf("%q on %s: attribute %s", s, pages[1], key)
			}
			if key != "href" && key != "src" {
				continue
			}
			for _, v := range values {
				if u, err := url.Parse(v); err != nil || u.Scheme != "" || u.Host != "" {
					t.Errorf("%q on %s: a link to %s", s, pages[1], v)
				}
			}
		}
		for _, bad := range []string{"\x1b", "\x00", "\u202e"} {
			if strings.Contains(got.text, bad) {
				t.Errorf("%q on %s: %q came through", s, pages[1], bad)
			}
		}
	}
}

func TestHostile(t *testing.T) {
	for _, s := range hostile {
		checkHostile(t, s)
	}
	// It is told, not dropped.
	h := handler(t.Context(), t, hostileSource(hostile[0]), nil, web.Options{})
	if s := read(t, ask(h, "GET", "/").Body.String()); strings.Count(s.text, hostile[0]) < 5 {
		t.Errorf("the hostile name is not in the page:\n%s", s.text)
	}
	if w := ask(h, "GET", "/host/"+url.PathEscape(hostile[0])); w.Code != 200 {
		t.Errorf("the hostile host has no page: %d", w.Code)
	}
}

func FuzzPages(f *testing.F) {
	for _, s := range hostile {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.TrimSpace(s) == "" {
			t.Skip() // an empty name is no host's, and folds elements away
		}
		checkHostile(t, s)
	})
}

func TestCompressed(t *testing.T) {
	site := siteOf(t, examples+"nat")
	h := handler(t.Context(), t, watched("nat", site, noon), site, web.Options{})
	want := ask(h, "GET", "/").Body.String()
	for encoding, zipped := range map[string]bool{"gzip, br": true, "br, gzip;q=0.5": true, "gzip;q=0": false, "br": false, "": false} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Accept-Encoding", encoding)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		body := io.Reader(w.Body)
		if got := w.Header().Get("Content-Encoding") == "gzip"; got != zipped {
			t.Fatalf("%q: zipped is %v", encoding, got)
		}
		if zipped {
			z, err := gzip.NewReader(w.Body)
			if err != nil {
				t.Fatal(err)
			}
			body = z
		}
		if got, _ := io.ReadAll(body); string(got) != want {
			t.Errorf("%q: another page", encoding)
		}
	}
}

// A stream is open, or it was refused.
type stream struct {
	*bufio.Scanner
	status int
	header http.Header
	body   io.Closer
}

func listen(ctx context.Context, t testing.TB, server string) stream {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, "GET", server+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return stream{bufio.NewScanner(resp.Body), resp.StatusCode, resp.Header, resp.Body}
}

func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s does not come about", what)
		}
	}
}

func next(t testing.TB, lines stream, prefix string) string {
	t.Helper()
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), prefix) {
			return lines.Text()
		}
	}
	t.Fatalf("the stream ends before %q: %v", prefix, lines.Err())
	return ""
}

func TestEvents(t *testing.T) {
	before := runtime.NumGoroutine()
	site := siteOf(t, examples+"dr")
	f := watched("dr", site, noon)
	life, end := context.WithCancel(t.Context())
	server := httptest.NewServer(handler(life, t, f, site, web.Options{Streams: 3, Heartbeat: 20 * time.Millisecond, Pace: time.Millisecond}))
	defer server.Close()

	one, gone := context.WithCancel(t.Context())
	lines := listen(one, t, server.URL)
	if kind := lines.header.Get("Content-Type"); kind != "text/event-stream" || lines.header.Get("Cache-Control") != "no-store" {
		t.Errorf("type %q, %v", kind, lines.header)
	}
	await(t, "a listener", func() bool { return f.listeners() == 1 })
	next(t, lines, ":") // a heartbeat
	for i := range 3 {
		f.change(func(*drift.Snapshot) {})
		if got := next(t, lines, "data:"); got != fmt.Sprintf("data: %d", i+1) {
			t.Errorf("event %q", got)
		}
	}

	// No more than there may be; one that goes makes room.
	var others []stream
	for range 2 {
		others = append(others, listen(t.Context(), t, server.URL))
	}
	await(t, "three listeners", func() bool { return f.listeners() == 3 })
	fourth := listen(t.Context(), t, server.URL)
	if fourth.status != http.StatusServiceUnavailable || fourth.header.Get("Retry-After") == "" {
		t.Errorf("a fourth stream: status %d", fourth.status)
	}
	fourth.body.Close()
	gone()
	await(t, "the end of one", func() bool { return f.listeners() == 2 })
	l := listen(t.Context(), t, server.URL)
	if l.status != http.StatusOK {
		t.Errorf("after one has gone: status %d", l.status)
	}
	others = append(others, l)

	// The server's end is the streams'.
	end()
	for _, l := range others {
		for l.Scan() {
		}
		if err := l.Err(); err != nil {
			t.Errorf("a stream ends with %v", err)
		}
	}
	await(t, "the end of all", func() bool { return f.listeners() == 0 })
	server.Close()
	http.DefaultClient.CloseIdleConnections()
	await(t, "the end of every goroutine", func() bool { return runtime.NumGoroutine() <= before })
}

// Changes that come faster than the pace become one event, and none is lost.
func TestPace(t *testing.T) {
	site := siteOf(t, examples+"dr")
	f := watched("dr", site, noon)
	server := httptest.NewServer(handler(t.Context(), t, f, site, web.Options{Pace: 300 * time.Millisecond, Heartbeat: time.Hour}))
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	lines := listen(ctx, t, server.URL)
	await(t, "a listener", func() bool { return f.listeners() == 1 })
	f.change(func(*drift.Snapshot) {})
	next(t, lines, "data: 1")
	for range 50 {
		f.change(func(*drift.Snapshot) {})
	}
	next(t, lines, "data: 2")
	cancel()
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "data: 3") {
			t.Error("the changes did not become one event")
		}
	}
}

// A client that takes nothing does not hold its place for ever.
func TestStalledClient(t *testing.T) {
	site := siteOf(t, examples+"dr")
	f := watched("dr", site, noon)
	server := httptest.NewUnstartedServer(handler(t.Context(), t, f, site, web.Options{Heartbeat: 5 * time.Millisecond, Pace: time.Nanosecond}))
	server.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if err := c.(*net.TCPConn).SetWriteBuffer(4096); err != nil {
			t.Error(err)
		}
		return ctx
	}
	server.Start()
	defer server.Close()
	c, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.(*net.TCPConn).SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(c, "GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
	await(t, "a listener", func() bool { return f.listeners() == 1 })
	await(t, "the end of the stream", func() bool {
		for range 2000 {
			f.change(func(*drift.Snapshot) {})
			runtime.Gosched()
		}
		return f.listeners() == 0
	})
}

// A page of a large site is made in one piece, and its clean hosts are folded
// away.
func TestLarge(t *testing.T) {
	site := &inventory.Site{Name: "big"}
	f := &fakeSource{snap: drift.Snapshot{Site: "big", Time: noon, Round: 1}}
	for i := range 2000 {
		name := fmt.Sprintf("host-%04d", i)
		site.Hosts = append(site.Hosts, &inventory.Host{Name: name, OS: inventory.Linux, Address: name})
		f.snap.Hosts = append(f.snap.Hosts, drift.Host{Name: name, State: drift.Clean, Since: noon, Seen: noon})
	}
	drifted(&f.snap, "host-1234", drift.Drift{Step: "x", Class: drift.ClassLive, First: noon})
	h := handler(t.Context(), t, f, site, web.Options{})
	s := read(t, ask(h, "GET", "/").Body.String())
	for _, want := range []string{"host-1234 has drifted.", "1999 clean hosts"} {
		if !strings.Contains(s.text, want) {
			t.Errorf("no %q in the page", want)
		}
	}
}

func BenchmarkOverview(b *testing.B) {
	site := siteOf(b, "../../picture/testdata/town.hcl")
	f := watched("town", site, noon)
	now := noon
	h := handler(b.Context(), b, f, site, web.Options{Now: func() time.Time { now = now.Add(time.Minute); return now }})
	for b.Loop() {
		ask(h, "GET", "/")
	}
}
