package web

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/drift"
)

// A cache holds the last overview, for the many readers who ask for it at the
// moment when something has changed.
type cache struct {
	mu   sync.Mutex
	snap drift.Snapshot
	at   time.Time
	body []byte
}

// fresh is how old a page may be; ages in it are told in minutes.
const fresh = 5 * time.Second

func (c *cache) get(snap drift.Snapshot, now time.Time, make func() ([]byte, error)) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.body != nil && now.Sub(c.at).Abs() < fresh && reflect.DeepEqual(c.snap, snap) {
		return c.body, nil
	}
	body, err := make()
	if err != nil {
		return nil, err
	}
	c.snap, c.at, c.body = snap, now, body
	return body, nil
}

func acceptsGzip(r *http.Request) bool {
	for _, part := range strings.Split(r.Header.Get("Accept-Encoding"), ",") {
		name, q, _ := strings.Cut(part, ";")
		if strings.TrimSpace(name) == "gzip" {
			return strings.ReplaceAll(q, " ", "") != "q=0"
		}
	}
	return false
}

func zipped(body []byte) []byte {
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed) // the level is a good one
	_, _ = z.Write(body)                            // to memory
	_ = z.Close()
	return b.Bytes()
}
