package linux

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"strings"

	"github.com/lvsfleet/lvsfleet/providers/host"
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

// QuietAtBoot finds an ifcfg file that puts an IPv4 address other than the
// loopback's own on loopback or a tunnel; "" there is none.
func QuietAtBoot(ctx context.Context, h host.Reader) (string, error) {
	entries, err := h.ReadDir(ctx, strings.TrimSuffix(scripts, "/"))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("list %s: %w", scripts, err)
	}
	for _, e := range entries {
		name, ok := ifcfgName(e)
		if !ok {
			continue
		}
		f, err := h.ReadFile(ctx, scripts+e.Name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a link to nowhere
		}
		if err != nil {
			return "", fmt.Errorf("read %s: %w", scripts+e.Name, err)
		}
		vars := parseShell(f.Data)
		dev, _ := vars.get("DEVICE")
		if dev == "" {
			dev = name
		}
		if dev = parent(dev); dev != "lo" && !strings.HasPrefix(dev, "tunl") && !strings.HasPrefix(dev, "lvs") {
			continue
		}
		for _, v := range vars.vars {
			if !strings.HasPrefix(v.name, "IPADDR") && v.name != "MY_INNER_IPADDR" {
				continue
			}
			text, _, _ := strings.Cut(v.value, "/")
			if a, err := netip.ParseAddr(text); err == nil && a.Is4() && !a.IsLoopback() {
				return scripts + e.Name, nil
			}
		}
	}
	return "", nil
}
