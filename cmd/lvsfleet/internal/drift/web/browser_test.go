package web_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/drift"
	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/drift/web"
	"github.com/lvsfleet/lvsfleet/inventory"
)

var shots = flag.String("shots", "", "put pictures of the pages into this `folder`")

// A browser is a Chromium with one page.
type browser struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	troubles []string // errors, refusals and dialogs
}

// newBrowser starts one. Where there is none the test is skipped, but in CI it
// fails.
func newBrowser(t *testing.T) *browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("chromium is missing: apt-get install chromium")
		}
		t.Skip("chromium is missing")
	}
	opts := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck, chromedp.WSURLReadTimeout(90 * time.Second),
	}
	for _, name := range []string{"disable-quic", "disable-background-networking", "disable-component-update", "disable-sync", "hide-scrollbars", "disable-dev-shm-usage"} {
		opts = append(opts, chromedp.Flag(name, true))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, opts...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(func() {
		// It must have let go of its folder before that is removed.
		_ = chromedp.Cancel(ctx)
		cancel()
	})
	b := &browser{t: t, ctx: ctx}
	b.must(chromedp.Listen(ctx, func(ev any) {
		switch ev := ev.(type) {
		case *runtime.EventExceptionThrown:
			b.trouble(fmt.Sprintf("exception: %+v", ev.ExceptionDetails))
		case *log.EventEntryAdded:
			if ev.Entry.Level == log.EntryLevelError {
				b.trouble("log: " + ev.Entry.Text + " " + ev.Entry.URL)
			}
		case *page.EventJavascriptDialogOpening:
			b.trouble("dialog: " + ev.Message)
			go func() {
				_, _ = chromedp.Call(ctx, page.HandleJavaScriptDialog, page.HandleJavaScriptDialogParams{})
			}()
		}
	}))
	call(b, log.Enable, cdp.Empty{})
	return b
}

func (b *browser) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// call gives one command of the protocol.
func call[P any](b *browser, cmd cdp.Command[P, cdp.Empty], params P) {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, cmd, params)
	b.must(err)
}

func (b *browser) trouble(s string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.troubles = append(b.troubles, s)
}

// quiet fails on whatever went wrong in the page.
func (b *browser) quiet() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.troubles {
		b.t.Error(s)
	}
	b.troubles = nil
}

func (b *browser) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	b.must(chromedp.Do(b.ctx, steps...))
}

// is evaluates an expression of JavaScript into a value.
func is[T any](b *browser, expression string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	b.must(err)
	return v
}

// until waits for a condition in the page.
func (b *browser) until(what, condition string) {
	b.t.Helper()
	await(b.t, what, func() bool { return is[bool](b, condition) })
}

// view sets the size of the window, and light or dark.
func (b *browser) view(width, height int64, scheme string) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(width, height))
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
}

