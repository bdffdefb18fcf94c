package providers

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/freebsd"
	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/ledger"
	"github.com/lvsfleet/lvsfleet/providers/linux"
	"github.com/lvsfleet/lvsfleet/providers/solaris"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// A System is what is particular to one operating system.
type System struct {
	OS inventory.OS
	// Form is the form of network configuration of a machine of which it
	// cannot be seen; "" it always can.
	Form string
	// Card is what the first network card is likely to be called.
	Card string
	// Era names the generation of a release: within one, the same files and
	// settings mean the same.
	Era func(release string) int
	// RunsAgent says whether a program of the Go that builds the agents runs on
	// the release.
	RunsAgent func(release string) bool
	// OwnFiles names the files from which a host has its own addresses and
	// name at boot. Not all of them need be there.
	OwnFiles func(d inventory.Desired) []string
	// Plan plans the machine's side of a host.
	Plan func(ctx context.Context, h host.Host, id host.Identity, d inventory.Desired) (step.Plan, error)
	// Made is what is to be known of it to take back what was made there.
	Made ledger.System
	// Gateways gives the gateways of the default routes that count.
	Gateways func(ctx context.Context, h host.Host, v6 bool) ([]string, error)
}

// Systems is the table of them.
func Systems() []System {
	return []System{
		{
			OS: inventory.Linux, Card: "eth0",
			// rp_filter's change of meaning, and the kernels before systemd.
			Era: func(release string) int {
				switch {
				case host.Older(release, 2, 6, 31):
					return 1
				case host.Older(release, 3, 0, 0):
					return 2
				}
				return 3
			},
			RunsAgent: func(release string) bool { return !host.Older(release, 3, 2, 0) }, // Go 1.26's minimum
			OwnFiles:  linux.OwnFiles,
			Made:      linuxSystem{},
			Plan: func(ctx context.Context, h host.Host, id host.Identity, d inventory.Desired) (step.Plan, error) {
				return gathered(ctx, h, id, d, linux.Gather, linux.Plan)
			},
			Gateways: func(ctx context.Context, h host.Host, v6 bool) ([]string, error) {
				gws, err := linux.DefaultGateways(ctx, h, v6)
				return words(gws), err
			},
		},
		{
			OS: inventory.FreeBSD, Form: "rc.conf", Card: "em0",
			Era: func(release string) int {
				major, _, _ := host.Version(release)
				return major
			},
			RunsAgent: func(release string) bool { return !host.Older(release, 12, 0, 0) }, // 12.3; 10 and 11 are known to lack system calls
			OwnFiles:  func(inventory.Desired) []string { return freebsd.OwnFiles() },
			Made:      plainSystem{},
			Plan: func(ctx context.Context, h host.Host, id host.Identity, d inventory.Desired) (step.Plan, error) {
				return gathered(ctx, h, id, d, freebsd.Gather, freebsd.Plan)
			},
			Gateways: freebsdGateways,
		},
		{
			OS: inventory.Solaris, Form: "hostname-files", Card: "net0",
			Era: func(release string) int { // 5.10 and 5.11
				major, minor, _ := host.Version(release)
				return 100*major + minor
			},
			RunsAgent: func(release string) bool { return !host.Older(release, 5, 11, 0) }, // Solaris 11.4 and illumos
			OwnFiles:  solaris.OwnFiles,
			Made:      plainSystem{},
			Plan: func(ctx context.Context, h host.Host, id host.Identity, d inventory.Desired) (step.Plan, error) {
				return gathered(ctx, h, id, d, solaris.Gather, solaris.Plan)
			},
			Gateways: solarisGateways,
		},
	}
}

// Lookup finds a system by its name; false where there is none.
func Lookup(os inventory.OS) (System, bool) {
	for _, s := range Systems() {
		if s.OS == os {
			return s, true
		}
	}
	return System{}, false
}

// gathered gathers facts and plans by them.
func gathered[F any](ctx context.Context, h host.Host, id host.Identity, d inventory.Desired,
	gather func(context.Context, host.Host, host.Identity, inventory.Desired) (F, error), plan func(inventory.Desired, F) (step.Plan, error),
) (step.Plan, error) {
	f, err := gather(ctx, h, id, d)
	if err != nil {
		return step.Plan{}, err
	}
	return plan(d, f)
}

func words(list []netip.Addr) []string {
	var out []string
	for _, a := range list {
		out = append(out, a.String())
	}
	return out
}

func freebsdGateways(ctx context.Context, h host.Host, v6 bool) ([]string, error) {
	family := "inet"
	if v6 {
		family = "inet6"
	}
	res, err := host.Query(ctx, h, "netstat", "-rn", "-f", family)
	if err != nil {
		return nil, fmt.Errorf("read the routes: %w", err)
	}
	var list []string
	for _, d := range freebsd.ParseDefaults(string(res.Stdout)) {
		list = append(list, d.Gateway)
	}
	return list, nil
}

func solarisGateways(ctx context.Context, h host.Host, v6 bool) ([]string, error) {
	if v6 {
		return nil, errors.New("the IPv6 default route of Solaris is not read")
	}
	res, err := host.Query(ctx, h, "netstat", "-rn")
	if err != nil {
		return nil, fmt.Errorf("read the routes: %w", err)
	}
	gws, err := solaris.ParseDefaults(res.Stdout)
	if err != nil {
		return nil, fmt.Errorf("read the routes: %w", err)
	}
	return words(gws), nil
}

// OwnFiles names the files from which a host has its own addresses and name
// at boot: what a plan verifies, and writes only where it is missing. With
// network "none" there are none: nobody looks.
func OwnFiles(d inventory.Desired) []string {
	s, ok := Lookup(d.OS)
	if !ok || d.Network == "none" {
		return nil
	}
	return s.OwnFiles(d)
}
