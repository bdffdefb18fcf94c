package remote

import (
	"context"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/providers/verify"
)

// Verify looks at the host's place in the cluster.
func (s *session) Verify(ctx context.Context, v agent.Verification) ([]verify.Result, error) {
	return with(ctx, s, func(in agent.Session) ([]verify.Result, error) { return in.Verify(ctx, v) })
}
