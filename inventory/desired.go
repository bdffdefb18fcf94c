package inventory

import "net/netip"

// Desired is what one host must be: all that follows from the site for it,
// with every name resolved. It crosses the wire; providers plan from it and
// from what they find on the host, and from nothing else.
type Desired struct {
	Host       string      `json:"host"`
	OS         OS          `json:"os"`
	Release    string      `json:"release,omitempty"` // as the inventory claims it; "" unsaid
	Address    string      `json:"address"`           // where SSH goes
	Network    string      `json:"network,omitempty"` // "" by facts
	Interfaces []Interface `json:"interfaces"`        // own addresses: verified, not set

	// Gateways are the default routes to hold, at most one of each family.
	// A family without one is not managed.
	Gateways []netip.Addr `json:"gateways,omitempty"`
	// IPForward4 and 6: nil is unmanaged.
	IPForward4 *bool `json:"ip_forward4,omitempty"`
	IPForward6 *bool `json:"ip_forward6,omitempty"`

	VIPs    []VIP        `json:"vips,omitempty"`    // what it carries as a real server, by DR or TUN; by address
	Decaps  []Decap      `json:"decaps,omitempty"`  // LVS tunnels that it unwraps, one per pair of outer addresses
	Tunnels []PlainEnd   `json:"tunnels,omitempty"` // plain tunnels that end here
	NATOf   []netip.Addr `json:"nat_of,omitempty"`  // directors' addresses that it is a NAT real server of; with several directors also the one that moves

	Director *Director `json:"director,omitempty"`
}

// A VIP is a virtual address on a real server. It is there once, however many
// services use it.
type VIP struct {
	Addr   netip.Addr `json:"addr"`
	Method Method     `json:"method"` // DR or TUN
	// Device carries the RIP: it hears the segment's ARP questions (DR), or
	// the wrapped packets (TUN).
	Device string `json:"device"`
	// OnLAN: Device's own subnets hold the VIP, so silence matters for TUN
	// too. Always true with DR.
	OnLAN bool       `json:"on_lan"`
	Peer  netip.Addr `json:"peer"` // the far inside address of a tunnel that must have one; nobody's
}

// A Decap is a tunnel from a director.
type Decap struct {
	Local  netip.Addr   `json:"local"`  // the RIP
	Remote netip.Addr   `json:"remote"` // the director's tunnel source
	VIPs   []netip.Addr `json:"vips"`   // what arrives by it
}

// A PlainEnd is this host's end of a plain tunnel.
type PlainEnd struct {
	Name      string     `json:"name"`
	Peer      string     `json:"peer"`   // the other host
	Inside    netip.Addr `json:"inside"` // here
	FarInside netip.Addr `json:"far_inside"`
	Local     netip.Addr `json:"local"`
	Remote    netip.Addr `json:"remote"`
	Interface string     `json:"interface,omitempty"` // "": the first free one
}

// A Director is what a host must be as a director.
type Director struct {
	VIPs     []DirectorVIP     `json:"vips,omitempty"`
	Services []DirectedService `json:"services,omitempty"` // nil: the table is not looked at
	// Part: the inventory names more services for the director than Services,
	// so nothing can be said of those in its table that are not among them.
	Part bool `json:"part,omitempty"`
	// Schedulers are those of all services, sorted, once each: what has to be
	// loaded before a service can name it.
	Schedulers []string `json:"schedulers,omitempty"`
	// OneArmed are the devices on which NAT real servers are reached and
	// clients come in alike: no redirects there.
	OneArmed []string `json:"one_armed,omitempty"`
	// TunnelRoutes say which source address the route to each TUN real
	// server must select, since its tunnel expects it.
	TunnelRoutes []TunnelRoute `json:"tunnel_routes,omitempty"`
}

// A Withdrawal is an entry of a director's live table that is withdrawn from
// its clients. Its weight becomes 0, live alone: a loan, which the undo of the
// transaction gives back. Where Gone is set the entry is deleted, from the
// rules for the next boot too.
type Withdrawal struct {
	// The service, as in DirectedService.
	Addr     netip.Addr `json:"addr,omitzero"`
	Port     int        `json:"port,omitempty"`
	FWMark   uint32     `json:"fwmark,omitempty"`
	IPv6     bool       `json:"ipv6,omitempty"` // of an FWMark
	Protocol string     `json:"protocol,omitempty"`

	Server     netip.Addr `json:"server"`
	ServerPort int        `json:"server_port"`
	Gone       bool       `json:"gone,omitempty"`
}

// A DirectorVIP is a managed virtual address on the director.
type DirectorVIP struct {
	Addr   netip.Addr `json:"addr"`
	Device string     `json:"device"`
	// Own: the director holds it as its own address; nothing to add.
	Own bool `json:"own,omitempty"`
}

// A TunnelRoute is checked, not made.
type TunnelRoute struct {
	To   netip.Addr `json:"to"`   // the RIP
	From netip.Addr `json:"from"` // the source that the route must select
}

// A DirectedService is one IPVS service (one port) in the inventory's words.
type DirectedService struct {
	Name               string       `json:"name"`
	Addr               netip.Addr   `json:"addr,omitzero"`
	Port               int          `json:"port,omitempty"`
	FWMark             uint32       `json:"fwmark,omitempty"`
	MarkVIPs           []netip.Addr `json:"mark_vips,omitempty"` // of a mark: where clients connect to, as far as it is said
	IPv6               bool         `json:"ipv6,omitempty"`
	Protocol           string       `json:"protocol,omitempty"` // "" with FWMark
	Scheduler          string       `json:"scheduler"`
	SchedulerFlags     []string     `json:"scheduler_flags,omitempty"`
	PersistenceTimeout int          `json:"persistence_timeout,omitempty"`
	PersistenceNetmask int          `json:"persistence_netmask,omitempty"` // length, 0: the full one
	OnePacket          bool         `json:"one_packet,omitempty"`
	ForeignWeights     bool         `json:"foreign_weights,omitempty"` // set once, then no drift
	// ForeignMembers: a health checker decides which real servers are in the
	// table. They are named once, when the service is made.
	ForeignMembers bool             `json:"foreign_members,omitempty"`
	Real           []DirectedServer `json:"real,omitempty"`
}

// A DirectedServer is a real server of a service.
type DirectedServer struct {
	Host           string     `json:"host"`
	Addr           netip.Addr `json:"addr"`
	Port           int        `json:"port"` // 0 with FWMark
	Method         Method     `json:"method"`
	Weight         int        `json:"weight"`
	UpperThreshold uint32     `json:"upper_threshold,omitempty"`
	LowerThreshold uint32     `json:"lower_threshold,omitempty"`
	// Hold: the real server failed or was left out of this run. Its entry
	// stays as it is found, present or absent.
	Hold bool `json:"hold,omitempty"`
	// Join: the entry is added although the members are foreign, since this run
	// took it out, or makes the service.
	Join bool `json:"join,omitempty"`
}
