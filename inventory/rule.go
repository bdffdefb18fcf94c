package inventory

import (
	"fmt"
	"strings"

	"github.com/agext/levenshtein"
)

// A Code names a rule of the inventory for good: a code is never given to
// another rule.
type Code = string

// The codes. Rules says of each what it means; docs/lints.md is that list.
const (
	CodeQuotes    Code = "LVS001"
	CodeText      Code = "LVS002"
	CodeSize      Code = "LVS003"
	CodeNesting   Code = "LVS004"
	CodeName      Code = "LVS005"
	CodeDevice    Code = "LVS006"
	CodeTwice     Code = "LVS007"
	CodeMissing   Code = "LVS008"
	CodeType      Code = "LVS009"
	CodeRange     Code = "LVS010"
	CodeWord      Code = "LVS011"
	CodeAddress   Code = "LVS012"
	CodeExclusive Code = "LVS013"
	CodeVariable  Code = "LVS014"
	CodeCycle     Code = "LVS015"
	CodeForEach   Code = "LVS016"
	CodeReserved  Code = "LVS017"

	CodeUnknownRole  Code = "LVS020"
	CodeUnknownHost  Code = "LVS021"
	CodeEmptyRole    Code = "LVS022"
	CodeRolesClash   Code = "LVS023"
	CodeVIPLength    Code = "LVS024"
	CodeDirectorOS   Code = "LVS025"
	CodeServiceTwice Code = "LVS026"
	CodePort         Code = "LVS027"
	CodeSegment      Code = "LVS028"
	CodeGateway      Code = "LVS029"
	CodeVIPIsRIP     Code = "LVS030"
	CodeFamily       Code = "LVS031"
	CodeMethods      Code = "LVS032"
	CodeOnePacket    Code = "LVS033"
	CodeFlag         Code = "LVS034"
	CodeThresholds   Code = "LVS035"
	CodePeer         Code = "LVS036"
	CodeHolders      Code = "LVS037"
	CodeTwoSources   Code = "LVS038"
	CodeSolarisTUN   Code = "LVS039"
	CodeIPv6         Code = "LVS040"
	CodeAllPorts     Code = "LVS041"
	CodeTunnelEnds   Code = "LVS042"
	CodeNoRIP        Code = "LVS043"
	CodeOwnGateway   Code = "LVS044"
	CodeTwoBox       Code = "LVS045"

	CodeWeightZero     Code = "LVS060"
	CodeClientsInside  Code = "LVS061"
	CodeUnusedRole     Code = "LVS062"
	CodeLegacy         Code = "LVS063"
	CodeAddressTwice   Code = "LVS064"
	CodeNeedlessRoute  Code = "LVS065"
	CodeNoForwarding   Code = "LVS066"
	CodeGatewayOff     Code = "LVS067"
	CodeGatewaysDiffer Code = "LVS068"
	CodeInsideApart    Code = "LVS069"
	CodeInterface      Code = "LVS070"
	CodePeersDiffer    Code = "LVS071"
	CodeIdleNetmask    Code = "LVS072"
)

// A Rule is what a code stands for.
type Rule struct {
	Code     Code
	Severity Severity
	Summary  string // the one line of its diagnostics
	Reason   string // why it is a mistake
	Cure     string // what to do
}

// RuleOf finds the rule of a code. An unknown code is an error without words.
func RuleOf(c Code) Rule {
	for _, r := range Rules() {
		if r.Code == c {
			return r
		}
	}
	return Rule{Code: c}
}

// Report makes the diagnostic of a rule: its severity and summary, and the
// details of this case, with the cure.
func Report(c Code, at Range, format string, args ...any) Diagnostic {
	r := RuleOf(c)
	detail := fmt.Sprintf(format, args...)
	if c >= CodeUnknownRole {
		// Those before say what to write in each case.
		detail += " " + r.Cure
	}
	return Diagnostic{Severity: r.Severity, Code: c, Summary: r.Summary, Detail: detail, Subject: at}
}

// DidYouMean is a sentence with the one of known that given is likely a slip
// of, with a leading space; "" where none is near.
func DidYouMean(given string, known []string) string {
	if s := Nearest(given, known); s != "" {
		return fmt.Sprintf(" Did you mean %q?", s)
	}
	return ""
}

// Nearest is the one of known that given is likely a slip of, or "".
func Nearest(given string, known []string) string {
	best, least := "", 3
	if len(given) < 4 {
		least = 2
	}
	for _, k := range known {
		if k == given || strings.EqualFold(k, given) {
			return k
		}
		if swapped(given, k) {
			return k
		}
		if d := len(k) - len(given); d >= least || -d >= least {
			continue
		}
		if d := levenshtein.Distance(given, k, nil); d < least {
			best, least = k, d
		}
	}
	return best
}

// swapped says that b is a with two neighbouring characters exchanged.
func swapped(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	return i+1 < len(a) && a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:]
}
