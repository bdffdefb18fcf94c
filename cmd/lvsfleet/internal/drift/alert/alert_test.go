package alert

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/drift"
	"github.com/lvsfleet/lvsfleet/inventory"
)

// quick is a pace for tests.
var quick = pace{first: 5 * time.Millisecond, most: 20 * time.Millisecond, refresh: time.Hour, hold: time.Hour, limit: 5 * time.Second}

var day = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func live(host string) drift.Drift {
	return drift.Drift{Host: host, Step: "sysctl:x", Class: drift.ClassLive, Diff: "-1\n+2\n", First: day, Last: day}
}

func gone(d drift.Drift) drift.Drift {
	d.Gone, d.End = day.Add(time.Hour), drift.EndConverge
	return d
}

// A post is what a receiver was sent.
type post struct {
	path, auth, body string
}

// A sink is a receiver that can be down.
type sink struct {
	*httptest.Server
	mu    sync.Mutex
	down  int // answers with that status; 0: takes everything
	posts []post
	tries int
	came  chan struct{}
}

func newSink(t *testing.T) *sink {
	s := &sink{came: make(chan struct{}, 1000)}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.tries++
		if s.down != 0 {
			http.Error(w, "no thanks", s.down)
			return
		}
		s.posts = append(s.posts, post{r.URL.Path, r.Header.Get("Authorization"), string(body)})
		s.came <- struct{}{}
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *sink) setDown(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = status
}

// next waits for a post.
func (s *sink) next(t *testing.T) post {
	t.Helper()
	select {
	case <-s.came:
	case <-time.After(20 * time.Second):
		t.Fatal("nothing was posted")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.posts[len(s.posts)-len(s.came)-1]
}

func teller(t *testing.T, p pace, alerts ...inventory.Alert) *Teller {
	t.Helper()
	l := newTeller(filepath.Join(t.TempDir(), "alerts.json"), p)
	l.Use(alerts)
	t.Cleanup(func() { _ = l.Close(t.Context()) })
	return l
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
	}
}

