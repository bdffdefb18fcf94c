package freebsd

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/lvsfleet/lvsfleet/providers/freebsd/rcconf"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// A conf is rc.conf and the files that come after it, as boot reads them.
type conf struct {
	era   era
	rc    *rcconf.File
	later []laterFile
	envs  map[Part]rcconf.Env // as env computed them; set forgets
}

type laterFile struct {
	RCFile
	file *rcconf.File
}

// newConf reads text as /etc/rc.conf, and the later files of f.
func newConf(f Facts, text []byte) (*conf, error) {
	c := &conf{era: eraOf(f.Release)}
	var err error
	if c.rc, err = parseRC(rcConf, text); err != nil {
		return nil, err
	}
	for _, l := range f.Later {
		file, err := parseRC(l.Path, l.Data)
		if err != nil {
			return nil, err
		}
		c.later = append(c.later, laterFile{l, file})
	}
	return c, nil
}

func parseRC(path string, text []byte) (*rcconf.File, error) {
	file, err := rcconf.Parse(text)
	var syntax *rcconf.SyntaxError
	if errors.As(err, &syntax) {
		return nil, step.Refuse("mend that line by hand first", "%s, line %d: %s", path, syntax.Line, syntax.Msg)
	}
	return file, err
}

// defaults are what /etc/defaults/rc.conf says of the variables that matter.
func defaults() rcconf.Env {
	env := rcconf.Env{}
	for name, text := range map[string]string{
		"network_interfaces": "auto", "cloned_interfaces": "", "gif_interfaces": "NO",
		"defaultrouter": "NO", "ipv6_defaultrouter": "NO", "gateway_enable": "NO", "ipv6_gateway_enable": "NO",
	} {
		env[name] = rcconf.Value{Text: text, Known: true}
	}
	return env
}

// partOf says which script of rc.d uses a variable.
func partOf(name string) Part {
	switch name {
	case "defaultrouter", "ipv6_defaultrouter", "gateway_enable", "ipv6_gateway_enable":
		return Routing
	}
	return Netif
}

// env is what a script of rc.d sees.
func (c *conf) env(part Part) rcconf.Env {
	if env, ok := c.envs[part]; ok {
		return env
	}
	env := defaults()
	c.rc.Eval(env)
	for _, l := range c.later {
		if l.Part == Everything || l.Part == part {
			l.file.Eval(env)
		}
	}
	if c.envs == nil {
		c.envs = map[Part]rcconf.Env{}
	}
	c.envs[part] = env
	return env
}

// value is what name has at boot; an unset one is empty.
func (c *conf) value(name string) string { return c.env(partOf(name))[name].Text }

// has says whether name is set to something.
func (c *conf) has(name string) bool { return c.value(name) != "" }

