package director

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
	"github.com/lvsfleet/lvsfleet/providers/linux/systemd"
	"github.com/lvsfleet/lvsfleet/providers/note"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

const (
	unitName   = "ipvsadm.service"
	wantsLink  = "/etc/systemd/system/multi-user.target.wants/" + unitName
	debianConf = "/etc/default/ipvsadm"
	saveConf   = "/etc/sysconfig/ipvsadm-config"
)

// Facts are what a director's boot is like.
type Facts struct {
	Way   Way
	Rules string     // the file that is loaded at boot
	Note  *note.Note // what is doubtful about it; nil: nothing

	Running bool // systemd is what runs here (sd_booted(3): /run/systemd/system)
	// Own: our own unit loads the rules, before any network.
	Own bool

	// Systemd.
	Masked bool     // the distribution's unit is
	Unit   string   // path of the unit
	Stop   []string // its stop commands, but for what our drop-in makes of them
	Saves  bool     // one of them saves the live table
	Wants  string   // target of the link that enables it; "" none

	// Debian and SysV.
	Start   string  // how a start link begins: "S08"
	Levels  []Level // 2 to 5
	HasConf bool    // SysV: saveConf is there

	Taken []ipvs.Taken // of a Keeper
}

// A Level is the folder of a runlevel.
type Level struct {
	Dir   string
	Links []host.Entry // of ipvsadm alone: "S08ipvsadm", "K92ipvsadm"
}

// RulesFile is the path of the file that h, a Linux machine, loads its IPVS
// rules from at boot; "" where nothing is written for it, or could be loaded.
func RulesFile(ctx context.Context, h host.Host, id host.Identity, network string) (string, error) {
	f, err := Gather(ctx, h, id, inventory.Desired{Network: network, Director: &inventory.Director{}})
	var refusal *step.Refusal
	if errors.As(err, &refusal) {
		return "", nil
	}
	return f.Rules, err
}

// Gather finds out how the host loads its rules at boot. It only reads. A
// director on which nothing could is refused. Where d asks for nothing of the
// network at boot, that is a note, and rules are loaded only where systemd
// runs.
func Gather(ctx context.Context, h host.Host, id host.Identity, d inventory.Desired) (Facts, error) {
	if d.Director == nil {
		return Facts{}, nil
	}
	f, err := gather(ctx, h, id, d)
	if k, ok := host.As[Keeper](h); ok {
		f.Taken = k.Taken()
	}
	return f, err
}

func gather(ctx context.Context, h host.Host, id host.Identity, d inventory.Desired) (Facts, error) {
	runs, err := systemd.Runs(ctx, h)
	if err != nil {
		return Facts{}, err
	}
	none := d.Network == "none"
	if none && !runs {
		return Facts{}, nil
	}
	f, err := look(ctx, h, id, runs)
	var refusal *step.Refusal
	if none && errors.As(err, &refusal) {
		why := note.New(note.RulesNotLoaded, refusal.Reason)
		return Facts{Running: runs, Note: &why}, nil
	}
	f.Running = runs
	f.Own = runs && err == nil
	return f, err
}

// look finds the distribution's service. With runs, systemd does.
func look(ctx context.Context, h host.Host, id host.Identity, runs bool) (Facts, error) {
	masks, err := list(ctx, h, "/etc/systemd/system")
	if err != nil {
		return Facts{}, err
	}
	masked := slices.ContainsFunc(masks, func(e host.Entry) bool { return e.Name == unitName && e.Link == "/dev/null" }) // systemd.unit(5)
	if masked && !runs {
		return Facts{}, step.Refuse("systemctl unmask "+unitName, "%s is masked: IPVS rules would not be loaded at boot", unitName)
	}
	dirs := []string{"/etc/systemd/system/", "/usr/lib/systemd/system/", "/lib/systemd/system/"}
	if masked {
		dirs = dirs[1:]
	}
	for _, dir := range dirs {
		unit, ok, err := read(ctx, h, dir+unitName)
		if err != nil {
			return Facts{}, err
		}
		if ok {
			f, err := redHat(ctx, h, dir+unitName, string(unit.Data))
			f.Masked = masked
			return f, err
		}
	}
	for _, p := range []string{"/etc/init.d/ipvsadm", "/etc/rc.d/init.d/ipvsadm"} {
		script, ok, err := read(ctx, h, p)
		if err != nil {
			return Facts{}, err
		}
		if !ok {
			continue
		}
		debian, err := isDebian(ctx, h)
		if err != nil {
			return Facts{}, err
		}
		if debian || strings.Contains(string(script.Data), debianConf) {
			return scripts(ctx, h, Debian, string(script.Data))
		}
		return scripts(ctx, h, SysV, string(script.Data))
	}
	return unseen(ctx, h, id)
}

