package inventory

import "strings"

// These are written out, not compiled from patterns, since the agent has this
// package in it and is kept small.

func isLetter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// isName knows the names of hosts, roles, services and tunnels.
func isName(s string) bool {
	return s != "" && len(s) <= 253 && (isLetter(s[0]) || isDigit(s[0])) && plain(s)
}

// isDevice knows the names of interfaces, but for their length.
func isDevice(s string) bool { return s != "" && isLetter(s[0]) && plain(s) }

// plain holds letters, digits, ".", "_" and "-" only.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isLetter(c) && !isDigit(c) && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// isHostName knows names that a resolver may know: labels with dots between
// them, no label beginning or ending with a hyphen (RFC 1123, 2.1; "_" is let
// pass), and the last no number, since that would be meant as an address.
func isHostName(s string) bool {
	s = strings.TrimSuffix(s, ".")
	if s == "" || len(s) > 253 || !plain(s) {
		return false
	}
	labels := strings.Split(s, ".")
	for _, l := range labels {
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' {
			return false
		}
	}
	return strings.Trim(labels[len(labels)-1], "0123456789") != ""
}