// names are all variables that any of the files assigns, sorted.
func (c *conf) names() []string {
	list := c.rc.Names()
	for _, l := range c.later {
		list = append(list, l.file.Names()...)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// set makes value what name has at boot, by /etc/rc.conf alone. Where a later
// file decides, or what decides cannot be read, it refuses.
func (c *conf) set(name, value string) error {
	now := c.env(partOf(name))[name]
	if now.Known && now.Text == value {
		return nil
	}
	for _, l := range c.later {
		if line := l.file.Line(name); line > 0 {
			return step.Refuse("take the line out, or set it there to "+strconv.Quote(value),
				"%s, line %d sets %s, which would override /etc/rc.conf", l.Path, line, name)
		}
	}
	if line := c.rc.Line(name); line > 0 && !now.Known {
		return step.Refuse("write a plain assignment, or set it to "+strconv.Quote(value)+" by hand",
			"/etc/rc.conf, line %d gives %s a value that only a running shell knows", line, name)
	}
	added := c.rc.Line(name) == 0 && len(c.later) == 0 // no other variable can be made of it
	if err := c.rc.Set(defaults(), name, value); err != nil {
		return step.Refuse("set it to "+strconv.Quote(value)+" by hand", "/etc/rc.conf: %v", err)
	}
	if !added {
		c.envs = nil
	}
	for _, env := range c.envs {
		env[name] = rcconf.Value{Text: value, Known: true}
	}
	return nil
}

// ifVar is the name of a variable for an interface. Characters that a shell
// variable cannot have become "_" (network.subr, get_if_var).
func ifVar(format, dev string) string {
	return fmt.Sprintf(format, strings.NewReplacer(".", "_", "-", "_", "/", "_", "+", "_", ":", "_").Replace(dev))
}

// An aliasVar is ifconfig_IF_aliasN.
type aliasVar struct {
	n    int
	name string
	text string
}

// aliases are the numbered aliases of dev that boot comes to, the first number
// that is free, and those that boot would come to once that one is taken. inet
// and inet6 share one numbering. An empty value ends the list in every era, a
// gap in the oldest.
func (c *conf) aliases(dev string) (reached []aliasVar, free int, asleep []aliasVar) {
	prefix := ifVar("ifconfig_%s_alias", dev)
	env := c.env(Netif)
	var all []aliasVar
	for name, v := range env {
		tail, ok := strings.CutPrefix(name, prefix)
		if !ok {
			continue
		}
		if n, err := strconv.Atoi(tail); err == nil && n >= 0 && strconv.Itoa(n) == tail {
			all = append(all, aliasVar{n, name, v.Text})
		}
	}
	slices.SortFunc(all, func(a, b aliasVar) int { return a.n - b.n })
	ended := false
	for _, a := range all {
		if a.n == free && a.text != "" {
			free++
		}
		if a.text == "" || c.era == era6 && a.n >= free {
			ended = true
		}
		switch {
		case a.text == "":
		case ended:
			asleep = append(asleep, a)
		default:
			reached = append(reached, a)
		}
	}
	return reached, free, asleep
}

// addrs are the addresses that dev gets at boot.
func (c *conf) addrs(dev string) []bootAddr {
	var list []bootAddr
	add := func(name string) { list = append(list, parseSpec(name, c.value(name))...) }
	add(ifVar("ifconfig_%s", dev))
	if c.era == era6 {
		add(ifVar("ipv6_ifconfig_%s", dev))
	} else {
		add(ifVar("ifconfig_%s_ipv6", dev))
		add(ifVar("ifconfig_%s_aliases", dev))
	}
	reached, _, _ := c.aliases(dev)
	for _, a := range reached {
		list = append(list, parseSpec(a.name, a.text)...)
	}
	listed := ifVar("ipv4_addrs_%s", dev)
	list = append(list, specList(listed, c.value(listed))...)
	if c.era != era6 && !strings.HasPrefix(dev, "lo") && !c.ipv6On(dev) {
		list = slices.DeleteFunc(list, func(a bootAddr) bool { return a.Prefix.Addr().Is6() })
	}
	return list
}

// ipv6On says whether dev takes IPv6 at boot. An interface without
// ifconfig_IF_ipv6 gets IFDISABLED: its IPv6 aliases are lost without a word
// (seen on 13.2).
func (c *conf) ipv6On(dev string) bool {
	return c.has(ifVar("ifconfig_%s_ipv6", dev)) || c.yes("ipv6_activate_all_interfaces")
}

// configured says whether rc.conf knows dev at all.
func (c *conf) configured(dev string) bool {
	prefix := ifVar("ifconfig_%s", dev)
	for _, name := range c.names() {
		if (name == prefix || strings.HasPrefix(name, prefix+"_") || name == ifVar("ipv6_ifconfig_%s", dev) || name == ifVar("ipv4_addrs_%s", dev)) && c.has(name) {
			return true
		}
	}
	return c.era != era6 && c.has("ifconfig_DEFAULT")
}

// list gives the words of a list variable; "NO" is none.
func (c *conf) list(name string) []string {
	words := strings.FieldsFunc(c.value(name), func(r rune) bool { return r == ' ' || r == '\t' || r == '\n' })
	if len(words) == 1 && strings.EqualFold(words[0], "NO") {
		return nil
	}
	return words
}

// addToList appends word to a list variable. Words such as "gif0:sticky" stay.
func (c *conf) addToList(name, word string) error {
	for _, w := range c.list(name) {
		if base, _, _ := strings.Cut(w, ":"); base == word {
			return nil
		}
	}
	old := strings.TrimRight(c.value(name), " \t\r\n")
	if len(c.list(name)) == 0 {
		old = ""
	}
	return c.set(name, strings.TrimPrefix(strings.ReplaceAll(old, "\n", " ")+" "+word, " "))
}

// yes is checkyesno of rc.subr(8).
func (c *conf) yes(name string) bool {
	switch strings.ToUpper(c.value(name)) {
	case "YES", "TRUE", "ON", "1":
		return true
	}
	return false
}

var gifName = regexp.MustCompile(`^gif(0|[1-9][0-9]{0,8})$`)

// mentionedGifs are the gifs that any variable names.
func (c *conf) mentionedGifs() []string {
	var list []string
	for _, name := range []string{"cloned_interfaces", "gif_interfaces"} {
		for _, w := range c.list(name) {
			w, _, _ = strings.Cut(w, ":")
			list = append(list, strings.TrimRight(w, "\r"))
		}
	}
	for _, name := range c.names() {
		for _, prefix := range []string{"ifconfig_", "gifconfig_", "create_args_", "ipv6_ifconfig_"} {
			if rest, ok := strings.CutPrefix(name, prefix); ok {
				dev, _, _ := strings.Cut(rest, "_")
				list = append(list, dev)
			}
		}
	}
	list = slices.DeleteFunc(list, func(s string) bool { return !gifName.MatchString(s) })
	slices.Sort(list)
	return slices.Compact(list)
}

// A bootGif is a gif as boot leaves it.
type bootGif struct {
	name  string
	ends  ends // zero: none
	addrs []bootAddr
}

// gifs are those that boot creates, by what each era makes of the variables.
func (c *conf) gifs() []bootGif {
	var list []bootGif
	old := c.list("gif_interfaces")
	cloned := map[string]bool{}
	for _, w := range c.list("cloned_interfaces") {
		w, _, _ = strings.Cut(w, ":")
		cloned[w] = true
	}
	for _, name := range c.mentionedGifs() {
		isOld := slices.Contains(old, name)
		if !isOld && !cloned[name] {
			continue
		}
		g := bootGif{name: name, addrs: c.addrs(name)}
		if e, ok := specEnds(c.value("ifconfig_" + name)); ok {
			g.ends = e
		} else if e, ok := specEnds(c.value("create_args_" + name)); ok && cloned[name] && c.era != era6 {
			g.ends = e
		}
		// Named by both lists, the tunnel is lost from 2014 on; in
		// gif_interfaces alone the releases around 2014 lose ifconfig_gifN.
		if isOld && (!cloned[name] || c.era == era6) {
			if f := strings.Fields(c.value("gifconfig_" + name)); len(f) >= 2 {
				if e, ok := parseEnds(f[0], f[1]); ok {
					g.ends = e
				}
			}
			if c.era == era10 {
				g.addrs = slices.DeleteFunc(g.addrs, func(a bootAddr) bool { return a.variable == "ifconfig_"+name })
			}
		}
		list = append(list, g)
	}
	return list
}

// inBothLists are the gifs whose tunnel is lost as both lists name them.
func (c *conf) inBothLists() []string {
	var list []string
	for _, w := range c.list("cloned_interfaces") {
		w, _, _ = strings.Cut(w, ":")
		if c.era != era6 && slices.Contains(c.list("gif_interfaces"), w) {
			list = append(list, w)
		}
	}
	return list
}
