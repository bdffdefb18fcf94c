package note

// A Code says what kind of thing a note tells.
type Code string

// The codes. What is recorded names them, so none that was ever given changes.
const (
	ReleaseDiffers Code = "release_differs"
	NetworkNone    Code = "network_none"
	RulesNone      Code = "rules_none"

	// Of the live state.
	AddressElsewhere Code = "address_elsewhere"
	AddressLength    Code = "address_length"
	NoRouteYet       Code = "no_route_yet"
	RouteWillBe      Code = "route_will_be"
	RouterAdverts    Code = "router_advertisements"
	ForeignService   Code = "foreign_service"
	ForeignServices  Code = "foreign_services"
	ForeignEnds      Code = "foreign_ends"
	ForeignAddress   Code = "foreign_address"
	EntryChanged     Code = "entry_changed"
	StaysNeeded      Code = "stays_needed"
	NotAsMade        Code = "not_as_made"
	HandedOver       Code = "handed_over"

	// Of the next boot.
	SettingWins       Code = "setting_wins"
	InterfaceOwner    Code = "interface_owner"
	FileHasVIP        Code = "file_has_vip"
	FileKeepsVIP      Code = "file_keeps_vip"
	AddressNotInFile  Code = "address_not_in_file"
	NoKeyfile         Code = "no_keyfile"
	NoNetplanFile     Code = "no_netplan_file"
	NoStanza          Code = "no_stanza"
	OnBootNo          Code = "onboot_no"
	NetworkingNo      Code = "networking_no"
	FileHasRoute      Code = "file_has_route"
	FileMayWin        Code = "file_may_win"
	DHCPMayWin        Code = "dhcp_may_win"
	GatewayNotInNet   Code = "gateway_not_in_net"
	TunnelNotAtBoot   Code = "tunnel_not_at_boot"
	ForeignAtBoot     Code = "foreign_at_boot"
	BootHasVIP        Code = "boot_has_vip"
	LooksLikeCopy     Code = "looks_like_copy"
	ReadAfter         Code = "read_after"
	ReadsAnother      Code = "reads_another"
	RCConfFiles       Code = "rc_conf_files"
	StartIf           Code = "start_if"
	GifInBothLists    Code = "gif_in_both_lists"
	AliasAsleep       Code = "alias_asleep"
	DHCPRoute         Code = "dhcp_route"
	LinesEdited       Code = "lines_edited"
	SuppressionStays  Code = "suppression_stays"
	FolderStays       Code = "folder_stays"
	LinkChanged       Code = "link_changed"
	RuleNotUnderstood Code = "rule_not_understood"
	RulesLoader       Code = "rules_loader_missing"
	RulesTooEarly     Code = "rules_too_early"
	RulesNotLoaded    Code = "rules_not_loaded"

	// Of a run.
	NewWithVersion Code = "new_with_version"
	Settled        Code = "settled"
	ProofBefore    Code = "proof_broken_before"
	ProofBroken    Code = "proof_broken"
	NotProvable    Code = "not_provable"
	NothingLost    Code = "nothing_taken_away"
	HeldEntry      Code = "held_entry"
)

