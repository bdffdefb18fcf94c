package step

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/lvsfleet/lvsfleet/providers/host"
)

// A Func is a step made of a function, for live settings that one place in
// one provider needs.
type Func struct {
	Name  string
	Probe func(ctx context.Context, h host.Host) (Change, error)
}

// A Maker is a host that remembers what lvsfleet has made there, of which
// something is not wanted any more.
type Maker interface {
	// Made gives the IDs of the live steps.
	Made() []string
}

// ID is the name.
func (f Func) ID() string { return f.Name }

// Check calls the function.
func (f Func) Check(ctx context.Context, h host.Host) (Change, error) { return f.Probe(ctx, h) }

// LiveDiff is the unified diff of a live setting: one line before, one after;
// an empty one stands for "not there".
func LiveDiff(name, before, after string) string {
	b := func(s string) []byte {
		if s == "" {
			return nil
		}
		return []byte(strings.TrimSuffix(s, "\n") + "\n")
	}
	return Diff(name, b(before), b(after))
}

// A Sysctl is one live kernel setting.
type Sysctl struct {
	Key   string
	Value string
	// Set gives the argv that sets key to value. nil: `sysctl -w key=value`,
	// Linux' own (procps); BSD's takes no -w.
	Set func(key, value string) []string
	// Kind and Addr are those of its effect (Switched); "": it is Support.
	Kind EffectKind
	Addr netip.Addr
}

// ID is "sysctl:" and the key.
func (s Sysctl) ID() string { return "sysctl:" + s.Key }

// Check reads `sysctl -n KEY`. Do requires the value that was found, the undo
// the one that Do left.
func (s Sysctl) Check(ctx context.Context, h host.Host) (Change, error) {
	res, err := host.Query(ctx, h, "sysctl", "-n", s.Key)
	if err != nil {
		return Change{}, fmt.Errorf("read sysctl %s: %w", s.Key, err)
	}
	now := strings.TrimSpace(string(res.Stdout))
	if now == s.Value {
		return Change{}, nil
	}
	set := s.Set
	if set == nil {
		set = func(key, value string) []string { return []string{"sysctl", "-w", key + "=" + value} }
	}
	c := Change{
		Diff: LiveDiff("sysctl "+s.Key, now, s.Value),
		Was:  now, Want: s.Value,
		Effects: []Effect{s.effect(now)},
		Do:      []Op{{Kind: Run, Argv: set(s.Key, s.Value)}},
		Undo:    []Op{{Kind: Run, Argv: set(s.Key, now), If: []Cond{SysctlIs(s.Key, s.Value)}}},
	}
	if now != "" {
		c.Do[0].If = []Cond{SysctlIs(s.Key, now)}
	}
	return c, nil
}

func (s Sysctl) effect(now string) Effect {
	if s.Kind == "" {
		return Alter(Support, s.Addr)
	}
	return Switched(now, s.Value, s.Kind, s.Addr)
}

// SysctlIs is the condition that the kernel setting has the value, which is
// not empty.
func SysctlIs(key, value string) Cond {
	return Cond{Argv: []string{"sysctl", "-n", key}, Match: "^" + Quote(value) + "[[:space:]]*$"}
}

// Quote escapes s so that, as an extended regular expression, it matches
// itself alone.
func Quote(s string) string {
	var b strings.Builder
	for _, r := range s {
		if strings.ContainsRune(`\.[]{}()*+?^$|`, r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}
