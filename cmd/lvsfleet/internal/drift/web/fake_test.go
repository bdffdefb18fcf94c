package web_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/drift"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/inventory/hclfile"
)

// noon is when the pages of these tests are made.
var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// A fakeSource knows what it is told.
type fakeSource struct {
	mu      sync.Mutex
	snap    drift.Snapshot
	past    []drift.Drift
	pastErr error
	watch   map[chan struct{}]bool
}

func (f *fakeSource) Snapshot() drift.Snapshot {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.snap
	s.Hosts = slices.Clone(s.Hosts)
	s.Services = slices.Clone(s.Services)
	return s
}

func (f *fakeSource) Changes(ctx context.Context) <-chan struct{} {
	ch := make(chan struct{}, 1)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.watch == nil {
		f.watch = map[chan struct{}]bool{}
	}
	f.watch[ch] = true
	context.AfterFunc(ctx, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.watch, ch)
		close(ch)
	})
	return ch
}

func (f *fakeSource) listeners() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.watch)
}

func (f *fakeSource) Timeline(_ context.Context, since time.Time, limit int) ([]drift.Drift, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []drift.Drift
	for _, d := range f.past {
		if len(out) < limit && (d.Gone.IsZero() || d.Gone.After(since)) {
			out = append(out, d)
		}
	}
	return out, f.pastErr
}

// change alters what is known, and tells everybody.
func (f *fakeSource) change(with func(*drift.Snapshot)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	with(&f.snap)
	for ch := range f.watch {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

func siteOf(t testing.TB, path string) *inventory.Site {
	t.Helper()
	r := hclfile.Load(path, hclfile.Input{})
	if r.Failed() {
		t.Fatalf("%s: %v", path, r.Diags)
	}
	return r.Site
}

const arpDiff = `--- net.ipv4.conf.all.arp_ignore
+++ net.ipv4.conf.all.arp_ignore
@@ -1 +1 @@
-0
+1
`

// watched is a source that has looked at a site and found it clean.
func watched(name string, site *inventory.Site, now time.Time) *fakeSource {
	f := &fakeSource{snap: drift.Snapshot{Site: name, Time: now.Add(-3 * time.Minute), Round: 1288, Next: now.Add(12 * time.Minute)}}
	desired := site.Desired()
	for _, h := range site.Hosts {
		f.snap.Hosts = append(f.snap.Hosts, drift.Host{
			Name: h.Name, OS: string(h.OS), Release: h.Release, State: drift.Clean, Since: now.Add(-50 * time.Hour),
			Seen: now.Add(-3 * time.Minute), Looked: now.Add(-3 * time.Minute), Took: 14 * time.Millisecond, Warm: true,
		})
		if d := desired[h.Name].Director; d != nil {
			for _, s := range d.Services {
				svc := drift.Service{Director: h.Name, Name: s.Name, Key: s.Protocol + " " + s.Addr.String() + ":80"}
				for i, r := range s.Real {
					svc.Real = append(svc.Real, drift.Real{
						Host: r.Host, Address: r.Addr.String() + ":80", Method: string(r.Method), Weight: r.Weight, Want: r.Weight,
						Active: 40 + 7*i, Inactive: 212 - 31*i, Connections: uint64(1204331 - 90001*i), InBytes: 8812345678, OutBytes: uint64(i) * 99812345678,
					})
				}
				f.snap.Services = append(f.snap.Services, svc)
			}
		}
	}
	return f
}

// drifted lets one step of a host differ.
func drifted(s *drift.Snapshot, name string, d drift.Drift) {
	for i := range s.Hosts {
		if h := &s.Hosts[i]; h.Name == name {
			d.Host = name
			h.State, h.Since = drift.Drifted, d.First
			h.Drifts = append(slices.Clone(h.Drifts), d)
		}
	}
}
