package ledger

import (
	"context"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// noSystem is a system with nothing of its own, and no table.
type noSystem struct{ Table }

// GiveBack knows of no rules.
func (noSystem) GiveBack(now, _ []byte, _ []ipvs.Taken) []byte { return now }

func (noSystem) Rules([]byte) []ipvs.Service { return nil }

func (noSystem) Back(made []step.Made) []step.Step { return step.Reversals(made) }
func (noSystem) Suppresses([]byte) bool            { return false }
func (noSystem) KeepSuppression([]byte) step.Edit  { return nil }

func (noSystem) NeedsSuppression(context.Context, host.Host) (string, error) { return "", nil }
func (noSystem) Services(inventory.Desired) []ipvs.Key                       { return nil }
func (noSystem) Leave([]ipvs.Taken) step.Step                                { return step.Func{Name: "ipvs"} }
