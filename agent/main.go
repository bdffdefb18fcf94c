package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/lvsfleet/lvsfleet/providers/host"
)

// BinaryPrefix begins the base name of every agent on a host; the hash of its
// build follows.
const BinaryPrefix = "lvsfleet-agent-"

// newPrefix begins the base name of an agent that has just been written and is
// not verified yet.
const newPrefix = BinaryPrefix + "new-"

// BinaryDir is the folder of the agents in a state folder.
func BinaryDir(stateDir string) string { return path.Join(stateDir, "agent") }

// BinaryPath is where the agent of the build hash lies on a host. All
// platforms' agents of one build have one hash, so that it can be called
// without knowing the platform.
func BinaryPath(stateDir, hash string) string {
	return path.Join(BinaryDir(stateDir), BinaryPrefix+hash)
}

// NewBinaryPath is where an agent is written before it is verified; random is
// a word of the caller's.
func NewBinaryPath(stateDir, random string) string {
	return path.Join(BinaryDir(stateDir), newPrefix+random)
}

// The ways to call an agent: AGENT serve; of one that has just been written,
// AGENT install SHA256 PATH, which verifies that its own file has that hash,
// moves it to PATH and then serves; and AGENT guard DUTY (RunGuard).
const (
	argServe   = "serve"
	argInstall = "install"
)

// ServeArgs is the argv that starts the agent at path.
func ServeArgs(path string) []string { return []string{path, argServe} }

// InstallArgs is the argv that installs the agent at tmp, whose content has
// that SHA-256, as final, and starts it.
func InstallArgs(tmp string, sum [sha256.Size]byte, final string) []string {
	return []string{tmp, argInstall, hex.EncodeToString(sum[:]), final}
}

// Main is the agent as a program: argv[0] is the path that it was called by,
// which names its build. It returns the exit status.
func Main(ctx context.Context, h host.Host, argv []string, in io.Reader, out, diag io.Writer) int {
	if err := run(ctx, h, argv, in, out); err != nil {
		fmt.Fprintf(diag, "lvsfleet-agent: %v\n", err)
		return 1
	}
	return 0
}

func run(ctx context.Context, h host.Host, argv []string, in io.Reader, out io.Writer) error {
	switch {
	case len(argv) == 2 && argv[1] == argServe:
		return Server{Host: h, Build: buildIn(argv[0]), Guard: GuardArgs(argv[0], false)}.Serve(ctx, in, out)
	case len(argv) == 3 && argv[1] == argGuard:
		return RunGuard(ctx, h, argv[2])
	case len(argv) == 4 && argv[1] == argInstall:
		if err := install(ctx, h, argv[0], argv[2], argv[3]); err != nil {
			return err
		}
		return Server{Host: h, Build: buildIn(argv[3]), Guard: GuardArgs(argv[3], false)}.Serve(ctx, in, out)
	}
	return fmt.Errorf("usage: %s%s | %s%sRANDOM %s SHA256 PATH | %s%s", BinaryPrefix, "HASH "+argServe,
		BinaryPrefix, "new-", argInstall, BinaryPrefix, "HASH "+argGuard+" DUTY")
}

// buildIn is the hash in the name of an agent; "" where it has another name.
func buildIn(file string) string {
	build, ok := strings.CutPrefix(path.Base(file), BinaryPrefix)
	if !ok {
		return ""
	}
	return build
}

// install verifies the file at tmp and moves it to final. One that is not what
// was sent is removed.
func install(ctx context.Context, h host.Host, tmp, sum, final string) error {
	if !strings.HasPrefix(path.Base(tmp), newPrefix) || path.Dir(tmp) != path.Dir(final) || buildIn(final) == "" {
		return fmt.Errorf("install %s as %s: these are not an agent's names", tmp, final)
	}
	f, err := h.ReadFile(ctx, tmp)
	if err != nil {
		return fmt.Errorf("verify the new agent: %w", err)
	}
	if got := sha256.Sum256(f.Data); hex.EncodeToString(got[:]) != sum {
		_ = h.Remove(ctx, tmp)
		return fmt.Errorf("verify the new agent: %s is not what was sent", tmp)
	}
	if err := h.Rename(ctx, tmp, final); err != nil {
		return fmt.Errorf("install the new agent: %w", err)
	}
	keepFew(ctx, h, final)
	return nil
}

// keptAgents is how many agents a host keeps: the newest, and those of other
// builds that controllers may still use side by side with it (a watcher of an
// older build, say), which would else push theirs at each turn.
const keptAgents = 3

// installedName is the file, beside agents of several builds, that names them
// in the order in which they came, a line each.
const installedName = "installed"

// keepFew removes the agents that came longest before the one at final: a
// controller that still wants one pushes it again, and is then the last to have
// come. What is being written by somebody else stays. The agent is installed,
// which is what was asked: whatever fails here is left.
func keepFew(ctx context.Context, h host.Host, final string) {
	dir := path.Dir(final)
	entries, err := h.ReadDir(ctx, dir)
	if err != nil {
		return
	}
	came := map[string]int{} // its line; 0: before all that are named
	list := path.Join(dir, installedName)
	f, err := h.ReadFile(ctx, list)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return
	}
	for line := range strings.Lines(string(f.Data)) {
		came[strings.TrimSpace(line)] = len(came) + 1
	}
	var others []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name, BinaryPrefix) && !strings.HasPrefix(e.Name, newPrefix) && e.Name != path.Base(final) {
			others = append(others, e.Name)
		}
	}
	if len(others) == 0 {
		return
	}
	slices.SortStableFunc(others, func(a, b string) int { return came[a] - came[b] })
	gone := max(0, len(others)+1-keptAgents)
	for _, name := range others[:gone] {
		_ = h.Remove(ctx, path.Join(dir, name))
	}
	text := strings.Join(append(others[gone:], path.Base(final)), "\n") + "\n"
	_ = host.Replace(ctx, h, list, host.File{Mode: 0o600, Data: []byte(text)})
}
