package hclfile

import (
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/lvsfleet/lvsfleet/inventory"
)

var (
	rolloutSchema = schema([]string{"batch", "drain", "max_failures", "on_failure", "confirm_timeout"}, nil)
	driftSchema   = schema([]string{"schedule", "every", "jitter", "timeout", "parallel", "repair", "repair_max",
		"retention", "listen", "tls_cert", "tls_key", "token_file"}, map[string]string{"alert": "kind"})
	alertSchema = schema([]string{"url", "token_file", "argv"}, nil)
)

func (d *decoder) readRollout() inventory.Rollout {
	out := inventory.Rollout{
		Batch: []inventory.Share{{N: 1}, {N: 50, Percent: true}},
		Drain: 30, OnFailure: "host", ConfirmTimeout: 60,
	}
	bl := d.single(d.rollout)
	if bl == nil {
		return out
	}
	d.noLabel(bl)
	b := d.body(d.content(bl.Body, bl.DefRange(), rolloutSchema), d.root)
	out.Src = b.src
	if shares := b.shares("batch"); len(shares) > 0 {
		out.Batch = shares
	}
	out.Drain = b.number("drain", out.Drain, 0, 7*24*3600)
	out.MaxFailures = b.number("max_failures", 0, 0, 1<<20)
	out.ConfirmTimeout = b.number("confirm_timeout", out.ConfirmTimeout, 10, 24*3600)
	out.OnFailure = b.word("on_failure", out.OnFailure, "host", "fleet")
	return out
}

// word reads one of a few strings.
func (b *body) word(name, preset string, allowed ...string) string {
	s := b.str(name)
	if s == "" {
		b.empty(name)
		return preset
	}
	for _, a := range allowed {
		if s == a {
			return s
		}
	}
	b.wrong(inventory.CodeWord, b.Attributes[name].Expr.Range(), "%s is one of %s, not %q.%s", name,
		strings.Join(allowed, ", "), s, inventory.DidYouMean(s, allowed))
	return preset
}

// shares reads numbers and percentages.
func (b *body) shares(name string) []inventory.Share {
	var out []inventory.Share
	elements := b.elements(name, "numbers and percents")
	if a := b.Attributes[name]; a != nil && len(elements) == 0 && !b.bad {
		b.wrong(inventory.CodeRange, a.Expr.Range(), "%s is empty. Write at least one number or percent.", name)
	}
	for i, e := range elements {
		at := b.Attributes[name].Expr.Range()
		if e.Type() == cty.Number {
			if n, ok := b.whole(e, at, "element "+strconv.Itoa(i+1)+" of "+name, 1, 1<<20); ok {
				out = append(out, inventory.Share{N: int(n)})
			}
			continue
		}
		text := ""
		if s, ok := toType(e, cty.String); ok {
			text = s.AsString()
		}
		digits, percent := strings.CutSuffix(text, "%")
		n, err := strconv.Atoi(digits)
		if err != nil || n < 1 || percent && n > 100 || !percent && n > 1<<20 {
			b.wrong(inventory.CodeRange, at, "Element %d of %s is a number from 1 on, or a percent from \"1%%\" to \"100%%\".", i+1, name)
			continue
		}
		out = append(out, inventory.Share{N: n, Percent: percent})
	}
	return out
}