func TestAWebhookIsToldEachChangeOnce(t *testing.T) {
	s := newSink(t)
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("first-token\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l := teller(t, quick, inventory.Alert{Kind: "webhook", URL: s.URL + "/hook", TokenFile: file})
	d := live("rs1")
	l.Tell(drift.Notice{Site: "t", Time: day})
	l.Tell(drift.Notice{Site: "t", Time: day, Firing: []drift.Drift{d}, Open: []drift.Drift{d}})
	p := s.next(t)
	var n drift.Notice
	if err := json.Unmarshal([]byte(p.body), &n); err != nil || p.path != "/hook" || p.auth != "Bearer first-token" ||
		n.Site != "t" || len(n.Firing) != 1 || n.Firing[0].Step != "sysctl:x" || len(n.Resolved) != 0 {
		t.Errorf("%+v: %+v, %v", p, n, err)
	}
	// A token that is replaced is used, without anybody being told of it.
	if err := os.WriteFile(file, []byte("second-token\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.Tell(drift.Notice{Site: "t", Time: day, Open: []drift.Drift{d}})
	l.Tell(drift.Notice{Site: "t", Time: day, Resolved: []drift.Drift{gone(d)}})
	if p = s.next(t); p.auth != "Bearer second-token" || !strings.Contains(p.body, `"end":"converge"`) {
		t.Errorf("%+v", p)
	}
	if err := l.Close(t.Context()); err != nil || s.tries != 2 {
		t.Errorf("%d posts, %v", s.tries, err)
	}
}

func TestADeadReceiverDelaysNobodyAndIsTriedAgain(t *testing.T) {
	dead, well := newSink(t), newSink(t)
	dead.setDown(http.StatusInternalServerError)
	l := teller(t, quick, inventory.Alert{Kind: "webhook", URL: dead.URL + "/secret-path"}, inventory.Alert{Kind: "webhook", URL: well.URL})
	for i := range 3 {
		begun := time.Now()
		l.Tell(drift.Notice{Site: "t", Firing: []drift.Drift{live(fmt.Sprint("rs", i))}})
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("told in %v", took)
		}
		well.next(t)
	}
	eventually(t, "it was not tried again", func() bool { dead.mu.Lock(); defer dead.mu.Unlock(); return dead.tries > 3 })
	p := l.Problems()
	if len(p) != 1 || !strings.Contains(p[0], "500 Internal Server Error") || !strings.Contains(p[0], "no thanks") || strings.Contains(p[0], "secret") {
		t.Errorf("%q", p)
	}
	if l.Waiting() != 3 {
		t.Errorf("%d wait", l.Waiting())
	}
	dead.setDown(0)
	for i := range 3 { // in order, each once
		if p := dead.next(t); !strings.Contains(p.body, fmt.Sprintf(`"rs%d"`, i)) {
			t.Errorf("notice %d: %s", i, p.body)
		}
	}
	eventually(t, "the problem stays", func() bool { return len(l.Problems()) == 0 && l.Waiting() == 0 })
}

func TestNothingSecretIsInAnError(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	for name, c := range map[string]struct{ url, token, want string }{
		"nobody there": {"http://127.0.0.1:1/s3cret", "t0ken", "refused"},
		"no URL":       {"http://[::1/s3cret", "t0ken", "URL"},
		"a bad token":  {"http://127.0.0.1:1/s3cret", "t0ken\nX: y", "holds no token"},
		"an empty one": {"http://127.0.0.1:1/s3cret", " ", "holds no token"},
	} {
		if err := os.WriteFile(file, []byte(c.token), 0o600); err != nil {
			t.Fatal(err)
		}
		l := teller(t, quick, inventory.Alert{Kind: "webhook", URL: c.url, TokenFile: file})
		l.Tell(drift.Notice{Firing: []drift.Drift{live("rs1")}})
		eventually(t, name+": no problem", func() bool { return len(l.Problems()) > 0 })
		if p := l.Problems()[0]; !strings.Contains(p, c.want) || strings.Contains(p, "s3cret") || strings.Contains(p, "t0ken") {
			t.Errorf("%s: %q", name, p)
		}
	}
}

func TestAnAlertmanagerKnowsAllThatIsThere(t *testing.T) {
	s := newSink(t)
	p := quick
	p.refresh = 10 * time.Millisecond
	l := teller(t, p, inventory.Alert{Kind: "alertmanager", URL: s.URL + "/am/"})
	one, two := live("rs1"), live("rs2")
	two.Class, two.Step, two.Diff = drift.ClassForeign, "ipvs", "the IPVS table has TCP 1 with 2 real servers, which"
	read := func() map[string]amAlert {
		t.Helper()
		p := s.next(t)
		if p.path != "/am/api/v2/alerts" {
			t.Errorf("%q", p.path)
		}
		var list []amAlert
		if err := json.Unmarshal([]byte(p.body), &list); err != nil {
			t.Fatal(err)
		}
		m := map[string]amAlert{}
		for _, a := range list {
			m[a.Labels["alertname"]+" "+a.Labels["host"]+" "+a.Labels["step"]] = a
		}
		return m
	}
	l.Tell(drift.Notice{Site: "t", Time: day, Firing: []drift.Drift{two}, Open: []drift.Drift{one, two}})
	for range 3 { // told, then reminded
		m := read()
		a := m["LvsfleetDrift rs2 ipvs: the IPVS table has TCP 1, which"]
		if len(m) != 2 || a.Labels["class"] != "foreign" || a.Labels["site"] != "t" || !a.StartsAt.Equal(day) || a.EndsAt.Before(time.Now().Add(time.Minute)) {
			t.Fatalf("%+v", m)
		}
	}
	g := drift.GivenUp{Host: "rs1", Since: day, Tries: 3, Error: "refused"}
	l.Tell(drift.Notice{Site: "t", Time: day, Resolved: []drift.Drift{gone(two)}, GivenUp: []drift.GivenUp{g}, Open: []drift.Drift{one}, Held: []drift.GivenUp{g}})
	eventually(t, "the end was not told", func() bool {
		m := read()
		a, there := m["LvsfleetDrift rs2 ipvs: the IPVS table has TCP 1, which"]
		held := m["LvsfleetRepairGivenUp rs1 "]
		return there && a.EndsAt.Equal(day.Add(time.Hour)) && held.EndsAt.After(time.Now()) && len(m) == 3
	})
	eventually(t, "what has gone is told again", func() bool { return len(read()) == 2 })
}

func TestACommandGetsDataAndNoShell(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "tell")
	if err := os.WriteFile(script, []byte("#!/bin/sh\ncat >"+dir+"/in\necho \"$1|$LVSFLEET_SITE|$LVSFLEET_HOSTS|$LVSFLEET_FIRING|$LVSFLEET_RESOLVED\" >"+dir+"/env.tmp\nmv "+dir+"/env.tmp "+dir+"/env\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	l := teller(t, quick, inventory.Alert{Kind: "command", Argv: []string{script, "$(touch " + dir + "/owned)"}})
	d := live("rs1")
	d.Diff = "`touch " + dir + "/owned`\n$(touch " + dir + "/owned)"
	l.Tell(drift.Notice{Site: "t", Firing: []drift.Drift{d, live("rs2")}, Resolved: []drift.Drift{gone(live("rs3"))}})
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	env, err := os.ReadFile(filepath.Join(dir, "env"))
	if want := "$(touch " + dir + "/owned)|t|rs1 rs2 rs3|2|1\n"; err != nil || string(env) != want {
		t.Errorf("%q, %v, want %q", env, err, want)
	}
	var n drift.Notice
	in, err := os.ReadFile(filepath.Join(dir, "in"))
	if err != nil || json.Unmarshal(in, &n) != nil || len(n.Firing) != 2 || n.Firing[0].Diff != d.Diff {
		t.Errorf("%q, %v", in, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "owned")); err == nil {
		t.Error("a shell ran what a host said")
	}
}

func TestACommandThatHangsOrFailsIsReported(t *testing.T) {
	p := quick
	p.limit = 100 * time.Millisecond
	l := teller(t, p,
		inventory.Alert{Kind: "command", Argv: []string{"/bin/sh", "-c", "sleep 1000 & wait"}},
		inventory.Alert{Kind: "command", Argv: []string{"/bin/sh", "-c", "echo out of order >&2; exit 3"}},
		inventory.Alert{Kind: "command", Argv: []string{"/nonexistent/tell"}})
	l.Tell(drift.Notice{Firing: []drift.Drift{live("rs1")}})
	eventually(t, "no problems", func() bool { return len(l.Problems()) == 3 })
	all := strings.Join(l.Problems(), "\n")
	for _, want := range []string{"did not end in time", "exit status 3: out of order", "no such file"} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is not in %q", want, all)
		}
	}
}

func TestWhatWasNotTakenIsToldByTheNextProcess(t *testing.T) {
	s := newSink(t)
	s.setDown(http.StatusServiceUnavailable)
	spool := filepath.Join(t.TempDir(), "alerts.json")
	hook := inventory.Alert{Kind: "webhook", URL: s.URL}
	first := newTeller(spool, quick)
	first.Use([]inventory.Alert{hook})
	first.Tell(drift.Notice{Site: "t", Firing: []drift.Drift{live("rs1")}})
	if err := first.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p := first.Problems(); len(p) != 1 {
		t.Errorf("%q", p)
	}
	if info, err := os.Stat(spool); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	s.setDown(0)
	second := newTeller(spool, quick)
	second.Use([]inventory.Alert{hook})
	if p := s.next(t); !strings.Contains(p.body, "rs1") {
		t.Errorf("%s", p.body)
	}
	if err := second.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(spool); err == nil {
		t.Error("the spool is still there")
	}
	if err := os.WriteFile(spool, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	third := newTeller(spool, quick)
	if p := third.Problems(); len(p) != 1 || !strings.Contains(p[0], spool) {
		t.Errorf("a damaged spool: %q", p)
	}
	if err := third.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestOtherReceiversAndAnEnd(t *testing.T) {
	before := runtime.NumGoroutine()
	s, other := newSink(t), newSink(t)
	other.setDown(http.StatusServiceUnavailable)
	l := newTeller("", quick)
	l.Use([]inventory.Alert{{Kind: "webhook", URL: s.URL}, {Kind: "webhook", URL: other.URL}})
	l.Tell(drift.Notice{Firing: []drift.Drift{live("rs1")}})
	s.next(t)
	l.Use([]inventory.Alert{{Kind: "webhook", URL: s.URL}})
	l.Tell(drift.Notice{Firing: []drift.Drift{live("rs2")}})
	s.next(t)
	if p := l.Problems(); len(p) != 0 {
		t.Errorf("of a receiver that is not in use: %q", p)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := l.Close(ctx); err != nil {
		t.Fatal(err)
	}
	l.Tell(drift.Notice{Firing: []drift.Drift{live("rs3")}})
	l.client.CloseIdleConnections()
	s.Server.Close()
	other.Server.Close()
	eventually(t, "goroutines are left", func() bool { return runtime.NumGoroutine() <= before })
}

func TestAQueueIsBounded(t *testing.T) {
	s := newSink(t)
	s.setDown(http.StatusServiceUnavailable)
	l := teller(t, quick, inventory.Alert{Kind: "webhook", URL: s.URL})
	for i := range mostWaiting + 50 {
		l.Tell(drift.Notice{Firing: []drift.Drift{live(fmt.Sprint("rs", i))}})
	}
	if n := l.Waiting(); n != mostWaiting {
		t.Errorf("%d wait", n)
	}
	if p := l.Problems(); len(p) != 1 || !strings.Contains(p[0], "50 notices were dropped") {
		t.Errorf("%q", p)
	}
}
