package inventory

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Validate judges a site by every rule that concerns its meaning; Rules lists
// them. What the site leaves out has its default; what was written and could
// not be read (Incomplete) is passed over. The time is linear in the size of
// the site and of its pools.
func Validate(s *Site) []Diagnostic {
	c := &checker{
		index: newIndex(s), own: map[netip.Addr]*Host{}, directing: map[string]bool{},
		knownRoles: map[string]bool{}, said: map[onceKey]bool{},
	}
	for _, r := range s.Roles {
		c.roleNames = append(c.roleNames, r.Name)
		c.knownRoles[r.Name] = true
	}
	for _, v := range s.Services {
		c.directing[v.Director] = true
	}
	for _, h := range s.Hosts {
		c.hostNames = append(c.hostNames, h.Name)
	}
	c.roles()
	c.hosts()
	c.checkServices()
	c.acrossServices()
	c.tunnels()
	slices.SortStableFunc(c.diags, func(a, b Diagnostic) int {
		if d := cmp.Compare(a.Subject.File, b.Subject.File); d != 0 {
			return d
		}
		return cmp.Compare(a.Subject.StartByte, b.Subject.StartByte)
	})
	return c.diags
}

// A checker collects what is wrong with a site.
type checker struct {
	*index
	roleNames, hostNames []string
	own                  map[netip.Addr]*Host // whose own address it is
	knownRoles           map[string]bool
	directing            map[string]bool // the roles that direct
	said                 map[onceKey]bool
	suggested            int
	diags                []Diagnostic
}

func (c *checker) report(code Code, at Range, format string, args ...any) {
	c.diags = append(c.diags, Report(code, at, format, args...))
}

// word wants one of a few words.
func (c *checker) word(name, given string, at Range, allowed ...string) {
	if !slices.Contains(allowed, given) {
		c.report(CodeWord, at, "%s is one of %s, not %q.%s", name, quoted(allowed), given, DidYouMean(given, allowed))
	}
}

func quoted(words []string) string {
	q := make([]string, len(words))
	for i, w := range words {
		q[i] = fmt.Sprintf("%q", w)
	}
	return strings.Join(q, ", ")
}

// reportOnce says a thing about a host once, however many services would.
func (c *checker) reportOnce(code Code, h *Host, at Range, format string, args ...any) {
	k := onceKey{code, h, at}
	if !c.said[k] {
		c.said[k] = true
		c.report(code, at, format, args...)
	}
}

type onceKey struct {
	code Code
	host *Host
	at   Range
}

// knownRole wants the name of a role.
func (c *checker) knownRole(name string, at Range, what string) {
	if name != "" && !c.knownRoles[name] {
		c.report(CodeUnknownRole, at, "%s names the role %q, and there is no such role.%s", what, name, c.suggest(name, c.roleNames))
	}
}

// maxSuggestions bounds the search for names that were meant: each takes a
// look at every name there is.
const maxSuggestions = 200

func (c *checker) suggest(name string, known []string) string {
	if c.suggested++; c.suggested > maxSuggestions {
		return ""
	}
	return DidYouMean(name, known)
}

// list names at most five and counts the rest.
func list(names []string) string {
	if len(names) > 5 {
		return strings.Join(names[:5], ", ") + fmt.Sprintf(" and %d more", len(names)-5)
	}
	return strings.Join(names, ", ")
}
