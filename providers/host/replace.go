package host

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"path"
	"strings"
)

// The temporary files of lvsfleet are named so that no system's boot scripts
// pick them up: Solaris plumbs hostname.*[0-9], Red Hat reads ifcfg-*, sysctl
// reads *.conf.
const (
	tempPrefix = ".lvsfleet-"
	tempSuffix = ".tmp"
)

// TempName gives a fresh temporary name in the folder of target.
func TempName(target string) string {
	var b [4]byte
	if _, err := rand.Read(b[:]); err != nil {
		panic(err) // crypto/rand never fails on the systems that Go runs on
	}
	return path.Join(path.Dir(target), tempPrefix+hex.EncodeToString(b[:])+tempSuffix)
}

// IsTemp says whether the file name (without folder) is one of TempName's.
func IsTemp(name string) bool {
	mid, ok := strings.CutPrefix(name, tempPrefix)
	if !ok {
		return false
	}
	mid, ok = strings.CutSuffix(mid, tempSuffix)
	if !ok || len(mid) != 8 {
		return false
	}
	_, err := hex.DecodeString(mid)
	return err == nil
}

// Replace puts f at target in one atomic step, or leaves target as it was.
func Replace(ctx context.Context, w Writer, target string, f File) error {
	tmp := TempName(target)
	if err := w.Write(ctx, tmp, f); err != nil {
		return fmt.Errorf("replace %s: %w", target, err)
	}
	if err := w.Rename(ctx, tmp, target); err != nil {
		_ = w.Remove(context.WithoutCancel(ctx), tmp)
		return fmt.Errorf("replace %s: %w", target, err)
	}
	return nil
}