// unseen is a host without the service. Where ipvsadm itself is there, or may
// be (a copy of /etc alone shows no units), its system's usual way is taken.
func unseen(ctx context.Context, h host.Host, id host.Identity) (f Facts, err error) {
	there, err := installed(ctx, h, "ipvsadm")
	if err != nil {
		return Facts{}, err
	}
	if !there {
		return Facts{}, step.Refuse(`install the package ipvsadm, or ask for live settings alone with network = "none"`,
			"nothing here loads IPVS rules at boot: they would be lost with the next one")
	}
	debian, err := isDebian(ctx, h)
	switch {
	case err != nil:
		return Facts{}, err
	case debian:
		f, err = scripts(ctx, h, Debian, "")
	case host.Older(id.Release, 3, 0, 0):
		f, err = scripts(ctx, h, SysV, "")
	default:
		const unit = "[Service]\nExecStop=/bin/bash -c \"exec /sbin/ipvsadm-save -n > /etc/sysconfig/ipvsadm\"\nExecStop=/sbin/ipvsadm -C\n"
		f, err = redHat(ctx, h, "/usr/lib/systemd/system/"+unitName, unit)
	}
	missing := note.New(note.RulesLoader, f.Rules, f.Way)
	f.Note = &missing
	return f, err
}

// installed looks for a program without running it: ipvsadm loads the ip_vs
// module whatever it is asked, and a look must change nothing.
func installed(ctx context.Context, h host.Host, name string) (bool, error) {
	for _, dir := range strings.Split(host.AdminPath, ":") {
		_, err := step.Lstat(ctx, h, dir+"/"+name)
		if err == nil {
			return true, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return false, fmt.Errorf("look for %s: %w", name, err)
		}
	}
	return false, nil
}

func isDebian(ctx context.Context, h host.Host) (bool, error) {
	_, ok, err := read(ctx, h, "/etc/debian_version")
	return ok, err
}

// redHat reads Red Hat's unit (EL7 and later) with its drop-ins.
func redHat(ctx context.Context, h host.Host, unit, text string) (Facts, error) {
	f := Facts{Way: Systemd, Unit: unit, Rules: "/etc/sysconfig/ipvsadm"}
	texts := []string{text}
	found := map[string]string{}
	for _, dir := range []string{"/etc", "/run", "/usr/lib"} {
		dir += "/systemd/system/" + unitName + ".d"
		entries, err := list(ctx, h, dir)
		if err != nil {
			return Facts{}, err
		}
		for _, e := range entries {
			if strings.HasSuffix(e.Name, ".conf") && e.Name != dropIn && found[e.Name] == "" {
				found[e.Name] = path.Join(dir, e.Name)
			}
		}
	}
	names := make([]string, 0, len(found))
	for n := range found {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		file, ok, err := read(ctx, h, found[n])
		if err != nil {
			return Facts{}, err
		}
		if ok {
			texts = append(texts, string(file.Data))
		}
	}
	for _, cmd := range commands(texts, "ExecStart") {
		if _, file, ok := strings.Cut(cmd, "<"); ok {
			if w := strings.Fields(strings.Trim(file, `"' `)); len(w) > 0 && strings.HasPrefix(w[0], "/") {
				f.Rules = w[0]
			}
		}
	}
	f.Stop = commands(texts, "ExecStop")
	f.Saves = slices.ContainsFunc(f.Stop, saves)
	entries, err := list(ctx, h, path.Dir(wantsLink))
	if err != nil {
		return Facts{}, err
	}
	for _, e := range entries {
		if e.Name == unitName {
			f.Wants = e.Link
		}
	}
	return f, nil
}

