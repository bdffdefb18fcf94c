package main

import (
	"errors"
	"fmt"
	"io"
)

// What a command's error means to the shell. Everything else is 1.
var (
	errDiffers    = errors.New("the fleet differs from the inventory")     // 2
	errBroken     = errors.New("the cluster is broken")                    // 2
	errRolledBack = errors.New("failed, and was rolled back")              // 3
	errIncomplete = errors.New("failed, and the rollback is not complete") // 4
	// errReported is an error that the user has been told of in full.
	errReported = errors.New("reported")
)

// exitStatus maps an error to the exit status, and tells of what has not been
// told yet.
func exitStatus(err error, w io.Writer) int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errDiffers), errors.Is(err, errBroken), errors.Is(err, errUnknownKeys), errors.Is(err, errUnformatted):
		return 2
	case errors.Is(err, errRolledBack):
		return 3
	case errors.Is(err, errIncomplete):
		return 4
	case !errors.Is(err, errReported):
		fmt.Fprintf(w, "lvsfleet: %s\n", hanging(err.Error(), 2))
	}
	return 1
}

const exitHelp = `
EXIT STATUS
`
