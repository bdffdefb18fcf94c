package director

import (
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// A Keeper is a host that remembers them, where those of them that are not
// wanted any more are to go.
type Keeper interface{ Taken() []ipvs.Taken }

// leaving are the services that lvsfleet has taken and that want does not name.
func leaving(taken []ipvs.Taken, want []ipvs.Want, live bool) []ipvs.Want {
	named := make(map[ipvs.Key]bool, len(want))
	for _, w := range want {
		named[w.Key] = true
	}
	var list []ipvs.Want
	for _, t := range taken {
		before := t.Live
		if !live {
			before = t.Boot
		}
		switch {
		case named[t.Key]:
		case before == nil:
			list = append(list, ipvs.Want{Service: ipvs.Service{Key: t.Key}, Gone: true})
		default:
			list = append(list, ipvs.Want{Service: *before})
		}
	}
	return list
}

// Leave is the step of the live table of a host that is a director no more.
func Leave(taken []ipvs.Taken) step.Step { return table{want: leaving(taken, nil, true)} }

// Rules reads the services of a rules file.
func Rules(text []byte) []ipvs.Service { return loaded(readRules(text)) }

// GiveBack gives a rules file without what lvsfleet has taken: orig is what it
// was before the first of it; nil is no file.
func GiveBack(now, orig []byte, taken []ipvs.Taken) []byte {
	if now == nil {
		return nil
	}
	out := editRules(now, leaving(taken, nil, false))
	if len(out) == 0 && orig == nil {
		return nil
	}
	return out
}
