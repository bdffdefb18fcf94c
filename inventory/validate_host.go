package inventory

import (
	"net/netip"
	"slices"
	"strings"
)

// name judges the name of an element; it stands in the block's header.
func (c *checker) name(kind, name string, at Range) {
	if !isName(name) {
		c.report(CodeName, at, "The %s %q: a name is letters, digits, \".\", \"_\" and \"-\", beginning with a letter or digit, at most 253.", kind, name)
	}
}

// twice judges that a name is the only one of its kind. Both must be sorted
// next to each other.
func (c *checker) twice(kind, name, before string, at, first Range) {
	if name == before {
		c.report(CodeTwice, at, "There is a %s %q already, at %s:%d.", kind, name, first.File, first.StartLine)
	}
}

func (c *checker) roles() {
	used := map[string]bool{}
	for _, s := range c.services {
		used[s.Director], used[s.Pool] = true, true
	}
	for i, r := range c.site.Roles {
		c.name("role", r.Name, r.Src.Block)
		if i > 0 {
			c.twice("role", r.Name, c.site.Roles[i-1].Name, r.Src.Block, c.site.Roles[i-1].Src.Block)
		}
		if !used[r.Name] {
			c.report(CodeUnusedRole, r.Src.Block, "No service has the role %q as director or pool.", r.Name)
		}
	}
}

func (c *checker) hosts() {
	legacy := map[Range]bool{}
	for i, h := range c.site.Hosts {
		c.name("host", h.Name, h.Src.Block)
		if i > 0 {
			c.twice("host", h.Name, c.site.Hosts[i-1].Name, h.Src.Block, c.site.Hosts[i-1].Src.Block)
		}
		for j, r := range h.Roles {
			c.knownRole(r, h.Src.Attr("roles"), "Host \""+h.Name+"\"")
			if slices.Contains(h.Roles[:j], r) {
				c.report(CodeTwice, h.Src.Attr("roles"), "Host %q lists the role %q twice.", h.Name, r)
			}
		}
		c.hostWords(h)
		c.hostAddress(h)
		c.interfaces(h)
		if at := h.Src.Attr("legacy_algorithms"); h.SSH.LegacyAlgorithms && !legacy[at] {
			legacy[at] = true // of a role or of the site: said once
			c.report(CodeLegacy, at, "%q and whoever else this is for are reached with ciphers and key exchanges that are broken, or nearly so.", h.Name)
		}
	}
}

// missing reports an attribute that is required and not written.
func (c *checker) missing(src Source, owner, name, hint string) {
	if _, written := src.Attrs[name]; !written {
		c.report(CodeMissing, src.Block, "%s has no %s. Write %s.", owner, name, hint)
	} else {
		c.report(CodeMissing, src.Attrs[name], "%s of %s is empty. Write %s.", name, owner, hint)
	}
}

// distribution is the kind of system that a distribution of that name is.
func distribution(name string) (OS, bool) {
	switch strings.ToLower(name) {
	case "debian", "ubuntu", "rhel", "redhat", "centos", "rocky", "alma", "almalinux", "fedora", "suse", "sles", "opensuse",
		"arch", "gentoo", "amazon", "oracle", "oraclelinux", "mint", "raspbian", "kali", "el6", "el7", "el8", "el9":
		return Linux, true
	case "bsd", "truenas", "opnsense", "pfsense", "ghostbsd", "midnightbsd":
		return FreeBSD, true
	case "illumos", "omnios", "openindiana", "smartos", "sunos", "opensolaris":
		return Solaris, true
	}
	return "", false
}

func (c *checker) hostWords(h *Host) {
	owner := "Host \"" + h.Name + "\""
	switch h.OS {
	case "":
		if _, written := h.Src.Attrs["os"]; !written || !h.Incomplete {
			c.missing(h.Src, owner, "os", "os = \"linux\", \"freebsd\" or \"solaris\"")
		}
	default:
		if os, ok := distribution(string(h.OS)); ok {
			c.report(CodeWord, h.Src.Attr("os"), "os is the kind of system: for %s write %q. What it is exactly is found out when it is reached.", h.OS, os)
			break
		}
		c.word("os", string(h.OS), h.Src.Attr("os"), string(Linux), string(FreeBSD), string(Solaris))
	}
	if h.Connection != "" {
		c.word("connection", h.Connection, h.Src.Attr("connection"), "ssh", "local")
	}
	if h.Become != "" {
		c.word("become", h.Become, h.Src.Attr("become"), "sudo", "doas", "pfexec")
	}
	c.network(h)
	if strings.ContainsFunc(h.Release, func(r rune) bool { return r <= ' ' || r > '~' }) {
		c.report(CodeWord, h.Src.Attr("release"), "release is what `uname -r` prints, such as \"5.4-RELEASE\", not %q.", h.Release)
	}
}

