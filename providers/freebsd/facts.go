package freebsd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
)

// Facts is what the numbers and choices of a plan depend on, as it was when
// Gather looked.
type Facts struct {
	Release string // `uname -r`: "5.4-RELEASE", "13.2-RELEASE"
	Links   Links
	Sysctls map[string]string // those that this release has, of the ones that matter
	RCConf  []byte            // /etc/rc.conf; nil: there is none
	// Later are the files that boot sources after /etc/rc.conf, in order.
	Later []RCFile
	// SysctlConf are /etc/sysctl.conf and /etc/sysctl.conf.local, where they
	// are there, by path.
	SysctlConf map[string][]byte
	StartIf    []string // interfaces with an /etc/start_if.IF, sorted
}

// An RCFile is a file that is sourced after /etc/rc.conf.
type RCFile struct {
	Path string
	Data []byte
	// Part is the script of rc.d that reads it alone: Netif or Routing; ""
	// all do.
	Part Part
}

// A Part is one of the two scripts that set the network up.
type Part string

// The parts.
const (
	Everything Part = ""
	Netif      Part = "netif"
	Routing    Part = "routing"
)

const (
	rcConf      = "/etc/rc.conf"
	sysctlFile  = "/etc/sysctl.conf"
	sysctlLocal = "/etc/sysctl.conf.local"
)

// OwnFiles names the file that gives a host its own addresses and name at
// boot.
func OwnFiles() []string { return []string{rcConf} }

// The sysctls that matter (inet(4), inet6(4)).
const (
	forwarding4    = "net.inet.ip.forwarding"
	forwarding6    = "net.inet6.ip6.forwarding"
	checkInterface = "net.inet.ip.check_interface"   // until 13
	strongES       = "net.inet.ip.rfc1122_strong_es" // from 14 on
	multipath      = "net.route.multipath"           // from 13 on
)

// Gather reads the host, and changes nothing.
func Gather(ctx context.Context, h host.Host, id host.Identity, d inventory.Desired) (Facts, error) {
	f := Facts{Release: id.Release, SysctlConf: map[string][]byte{}}
	links, err := readLinks(ctx, h)
	if err != nil {
		return Facts{}, err
	}
	f.Links = links
	if f.Sysctls, err = readSysctls(ctx, h, id.Release, d); err != nil {
		return Facts{}, err
	}
	if err := f.readFiles(ctx, h); err != nil {
		return Facts{}, err
	}
	return f, nil
}

func readLinks(ctx context.Context, h host.Host) (Links, error) {
	res, err := host.Query(ctx, h, "ifconfig", "-a")
	if err != nil {
		return nil, fmt.Errorf("read interfaces: %w", err)
	}
	links := ParseIfconfig(string(res.Stdout))
	if len(links) == 0 {
		return nil, fmt.Errorf("read interfaces: ifconfig -a printed %q", firstLine(res.Stdout))
	}
	return links, nil
}

func firstLine(b []byte) string {
	s, _, _ := strings.Cut(string(b), "\n")
	return s
}

func readSysctls(ctx context.Context, h host.Host, release string, d inventory.Desired) (map[string]string, error) {
	if len(d.VIPs) == 0 && len(d.Gateways) == 0 {
		return nil, nil
	}
	// sysctl(8) of old stops at the first name that it does not know: only
	// names that this release has are asked for, and the one that a kernel
	// may lack (options ROUTE_MPATH) comes last.
	argv := []string{"sysctl", forwarding4}
	switch major, _, _ := host.Version(release); {
	case major >= 14:
		argv = append(argv, strongES, multipath)
	case major == 13:
		argv = append(argv, checkInterface, multipath)
	default:
		argv = append(argv, checkInterface)
	}
	res, err := host.Query(ctx, h, argv...)
	var exit *host.ExitError
	if err != nil && !errors.As(err, &exit) {
		return nil, fmt.Errorf("read sysctls: %w", err)
	}
	values := parseSysctls(string(res.Stdout))
	if values[forwarding4] == "" || values[argv[2]] == "" {
		if err == nil {
			err = fmt.Errorf("sysctl printed %q", firstLine(res.Stdout))
		}
		return nil, fmt.Errorf("read sysctls: %w", err)
	}
	return values, nil
}

func (f *Facts) readFiles(ctx context.Context, h host.Host) error {
	entries, err := list(ctx, h, "/etc")
	if err != nil {
		return err
	}
	var etc []string
	for _, e := range entries {
		etc = append(etc, e.Name)
	}
	read := func(path string) ([]byte, error) {
		if name, ok := strings.CutPrefix(path, "/etc/"); ok && !strings.Contains(name, "/") && !slices.Contains(etc, name) {
			return nil, nil // saves asking for what is mostly not there
		}
		file, err := h.ReadFile(ctx, path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		if file.Data == nil {
			file.Data = []byte{}
		}
		return file.Data, nil
	}
	if f.RCConf, err = read(rcConf); err != nil {
		return err
	}
	for _, p := range []string{sysctlFile, sysctlLocal} {
		data, err := read(p)
		if err != nil {
			return err
		}
		if data != nil {
			f.SysctlConf[p] = data
		}
	}
	local, err := read(rcConf + ".local")
	if err != nil {
		return err
	}
	if local != nil {
		f.Later = append(f.Later, RCFile{Path: rcConf + ".local", Data: local})
	}
	for _, name := range etc {
		if dev, ok := strings.CutPrefix(name, "start_if."); ok {
			f.StartIf = append(f.StartIf, dev)
		}
	}
	dirs := []string{"/usr/local/etc/rc.conf.d"}
	if slices.Contains(etc, "rc.conf.d") {
		dirs = slices.Insert(dirs, 0, "/etc/rc.conf.d")
	}
	for _, dir := range dirs {
		if err := f.readParts(ctx, h, dir, read); err != nil {
			return err
		}
	}
	return nil
}

// readParts reads DIR/NAME, which is a file or, in newer releases, a folder of
// files (rc.subr(8), load_rc_config). rc.d/netif reads network's as well.
func (f *Facts) readParts(ctx context.Context, h host.Host, dir string, read func(string) ([]byte, error)) error {
	there, err := list(ctx, h, dir)
	if err != nil {
		return err
	}
	for _, part := range []struct {
		name string
		part Part
	}{{"network", Netif}, {"netif", Netif}, {"routing", Routing}} {
		i := slices.IndexFunc(there, func(e host.Entry) bool { return e.Name == part.name })
		if i < 0 {
			continue
		}
		paths := []string{path.Join(dir, part.name)}
		if !there[i].Mode.IsRegular() {
			if entries, err := h.ReadDir(ctx, paths[0]); err == nil {
				paths = nil
				for _, e := range entries {
					paths = append(paths, path.Join(dir, part.name, e.Name))
				}
			} else if there[i].Mode.IsDir() {
				return fmt.Errorf("list %s: %w", paths[0], err)
			}
		}
		for _, p := range paths {
			data, err := read(p)
			if err != nil {
				return err
			}
			if data != nil {
				f.Later = append(f.Later, RCFile{Path: p, Data: data, Part: part.part})
			}
		}
	}
	return nil
}

// list lists a folder; one that is not there is empty.
func list(ctx context.Context, h host.Host, dir string) ([]host.Entry, error) {
	entries, err := h.ReadDir(ctx, dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}
	return entries, nil
}
