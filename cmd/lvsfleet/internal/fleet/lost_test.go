package fleet

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
)

// A jump is a clock on which sleeping takes no time.
type jump struct{ now time.Time }

func (j *jump) Now() time.Time { return j.now }

func (j *jump) Sleep(_ context.Context, d time.Duration) error {
	j.now = j.now.Add(d)
	return nil
}

// Who never comes back is waited for until its guard has undone, counted from
// the last word that it was given.
func TestWhoNeverComesBackIsWaitedFor(t *testing.T) {
	const confirm = 20 * time.Second
	for _, c := range []struct {
		name     string
		director bool
		silent   time.Duration // since the last word; <0: there was none
		want     time.Duration
	}{
		{"a real server", false, 10 * time.Second, confirm * 3 / 2},
		{"a director without a word", true, -1, confirm * 7 / 2},
		{"a director that was told just now", true, 0, confirm * 7 / 2},
		{"a director that was told a while ago", true, 15 * time.Second, confirm*7/2 - 15*time.Second},
		{"a director whose guard has gone", true, 4 * confirm, confirm * 3 / 2},
	} {
		clock := &jump{time.Unix(1_000_000, 0)}
		site := &inventory.Site{}
		site.Rollout.ConfirmTimeout = int(confirm / time.Second)
		m := &member{host: &inventory.Host{Name: "x"}}
		if c.director {
			m.want.Director, m.lends = &inventory.Director{}, true
		}
		f := &Fleet{Site: site, Clock: clock, Dial: func(context.Context, *inventory.Host) (agent.Session, error) {
			return nil, errors.New("no route")
		}}
		r := newRun(f, []*member{m}, "")
		if c.silent >= 0 {
			r.renewed["x"] = clock.now.Add(-c.silent)
		}
		began := clock.now
		if err := r.again(t.Context(), m, inventory.Withdraw, false); !errors.Is(err, host.ErrLost) {
			t.Errorf("%s: %v", c.name, err)
		}
		if got := clock.now.Sub(began); got < c.want || got > c.want+redial {
			t.Errorf("%s is waited for %s, not %s", c.name, got, c.want)
		}
	}
}
