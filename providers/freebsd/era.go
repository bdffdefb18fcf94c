package freebsd

import "github.com/lvsfleet/lvsfleet/providers/host"

// An era is a way in which the boot scripts (rc.d/netif, network.subr) read
// rc.conf. What is known of each was seen in the tree of February 2006, that
// of May 2014, and 13.2; releases between count as the one that promises less.
type era int

const (
	era6  era = iota // up to 6
	era10            // 7 to 12
	era13            // from 13 on
)

func eraOf(release string) era {
	switch major, _, _ := host.Version(release); {
	case major == 0, major >= 13:
		return era13
	case major >= 7:
		return era10
	}
	return era6
}

// modernIPv6 says whether rc.conf has ifconfig_IF_ipv6 (rc.conf(5), from 9.0
// on). Before, IPv6 had variables of its own, of which nothing is known here.
func modernIPv6(release string) bool { return !host.Older(release, 9, 0, 0) || release == "" }
