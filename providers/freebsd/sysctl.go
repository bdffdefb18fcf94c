package freebsd

import (
	"slices"
	"strings"
)

// parseSysctls reads "NAME: VALUE" lines, as `sysctl NAME...` prints them.
func parseSysctls(out string) map[string]string {
	values := map[string]string{}
	for line := range strings.Lines(out) {
		if name, value, ok := strings.Cut(line, ":"); ok {
			values[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
	}
	return values
}

// sysctlConf finds what sysctl.conf(5) assigns to key last. Everything after
// "#" is a comment there.
func sysctlConf(text []byte, key string) (value string, line int) {
	n := 0
	for l := range strings.Lines(string(text)) {
		n++
		if k, v, ok := cutSysctl(l); ok && k == key {
			value, line = v, n
		}
	}
	return value, line
}

func cutSysctl(line string) (key, value string, ok bool) {
	line, _, _ = strings.Cut(line, "#")
	key, value, ok = strings.Cut(line, "=")
	return strings.TrimSpace(key), strings.TrimSpace(value), ok
}

// setSysctlConf changes every assignment to key in place, comments kept.
func setSysctlConf(text []byte, key, value string) []byte {
	lines := slices.Collect(strings.Lines(string(text)))
	for i, l := range lines {
		k, old, ok := cutSysctl(l)
		if !ok || k != key || old == value {
			continue
		}
		before, after, _ := strings.Cut(l, "=")
		lead := after[:len(after)-len(strings.TrimLeft(after, " \t"))]
		lines[i] = before + "=" + lead + value + strings.TrimPrefix(after[len(lead):], old)
	}
	return []byte(strings.Join(lines, ""))
}
