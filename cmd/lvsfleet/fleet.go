package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"time"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/fleet"
	"github.com/lvsfleet/lvsfleet/inventory"
)

// fleet makes the fleet of a site as the global flags want it.
func (g *globals) fleet(ctx context.Context, path string, site *inventory.Site, observe func(fleet.Event)) (*fleet.Fleet, error) {
	d, err := g.dialer(ctx, path, func() *inventory.Site { return site })
	if err != nil {
		return nil, err
	}
	f := &fleet.Fleet{
		Site:     site,
		Dial:     func(ctx context.Context, h *inventory.Host) (agent.Session, error) { return d.dial(ctx, h) },
		Reach:    pingGateway,
		Parallel: g.parallel,
		Limit:    g.limit,
		Run:      newRun(time.Now()),
		Who:      who(),
		Observe:  observe,
	}
	d.Renew = f.Renew
	return f, nil
}

// newRun names a run so that names sort by time and two at once differ.
func newRun(now time.Time) string {
	var b [3]byte
	_, _ = rand.Read(b[:]) // never fails, by its documentation
	return now.UTC().Format("20060102T150405Z") + "-" + hex.EncodeToString(b[:])
}

// who tells a person who finds a host taken whom to ask.
func who() string {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if sudo := os.Getenv("SUDO_USER"); sudo != "" {
		name = sudo
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s@%s pid %d", name, host, os.Getpid())
}

// pingGateway proves, on a machine that manages itself alone, that its line
// still works.
func pingGateway(ctx context.Context, want inventory.Desired) error {
	for _, gw := range want.Gateways {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		if out, err := exec.CommandContext(ctx, "ping", "-c", "1", gw.String()).CombinedOutput(); err != nil {
			return fmt.Errorf("the gateway %s does not answer: %w: %s", gw, err, out)
		}
	}
	return nil
}
