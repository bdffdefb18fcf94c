package linux

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/note"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// forwardingKeys switch forwarding of a family.
var forwardingKeys = map[string]string{"ipv4": "net.ipv4.ip_forward", "ipv6": "net.ipv6.conf.all.forwarding"}

// forwarding is the live step that switches forwarding of a family ("ipv4",
// "ipv6"). Switching resets conf/*/forwarding and, with IPv4,
// conf/all/accept_redirects (net/ipv4/devinet.c inet_forward_change,
// net/ipv6/addrconf.c addrconf_fixup_forwarding), so the undo writes each of
// them that would not come back by itself.
func forwarding(family string, on bool) step.Step {
	key := forwardingKeys[family]
	value := "0"
	if on {
		value = "1"
	}
	probe := func(ctx context.Context, h host.Host) (step.Change, error) {
		c, err := step.Sysctl{Key: key, Value: value, Kind: step.Forwarding, Addr: step.Unspecified(family == "ipv6")}.Check(ctx, h)
		if err != nil || c.Holds() {
			return c, err
		}
		was, err := readSysctl(ctx, h, key)
		if err != nil {
			return step.Change{}, err
		}
		back, err := restores(ctx, h, family, was)
		if err != nil {
			return step.Change{}, err
		}
		c.Undo = append(c.Undo, back...)
		if family == "ipv6" && on {
			list, err := readDefaults(ctx, h, true)
			if err != nil {
				return step.Change{}, err
			}
			for _, r := range list {
				if strings.Contains(strings.Join(r.Spec, " "), "proto ra") {
					c.Notes = append(c.Notes, note.New(note.RouterAdverts))
					break
				}
			}
		}
		return c, nil
	}
	return step.Func{Name: "sysctl:" + key, Probe: probe}
}

// restores are the operations that write back what is not as a switch to
// value, which the family has now, will leave it.
func restores(ctx context.Context, h host.Host, family, value string) ([]step.Op, error) {
	links, err := readLinks(ctx, h)
	if err != nil {
		return nil, err
	}
	var ops []step.Op
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
			ops = append(ops, step.Op{Kind: step.Run, Argv: sysctlSet(key, old), If: []step.Cond{is}})
		}
		return nil
	}
	names := []string{"default"}
	for _, l := range links {
		names = append(names, l.Name)
	}
	for _, dev := range names {
		if err := restore(confKey(family, dev, "forwarding"), value); err != nil {
			return nil, err
		}
	}
	if family == "ipv4" {
		reset := map[string]string{"0": "1", "1": "0"}[value]
		if err := restore(confKey(family, "all", "accept_redirects"), reset); err != nil {
			return nil, err
		}
	}
	return ops, nil
}

// Back are the steps that take live changes of a Linux machine, or any other,
// back (step.Reversals). The undo of one that switches forwarding writes what the
// switch resets as it is now, not as it was when the change was made.
func Back(made []step.Made) []step.Step {
	steps := step.Reversals(made)
	for i, s := range steps {
		for family, key := range forwardingKeys {
			if s.ID() == "sysctl:"+key {
				steps[i] = switchBack{s, family, key}
			}
		}
	}
	return steps
}

type switchBack struct {
	step.Step
	family, key string
}

// Check looks at what the switch will reset.
func (s switchBack) Check(ctx context.Context, h host.Host) (step.Change, error) {
	c, err := s.Step.Check(ctx, h)
	if err != nil || c.Holds() {
		return c, err
	}
	now, err := readSysctl(ctx, h, s.key)
	if err != nil {
		return step.Change{}, err
	}
	back, err := restores(ctx, h, s.family, now)
	if err != nil {
		return step.Change{}, err
	}
	c.Undo = append(slices.Clone(c.Undo), back...)
	return c, nil
}

func readSysctl(ctx context.Context, h host.Host, key string) (string, error) {
	res, err := host.Query(ctx, h, "sysctl", "-n", key)
	if err != nil {
		return "", fmt.Errorf("read sysctl %s: %w", key, err)
	}
	return strings.TrimSpace(string(res.Stdout)), nil
}
