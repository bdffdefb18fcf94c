package journal

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/lvsfleet/lvsfleet/providers/host"
)

// bootFile is the mark of this boot: a file with a random word, which every
// system removes when it boots.
const bootFile = host.RunDir + "/boot"

// BootMark reads the mark of this boot; "" where none has been made.
func BootMark(ctx context.Context, h host.Reader) (string, error) {
	f, err := h.ReadFile(ctx, bootFile)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the mark of this boot: %w", err)
	}
	mark, whole := strings.CutSuffix(string(f.Data), "\n")
	if !whole || len(mark) != markLen {
		return "", nil // torn: no journal names it
	}
	return mark, nil
}

const markLen = 32

// MarkBoot reads the mark of this boot, or makes it. The lease is held.
func MarkBoot(ctx context.Context, h host.Host) (string, error) {
	mark, err := BootMark(ctx, h)
	if err != nil || mark != "" {
		return mark, err
	}
	if err := mkdir(ctx, h, host.RunDir); err != nil {
		return "", fmt.Errorf("make %s: %w", host.RunDir, err)
	}
	var b [markLen / 2]byte
	_, _ = rand.Read(b[:]) // never fails, by its documentation
	mark = hex.EncodeToString(b[:])
	if err := host.Replace(ctx, h, bootFile, host.File{Mode: 0o600, Data: []byte(mark + "\n")}); err != nil {
		return "", fmt.Errorf("mark this boot: %w", err)
	}
	return mark, nil
}
