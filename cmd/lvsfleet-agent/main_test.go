package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// platforms are those that agents are built for.
func platforms() []string {
	return []string{"linux/amd64", "linux/arm64", "linux/386", "freebsd/amd64", "freebsd/386", "illumos/amd64", "solaris/amd64"}
}

func goTool(t *testing.T, platform string, args ...string) string {
	t.Helper()
	goos, arch, _ := strings.Cut(platform, "/")
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Env = append(os.Environ(), "GOOS="+goos, "GOARCH="+arch, "CGO_ENABLED=0")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: go %s: %v\n%s", platform, strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}

// What crosses the wire is small, and so is what a bug can be in: the language
// of the inventory and all of SSH stay with the controller.
func TestTheAgentLinksNoLanguageAndNoSSH(t *testing.T) {
	for _, p := range platforms() {
		for dep := range strings.Lines(goTool(t, p, "list", "-deps", ".")) {
			dep = strings.TrimSpace(dep)
			for _, not := range []string{
				"github.com/hashicorp/hcl", "github.com/zclconf/go-cty", "golang.org/x/crypto/ssh", "github.com/pkg/sftp",
				"github.com/spf13/", "net/http", "crypto/tls", "html/template",
				"github.com/lvsfleet/lvsfleet/agent/remote", "github.com/lvsfleet/lvsfleet/agent/lab", "github.com/lvsfleet/lvsfleet/inventory/hclfile",
			} {
				if dep == strings.TrimSuffix(not, "/") || strings.HasPrefix(dep, strings.TrimSuffix(not, "/")+"/") {
					t.Errorf("%s: links %s", p, dep)
				}
			}
		}
	}
}

func TestTheAgentIsSmall(t *testing.T) {
	const most = 7_500_000 // bytes, stripped
	for _, p := range platforms() {
		out := filepath.Join(t.TempDir(), "agent")
		goTool(t, p, "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", out, ".")
		info, err := os.Stat(out)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d bytes", p, info.Size())
		if info.Size() >= most {
			t.Errorf("%s: %d bytes are not under %d", p, info.Size(), most)
		}
	}
}
