// Package systemd plans units of lvsfleet's own on hosts that run systemd.
package systemd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// Folder is where an administrator's units lie (systemd.unit(5)).
const Folder = "/etc/systemd/system"

// reload has systemd read its units anew. A unit that changed without it comes
// up as the old one when it is started again.
var reload = []string{"systemctl", "daemon-reload"}

// Runs says whether systemd is what runs now (sd_booted(3)). Where its files
// alone are, another init may read none of them.
func Runs(ctx context.Context, h host.Reader) (bool, error) {
	entries, err := h.ReadDir(ctx, "/run/systemd")
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look whether systemd runs: %w", err)
	}
	return slices.ContainsFunc(entries, func(e host.Entry) bool { return e.Name == "system" }), nil
}

// Path is where a unit of ours lies.
func Path(unit string) string { return Folder + "/" + unit }

// Wants is the link that has unit started at boot, as `systemctl enable` makes
// it for WantedBy=multi-user.target.
func Wants(unit string) string { return Folder + "/multi-user.target.wants/" + unit }

// Unit are the boot steps of a unit of ours: the file, its being started at
// boot, and that it has not failed. Systemd reads it at once; it is started at
// the next boot. With again, one that failed is started again to mend it, which
// must do nothing where all holds; else the failure is only forgotten.
func Unit(unit string, edit step.Edit, again bool) []step.Step {
	notify := [][]string{reload}
	return []step.Step{
		&step.FileStep{Path: Path(unit), Edits: []step.Edit{edit}, Notify: notify},
		&step.LinkStep{Path: Wants(unit), Target: Path(unit), Notify: notify},
		unfailed{unit, again},
	}
}

// unfailed is that a unit has not failed at boot. That it is inactive, as
// between its making and the next boot, is no failure.
type unfailed struct {
	unit  string
	again bool
}

// ID is "unit:" and the unit.
func (u unfailed) ID() string { return "unit:" + u.unit }

// Check asks systemd. A machine on which nobody answers has no failed unit.
func (u unfailed) Check(ctx context.Context, h host.Host) (step.Change, error) {
	res, err := host.Query(ctx, h, "systemctl", "is-failed", u.unit)
	var exit *host.ExitError
	if err != nil && !errors.As(err, &exit) {
		return step.Change{}, fmt.Errorf("ask whether %s failed: %w", u.unit, err)
	}
	if state, _, _ := strings.Cut(string(res.Stdout), "\n"); err != nil || state != "failed" {
		return step.Change{}, nil //nolint:nilerr // is-failed exits 0 if it is so
	}
	last := "no line of its journal is left"
	res, err = host.Query(ctx, h, "journalctl", "--no-pager", "-q", "-o", "cat", "-n", "1", "-u", u.unit)
	if err != nil && !errors.As(err, &exit) {
		return step.Change{}, fmt.Errorf("read the journal of %s: %w", u.unit, err)
	}
	if line := strings.TrimSpace(string(res.Stdout)); err == nil && line != "" {
		last = line[strings.LastIndexByte(line, '\n')+1:]
	}
	argv := []string{"systemctl", "reset-failed", u.unit}
	if u.again {
		argv = []string{"systemctl", "start", u.unit}
	}
	return step.Change{
		Diff: step.LiveDiff("unit "+u.unit, "failed: "+last, "not failed"),
		Was:  "failed", Want: "not failed",
		Do: []step.Op{{Kind: step.Notify, Argv: argv}},
	}, nil
}
