package ipvs

import (
	"context"
	"fmt"
	"strconv"
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
	persistent := map[Key]map[DestKey]int{}
	err = eachListed(text, 5, func(k Key, dk DestKey, f []string) error {
		n, err := strconv.ParseUint(f[2], 10, 32)
		if err != nil {
			return err
		}
		if persistent[k] == nil {
			persistent[k] = map[DestKey]int{}
		}
		persistent[k][dk] = int(n)
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
