package director

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/lvsfleet/lvsfleet/providers/linux/systemd"
	"github.com/lvsfleet/lvsfleet/providers/step"
	"github.com/lvsfleet/lvsfleet/templates"
)

// RulesUnit loads the rules at boot where systemd runs. IPVS rules need
// neither addresses nor routes, so it comes before any network: a VIP is never
// up before its rules. The distributions' own loaders come after it, Debian's
// as late as two minutes if one card does not come online; a client gets RST
// until then.
const RulesUnit = "lvsfleet-rules.service"

// load plans that our unit loads the rules, and that the distribution's own
// loader does not: that would clear the table and load it again when the VIP
// is up, and at each upgrade of its package.
func (f Facts) load(p *step.Plan) {
	p.Boot = append(p.Boot, systemd.Unit(RulesUnit, func([]byte) ([]byte, error) {
		return templates.Render("linux/lvsfleet-rules.service.tmpl", templates.Values{"Rules": f.Rules})
	}, false)...)
	switch {
	case f.Way == Debian:
		// Neither the file nor the assignment has to be there: off is what the
		// script itself begins with.
		p.Boot = append(p.Boot, &step.FileStep{Path: debianConf, Edits: []step.Edit{unless("AUTO", "true", "false")}})
	case !f.Masked:
		p.Boot = append(p.Boot, &step.LinkStep{Path: wantsLink})
	}
}

// named refuses rules that name a host: they are loaded when nobody can be
// asked for its address yet.
func named(path string, lines []line) error {
	for i, l := range lines {
		if l.err == nil || l.past {
			continue
		}
		if name := hostName(l.text); name != "" {
			return step.Refuse("write its address there instead",
				"%s: line %d names the host %s: the rules are loaded before any network, when no name has an address", path, i+1, name)
		}
	}
	return nil
}

// hostName gives the host that a rule names, if it is none by its address.
func hostName(text string) string {
	text, _, _ = strings.Cut(text, "#")
	w := strings.Fields(text)
	for i := 0; i+1 < len(w); i++ {
		switch w[i] {
		case "-t", "--tcp-service", "-u", "--udp-service", "--sctp-service", "-r", "--real-server":
		default:
			continue
		}
		name := w[i+1]
		if rest, ok := strings.CutPrefix(name, "["); ok {
			name, _, _ = strings.Cut(rest, "]")
		} else if strings.Count(name, ":") == 1 {
			name, _, _ = strings.Cut(name, ":")
		}
		if _, err := netip.ParseAddr(name); err != nil && name != "" && !strings.HasPrefix(name, "-") {
			return fmt.Sprintf("%q", name)
		}
	}
	return ""
}
