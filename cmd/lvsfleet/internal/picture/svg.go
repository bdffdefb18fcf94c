package picture

import (
	"bytes"
	_ "embed" // the template and the style
	"fmt"
	"html/template"
	"regexp"
	"strings"
	"sync"
)

// Style is the CSS of the picture, for a page that has pictures in it. It is
// made of classes and custom properties alone.
//
//go:embed picture.css
var Style string

//go:embed picture.svg.tmpl
var svgTemplate string

// Options are how a picture is drawn.
type Options struct {
	// Hosts is the state of each host by name; nil draws the site as the
	// inventory says it.
	Hosts map[string]Status
	// Weights are those of the directors' live tables; -1: the entry is missing.
	Weights map[Entry]int
	// Link gives the address of a host's page; nil: hosts are no links.
	Link func(host string) string
	// Inline leaves out Style and the marks (Marks), which the page brings.
	Inline bool
	// Tall puts everything in one column, 374 pixels wide.
	Tall bool
	// ID begins the ids in it; pictures of one page need different ones.
	// Letters and digits; default "lvs".
	ID string
}

// SVG draws the picture as an SVG document, or as an element to put in a page.
// Everything of the site and of Options is escaped in it.
func (p *Picture) SVG(o Options) ([]byte, error) {
	var b bytes.Buffer
	if err := templates().ExecuteTemplate(&b, "svg", p.layout(o)); err != nil {
		return nil, fmt.Errorf("draw the site %s: %w", p.name, err)
	}
	return b.Bytes(), nil
}

// Marks is a hidden SVG element that holds the mark of each state as a symbol
// "mark-STATE", for pages.
func Marks() (template.HTML, error) {
	var b bytes.Buffer
	if err := templates().ExecuteTemplate(&b, "sheet", nil); err != nil {
		return "", fmt.Errorf("draw the marks: %w", err)
	}
	return template.HTML(b.String()), nil // a constant
}

func templates() *template.Template {
	return template.Must(template.New("").Funcs(template.FuncMap{
		"add":   func(a, b int) int { return a + b },
		"css":   func() template.CSS { return template.CSS(Style) }, // a constant
		"paint": paint,
	}).Parse(svgTemplate))
}

// paint is the colour of a name or a class in the style's light scheme, for an
// attribute beside the class: programs that know no custom properties (librsvg,
// Inkscape, LibreOffice) draw everything black without.
func paint(class string) (string, error) {
	name := strings.TrimPrefix(class, "m-")
	if name == "plain" || name == "" {
		name = "line"
	}
	c, ok := palette()[name]
	if !ok {
		return "", fmt.Errorf("the style has no colour %q", class)
	}
	return c, nil
}

// palette are the custom properties of the first rule of Style.
var palette = sync.OnceValue(func() map[string]string {
	m := map[string]string{}
	rule, _, _ := strings.Cut(Style, "}")
	for _, c := range custom.FindAllStringSubmatch(rule, -1) {
		m[c[1]] = c[2]
	}
	return m
})

var custom = regexp.MustCompile(`--([a-z-]+): (#[0-9a-f]{6});`)
