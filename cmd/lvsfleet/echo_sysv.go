//go:build linux || solaris

package main

import "golang.org/x/sys/unix"

// termios(3), termio(7I): TCSETSF discards what was typed and not read yet.
const (
	getModes      = unix.TCGETS
	setModes      = unix.TCSETS
	setModesFlush = unix.TCSETSF
)
