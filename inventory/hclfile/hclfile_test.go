package hclfile_test

import (
	"os"
	"testing"

	"github.com/lvsfleet/lvsfleet/inventory/hclfile"
)

func TestExamples(t *testing.T) {
	for _, name := range []string{"nat", "dr", "tun"} {
		r := hclfile.Load("../../examples/"+name, hclfile.Input{})
		if err := r.Write(os.Stderr, 78, false); err != nil {
			t.Fatal(err)
		}
		if r.Failed() || len(r.Diags) > 0 {
			t.Errorf("%s: not clean", name)
		}
	}
}
