package hclfile

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"github.com/lvsfleet/lvsfleet/inventory"
)

// A variable is one variable block.
type variable struct {
	name      string
	typ       cty.Type
	defaults  *typeexpr.Defaults
	preset    cty.Value // cty.NilVal: none
	sensitive bool
	at        hcl.Range
}

// A given is a value from outside, not yet converted.
type given struct {
	from  string // "-var", "LVSFLEET_VAR_x", or the file
	text  string // where literal
	value cty.Value
	lit   bool
	at    hcl.Range
}

var variableSchema = schema([]string{"type", "default", "description", "sensitive"}, nil)

// declare reads the variable blocks.
func (l *loader) declare(blocks []*hclsyntax.Block) map[string]*variable {
	vars := map[string]*variable{}
	for _, b := range blocks {
		name, ok := l.oneLabel(b, "variable")
		if !ok {
			continue
		}
		if !hclsyntax.ValidIdentifier(name) {
			l.code(inventory.CodeName, b.LabelRanges[0], "The variable %q cannot be written as var.NAME: letters, digits, \"_\" and \"-\", beginning with a letter.", name)
			continue
		}
		if first, twice := vars[name]; twice {
			l.code(inventory.CodeTwice, b.DefRange(), "The variable %q is declared already, at %s:%d.", name, first.at.Filename, first.at.Start.Line)
			continue
		}
		vars[name] = l.declareOne(name, b)
	}
	return vars
}

func (l *loader) declareOne(name string, b *hclsyntax.Block) *variable {
	v := &variable{name: name, typ: cty.DynamicPseudoType, at: b.DefRange()}
	c := l.content(b.Body, b.DefRange(), variableSchema)
	if a := c.Attributes["type"]; a != nil {
		typ, defaults, diags := typeexpr.TypeConstraintWithDefaults(a.Expr)
		l.syntax(diags)
		if !diags.HasErrors() {
			v.typ, v.defaults = typ, defaults
		}
	}
	if a := c.Attributes["sensitive"]; a != nil {
		on, diags := a.Expr.Value(nil)
		l.syntax(diags)
		v.sensitive = true // unless it is clear that it is not
		if known, ok := toType(on, cty.Bool); ok {
			v.sensitive = known.True()
		} else if !diags.HasErrors() && on.IsKnown() {
			l.code(inventory.CodeType, a.Expr.Range(), "sensitive is true or false.")
		}
	}
	if a := c.Attributes["description"]; a != nil {
		_, diags := a.Expr.Value(nil)
		l.syntax(diags)
	}
	if a := c.Attributes["default"]; a != nil {
		val, diags := a.Expr.Value(&hcl.EvalContext{Functions: l.budget.functions()})
		l.syntax(diags)
		v.preset = cty.DynamicVal
		if !diags.HasErrors() {
			v.preset = l.convert(v, val, a.Expr.Range(), "its default")
		}
	}
	return v
}

// convert fits a value to the variable's type.
func (l *loader) convert(v *variable, val cty.Value, at hcl.Range, from string) cty.Value {
	if v.sensitive {
		l.secrets.add(val)
	}
	if !l.fits(val, at) {
		return cty.DynamicVal
	}
	if v.typ != cty.String && v.typ != cty.DynamicPseudoType && longIn(val) {
		l.code(inventory.CodeSize, at, "%s", tooManyDigits)
		return cty.DynamicVal
	}
	if v.defaults != nil && !val.IsNull() {
		val = v.defaults.Apply(val)
	}
	out, err := convert.Convert(val, v.typ)
	if err != nil {
		l.code(inventory.CodeType, at, "The variable %q is of type %s, and %s is not: %s.", v.name, typeexpr.TypeString(v.typ), from, err)
		return cty.DynamicVal
	}
	if !l.fits(out, at) {
		return cty.DynamicVal
	}
	return out
}

// assign finds the value of every variable.
func (l *loader) assign(vars map[string]*variable, in Input) map[string]cty.Value {
	values := map[string]given{}
	for _, kv := range in.Environ {
		name, text, _ := strings.Cut(kv, "=")
		if name, ok := strings.CutPrefix(name, "LVSFLEET_VAR_"); ok && vars[name] != nil {
			values[name] = given{from: "LVSFLEET_VAR_" + name, text: text, lit: true}
		}
	}
	names := slices.Sorted(maps.Keys(vars))
	l.variableNames = names
	take := func(name string, g given) {
		if vars[name] == nil {
			l.code(inventory.CodeVariable, g.at, "%s gives a value for %q, and no variable block declares it.%s", g.from, name, inventory.DidYouMean(name, names))
			return
		}
		values[name] = g
	}
	for _, path := range in.VarFiles {
		file := l.varFile(path)
		for _, name := range slices.Sorted(maps.Keys(file)) {
			take(name, file[name])
		}
	}
	for _, kv := range in.Vars {
		name, text, ok := strings.Cut(kv, "=")
		if !ok {
			l.code(inventory.CodeVariable, hcl.Range{}, "-var takes NAME=VALUE; one of them has no =.")
			continue
		}
		take(strings.TrimSpace(name), given{from: "-var", text: text, lit: true})
	}
	out := map[string]cty.Value{}
	for _, name := range names {
		v := vars[name]
		val := l.valueOf(v, values)
		out[name] = val
		if val.IsWhollyKnown() {
			if data, err := ctyjson.Marshal(val, val.Type()); err == nil {
				l.digest.add("var."+name, data)
			}
		}
		if v.sensitive {
			l.secrets.add(val)
			out[name] = val.Mark(sensitive{})
		}
	}
	return out
}

