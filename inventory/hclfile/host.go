package hclfile

import (
	"errors"
	"maps"
	"net/netip"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/lvsfleet/lvsfleet/inventory"
)

var (
	hostSchema      = schema(append(hostLevel(), "os", "release", "roles", "address", "for_each"), map[string]string{"ssh": "", "interface": "device"})
	interfaceSchema = schema([]string{"address", "addresses"}, nil)
)

func (d *decoder) readHosts(general settings) []*inventory.Host {
	var hosts []*inventory.Host
	for _, bl := range d.hosts {
		label, ok := d.oneLabel(bl, "host")
		if !ok {
			d.hostsUnsure = true
			continue
		}
		r := hostReader{decoder: d, general: general, label: label, labelAt: bl.LabelRanges[0]}
		r.template = d.labels[labelPlace{bl.LabelRanges[0].Filename, bl.LabelRanges[0].Start.Byte}]
		r.content = d.content(bl.Body, bl.DefRange(), hostSchema)
		for _, i := range r.content.Blocks {
			if i.Type == "interface" {
				r.interfaces = append(r.interfaces, d.content(i.Body, i.DefRange, interfaceSchema))
				r.devices = append(r.devices, i.Labels[0])
			}
		}
		hosts = append(hosts, r.all()...)
	}
	return hosts
}

// A hostReader reads the hosts of one block.
type hostReader struct {
	*decoder
	content    content
	interfaces []content
	devices    []string
	general    settings
	label      string
	labelAt    hcl.Range
	template   hclsyntax.Expression // nil: label is the name
}

func (r *hostReader) all() []*inventory.Host {
	a := r.content.Attributes["for_each"]
	if a == nil {
		if h := r.one(r.root); h != nil {
			return []*inventory.Host{h}
		}
		return nil
	}
	v, ok := r.eval(a.Expr, r.root)
	if !ok || !v.IsKnown() {
		r.hostsUnsure = true
		return nil
	}
	bad := func(format string, args ...any) []*inventory.Host {
		r.hostsUnsure = true
		r.code(inventory.CodeForEach, a.Expr.Range(), format, args...)
		return nil
	}
	t := v.Type()
	set := t.IsSetType()
	switch {
	case v.ContainsMarked():
		return bad("for_each cannot use a sensitive value: the names of hosts are shown.")
	case v.IsNull():
		return bad("for_each is null. Write {} for no host.")
	case t.IsListType() || t.IsTupleType():
		return bad("for_each takes a map or a set, not a list: write toset([...]).")
	case set && t.ElementType() != cty.String && t.ElementType() != cty.DynamicPseudoType, !set && !t.IsMapType() && !t.IsObjectType():
		return bad("for_each takes a map or a set of strings, not a %s.", t.FriendlyName())
	}
	if v.LengthInt() > maxHosts {
		r.hostsUnsure = true
		r.code(inventory.CodeSize, a.Expr.Range(), "for_each has %d elements, more than %d.", v.LengthInt(), maxHosts)
		return nil
	}
	if r.template == nil && v.LengthInt() > 1 {
		return bad("Each of the %d hosts needs a name of its own: write the label with each.key, such as %q.", v.LengthInt(), r.label+"${each.key}")
	}
	r.seen = map[diagKey]bool{}
	defer func() { r.seen = nil }()
	var hosts []*inventory.Host
	for it := v.ElementIterator(); it.Next(); {
		key, value := it.Element()
		if set {
			key = value
		}
		if !key.IsKnown() || key.IsNull() {
			return bad("for_each has a null in its set.")
		}
		ctx := r.root.NewChild()
		ctx.Variables = map[string]cty.Value{"each": cty.ObjectVal(map[string]cty.Value{"key": key, "value": value})}
		if h := r.one(ctx); h != nil {
			hosts = append(hosts, h)
		}
	}
	return hosts
}

func (r *hostReader) one(ctx *hcl.EvalContext) *inventory.Host {
	name := r.label
	if r.template != nil {
		v, ok := r.eval(r.template, ctx)
		v = r.plain(v)
		if !ok || !v.IsWhollyKnown() || v.IsNull() || v.Type() != cty.String {
			r.hostsUnsure = true
			if ok && v.IsWhollyKnown() {
				r.code(inventory.CodeType, r.labelAt, "The label of a host must come out as text.")
			}
			return nil
		}
		name = v.AsString()
	}
	b := r.body(r.content, ctx)
	h := &inventory.Host{
		Name: name, OS: inventory.OS(b.str("os")), Release: b.str("release"),
		Roles: b.strs("roles"), Address: b.str("address"),
	}
	if b.bad && h.Roles == nil && b.Attributes["roles"] != nil {
		r.hostsUnsure = true
	}
	own := r.level(b)
	roles := r.fromRoles(h.Roles, own, b.src.Attr("roles"), name)
	h.Src = inventory.Source{Block: b.src.Block, Attrs: b.src.Attrs}
	if len(roles)+len(r.general) > 0 || h.Src.Attrs == nil {
		h.Src.Attrs = make(map[string]inventory.Range, len(b.src.Attrs)+len(roles))
		maps.Copy(h.Src.Attrs, b.src.Attrs)
	}
	apply(h, r.general, roles, own)
	if h.Connection == "" {
		h.Connection = "ssh"
	}
	for i := range r.interfaces {
		sub := r.body(r.interfaces[i], ctx)
		h.Interfaces = append(h.Interfaces, sub.iface(r.devices[i]))
		b.bad = b.bad || sub.bad
	}
	h.Incomplete = b.bad
	return h
}

// iface reads an interface block.
func (b *body) iface(device string) inventory.Interface {
	out := inventory.Interface{Device: device, Src: b.src}
	one, many := b.Attributes["address"], b.Attributes["addresses"]
	attr := one
	var texts []string
	switch {
	case one != nil && many != nil:
		b.wrong(inventory.CodeExclusive, many.NameRange, "address and addresses exclude each other: list all in addresses.")
		return out
	case one != nil:
		if s := b.str("address"); s != "" {
			texts = []string{s}
		} else {
			b.empty("address")
		}
	case many != nil:
		attr = many
		texts = b.strs("addresses")
		if err := b.budget.spend(addressWork * len(texts)); err != nil {
			if !b.budget.told && !errors.Is(err, errStop) {
				b.budget.told = true
				b.wrong(inventory.CodeSize, many.Expr.Range(), "The hosts of a site have at most %d addresses together.", maxWork/addressWork)
			}
			return out
		}
	default:
		b.wrong(inventory.CodeMissing, rangeOf(b.src.Block), "The interface %q has no address: write address = \"A/LEN\", or addresses = [...].", device)
	}
	for _, s := range texts {
		p, why := parseOwn(s)
		if why != "" {
			b.wrong(inventory.CodeAddress, attr.Expr.Range(), "%q as the own address of %s: %s", s, device, why)
			continue
		}
		if slices.ContainsFunc(out.Addresses, func(o netip.Prefix) bool { return o.Addr() == p.Addr() }) {
			b.wrong(inventory.CodeTwice, attr.Expr.Range(), "%s lists %s twice.", device, p.Addr())
			continue
		}
		out.Addresses = append(out.Addresses, p)
	}
	return out
}

func rangeOf(r inventory.Range) hcl.Range {
	return hcl.Range{
		Filename: r.File,
		Start:    hcl.Pos{Line: r.StartLine, Column: r.StartCol, Byte: r.StartByte},
		End:      hcl.Pos{Line: r.EndLine, Column: r.EndCol, Byte: r.EndByte},
	}
}
