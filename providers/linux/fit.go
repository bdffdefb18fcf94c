package linux

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// Unfit is what keeps a machine from being what is wanted with our own unit;
// each says why, "" nothing does.
type Unfit struct {
	Etc  string // nothing that is written to /etc would be there at the next boot
	IPIP string // the tunnel device cannot be had
	IPv6 string // the loopback takes no IPv6 address
}

// unfit looks what of that there is, as far as d needs it.
func (g *gatherer) unfit(d inventory.Desired, links []Link) (u Unfit, err error) {
	u.Etc = etc(string(g.read("/proc/mounts")), g.folder("/run", "ostree-booted"))
	if g.err != nil {
		return Unfit{}, g.err
	}
	var exit *host.ExitError
	tunnels := len(d.Tunnels) > 0 || slices.ContainsFunc(d.VIPs, func(v inventory.VIP) bool { return v.Method == inventory.TUN })
	if tunnels && !slices.ContainsFunc(links, func(l Link) bool { return l.Name == tunnelDevice }) {
		_, err := host.Query(g.ctx, g.h, "modprobe", "-n", "-q", "ipip")
		switch {
		case errors.As(err, &exit):
			u.IPIP = "the kernel module ipip is not to be had here"
		case err != nil:
			return Unfit{}, fmt.Errorf("look for the module ipip: %w", err)
		}
	}
	if slices.ContainsFunc(d.VIPs, func(v inventory.VIP) bool { return v.Addr.Is6() }) {
		off, err := readSysctl(g.ctx, g.h, "net.ipv6.conf.lo.disable_ipv6")
		switch {
		case errors.As(err, &exit):
			u.IPv6 = "this kernel has no IPv6"
		case err != nil:
			return Unfit{}, err
		case off != "0":
			u.IPv6 = "IPv6 is off on the loopback (net.ipv6.conf.lo.disable_ipv6)"
		}
	}
	return u, nil
}

// etc reads /proc/mounts for what becomes of /etc.
func etc(mounts string, ostree bool) string {
	if ostree {
		return "the system is an ostree deployment"
	}
	for line := range strings.Lines(mounts) {
		w := strings.Fields(line)
		if len(w) < 4 || w[1] != "/etc" && w[1] != "/" {
			continue
		}
		switch {
		case w[1] == "/etc" && (w[2] == "overlay" || w[2] == "tmpfs"):
			return "/etc is a file system of its own, of type " + w[2]
		case slices.Contains(strings.Split(w[3], ","), "ro") && (w[1] == "/etc" || !strings.Contains(mounts, " /etc ")):
			return w[1] + " is mounted read-only"
		}
	}
	return ""
}

// fits refuses a machine that the unit is no use on.
func (p *planner) fits() error {
	u := p.f.Unfit
	switch {
	case u.Etc != "":
		return step.Refuse(`network = "none" in the host's block makes live settings only`,
			"what is written to /etc here is not to be relied on at the next boot: %s", u.Etc)
	case u.IPIP != "" && (p.tunnelled() || len(p.d.Tunnels) > 0):
		return step.Refuse("use dr for it; in a container the module is the host's to load", "there can be no tunnel: %s", u.IPIP)
	case u.IPv6 != "":
		return step.Refuse("switch it on there, or leave the IPv6 service to other real servers", "no IPv6 virtual address can be had: %s", u.IPv6)
	}
	return nil
}
