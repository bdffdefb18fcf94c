package host

import (
	"bytes"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// answer gives what a command prints that asks the kernel one thing, without
// starting it: a check asks many such things, and starting a program costs more
// than all else that it does. ok is false for every other command, and where
// the kernel does not answer: the program then says why.
func answer(cmd Cmd) (out []byte, ok bool) {
	switch {
	case cmd.Stdin != nil:
		return nil, false
	case slices.Equal(cmd.Argv, unameArgv()):
		return uname()
	case len(cmd.Argv) == 3 && cmd.Argv[0] == "sysctl" && cmd.Argv[1] == "-n":
		return sysctl(cmd.Argv[2])
	}
	return nil, false
}

// uname prints in the order of uname(1).
func uname() ([]byte, bool) {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return nil, false
	}
	var words []string
	for _, w := range [][]byte{u.Sysname[:], u.Release[:], u.Version[:], u.Machine[:]} {
		words = append(words, unix.ByteSliceToString(w))
	}
	return []byte(strings.Join(words, " ") + "\n"), true
}

// sysctl reads a setting of one line.
func sysctl(key string) ([]byte, bool) {
	key = sysctlPath(key)
	for part := range strings.SplitSeq(key, "/") {
		if strings.Trim(part, ".") == "" {
			return nil, false
		}
	}
	value, err := os.ReadFile("/proc/sys/" + key)
	if err != nil || bytes.IndexByte(value, '\n') != len(value)-1 {
		return nil, false
	}
	return value, true
}

// sysctlPath is a setting's file. The parts of its name are separated by the
// first separator in it, "." or "/"; the other one stands for a "." in a part
// (sysctl(8)).
func sysctlPath(key string) string {
	if i := strings.IndexAny(key, "./"); i < 0 || key[i] == '/' {
		return key
	}
	return strings.NewReplacer(".", "/", "/", ".").Replace(key)
}
