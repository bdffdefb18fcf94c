package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/lvsfleet/lvsfleet/providers/ipvs"
)

// A Sighting is what Watch saw.
type Sighting struct {
	// Report is what Check gives; nil where it is, to the letter, the last
	// one of this session.
	Report *Report
	Table  []Entry // with the kernel's counters
}

// Watch checks, and reads the table.
func (e *Engine) Watch(ctx context.Context, req *Request, table bool) (Sighting, error) {
	report, err := e.Check(ctx, *req)
	if err != nil {
		return Sighting{}, err
	}
	s := Sighting{Report: &report}
	if table {
		s.Table, err = e.read(ctx, ipvs.Statistics)
	}
	return s, err
}

// Watch asks the agent to.
func (c *Client) Watch(ctx context.Context, req *Request, table bool) (Sighting, error) {
	c.mu.Lock()
	msg := request{Method: methodWatch, Known: c.seen, Table: table}
	if c.asked != req {
		msg.Request, msg.Known = req, ""
	}
	c.mu.Unlock()
	res, err := c.ask(ctx, msg, nil)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.asked, c.seen = nil, "" // whether it was heard is not known
		return Sighting{}, err
	}
	if res.Report == nil && (msg.Known == "" || res.Known != msg.Known) {
		c.asked = nil
		return Sighting{}, fmt.Errorf("the agent answers neither with a report nor with the last one's name")
	}
	c.asked, c.seen = req, res.Known
	return Sighting{Report: res.Report, Table: res.Table}, nil
}

// watch answers the question that the controller asked last. It keeps a name
// of what it answered, so that it need not say it again.
func (c *conversation) watch(ctx context.Context, req request) (response, error) {
	if req.Request != nil {
		c.watched = req.Request
	}
	if c.watched == nil {
		return response{}, fmt.Errorf("request %q: what is wanted of the host has not been said", req.Method)
	}
	seen, err := c.engine.Watch(ctx, c.watched, req.Table)
	if err != nil {
		return response{}, err
	}
	text, err := json.Marshal(seen.Report)
	if err != nil {
		return response{}, fmt.Errorf("encode the report: %w", err)
	}
	sum := sha256.Sum256(text)
	res := response{Known: hex.EncodeToString(sum[:16]), Table: seen.Table}
	if res.Known != req.Known {
		res.Report = seen.Report
	}
	return res, nil
}
