package linux

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/linux/persist"
	"github.com/lvsfleet/lvsfleet/providers/linux/persist/ifcfg"
	"github.com/lvsfleet/lvsfleet/providers/linux/systemd"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// silences says whether the kernel setting keeps addresses from being answered
// for.
func silences(s fileSetting) bool {
	return s.value != "0" && (strings.HasSuffix(s.key, "arp_ignore") || strings.HasSuffix(s.key, "arp_announce"))
}

// Silences says whether a file of kernel settings silences anything.
func Silences(text []byte) bool {
	for _, s := range parseSysctl(text) {
		if silences(s) {
			return true
		}
	}
	return false
}

// KeepSilence keeps what a file of kernel settings, as it was written, silences;
// of one that was not there before, its remarks too.
func KeepSilence(wrote []byte) step.Edit {
	return func(old []byte) ([]byte, error) {
		if old == nil {
			for line := range bytes.Lines(wrote) {
				if list := parseSysctl(line); len(list) == 0 || silences(list[0]) {
					old = append(old, line...)
				}
			}
			return old, nil
		}
		for _, s := range parseSysctl(wrote) {
			if silences(s) {
				old = addSysctl(old, s.key, s.value)
			}
		}
		return old, nil
	}
}

// QuietAtBoot finds a file that puts an IPv4 address other than the loopback's
// own on loopback or a tunnel at boot, whichever dialect it is of; "" there is
// none.
func QuietAtBoot(ctx context.Context, h host.Host) (string, error) {
	if at, err := ifcfg.Quiet(ctx, h); at != "" || err != nil {
		return at, err
	}
	for _, e := range Dialects() {
		files, err := e.Read(ctx, h, persist.Machine{})
		if err != nil {
			return "", fmt.Errorf("read the files of %s: %w", e.Name(), err)
		}
		for _, a := range files.Addresses() {
			if persist.Quiet(a.Dev) && a.Addr.Is4() && !a.Addr.IsLoopback() {
				return a.File, nil
			}
		}
	}
	f, err := h.ReadFile(ctx, systemd.Path(Unit))
	switch {
	case err == nil && strings.Contains(string(f.Data), "address replace "):
		return systemd.Path(Unit), nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("read %s: %w", systemd.Path(Unit), err)
	}
	return "", nil
}

// OwnFiles names the files that give a host its own addresses at boot: those
// of its interfaces, and what they have in common.
func OwnFiles(d inventory.Desired) []string {
	var devs []string
	for _, i := range d.Interfaces {
		devs = append(devs, i.Device)
	}
	return ifcfg.OwnFiles(devs)
}
