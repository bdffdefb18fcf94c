package hclfile

import (
	"fmt"
	"maps"
	"math"
	"net/netip"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"github.com/lvsfleet/lvsfleet/inventory"
)

// schema lists attributes and blocks; the value of blocks is the name of the
// label, "" for none.
func schema(attrs []string, blocks map[string]string) *hcl.BodySchema {
	s := &hcl.BodySchema{}
	for _, a := range attrs {
		s.Attributes = append(s.Attributes, hcl.AttributeSchema{Name: a})
	}
	for b, label := range blocks {
		h := hcl.BlockHeaderSchema{Type: b}
		if label != "" {
			h.LabelNames = []string{label}
		}
		s.Blocks = append(s.Blocks, h)
	}
	return s
}

// A content is a block's body against its schema, made once, however often it
// is evaluated.
type content struct {
	*hcl.BodyContent
	src inventory.Source
}

func (l *loader) content(b hcl.Body, header hcl.Range, s *hcl.BodySchema) content {
	c, diags := b.Content(s)
	for _, d := range diags {
		out := fromHCL(d)
		out.Detail += alsoMeant(d, s)
		l.add(out)
	}
	src := inventory.Source{Block: toRange(header)}
	if len(c.Attributes) > 0 {
		src.Attrs = make(map[string]inventory.Range, len(c.Attributes))
	}
	for name, a := range c.Attributes {
		src.Attrs[name] = toRange(a.Expr.Range())
	}
	return content{c, src}
}

// alsoMeant suggests an argument where the language does not, since the right
// one is written as well.
func alsoMeant(d *hcl.Diagnostic, s *hcl.BodySchema) string {
	var given string
	if n, err := fmt.Sscanf(d.Detail, "An argument named %q", &given); n != 1 || err != nil || strings.Contains(d.Detail, "Did you mean") {
		return ""
	}
	var known []string
	for _, a := range s.Attributes {
		known = append(known, a.Name)
	}
	return inventory.DidYouMean(given, known)
}

// oneLabel wants a top-level block to have one label.
func (l *loader) oneLabel(b *hclsyntax.Block, kind string) (string, bool) {
	switch {
	case len(b.Labels) == 0:
		l.report(b.DefRange(), "Missing name for "+kind, "A %s block has a name: %s \"NAME\" { ... }.", kind, kind)
		return "", false
	case len(b.Labels) > 1:
		l.report(b.LabelRanges[1], "Extraneous label for "+kind, "Only one label is expected for %s blocks: its name.", kind)
	}
	return b.Labels[0], true
}

func (l *loader) noLabel(b *hclsyntax.Block) {
	if len(b.Labels) > 0 {
		l.report(b.LabelRanges[0], "Extraneous label for "+b.Type, "No labels are expected for %s blocks.", b.Type)
	}
}

// A body is a content under evaluation.
type body struct {
	*loader
	content
	ctx *hcl.EvalContext
	bad bool // a value could not be read, and was reported
}

func (l *loader) body(c content, ctx *hcl.EvalContext) *body {
	return &body{loader: l, content: c, ctx: ctx}
}

// value evaluates an attribute; ok is false where it is not written, is null,
// or is broken, which then is reported.
func (b *body) value(name string) (v cty.Value, at hcl.Range, ok bool) {
	a := b.Attributes[name]
	if a == nil {
		return cty.NilVal, hcl.Range{}, false
	}
	at = a.Expr.Range()
	v, ok = b.eval(a.Expr, b.ctx)
	if !ok {
		b.bad = true
		return cty.NilVal, at, false
	}
	v = b.plain(v)
	if !v.IsWhollyKnown() {
		b.bad = true // it hangs on something that was reported
		return cty.NilVal, at, false
	}
	if v.IsNull() {
		// As if it were not written.
		b.src.Attrs = maps.Clone(b.src.Attrs)
		delete(b.src.Attrs, name)
		return cty.NilVal, at, false
	}
	return v, at, true
}

// wrong reports a value that cannot be used.
func (b *body) wrong(c inventory.Code, at hcl.Range, format string, args ...any) {
	b.bad = true
	b.code(c, at, format, args...)
}

// toType converts v, but never a number to a string. What is null or not known
// is of no type.
func toType(v cty.Value, to cty.Type) (cty.Value, bool) {
	if !v.IsKnown() || v.IsNull() || to == cty.String && v.Type() != cty.String {
		return cty.NilVal, false
	}
	out, err := convert.Convert(v, to)
	return out, err == nil && !out.IsNull()
}

