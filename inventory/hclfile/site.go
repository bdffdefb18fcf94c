package hclfile

import (
	"cmp"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/lvsfleet/lvsfleet/inventory"
)

// A decoder turns the blocks of a site into its model.
type decoder struct {
	*loader
	variables, locals, ssh, roles, hosts, services, tunnels, rollout, drift []*hclsyntax.Block

	roleSettings map[string]settings
	merged       map[string]settings // of several roles, by their names
}

func blockTypes() []string {
	return []string{"variable", "locals", "ssh", "role", "host", "virtual_service", "tunnel", "rollout", "drift"}
}

func blockHint(name string) string { return inventory.DidYouMean(name, blockTypes()) }

// sort puts the blocks of all files to their kind.
func (d *decoder) sort(blocks []*hclsyntax.Block) {
	kinds := map[string]*[]*hclsyntax.Block{
		"variable": &d.variables, "locals": &d.locals, "ssh": &d.ssh, "role": &d.roles, "host": &d.hosts,
		"virtual_service": &d.services, "tunnel": &d.tunnels, "rollout": &d.rollout, "drift": &d.drift,
	}
	for _, b := range blocks {
		if list := kinds[b.Type]; list != nil {
			*list = append(*list, b)
			continue
		}
		if b.Type == "host" || nearHost(b.Type) {
			d.hostsUnsure = true
		}
		d.report(b.TypeRange, "Unsupported block type", "Blocks of type %q are not expected here.%s", b.Type, blockHint(b.Type))
	}
}

// nearHost says that a mistyped block may have been a host.
func nearHost(kind string) bool { return inventory.Nearest(kind, blockTypes()) == "host" }

func (d *decoder) site() *inventory.Site {
	s := &inventory.Site{}
	general := settings{}
	if b := d.single(d.ssh); b != nil {
		d.noLabel(b)
		general = d.sshSettings(d.body(d.content(b.Body, b.DefRange(), sshSchema), d.root))
	}
	s.Roles = d.readRoles()
	s.Hosts = d.readHosts(general)
	s.Services = d.readServices()
	s.Tunnels = d.readTunnels()
	s.Rollout = d.readRollout()
	s.Drift = d.readDrift()
	slices.SortStableFunc(s.Roles, func(a, b inventory.Role) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortStableFunc(s.Hosts, func(a, b *inventory.Host) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortStableFunc(s.Services, func(a, b *inventory.VirtualService) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortStableFunc(s.Tunnels, func(a, b *inventory.Tunnel) int { return cmp.Compare(a.Name, b.Name) })
	return s
}

// single gives the one block of a kind that a site has once.
func (d *decoder) single(blocks []*hclsyntax.Block) *hclsyntax.Block {
	if len(blocks) == 0 {
		return nil
	}
	for _, b := range blocks[1:] {
		first := blocks[0].DefRange()
		d.code(inventory.CodeTwice, b.DefRange(), "A site has one %s block, and there is one at %s:%d.", b.Type, first.Filename, first.Start.Line)
	}
	return blocks[0]
}

// once gives the one block of a kind within another.
func (b *body) once(kind string) *hcl.Block {
	all := b.blocks(kind)
	if len(all) == 0 {
		return nil
	}
	for _, bl := range all[1:] {
		b.wrong(inventory.CodeTwice, bl.DefRange, "One %s block is enough; there is one at line %d.", kind, all[0].DefRange.Start.Line)
	}
	return all[0]
}
