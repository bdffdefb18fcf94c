package linux

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/step"
	"github.com/lvsfleet/lvsfleet/templates"
)

// Modules are the kernel modules that d needs, in the order to load them:
// ip_vs and a module for each scheduler (net/netfilter/ipvs/ip_vs_NAME.c), and
// ipip where packets arrive wrapped, or a plain tunnel ends. A director needs no ipip: IPVS wraps by
// itself.
func Modules(d inventory.Desired) []string {
	var list []string
	if d.Director != nil && len(d.Director.Schedulers) > 0 {
		list = append(list, "ip_vs")
		for _, s := range d.Director.Schedulers {
			list = append(list, "ip_vs_"+s)
		}
	}
	wrapped := func(v inventory.VIP) bool { return v.Method == inventory.TUN }
	if slices.ContainsFunc(d.VIPs, wrapped) || len(d.Tunnels) > 0 {
		list = append(list, "ipip")
	}
	return list
}

// module is the live step that loads name. What is loaded stays: an undo would
// take it from whoever else has come to use it.
func module(name, release string) step.Step {
	return step.Func{Name: "module:" + name, Probe: func(ctx context.Context, h host.Host) (step.Change, error) {
		loaded, err := hasModule(ctx, h, name, release)
		if err != nil || loaded {
			return step.Change{}, err
		}
		return step.Change{
			Diff: step.LiveDiff("module "+name, "", "loaded"),
			Want: "loaded",
			Do:   []step.Op{{Kind: step.Run, Argv: []string{"modprobe", name}}},

			Effects: []step.Effect{step.Gain(step.Support, netip.Addr{})},
		}, nil
	}}
}

// hasModule says whether the module is loaded or built in. modules.builtin
// came with Linux 2.6.33; before, what is built in shows by what it makes in
// /proc, or is found by modprobe.
func hasModule(ctx context.Context, h host.Host, name, release string) (bool, error) {
	f, err := h.ReadFile(ctx, "/proc/modules")
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // a kernel without modules has no such file
		return false, fmt.Errorf("read /proc/modules: %w", err)
	}
	for line := range strings.Lines(string(f.Data)) {
		if first, _, _ := strings.Cut(line, " "); first == name {
			return true, nil
		}
	}
	path := "/lib/modules/" + release + "/modules.builtin"
	f, err = h.ReadFile(ctx, path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read %s: %w", path, err)
	}
	for line := range strings.Lines(string(f.Data)) {
		base := line[strings.LastIndexByte(line, '/')+1:]
		if strings.TrimSuffix(strings.TrimSpace(base), ".ko") == name {
			return true, nil
		}
	}
	return false, nil
}

// bootModules adds the file that has the modules loaded at boot, before the
// settings that need them: /etc/modules-load.d (systemd-modules-load runs
// before systemd-sysctl) or, before systemd, an executable script that
// rc.sysinit runs. What is in the file stays: a part of a plan must not take
// away what another part needs.
func (p *planner) bootModules() {
	names := Modules(p.d)
	if len(names) == 0 {
		return
	}
	s := &step.FileStep{Path: "/etc/modules-load.d/lvsfleet.conf"}
	template, verb := "linux/modules-load.tmpl", ""
	if !p.f.ModulesD {
		s = &step.FileStep{Path: "/etc/sysconfig/modules/lvsfleet.modules", Mode: 0o755}
		template, verb = "linux/modules.tmpl", "modprobe "
	}
	s.Edits = []step.Edit{func(old []byte) ([]byte, error) {
		if old == nil {
			var list []templates.Values
			for _, name := range names {
				list = append(list, templates.Values{"Name": name})
			}
			return templates.Render(template, nil, list...)
		}
		for _, name := range names {
			old = addLine(old, verb+name)
		}
		return old, nil
	}}
	p.addBoot(s)
}

// addLine adds a line at the end of text, unless it is there.
func addLine(text []byte, line string) []byte {
	for l := range strings.Lines(string(text)) {
		if strings.TrimSpace(l) == line {
			return text
		}
	}
	if len(text) > 0 && text[len(text)-1] != '\n' {
		text = append(text, '\n')
	}
	return append(text, line+"\n"...)
}
