package director

import (
	"context"
	"net/netip"
	"path"
	"slices"
	"strings"

	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// A Way is how a host loads its IPVS rules at boot.
type Way string

// The ways of Debian (an init script, told by /etc/default/ipvsadm), Red Hat
// with systemd (a unit that saves at every stop) and Red Hat before (an init
// script that saves where it is told to).
const (
	Debian  Way = "debian"
	Systemd Way = "systemd"
	SysV    Way = "sysv"
)

// dropIn is the name of our drop-in of ipvsadm.service.
const dropIn = "lvsfleet.conf"

// stopSaving plans that the live table is not saved over the rules when the
// host goes down: the rules hold what the inventory says, the live table what
// a health checker or a drain has made of it, and never the thresholds.
func (f Facts) stopSaving(p *step.Plan) {
	switch f.Way {
	case Systemd:
		if !f.Saves {
			return
		}
		if f.Running {
			p.Live = append(p.Live, unsaved{f.dropIn()})
		}
		p.Boot = append(p.Boot, &step.FileStep{
			Path:  "/etc/systemd/system/" + unitName + ".d/" + dropIn,
			Edits: []step.Edit{func([]byte) ([]byte, error) { return []byte(f.dropIn()), nil }},
		})
	case SysV:
		if f.HasConf {
			p.Boot = append(p.Boot, &step.FileStep{Path: saveConf, Edits: []step.Edit{
				unless("IPVS_SAVE_ON_STOP", "yes", "no"), unless("IPVS_SAVE_ON_RESTART", "yes", "no"),
			}})
		}
	}
}

// dropIn is the content of the drop-in: the unit's own stop commands but for
// those that save. An empty assignment empties the list (systemd.service(5)).
func (f Facts) dropIn() string {
	var b strings.Builder
	b.WriteString("# Made by lvsfleet: stopping must not save the live IPVS table over " + f.Rules + ".\n[Service]\nExecStop=\n")
	for _, cmd := range f.Stop {
		if !saves(cmd) {
			b.WriteString("ExecStop=" + cmd + "\n")
		}
	}
	return b.String()
}

// unsaved is the live part of the drop-in: systemd goes by what it has read,
// so what is written to /etc alone would not hold for the coming shutdown.
// The drop-in lies in /run, gone with a reboot, after which systemd reads that
// of /etc.
type unsaved struct{ content string }

// ID is "systemd:ipvsadm.service".
func (unsaved) ID() string { return "systemd:" + unitName }

// Check holds where either drop-in is there: nothing is put into /etc before
// the one in /run.
func (u unsaved) Check(ctx context.Context, h host.Host) (step.Change, error) {
	const live = "/run/systemd/system/" + unitName + ".d/" + dropIn
	for _, dir := range []string{"/etc", "/run"} {
		f, ok, err := read(ctx, h, dir+"/systemd/system/"+unitName+".d/"+dropIn)
		if err != nil {
			return step.Change{}, err
		}
		if ok && string(f.Data) == u.content {
			return step.Change{}, nil
		}
	}
	file := step.FileStep{Path: live, Edits: []step.Edit{func([]byte) ([]byte, error) { return []byte(u.content), nil }}}
	c, err := file.Check(ctx, h)
	if err != nil {
		return step.Change{}, err
	}
	reload := []string{"systemctl", "daemon-reload"}
	there := step.Cond{Argv: []string{"cat", live}, Match: "ExecStop", Guard: true} // once the file is
	c.Do = append(c.Do, step.Op{Kind: step.Run, Argv: reload, If: []step.Cond{there}})
	c.Undo = append(c.Undo, step.Op{Kind: step.Run, Argv: reload, If: []step.Cond{there.Negate()}})
	c.Want = "the drop-in " + live
	c.Effects = []step.Effect{step.Gain(step.Support, netip.Addr{})}
	return c, nil
}

// enable plans that the rules are loaded at boot.
func (f Facts) enable(p *step.Plan) {
	link := func(path, target string) {
		p.Boot = append(p.Boot, &step.LinkStep{Path: path, Target: target})
	}
	if f.Way == Systemd {
		target := f.Wants
		if target == "" {
			target = f.Unit
		}
		link(wantsLink, target)
		return
	}
	if f.Way == Debian {
		p.Boot = append(p.Boot, &step.FileStep{Path: debianConf, Edits: []step.Edit{assign("AUTO", "true")}})
	}
	for _, l := range f.Levels {
		started := false
		for _, e := range l.Links {
			if e.Name[0] == 'S' {
				started = true
				link(path.Join(l.Dir, e.Name), e.Link)
			}
		}
		if !started {
			link(path.Join(l.Dir, f.Start+"ipvsadm"), "../init.d/ipvsadm")
		}
		for _, e := range l.Links {
			if e.Name[0] == 'K' {
				link(path.Join(l.Dir, e.Name), "")
			}
		}
	}
}

// assign gives the edit that makes a file of shell assignments set name to
// value: the last assignment is changed in place, its comment kept; where
// there is none, one is added.
func assign(name, value string) step.Edit {
	return func(old []byte) ([]byte, error) {
		lines := slices.Collect(strings.Lines(string(old)))
		for i := len(lines) - 1; i >= 0; i-- {
			now, rest, ok := assignment(lines[i], name)
			if !ok {
				continue
			}
			if now == value {
				return old, nil
			}
			lead := lines[i][:strings.Index(lines[i], name)]
			lines[i] = lead + name + `="` + value + `"` + rest
			return []byte(strings.Join(lines, "")), nil
		}
		text := string(old)
		if text != "" && !strings.HasSuffix(text, "\n") {
			text += "\n"
		}
		return []byte(text + name + `="` + value + "\"\n"), nil
	}
}

// unless gives the edit that sets name to value only where it is assigned bad.
func unless(name, bad, value string) step.Edit {
	return func(old []byte) ([]byte, error) {
		for _, l := range slices.Backward(slices.Collect(strings.Lines(string(old)))) {
			if now, _, ok := assignment(l, name); ok {
				if now == bad {
					return assign(name, value)(old)
				}
				return old, nil
			}
		}
		return old, nil
	}
}

// assignment reads one line of shell: the value that it assigns to name, and
// what follows it, with the newline.
func assignment(line, name string) (value, rest string, ok bool) {
	text := strings.TrimLeft(line, " \t")
	text = strings.TrimLeft(strings.TrimPrefix(text, "export "), " \t")
	text, ok = strings.CutPrefix(text, name+"=")
	if !ok {
		return "", "", false
	}
	if text != "" && (text[0] == '"' || text[0] == '\'') {
		if value, rest, ok = strings.Cut(text[1:], text[:1]); ok {
			return value, rest, true
		}
		return "", "\n", true // no closing quote: no shell would take it either
	}
	n := strings.IndexAny(text, " \t\r\n;#")
	if n < 0 {
		n = len(text)
	}
	return text[:n], text[n:], true
}
