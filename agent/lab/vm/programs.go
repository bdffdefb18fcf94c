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
// the agent of linux/amd64 and no other, and package guest and package shell. The tree at root is
// left as it is.
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
	return nil
}

func build(ctx context.Context, root, out, pkg string, flags ...string) error {
	argv := append([]string{"build", "-trimpath", "-buildvcs=false", "-o", out}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(argv, pkg)...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0", "GOFLAGS=")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", pkg, err, text)
	}
	return nil
}