// network wants a form of the host's system.
func (c *checker) network(h *Host) {
	if h.Network == "" || h.Network == "none" {
		return
	}
	at := h.Src.Attr("network")
	if h.Network == "ipadm" {
		c.report(CodeReserved, at, "lvsfleet does not write the files of %s yet. With network = \"none\" it makes host %q right until its next boot, and writes nothing for its network.", h.Network, h.Name)
		return
	}
	forms := map[OS][]string{
		Linux:   {"ifcfg", "networkd", "netplan", "networkmanager", "ifupdown"},
		Solaris: {"hostname-files"}, FreeBSD: {"rc.conf"},
	}
	if list, ok := forms[h.OS]; ok {
		c.word("On "+string(h.OS)+" network", h.Network, at, append(list, "none")...)
		return
	}
	c.word("network", h.Network, at, slices.Concat(forms[Linux], forms[Solaris], forms[FreeBSD], []string{"none"})...)
}

func (c *checker) hostAddress(h *Host) {
	if h.Address == "" {
		if _, written := h.Src.Attrs["address"]; !written || !h.Incomplete {
			c.missing(h.Src, "Host \""+h.Name+"\"", "address", "where SSH goes: address = \"192.168.0.160\"")
		}
	} else if a, err := netip.ParseAddr(h.Address); err == nil {
		if a.IsUnspecified() || a.IsMulticast() {
			c.report(CodeAddress, h.Src.Attr("address"), "No host has the address %s.", a)
		}
	} else if !isHostName(h.Address) {
		hint := AddrHint(h.Address)
		if strings.Contains(h.Address, "/") {
			hint = "the length of its network belongs to the interface."
		}
		c.report(CodeAddress, h.Src.Attr("address"), "%q, the address of host %q, is neither an IP address nor the name of a host: %s", h.Address, h.Name, hint)
	}
	if h.Gateway.IsValid() && ownDevice(h, h.Gateway) != "" {
		directs := slices.ContainsFunc(h.Roles, func(r string) bool { return c.directing[r] })
		if !directs {
			c.report(CodeOwnGateway, h.Src.Attr("gateway"), "The gateway %s of host %q is its own address.", h.Gateway, h.Name)
		}
	} else if h.Gateway.IsValid() && len(h.Interfaces) > 0 && !h.Incomplete && deviceTowards(h, h.Gateway) == "" {
		c.report(CodeGatewayOff, h.Src.Attr("gateway"), "The gateway %s of host %q is in none of its networks: %s.", h.Gateway, h.Name, networks(h))
	}
}

// networks lists the networks of a host's interfaces.
func networks(h *Host) string {
	var of []string
	for _, i := range h.Interfaces {
		for _, p := range i.Addresses {
			of = append(of, p.Masked().String())
		}
	}
	if len(of) == 0 {
		return "it has none"
	}
	return list(of)
}

// device judges the name of an interface.
func (c *checker) device(os OS, name string, at Range) {
	limit := 15 // IFNAMSIZ less its end: net/if.h of Linux and FreeBSD
	if os == Solaris {
		limit = 31 // LIFNAMSIZ less its end: net/if.h
	}
	switch {
	case isDevice(name) && len(name) <= limit:
	case strings.Contains(name, ":"):
		c.report(CodeDevice, at, "%q is an alias, not an interface. Name the interface %q; lvsfleet makes the aliases for VIPs.", name, name[:strings.IndexByte(name, ':')])
	default:
		c.report(CodeDevice, at, "%q: an interface name begins with a letter, then letters, digits, \".\", \"_\" and \"-\", at most %d characters on this system.", name, limit)
	}
}

func (c *checker) interfaces(h *Host) {
	for i, itf := range h.Interfaces {
		at := itf.Src.Block
		c.device(h.OS, itf.Device, at)
		for _, other := range h.Interfaces[:i] {
			if other.Device == itf.Device {
				c.report(CodeTwice, at, "Host %q has an interface %q already, at line %d. List all addresses in one: addresses = [...].", h.Name, itf.Device, other.Src.Block.StartLine)
				break
			}
		}
		if _, written := itf.Src.Attrs["addresses"]; len(itf.Addresses) == 0 && !h.Incomplete {
			if written {
				at = itf.Src.Attrs["addresses"]
			}
			c.report(CodeMissing, at, "The interface %q of host %q has no address.", itf.Device, h.Name)
		}
		for _, p := range itf.Addresses {
			if other := c.own[p.Addr()]; other != nil {
				at := itf.Src.Block
				for _, attr := range []string{"address", "addresses"} {
					at = itf.Src.Attr(attr)
					if at != itf.Src.Block {
						break
					}
				}
				if other == h {
					c.report(CodeTwice, at, "Host %q lists %s on two interfaces.", h.Name, p.Addr())
				} else {
					c.report(CodeAddressTwice, at, "%s is an address of host %q and of host %q.", p.Addr(), other.Name, h.Name)
				}
				continue
			}
			c.own[p.Addr()] = h
		}
	}
}