// wordings are the sentences. One that is put better moves what it was to
// earlier, as long as builds before codes may have recorded it.
var wordings = map[Code]wording{
	ReleaseDiffers: {text: "the inventory says release {1}, this host is {2}"},
	NetworkNone: {variants: map[string]string{
		"linux":    `network is "none": only live settings are made, nothing is written for the next boot`,
		"director": `network is "none": of a director's boot, modules, forwarding and rules are written; no address and no route is`,
		"freebsd":  "network is none: nothing persistent is written, a reboot undoes the network settings",
		"solaris":  "network is none: nothing persistent is written, a reboot takes addresses, tunnels and routes away",
	}},
	RulesNone: {
		text:    `network is "none": the IPVS rules are not made to survive a reboot{1}`,
		earlier: []string{`network is "none": the IPVS rules are not made to survive a reboot`},
	},

	AddressElsewhere: {text: "{1} is on {2} as well and is left there", about: []int{1, 2}},
	AddressLength:    {text: "{1} is on {2} with /{3} and is left so", about: []int{1, 2}},
	NoRouteYet:       {text: "there is no route to real server {1} yet", about: []int{1}},
	RouteWillBe:      {text: "the route to real server {1} will be that of gateway {2}", about: []int{1}},
	RouterAdverts:    {text: "a host that forwards IPv6 takes no router advertisements: its default route by them goes away (accept_ra=2 keeps it)"},
	ForeignService: {
		text: "{1} has {2} with {3}, which the inventory does not name: left as it is", about: []int{1, 2},
		earlier: []string{"{1} has {2}, which the inventory does not name: left as it is"}, // as it was known: without the number
	},
	ForeignServices: {text: "{1} has {2} more services that the inventory does not name: left as they are", about: []int{1}},
	ForeignEnds:     {text: "{1} carries the VIP {2} with ends that the inventory does not name: left alone", about: []int{1, 2}},
	ForeignAddress:  {text: "{1} carries {2}, which the inventory does not name: left alone", about: []int{1, 2}},
	EntryChanged:    {text: "{1}; it is left as it is", about: []int{1}},
	StaysNeeded:     {text: "{1} stays as it is: something that is left needs it", about: []int{1}},
	NotAsMade:       {text: "{1} is not as it was made any more, and is left as it is", about: []int{1}},
	HandedOver:      {text: "{1} is left to whoever puts it there now", about: []int{1}},

	SettingWins:       {text: "{1} sets {2} to {3} and is read later than lvsfleet's settings: it wins at boot", about: []int{1, 2}},
	InterfaceOwner:    {text: "{1} is brought up at boot by {2} ({3})", about: []int{1}},
	FileHasVIP:        {text: "{1} has the virtual address {2} as well and is left so", about: []int{1, 2}},
	FileKeepsVIP:      {text: "{1} brings the virtual address {2} up at boot and is left so", about: []int{1, 2}},
	AddressNotInFile:  {text: "{1} does not name the address {2} of {3}: nothing sets it at boot but what else does now", about: []int{1, 2}},
	NoKeyfile:         {text: "NetworkManager has no keyfile for {1}: its profile is one that it made by itself", about: []int{1}},
	NoNetplanFile:     {text: "no file of netplan names {1}", about: []int{1}},
	NoStanza:          {text: "no stanza brings {1} up at boot", about: []int{1}},
	OnBootNo:          {text: "{1} says ONBOOT={2}: its aliases do not come up at boot either", about: []int{1}},
	NetworkingNo:      {text: "{1} says NETWORKING={2}: no interface comes up at boot", about: []int{1}},
	FileHasRoute:      {text: "{1} sets a default route at boot and is left so", about: []int{1}},
	FileMayWin:        {text: "{1} has {2}, which may win at boot", about: []int{1, 2}},
	DHCPMayWin:        {text: "{1} takes its address by {2}, and with it a default route that may win at boot", about: []int{1}},
	GatewayNotInNet:   {text: "gateway {1} is not in the net of the first address of {2}: the scripts do not take it", about: []int{1, 2}},
	TunnelNotAtBoot:   {text: "tunnel {1}: the initscripts of this release bring no IP-in-IP tunnel up, it is gone with a reboot", about: []int{1}},
	ForeignAtBoot:     {text: "{1} names {2}, which the inventory does not: left alone", about: []int{1, 2}},
	BootHasVIP:        {text: "{1} gives the host {2} at boot: left to it", about: []int{1, 2}},
	LooksLikeCopy:     {text: "{1} looks like a copy; Solaris 10 passes it over at boot, illumos would not: better kept elsewhere", about: []int{1}},
	ReadAfter:         {text: "{1} is read after /etc/rc.conf and sets {2}", about: []int{1, 2}},
	ReadsAnother:      {text: "{1}, line {2} reads another file, which lvsfleet does not look into", about: []int{1}},
	RCConfFiles:       {text: "rc_conf_files is set: files that it adds are not looked into"},
	StartIf:           {text: "/etc/start_if.{1} runs at boot before {1} is configured; lvsfleet does not look into it", about: []int{1}},
	GifInBothLists:    {text: "cloned_interfaces and gif_interfaces both name {1}: it has no tunnel at boot", about: []int{1}},
	AliasAsleep:       {text: "{1} has no effect at boot, as ifconfig_lo0_alias{2} is empty or missing; it has once that number is used", about: []int{1}},
	DHCPRoute:         {text: "{1} is configured by DHCP, which may set a default route of its own", about: []int{1}},
	LinesEdited:       {text: "{1}: lines that lvsfleet wrote were edited since, and are left", about: []int{1}},
	SuppressionStays:  {text: "{1}: what it silences stays, the address in {2} needs it", about: []int{1, 2}},
	FolderStays:       {text: "{1} was made by lvsfleet, and is left as {2} is in it", about: []int{1}},
	LinkChanged:       {text: "{1} was changed since lvsfleet made it, and is left", about: []int{1}},
	RuleNotUnderstood: {text: "{1}: line {2} is not understood, and left as it is: {3}", about: []int{1, 3}},
	RulesLoader:       {text: "the service that loads IPVS rules at boot was not found: {1} is written for the one of {2}, and loads once the package ipvsadm is installed whole", about: []int{1}},
	RulesTooEarly:     {text: "{1} starts before the network, when a kernel without any address refuses real servers: give the link a number above {2}", about: []int{1}},

	RulesNotLoaded: {text: "{1}"},

	NewWithVersion: {text: "{1} {2} is new with this version: the next converge makes it so", about: []int{1, 2}},
	Settled:        {text: "{1}"},
	ProofBefore:    {text: "{1}: {2} (it was so before)", about: []int{1, 2}},
	ProofBroken:    {text: "{1}: {2}", about: []int{1, 2}},
	NothingLost:    {text: "{1}", about: []int{1}},
	HeldEntry:      {text: "{1} of {2} is held, and left as it was found: it is not proved in this run ({3})", about: []int{1, 2}},
	NotProvable:    {text: "its path is not provable: {1}", about: []int{1}},
}
