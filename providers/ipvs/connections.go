package ipvs

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/lvsfleet/lvsfleet/providers/host"
)

// Connections reads every service as Dump does, with all three counts of
// connections of every real server filled in. It costs more than a Dump where
// the table is reached through ipvsadm, which lists them in two ways.
func Connections(ctx context.Context, t Table) ([]Service, error) {
	if c, ok := t.(interface {
		connections(context.Context) ([]Service, error)
	}); ok {
		return c.connections(ctx)
	}
	return t.Dump(ctx)
}

// Statistics reads every service as Connections does, with the kernel's counts
// of every real server.
func Statistics(ctx context.Context, t Table) ([]Service, error) {
	if c, ok := t.(interface {
		statistics(context.Context) ([]Service, error)
	}); ok {
		return c.statistics(ctx)
	}
	return Connections(ctx, t)
}

// statistics adds the columns of `ipvsadm -Ln --stats --exact`. An ipvsadm that
// does not know them leaves the counts at 0: a table that is read without them
// is worth more than none.
func (t *Tool) statistics(ctx context.Context) ([]Service, error) {
	services, err := t.connections(ctx)
	if err != nil || len(services) == 0 {
		return services, err
	}
	text, err := t.read(ctx, "-Ln", "--stats", "--exact")
	var exit *host.ExitError
	if errors.As(err, &exit) {
		return services, nil
	}
	if err != nil {
		return nil, err
	}
	counts := map[Key]map[DestKey]*Counts{}
	err = eachListed(text, 6, func(k Key, dk DestKey, f []string) error {
		n := &Counts{}
		for i, to := range map[int]*uint64{1: &n.Connections, 4: &n.InBytes, 5: &n.OutBytes} {
			v, err := strconv.ParseUint(f[i], 10, 64)
			if err != nil {
				return err
			}
			*to = v
		}
		if counts[k] == nil {
			counts[k] = map[DestKey]*Counts{}
		}
		counts[k][dk] = n
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the output of ipvsadm -Ln --stats --exact: %w", err)
	}
	for _, s := range services {
		for j := range s.Dests {
			s.Dests[j].Counts = counts[s.Key][s.Dests[j].DestKey]
		}
	}
	return services, nil
}

// connections adds the column PersistConn, which only
// `ipvsadm -Ln --persistent-conn` has.
func (t *Tool) connections(ctx context.Context) ([]Service, error) {
	services, err := t.Dump(ctx)
	if err != nil || len(services) == 0 {
		return services, err
	}
	text, err := t.read(ctx, "-Ln", "--persistent-conn")
	if err != nil {
		return nil, err
	}
	persistent := map[Key]map[DestKey]uint32{}
	err = eachListed(text, 5, func(k Key, dk DestKey, f []string) error {
		n, err := strconv.ParseUint(f[2], 10, 32)
		if err != nil {
			return err
		}
		if persistent[k] == nil {
			persistent[k] = map[DestKey]uint32{}
		}
		persistent[k][dk] = uint32(n)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the output of ipvsadm -Ln --persistent-conn: %w", err)
	}
	for i, s := range services {
		for j := range s.Dests {
			d := &services[i].Dests[j]
			d.Persistent = persistent[s.Key][d.DestKey]
		}
	}
	return services, nil
}
