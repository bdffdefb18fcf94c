package linux

import (
	"net/netip"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
	"github.com/lvsfleet/lvsfleet/providers/verify"
)

// ping is ping(8) of iputils, as one question: -c 1 -w SECONDS ADDRESS. It
// runs without the machine's lock: the answer comes from another machine. An
// echo is a connection to a port where nobody listens, as far as the way there
// and back is concerned.
func ping(m *sim.Machine, c *sim.Call) int {
	a := c.Argv[1:]
	if len(a) != 5 || a[0] != "-c" || a[1] != "1" || a[2] != "-w" {
		return c.Refuse()
	}
	addr, err := netip.ParseAddr(a[4])
	if err != nil {
		c.Errorf("%s: Name or service not known", a[4])
		return 2
	}
	c.Printf("PING %s (%s) 56(84) bytes of data.\n", addr, addr)
	answer, err := m.Dial(c.Context, verify.Dial{Protocol: "tcp", To: netip.AddrPortFrom(addr, 7)})
	if err != nil {
		c.Errorf("%v", err)
		return 2
	}
	received, exit := 0, 1
	switch answer.Kind {
	case verify.Accepted, verify.Refused:
		received, exit = 1, 0
		c.Printf("64 bytes from %s: icmp_seq=1 ttl=64 time=0.400 ms\n", addr)
	case verify.Unreachable:
		c.Printf("From %s icmp_seq=1 Destination Host Unreachable\n", addr)
	}
	c.Printf("\n--- %s ping statistics ---\n1 packets transmitted, %d received, %d%% packet loss, time 0ms\n", addr, received, 100-100*received)
	return exit
}
