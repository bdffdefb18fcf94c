//go:build linux

package fabric

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Settle makes this process the first of a host: it reads the host's Spec and
// lays out its mounts and its name. Plain machines get their network here.
func Settle(in io.Reader) (Spec, error) {
	var s Spec
	if err := json.NewDecoder(in).Decode(&s); err != nil {
		return s, fmt.Errorf("read the host's description: %w", err)
	}
	if err := s.mount(); err != nil {
		return s, fmt.Errorf("mount: %w", err)
	}
	if err := unix.Sethostname([]byte(s.Name)); err != nil {
		return s, err
	}
	if s.OS == "" {
		if err := s.plain(); err != nil {
			return s, err
		}
	}
	return s, nil
}

// mount gives the host folders of its own: those that outlast a power cut are
// bound from its folder, the rest is in memory. /var/run is empty after a boot,
// on every system.
func (s Spec) mount() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	for _, d := range []string{"etc", "root", "var"} {
		from := filepath.Join(s.Dir, d)
		if _, err := os.Stat(from); err != nil {
			if err := s.first(d, from); err != nil {
				return err
			}
		}
		if err := unix.Mount(from, "/"+d, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("bind /%s: %w", d, err)
		}
	}
	for _, d := range []string{"/run", "/tmp", "/var/run"} {
		if err := unix.Mount("tmpfs", d, "tmpfs", 0, "mode=0755"); err != nil {
			return fmt.Errorf("mount %s: %w", d, err)
		}
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	return unix.Mount("sysfs", "/sys", "sysfs", 0, "")
}

// first fills a folder before the first boot: with the image's own.
func (s Spec) first(d, to string) error {
	if out, err := exec.Command("/bin/busybox", "cp", "-a", "/"+d, to).CombinedOutput(); err != nil {
		return fmt.Errorf("copy /%s: %w: %s", d, err, out)
	}
	return nil
}

// plain sets up the network of a machine that lvsfleet does not manage.
func (s Spec) plain() error {
	if err := up("lo"); err != nil {
		return err
	}
	// Answers may come back another way than the questions went.
	for _, key := range []string{"all", "default"} {
		if err := Sysctl("net/ipv4/conf/"+key+"/rp_filter", "0"); err != nil {
			return err
		}
	}
	if s.Router {
		if err := Sysctl("net/ipv4/ip_forward", "1"); err != nil {
			return err
		}
	}
	for _, l := range s.Links {
		if err := Configure(l); err != nil {
			return err
		}
	}
	for _, r := range s.Routes {
		dst := net4(r.Dst)
		if err := netlink.RouteAdd(&netlink.Route{Dst: dst, Gw: r.Via.AsSlice()}); err != nil {
			return fmt.Errorf("route %s via %s: %w", r.Dst, r.Via, err)
		}
	}
	return nil
}

// Configure brings a card up with its addresses.
func Configure(l Link) error {
	link, err := netlink.LinkByName(l.Dev)
	if err != nil {
		return err
	}
	if err := Sysctl("net/ipv4/conf/"+l.Dev+"/rp_filter", "0"); err != nil {
		return err
	}
	for _, a := range l.Addrs {
		if err := netlink.AddrAdd(link, &netlink.Addr{IPNet: net4(a)}); err != nil {
			return fmt.Errorf("add %s to %s: %w", a, l.Dev, err)
		}
	}
	return netlink.LinkSetUp(link)
}

func up(dev string) error {
	l, err := netlink.LinkByName(dev)
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(l)
}

// Sysctl writes a kernel setting by its path below /proc/sys.
func Sysctl(path, value string) error {
	return os.WriteFile("/proc/sys/"+path, []byte(value), 0o644)
}

func net4(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
