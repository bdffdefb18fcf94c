package main

import (
	"bytes"
	"strings"
	"testing"
)

// `make crash` tries every access; this is a sample of them.
func TestTheMatrixHolds(t *testing.T) {
	var out bytes.Buffer
	failed, err := matrix(&out, 17, "../../examples/nat/site.hcl", "../../examples/dr/site.hcl", "../../examples/tun/site.hcl")
	if err != nil || failed > 0 {
		t.Errorf("%v\n%s", err, out.String())
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if last := lines[len(lines)-1]; !strings.HasSuffix(last, " passed, 0 failed") {
		t.Errorf("the last line is %q", last)
	}
}
