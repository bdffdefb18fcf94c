// Package templates holds the text of the files that are wholly lvsfleet's
// own, one folder per operating system.
//
// A template is lines with ${NAME} for a value. A line that begins with
// ${if NAME} is there only where the value is not empty, one with
// ${unless NAME} only where it is, and one with ${each} once for each element
// of a list. That is all of what text/template can that these files need, and
// it leaves the agent a megabyte smaller: that package keeps every method of
// every type in the program.
package templates

import (
	"embed"
	"fmt"
	"os"
	"strings"
)

//go:embed */*.tmpl
var files embed.FS

// Values are what stands for the names of a template.
type Values map[string]string

// Render fills in the template called name ("linux/ifcfg-alias.tmpl"). A name
// that has no value is an error, never an empty string.
func Render(name string, v Values, list ...Values) ([]byte, error) {
	text, err := files.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("render %s: %w", name, err)
	}
	var b strings.Builder
	for line := range strings.Lines(string(text)) {
		line, each := strings.CutPrefix(line, "${each}")
		of := []Values{v}
		if each {
			of = list
		}
		for _, v := range of {
			out, err := expand(line, v)
			if err != nil {
				return nil, fmt.Errorf("render %s: %w", name, err)
			}
			b.WriteString(out)
		}
	}
	return []byte(b.String()), nil
}

// expand fills in one line; "" where it is not to be there.
func expand(line string, v Values) (string, error) {
	var err error
	drop := false
	out := os.Expand(line, func(name string) string {
		verb, of, conditional := strings.Cut(name, " ")
		if !conditional {
			of = verb
		}
		value, ok := v[of]
		switch {
		case !ok:
			err = fmt.Errorf("nothing is said of %q", of)
		case !conditional:
			return value
		case verb == "if":
			drop = drop || value == ""
		case verb == "unless":
			drop = drop || value != ""
		default:
			err = fmt.Errorf("%q is not understood", name)
		}
		return ""
	})
	if drop {
		out = ""
	}
	return out, err
}
