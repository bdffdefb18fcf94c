package solaris

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"regexp"
	"strings"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// Facts are what numbers, choices and refusals follow from: one look at the
// host before anything is planned. What d does not need is not asked for.
type Facts struct {
	Identity   host.Identity
	Interfaces []Interface // `ifconfig -a`
	// HostModel is "weak", "strong" or "src-priority"; "" not asked: no VIPs.
	HostModel string
	// Forwarding says whether IPv4 forwarding is on; nil: not asked.
	Forwarding *bool
	// Made are the live steps of a step.Maker.
	Made []string
	// Boot is nil where nothing persistent is managed (network = "none").
	Boot *BootFiles
}

// BootFiles are the files that boot reads, as they are now; nil content where
// there is none.
type BootFiles struct {
	Hostname []HostnameFile // all of /etc/hostname.*, by name
	DHCP     []string       // the interfaces that have an /etc/dhcp.IF
	Hosts    []byte
	Netmasks []byte
	// NetmasksPath is /etc/inet/netmasks, which /etc/netmasks is a link to;
	// /etc/netmasks itself where somebody has made that a file.
	NetmasksPath string
	Static       []byte // /etc/inet/static_routes, what `route -p` keeps
	IPAdm        []byte // illumos: /etc/ipadm/ipadm.conf
}

// reader reads as boot would, with the netmasks given.
func (f Facts) reader(netmasks []byte) BootReader {
	return BootReader{Hosts: HostsTable(f.Boot.Hosts), Netmasks: ParseNetmasks(netmasks), Illumos: f.Identity.Illumos}
}

// Gather looks at the host. It reads only.
func Gather(ctx context.Context, h host.Host, id host.Identity, d inventory.Desired) (Facts, error) {
	f := Facts{Identity: id}
	if err := persistence(id, d.Network); err != nil {
		return f, err
	}
	var err error
	if f.Interfaces, err = readInterfaces(ctx, h); err != nil {
		return f, err
	}
	if len(d.VIPs) > 0 {
		if f.HostModel, err = hostModel(ctx, h, id); err != nil {
			return f, err
		}
	}
	if d.IPForward4 != nil {
		on, err := forwarding(ctx, h, id)
		if err != nil {
			return f, err
		}
		f.Forwarding = &on
	}
	if m, ok := host.As[step.Maker](h); ok {
		f.Made = m.Made()
	}
	if d.Network == "none" {
		return f, nil
	}
	f.Boot, err = readBootFiles(ctx, h, id, len(d.Gateways) > 0)
	return f, err
}

// persistence refuses the persistent forms that lvsfleet does not write here.
// Solaris 11 does not read hostname.* (it keeps settings in ipadm and dladm);
// before Solaris 10 there were other boot scripts.
func persistence(id host.Identity, network string) error {
	switch network {
	case "", "hostname-files", "none":
	default:
		return step.Refuse(`use network = "hostname-files", or "none" for live settings only`,
			"network = %q is not a persistent form that lvsfleet writes on Solaris", network)
	}
	switch {
	case id.Release == "5.10" || id.Release == "5.11" && id.Illumos:
		return nil
	case id.Release != "5.11":
		return step.Refuse("", "SunOS %s is not a release that lvsfleet manages (Solaris 10, Solaris 11, illumos)", id.Release)
	case network == "none":
		return nil
	}
	return step.Refuse(`network = "none" manages live settings only`,
		"Solaris 11 keeps network settings with ipadm, a persistent form that is reserved; it does not read hostname files")
}

// hostModel asks which host model IPv4 has. Solaris 10 has a switch (1 is
// strong), later systems a property.
func hostModel(ctx context.Context, h host.Host, id host.Identity) (string, error) {
	argv := []string{"ipadm", "show-prop", "-p", "hostmodel", "-co", "current", "ipv4"}
	if id.Release == "5.10" {
		argv = []string{"ndd", "/dev/ip", "ip_strict_dst_multihoming"}
	}
	res, err := host.Query(ctx, h, argv...)
	if err != nil {
		return "", fmt.Errorf("read the host model: %w", err)
	}
	switch word := strings.TrimSpace(string(res.Stdout)); word {
	case "0":
		return "weak", nil
	case "1":
		return "strong", nil
	case "weak", "strong", "src-priority":
		return word, nil
	default:
		return "", fmt.Errorf("read the host model: %s printed %q", strings.Join(argv, " "), clip(word))
	}
}

// forwarding asks whether IPv4 packets are forwarded.
func forwarding(ctx context.Context, h host.Host, id host.Identity) (bool, error) {
	argv := []string{"ipadm", "show-prop", "-p", "forwarding", "-co", "current", "ipv4"}
	if id.Release == "5.10" {
		argv = []string{"ndd", "/dev/ip", "ip_forwarding"}
	}
	res, err := host.Query(ctx, h, argv...)
	if err != nil {
		return false, fmt.Errorf("read forwarding: %w", err)
	}
	switch word := strings.TrimSpace(string(res.Stdout)); word {
	case "0", "off":
		return false, nil
	case "1", "on":
		return true, nil
	default:
		return false, fmt.Errorf("read forwarding: %s printed %q", strings.Join(argv, " "), clip(word))
	}
}

func readBootFiles(ctx context.Context, h host.Host, id host.Identity, routes bool) (*BootFiles, error) {
	entries, err := h.ReadDir(ctx, "/etc")
	if err != nil {
		return nil, fmt.Errorf("list /etc: %w", err)
	}
	b := &BootFiles{NetmasksPath: "/etc/inet/netmasks"}
	for _, e := range entries {
		if name, ok := strings.CutPrefix(e.Name, "hostname."); ok && name != "" && !e.Mode.IsDir() {
			data, err := readFile(ctx, h, "/etc/"+e.Name)
			if err != nil {
				return nil, err
			}
			b.Hostname = append(b.Hostname, HostnameFile{name, data})
		}
		if name, ok := strings.CutPrefix(e.Name, "dhcp."); ok {
			b.DHCP = append(b.DHCP, name)
		}
		if e.Name == "netmasks" && e.Mode&fs.ModeSymlink == 0 {
			b.NetmasksPath = "/etc/netmasks"
		}
	}
	read := []struct {
		path string
		data *[]byte
		want bool
	}{
		{"/etc/hosts", &b.Hosts, true},
		{b.NetmasksPath, &b.Netmasks, true},
		{"/etc/inet/static_routes", &b.Static, routes},
		{"/etc/ipadm/ipadm.conf", &b.IPAdm, id.Illumos},
	}
	for _, r := range read {
		if !r.want {
			continue
		}
		if *r.data, err = readFile(ctx, h, r.path); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// readFile gives nil for a file that is not there.
func readFile(ctx context.Context, h host.Host, path string) ([]byte, error) {
	f, err := h.ReadFile(ctx, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if f.Data == nil {
		return []byte{}, nil
	}
	return f.Data, nil
}

// ipadmKnows says that ipadm keeps something for the device: a field
// "_ifname=DEV" in a line of ipadm.conf, whose other fields are its own
// affair.
func ipadmKnows(conf []byte, dev string) bool {
	return regexp.MustCompile(`(?m)(^|;)_?ifname=([a-z]+[:=])?` + regexp.QuoteMeta(dev) + `;`).Match(conf)
}

// ipadmNames says that ipadm keeps the address.
func ipadmNames(conf []byte, addr netip.Addr) bool {
	if len(conf) == 0 {
		return false
	}
	return regexp.MustCompile(`(^|[^0-9.])` + regexp.QuoteMeta(addr.String()) + `([^0-9.]|$)`).Match(conf)
}
