package linux

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// forwarding is the live step that switches forwarding of a family ("ipv4",
// "ipv6"). Switching resets conf/*/forwarding and, with IPv4,
// conf/all/accept_redirects (net/ipv4/devinet.c inet_forward_change,
// net/ipv6/addrconf.c addrconf_fixup_forwarding), so the undo writes each of
// them that would not come back by itself.
func forwarding(family string, on bool) step.Step {
	key := "net.ipv4.ip_forward"
	if family == "ipv6" {
		key = "net.ipv6.conf.all.forwarding"
	}
	value := "0"
	if on {
		value = "1"
	}
	probe := func(ctx context.Context, h host.Host) (step.Change, error) {
		c, err := step.Sysctl{Key: key, Value: value}.Check(ctx, h)
		if err != nil || c.Holds() {
			return c, err
		}
		was, err := readSysctl(ctx, h, key)
		if err != nil {
			return step.Change{}, err
		}
		links, err := readLinks(ctx, h)
		if err != nil {
			return step.Change{}, err
		}
		restore := func(key, reset string) error {
			old, err := readSysctl(ctx, h, key)
			var exit *host.ExitError
			if errors.As(err, &exit) {
				return nil // a device without this family
			}
			if err != nil {
				return err
			}
			if old != reset {
				// Only the switch back brings the value that is reset here.
				is := step.SysctlIs(key, reset)
				is.Guard = true
				c.Undo = append(c.Undo, step.Op{Kind: step.Run, Argv: sysctlSet(key, old), If: []step.Cond{is}})
			}
			return nil
		}
		names := []string{"default"}
		for _, l := range links {
			names = append(names, l.Name)
		}
		for _, dev := range names {
			if err := restore(confKey(family, dev, "forwarding"), was); err != nil {
				return step.Change{}, err
			}
		}
		if family == "ipv6" && on {
			list, err := readDefaults(ctx, h, true)
			if err != nil {
				return step.Change{}, err
			}
			for _, r := range list {
				if strings.Contains(strings.Join(r.Spec, " "), "proto ra") {
					c.Notes = append(c.Notes, "a host that forwards IPv6 takes no router advertisements: its default route by them goes away (accept_ra=2 keeps it)")
					break
				}
			}
		}
		if family == "ipv4" {
			reset := map[string]string{"0": "1", "1": "0"}[was]
			if err := restore(confKey(family, "all", "accept_redirects"), reset); err != nil {
				return step.Change{}, err
			}
		}
		return c, nil
	}
	return step.Func{Name: "sysctl:" + key, Probe: probe}
}

func readSysctl(ctx context.Context, h host.Host, key string) (string, error) {
	res, err := host.Query(ctx, h, "sysctl", "-n", key)
	if err != nil {
		return "", fmt.Errorf("read sysctl %s: %w", key, err)
	}
	return strings.TrimSpace(string(res.Stdout)), nil
}
