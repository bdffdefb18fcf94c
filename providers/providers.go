// Package providers has the one table of operating systems, and with it the way
// from what a host must be and what it is like to the plan of its steps.
package providers

import (
	"context"
	"fmt"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/director"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/note"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// Plan finds out what the machine h is and says what must hold there for it
// to be what d describes. It only reads. An error is, or wraps, a
// *step.Refusal where the machine is one that must not be touched: another
// system, or an era of it, than the inventory says, or a state of its files
// that lvsfleet does not write over. The identity is given with it as soon as
// it is known.
func Plan(ctx context.Context, h host.Host, d inventory.Desired) (step.Plan, host.Identity, error) {
	id, err := Identify(ctx, h, d, false)
	if err != nil {
		return step.Plan{}, id, err
	}
	p, err := plan(ctx, h, id, d)
	if err != nil {
		return step.Plan{}, id, fmt.Errorf("plan %s: %w", d.Host, err)
	}
	p.Transient = append(transient(d), p.Transient...)
	if d.Release != "" && version(d.Release) != version(id.Release) {
		p.Notes = append(p.Notes, note.New(note.ReleaseDiffers, d.Release, id.Release))
	}
	return p, id, nil
}

// plan is the machine's side and, after it, the director's: a service needs
// its modules, its VIP and the routes to its real servers.
func plan(ctx context.Context, h host.Host, id host.Identity, d inventory.Desired) (step.Plan, error) {
	s, ok := Lookup(inventory.OS(id.OS))
	if !ok {
		return step.Plan{}, fmt.Errorf("no provider for system %q", id.OS)
	}
	p, err := s.Plan(ctx, h, id, d)
	if err != nil || d.Director == nil {
		return p, err
	}
	f, err := director.Gather(ctx, h, id, d)
	if err != nil {
		return step.Plan{}, err
	}
	q, err := director.Plan(d, f)
	if err != nil {
		return step.Plan{}, err
	}
	p.Append(q)
	return p, nil
}

// transient is what network = "none" leaves to the next boot's mercy.
func transient(d inventory.Desired) []string {
	if d.Network != "none" {
		return nil
	}
	var list []string
	for _, v := range d.VIPs {
		list = append(list, "the virtual address "+v.Addr.String())
	}
	for _, gw := range d.Gateways {
		list = append(list, "the default route by "+gw.String())
	}
	for _, t := range d.Tunnels {
		list = append(list, "the tunnel "+t.Name)
	}
	if d.Director != nil {
		for _, v := range d.Director.VIPs {
			if !v.Own {
				list = append(list, "the virtual address "+v.Addr.String())
			}
		}
	}
	return list
}

// matches refuses a machine that is not what the inventory says.
func matches(id host.Identity, d inventory.Desired, anyRelease bool) error {
	if id.OS != string(d.OS) {
		return step.Refuse("correct os, or address, of the host in the inventory",
			"the inventory says that %s is %s, but it is %s %s", d.Host, d.OS, id.OS, id.Release)
	}
	if d.Release != "" && !anyRelease && era(id.OS, d.Release) != era(id.OS, id.Release) {
		return step.Refuse("correct release of the host in the inventory, or leave it out",
			"the inventory says that %s has release %s, but it is %s: these are set up in different ways", d.Host, d.Release, id.Release)
	}
	return nil
}

// era is that of a release of a system; all of one that nobody knows are one.
func era(os, release string) int {
	if s, ok := Lookup(inventory.OS(os)); ok {
		return s.Era(release)
	}
	return 0
}

func version(release string) [3]int {
	a, b, c := host.Version(release)
	return [3]int{a, b, c}
}
