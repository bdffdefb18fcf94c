// Package kernel reads the network state of a Linux kernel as values: by
// netlink where the machine is this very one, and else by what ip(8) prints.
package kernel

import (
	"context"
	"fmt"
	"strconv"

	"github.com/lvsfleet/lvsfleet/providers/host"
)

// A Reader reads what is in force. Nothing of it is remembered.
type Reader interface {
	// Addrs are the addresses of a family, by device as the kernel lists them.
	Addrs(ctx context.Context, v6 bool) ([]Addr, error)
	Links(ctx context.Context) ([]Link, error)
	// Defaults are the default routes of the table main.
	Defaults(ctx context.Context, v6 bool) ([]Route, error)
	// Tunnels are those of IP in IP.
	Tunnels(ctx context.Context) ([]Tunnel, error)
}

// The questions to ip(8), in the one spelling that everything uses, conditions
// of operations too.
var (
	AddrShow4  = []string{"ip", "-o", "-4", "addr", "show"}
	AddrShow6  = []string{"ip", "-o", "-6", "addr", "show"}
	LinkShow   = []string{"ip", "-o", "link", "show"}
	TunnelShow = []string{"ip", "tunnel", "show"}
)

// AddrShow asks for the addresses of a family.
func AddrShow(v6 bool) []string {
	if v6 {
		return AddrShow6
	}
	return AddrShow4
}

// RouteShow asks for the routes of a family.
func RouteShow(v6 bool) []string {
	if v6 {
		return []string{"ip", "-6", "route", "show"}
	}
	return []string{"ip", "route", "show"}
}

// Of gives the way to read h's kernel. What is read through a host.Cache is
// read once.
func Of(h host.Host) Reader {
	var r Reader = byIP{h}
	if _, ok := host.As[*host.Local](h); ok {
		r = onMachine(r)
	}
	return remembered{h, r}
}

// byIP asks ip(8).
type byIP struct{ h host.Host }

func ask[T any](ctx context.Context, h host.Host, what string, argv []string, parse func(string) (T, error)) (T, error) {
	var none T
	res, err := host.Query(ctx, h, argv...)
	if err != nil {
		return none, fmt.Errorf("read %s: %w", what, err)
	}
	v, err := parse(string(res.Stdout))
	if err != nil {
		return none, fmt.Errorf("read %s: %w", what, err)
	}
	return v, nil
}

func (k byIP) Addrs(ctx context.Context, v6 bool) ([]Addr, error) {
	return ask(ctx, k.h, "addresses", AddrShow(v6), ParseAddrs)
}

func (k byIP) Links(ctx context.Context) ([]Link, error) {
	return ask(ctx, k.h, "links", LinkShow, ParseLinks)
}

func (k byIP) Defaults(ctx context.Context, v6 bool) ([]Route, error) {
	return ask(ctx, k.h, "routes", RouteShow(v6), ParseDefaults)
}

func (k byIP) Tunnels(ctx context.Context) ([]Tunnel, error) {
	return ask(ctx, k.h, "tunnels", TunnelShow, func(text string) ([]Tunnel, error) { return ParseTunnels(text), nil })
}

// remembered asks once through a host.Cache.
type remembered struct {
	h host.Host
	r Reader
}

func (m remembered) Addrs(ctx context.Context, v6 bool) ([]Addr, error) {
	return host.Remember(ctx, m.h, "kernel addrs "+strconv.FormatBool(v6), func() ([]Addr, error) { return m.r.Addrs(ctx, v6) })
}

func (m remembered) Links(ctx context.Context) ([]Link, error) {
	return host.Remember(ctx, m.h, "kernel links", func() ([]Link, error) { return m.r.Links(ctx) })
}

func (m remembered) Defaults(ctx context.Context, v6 bool) ([]Route, error) {
	return host.Remember(ctx, m.h, "kernel defaults "+strconv.FormatBool(v6), func() ([]Route, error) { return m.r.Defaults(ctx, v6) })
}

func (m remembered) Tunnels(ctx context.Context) ([]Tunnel, error) {
	return host.Remember(ctx, m.h, "kernel tunnels", func() ([]Tunnel, error) { return m.r.Tunnels(ctx) })
}
