package agent

import (
	"context"
	"errors"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

func defaultPlan(context.Context, host.Host, inventory.Desired) (step.Plan, host.Identity, error) {
	return step.Plan{}, host.Identity{}, errors.New("no planner")
}
