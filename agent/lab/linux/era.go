package linux

import (
	"github.com/lvsfleet/lvsfleet/agent/lab/ipvsadm"
	"github.com/lvsfleet/lvsfleet/providers/host"
)

// An era is a generation of kernel and tools.
type era int

// The eras, in order.
const (
	fc5     era = iota // 2.6.15: initscripts 8.31, procps 3.2, iproute 2.6.14
	el6                // 2.6.32: initscripts 9.03, procps 3.2
	el7                // 3.10: systemd 219, initscripts 9.49, procps-ng 3.3
	current            // 4.12 and later: kernels that explain their errors (extended netlink acknowledgements)
)

// eraOf chooses by what `uname -r` says.
func eraOf(release string) era {
	switch {
	case host.Older(release, 2, 6, 32):
		return fc5
	case host.Older(release, 3, 0, 0):
		return el6
	case host.Older(release, 4, 12, 0):
		return el7
	}
	return current
}

// ipvsadm is the version that the release ships.
func (e era) ipvsadm() ipvsadm.Version {
	switch e {
	case fc5:
		return ipvsadm.V124
	case el6:
		return ipvsadm.V126
	}
	return ipvsadm.V131
}

// systemd says whether the release boots by it.
func (e era) systemd() bool { return e >= el7 }