func (d *decoder) readDrift() *inventory.Drift {
	bl := d.single(d.drift)
	if bl == nil {
		return nil
	}
	d.noLabel(bl)
	b := d.body(d.content(bl.Body, bl.DefRange(), driftSchema), d.root)
	out := &inventory.Drift{
		Schedule: b.str("schedule"), Every: b.duration("every", 0, 1), Jitter: b.duration("jitter", 0, 0),
		Timeout: b.duration("timeout", 0, 1), Parallel: b.number("parallel", 0, 1, 1<<16),
		Repair: b.on("repair", false), RepairMax: b.number("repair_max", 0, 1, 1<<20),
		Retention: b.duration("retention", 90*24*3600, 1), Listen: b.str("listen"),
		TLSCert: b.path("tls_cert"), TLSKey: b.path("tls_key"), TokenFile: b.path("token_file"), Src: b.src,
	}
	if a := b.Attributes["every"]; a != nil && b.Attributes["schedule"] != nil {
		b.wrong(inventory.CodeExclusive, a.NameRange, "schedule and every exclude each other.")
	}
	if b.Attributes["schedule"] != nil {
		if fields := strings.Fields(out.Schedule); len(fields) != 5 && !strings.HasPrefix(out.Schedule, "@") {
			b.wrong(inventory.CodeRange, b.Attributes["schedule"].Expr.Range(), "A cron schedule has five fields (minute, hour, day, month, weekday), and %q has %d.", out.Schedule, len(fields))
		}
	}
	if (b.Attributes["tls_cert"] == nil) != (b.Attributes["tls_key"] == nil) {
		b.wrong(inventory.CodeMissing, bl.DefRange(), "tls_cert and tls_key come together.")
	}
	for _, a := range b.blocks("alert") {
		out.Alerts = append(out.Alerts, d.alert(b, a))
	}
	return out
}

func (d *decoder) alert(b *body, bl *hcl.Block) inventory.Alert {
	sub := d.body(d.content(bl.Body, bl.DefRange, alertSchema), b.ctx)
	out := inventory.Alert{Kind: bl.Labels[0], URL: sub.str("url"), TokenFile: sub.path("token_file"), Argv: sub.strs("argv")}
	kinds := []string{"webhook", "alertmanager", "command"}
	need, other := "url", "argv"
	switch out.Kind {
	case "webhook", "alertmanager":
	case "command":
		need, other = "argv", "url"
	default:
		d.code(inventory.CodeWord, bl.LabelRanges[0], "An alert is one of %s, not %q.%s", strings.Join(kinds, ", "), out.Kind, inventory.DidYouMean(out.Kind, kinds))
		return out
	}
	if sub.Attributes[need] == nil {
		sub.wrong(inventory.CodeMissing, bl.DefRange, "An alert %q needs %s.", out.Kind, need)
	}
	if a := sub.Attributes[other]; a != nil {
		sub.wrong(inventory.CodeExclusive, a.NameRange, "%s is nothing for an alert %q.", other, out.Kind)
	}
	return out
}

// duration reads seconds: a number, or a text such as "15m", "1h30m", "90d".
func (b *body) duration(name string, preset, least int) int {
	v, at, ok := b.value(name)
	if !ok {
		return preset
	}
	if v.Type() == cty.Number {
		if n, ok := b.whole(v, at, name, int64(least), maxSeconds); ok {
			return int(n)
		}
		return preset
	}
	s, ok := toType(v, cty.String)
	if !ok {
		b.wrong(inventory.CodeType, at, "%s is a time: a number of seconds, or a text such as \"15m\".", name)
		return preset
	}
	n, ok := parseSeconds(s.AsString())
	if !ok || n < least {
		b.wrong(inventory.CodeRange, at, "%s is a time of whole seconds such as \"30s\", \"15m\", \"1h30m\", \"90d\" or \"2w\", not %q.", name, s.AsString())
		return preset
	}
	return n
}

// parseSeconds reads what time.ParseDuration knows, and days and weeks.
func parseSeconds(s string) (int, bool) {
	for unit, days := range map[string]int{"d": 1, "w": 7} {
		if digits, ok := strings.CutSuffix(s, unit); ok {
			n, err := strconv.Atoi(digits)
			if err != nil || n < 0 || n > maxSeconds/(24*3600*days) {
				return 0, false
			}
			return n * days * 24 * 3600, true
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || d%time.Second != 0 || d/time.Second > maxSeconds {
		return 0, false
	}
	return int(d / time.Second), true
}
