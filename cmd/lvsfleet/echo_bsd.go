//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package main

import "golang.org/x/sys/unix"

// termios(4): TIOCSETAF discards what was typed and not read yet.
const (
	getModes      = unix.TIOCGETA
	setModes      = unix.TIOCSETA
	setModesFlush = unix.TIOCSETAF
)
