package web

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/drift"
)

// age says how long ago something was, or, below zero, in what time it will
// be. page.js says the same in the same words.
func age(d time.Duration) string {
	if d < 0 {
		if d > -time.Minute {
			return "in less than a minute"
		}
		return "in " + span(-d)
	}
	if d < time.Minute {
		return "just now"
	}
	return span(d) + " ago"
}

// span is a duration in its largest unit.
func span(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d/time.Second))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d/time.Minute))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d/time.Hour))
	}
	return fmt.Sprintf("%d days", int(d/(24*time.Hour)))
}

// took is a short duration.
func took(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%.2g ms", float64(d)/float64(time.Millisecond))
	case d < time.Second:
		return fmt.Sprintf("%d ms", d/time.Millisecond)
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// lasted says for how long a drift was there, or has been.
func lasted(d drift.Drift, now time.Time) string {
	end := d.Gone
	if end.IsZero() {
		end = now
	}
	return span(max(0, end.Sub(d.First)))
}

// ended says how a drift went away.
func ended(d drift.Drift) string {
	switch {
	case d.Gone.IsZero():
		return "still there"
	case d.End == drift.EndRepaired:
		return "repaired by the watcher"
	case d.End == drift.EndConverge:
		return "by a run of lvsfleet"
	}
	return "by itself, or by somebody"
}

// className says what a class of drift means.
func className(c drift.Class) string {
	switch c {
	case drift.ClassLive:
		return "live"
	case drift.ClassBoot:
		return "at boot"
	case drift.ClassIPVS:
		return "IPVS table"
	case drift.ClassForeign:
		return "foreign"
	case drift.ClassUnreachable:
		return "unreachable"
	}
	return "other"
}

// byteCount is a size in units of 1,000.
func byteCount(n uint64) string {
	f, unit := float64(n), 0
	for f >= 1000 && unit < 6 {
		f, unit = f/1000, unit+1
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.3g %cB", min(f, 999), "kMGTPE"[unit-1])
}

// count is n with its noun.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

// thousands puts a thin space between groups of three digits.
func thousands(v any) string {
	s := fmt.Sprint(v)
	var parts []string
	for len(s) > 3 {
		parts = append([]string{s[len(s)-3:]}, parts...)
		s = s[:len(s)-3]
	}
	return strings.Join(append([]string{s}, parts...), "\u202f")
}

// plain makes what a host said plain text: what steers a terminal or turns the
// direction of text becomes U+FFFD. Escaping is html/template's.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) {
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
}
