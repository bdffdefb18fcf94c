// Command dist builds the agents for every platform and leaves them,
// compressed, where the next build of lvsfleet finds them (agent/remote/payload).
//
//	go run ./agent/remote/internal/dist [-dir agent/remote/payload]
package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/lvsfleet/lvsfleet/agent/remote"
)

// maxSize bounds an agent, in bytes.
const maxSize = 7_500_000

func main() {
	dir := flag.String("dir", "agent/remote/payload", "folder to leave the agents in")
	flag.Parse()
	if err := dist(*dir); err != nil {
		fmt.Fprintln(os.Stderr, "dist:", err)
		os.Exit(1)
	}
}

func dist(dir string) error {
	tmp, err := os.MkdirTemp("", "lvsfleet-dist-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	programs := map[remote.Platform][]byte{}
	for _, p := range remote.Platforms() {
		out := filepath.Join(tmp, p.OS+"-"+p.Arch)
		program, err := build(p, out)
		if err != nil {
			return err
		}
		if len(program) > maxSize {
			return fmt.Errorf("agent for %s: %d bytes are more than %d", p, len(program), maxSize)
		}
		programs[p] = program
		packed, err := pack(program)
		if err != nil {
			return fmt.Errorf("compress the agent for %s: %w", p, err)
		}
		fmt.Printf("%-14s %8d bytes, %8d compressed\n", p, len(program), len(packed))
		if err := os.WriteFile(filepath.Join(dir, remote.PayloadFile(p)), packed, 0o644); err != nil {
			return err
		}
	}
	m := remote.MakeManifest(programs)
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	fmt.Println("build", m.Hash)
	return os.WriteFile(filepath.Join(dir, remote.ManifestFile), append(text, '\n'), 0o644)
}

// build builds one agent, the same from the same source wherever it is built.
func build(p remote.Platform, out string) ([]byte, error) {
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", out,
		"github.com/lvsfleet/lvsfleet/cmd/lvsfleet-agent")
	cmd.Env = append(os.Environ(), "GOOS="+p.OS, "GOARCH="+p.Arch, "CGO_ENABLED=0", "GOFLAGS=")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("build the agent for %s: %w", p, err)
	}
	return os.ReadFile(out)
}

func pack(program []byte) ([]byte, error) {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := z.Write(program); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
