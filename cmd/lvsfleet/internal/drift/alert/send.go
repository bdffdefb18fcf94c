package alert

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/drift"
)

// webhook posts the notice as JSON.
func (r *receiver) webhook(ctx context.Context, n drift.Notice) error {
	return r.post(ctx, r.alert.URL, n)
}

// An amAlert is a postableAlert of the Alertmanager's API, version 2
// (api/v2/openapi.yaml).
type amAlert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    time.Time         `json:"startsAt"`
	EndsAt      time.Time         `json:"endsAt"`
}

// longestAnnotation is how much of a diff an annotation has, in bytes.
const longestAnnotation = 4 << 10

// alertmanager posts all that is there, and what has gone. An alert that is not
// posted again in time counts as gone there, so what is there is posted with an
// end that is still to come.
func (r *receiver) alertmanager(ctx context.Context, n drift.Notice) error {
	until := time.Now().Add(r.t.pace.hold)
	var list []amAlert
	for _, d := range n.Open {
		list = append(list, driftAlert(n.Site, d, until))
	}
	for _, d := range n.Resolved {
		// What was there twice is there, if it is there now.
		if !slices.ContainsFunc(n.Open, func(o drift.Drift) bool { return o.Host == d.Host && o.Subject() == d.Subject() && o.Class == d.Class }) {
			list = append(list, driftAlert(n.Site, d, d.Gone))
		}
	}
	for _, g := range n.Held {
		list = append(list, givenUpAlert(n.Site, g, until))
	}
	for _, g := range n.Resumed {
		list = append(list, givenUpAlert(n.Site, g, n.Time))
	}
	u, err := url.Parse(r.alert.URL)
	if err != nil {
		return errors.New("its URL is none")
	}
	if !strings.HasSuffix(u.Path, "/api/v2/alerts") {
		u = u.JoinPath("api", "v2", "alerts")
	}
	return r.post(ctx, u.String(), list)
}

func driftAlert(site string, d drift.Drift, until time.Time) amAlert {
	severity := "warning"
	if d.Class == drift.ClassUnreachable || d.Class == drift.ClassIPVS {
		severity = "critical"
	}
	summary := fmt.Sprintf("%s: %s differs from the inventory (%s)", d.Host, d.Step, d.Class)
	switch d.Class {
	case drift.ClassUnreachable:
		summary = d.Host + " cannot be looked at"
	case drift.ClassForeign:
		summary = d.Host + ": a setting has appeared that the inventory does not name"
	}
	diff := d.Diff
	if len(diff) > longestAnnotation {
		diff = strings.ToValidUTF8(diff[:longestAnnotation], "") + "..."
	}
	labels := map[string]string{
		"alertname": "LvsfleetDrift", "severity": severity, "site": site,
		"host": d.Host, "class": string(d.Class),
	}
	if s := d.Subject(); s != "" {
		labels["step"] = s
	}
	return amAlert{Labels: labels, Annotations: map[string]string{"summary": summary, "description": diff}, StartsAt: d.First, EndsAt: until}
}

func givenUpAlert(site string, g drift.GivenUp, until time.Time) amAlert {
	return amAlert{
		Labels:      map[string]string{"alertname": "LvsfleetRepairGivenUp", "severity": "critical", "site": site, "host": g.Host},
		Annotations: map[string]string{"summary": g.String(), "description": g.Error},
		StartsAt:    g.Since, EndsAt: until,
	}
}

// post sends v as JSON. Nothing of the URL but its host, and nothing of the
// token, gets into an error.
func (r *receiver) post(ctx context.Context, to string, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return errors.New("its URL is none that can be posted to")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "lvsfleet")
	if r.alert.TokenFile != "" {
		token, err := os.ReadFile(r.alert.TokenFile) // each time: it may have been replaced
		if err != nil {
			return fmt.Errorf("read its token: %w", err)
		}
		text := strings.TrimSpace(string(token))
		if text == "" || strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c > '~' }) {
			return fmt.Errorf("%s holds no token: one line of printable characters", r.alert.TokenFile)
		}
		req.Header.Set("Authorization", "Bearer "+text)
	}
	res, err := r.t.client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // without the URL
		}
		return fmt.Errorf("post: %w", err)
	}
	defer res.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(res.Body, 400))
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("it answers %q: %s", res.Status, strings.TrimSpace(strings.ToValidUTF8(string(said), "?")))
	}
	return nil
}

// command runs the argv. What hosts have said is on its standard input alone.
func (r *receiver) command(ctx context.Context, n drift.Notice) error {
	text, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	var hosts []string
	for _, list := range [][]drift.Drift{n.Firing, n.Resolved} {
		for _, d := range list {
			hosts = append(hosts, d.Host)
		}
	}
	for _, list := range [][]drift.GivenUp{n.GivenUp, n.Resumed} {
		for _, g := range list {
			hosts = append(hosts, g.Host)
		}
	}
	slices.Sort(hosts)
	hosts = slices.Compact(hosts)
	argv := r.alert.Argv
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(),
		"LVSFLEET_SITE="+n.Site, "LVSFLEET_HOSTS="+strings.Join(hosts, " "),
		"LVSFLEET_FIRING="+strconv.Itoa(len(n.Firing)), "LVSFLEET_RESOLVED="+strconv.Itoa(len(n.Resolved)),
		"LVSFLEET_GIVEN_UP="+strconv.Itoa(len(n.GivenUp)))
	cmd.Stdin = bytes.NewReader(append(text, '\n'))
	said := &first{}
	cmd.Stdout, cmd.Stderr = said, said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	if ctx.Err() != nil {
		return fmt.Errorf("%s: it did not end in time", argv[0])
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %s", argv[0], err, strings.TrimSpace(strings.ToValidUTF8(said.String(), "?")))
	}
	return nil
}

// first keeps the beginning of what is written.
type first struct{ bytes.Buffer }

func (f *first) Write(p []byte) (int, error) {
	const most = 400
	if room := most - f.Len(); room > 0 {
		f.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}
