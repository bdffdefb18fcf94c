package linux

import (
	"context"
	"errors"
	"net/netip"
	"strings"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/note"
	"github.com/lvsfleet/lvsfleet/providers/step"
	"github.com/lvsfleet/lvsfleet/templates"
)

// sysctlFile is read after every other file of its kind: systemd-sysctl goes
// by file name, and 99-sysctl.conf, a link to /etc/sysctl.conf on many
// systems, would win over a 99-lvsfleet.conf.
const sysctlFile = "/etc/sysctl.d/99-zz-lvsfleet.conf"

// A setting is one kernel setting, live and for the next boot.
type setting struct {
	Key, Value string
	live       step.Step // nil: another step sees to it
}

// confKey names a per-device setting. A device with a dot in its name needs
// slashes between the parts (sysctl(8), sysctl.d(5)).
func confKey(family, dev, name string) string {
	parts := []string{"net", family, "conf", dev, name}
	if strings.Contains(dev, ".") {
		return strings.Join(parts, "/")
	}
	return strings.Join(parts, ".")
}

// settings are the kernel settings in their order; a key comes once.
func (p *planner) settings() []setting {
	var list []setting
	seen := map[string]bool{}
	add := func(s setting) {
		if !seen[s.Key] {
			seen[s.Key] = true
			list = append(list, s)
		}
	}
	onOff := map[bool]string{false: "0", true: "1"}
	if v := p.d.IPForward4; v != nil {
		add(setting{Key: "net.ipv4.ip_forward", Value: onOff[*v]})
	}
	if v := p.d.IPForward6; v != nil {
		add(setting{Key: "net.ipv6.conf.all.forwarding", Value: onOff[*v]})
	}
	// Of arp_ignore and arp_announce the larger of `all` and the device
	// counts, the device being the one that hears the question, never lo.
	for _, v := range p.d.VIPs {
		if v.Addr.Is6() || v.Method != inventory.DR && !v.OnLAN {
			continue // neighbour discovery answers for the receiving device's addresses alone
		}
		for _, dev := range []string{"all", v.Device} {
			for _, kv := range [][2]string{{"arp_ignore", "1"}, {"arp_announce", "2"}} {
				key := confKey("ipv4", dev, kv[0])
				add(setting{key, kv[1], silence(key, kv[1])})
			}
		}
	}
	if p.tunnelled() {
		key := confKey("ipv4", tunnelDevice, "rp_filter")
		// Loose mode passes whatever `all` says; before it existed, off.
		value := "2"
		if oldReversePath(p.f.Release) {
			value = "0"
		}
		add(setting{key, value, newDeviceSysctl(key, value, confKey("ipv4", "default", "rp_filter"))})
	}
	if dir := p.d.Director; dir != nil && len(dir.OneArmed) > 0 {
		for _, dev := range append([]string{"all"}, dir.OneArmed...) {
			key := confKey("ipv4", dev, "send_redirects")
			add(setting{key, "0", step.Sysctl{Key: key, Value: "0"}})
		}
	}
	return list
}

// bootSettings adds the files. Where /etc/sysctl.d is read, ours is complete
// by itself; what /etc/sysctl.conf assigns as well is changed there, so that
// no two files say different things. What is in ours already stays: silence
// must outlast the last VIP, and a part of a plan must not take away what
// another part needs.
func (p *planner) bootSettings() {
	list := p.settings()
	if len(list) == 0 {
		return
	}
	sysctlD := p.f.SysctlD
	p.out().Edit("/etc/sysctl.conf", func(old []byte) ([]byte, error) {
		for _, s := range list {
			if !sysctlD {
				old = addSysctl(old, s.Key, s.Value)
			} else {
				old, _ = setSysctl(old, s.Key, s.Value)
			}
		}
		return old, nil
	})
	if sysctlD {
		p.out().Edit(sysctlFile, func(old []byte) ([]byte, error) {
			if old == nil {
				var values []templates.Values
				for _, s := range list {
					values = append(values, templates.Values{"Key": s.Key, "Value": s.Value})
				}
				return templates.Render("linux/sysctl.conf.tmpl", nil, values...)
			}
			for _, s := range list {
				old = addSysctl(old, s.Key, s.Value)
			}
			return old, nil
		})
	}
	for _, s := range list {
		for _, l := range p.f.Later {
			if canonicalKey(l.Key) == canonicalKey(s.Key) && l.Value != s.Value {
				p.note(note.SettingWins, l.File, l.Key, l.Value)
			}
		}
	}
}

// silence is a live setting that keeps a VIP from being answered for. Its undo
// waits until no address but the loopback's own is left on loopback and
// tunnels: whoever lifted it before would let two machines answer.
func silence(key, value string) step.Step {
	return step.Func{Name: "sysctl:" + key, Probe: func(ctx context.Context, h host.Host) (step.Change, error) {
		c, err := step.Sysctl{Key: key, Value: value, Kind: step.ARPSuppression}.Check(ctx, h)
		for i := range c.Undo {
			c.Undo[i].If = append(c.Undo[i].If, step.Cond{Argv: addrShow4, Match: strayAddress, Not: true, Guard: true})
		}
		return c, err
	}}
}

// strayAddress matches a line of `ip -o -4 addr show` with an address other
// than 127/8 on loopback, a tunnel or a dummy.
const strayAddress = `^[0-9]+: (lo|tunl[^ ]*|lvs[^ ]*|dummy[^ ]*)[[:space:]]+inet ([^1]|1[^2]|12[^7]|127[^.])`

// newDeviceSysctl is a live setting of a device that an earlier step may have
// to bring first. A device that is new has what `default` had. It is set
// whatever is there: taken back, and wanted again after a boot, it is asked for
// while the device is still to come.
func newDeviceSysctl(key, value, fallback string) step.Step {
	return step.Func{Name: "sysctl:" + key, Probe: func(ctx context.Context, h host.Host) (step.Change, error) {
		so := step.SysctlIs(key, value)
		c, err := step.Sysctl{Key: key, Value: value}.Check(ctx, h)
		if err == nil && !c.Holds() {
			c.Do[0].If = []step.Cond{so.Negate()}
		}
		var exit *host.ExitError
		if !errors.As(err, &exit) {
			return c, err
		}
		was, err := readSysctl(ctx, h, fallback)
		if err != nil {
			return step.Change{}, err
		}
		c = step.Change{
			Diff: step.LiveDiff("sysctl "+key, "", value),
			Was:  was, Want: value,
			Do:      []step.Op{{Kind: step.Run, Argv: sysctlSet(key, value), If: []step.Cond{so.Negate()}}},
			Effects: []step.Effect{step.Alter(step.Support, netip.Addr{})},
		}
		if was != value {
			c.Undo = []step.Op{{Kind: step.Run, Argv: sysctlSet(key, was), If: []step.Cond{so}}}
		}
		return c, nil
	}}
}

func sysctlSet(key, value string) []string { return []string{"sysctl", "-w", key + "=" + value} }
