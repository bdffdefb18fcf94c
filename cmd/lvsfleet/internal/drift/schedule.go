package drift

import (
	"fmt"
	"strings"
	"time"

	"github.com/netresearch/go-cron"
)

// A Schedule says when rounds are due.
type Schedule interface {
	// Next gives the first time after t that is due.
	Next(t time.Time) time.Time
}

// Every is due again and again after that time.
type Every time.Duration

// Next adds it.
func (e Every) Next(t time.Time) time.Time { return t.Add(time.Duration(e)) }

// Cron reads a cron expression: five fields (minute, hour, day, month,
// weekday), or @hourly and the like; CRON_TZ=Zone before it says whose clock it
// goes by, the machine's where nothing does.
func Cron(text string) (Schedule, error) {
	s, err := cron.ParseStandard(text)
	if err != nil {
		return nil, fmt.Errorf("cron expression %q: %w (five fields: minute, hour, day, month, weekday; or @hourly, @daily, ...)", text, err)
	}
	if s.Next(time.Now()).IsZero() {
		return nil, fmt.Errorf("cron expression %q is never due", strings.TrimSpace(text))
	}
	return s, nil
}

// mostMissed is how many missed rounds are counted one by one.
const mostMissed = 10_000

// following gives the round that comes after the one that was due then, not
// before now, and how many were due in between and could not be held.
func following(s Schedule, due, now time.Time) (next time.Time, missed int) {
	next = s.Next(due)
	for !next.IsZero() && !next.After(now) && missed < mostMissed {
		missed++
		next = s.Next(next)
	}
	// A clock that was set back must not keep a round waiting for longer than
	// the schedule would.
	if again := s.Next(now); next.IsZero() || !next.After(now) || again.Before(next) {
		next = again
	}
	return next, missed
}
