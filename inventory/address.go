package inventory

import (
	"fmt"
	"strings"
)

// AddrHint says, in a clause with a full stop, what is wrong with a text that
// is no IP address.
func AddrHint(s string) string {
	switch {
	case strings.ContainsAny(s, "“”„‟‘’‚‛«»"):
		return "there are typographic quotes in it."
	case strings.ContainsRune(s, '/'):
		return "an address without a length is expected."
	case s != strings.TrimSpace(s):
		return "there is white space around it."
	}
	if parts := strings.Split(s, "."); len(parts) > 1 && onlyDigits(s) {
		if len(parts) != 4 {
			return fmt.Sprintf("an IPv4 address has four numbers, not %d.", len(parts))
		}
		for _, p := range parts {
			switch {
			case p == "":
				return "a number is missing between two dots."
			case len(p) > 1 && p[0] == '0':
				return fmt.Sprintf("%s has a leading zero, which some systems read as octal.", p)
			case len(p) > 3 || len(p) == 3 && p > "255":
				return fmt.Sprintf("%s is above 255.", p)
			}
		}
	}
	return "that is no IP address."
}

func onlyDigits(s string) bool {
	return strings.Trim(s, "0123456789.") == ""
}
