package remote

import (
	"context"
	"fmt"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/providers/verify"
)

var _ agent.Verifier = (*session)(nil)

// Verify looks at the host's place in the cluster.
func (s *session) Verify(ctx context.Context, v agent.Verification) ([]verify.Result, error) {
	return with(ctx, s, func(in agent.Session) ([]verify.Result, error) {
		verifier, ok := in.(agent.Verifier)
		if !ok {
			return nil, fmt.Errorf("%s: this session cannot verify", s.t.Name)
		}
		return verifier.Verify(ctx, v)
	})
}
