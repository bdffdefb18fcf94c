package agent

import (
	"context"

	"github.com/lvsfleet/lvsfleet/agent/journal"
)

// An Outliner is a Session that can tell what the host's journals are about. Every
// Session is one; it is apart since nothing that changes a host needs it.
type Outliner interface {
	// Outline tells of the open journals, and of the latest settled ones. It
	// reads only.
	Outline(ctx context.Context) ([]journal.Outline, error)
}

var (
	_ Outliner = (*Engine)(nil)
	_ Outliner = (*Client)(nil)
)

// mostOutlines is how many settled journals are told of.
const mostOutlines = 20

// Outline reads the journals.
func (e *Engine) Outline(ctx context.Context) ([]journal.Outline, error) {
	ctx, leave, err := e.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	store, err := e.store(ctx)
	if err != nil {
		return nil, err
	}
	return store.Outlines(ctx, mostOutlines)
}

// Outline asks the agent to.
func (c *Client) Outline(ctx context.Context) ([]journal.Outline, error) {
	res, err := c.ask(ctx, request{Method: methodOutline}, nil)
	return res.Outlines, err
}
