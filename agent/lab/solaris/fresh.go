package solaris

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
)

// fresh lays down what the installer leaves that matters. On illumos, whose
// installer would use ipadm's store, the hostname files stand for it: the
// system reads both and prefers these.
func fresh(f *sim.FS, spec sim.Spec) {
	for _, d := range []string{"/tmp", "/var/run", "/var/lib", "/var/log", "/etc/inet", "/etc/default", "/lib/svc/method", "/root"} {
		f.MkdirAll(d)
	}
	release := "                       Solaris 10 5/09 s10x_u7wos_08 X86\n"
	if spec.Illumos {
		release = "  OmniOS v11 r151046\n"
	}
	f.Put("/etc/release", 0o444, release)
	f.Put("/etc/nodename", 0o644, spec.Name+"\n")
	f.Link("/etc/hosts", "./inet/hosts")
	f.Link("/etc/netmasks", "./inet/netmasks")
	hosts := "#\n# Internet host table\n#\n127.0.0.1\tlocalhost\t\n"
	if spec.Illumos {
		hosts = "#\n# Internet host table\n#\n::1\t\tlocalhost\t\n127.0.0.1\tlocalhost\tloghost\n"
	}
	var masks strings.Builder
	masks.WriteString("#\n# The netmasks file associates Internet Protocol (IP) address\n# masks with IP network numbers.\n#\n#\tnetwork-number\tnetmask\n#\n")
	named, listed := false, map[netip.Prefix]bool{}
	for _, card := range spec.Interfaces {
		unit := 0
		for _, p := range card.Addresses {
			if !p.Addr().Is4() {
				continue
			}
			name := p.Addr().String()
			if !named {
				named, name = true, spec.Name
				suffix := "\tloghost"
				if spec.Illumos {
					suffix = ""
				}
				hosts += fmt.Sprintf("%s\t%s%s\n", p.Addr(), spec.Name, suffix)
			}
			f.Put("/etc/hostname."+label(card.Device, unit), 0o644, name+"\n")
			unit++
			if net := p.Masked(); !listed[net] && net.Bits() < 32 {
				listed[net] = true
				fmt.Fprintf(&masks, "%s\t%s\n", net.Addr(), dotted(net.Bits()))
			}
		}
	}
	f.Put("/etc/inet/hosts", 0o444, hosts)
	f.Put("/etc/inet/netmasks", 0o444, masks.String())
}

func dotted(bits int) string {
	v := mask(bits)
	return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}).String()
}
