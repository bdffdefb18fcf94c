package providers

import (
	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/freebsd"
	"github.com/lvsfleet/lvsfleet/providers/linux"
	"github.com/lvsfleet/lvsfleet/providers/solaris"
)

// OwnFiles names the files from which a host has its own addresses and name
// at boot: what a plan verifies, and writes only where it is missing. Not all
// of them need be there. With network "none" there are none: nobody looks.
func OwnFiles(d inventory.Desired) []string {
	if d.Network == "none" {
		return nil
	}
	switch d.OS {
	case inventory.Linux:
		return linux.OwnFiles(d)
	case inventory.FreeBSD:
		return freebsd.OwnFiles()
	case inventory.Solaris:
		return solaris.OwnFiles(d)
	}
	return nil
}
