package importer

import (
	"fmt"
	"strings"

	"github.com/lvsfleet/lvsfleet/providers/ipvs"
)

// readPiranha reads an lvs.cf(5) of Red Hat's piranha: `virtual NAME { ... }`
// blocks with `server NAME { ... }` blocks in them.
func readPiranha(text []byte) (*Found, error) {
	p := &piranha{found: &Found{Form: "lvs.cf of piranha"}, method: ipvs.NAT} // lvsd's default
	n := 0
	for raw := range strings.Lines(string(text)) {
		n++
		line := strings.TrimSpace(raw)
		if i := strings.Index(line, "#"); i == 0 {
			continue
		}
		if err := p.take(line, n); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	if p.service != nil || p.skip > 0 {
		return nil, fmt.Errorf("line %d: the file ends within a block", n)
	}
	p.found.passed(p.checks, "pulse's and nanny's own settings", "end pulse before lvsfleet converges: it writes the same table")
	return p.found, nil
}

type piranha struct {
	found  *Found
	method ipvs.Method
	checks []int

	service *piranhaService
	server  *piranhaServer
	skip    int // blocks that are passed over, nested
}

type piranhaService struct {
	Service
	active bool
	mask   string
	line   int
}

type piranhaServer struct {
	ipvs.Destination
	active bool
	port   bool
}

func (p *piranha) take(line string, n int) error {
	switch {
	case line == "":
		return nil
	case line == "}":
		return p.end()
	case strings.HasSuffix(line, "{"):
		return p.begin(strings.Fields(strings.TrimSuffix(line, "{")), n)
	}
	name, value, ok := strings.Cut(line, "=")
	if !ok {
		return fmt.Errorf("%q is not NAME = VALUE", line)
	}
	o := option{line: n, name: strings.TrimSpace(name), value: strings.Trim(strings.TrimSpace(value), `"`)}
	switch {
	case p.skip > 0:
		return nil
	case p.server != nil:
		return p.ofServer(o)
	case p.service != nil:
		return p.ofService(o)
	}
	if o.name == "network" {
		m, ok := map[string]ipvs.Method{"nat": ipvs.NAT, "direct": ipvs.DR, "tunnel": ipvs.TUN}[strings.ToLower(o.value)]
		if !ok {
			return fmt.Errorf("network %q is none of nat, direct and tunnel", o.value)
		}
		p.method = m
		return nil
	}
	p.checks = append(p.checks, n)
	return nil
}

func (p *piranha) begin(words []string, n int) error {
	kind := ""
	if len(words) > 0 {
		kind = words[0]
	}
	switch {
	case p.skip > 0 || kind == "failover":
		if p.skip == 0 {
			p.found.note("line %d: %s is no service of IPVS, and not imported", n, strings.Join(words, " "))
		}
		p.skip++
	case kind == "virtual" && p.service == nil:
		s := Service{Service: ipvs.Service{Key: ipvs.Key{Protocol: "tcp"}, Scheduler: "wlc"}}
		if len(words) > 1 {
			s.Name = words[1]
		}
		p.service = &piranhaService{Service: s, line: n}
	case kind == "server" && p.service != nil && p.server == nil:
		p.server = &piranhaServer{Destination: ipvs.Destination{Method: p.method, Weight: 1}}
	default:
		return fmt.Errorf("a block %q does not belong here", kind)
	}
	return nil
}

func (p *piranha) end() error {
	switch {
	case p.skip > 0:
		p.skip--
	case p.server != nil:
		r := p.server
		p.server = nil
		if !r.active {
			p.found.note("%s: a real server that is not active (active = 0) is left out", p.service.Name)
			return nil
		}
		if !r.Addr.IsValid() {
			return fmt.Errorf("a server of %q has no address", p.service.Name)
		}
		if !r.port || p.method != ipvs.NAT {
			r.Port = p.service.Key.Port
		}
		p.service.Dests = append(p.service.Dests, r.Destination)
	case p.service != nil:
		s := p.service
		p.service = nil
		return p.finish(s)
	default:
		return fmt.Errorf("a brace too many")
	}
	return nil
}

func (p *piranha) finish(s *piranhaService) error {
	if !s.active {
		p.found.note("line %d: virtual %s is not active (active = 0), and left out", s.line, s.Name)
		return nil
	}
	if s.Key.Mark != 0 {
		s.Key = ipvs.Key{Mark: s.Key.Mark}
		for i := range s.Dests {
			s.Dests[i].Port = 0
		}
	} else if !s.Key.Addr.IsValid() || s.Key.Port == 0 {
		return fmt.Errorf("virtual %s names no address, or no port", s.Name)
	} else {
		for i := range s.Dests {
			if s.Dests[i].Port == 0 {
				s.Dests[i].Port = s.Key.Port
			}
		}
	}
	if s.mask != "" && s.Flags&ipvs.Persistent != 0 {
		if err := setMask(&s.Service, s.mask); err != nil {
			return err
		}
	}
	p.found.Services = append(p.found.Services, s.Service)
	return nil
}

func (p *piranha) ofService(o option) (err error) {
	s := p.service
	var n uint64
	switch o.name {
	case "active":
		s.active = o.value == "1"
	case "address": // ADDRESS DEVICE:LABEL
		words := strings.Fields(o.value)
		if len(words) == 0 {
			return fmt.Errorf("virtual %s has an empty address", s.Name)
		}
		s.Key.Addr, err = address(words[0])
	case "port":
		n, err = number("port", o.value, 0, 65535)
		s.Key.Port = uint16(n)
	case "fwmark":
		n, err = number("fwmark", o.value, 1, 1<<32-1)
		s.Key.Mark = uint32(n)
	case "protocol":
		if s.Key.Protocol = strings.ToLower(o.value); s.Key.Protocol != "tcp" && s.Key.Protocol != "udp" {
			err = fmt.Errorf("protocol %q is neither tcp nor udp", o.value)
		}
	case "scheduler":
		s.Scheduler = strings.ToLower(o.value)
	case "persistent":
		if n, err = number("persistent", o.value, 0, 1<<31-1); n > 0 {
			s.Timeout, s.Flags = uint32(n), s.Flags|ipvs.Persistent
		}
	case "pmask":
		s.mask = o.value
	case "sorry_server":
		if o.value != "" {
			p.found.note("line %d: sorry_server %s is left out: an inventory has none", o.line, o.value)
		}
	default:
		p.checks = append(p.checks, o.line)
	}
	return err
}

func (p *piranha) ofServer(o option) (err error) {
	r := p.server
	var n uint64
	switch o.name {
	case "active":
		r.active = o.value == "1"
	case "address":
		r.Addr, err = address(o.value)
	case "weight":
		n, err = number("weight", o.value, 0, 65535)
		r.Weight = int(n)
	case "port":
		n, err = number("port", o.value, 1, 65535)
		r.Port, r.port = uint16(n), true
	default:
		p.checks = append(p.checks, o.line)
	}
	return err
}
