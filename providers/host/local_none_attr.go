//go:build !linux && !freebsd

package host

import "io/fs"

// flagged is false: this system has no such flags, or tells them otherwise.
func flagged(string, fs.FileInfo, bool) (what, cure string, found bool) { return "", "", false }

// mounted is false: what is mounted over a file is told by its device number.
func mounted(string) bool { return false }

// keepAttributes keeps none: this system's ACLs have calls of their own.
func keepAttributes(_, _ string) error { return nil }
