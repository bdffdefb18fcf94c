package freebsd

import (
	"github.com/lvsfleet/lvsfleet/providers/host"
)

// An era is what differs between releases. Its zero is none.
type era struct {
	major, minor int
}

func eraOf(release string) era {
	major, minor, _ := host.Version(release)
	return era{major, minor}
}

// The boot scripts come in three kinds: those of 6 (February 2006), of 10 (May
// 2014) and of 13 to 16. Between them the nearest earlier one of the facts is
// taken: 9 had the scripts of 10 in what matters here, 11 and 12 those of 13
// from 11 on.
type scripts int

const (
	scripts6 scripts = iota
	scripts10
	scripts13
)

func (e era) scripts() scripts {
	switch {
	case e.major < 9:
		return scripts6
	case e.major < 11:
		return scripts10
	}
	return scripts13
}

// maskRequired: ifconfig refuses an IPv4 address without a mask on Ethernet.
// 13 warns, and 16 refuses; in between lies 14, which is taken to refuse.
func (e era) maskRequired() bool { return e.major >= 14 }

// multipath: a second route to one destination is kept beside the first.
func (e era) multipath() bool { return e.major >= 13 }

// defaults are the lines of /etc/defaults/rc.conf that matter here.
func (e era) defaults() string {
	text := `network_interfaces="auto"
cloned_interfaces=""
defaultrouter="NO"
static_routes=""
gateway_enable="NO"
`
	switch e.scripts() {
	case scripts6:
		text += `ifconfig_lo0="inet 127.0.0.1"
gif_interfaces="NO"
ipv6_enable="NO"
ipv6_defaultrouter="NO"
ipv6_gateway_enable="NO"
`
	default:
		text += `ipv6_activate_all_interfaces="NO"
ipv6_defaultrouter="NO"
ipv6_gateway_enable="NO"
`
	}
	return text
}
