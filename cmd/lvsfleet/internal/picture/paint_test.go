package picture_test

import (
	"bytes"
	"regexp"
	"testing"

	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/picture"
)

// Programs that know no custom properties see the same colours: whatever is drawn
// has them as attributes too.
func TestColoursAreAttributes(t *testing.T) {
	p := picture.New(sites(t)["dr"])
	out, err := p.SVG(picture.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, drawing, _ := bytes.Cut(out, []byte("</style>"))
	shape := regexp.MustCompile(`<(rect|path)[^>]*>`)
	n := 0
	for _, s := range shape.FindAll(drawing, -1) {
		n++
		if !regexp.MustCompile(`(fill|stroke)="#[0-9a-f]{6}"`).Match(s) {
			t.Errorf("%s has no colour of its own", s)
		}
	}
	if n < 20 {
		t.Errorf("%d shapes", n)
	}
}
