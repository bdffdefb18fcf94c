package hclfile

import (
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/lvsfleet/lvsfleet/inventory"
)

// settings are the host-level values of a host or a role, by attribute;
// "ssh.user" is user in the ssh block.
type settings map[string]setting

// A setting is one value. Its v is comparable: two roles disagree where it
// differs.
type setting struct {
	v  any
	at inventory.Range
}

var sshSchema = schema([]string{"user", "port", "identity_file", "identity_files", "known_hosts",
	"legacy_algorithms", "connect_timeout", "config", "proxy_jump"}, nil)

func hostLevel() []string {
	return []string{"gateway", "agent", "connection", "become", "network", "ip_forward", "tunnel_source"}
}

// level reads the host-level attributes and the ssh block of b.
func (d *decoder) level(b *body) settings {
	s := settings{}
	b.put(s, "gateway", b.addr("gateway"))
	b.put(s, "tunnel_source", b.addr("tunnel_source"))
	for _, name := range []string{"agent", "ip_forward"} {
		if on := b.boolean(name); on != nil {
			b.put(s, name, *on)
		}
	}
	for _, name := range []string{"connection", "become", "network"} {
		b.put(s, name, b.str(name))
	}
	if bl := b.once("ssh"); bl != nil {
		sub := d.body(d.content(bl.Body, bl.DefRange, sshSchema), b.ctx)
		maps.Copy(s, d.sshSettings(sub))
		b.bad = b.bad || sub.bad
	}
	return s
}

// put keeps a value that was read; one that says nothing has been reported.
func (b *body) put(s settings, name string, v any) {
	at, written := b.src.Attrs[name]
	switch v := v.(type) {
	case string:
		written = written && v != ""
	case netip.Addr:
		written = written && v.IsValid()
	}
	if written {
		s[name] = setting{v, at}
	}
}

func (d *decoder) sshSettings(b *body) settings {
	s := settings{}
	put := func(name string, v any) {
		if at, written := b.src.Attrs[name]; written {
			s["ssh."+name] = setting{v, at}
		}
	}
	if user := b.str("user"); user != "" {
		if strings.ContainsFunc(user, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune(`"';|&<>()$`+"`\\", r) }) || user[0] == '-' {
			b.wrong(inventory.CodeName, b.Attributes["user"].Expr.Range(), "%q is not the name of a user.", user)
		} else {
			put("user", user)
		}
	}
	if n := b.integer("port", 1, 65535); n != nil {
		put("port", int(*n))
	}
	if n := b.integer("connect_timeout", 1, 3600); n != nil {
		put("connect_timeout", int(*n))
	}
	if on := b.boolean("legacy_algorithms"); on != nil {
		put("legacy_algorithms", *on)
	}
	if list := b.paths("known_hosts"); len(list) > 0 {
		put("known_hosts", strings.Join(list, "\x00"))
	}
	if c := b.sshConfig(); c != "" {
		put("config", c)
	}
	if jumps, said := b.jumps(); said {
		put("proxy_jump", strings.Join(jumps, "\x00"))
	}
	one, many := b.path("identity_file"), b.strs("identity_files")
	if a := b.Attributes["identity_files"]; a != nil && b.Attributes["identity_file"] != nil {
		b.wrong(inventory.CodeExclusive, a.NameRange, "identity_file and identity_files exclude each other: list all in identity_files.")
		return s
	}
	if one != "" {
		s["ssh.identity_files"] = setting{one, b.src.Attrs["identity_file"]}
	} else if len(many) > 0 {
		for i := range many {
			many[i] = absolute(many[i], b.Attributes["identity_files"].Expr.Range())
		}
		put("identity_files", strings.Join(many, "\x00"))
	}
	return s
}

// paths reads one path, or a list of them, made absolute.
func (b *body) paths(name string) []string {
	v, at, ok := b.value(name)
	if !ok {
		return nil
	}
	if v.Type() == cty.String {
		if p := b.path(name); p != "" {
			return []string{p}
		}
		return nil
	}
	var list []string
	for _, p := range b.strs(name) {
		if p == "" {
			b.wrong(inventory.CodeMissing, at, "%s has an empty path.", name)
			continue
		}
		list = append(list, absolute(p, at))
	}
	return list
}

// sshConfig reads which ssh_config is read: a path, or false.
func (b *body) sshConfig() string {
	v, at, ok := b.value("config")
	if !ok {
		return ""
	}
	if v.Type() == cty.Bool {
		if v.True() {
			b.wrong(inventory.CodeType, at, "config is a path, or false: no ssh_config is read.")
			return ""
		}
		return inventory.NoConfig
	}
	return b.path("config")
}