// str reads a string.
func (b *body) str(name string) string {
	v, at, ok := b.value(name)
	if !ok {
		return ""
	}
	s, ok := toType(v, cty.String)
	if !ok {
		hint := " Write it in quotes: \"...\"."
		if !v.Type().IsPrimitiveType() {
			hint = ""
		}
		b.wrong(inventory.CodeType, at, "%s is a string, not a %s.%s", name, v.Type().FriendlyName(), hint)
		return ""
	}
	return s.AsString()
}

// strDefault reads a string that has a default.
func (b *body) strDefault(name, preset string) string {
	if s := b.str(name); s != "" {
		return s
	}
	return preset
}

// boolean reads true or false; nil where it is not written.
func (b *body) boolean(name string) *bool {
	v, at, ok := b.value(name)
	if !ok {
		return nil
	}
	v, ok = toType(v, cty.Bool)
	if !ok {
		b.wrong(inventory.CodeType, at, "%s is true or false.", name)
		return nil
	}
	on := v.True()
	return &on
}

// on reads a bool that has a default.
func (b *body) on(name string, preset bool) bool {
	if v := b.boolean(name); v != nil {
		return *v
	}
	return preset
}

// integer reads a whole number within bounds; nil where it is not written.
func (b *body) integer(name string, lo, hi int64) *int64 {
	v, at, ok := b.value(name)
	if !ok {
		return nil
	}
	n, ok := b.whole(v, at, name, lo, hi)
	if !ok {
		return nil
	}
	return &n
}

func (b *body) whole(v cty.Value, at hcl.Range, name string, lo, hi int64) (int64, bool) {
	if endless(v) {
		b.wrong(inventory.CodeSize, at, "%s", tooManyDigits)
		return 0, false
	}
	v, ok := toType(v, cty.Number)
	if !ok {
		b.wrong(inventory.CodeType, at, "%s is a number.", name)
		return 0, false
	}
	f := v.AsBigFloat()
	n, _ := f.Int64()
	if !f.IsInt() || f.Cmp(bigFloat(lo)) < 0 || f.Cmp(bigFloat(hi)) > 0 {
		b.wrong(inventory.CodeRange, at, "%s is a whole number from %d to %d, not %s.", name, lo, hi, f.Text('g', 20))
		return 0, false
	}
	return n, true
}

// number reads a whole number that has a default.
func (b *body) number(name string, preset int, lo, hi int64) int {
	if n := b.integer(name, lo, hi); n != nil {
		return int(*n)
	}
	return preset
}

// maxSeconds bounds the times that IPVS and the schedule take: 68 years, as
// an int32 of seconds.
const maxSeconds = math.MaxInt32

// elements gives the elements of a list, tuple or set.
func (b *body) elements(name, of string) []cty.Value {
	v, at, ok := b.value(name)
	if !ok {
		return nil
	}
	t := v.Type()
	if !t.IsListType() && !t.IsTupleType() && !t.IsSetType() {
		b.wrong(inventory.CodeType, at, "%s is a list of %s: write it in [ ].", name, of)
		return nil
	}
	return v.AsValueSlice()
}

// strs reads a list of strings.
func (b *body) strs(name string) []string {
	var out []string
	for i, e := range b.elements(name, "strings") {
		s, ok := toType(e, cty.String)
		if !ok {
			b.wrong(inventory.CodeType, b.Attributes[name].Expr.Range(), "Element %d of %s is not a string.", i+1, name)
			continue
		}
		out = append(out, s.AsString())
	}
	return out
}

// ints reads a list of whole numbers within bounds.
func (b *body) ints(name string, lo, hi int64) []int {
	var out []int
	for i, e := range b.elements(name, "numbers") {
		label := "element " + strconv.Itoa(i+1) + " of " + name
		if n, ok := b.whole(e, b.Attributes[name].Expr.Range(), label, lo, hi); ok {
			out = append(out, int(n))
		}
	}
	return out
}

// addr reads an address without a length.
func (b *body) addr(name string) netip.Addr {
	s := b.str(name)
	if s == "" {
		b.empty(name)
		return netip.Addr{}
	}
	a, why := parseAddr(s)
	if why != "" {
		b.wrong(inventory.CodeAddress, b.Attributes[name].Expr.Range(), "%s = %q: %s", name, s, why)
	}
	return a
}

// empty reports an attribute that is written and says nothing.
func (b *body) empty(name string) {
	if a := b.Attributes[name]; a != nil && !b.bad {
		if _, written := b.src.Attrs[name]; written {
			b.wrong(inventory.CodeMissing, a.Expr.Range(), "%s is empty.", name)
		}
	}
}

// sub reads the content of the blocks of one type within b.
func (b *body) blocks(kind string) []*hcl.Block {
	var out []*hcl.Block
	for _, bl := range b.Blocks {
		if bl.Type == kind {
			out = append(out, bl)
		}
	}
	return out
}
