// Package templates holds the text of the files that are wholly lvsfleet's
// own, one folder per operating system.
package templates

import (
	"bytes"
	"embed"
	"fmt"
	"text/template"
)

//go:embed */*.tmpl
var files embed.FS

// Render fills in the template called name ("linux/ifcfg-alias.tmpl"). A field
// that data does not have is an error, never an empty string.
func Render(name string, data any) ([]byte, error) {
	text, err := files.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("render %s: %w", name, err)
	}
	t, err := template.New(name).Option("missingkey=error").Parse(string(text))
	if err != nil {
		return nil, fmt.Errorf("render %s: %w", name, err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, data); err != nil {
		return nil, fmt.Errorf("render %s: %w", name, err)
	}
	return b.Bytes(), nil
}
