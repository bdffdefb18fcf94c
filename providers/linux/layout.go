package linux

import (
	"strings"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/linux/persist"
	"github.com/lvsfleet/lvsfleet/providers/note"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// readLabels marks the labels that are taken, in files and live.
func (p *planner) readLabels() {
	p.labels, p.fileLabels = persist.Labels{}, persist.Labels{}
	for _, s := range p.f.Sources {
		for _, label := range s.Files.Labels() {
			p.labels.Take(label)
			p.fileLabels.Take(label)
		}
	}
	for _, a := range p.f.Addrs {
		if strings.Contains(a.Label, ":") {
			p.labels.Take(a.Label)
		}
	}
}

// layout finds a place for every VIP.
func (p *planner) layout() error {
	// The first VIP in a tunnel has the device's own label, unless a file has
	// that for another address.
	base := true
	native := p.f.native()
	if p.tunnelled() && native != nil {
		there, err := native.Prepare(tunnelDevice, p.out())
		if err != nil {
			return err
		}
		base = !there
	}
	for _, v := range p.d.VIPs {
		at := placement{addr: v.Addr, dev: "lo", real: true}
		if v.Method == inventory.TUN {
			at.dev = tunnelDevice
		}
		if v.Addr.Is6() && native != nil {
			p.vips = append(p.vips, at)
			continue
		}
		found, err := p.inFiles(&at)
		if err != nil {
			return err
		}
		if !found && v.Addr.Is4() {
			p.fromLive(&at)
			if at.dev == tunnelDevice && base {
				base, at.label = false, tunnelDevice
			}
			if err := p.fresh(&at); err != nil {
				return err
			}
		}
		p.vips = append(p.vips, at)
	}
	if p.d.Director == nil {
		return nil
	}
	for _, v := range p.d.Director.VIPs {
		if v.Own {
			continue
		}
		at := placement{addr: v.Addr, dev: v.Device}
		if v.Addr.Is4() {
			found, err := p.inFiles(&at)
			if err != nil {
				return err
			}
			if !found {
				p.fromLive(&at)
				if err := p.fresh(&at); err != nil {
					return err
				}
			}
		}
		p.dvips = append(p.dvips, at)
	}
	return nil
}

// inFiles looks for the VIP in the files that are there.
func (p *planner) inFiles(at *placement) (bool, error) {
	native := p.f.native()
	for _, s := range p.f.Sources {
		for _, a := range s.Files.Addresses() {
			switch {
			case a.Addr != at.addr:
			case a.Dev == at.dev:
				at.label = a.Label
				if at.real && s.Files != native {
					return true, p.keptAt(at, a.File, a.Bits, a.Lost)
				}
				return true, nil
			case persist.Quiet(a.Dev) && at.real && at.dev == "lo" && native == nil:
				at.dev, at.label = a.Dev, a.Label
				return true, p.keptAt(at, a.File, a.Bits, a.Lost)
			case persist.Quiet(a.Dev):
				p.note(note.FileHasVIP, a.File, at.addr)
			case at.real:
				return false, step.Refuse("remove that file: on a real server the address belongs on lo or tunl0",
					"%s puts the virtual address %s on %s, where it answers for the director", a.File, at.addr, a.Dev)
			default:
				return false, step.Refuse("remove it there, or name that interface in the virtual service",
					"%s puts the virtual address %s on %s, the inventory wants it on %s", a.File, at.addr, a.Dev, at.dev)
			}
		}
	}
	return false, nil
}

// fromLive takes the label that the VIP has now, if no file has it for another
// address: ifup-aliases flushes a label that changes.
func (p *planner) fromLive(at *placement) {
	for _, a := range p.f.Addrs {
		if a.Dev != at.dev || a.Prefix.Addr() != at.addr || !aliasLabel(a.Label) {
			continue
		}
		if !p.fileLabels[a.Label] {
			at.label = a.Label
			return
		}
	}
}

// aliasLabel says whether initscripts would take the label: letters, digits
// and "_" behind the colon.
func aliasLabel(label string) bool {
	_, n, ok := strings.Cut(label, ":")
	return ok && n != "" && strings.IndexFunc(n, func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) < 0
}

// fresh gives what has no place yet the first free number.
func (p *planner) fresh(at *placement) error {
	if at.label == "" {
		at.label = p.labels.Free(at.dev)
	}
	if len(at.label) > 15 { // IFNAMSIZ less the end
		return step.Refuse("give the interface a shorter name, or set vip = \"foreign\"",
			"the label %s for %s is longer than the kernel takes", at.label, at.addr)
	}
	return nil
}
