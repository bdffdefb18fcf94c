package hclfile_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/inventory/hclfile"
)

// load reads a site from text; files are further ones of its folder.
func load(t *testing.T, in hclfile.Input, files map[string]string) *hclfile.Result {
	t.Helper()
	t.Chdir(t.TempDir())
	for name, src := range files {
		if err := os.WriteFile(name, []byte(src), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return hclfile.Load(".", in)
}

func clean(t *testing.T, r *hclfile.Result) *inventory.Site {
	t.Helper()
	if len(r.Diags) > 0 || r.Site == nil {
		t.Fatalf("found fault with:\n%s", text(t, r))
	}
	return r.Site
}

func TestExamplesAreClean(t *testing.T) {
	for _, name := range []string{"nat", "dr", "tun"} {
		t.Run(name, func(t *testing.T) {
			folder := filepath.Join("../../examples", name)
			site := clean(t, hclfile.Load(folder, hclfile.Input{}))
			file := hclfile.Load(filepath.Join(folder, "site.hcl"), hclfile.Input{})
			if d := cmp.Diff(clean(t, file).Hosts, site.Hosts, netip()...); d != "" {
				t.Errorf("read as a file and as a folder:\n%s", d)
			}
			if site.Name != name || file.Site.Name != name {
				t.Errorf("names %q and %q", site.Name, file.Site.Name)
			}
		})
	}
}

const small = `
role "director" {}
role "web" {}
host "lb" {
  os      = "linux"
  roles   = ["director"]
  address = "192.168.0.254"
  interface "eth0" { address = "192.168.0.254/24" }
}
host "rs160" {
  os      = "linux"
  roles   = ["web"]
  address = "192.168.0.160"
  interface "eth0" { address = "192.168.0.160/24" }
}
`

const service = `
virtual_service "http" {
  director = "director"
  pool     = "web"
  address  = "192.168.0.200"
  port     = 80
  method   = "dr"
}
`

func TestDefaults(t *testing.T) {
	site := clean(t, load(t, hclfile.Input{}, map[string]string{"site.hcl": small + service}))
	v := *site.Services[0]
	v.Src = inventory.Source{}
	want := inventory.VirtualService{
		Name: "http", Director: "director", Pool: "web", Address: addr("192.168.0.200"), Ports: []int{80},
		Protocol: "tcp", Scheduler: "wlc", Method: "dr", Weight: 1, TunnelPeer: addr("192.0.0.8"),
		VIP: "managed", Weights: "managed", Proof: true,
	}
	if d := cmp.Diff(want, v, netip()...); d != "" {
		t.Errorf("service (-want +got):\n%s", d)
	}
	rollout := site.Rollout
	if d := cmp.Diff(inventory.Rollout{
		Batch: []inventory.Share{{N: 1}, {N: 50, Percent: true}}, Drain: 30, OnFailure: "host", ConfirmTimeout: 60,
	}, rollout); d != "" {
		t.Errorf("rollout (-want +got):\n%s", d)
	}
	if h := site.Host("rs160"); h.Connection != "ssh" || h.Agent != nil || h.IPForward != nil || site.Drift != nil {
		t.Errorf("host: %+v", h)
	}
}

func TestEverythingWritten(t *testing.T) {
	site := clean(t, load(t, hclfile.Input{}, map[string]string{"site.hcl": `
ssh {
  user          = "admin"
  identity_file = "keys/id"
  known_hosts   = "~/.ssh/fleet"
}
role "director" { agent = false }
role "web" {
  ssh { port = 2222 }
  become = "sudo"
}
host "lb" {
  os            = "linux"
  release       = "2.6.15"
  roles         = ["director"]
  address       = "lb.example.net"
  gateway       = "192.168.0.251"
  connection    = "local"
  network       = "none"
  ip_forward    = true
  tunnel_source = "192.168.0.253"
  interface "eth0" { addresses = ["192.168.0.254/24", "192.168.0.253/24"] }
}
host "rs" {
  os      = "freebsd"
  roles   = ["web"]
  address = "192.168.0.160"
  agent   = true
  ssh {
    user            = "root"
    identity_files  = ["/a", "~/b"]
    connect_timeout = 3
  }
  interface "em0" { address = "192.168.0.160/24" }
}
virtual_service "dns" {
  director            = "director"
  pool                = "web"
  address             = "192.168.0.200"
  ports               = [53, 5353]
  protocol            = "udp"
  scheduler           = "mh"
  scheduler_flags     = ["mh-port", "mh-fallback"]
  method              = "tun"
  weight              = 7
  persistence_timeout = 300
  persistence_netmask = "255.255.255.0"
  one_packet          = true
  tunnel_peer         = "192.168.10.99"
  interface           = "eth0"
  vip                 = "foreign"
  weights             = "foreign"
  client_networks     = ["10.1.2.3/8"]
  require_listener    = true
  proof               = false
  probe {
    send   = "x"
    expect = "y"
  }
  real_server "rs" {
    weight          = 0
    port            = 53
    method          = "nat"
    upper_threshold = 4294967295
    lower_threshold = 5
  }
}
tunnel "t" {
  end "lb" {
    inside  = "172.16.0.1"
    outside = "192.168.0.254"
  }
  end "rs" {
    inside    = "172.16.0.2"
    interface = "gif7"
  }
}
rollout {
  batch           = [2, "25%", "50%"]
  drain           = 0
  max_failures    = 3
  on_failure      = "fleet"
  confirm_timeout = 120
}
drift {
  every      = "15m"
  jitter     = 30
  timeout    = "1h30m"
  parallel   = 8
  repair     = true
  repair_max = 2
  retention  = "90d"
  listen     = "127.0.0.1:9200"
  token_file = "token"
  alert "webhook" { url = "https://example.net/" }
  alert "command" { argv = ["logger", "drift"] }
}
`}))
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range site.Hosts {
		h.Src = inventory.Source{}
		for i := range h.Interfaces {
			h.Interfaces[i].Src = inventory.Source{}
		}
	}
	yes, no := true, false
	zero, port := 0, 53
	want := []*inventory.Host{{
		Name: "lb", OS: "linux", Release: "2.6.15", Roles: []string{"director"}, Address: "lb.example.net",
		SSH:     inventory.SSH{User: "admin", IdentityFiles: []string{filepath.Join(dir, "keys/id")}, KnownHosts: inventory.Paths{"~/.ssh/fleet"}},
		Gateway: addr("192.168.0.251"), Agent: &no, Connection: "local", Network: "none", IPForward: &yes,
		TunnelSource: addr("192.168.0.253"),
		Interfaces:   []inventory.Interface{{Device: "eth0", Addresses: prefixes("192.168.0.254/24", "192.168.0.253/24")}},
	}, {
		Name: "rs", OS: "freebsd", Roles: []string{"web"}, Address: "192.168.0.160", Agent: &yes, Connection: "ssh", Become: "sudo",
		SSH:        inventory.SSH{User: "root", Port: 2222, IdentityFiles: []string{"/a", "~/b"}, KnownHosts: inventory.Paths{"~/.ssh/fleet"}, ConnectTimeout: 3},
		Interfaces: []inventory.Interface{{Device: "em0", Addresses: prefixes("192.168.0.160/24")}},
	}}
	if d := cmp.Diff(want, site.Hosts, netip()...); d != "" {
		t.Errorf("hosts (-want +got):\n%s", d)
	}
	v := *site.Services[0]
	v.Src, v.RealServers[0].Src = inventory.Source{}, inventory.Source{}
	if d := cmp.Diff(inventory.VirtualService{
		Name: "dns", Director: "director", Pool: "web", Address: addr("192.168.0.200"), Ports: []int{53, 5353},
		Protocol: "udp", Scheduler: "mh", SchedulerFlags: []string{"mh-port", "mh-fallback"}, Method: "tun", Weight: 7,
		PersistenceTimeout: 300, PersistenceNetmask: 24, OnePacket: true, TunnelPeer: addr("192.168.10.99"),
		Interface: "eth0", VIP: "foreign", Weights: "foreign", ClientNetworks: prefixes("10.0.0.0/8"),
		RequireListener: true, Probe: &inventory.Probe{Send: "x", Expect: "y"},
		RealServers: []inventory.RealServer{{Host: "rs", Weight: &zero, Port: &port, Method: "nat", UpperThreshold: 1<<32 - 1, LowerThreshold: 5}},
	}, v, netip()...); d != "" {
		t.Errorf("service (-want +got):\n%s", d)
	}
	site.Rollout.Src, site.Drift.Src = inventory.Source{}, inventory.Source{}
	if d := cmp.Diff(inventory.Rollout{
		Batch: []inventory.Share{{N: 2}, {N: 25, Percent: true}, {N: 50, Percent: true}},
		Drain: 0, MaxFailures: 3, OnFailure: "fleet", ConfirmTimeout: 120,
	}, site.Rollout); d != "" {
		t.Errorf("rollout (-want +got):\n%s", d)
	}
	if d := cmp.Diff(&inventory.Drift{
		Every: 900, Jitter: 30, Timeout: 5400, Parallel: 8, Repair: true, RepairMax: 2, Retention: 90 * 24 * 3600,
		Listen: "127.0.0.1:9200", TokenFile: filepath.Join(dir, "token"),
		Alerts: []inventory.Alert{{Kind: "webhook", URL: "https://example.net/"}, {Kind: "command", Argv: []string{"logger", "drift"}}},
	}, site.Drift); d != "" {
		t.Errorf("drift (-want +got):\n%s", d)
	}
	ends := site.Tunnels[0].Ends
	if ends[0].Outside != addr("192.168.0.254") || ends[1].Interface != "gif7" || ends[1].Inside != addr("172.16.0.2") {
		t.Errorf("tunnel: %+v", ends)
	}
}

func TestForEach(t *testing.T) {
	site := clean(t, load(t, hclfile.Input{}, map[string]string{"site.hcl": small + service + `
locals {
  net  = "192.168.0.0/24"
  more = { for i in range(161, 164) : "rs${i}" => { ip = cidrhost(local.net, i), gw = i == 162 ? "192.168.0.50" : null } }
}
host "${each.key}.example" {
  for_each = local.more
  os       = "freebsd"
  roles    = ["web"]
  address  = each.value.ip
  gateway  = each.value.gw
  interface "em0" { address = "${each.value.ip}/24" }
}
host "set-${each.value}" {
  for_each = toset(["a"])
  os       = "linux"
  address  = "192.168.0.9"
  interface "eth0" { address = "192.168.0.9/24" }
}
`}))
	var got []string
	for _, h := range site.Hosts {
		got = append(got, h.Name+" "+h.Address+" "+h.Gateway.String())
	}
	want := []string{
		"lb 192.168.0.254 invalid IP", "rs160 192.168.0.160 invalid IP", "rs161.example 192.168.0.161 invalid IP",
		"rs162.example 192.168.0.162 192.168.0.50", "rs163.example 192.168.0.163 invalid IP", "set-a 192.168.0.9 invalid IP",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestOneMistakeInForEachIsSaidOnce(t *testing.T) {
	r := load(t, hclfile.Input{}, map[string]string{"site.hcl": small + service + `
host "h${each.key}" {
  for_each = toset(["1", "2", "3"])
  os       = "linux"
  address  = each.nothing
  interface "eth0" { address = "192.168.0.${each.key}" }
}
`})
	if len(r.Diags) != 2 {
		t.Errorf("want the attribute and the length once each:\n%s", text(t, r))
	}
}

func TestFolderIsOneSite(t *testing.T) {
	files := map[string]string{
		"a.hcl": service, "b.hcl": small, "notes.txt": "}{", ".#a.hcl": "}{", "c.hcl": "locals {\n  x = 1\n}\n",
	}
	r := load(t, hclfile.Input{}, files)
	site := clean(t, r)
	if len(site.Hosts) != 2 || len(site.Services) != 1 {
		t.Errorf("%d hosts, %d services", len(site.Hosts), len(site.Services))
	}
	if d := cmp.Diff([]string{"a.hcl", "b.hcl", "c.hcl"}, r.Files); d != "" {
		t.Errorf("files:\n%s", d)
	}
}

func TestStrict(t *testing.T) {
	r := load(t, hclfile.Input{}, map[string]string{"site.hcl": "role \"spare\" {}\n" + small + service})
	if r.Failed() || r.Site == nil || len(r.Diags) != 1 {
		t.Fatalf("want one warning:\n%s", text(t, r))
	}
	r.Strict()
	if !r.Failed() || r.Site != nil || !strings.HasPrefix(text(t, r), "Error: LVS062") {
		t.Errorf("a warning is no error:\n%s", text(t, r))
	}
	r = load(t, hclfile.Input{}, map[string]string{"site.hcl": small + service})
	if r.Strict(); r.Failed() || r.Site == nil {
		t.Error("a clean site fails")
	}
}

func TestHash(t *testing.T) {
	hash := func(in hclfile.Input, src string) string {
		t.Helper()
		r := load(t, in, map[string]string{"site.hcl": src})
		clean(t, r)
		return r.Hash
	}
	src := "variable \"x\" { default = 1 }\n" + small + service
	first := hash(hclfile.Input{}, src)
	if len(first) != 64 || hash(hclfile.Input{}, src) != first {
		t.Errorf("the same site has two names: %s", first)
	}
	if hash(hclfile.Input{Environ: []string{"HOME=/", "LVSFLEET_VAR_other=2"}}, src) != first {
		t.Error("the environment beside the variables counts")
	}
	if hash(hclfile.Input{Vars: []string{"x=2"}}, src) == first {
		t.Error("a variable's value does not count")
	}
	if hash(hclfile.Input{}, src+"# more\n") == first {
		t.Error("the file does not count")
	}
}

func TestColor(t *testing.T) {
	r := load(t, hclfile.Input{}, map[string]string{"site.hcl": "role \"spare\" {}\n" + small + service + "nothing \"x\" {}\n"})
	var out bytes.Buffer
	if err := r.Write(&out, 0, true); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\x1b[33mWarning\x1b[0m: LVS062", "\x1b[31mError\x1b[0m: Unsupported", "\x1b[1;4mnothing\x1b[0m \"x\" {}"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

func TestManyAlikeAtOnePlace(t *testing.T) {
	r := load(t, hclfile.Input{}, map[string]string{"site.hcl": small + service + `
host "h${each.key}" {
  for_each = toset([for i in range(100) : tostring(i)])
  os       = "linux"
  roles    = ["wbe"]
  address  = "192.168.0.1"
}
`})
	if len(r.Diags) != 100 {
		t.Errorf("%d diagnostics, want one for each host", len(r.Diags))
	}
	if got := text(t, r); strings.Count(got, "Error:") != 5 || !strings.Contains(got, "And 95 more of these at site.hcl line 28.") {
		t.Error(got)
	}
}

func TestSiteName(t *testing.T) {
	t.Chdir(t.TempDir())
	for path, want := range map[string]string{
		"/etc/lvs/web/site.hcl": "web", "/etc/lvs/web": "web", "/etc/lvs/web/": "web", "/etc/lvs/web.hcl": "web",
		"/etc/lvs/site": "site", "/etc/lvs/site/site.hcl": "site", "web.v2/site.hcl": "web.v2", "web/../db/site.hcl": "db",
	} {
		if got := hclfile.SiteName(path); got != want {
			t.Errorf("%s is called %q, not %q", path, got, want)
		}
	}
	clean(t, load(t, hclfile.Input{}, map[string]string{"site.hcl": small + service}))
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{".", "site.hcl"} {
		if r := hclfile.Load(path, hclfile.Input{}); r.Site == nil || r.Site.Name != filepath.Base(wd) {
			t.Errorf("%s: %+v", path, r.Site)
		}
	}
}
