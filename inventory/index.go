package inventory

import "sort"

// Host finds a host by name; nil if there is none. Site.Hosts must be sorted.
func (s *Site) Host(name string) *Host {
	i := sort.Search(len(s.Hosts), func(i int) bool { return s.Hosts[i].Name >= name })
	if i < len(s.Hosts) && s.Hosts[i].Name == name {
		return s.Hosts[i]
	}
	return nil
}

// An index finds the elements of a site by name, and holds its services with
// every default resolved.
type index struct {
	site     *Site
	byName   map[string]*Host
	byRole   map[string][]*Host // in the order of Site.Hosts
	services []*service         // in the order of Site.Services
}

func newIndex(s *Site) *index {
	x := &index{
		site:   s,
		byName: make(map[string]*Host, len(s.Hosts)),
		byRole: make(map[string][]*Host, len(s.Roles)),
	}
	for _, h := range s.Hosts {
		if _, twice := x.byName[h.Name]; twice {
			continue
		}
		x.byName[h.Name] = h
		for _, r := range h.Roles {
			if of := x.byRole[r]; len(of) == 0 || of[len(of)-1] != h {
				x.byRole[r] = append(of, h)
			}
		}
	}
	for _, v := range s.Services {
		x.services = append(x.services, x.resolve(v))
	}
	return x
}

func (x *index) host(name string) *Host { return x.byName[name] }