// saves says whether a stop command writes the live table somewhere.
func saves(cmd string) bool {
	return strings.Contains(cmd, "ipvsadm-save") || strings.Contains(cmd, "ipvsadm -S") || strings.Contains(cmd, "ipvsadm --save")
}

// commands gives the values of a list setting of [Service] in a unit and its
// drop-ins: each assignment adds one, an empty one empties the list
// (systemd.service(5)).
func commands(texts []string, name string) []string {
	var out []string
	for _, t := range texts {
		section := ""
		for l := range strings.Lines(t) {
			l = strings.TrimSpace(l)
			if strings.HasPrefix(l, "[") {
				section = l
				continue
			}
			key, value, ok := strings.Cut(l, "=")
			if !ok || section != "[Service]" || strings.TrimSpace(key) != name {
				continue
			}
			if value = strings.TrimSpace(value); value == "" {
				out = nil
			} else {
				out = append(out, value)
			}
		}
	}
	return out
}

// scripts reads the links of an init script. Red Hat's says in its chkconfig
// line where it starts, and is enabled nowhere ("- 08 92"); Debian's is started
// first by the dependencies in its header (insserv(8)).
//
// Red Hat's 08 is before the network. A kernel that has no local address yet,
// not even the loopback's, has no table to look an address up in, takes every
// real server's for a broadcast address, and refuses it with EINVAL
// (__inet_dev_addr_type in net/ipv4/fib_frontend.c, ip_vs_add_dest in
// net/netfilter/ipvs/ip_vs_ctl.c; seen on 6.1): services come up without real
// servers. So a link of ours starts after the network's.
func scripts(ctx context.Context, h host.Host, w Way, script string) (Facts, error) {
	f := Facts{Way: w, Rules: "/etc/sysconfig/ipvsadm", Start: "S08"}
	dirs := "/etc/rc.d/rc%d.d"
	if w == Debian {
		f.Rules, f.Start, dirs = "/etc/ipvsadm.rules", "S01", "/etc/rc%d.d"
	}
	for l := range strings.Lines(script) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(l), "# chkconfig:"); ok {
			if w := strings.Fields(rest); len(w) > 1 && len(w[1]) == 2 && strings.Trim(w[1], "0123456789") == "" {
				f.Start = "S" + w[1]
			}
			break
		}
	}
	network := -1 // when the network starts
	for n := 2; n <= 5; n++ {
		l := Level{Dir: fmt.Sprintf(dirs, n)}
		entries, err := list(ctx, h, l.Dir)
		if err != nil {
			return Facts{}, err
		}
		for _, e := range entries {
			if len(e.Name) == len("S08ipvsadm") && strings.HasSuffix(e.Name, "ipvsadm") && (e.Name[0] == 'S' || e.Name[0] == 'K') {
				l.Links = append(l.Links, e)
			}
			if nn, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(e.Name, "S"), "network")); w == SysV && err == nil && e.Name == fmt.Sprintf("S%02dnetwork", nn) {
				network = max(network, nn)
			}
		}
		f.Levels = append(f.Levels, l)
	}
	if late := fmt.Sprintf("S%02d", network+1); network >= 0 && f.Start < late {
		f.Start = late
	}
	for _, l := range f.Levels {
		for _, e := range l.Links {
			if e.Name[0] == 'S' && e.Name <= fmt.Sprintf("S%02d", network)+"ipvsadm" {
				early := note.New(note.RulesTooEarly, path.Join(l.Dir, e.Name), network)
				f.Note = &early
			}
		}
	}
	if w == SysV {
		_, ok, err := read(ctx, h, saveConf)
		if err != nil {
			return Facts{}, err
		}
		f.HasConf = ok
	}
	return f, nil
}

// read reads a file that may be missing.
func read(ctx context.Context, h host.Host, p string) (host.File, bool, error) {
	f, err := h.ReadFile(ctx, p)
	if errors.Is(err, fs.ErrNotExist) {
		return host.File{}, false, nil
	}
	if err != nil {
		return host.File{}, false, fmt.Errorf("read %s: %w", p, err)
	}
	return f, true, nil
}

// list lists a folder that may be missing.
func list(ctx context.Context, h host.Host, dir string) ([]host.Entry, error) {
	entries, err := h.ReadDir(ctx, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}
	return entries, nil
}