// shoot keeps a picture of the whole page, if that was asked for.
func (b *browser) shoot(name string) {
	b.t.Helper()
	if *shots == "" {
		return
	}
	// What changes colour does so slowly.
	time.Sleep(900 * time.Millisecond)
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	b.must(err)
	if err := os.WriteFile(filepath.Join(*shots, name+".png"), png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// hostileSite is the DR cluster, with one more real server whose name no
// inventory would let through.
func hostileSite(t *testing.T) *inventory.Site {
	site := siteOf(t, examples+"dr")
	bad := *site.Host("rs180")
	bad.Name = hostileName
	site.Hosts = append(site.Hosts, &bad)
	slices.SortFunc(site.Hosts, func(a, b *inventory.Host) int { return strings.Compare(a.Name, b.Name) })
	return site
}

const (
	hostileName   = `<img src=x onerror="alert('name')">`
	hostileOutput = "--- a\n+++ b\n@@ -1 +1 @@\n-</span></pre><script>alert('output')</script>\n+<svg onload=alert(1)>\x1b[2J\u202e\n"
)

// inPicture finds a host's cell in the picture for wide screens.
func inPicture(host string) string {
	js, _ := json.Marshal("host/" + url.PathEscape(host))
	return fmt.Sprintf(`[...document.querySelectorAll("#wide a.cell")].find(a => a.getAttribute("href").endsWith(%s))`, js)
}

func TestBrowser(t *testing.T) {
	b := newBrowser(t)
	site := hostileSite(t)
	now := time.Now()
	f := watched("shop", site, now)
	f.past = []drift.Drift{
		{Host: "rs160", Step: "lo:192.168.0.200", Class: drift.ClassLive, First: now.Add(-15 * time.Hour), Gone: now.Add(-13 * time.Hour), End: drift.EndConverge},
		{Host: "lb", Step: "ipvs:tcp 192.168.0.200:80", Class: drift.ClassIPVS, First: now.Add(-7 * time.Hour), Gone: now.Add(-6 * time.Hour), End: drift.EndRepaired},
	}
	server := httptest.NewServer(handler(t.Context(), t, f, site, web.Options{Pace: 50 * time.Millisecond, Now: time.Now}))
	t.Cleanup(server.Close)

	b.view(1280, 900, "light")
	b.do(chromedp.Navigate(server.URL+"/"), chromedp.WaitVisible("#wide svg"))
	b.until("the page to be live", `document.getElementById("live").dataset.state === "on"`)

	// The picture is there, with every host.
	for _, h := range site.Hosts {
		if !is[bool](b, inPicture(h.Name)+` !== undefined`) {
			t.Errorf("%s is not in the picture", h.Name)
		}
	}
	cell := inPicture("rs170")
	colour := cell + `.querySelector(".card")`
	before := is[string](b, `getComputedStyle(`+colour+`).fill`)
	if !is[bool](b, cell+`.classList.contains("s-clean")`) {
		t.Error("rs170 is not clean at first")
	}

	// A host drifts: the open page turns, and stays the same page, with what
	// was focused and folded open.
	is[int](b, `window.kept = 1`)
	is[bool](b, `(() => { document.querySelector("#list summary").click(); document.querySelector("#row-rs160 a").focus(); return true; })()`)
	d := drift.Drift{Host: "rs170", Step: "lo0:192.168.0.200", Class: drift.ClassLive, Diff: hostileOutput, First: now.Add(-4 * time.Minute), Last: now}
	f.change(func(s *drift.Snapshot) {
		drifted(s, "rs170", d)
		f.past = append([]drift.Drift{d}, f.past...)
		s.Services[0].Real[1].Weight = 0
	})
	b.until("rs170 to be drifted in the picture", cell+`.classList.contains("s-drifted")`)
	b.until("its colour to turn", fmt.Sprintf(`getComputedStyle(%s).fill !== %q`, colour, before))
	b.until("the sentence", `document.getElementById("says").textContent === "rs170 has drifted."`)
	b.until("the title", `document.title.startsWith("(1) ")`)
	for what, js := range map[string]string{
		"the same page":      `window.kept === 1`,
		"the focus":          `document.activeElement === document.querySelector("#row-rs160 a")`,
		"what is open":       `document.getElementById("list").open`,
		"the weight":         `document.querySelector("#services .off .weight").textContent.includes("0, wanted 1")`,
		"the first row":      `document.querySelector(".hosts tbody tr").id === "row-rs170"`,
		"the timeline's bar": `document.querySelectorAll("#timeline .span.c-live").length === 2`,
	} {
		if !is[bool](b, js) {
			t.Errorf("after the change: not %s", what)
		}
	}

	// Its diff opens, and is text.
	b.do(chromedp.Click("#row-rs170 a"), chromedp.WaitVisible(".diff .add"))
	for _, want := range []string{`-</span></pre><script>alert('output')</script>`, "+<svg onload=alert(1)>\ufffd[2J\ufffd"} {
		if text := is[string](b, `document.querySelector(".diff").textContent`); !strings.Contains(text, want) {
			t.Errorf("no %q in the diff:\n%s", want, text)
		}
	}
	// It goes away while the page is open.
	f.change(func(s *drift.Snapshot) {
		for i := range s.Hosts {
			s.Hosts[i].State, s.Hosts[i].Drifts = drift.Clean, nil
		}
	})
	b.until("the diff to go", `document.querySelector(".diff") === null && document.querySelector("#verdict").classList.contains("s-clean")`)

	// The hostile name's page.
	b.do(chromedp.Navigate(server.URL+"/"), chromedp.WaitVisible("#wide svg"))
	is[bool](b, `(() => { [...document.querySelectorAll(".hosts a")].find(a => a.textContent.includes("onerror")).click(); return true; })()`)
	b.until("the page of the hostile host", `(document.querySelector("h1 .host") || {}).textContent === `+quoted(hostileName))
	for _, at := range []string{"/", "/host/" + url.PathEscape(hostileName)} {
		b.do(chromedp.Navigate(server.URL+at), chromedp.WaitVisible("main"))
		if n := is[int](b, `document.querySelectorAll("iframe, script:not([src]), [onerror], [onload], main img, style, [style]").length`); n != 0 {
			t.Errorf("%s: %d elements that are not the page's", at, n)
		}
		if !is[bool](b, `document.body.textContent.includes(`+quoted(hostileName)+`)`) {
			t.Errorf("%s does not tell the hostile name", at)
		}
	}
	b.quiet()
}

func quoted(s string) string {
	js, _ := json.Marshal(s)
	return string(js)
}

// The page fits the screens that it is made for, in light and dark, and can be
// used by keyboard.
func TestBrowserSizes(t *testing.T) {
	b := newBrowser(t)
	site := siteOf(t, examples+"dr")
	now := time.Now()
	f := watched("shop", site, now)
	sick(f, now)
	town := siteOf(t, "../../picture/testdata/town.hcl")
	crowd := watched("town", town, now)
	sick(crowd, now)
	small := httptest.NewServer(handler(t.Context(), t, f, site, web.Options{Now: time.Now}))
	t.Cleanup(small.Close)
	large := httptest.NewServer(handler(t.Context(), t, crowd, town, web.Options{Now: time.Now}))
	t.Cleanup(large.Close)
	for _, p := range []struct{ name, url string }{{"site", small.URL + "/"}, {"host", small.URL + "/host/rs170"}, {"town", large.URL + "/"}} {
		for _, width := range []int64{1280, 390} {
			for _, scheme := range []string{"light", "dark"} {
				name := fmt.Sprintf("%s-%d-%s", p.name, width, scheme)
				b.view(width, 844, scheme)
				b.do(chromedp.Navigate(p.url), chromedp.WaitVisible("main"))
				b.until("the page to be live", `document.getElementById("live").dataset.state === "on"`)
				if n := is[int](b, `document.documentElement.scrollWidth`); n > int(width) {
					t.Errorf("%s is %d pixels wide", name, n)
				}
				if p.name != "host" {
					shown := is[string](b, `["wide", "tall"].filter(id => getComputedStyle(document.getElementById(id)).display !== "none").join()`)
					if want := map[int64]string{1280: "wide", 390: "tall"}[width]; shown != want {
						t.Errorf("%s shows the picture %s", name, shown)
					}
				}
				// What can be pressed is large enough to be met with a finger,
				// or stands in a line of text.
				if width == 390 {
					if small := is[string](b, `[...document.querySelectorAll("main .hosts a, summary")].filter(e => e.getClientRects().length && e.getBoundingClientRect().height < 24).map(e => e.textContent).join()`); small != "" {
						t.Errorf("%s: too small: %s", name, small)
					}
				}
				b.shoot(name)
			}
		}
	}

	// By keyboard: the first stop leads past what is the same on every page,
	// and every stop can be seen.
	b.view(1280, 844, "light")
	b.do(chromedp.Navigate(small.URL+"/"), chromedp.WaitVisible("main"))
	seen := map[string]bool{}
	for i := range 14 {
		b.do(chromedp.KeyEvent(kb.Tab))
		at := is[string](b, `(document.activeElement.getAttribute("href") || document.activeElement.nodeName).toString()`)
		if i == 0 && at != "#main" {
			t.Errorf("the first stop is %s", at)
		}
		seen[at] = true
		if !is[bool](b, `(() => { const r = document.activeElement.getBoundingClientRect(); return r.width > 4 && r.height > 4; })()`) {
			t.Errorf("the stop %s cannot be seen", at)
		}
	}
	for _, want := range []string{"#main", "#hosts", "./host/rs160", "./host/rs170"} {
		if !seen[want] {
			t.Errorf("no stop at %s: %v", want, seen)
		}
	}
	b.quiet()

	// Without JavaScript all is there but being live.
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	b.do(chromedp.Navigate(small.URL+"/"), chromedp.WaitVisible("#wide svg"), chromedp.WaitVisible(".hosts"))
	b.do(chromedp.Click("#row-rs170 a"), chromedp.WaitVisible(".diff .add"))
	b.quiet()
}

// sick lets some of a site differ.
func sick(f *fakeSource, now time.Time) {
	boot := drift.Drift{
		Step: "file:/etc/rc.conf", Class: drift.ClassBoot, First: now.Add(-3 * time.Hour), Last: now,
		Diff: "--- /etc/rc.conf\n+++ /etc/rc.conf\n@@ -1,3 +1,3 @@\n ifconfig_lnc0=\"inet 192.168.0.170 netmask 255.255.255.0\"\n" +
			"-ifconfig_lo0_alias0=\"inet 192.168.0.201 netmask 255.255.255.255\"\n+ifconfig_lo0_alias0=\"inet 192.168.0.200 netmask 255.255.255.255\"\n sshd_enable=\"YES\"\n",
	}
	live := drift.Drift{
		Step: "lo0:192.168.0.200", Class: drift.ClassLive, First: now.Add(-40 * time.Minute), Last: now,
		Diff: "--- lo0\n+++ lo0\n@@ -1 +1 @@\n-inet 192.168.0.201 netmask 0xffffffff\n+inet 192.168.0.200 netmask 0xffffffff\n",
	}
	f.change(func(s *drift.Snapshot) {
		for i := range s.Hosts {
			h := &s.Hosts[i]
			switch i % 21 {
			case 2:
				drifted(s, h.Name, boot)
				drifted(s, h.Name, live)
			case 3:
				h.State, h.Error, h.Since, h.Warm = drift.Unreachable, "dial 192.168.0.180:22: connect: connection refused", now.Add(-2*time.Hour), false
				f.past = append(f.past, drift.Drift{Host: h.Name, Class: drift.ClassUnreachable, First: h.Since, Last: now})
			}
			f.past = append(f.past, h.Drifts...)
		}
		f.past = append(f.past,
			drift.Drift{Host: "lb", Step: "ipvs:tcp 192.168.0.200:80", Class: drift.ClassIPVS, First: now.Add(-9 * time.Hour), Gone: now.Add(-7 * time.Hour), End: drift.EndConverge},
			drift.Drift{Host: "rs160", Step: "sysctl:net.ipv4.conf.all.arp_ignore", Class: drift.ClassLive, First: now.Add(-15 * time.Hour), Gone: now.Add(-14 * time.Hour), End: drift.EndElse})
		s.Services[0].Real[1].Weight = 0
	})
}
