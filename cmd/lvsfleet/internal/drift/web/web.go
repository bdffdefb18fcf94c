// Package web is the page of a watcher: the site as a picture, its hosts and
// what drifted on them, its services as the kernels count them, and a timeline.
// It only reads. Pages are whole without JavaScript; with it they follow what
// happens by server-sent events.
package web

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/drift"
	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/picture"
	"github.com/lvsfleet/lvsfleet/inventory"
)

//go:embed assets
var assets embed.FS

// Options are what may be chosen of the page. Zero values mean the defaults.
type Options struct {
	Streams   int              // event streams at a time; default 64; more get status 503
	Heartbeat time.Duration    // between signs of life on a stream; default 15 s
	Pace      time.Duration    // at least between two events of a stream; default 1 s
	Span      time.Duration    // how far the timeline goes back; default 7 days
	Now       func() time.Time // default time.Now
}

func (o *Options) fill() {
	if o.Streams <= 0 {
		o.Streams = 64
	}
	if o.Heartbeat <= 0 {
		o.Heartbeat = 15 * time.Second
	}
	if o.Pace <= 0 {
		o.Pace = time.Second
	}
	if o.Span <= 0 {
		o.Span = 7 * 24 * time.Hour
	}
	if o.Now == nil {
		o.Now = time.Now
	}
}

// A page serves one site.
type page struct {
	ctx     context.Context
	source  drift.Source
	site    func() *inventory.Site
	opts    Options
	streams chan struct{} // holds one value for each open stream
	tmpl    *template.Template
	style   []byte
	script  []byte
	icon    []byte
	cache   cache
}

// New gives the handler of a watcher's pages: "/", "/host/NAME", and what they
// need. The site is asked for anew at each page, since it may be read again
// while the watcher runs. Streams of events end with ctx, with their client, or
// with the source's channel; a server's Shutdown waits for them, so ctx should
// end before. All links are relative: the handler may be mounted anywhere with
// http.StripPrefix.
//
// Every answer forbids scripts and styles other than the handler's own, framing
// and storing. Who may ask is for others to decide.
func New(ctx context.Context, source drift.Source, site func() *inventory.Site, o Options) (http.Handler, error) {
	o.fill()
	p := &page{ctx: ctx, source: source, site: site, opts: o, streams: make(chan struct{}, o.Streams)}
	var err error
	if p.tmpl, err = p.templates(); err != nil {
		return nil, err
	}
	for name, to := range map[string]*[]byte{"page.css": &p.style, "page.js": &p.script, "icon.svg": &p.icon} {
		if *to, err = assets.ReadFile("assets/" + name); err != nil {
			return nil, fmt.Errorf("read the page's %s: %w", name, err)
		}
	}
	p.style = append([]byte(picture.Style), p.style...)

	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", p.overview)
	mux.HandleFunc("GET /host/{name}", p.host)
	mux.HandleFunc("GET /events", p.events)
	mux.HandleFunc("GET /style.css", p.asset("text/css; charset=utf-8", p.style))
	mux.HandleFunc("GET /page.js", p.asset("text/javascript; charset=utf-8", p.script))
	mux.HandleFunc("GET /icon.svg", p.asset("image/svg+xml", p.icon))
	mux.HandleFunc("GET /", p.nothing)
	return guarded(mux), nil
}

// guarded puts on every answer, errors among them, what keeps a browser from
// doing more with it than show it.
func guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "+
			"base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY") // for browsers that do not know frame-ancestors
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			h.Set("Allow", "GET, HEAD")
			http.Error(w, "this page is only read", http.StatusMethodNotAllowed)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (p *page) asset(kind string, body []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", kind)
		send(w, r, http.StatusOK, body)
	}
}

func (p *page) templates() (*template.Template, error) {
	marks, err := picture.Marks()
	if err != nil {
		return nil, err
	}
	t, err := template.New("").Funcs(template.FuncMap{
		"age":      func(t time.Time) string { return age(p.opts.Now().Sub(t)) },
		"utc":      func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
		"iso":      func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"took":     took,
		"lasted":   func(d drift.Drift) string { return lasted(d, p.opts.Now()) },
		"ended":    ended,
		"class":    className,
		"hue":      hue,
		"plain":    plain,
		"bytes":    byteCount,
		"count":    count,
		"thousand": thousands,
		"segment":  url.PathEscape,
		"marks":    func() template.HTML { return marks }, // a constant of package picture
	}).ParseFS(assets, "assets/*.tmpl")
	if err != nil {
		return nil, fmt.Errorf("read the page's templates: %w", err)
	}
	return t, nil
}

func (p *page) overview(w http.ResponseWriter, r *http.Request) {
	snap := p.source.Snapshot()
	body, err := p.cache.get(snap, p.opts.Now(), func() ([]byte, error) {
		v, err := p.overviewOf(r.Context(), snap)
		if err != nil {
			return nil, err
		}
		return p.render("overview", v)
	})
	p.answer(w, r, http.StatusOK, body, err)
}

func (p *page) host(w http.ResponseWriter, r *http.Request) {
	v, ok := p.hostOf(r.Context(), p.source.Snapshot(), r.PathValue("name"))
	if !ok {
		p.nothing(w, r)
		return
	}
	body, err := p.render("host", v)
	p.answer(w, r, http.StatusOK, body, err)
}

// nothing says that there is no such page, and leads back: how many folders
// up depends on what was asked for.
func (p *page) nothing(w http.ResponseWriter, r *http.Request) {
	root := "./"
	for _, c := range r.URL.EscapedPath()[min(1, len(r.URL.EscapedPath())):] {
		if c == '/' {
			root += "../"
		}
	}
	body, err := p.render("nothing", Head{Root: root, Site: p.source.Snapshot().Site, Title: "No such page", Now: p.opts.Now()})
	p.answer(w, r, http.StatusNotFound, body, err)
}

func (p *page) render(name string, v any) ([]byte, error) {
	var b bytes.Buffer
	if err := p.tmpl.ExecuteTemplate(&b, name, v); err != nil {
		return nil, fmt.Errorf("write the page %s: %w", name, err)
	}
	return b.Bytes(), nil
}

func (p *page) answer(w http.ResponseWriter, r *http.Request, status int, body []byte, err error) {
	if err != nil {
		// What went wrong may quote a host: no page, and no type that could be
		// taken for one.
		http.Error(w, "the page cannot be made: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	send(w, r, status, body)
}

func send(w http.ResponseWriter, r *http.Request, status int, body []byte) {
	w.Header().Add("Vary", "Accept-Encoding")
	if len(body) > 4<<10 && acceptsGzip(r) {
		w.Header().Set("Content-Encoding", "gzip")
		body = zipped(body)
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // a client that has gone
	}
}
