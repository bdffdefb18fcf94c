package ipvs

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"strconv"
	"strings"

	"github.com/lvsfleet/lvsfleet/providers/host"
)

// A Tool is the table of a host that is reached by argv alone: ipvsadm(8).
type Tool struct{ h host.Host }

// unloaded says whether the kernel is sure to have no ip_vs now: it tells what
// it has loaded, ip_vs is not among it, nor is it built in (ip_vs_ctl.c makes
// /proc/net/ip_vs either way).
func (t *Tool) unloaded(ctx context.Context) (bool, error) {
	modules, err := t.h.ReadFile(ctx, "/proc/modules")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("read /proc/modules: %w", err)
	case bytes.HasPrefix(modules.Data, []byte("ip_vs ")), bytes.Contains(modules.Data, []byte("\nip_vs ")):
		return false, nil
	}
	_, err = t.h.ReadFile(ctx, "/proc/net/ip_vs")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("read /proc/net/ip_vs: %w", err)
	}
	return err != nil, nil
}

// NewTool gives the table of h through its ipvsadm.
func NewTool(h host.Host) *Tool { return &Tool{h} }

// Dump reads `ipvsadm -Sn`, and what that leaves out: the thresholds and
// counts of connections from `-Ln --thresholds`, and, where a real server
// could be one, which are Local from `-Ln` (-Sn writes them as gatewaying).
//
// ipvsadm loads the ip_vs module where the kernel has not loaded it yet, even
// to read; a look must change nothing, so such a kernel is not asked.
func (t *Tool) Dump(ctx context.Context) ([]Service, error) {
	if unloaded, err := t.unloaded(ctx); err != nil || unloaded {
		return nil, err
	}
	text, err := t.read(ctx, "-Sn")
	if err != nil || text == nil {
		return nil, err
	}
	services, err := ParseRules(text)
	if err != nil {
		return nil, fmt.Errorf("read the output of ipvsadm -Sn: %w", err)
	}
	if len(services) == 0 {
		return nil, nil
	}
	found := map[Key]map[DestKey]*Destination{}
	routed := false
	for i := range services {
		m := make(map[DestKey]*Destination, len(services[i].Dests))
		for j := range services[i].Dests {
			d := &services[i].Dests[j]
			m[d.DestKey] = d
			routed = routed || d.Method == DR
		}
		found[services[i].Key] = m
	}
	if text, err = t.read(ctx, "-Ln", "--thresholds"); err != nil {
		return nil, err
	}
	err = eachListed(text, 5, func(k Key, dk DestKey, f []string) error {
		d := found[k][dk]
		if d == nil {
			return nil // it came between the two commands
		}
		var n [4]uint64
		for i := range n {
			v, err := strconv.ParseUint(f[i+1], 10, 32)
			if err != nil {
				return err
			}
			n[i] = v
		}
		d.Upper, d.Lower, d.Active, d.Inactive = uint32(n[0]), uint32(n[1]), uint32(n[2]), uint32(n[3])
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the output of ipvsadm -Ln --thresholds: %w", err)
	}
	if !routed {
		return services, nil
	}
	if text, err = t.read(ctx, "-Ln"); err != nil {
		return nil, err
	}
	err = eachListed(text, 5, func(k Key, dk DestKey, f []string) error {
		if d := found[k][dk]; d != nil && f[1] == "Local" {
			d.Method = Local
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the output of ipvsadm -Ln: %w", err)
	}
	return services, nil
}

// read runs ipvsadm to read. It gives nil where the kernel has no ip_vs.
func (t *Tool) read(ctx context.Context, args ...string) ([]byte, error) {
	res, err := t.h.Run(ctx, host.Cmd{Argv: append([]string{"ipvsadm"}, args...)})
	if err != nil {
		var exit *host.ExitError
		if errors.As(err, &exit) && strings.Contains(exit.Stderr, "Can't initialize ipvs: Protocol not available") {
			return nil, nil
		}
		return nil, t.missing(err)
	}
	if res.Stdout == nil {
		return []byte{}, nil
	}
	return res.Stdout, nil
}

// missing adds what to do where the host has no ipvsadm.
func (t *Tool) missing(err error) error {
	if errors.Is(err, host.ErrNotFound) {
		return fmt.Errorf("%w (install the package ipvsadm: a director without an agent is read and edited through it)", err)
	}
	return err
}

// Apply runs one ipvsadm for each edit.
func (t *Tool) Apply(ctx context.Context, edits []Edit) error {
	for i, e := range edits {
		err := refuse(e)
		if err == nil {
			_, err = t.h.Run(ctx, host.Cmd{Argv: append([]string{"ipvsadm"}, e.Args()...)})
		}
		if err != nil {
			return &EditError{Index: i, Edit: e, Err: t.missing(err)}
		}
	}
	return nil
}

// eachListed reads a listing of `ipvsadm -Ln` and gives each real server's
// line in words, the first of which is its address. Lines have at least
// fields words.
func eachListed(text []byte, fields int, line func(Key, DestKey, []string) error) error {
	var key Key
	known := false
	sc := bufio.NewScanner(bytes.NewReader(text))
	sc.Buffer(nil, 1<<20)
	for n := 1; sc.Scan(); n++ {
		f := strings.Fields(sc.Text())
		if len(f) == 0 {
			continue
		}
		if f[0] != "->" {
			key, known = listedKey(f)
			continue
		}
		f = f[1:]
		if !known {
			continue // the heading: "-> RemoteAddress:Port"
		}
		ap, err := netip.ParseAddrPort(f[0])
		if err != nil || len(f) < fields {
			return fmt.Errorf("line %d: %q is not understood", n, sc.Text())
		}
		if err := line(key, DestKey{ap.Addr(), ap.Port()}, f); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	return sc.Err()
}

// listedKey reads a service's line: "TCP  192.0.2.1:80 wlc ...", "FWM  7 IPv6 rr".
func listedKey(f []string) (Key, bool) {
	if len(f) < 2 {
		return Key{}, false
	}
	if f[0] == "FWM" {
		k, err := parseKey("fwmark-service", f[1])
		k.V6 = len(f) > 2 && f[2] == "IPv6"
		return k, err == nil
	}
	p := strings.ToLower(f[0])
	ap, err := netip.ParseAddrPort(f[1])
	if protocolNumber(p) == 0 || err != nil {
		return Key{}, false
	}
	return Key{Protocol: p, Addr: ap.Addr(), Port: ap.Port()}, true
}
