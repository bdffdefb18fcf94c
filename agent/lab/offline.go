package lab

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
)

// Preview is Offline, but that a card which the base says nothing of has its
// own addresses all the same: a part of /etc is no host without a network.
func Preview(h inventory.Host, base map[string]host.File) (*sim.Machine, error) {
	m := Offline(h, base)
	for _, i := range h.Interfaces {
		bare := false
		m.Locked(func() {
			l := m.Net.Link(i.Device)
			bare = l == nil || len(l.Addrs) == 0
		})
		if !bare {
			continue
		}
		for _, argv := range ownCommands(h.OS, i) {
			if _, err := m.Run(context.Background(), host.Cmd{Argv: argv}); err != nil {
				return nil, fmt.Errorf("give %s its own addresses: %w", i.Device, err)
			}
		}
	}
	return m, nil
}

// ownCommands give an interface its addresses, as its system's boot would.
func ownCommands(os inventory.OS, i inventory.Interface) [][]string {
	var list [][]string
	switch os {
	case inventory.Linux:
		list = append(list, []string{"ip", "link", "set", i.Device, "up"})
		for _, p := range i.Addresses {
			list = append(list, []string{"ip", "addr", "add", p.String(), "dev", i.Device})
		}
	case inventory.FreeBSD:
		for _, p := range i.Addresses {
			if p.Addr().Is6() {
				list = append(list,
					[]string{"ifconfig", i.Device, "inet6", "-ifdisabled"},
					[]string{"ifconfig", i.Device, "inet6", p.Addr().String(), "prefixlen", strconv.Itoa(p.Bits()), "alias"})
				continue
			}
			list = append(list, []string{"ifconfig", i.Device, "inet", p.Addr().String(), "netmask", dotted(p), "alias"})
		}
	case inventory.Solaris:
		list = append(list, []string{"ifconfig", i.Device, "plumb"})
		name := i.Device
		for _, p := range i.Addresses {
			if p.Addr().Is6() {
				continue // no service has one there
			}
			list = append(list, []string{"ifconfig", name, p.Addr().String(), "netmask", dotted(p), "up"})
			name = i.Device + ":" + strconv.Itoa(len(list)-1)
			list = append(list, []string{"ifconfig", name, "plumb"})
		}
		list = list[:len(list)-1] // the last one plumbed is one too many
	}
	return list
}

func dotted(p netip.Prefix) string { return net.IP(net.CIDRMask(p.Bits(), 32)).String() }
