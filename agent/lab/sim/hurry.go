package sim

import (
	"context"
	"time"

	"github.com/lvsfleet/lvsfleet/providers/host"
)

// Hurried is a clock on which time passes so many times as fast: for tests that
// have guards, and sleep(1), wait. What is far from the machine, and looks after a
// guard by its own clock, must still be in time: no more than a few times.
func Hurried(times int) host.Clock { return hurried(times) }

type hurried int

func (h hurried) Now() time.Duration { return host.Uptime().Now() * time.Duration(h) }

func (h hurried) Sleep(ctx context.Context, d time.Duration) error {
	return host.Uptime().Sleep(ctx, d/time.Duration(h))
}
