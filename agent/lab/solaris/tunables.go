package solaris

import (
	"fmt"
	"strconv"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
)

// tunables are what ndd knows of /dev/ip, with their defaults (ip.c).
var tunables = map[string]string{
	"ip_forwarding": "0", "ip_strict_dst_multihoming": "0", "ip_send_redirects": "1", "ip_ignore_redirect": "0",
	"ip_forward_src_routed": "1", "ip_forward_directed_broadcasts": "1", "ip_respond_to_echo_broadcast": "1",
}

func tunable(m *sim.Machine, name string) string {
	if v, ok := m.Net.Sysctls["ip:"+name]; ok {
		return v
	}
	return tunables[name]
}

// ndd is ndd(1M) for /dev/ip.
func ndd(m *sim.Machine, c *sim.Call) int {
	args := c.Argv[1:]
	set := false
	if len(args) > 0 && (args[0] == "-set" || args[0] == "-get") {
		set = args[0] == "-set"
		args = args[1:]
	}
	if len(args) < 2 || args[0] != "/dev/ip" {
		return c.Refuse()
	}
	name := args[1]
	if _, ok := tunables[name]; !ok {
		fmt.Fprintf(c.Stderr, "operation failed: No such file or directory\n")
		return 1
	}
	switch {
	case set && len(args) == 3:
		if _, err := strconv.ParseUint(args[2], 10, 31); err != nil {
			fmt.Fprintf(c.Stderr, "operation failed: Invalid argument\n")
			return 1
		}
		m.Net.Sysctls["ip:"+name] = args[2]
		return 0
	case !set && len(args) == 2:
		c.Printf("%s\n", tunable(m, name))
		return 0
	}
	return c.Refuse()
}

// ipadm is ipadm(1M) on illumos, for two properties of IPv4: hostmodel and
// forwarding. `show-prop -p NAME -co current ipv4` and `set-prop [-t] -p
// NAME=VALUE ipv4`; what is set is forgotten at boot here, with and without -t.
func ipadm(m *sim.Machine, c *sim.Call) int {
	args := c.Argv[1:]
	if len(args) == 6 && args[0] == "show-prop" && args[1] == "-p" && args[3] == "-co" && args[4] == "current" && args[5] == "ipv4" {
		switch args[2] {
		case "hostmodel":
			model := m.Net.Sysctls["ip:hostmodel"]
			if model == "" {
				model = "weak"
			}
			c.Printf("%s\n", model)
			return 0
		case "forwarding":
			c.Printf("%s\n", map[bool]string{true: "on", false: "off"}[tunable(m, "ip_forwarding") != "0"])
			return 0
		}
		fmt.Fprintf(c.Stderr, "ipadm: warning: cannot get property '%s': unknown property\n", args[2])
		return 1
	}
	if len(args) == 5 && args[0] == "set-prop" && args[1] == "-t" {
		args = append([]string{args[0]}, args[2:]...)
	}
	if len(args) == 4 && args[0] == "set-prop" && args[1] == "-p" && args[3] == "ipv4" {
		switch args[2] {
		case "hostmodel=weak", "hostmodel=strong", "hostmodel=src-priority":
			m.Net.Sysctls["ip:hostmodel"] = args[2][len("hostmodel="):]
			return 0
		case "forwarding=on":
			m.Net.Sysctls["ip:ip_forwarding"] = "1"
			return 0
		case "forwarding=off":
			m.Net.Sysctls["ip:ip_forwarding"] = "0"
			return 0
		}
	}
	return c.Refuse()
}
