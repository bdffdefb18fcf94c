package metrics

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"

	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/drift"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const monitoring = "../../../../../examples/monitoring"

type fixed drift.Snapshot

func (f fixed) Snapshot() drift.Snapshot                                        { return drift.Snapshot(f) }
func (f fixed) Changes(context.Context) <-chan struct{}                         { return nil }
func (f fixed) Timeline(context.Context, time.Time, int) ([]drift.Drift, error) { return nil, nil }

// sample is a site of which there is everything to tell.
func sample() *Metrics {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s := drift.Snapshot{
		Site: "t", Time: at, Success: at.Add(-time.Hour), Round: 7, Running: true, Problems: []string{"p"},
		Hosts: []drift.Host{
			{Name: "lb", State: drift.Drifted, Seen: at, Warm: true, Drifts: []drift.Drift{{Class: drift.ClassIPVS}, {Class: drift.ClassBoot}, {Class: drift.ClassBoot}}},
			{Name: "rs1", State: drift.Clean, Seen: at, Warm: true},
			{Name: "rs2", State: drift.Unreachable, Drifts: []drift.Drift{{Class: drift.ClassUnreachable}}},
		},
		Services: []drift.Service{{Director: "lb", Name: "http", Key: "tcp 192.0.2.1:80", Real: []drift.Real{
			{Host: "rs1", Address: "192.0.2.11", Method: "nat", Weight: 3, Want: 4, Active: 5, Inactive: 6, Persistent: 7, Connections: 1 << 40, InBytes: 8, OutBytes: 9},
			{Host: "rs1", Address: "192.0.2.11", Method: "nat", Weight: -1, Want: 1, Active: 1}, // another port
			{Host: "rs2", Address: "192.0.2.12", Method: "nat", Weight: -1, Want: 4},
		}}},
	}
	m := New(fixed(s), func() Counts { return Counts{Missed: 2, Waiting: 3} })
	m.Round(42 * time.Millisecond)
	m.Round(7 * time.Second)
	return m
}

// scrape is what Prometheus is told, but for the process' own.
func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("%d: %s", w.Code, w.Body)
	}
	var b strings.Builder
	for line := range strings.Lines(w.Body.String()) {
		if strings.Contains(line, "lvsfleet_") {
			b.WriteString(line)
		}
	}
	return b.String()
}

func TestWhatPrometheusIsTold(t *testing.T) {
	got := scrape(t, sample())
	const golden = "testdata/metrics.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// promtool runs it; where it is not installed the test is skipped, but in CI.
func promtool(t *testing.T, stdin string, args ...string) {
	t.Helper()
	tool, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("promtool is missing: Debian's package prometheus has it")
		}
		t.Skip("promtool is missing: Debian's package prometheus has it")
	}
	cmd := exec.Command(tool, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out.String())
	}
}

func TestPromtoolAgreesWithTheMetrics(t *testing.T) {
	promtool(t, scrape(t, sample()), "check", "metrics")
}

func TestPromtoolAgreesWithTheRules(t *testing.T) {
	promtool(t, "", "check", "config", filepath.Join(monitoring, "prometheus.yml"))
	promtool(t, "", "test", "rules", filepath.Join(monitoring, "alerts_test.yml"))
}

// known are the names of all series.
func known(t *testing.T) map[string]bool {
	t.Helper()
	families, err := sample().registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, f := range families {
		names[f.GetName()] = true
		if f.GetType() == dto.MetricType_HISTOGRAM {
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				names[f.GetName()+suffix] = true
			}
		}
	}
	return names
}

var series = regexp.MustCompile(`\blvsfleet_[a-z_]+`)

func TestTheExamplesAskForWhatThereIs(t *testing.T) {
	names := known(t)
	for _, file := range []string{"alerts.yml", "alerts_test.yml", "grafana-dashboard.json"} {
		text, err := os.ReadFile(filepath.Join(monitoring, file))
		if err != nil {
			t.Fatal(err)
		}
		asked := series.FindAllString(string(text), -1)
		if len(asked) == 0 {
			t.Errorf("%s asks for nothing", file)
		}
		for _, name := range asked {
			if !names[name] {
				t.Errorf("%s asks for %s, which there is not", file, name)
			}
		}
	}
}

// Every expression of the dashboard is one of Prometheus', which promtool finds
// out where it stands in a rule.
func TestPromtoolAgreesWithTheDashboard(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(monitoring, "grafana-dashboard.json"))
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Title  string `json:"title"`
		Panels []struct {
			ID      int                      `json:"id"`
			Title   string                   `json:"title"`
			GridPos struct{ X, Y, W, H int } `json:"gridPos"`
			Targets []struct {
				Expr string `json:"expr"`
			} `json:"targets"`
		} `json:"panels"`
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	rules := "groups:\n  - name: dashboard\n    rules:\n"
	taken := map[[2]int]string{}
	ids := map[int]bool{}
	for _, p := range board.Panels {
		if ids[p.ID] || p.Title == "" || len(p.Targets) == 0 {
			t.Errorf("panel %d %q: its number is another's, or it shows nothing", p.ID, p.Title)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x > 23 {
					t.Errorf("panel %q lies over %q, or outside", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		for i, target := range p.Targets {
			expr := strings.NewReplacer("$__rate_interval", "5m", "$site", ".*", "$director", ".*", "$service", ".*").Replace(target.Expr)
			rules += fmt.Sprintf("      - record: panel_%d_%d\n        expr: %q\n", p.ID, i, expr)
		}
	}
	file := filepath.Join(t.TempDir(), "dashboard.yml")
	if err := os.WriteFile(file, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "", "check", "rules", file)
}
