package lab

import (
	"context"
	"io"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/providers/host"
)

// binaryPrefix begins the name of the agent's file on a host.
const binaryPrefix = agent.BinaryPrefix

// runAgent is the agent as a program.
func runAgent(ctx context.Context, h host.Host, c *sim.Call, out io.Writer) int {
	return agent.Main(ctx, h, c.Argv, c.Stdin, out, c.Stderr)
}
