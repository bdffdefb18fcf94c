package host

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// The kinds of operating system that lvsfleet knows.
const (
	Linux   = "linux"
	FreeBSD = "freebsd"
	Solaris = "solaris"
)

// An Identity is what a machine says of itself.
type Identity struct {
	OS      string `json:"os"`                // Linux, FreeBSD or Solaris
	Illumos bool   `json:"illumos,omitempty"` // SunOS that is illumos, not Oracle's
	Release string `json:"release"`           // `uname -r`: "2.6.15", "5.4-RELEASE", "5.10"
	Machine string `json:"machine"`           // `uname -m`: "x86_64", "amd64", "i86pc"
}

// Identify asks `uname`. SunOS is both Solaris and illumos: `uname -o`, which
// illumos has and Solaris has not, tells them apart; so does the version
// string ("illumos-..." or a distribution's, where Solaris says "Generic...",
// "11.4..." and the like).
func Identify(ctx context.Context, r Runner) (Identity, error) {
	argv := unameArgv()
	run := func() (Result, error) { return r.Run(ctx, Cmd{Argv: argv}) }
	if h, ok := r.(Host); ok {
		run = func() (Result, error) { return Query(ctx, h, argv...) }
	}
	res, err := run()
	if err != nil {
		return Identity{}, fmt.Errorf("identify system: %w", err)
	}
	// POSIX prints in the fixed order sysname, release, version, machine; the
	// version may itself hold spaces.
	f := strings.Fields(string(res.Stdout))
	if len(f) < 4 {
		return Identity{}, fmt.Errorf("identify system: uname printed %q", res.Stdout)
	}
	id := Identity{Release: f[1], Machine: f[len(f)-1]}
	version := strings.Join(f[2:len(f)-1], " ")
	switch f[0] {
	case "Linux":
		id.OS = Linux
	case "FreeBSD":
		id.OS = FreeBSD
	case "SunOS":
		id.OS = Solaris
		if id.Release == "5.11" {
			id.Illumos = !strings.HasPrefix(version, "11.") && !strings.HasPrefix(version, "Generic")
		}
	default:
		return Identity{}, fmt.Errorf("identify system: %q is not a system that lvsfleet manages (Linux, FreeBSD, Solaris, illumos)", f[0])
	}
	return id, nil
}

func unameArgv() []string { return []string{"uname", "-s", "-r", "-m", "-v"} }

// Version gives the leading numbers of a release: "5.4-RELEASE" is 5, 4, 0.
// What is not a number ends it.
func Version(release string) (major, minor, patch int) {
	var n [3]int
	rest := release
	for i := range n {
		end := 0
		for end < len(rest) && end < 9 && rest[end] >= '0' && rest[end] <= '9' {
			end++
		}
		if end == 0 {
			break
		}
		n[i], _ = strconv.Atoi(rest[:end])
		if end == len(rest) || rest[end] != '.' {
			break
		}
		rest = rest[end+1:]
	}
	return n[0], n[1], n[2]
}

// Older says whether release comes before major.minor.patch.
func Older(release string, major, minor, patch int) bool {
	a, b, c := Version(release)
	switch {
	case a != major:
		return a < major
	case b != minor:
		return b < minor
	}
	return c < patch
}
