// Package metrics tells Prometheus what a watcher knows.
package metrics

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/drift"
)

// Counts are what a Snapshot does not have.
type Counts struct {
	Missed  int64 // rounds, since the start
	Waiting int   // alerts that were not taken yet
}

// A Metrics has them all; nothing is registered with anybody else.
type Metrics struct {
	registry *prometheus.Registry
	rounds   prometheus.Histogram
}

// New gives the metrics of what source watches. Values are read when they are
// asked for.
func New(source drift.Source, counts func() Counts) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	site := prometheus.Labels{"site": source.Snapshot().Site}
	m.rounds = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "lvsfleet_round_duration_seconds", Help: "How long a round over all hosts took, repairs included.",
		Buckets: []float64{0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600}, ConstLabels: site,
	})
	m.registry.MustRegister(m.rounds, newCollector(source, counts, site),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Round notes a round.
func (m *Metrics) Round(took time.Duration) { m.rounds.Observe(took.Seconds()) }

// Handler serves them.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 30 * time.Second})
}

// A collector makes metrics of a Snapshot.
type collector struct {
	source drift.Source
	counts func() Counts

	hosts, drifted, seen, warm           *prometheus.Desc
	running, lastRound, lastSuccess      *prometheus.Desc
	rounds, missed, problems, waiting    *prometheus.Desc
	weight, wanted                       *prometheus.Desc
	active, inactive, persistent         *prometheus.Desc
	connections, receivedBytes, sentByte *prometheus.Desc
}

func newCollector(source drift.Source, counts func() Counts, site prometheus.Labels) *collector {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("lvsfleet_"+name, help, labels, site)
	}
	entry := []string{"director", "service", "virtual", "host", "address", "method"}
	e := func(name, help string) *prometheus.Desc { return d("ipvs_"+name, help, entry...) }
	return &collector{
		source: source, counts: counts,
		hosts:       d("hosts", "Hosts, by the state that they were last found in.", "state"),
		drifted:     d("drifted_steps", "Differences that are there now, by host and class; a host without any has no sample.", "host", "class"),
		seen:        d("host_last_seen_timestamp_seconds", "When a host was last looked at with success; 0: never.", "host"),
		warm:        d("host_connection_open", "1 where the connection to a host is open, between rounds too.", "host"),
		running:     d("round_running", "1 while a round is under way."),
		lastRound:   d("last_round_timestamp_seconds", "When the last round ended; 0: there was none."),
		lastSuccess: d("last_success_timestamp_seconds", "When the last round ended that could look at every host; 0: there was none."),
		rounds:      d("rounds_total", "Rounds since the start."),
		missed:      d("rounds_missed_total", "Rounds that were due while another one ran, or nothing did."),
		problems:    d("problems", "What is wrong with the watching itself: the history, the inventory, the alerts, repairs that were given up."),
		waiting:     d("alerts_waiting", "Notices that receivers have not taken yet."),
		weight:      e("real_server_weight", "The weight of a real server in the director's table; -1: it is not there."),
		wanted:      e("real_server_wanted_weight", "The weight that the inventory gives a real server; -1: it does not name it."),
		active:      e("active_connections", "Connections of a real server that are established, as the director's kernel counts them."),
		inactive:    e("inactive_connections", "Connections of a real server in any other state."),
		persistent:  e("persistent_connections", "Clients that are bound to a real server."),
		// The kernel's since the entry was made: an entry that is made anew
		// begins at 0, as counters may.
		connections:   e("connections_total", "Connections that were ever scheduled to a real server."),
		receivedBytes: e("in_bytes_total", "Bytes from clients to a real server."),
		sentByte:      e("out_bytes_total", "Bytes from a real server to clients, where they pass the director (NAT)."),
	}
}

// Describe names every metric.
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		c.hosts, c.drifted, c.seen, c.warm, c.running, c.lastRound, c.lastSuccess, c.rounds, c.missed, c.problems, c.waiting,
		c.weight, c.wanted, c.active, c.inactive, c.persistent, c.connections, c.receivedBytes, c.sentByte,
	} {
		to <- d
	}
}

// Collect reads the watcher.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	s, n := c.source.Snapshot(), c.counts()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	states := map[drift.State]int{}
	for _, h := range s.Hosts {
		states[h.State]++
		steps := map[drift.Class]int{}
		for _, d := range h.Drifts {
			steps[d.Class]++
		}
		for class, n := range steps {
			gauge(c.drifted, float64(n), h.Name, string(class))
		}
		gauge(c.seen, stamp(h.Seen), h.Name)
		gauge(c.warm, truth(h.Warm), h.Name)
	}
	for _, state := range []drift.State{drift.Unknown, drift.Clean, drift.Transient, drift.Drifted, drift.Unreachable, drift.Failed, drift.Busy} {
		gauge(c.hosts, float64(states[state]), string(state))
	}
	gauge(c.running, truth(s.Running))
	gauge(c.lastRound, stamp(s.Time))
	gauge(c.lastSuccess, stamp(s.Success))
	counter(c.rounds, float64(s.Round))
	counter(c.missed, float64(n.Missed))
	gauge(c.problems, float64(len(s.Problems)))
	gauge(c.waiting, float64(n.Waiting))
	for _, v := range s.Services {
		for _, r := range merged(v.Real) {
			labels := []string{v.Director, v.Name, v.Key, r.Host, r.Address, r.Method}
			gauge(c.weight, float64(r.Weight), labels...)
			gauge(c.wanted, float64(r.Want), labels...)
			gauge(c.active, float64(r.Active), labels...)
			gauge(c.inactive, float64(r.Inactive), labels...)
			gauge(c.persistent, float64(r.Persistent), labels...)
			counter(c.connections, float64(r.Connections), labels...)
			counter(c.receivedBytes, float64(r.InBytes), labels...)
			counter(c.sentByte, float64(r.OutBytes), labels...)
		}
	}
}

// merged adds up entries of one service that differ in nothing but their port:
// no two samples may have the same labels.
func merged(list []drift.Real) []drift.Real {
	type id struct{ host, address, method string }
	at := map[id]int{}
	var out []drift.Real
	for _, r := range list {
		k := id{r.Host, r.Address, r.Method}
		i, twice := at[k]
		if !twice {
			at[k] = len(out)
			out = append(out, r)
			continue
		}
		o := &out[i]
		o.Weight, o.Want = sum(o.Weight, r.Weight), sum(o.Want, r.Want)
		o.Active += r.Active
		o.Inactive += r.Inactive
		o.Persistent += r.Persistent
		o.Connections += r.Connections
		o.InBytes += r.InBytes
		o.OutBytes += r.OutBytes
	}
	return out
}

// sum adds weights, of which -1 is none.
func sum(a, b int) int {
	if a < 0 && b < 0 {
		return -1
	}
	return max(a, 0) + max(b, 0)
}

func stamp(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
