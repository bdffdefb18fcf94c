package vm

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/lvsfleet/lvsfleet/agent/remote"
)

const module = "github.com/lvsfleet/lvsfleet"

// Programs builds what runs in the machine into dir: lvsfleet, which carries
// the agent of linux/amd64 and no other, package guest, package shell, and the
// tests of the packages that talk to the kernel. The tree at root is left as
// it is.
func Programs(ctx context.Context, root, dir string) error {
	agent := filepath.Join(dir, "lvsfleet-agent")
	if err := build(ctx, root, agent, module+"/cmd/lvsfleet-agent", "-ldflags=-s -w -buildid="); err != nil {
		return err
	}
	program, err := os.ReadFile(agent)
	if err != nil {
		return err
	}
	p := remote.Platform{OS: "linux", Arch: "amd64"}
	manifest, err := json.Marshal(remote.MakeManifest(map[remote.Platform][]byte{p: program}))
	if err != nil {
		return err
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(program); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	// The compiler is shown these files in the payload's folder, where
	// somebody may have left others.
	replace := map[string]string{}
	for name, data := range map[string][]byte{remote.ManifestFile: manifest, remote.PayloadFile(p): packed.Bytes()} {
		at := filepath.Join(dir, name)
		if err := os.WriteFile(at, data, 0o644); err != nil {
			return err
		}
		replace[filepath.Join(root, "agent/remote/payload", name)] = at
	}
	for _, other := range remote.Platforms() {
		if at := filepath.Join(root, "agent/remote/payload", remote.PayloadFile(other)); other != p {
			if _, err := os.Stat(at); err == nil {
				replace[at] = ""
			}
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o644); err != nil {
		return err
	}
	if err := build(ctx, root, filepath.Join(dir, "lvsfleet"), module+"/cmd/lvsfleet", "-ldflags=-s -w", "-overlay", file); err != nil {
		return err
	}
	for _, name := range []string{"guest", "shell"} {
		if err := build(ctx, root, filepath.Join(dir, name), module+"/agent/lab/vm/"+name, "-ldflags=-s -w"); err != nil {
			return err
		}
	}
	for _, name := range Tests() {
		argv := []string{"test", "-c", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(dir, name+".test"), module + "/providers/" + name}
		if err := compile(ctx, root, argv); err != nil {
			return err
		}
	}
	return nil
}

// Tests are the packages below providers whose own tests run in the machine as
// well, each as the program NAME.test.
func Tests() []string { return []string{"ipvs", "verify"} }

func build(ctx context.Context, root, out, pkg string, flags ...string) error {
	argv := append([]string{"build", "-trimpath", "-buildvcs=false", "-o", out}, flags...)
	return compile(ctx, root, append(argv, pkg))
}

func compile(ctx context.Context, root string, argv []string) error {
	cmd := exec.CommandContext(ctx, "go", argv...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0", "GOFLAGS=")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", argv[len(argv)-1], err, text)
	}
	return nil
}
