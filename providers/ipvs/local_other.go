//go:build !linux

package ipvs

import "github.com/lvsfleet/lvsfleet/providers/host"

// local gives this machine's table where h is this machine and it is Linux,
// else nil.
func local(host.Host) Table { return nil }
