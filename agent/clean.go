package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/lvsfleet/lvsfleet/agent/journal"
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
)

// cleanTimeout bounds the removal of a folder, and the wait for a lock that has
// been given back to be gone.
const cleanTimeout = time.Minute

// Clean takes the lease, so that nobody is at work here, and gives it back last.
func (e *Engine) Clean(ctx context.Context, keepHistory bool) error {
	ctx, leave, err := e.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	store, err := e.store(ctx)
	if err != nil {
		return err
	}
	e.giveBack()
	if err := e.awaitFormer(ctx); err != nil {
		return fmt.Errorf("take the lease: %w", err)
	}
	if err := e.hold(ctx, Transaction{Run: "clean"}); err != nil {
		return err
	}
	defer e.giveBack()
	runs, err := store.Unsettled(ctx)
	if err != nil {
		return err
	}
	if len(runs) > 0 {
		return fmt.Errorf("clean: run %s is unsettled", runs[0])
	}
	if err := e.givenBack(ctx); err != nil {
		return err
	}
	if err := e.removeState(ctx, store, keepHistory); err != nil {
		return err
	}
	entries, err := e.Host.ReadDir(ctx, host.RunDir)
	if err != nil {
		return fmt.Errorf("clean %s: %w", host.RunDir, err)
	}
	lease := path.Base(Lease)
	for _, f := range entries {
		if f.Name != lease && !f.Mode.IsDir() {
			if err := e.Host.Remove(ctx, path.Join(host.RunDir, f.Name)); err != nil {
				return fmt.Errorf("clean %s: %w", host.RunDir, err)
			}
		}
	}
	e.giveBack()
	return e.removeRunDir(ctx)
}

// givenBack names, in its error, what a removal would still do.
func (e *Engine) givenBack(ctx context.Context) error {
	r, _, err := e.look(ctx, ToRemove(inventory.Desired{OS: inventory.OS(e.id.OS)}), Live, Boot)
	if err != nil {
		return fmt.Errorf("clean: look for what is to be given back: %w", err)
	}
	var left []string
	for _, i := range append(r.changes(Live), r.changes(Boot)...) {
		left = append(left, i.Step)
	}
	if len(left) > 0 {
		return fmt.Errorf("clean: not given back yet: %s", strings.Join(left, ", "))
	}
	return nil
}

// removeState removes the state folder.
func (e *Engine) removeState(ctx context.Context, store journal.Store, keepHistory bool) error {
	gone := []string{store.Root}
	if keepHistory {
		entries, err := e.Host.ReadDir(ctx, store.Root)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("clean %s: %w", store.Root, err)
		}
		gone = nil
		for _, f := range entries {
			if f.Name != journal.HistoryName {
				gone = append(gone, path.Join(store.Root, f.Name))
			}
		}
	}
	if len(gone) == 0 {
		return nil
	}
	argv := append([]string{"rm", "-rf"}, gone...)
	if _, err := e.Host.Run(ctx, host.Cmd{Argv: argv, Timeout: cleanTimeout}); err != nil {
		return fmt.Errorf("clean %s: %w", store.Root, err)
	}
	return nil
}

// removeRunDir removes the folder of the lease, which has been given back. A
// lock that a shell held takes a moment to go.
func (e *Engine) removeRunDir(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, cleanTimeout)
	defer cancel()
	for {
		holder, err := e.holderNow(ctx)
		if err != nil {
			return err
		}
		if holder != "" {
			return &host.TakenError{Path: Lease, Holder: holder} // the next run is here already
		}
		err = e.Host.Remove(ctx, Lease)
		if err == nil {
			err = e.Host.Remove(ctx, host.RunDir)
		}
		if err == nil || errors.Is(err, host.ErrLost) {
			return err
		}
		if serr := host.Uptime().Sleep(ctx, guardPoll); serr != nil {
			return fmt.Errorf("clean %s: %w", host.RunDir, err)
		}
	}
}

// Clean asks the agent to.
func (c *Client) Clean(ctx context.Context, keepHistory bool) error {
	_, err := c.ask(ctx, request{Method: methodClean, KeepHistory: keepHistory}, nil)
	return err
}
