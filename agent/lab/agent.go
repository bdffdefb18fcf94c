package lab

import (
	"context"
	"io"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/providers/host"
)

// binaryPrefix begins the name of the agent's file on a host.
const binaryPrefix = agent.BinaryPrefix

// serveAgent is the agent.
func serveAgent(ctx context.Context, h host.Host, in io.Reader, out io.Writer) error {
	return agent.Serve(ctx, h, in, out)
}
