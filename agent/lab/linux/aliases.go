package linux

import (
	"io/fs"
	"net/netip"
	"slices"
	"strings"
)

// aliases is ifup-aliases: files of aliases inherit from their parent's file,
// and labels that no file names are flushed.
func (b *booter) aliases(dev, parentFile string) {
	parent := b.source(nil, parentFile)
	seen := map[string]bool{}
	addrs := map[string]bool{}
	entries, err := b.m.FS.ReadDir(strings.TrimSuffix(scripts, "/"))
	if err != nil {
		return
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name, "ifcfg-"+dev+":") || ignored(e.Name) || e.Mode&fs.ModeDir != 0 {
			continue
		}
		start := map[string]string{}
		for _, k := range []string{"PREFIX", "NETMASK", "BROADCAST"} {
			start[k] = parent[k]
		}
		vars := b.source(start, scripts+e.Name)
		label := vars["DEVICE"]
		if label == "" {
			label = strings.TrimPrefix(e.Name, "ifcfg-")
		}
		if p := vars["ONPARENT"]; p == "no" || p == "NO" {
			continue
		}
		addr := vars["IPADDR"]
		switch {
		case addr == "":
			b.log("error in %s: didn't specify device or ipaddr", e.Name)
			continue
		case seen[label]:
			b.log("error in %s: already seen device %s", e.Name, label)
			continue
		case addrs[addr]:
			b.log("error in %s: already seen ipaddr %s", e.Name, addr)
			continue
		}
		netmask, prefix := vars["NETMASK"], vars["PREFIX"]
		if b.era > fc5 && prefix != "" {
			netmask = ""
		}
		pre, ok := b.ipcalc(addr, netmask, prefix)
		if !ok {
			continue
		}
		seen[label], addrs[addr] = true, true
		brd := vars["BROADCAST"]
		if brd == "" || brd == parent["BROADCAST"] {
			brd = last(pre).String()
		}
		b.alias(dev, label, pre, brd)
	}
	if l := b.k.Link(dev); l != nil {
		for _, a := range slices.Clone(l.Addrs) {
			if strings.HasPrefix(a.Label, dev+":") && !seen[a.Label] {
				b.run("ip", "addr", "flush", "dev", dev, "label", a.Label)
			}
		}
	}
}

// alias sets one alias up, if it is not as it should be.
func (b *booter) alias(dev, label string, pre netip.Prefix, brd string) {
	l := b.k.Link(dev)
	for _, a := range slices.Clone(l.Addrs) {
		switch {
		case a.Label == label && a.Prefix == pre:
			return
		case a.Label == label:
			b.run("ip", "addr", "flush", "dev", dev, "label", label)
		}
	}
	b.run("ip", "addr", "add", pre.String(), "brd", brd, "dev", dev, "label", label)
}
