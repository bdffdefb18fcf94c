// Package inventory is the model of a site: its hosts, roles, virtual services
// and tunnels, the rules that they must keep, and what follows from them for
// each host (Desired). It knows nothing of the language that a site is written
// in; package hclfile reads that.
package inventory

import (
	"encoding/json"
	"net/netip"
)

// OS is a kind of operating system: "linux", "freebsd" or "solaris" (which
// covers Solaris 10, 11 and illumos).
type OS string

// The operating systems.
const (
	Linux   OS = "linux"
	FreeBSD OS = "freebsd"
	Solaris OS = "solaris"
)

// Method is a forwarding method: "nat", "dr" or "tun".
type Method string

// The forwarding methods.
const (
	NAT Method = "nat"
	DR  Method = "dr"
	TUN Method = "tun"
)

// Managed and Foreign say who owns a VIP or the weights of a service.
const (
	Managed = "managed"
	Foreign = "foreign"
)

// A Site is one inventory, with every default filled in.
type Site struct {
	Name     string // of the file without its ending, or of the folder; of a site.hcl, its folder
	Roles    []Role
	Hosts    []*Host // by name
	Services []*VirtualService
	Tunnels  []*Tunnel
	Rollout  Rollout
	Drift    *Drift // nil: no drift block
}

// A Role is a name that hosts share.
type Role struct {
	Name string
	Src  Source
}

// SSH says how to reach a host. The zero value of a field means its default,
// which the dialer fills in.
type SSH struct {
	User          string   // default "root"
	Port          int      // default 22
	IdentityFiles []string // absolute, or beginning with "~/"; empty: the agent, then ~/.ssh/id_*
	KnownHosts    Paths    // default: what ssh_config says, else ~/.ssh/known_hosts and the system's
	// Config is the ssh_config to read; "": ~/.ssh/config and the system's;
	// NoConfig: none.
	Config string
	// ProxyJump are the hosts that lead to it, the first first: hosts of the site
	// by name, or [user@]host[:port]. nil: what ssh_config says; empty: none.
	ProxyJump        []string
	LegacyAlgorithms bool
	ConnectTimeout   int // seconds, default 10
}

// NoConfig says that no ssh_config is read.
const NoConfig = "false"

// Paths are names of files. As JSON one alone is a string, which is what earlier
// builds wrote and read.
type Paths []string

// MarshalJSON gives a string for one path, and for none.
func (p Paths) MarshalJSON() ([]byte, error) {
	switch len(p) {
	case 0:
		return []byte(`""`), nil
	case 1:
		return json.Marshal(p[0])
	}
	return json.Marshal([]string(p))
}

// UnmarshalJSON reads a string or a list of them.
func (p *Paths) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		if *p = nil; one != "" {
			*p = Paths{one}
		}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(p))
}

// A Host is one machine of the site, its roles' values folded in.
type Host struct {
	Name         string
	OS           OS
	Release      string // what `uname -r` says; "": found out when connected
	Roles        []string
	Address      string // where SSH goes: an address or a name
	SSH          SSH
	Gateway      netip.Addr // zero: not given
	Agent        *bool      // nil: chosen by facts
	Connection   string     // "ssh" or "local"
	Become       string     // "", "sudo", "doas", "pfexec"
	Network      string     // "": by facts; "ifcfg", "rc.conf", "hostname-files", "none"
	IPForward    *bool      // nil: true on a director with a NAT service, else unmanaged
	TunnelSource netip.Addr // zero: chosen by rule
	Interfaces   []Interface
	// Incomplete: a value could not be read, and was reported. Rules that
	// need the whole host are not judged.
	Incomplete bool
	Src        Source
}

// An Interface holds a host's own addresses.
type Interface struct {
	Device    string         `json:"device"`
	Addresses []netip.Prefix `json:"addresses"`
	Src       Source         `json:"-"`
}

// A VirtualService is one service of the site; several Ports make one IPVS
// service each.
type VirtualService struct {
	Name               string
	Director           string       // role
	Pool               string       // role
	Address            netip.Addr   // zero: none, or Addresses
	Addresses          []netip.Addr // of a mark that stands for several; all of one family
	Ports              []int        // empty with FWMark
	FWMark             uint32       // 0: none
	IPv6               bool         // the family, of Address or, with FWMark alone, as said
	Protocol           string       // "tcp", "udp", "sctp"
	Scheduler          string
	SchedulerFlags     []string
	Method             Method
	Weight             int
	PersistenceTimeout int // seconds; 0: none
	PersistenceNetmask int // length; 0: the full one
	OnePacket          bool
	TunnelPeer         netip.Addr
	Interface          string // "" chosen by rule
	VIP                string // Managed, Foreign
	Weights            string // Managed, Foreign
	Members            string // Managed, Foreign; "": as Weights
	ClientNetworks     []netip.Prefix
	RequireListener    bool
	Proof              bool
	Probe              *Probe
	RealServers        []RealServer // what differs from the pool, or lies outside it
	Incomplete         bool         // as with a Host
	Src                Source
}

// VIPs are the virtual addresses of the service: none of a mark that says none,
// several of a mark with Addresses, else one.
func (v *VirtualService) VIPs() []netip.Addr {
	if v.Address.IsValid() {
		return []netip.Addr{v.Address}
	}
	return v.Addresses
}

// ForeignMembers says that a health checker decides which members are in the
// table.
func (v *VirtualService) ForeignMembers() bool {
	return v.Members == Foreign || v.Members == "" && v.Weights == Foreign
}

// A Probe is what verification sends to a UDP or SCTP service, and awaits.
type Probe struct{ Send, Expect string }

// A RealServer is what one host of a service has for itself. nil and zero
// mean: from the service. A host may have several, with different ports, by NAT.
type RealServer struct {
	Host           string
	Weight         *int
	Port           *int
	Method         Method
	Address        netip.Addr
	UpperThreshold uint32
	LowerThreshold uint32
	Src            Source
}

// A Tunnel is a plain IP-in-IP tunnel between two hosts.
type Tunnel struct {
	Name       string
	Ends       [2]TunnelEnd
	Incomplete bool // as with a Host
	Src        Source
}

// A TunnelEnd is one host's side.
type TunnelEnd struct {
	Host      string
	Inside    netip.Addr
	Outside   netip.Addr // zero in the source: the host's address
	Interface string     // "": the first free one
	Src       Source
}

// Rollout is how a run goes through the fleet.
type Rollout struct {
	Batch          []Share // of the disturbed real servers; the last is repeated
	Drain          int     // seconds; 0: no drain
	MaxFailures    int
	OnFailure      string // "host", "fleet"
	ConfirmTimeout int    // seconds
	Src            Source
}

// A Share is a number or a percentage.
type Share struct {
	N       int
	Percent bool
}

// Drift is the schedule of drift detection and who is told.
type Drift struct {
	Schedule  string // cron
	Every     int    // seconds
	Jitter    int    // seconds
	Timeout   int    // seconds
	Parallel  int
	Repair    bool
	RepairMax int
	Retention int // seconds
	Listen    string
	TLSCert   string
	TLSKey    string
	TokenFile string
	Alerts    []Alert
	Src       Source
}

// An Alert is one receiver.
type Alert struct {
	Kind      string // "webhook", "alertmanager", "command"
	URL       string
	TokenFile string
	Argv      []string
}
