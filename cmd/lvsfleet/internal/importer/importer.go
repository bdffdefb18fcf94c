// Package importer makes an inventory of what directs a cluster today: the
// rules that `ipvsadm -Sn` prints, or a keepalived.conf. Neither says what the
// real servers run, nor by which interface they are reached: what is assumed is
// marked so, and what nobody could guess is named.
package importer

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"regexp"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
)

// MaxSize is how large a file may be, in bytes: as large as one of an inventory.
const MaxSize = 16 << 20

// A Found is what a file says of a cluster.
type Found struct {
	Form     string // "rules of ipvsadm", "configuration of keepalived"
	Services []Service
	// ForeignVIP: somebody else, keepalived's VRRP, puts the VIPs on the director.
	ForeignVIP bool
	// Notes are what an inventory cannot say, or was not understood; each with
	// its line, where it has one.
	Notes []string
}

// A Service is one service of the file. Its real servers have the ports that
// they are reached at.
type Service struct {
	ipvs.Service
	Name           string // "" none was given
	ForeignWeights bool   // a health checker sets them
}

// Options are what the file does not say.
type Options struct {
	Source string // what the file is called, for the heading
	// Director are the director's own addresses with their lengths; the first is
	// where SSH goes.
	Director []netip.Prefix
	OS       inventory.OS                // of the real servers
	OSOf     map[netip.Addr]inventory.OS // of some of them
}

// keepalived tells the two forms apart.
var keepalived = regexp.MustCompile(`(?m)^\s*virtual_server(_group)?\s`)

// Read reads rules of ipvsadm or a configuration of keepalived, whichever it
// is. It fails on text that is neither, and names the line.
func Read(text []byte) (*Found, error) {
	if len(text) > MaxSize {
		return nil, fmt.Errorf("it is larger than %d MiB", MaxSize>>20)
	}
	if bytes.IndexByte(text, 0) >= 0 {
		return nil, errors.New("it is not text")
	}
	read := readRules
	if keepalived.Match(text) {
		read = readKeepalived
	}
	f, err := read(text)
	if err != nil {
		return nil, err
	}
	if len(f.Services) == 0 {
		return nil, errors.New("there is no virtual service in it: it is neither the output of `ipvsadm -Sn` nor a keepalived.conf with virtual_server blocks")
	}
	return f, nil
}

func readRules(text []byte) (*Found, error) {
	list, err := ipvs.ParseRules(text)
	if err != nil {
		return nil, fmt.Errorf("%w (is it the output of `ipvsadm -Sn`?)", err)
	}
	f := &Found{Form: "rules of ipvsadm"}
	for _, s := range list {
		f.Services = append(f.Services, Service{Service: s})
	}
	return f, nil
}

func (f *Found) note(format string, args ...any) {
	f.Notes = append(f.Notes, fmt.Sprintf(format, args...))
}
