package linux

import (
	gopath "path"
	"slices"
	"strings"

	"github.com/lvsfleet/lvsfleet/agent/lab/sim"
)

// A setting is a line of a sysctl file.
type setting struct {
	key   string // canonical; may hold a pattern
	value string
	skip  bool // "-key" alone: patterns leave it out
}

// merged are the files of one folder name that systemd reads below /etc, /run,
// /usr/local/lib and /usr/lib: in the order of their names, the folder that
// comes first wins, a link to /dev/null or an empty file masks
// (sysctl.d(5), modules-load.d(5)).
func merged(f *sim.FS, folder string) []string {
	found := map[string]string{}
	for _, dir := range []string{"/etc/", "/run/", "/usr/local/lib/", "/usr/lib/"} {
		for _, name := range names(f, dir+folder) {
			if strings.HasSuffix(name, ".conf") && found[name] == "" {
				found[name] = dir + folder + "/" + name
			}
		}
	}
	var order, files []string
	for name := range found {
		order = append(order, name)
	}
	slices.Sort(order)
	for _, name := range order {
		files = append(files, found[name])
	}
	return files
}

// settings are all that systemd-sysctl applies, in its order: of one key the
// last assignment counts, in its place.
func settings(f *sim.FS) []setting {
	var list []setting
	for _, file := range merged(f, "sysctl.d") {
		for line := range strings.Lines(text(f, file)) {
			line = strings.TrimSpace(line)
			if line == "" || line[0] == '#' || line[0] == ';' {
				continue
			}
			name, value, assigned := strings.Cut(line, "=")
			name = strings.TrimSpace(name)
			minus := strings.HasPrefix(name, "-")
			s := setting{canonical(strings.TrimPrefix(name, "-")), strings.TrimSpace(value), minus && !assigned}
			if !assigned && !minus {
				continue
			}
			list = slices.DeleteFunc(list, func(o setting) bool { return o.key == s.key })
			list = append(list, s)
		}
	}
	return list
}

// apply makes the settings that want lets through. What the kernel does not
// have is passed over. Patterns are known since systemd 246; keys that are
// named themselves win over them (sysctl.d(5)).
func apply(k kernel, list []setting, want func(key string) bool) {
	named := map[string]bool{}
	for _, s := range list {
		named[s.key] = true
	}
	for _, s := range list {
		switch {
		case s.skip:
		case !strings.ContainsAny(s.key, "*?["):
			if want(s.key) {
				_ = k.setSysctl(s.key, s.value)
			}
		case k.era < current:
		default:
			var keys []string
			for key := range k.Sysctls {
				ok, _ := gopath.Match(strings.ReplaceAll(s.key, ".", "\x01"), strings.ReplaceAll(key, ".", "\x01"))
				if ok && want(key) && !named[key] {
					keys = append(keys, key)
				}
			}
			slices.Sort(keys)
			for _, key := range keys {
				_ = k.setSysctl(key, s.value)
			}
		}
	}
}

// udev is 99-systemd.rules: when an interface other than lo appears, its own
// keys are set again.
func udev(f *sim.FS, k kernel, dev string) {
	if dev == "lo" {
		return
	}
	apply(k, settings(f), func(key string) bool {
		return strings.HasPrefix(key, confKey(4, dev, "")) || strings.HasPrefix(key, confKey(6, dev, ""))
	})
}
