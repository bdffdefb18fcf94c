package ipvs

import (
	"github.com/lvsfleet/lvsfleet/providers/host"
)

// Open gives the table of h: its own where it has one to offer, the kernel's
// over netlink where h is this Linux machine, else through ipvsadm by argv.
func Open(h host.Host) (Table, error) {
	if o, ok := host.As[Opener](h); ok {
		return o.IPVS()
	}
	if t := local(h); t != nil {
		return t, nil
	}
	return NewTool(h), nil
}