func (l *loader) valueOf(v *variable, values map[string]given) cty.Value {
	g, ok := values[v.name]
	if !ok {
		if v.preset != cty.NilVal {
			return v.preset
		}
		if l.varsUnsure {
			return cty.DynamicVal // perhaps it stands there
		}
		l.code(inventory.CodeVariable, v.at, "The variable %q has no default and no value. Give one: -var %s=VALUE, -var-file FILE, or LVSFLEET_VAR_%s in the environment.", v.name, v.name, v.name)
		return cty.DynamicVal
	}
	at := g.at
	if at.Filename == "" {
		at = v.at
	}
	if g.lit {
		var ok bool
		if g.value, ok = l.literal(v, g, at); !ok {
			return cty.DynamicVal
		}
	}
	if g.value.IsNull() && v.preset != cty.NilVal {
		return v.preset
	}
	return l.convert(v, g.value, at, "the value from "+g.from)
}

// literal reads a value from the command line or the environment: text as it
// is for strings, numbers and bools, else an expression.
func (l *loader) literal(v *variable, g given, at hcl.Range) (cty.Value, bool) {
	if v.sensitive {
		l.secrets.add(cty.StringVal(g.text))
	}
	if v.typ.IsPrimitiveType() || v.typ == cty.DynamicPseudoType {
		return cty.StringVal(g.text), true
	}
	bad := func(why string) (cty.Value, bool) {
		l.code(inventory.CodeType, at, "The variable %q is of type %s, and the value from %s is no such expression: %s", v.name, typeexpr.TypeString(v.typ), g.from, why)
		return cty.NilVal, false
	}
	src := []byte(g.text)
	if longNumber(src) {
		return bad(tooManyDigits)
	}
	tokens, _ := hclsyntax.LexExpression(src, g.from, hcl.InitialPos)
	if _, why := tooDeep(tokens); why != "" {
		return bad(why)
	}
	expr, diags := hclsyntax.ParseExpression(src, g.from, hcl.InitialPos)
	if diags.HasErrors() {
		return bad(diags[0].Detail)
	}
	if node, ok := expr.(hclsyntax.Node); ok {
		l.budget.watch(node)
	}
	val, diags := expr.Value(nil)
	if diags.HasErrors() {
		return bad(diags[0].Detail)
	}
	return val, true
}

// varFile reads a file of values. That it cannot be read says nothing about
// the site.
func (l *loader) varFile(path string) map[string]given {
	broken := l.broken
	l.broken = false
	values := l.readVarFile(path)
	l.varsUnsure = l.varsUnsure || l.broken || values == nil
	l.broken = broken
	return values
}

func (l *loader) readVarFile(path string) map[string]given {
	src := l.read(path)
	if src == nil {
		return nil
	}
	l.sources[path] = &hcl.File{Bytes: src}
	if strings.HasSuffix(path, ".json") {
		return l.varJSON(path, src)
	}
	masked, ok := l.guard(path, src)
	if !ok {
		return nil
	}
	file, diags := hclsyntax.ParseConfig(masked, path, hcl.InitialPos)
	l.syntax(diags)
	l.broken = l.broken || diags.HasErrors()
	if file == nil {
		return nil
	}
	if body, ok := file.Body.(*hclsyntax.Body); ok {
		l.budget.watch(body)
	}
	attrs, diags := file.Body.JustAttributes()
	l.syntax(diags)
	out := map[string]given{}
	for name, a := range attrs {
		val, diags := a.Expr.Value(&hcl.EvalContext{Functions: l.budget.functions()})
		l.syntax(diags)
		if diags.HasErrors() {
			val = cty.DynamicVal
		}
		out[name] = given{from: path, value: val, at: a.Expr.Range()}
	}
	return out
}

// varJSON reads an object of values. encoding/json bounds the nesting itself
// (at 10,000), cty does not, so it is counted before.
func (l *loader) varJSON(path string, src []byte) map[string]given {
	at := func(offset int64) hcl.Range {
		line := 1 + bytes.Count(src[:min(offset, int64(len(src)))], []byte("\n"))
		pos := hcl.Pos{Line: line, Column: 1, Byte: int(offset)}
		return hcl.Range{Filename: path, Start: pos, End: pos}
	}
	fail := func(offset int64, why string) map[string]given {
		l.code(inventory.CodeType, at(offset), "%s is not a JSON object of values: %s.", path, why)
		return nil
	}
	if i := manyDigits(src); i >= 0 {
		return fail(int64(i), tooManyDigits)
	}
	d := json.NewDecoder(bytes.NewReader(src))
	depth := 0
	for {
		t, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			return fail(d.InputOffset(), err.Error())
		}
		if delim, ok := t.(json.Delim); ok {
			depth++
			if delim == '}' || delim == ']' {
				depth -= 2
			}
		}
		if depth > maxNesting {
			l.code(inventory.CodeNesting, at(d.InputOffset()), "The values nest more than 100 deep.")
			return nil
		}
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(src, &raw); err != nil {
		return fail(0, err.Error())
	}
	out := map[string]given{}
	for name, data := range raw {
		typ, err := ctyjson.ImpliedType(data)
		if err != nil {
			return fail(0, err.Error())
		}
		val, err := ctyjson.Unmarshal(data, typ)
		if err != nil {
			return fail(0, err.Error())
		}
		out[name] = given{from: path, value: val, at: at(int64(bytes.Index(src, []byte(`"`+name+`"`))))}
	}
	return out
}
