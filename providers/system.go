package providers

import (
	"bytes"
	"context"
	"fmt"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/director"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
	"github.com/lvsfleet/lvsfleet/providers/ledger"
	"github.com/lvsfleet/lvsfleet/providers/linux"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// SystemOf is what is to be known of the operating system os (host.Identity)
// to take back what was made there.
func SystemOf(os string) ledger.System {
	if s, ok := Lookup(inventory.OS(os)); ok {
		return s.Made
	}
	return plainSystem{}
}

// Withdraw plans that a director withdraws the entries; d says which host it
// is.
func Withdraw(ctx context.Context, h host.Host, d inventory.Desired, list []inventory.Withdrawal) (step.Plan, error) {
	if len(list) == 0 {
		return step.Plan{}, nil
	}
	id, err := host.Identify(ctx, h)
	if err != nil {
		return step.Plan{}, err
	}
	d.Director = &inventory.Director{}
	f, err := director.Gather(ctx, h, id, d)
	if err != nil {
		return step.Plan{}, fmt.Errorf("plan %s: %w", d.Host, err)
	}
	return director.Withdraw(list, f, d.Network != "none" || f.Own), nil
}

// Identify finds out what the machine h is, and refuses one that is another
// than d says. Where anyRelease is set, its release is no matter.
func Identify(ctx context.Context, h host.Host, d inventory.Desired, anyRelease bool) (host.Identity, error) {
	id, err := host.Identify(ctx, h)
	if err != nil {
		return id, err
	}
	return id, matches(id, d, anyRelease)
}

// table is a director's.
type table struct{}

func (table) Services(d inventory.Desired) []ipvs.Key {
	if d.Director == nil {
		return nil
	}
	var keys []ipvs.Key
	for _, s := range d.Director.Services {
		keys = append(keys, director.ServiceKey(s))
	}
	return keys
}

func (table) Entry(w inventory.Withdrawal) (ipvs.Key, ipvs.DestKey) {
	return director.KeyOf(w), ipvs.DestKey{Addr: w.Server, Port: uint16(w.ServerPort)}
}

func (table) Leave(taken []ipvs.Taken) step.Step { return director.Leave(taken) }

func (table) Rules(text []byte) []ipvs.Service { return director.Rules(text) }

func (table) GiveBack(now, orig []byte, taken []ipvs.Taken) []byte {
	return director.GiveBack(now, orig, taken)
}

func (table) DropRules(text []byte, list []inventory.Withdrawal) []byte {
	return director.DropRules(text, list)
}

func (table) RulesStep(ctx context.Context, h host.Host, id host.Identity, network string) (string, error) {
	path, err := director.RulesFile(ctx, h, id, network)
	return director.RulesStep(path), err
}

// linuxSystem is Linux', the only one with a table.
type linuxSystem struct{ table }

func (linuxSystem) Back(made []step.Made) []step.Step      { return linux.Back(made) }
func (linuxSystem) Suppresses(text []byte) bool            { return linux.Silences(text) }
func (linuxSystem) KeepSuppression(wrote []byte) step.Edit { return linux.KeepSilence(wrote) }
func (linuxSystem) NeedsSuppression(ctx context.Context, h host.Host) (string, error) {
	return linux.QuietAtBoot(ctx, h)
}

// plainSystem is that of a system whose real servers need no suppression, as
// FreeBSD and Solaris answer for the addresses of an interface on that alone.
type plainSystem struct{ table }

func (plainSystem) Back(made []step.Made) []step.Step { return step.Reversals(made) }
func (plainSystem) Suppresses([]byte) bool            { return false }
func (plainSystem) KeepSuppression([]byte) step.Edit {
	return func(old []byte) ([]byte, error) { return bytes.Clone(old), nil }
}
func (plainSystem) NeedsSuppression(context.Context, host.Host) (string, error) { return "", nil }

// RulesStep is none: no such file is written.
func (plainSystem) RulesStep(context.Context, host.Host, host.Identity, string) (string, error) {
	return director.RulesStep(""), nil
}
