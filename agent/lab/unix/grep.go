package unix

import (
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
)

// grep is grep, egrep and fgrep. Solaris' own /usr/bin/egrep and grep know
// neither -q nor -E nor -F (they are in /usr/xpg4/bin), so there they are
// refused as it refuses them.
func grep(m *sim.Machine, c *sim.Call) int {
	name := path.Base(c.Argv[0])
	known := "vcinlsxqEFhe"
	if m.Identity.OS == "solaris" && !strings.HasPrefix(c.Argv[0], "/usr/xpg4/bin/") {
		known = "vcinlshe"
	}
	set := map[byte]bool{}
	args := c.Argv[1:]
	var pattern *string
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' && pattern == nil {
		word := args[0]
		args = args[1:]
		if word == "--" {
			break
		}
		for _, b := range []byte(word[1:]) {
			if strings.IndexByte(known, b) < 0 {
				c.Errorf("illegal option -- %c", b)
				return 2
			}
			set[b] = true
		}
		if set['e'] {
			if !strings.HasSuffix(word, "e") || len(args) == 0 {
				return c.Refuse()
			}
			pattern, args = &args[0], args[1:]
		}
	}
	if pattern == nil {
		if len(args) == 0 {
			return c.Refuse()
		}
		pattern, args = &args[0], args[1:]
	}
	re, ok := compile(*pattern, name, set)
	if !ok {
		return c.Refuse()
	}
	if len(args) == 0 {
		args = []string{"-"}
	}
	exit := 1
	failed := false
	for _, p := range args {
		text, err := operand(m, c, p)
		if err != nil {
			failed = true
			if !set['s'] {
				fail(c, p, err)
			}
			continue
		}
		prefix := ""
		if len(args) > 1 && !set['h'] {
			prefix = p + ":"
		}
		count := 0
		for i, line := range splitLines(string(text)) {
			if re.MatchString(line) == set['v'] {
				continue
			}
			count++
			exit = 0
			switch {
			case set['q'], set['c'], set['l']:
			case set['n']:
				c.Printf("%s%d:%s\n", prefix, i+1, line)
			default:
				c.Printf("%s%s\n", prefix, line)
			}
		}
		switch {
		case set['q']:
		case set['l'] && count > 0:
			c.Printf("%s\n", p)
		case set['c']:
			c.Printf("%s%d\n", prefix, count)
		}
	}
	if failed && (exit != 0 || !set['q']) {
		return 2
	}
	return exit
}

// sed knows `sed -n Np [FILE]`: one line.
func sed(m *sim.Machine, c *sim.Call) int {
	if len(c.Argv) < 3 || len(c.Argv) > 4 || c.Argv[1] != "-n" {
		return c.Refuse()
	}
	number, ok := strings.CutSuffix(c.Argv[2], "p")
	n, err := strconv.Atoi(number)
	if !ok || err != nil || n < 1 {
		return c.Refuse()
	}
	file := "-"
	if len(c.Argv) == 4 {
		file = c.Argv[3]
	}
	text, err := operand(m, c, file)
	if err != nil {
		c.Errorf("%s: %s", file, Strerror(err))
		return 1
	}
	if lines := splitLines(string(text)); n <= len(lines) {
		c.Printf("%s\n", lines[n-1])
	}
	return 0
}

func splitLines(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}

// compile reads an extended regular expression; a basic one only where both
// mean the same.
func compile(pattern, name string, set map[byte]bool) (*regexp.Regexp, bool) {
	switch {
	case name == "fgrep" || set['F']:
		pattern = regexp.QuoteMeta(pattern)
	case name == "grep" && !set['E']:
		if strings.ContainsAny(pattern, `+?(){}|\`) {
			return nil, false
		}
	}
	if set['x'] {
		pattern = "^(" + pattern + ")$"
	}
	if set['i'] {
		re, err := regexp.Compile("(?i)" + pattern)
		return re, err == nil
	}
	re, err := regexp.CompilePOSIX(pattern)
	return re, err == nil
}
