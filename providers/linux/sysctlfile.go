package linux

import (
	"bytes"
	"strings"
)

// A setting of a sysctl file: its canonical key and where its value stands.
type fileSetting struct {
	key        string // with slashes: "net/ipv4/conf/eth0.100/arp_ignore"
	value      string
	start, end int // of the value, without blanks and trailing comment
}

// parseSysctl finds the assignments of a file as sysctl(8) and systemd-sysctl
// read it: "#" and ";" begin comment lines, a leading "-" ignores errors.
func parseSysctl(text []byte) []fileSetting {
	var list []fileSetting
	at := 0
	for line := range bytes.Lines(text) {
		start := at
		at += len(line)
		trimmed := bytes.TrimSpace(line)
		if len(trimmed) == 0 || trimmed[0] == '#' || trimmed[0] == ';' {
			continue
		}
		eq := bytes.IndexByte(line, '=')
		if eq < 0 {
			continue
		}
		key := strings.TrimPrefix(strings.TrimSpace(string(line[:eq])), "-")
		if key == "" {
			continue
		}
		raw := line[eq+1:]
		// A trailing comment is no part of the format, but the kernel reads
		// a number up to the first blank, so people write them.
		for i, c := range raw {
			if c == '#' && i > 0 && (raw[i-1] == ' ' || raw[i-1] == '\t') {
				raw = raw[:i]
				break
			}
		}
		value := bytes.TrimSpace(raw)
		from := eq + 1 + bytes.Index(raw, value)
		list = append(list, fileSetting{
			key: canonicalKey(key), value: string(value),
			start: start + from, end: start + from + len(value),
		})
	}
	return list
}

// canonicalKey turns both spellings of a key into the one with slashes: where
// the first separator is a slash, dots belong to the names; else dots separate
// and slashes stand for dots (sysctl.d(5)).
func canonicalKey(key string) string {
	i := strings.IndexAny(key, "./")
	if i < 0 || key[i] == '/' {
		return key
	}
	return strings.Map(func(r rune) rune {
		switch r {
		case '.':
			return '/'
		case '/':
			return '.'
		}
		return r
	}, key)
}

// setSysctl changes the last assignment of key in place. found is false where
// there is none.
func setSysctl(text []byte, key, value string) (out []byte, found bool) {
	list := parseSysctl(text)
	for i := len(list) - 1; i >= 0; i-- {
		s := list[i]
		if s.key != canonicalKey(key) {
			continue
		}
		if s.value == value {
			return text, true
		}
		word := value
		if s.value == "" && s.start > 0 && text[s.start-1] == '=' {
			word = " " + value
		}
		return bytes.Join([][]byte{text[:s.start], []byte(word), text[s.end:]}, nil), true
	}
	return text, false
}

// addSysctl changes the assignment of key, or adds one as a bare line.
func addSysctl(text []byte, key, value string) []byte {
	out, found := setSysctl(text, key, value)
	if found {
		return out
	}
	out = bytes.Clone(out)
	if len(out) > 0 && out[len(out)-1] != '\n' {
		out = append(out, '\n')
	}
	return append(out, key+" = "+value+"\n"...)
}
