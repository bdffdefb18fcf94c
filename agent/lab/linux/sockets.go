package linux

import (
	"fmt"
	"strings"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
)

// sockets gives the text of /proc/net/tcp and udp: who waits for clients, sshd
// first (tcp4_seq_show in tcp_ipv4.c, udp4_format_sock in udp.c). Nobody here
// has a socket of IPv6 alone; a service of one takes both families.
func sockets(m *sim.Machine, name string) (string, bool) {
	protocol := strings.TrimSuffix(name, "6")
	if protocol != "tcp" && protocol != "udp" {
		return "", false
	}
	state := "0A"
	head := "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
	zero := "00000000"
	if protocol == "udp" {
		state = "07"
		head += " ref pointer drops"
	}
	if name != protocol {
		head = strings.Replace(head, "local_address rem_address  ", "local_address                         remote_address                       ", 1)
		zero = strings.Repeat(zero, 4)
	}
	var b strings.Builder
	b.WriteString(head + "\n")
	for i, l := range append([]sim.Listener{{Protocol: "tcp", Port: 22}}, m.Listeners...) {
		if l.Protocol == protocol {
			fmt.Fprintf(&b, "%4d: %s:%04X %s:0000 %s 00000000:00000000 00:00000000 00000000     0        0 %d\n",
				i, zero, l.Port, zero, state, 10000+i)
		}
	}
	return b.String(), true
}
