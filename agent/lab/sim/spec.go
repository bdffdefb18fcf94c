package sim

import (
	"fmt"
	"io/fs"
	"net/netip"
	"path"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/host"
)

// A Spec is what a machine is before lvsfleet comes: each system's package
// makes a Machine of it (New), as freshly installed, and boots it once.
type Spec struct {
	Name    string
	OS      inventory.OS
	Release string // what `uname -r` says; never empty: package lab fills in a current one
	Illumos bool   // Solaris 5.11 alone
	Arch    string // what `uname -m` says; "" is the system's usual one
	// Interfaces are Ethernet cards with the host's own addresses.
	Interfaces []inventory.Interface
	// MACs are the cards' Ethernet addresses, by device; one that is not there
	// is made by MAC.
	MACs map[string]string
	// Base replaces what a fresh install has in /etc: by absolute path, all of
	// them below /etc. nil: fresh.
	Base map[string]host.File
}

// Lay puts s.Base in the place of /etc, and leaves /etc alone without one.
// Folders above the files are made.
func (s Spec) Lay(f *FS) error {
	if s.Base == nil {
		return nil
	}
	f.RemoveAll("/etc")
	f.MkdirAll("/etc")
	for p, file := range s.Base {
		switch {
		case file.Mode.IsDir():
			f.MkdirAll(p)
			if err := f.Chmod(p, file.Mode); err != nil {
				return fmt.Errorf("lay the base tree: %w", err)
			}
		case file.Mode&fs.ModeSymlink != 0:
			f.Link(p, string(file.Data))
		}
	}
	for p, file := range s.Base {
		if !file.Mode.IsRegular() {
			continue
		}
		f.MkdirAll(path.Dir(p))
		if err := f.Write(p, file); err != nil {
			return fmt.Errorf("lay the base tree: %w", err)
		}
	}
	return nil
}

// MAC gives the Ethernet address of the n-th card of a host, n from 0: made
// of the card's first address, so that it is the same in every run and no two
// hosts share one. The prefix 02 is of locally administered addresses (IEEE
// 802).
func MAC(addr netip.Addr, n int) string {
	b := addr.Unmap().AsSlice()
	if len(b) < 4 {
		b = []byte{0, 0, 0, 0}
	}
	b = b[len(b)-4:]
	return fmt.Sprintf("02:%02x:%02x:%02x:%02x:%02x", n, b[0], b[1], b[2], b[3])
}