// jumps reads proxy_jump: hosts of the site, or [user@]host[:port]; "none" alone,
// or nothing, is no jump.
func (b *body) jumps() (list []string, said bool) {
	v, at, ok := b.value("proxy_jump")
	if !ok {
		return nil, false
	}
	if v.Type() == cty.String {
		list = []string{v.AsString()}
	} else {
		list = b.strs("proxy_jump")
	}
	if len(list) == 1 && list[0] == "none" {
		list = nil
	}
	for _, j := range list {
		if j == "" || j[0] == '-' || strings.ContainsFunc(j, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune("\"'`;|&<>()$\\,/", r) }) {
			b.wrong(inventory.CodeName, at, "%q in proxy_jump is neither a host of the site nor [user@]host[:port].", j)
			return nil, false
		}
	}
	return list, true
}

// path reads a path, made absolute from the file that it stands in.
func (b *body) path(name string) string {
	s := b.str(name)
	if s == "" {
		b.empty(name)
		return ""
	}
	return absolute(s, b.Attributes[name].Expr.Range())
}

func absolute(path string, at hcl.Range) string {
	if filepath.IsAbs(path) || path == "~" || strings.HasPrefix(path, "~/") {
		return path
	}
	path = filepath.Join(filepath.Dir(at.Filename), path)
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	// The working folder is gone: what is relative to it cannot be found.
	return string(os.PathSeparator) + path
}

var roleSchema = schema(hostLevel(), map[string]string{"ssh": ""})

func (d *decoder) readRoles() []inventory.Role {
	d.roleSettings = map[string]settings{}
	d.merged = map[string]settings{}
	var roles []inventory.Role
	for _, bl := range d.roles {
		name, ok := d.oneLabel(bl, "role")
		if !ok {
			continue
		}
		b := d.body(d.content(bl.Body, bl.DefRange(), roleSchema), d.root)
		s := d.level(b)
		if _, twice := d.roleSettings[name]; !twice {
			d.roleSettings[name] = s
		}
		roles = append(roles, inventory.Role{Name: name, Src: b.src})
	}
	return roles
}

// fromRoles folds the settings of roles into one, and reports where they
// disagree about what the host does not say itself.
func (d *decoder) fromRoles(roles []string, own settings, at inventory.Range, host string) settings {
	key := strings.Join(roles, "\x00")
	merged, done := d.merged[key]
	if !done {
		merged = settings{}
		for _, r := range roles {
			for name, s := range d.roleSettings[r] {
				if _, there := merged[name]; !there {
					merged[name] = s
				}
			}
		}
		d.merged[key] = merged
	}
	if len(roles) < 2 {
		return merged
	}
	for _, r := range roles {
		for _, name := range slices.Sorted(maps.Keys(d.roleSettings[r])) {
			if _, said := own[name]; said || d.roleSettings[r][name].v == merged[name].v {
				continue
			}
			other := ""
			for _, o := range roles {
				if _, has := d.roleSettings[o][name]; has {
					other = o
					break
				}
			}
			d.add(inventory.Report(inventory.CodeRolesClash, at, "Host %q has the roles %q and %q, which set %s to different values.", host, other, r, name))
		}
	}
	return merged
}

// apply folds settings into a host; what comes later wins.
func apply(h *inventory.Host, layers ...settings) {
	for _, layer := range layers {
		for name, s := range layer {
			if !strings.HasPrefix(name, "ssh.") {
				h.Src.Attrs[name] = s.at
			}
			switch name {
			case "gateway":
				h.Gateway = s.v.(netip.Addr)
			case "tunnel_source":
				h.TunnelSource = s.v.(netip.Addr)
			case "agent":
				on := s.v.(bool)
				h.Agent = &on
			case "ip_forward":
				on := s.v.(bool)
				h.IPForward = &on
			case "connection":
				h.Connection = s.v.(string)
			case "become":
				h.Become = s.v.(string)
			case "network":
				h.Network = s.v.(string)
			case "ssh.user":
				h.SSH.User = s.v.(string)
			case "ssh.port":
				h.SSH.Port = s.v.(int)
			case "ssh.connect_timeout":
				h.SSH.ConnectTimeout = s.v.(int)
			case "ssh.legacy_algorithms":
				h.SSH.LegacyAlgorithms = s.v.(bool)
				h.Src.Attrs["legacy_algorithms"] = s.at
			case "ssh.known_hosts":
				h.SSH.KnownHosts = strings.Split(s.v.(string), "\x00")
			case "ssh.config":
				h.SSH.Config = s.v.(string)
			case "ssh.proxy_jump":
				h.SSH.ProxyJump = []string{}
				if list := s.v.(string); list != "" {
					h.SSH.ProxyJump = strings.Split(list, "\x00")
				}
			case "ssh.identity_files":
				h.SSH.IdentityFiles = strings.Split(s.v.(string), "\x00")
			}
		}
	}
}
