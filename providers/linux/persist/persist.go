// Package persist says what a dialect is: one of the ways in which a Linux
// system keeps its network settings for the next boot (ifcfg files, networkd's
// units, NetworkManager's keyfiles, ...). Each is a package beneath this one.
//
// A dialect knows files, and the daemon that reads them. It knows nothing of
// the kernel: what of the kernel it has to know, such as which card has which
// MAC, it is told as a value. What is in force at once is package linux'
// business, which in turn knows nothing of files.
package persist

import (
	"context"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/note"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// A Dialect is one way of keeping network settings. It has no state.
type Dialect interface {
	// Name is what `network` in an inventory calls it.
	Name() string
	// Detect finds out whether the dialect's manager runs on h, and which
	// interfaces it brings up. It only reads, files as well as the manager's
	// own word (networkctl, nmcli, ifquery) where Machine.Running says that
	// there may be one to ask. An interface whose settings another dialect's
	// files were the source of (netplan's, of networkd's and
	// NetworkManager's) is that one's, and is not claimed.
	Detect(ctx context.Context, h host.Host, m Machine) (Detection, error)
	// Read reads the dialect's files.
	Read(ctx context.Context, h host.Host, m Machine) (Files, error)
}

// A Machine is what a dialect is told of the machine that its files are on.
type Machine struct {
	Release string // `uname -r`
	Systemd bool   // systemd starts the system
	// Running: systemd is what runs now (sd_booted(3): /run/systemd/system is
	// there). On a copy of /etc nothing runs, and nobody can be asked.
	Running bool
	// Links are the interfaces; none where only files are seen.
	Links []Link
	// Addresses are those in force, of both families as far as they were
	// asked for: what is there and in no file is somebody's, and a manager
	// that is told to reload may take it away.
	Addresses []LiveAddress
}

// A Link is an interface as far as files may name it.
type Link struct {
	Name  string
	MAC   string // lower case; "" for what is not Ethernet
	Index int    // the kernel's number; 0: not known
}

// A LiveAddress is an address in force.
type LiveAddress struct {
	Dev    string
	Prefix netip.Prefix // the address with its length
	Label  string       // IPv4: "eth0:1", or the interface; else ""
}

// A Detection is what shows that a dialect is in use.
type Detection struct {
	// Manager is what shows that the dialect's manager starts at boot
	// ("/etc/systemd/system/multi-user.target.wants/NetworkManager.service");
	// "": it does not.
	Manager string
	// Interfaces are those that it brings up, by name.
	Interfaces map[string]Claim
}

// A Claim is what shows that a dialect brings an interface up.
type Claim struct {
	// Evidence is the file that the interface's settings come from, or what
	// the manager says where it has none ("made by NetworkManager itself").
	Evidence string
	// Live: the manager itself says so. That is worth more than a file that
	// matches, as the managers leave to each other what one of them has.
	Live bool
}

// Files are a dialect's files of one machine as they were read. Its methods
// are pure.
type Files interface {
	// Addresses are those that the files bring up at boot on any interface,
	// in the order of the files. The loopback's own may be left out.
	Addresses() []Address
	// Labels are the labels of addresses ("lo:0") that the files name in
	// whatever way, used or not: nobody else may take them.
	Labels() []string
	// Takes tells of the file by which the manager takes over an interface
	// that it does not have to: ok with the file and, where it matches by
	// more than this one name (`Name=*`), wildcard.
	Takes(dev string) (file string, wildcard, ok bool)
	// Settings are the kernel settings that the files themselves make at
	// boot, such as `up sysctl -w ...` of a stanza, as far as they are read.
	Settings() []Setting
	// Own are the files from which the interfaces have their own addresses.
	Own(devs []string) []string
	// Plan adds what has to be written so that w holds at the next boot. It
	// compares the own addresses of w.Interfaces, and writes them only where
	// the dialect is one that does. An error is, or wraps, a *step.Refusal.
	Plan(w Want, out *Out) error
}

// Native are Files of a dialect in which the VIPs of real servers and plain
// tunnels stand too.
type Native interface {
	Files
	// Prepare looks whether the files have dev, a tunnel device with which
	// there are to be VIPs. What would keep these from coming up is refused,
	// or noted.
	Prepare(dev string, out *Out) (there bool, err error)
	// Devices are those that the files bring up or make.
	Devices() []string
	// Tunnel finds the device of the tunnel with these ends; "" there is none.
	Tunnel(local, remote netip.Addr) string
}

// An Address is one that a file brings up.
type Address struct {
	Addr  netip.Addr
	Bits  int    // -1: not said, so that of the interface, or of its class
	Dev   string // "lo"
	Label string // "lo:0"; the device itself where it has no own
	File  string
	// Lost says why it would not be there for long though the file names it
	// ("systemd-networkd deletes it at each reload"); "" it lasts.
	Lost string
}

// A Setting is a kernel setting that a file makes.
type Setting struct{ Key, Value, File string }

// Want is what must hold at the next boot of the interfaces that are the
// dialect's. What is not wanted any more is not in it: edits are made on the
// files as they would be without lvsfleet (step.Keeper), so what they do not
// write again goes.
type Want struct {
	// Interfaces are the dialect's own, with the addresses that the inventory
	// gives them: compared, not changed.
	Interfaces []inventory.Interface
	// Gateways are the default routes, one of a family, that leave by an
	// interface of the dialect.
	Gateways []Gateway
	// Director are the VIPs of a director on interfaces of the dialect.
	Director []VIP
	// Real are the VIPs of a real server. Where Native is not set,
	// lvsfleet's own unit brings them up, before any network; the dialect
	// then only sees to it that its manager does not take them away.
	Real []VIP
	// Tunnels are plain tunnels; with Native alone.
	Tunnels []inventory.PlainEnd
	// Native: VIPs of real servers and tunnels stand in the dialect's files.
	Native bool
	// Labels are those in use, live and in files.
	Labels Labels
	// Drained: nobody is served by way of this host while the change is made,
	// so a manager may be told to reload though that drops what passes.
	Drained bool
}

// A Gateway is the default route of its family.
type Gateway struct {
	Addr netip.Addr
	Dev  string // "": none of the interfaces that the inventory knows leads to it
}

// A VIP is a virtual address and where it belongs.
type VIP struct {
	Addr  netip.Addr
	Dev   string // lo, tunl0, or the director's interface
	Label string // "lo:0"; the device itself where it has no own
}

// Prefix is the address with its full length.
func (v VIP) Prefix() netip.Prefix { return netip.PrefixFrom(v.Addr, v.Addr.BitLen()) }

// Out collects what is to be done for the next boot.
type Out struct{ Plan *step.Plan }

// Edit adds an edit to the boot step of the file, which is one however many
// settings live in it, and gives that step: its Notify is how the dialect's
// manager is told, where that disturbs nobody.
func (o *Out) Edit(path string, e step.Edit) *step.FileStep {
	for _, s := range o.Plan.Boot {
		if f, ok := s.(*step.FileStep); ok && f.Path == path {
			f.Edits = append(f.Edits, e)
			return f
		}
	}
	f := &step.FileStep{Path: path, Edits: []step.Edit{e}}
	o.Plan.Boot = append(o.Plan.Boot, f)
	return f
}

// Note tells of what was seen and left.
func (o *Out) Note(c note.Code, args ...any) {
	o.Plan.Notes = append(o.Plan.Notes, note.New(c, args...))
}

// Transient tells of what is in force until the next boot alone, or until the
// manager acts on what it knows ("the default route by 192.0.2.254").
func (o *Out) Transient(s string) { o.Plan.Transient = append(o.Plan.Transient, s) }

// Labels are the labels of addresses that are taken.
type Labels map[string]bool

// Take marks one as taken.
func (l Labels) Take(label string) { l[label] = true }

// Free gives the first label of dev, "lo:0", "lo:1" and so on, that nobody has,
// and takes it.
func (l Labels) Free(dev string) string {
	for n := 0; ; n++ {
		if label := dev + ":" + strconv.Itoa(n); !l[label] {
			l.Take(label)
			return label
		}
	}
}

// Device is the interface of a label: what stands before the colon.
func Device(label string) string {
	dev, _, _ := strings.Cut(label, ":")
	return dev
}

// TunnelDevice is the device that comes with the ipip module and accepts what
// no other tunnel claims (net/ipv4/ipip.c, ipip_fb_tunnel_init).
const TunnelDevice = "tunl0"

// Quiet says that an address on the device is not announced on any wire:
// loopback, tunnels and dummies.
func Quiet(dev string) bool {
	return dev == "lo" || slices.ContainsFunc([]string{"tunl", "lvs", "ipip", "dummy"}, func(p string) bool { return strings.HasPrefix(dev, p) })
}

// Header begins every file that is wholly lvsfleet's own.
const Header = "# lvsfleet: "
