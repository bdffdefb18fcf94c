package hclfile

import (
	"bytes"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/lvsfleet/lvsfleet/inventory"
)

// The parser and the evaluator recurse, and a stack that is full ends the
// process. So what would make them recurse is counted on the tokens before.
const (
	maxNesting   = 100
	maxOperators = 1000 // of one expression at one level
)

// guard looks at the tokens before the parser does. It gives the source to
// parse, of the same length: typographic quotes, which it reports, are made
// straight, and templates in host labels, which it keeps, are masked, since
// the language knows none there. ok is false where the parser must not see it.
func (l *loader) guard(path string, src []byte) (masked []byte, ok bool) {
	if n := bytes.Count(src, []byte("${")) + bytes.Count(src, []byte("%{")); n > maxSteps {
		l.code(inventory.CodeSize, hcl.Range{Filename: path, Start: hcl.InitialPos, End: hcl.InitialPos}, "The file has %d templates; a site has at most %d.", n, maxSteps)
		return nil, false
	}
	many := longNumber(src)
	if !many && shallow(src) {
		return src, true
	}
	tokens, _ := hclsyntax.LexConfig(src, path, hcl.InitialPos)
	for _, t := range tokens {
		if many && (t.Type == hclsyntax.TokenNumberLit && longNumber(t.Bytes) || t.Type == hclsyntax.TokenQuotedLit && long(string(t.Bytes))) {
			l.code(inventory.CodeSize, t.Range, "%s", tooManyDigits)
			return nil, false
		}
	}
	if at, why := tooDeep(tokens); why != "" {
		l.code(inventory.CodeNesting, at, "%s", why)
		return nil, false
	}
	if at, long := meldedTooLong(tokens); long {
		l.code(inventory.CodeSize, at, "This text has too many lines for the reader: take it apart, or leave it out. An inventory of hosts needs none.")
		return nil, false
	}
	masked = src
	if quotes := typographic(tokens); len(quotes) > 0 {
		masked = bytes.Clone(src)
		for _, q := range quotes {
			l.code(inventory.CodeQuotes, q.over(), "%s", q.detail())
			q.straighten(masked)
		}
		// The tokens between the quotes are others now.
		tokens, _ = hclsyntax.LexConfig(masked, path, hcl.InitialPos)
		if at, why := tooDeep(tokens); why != "" {
			l.code(inventory.CodeNesting, at, "%s", why)
			return nil, false
		}
	}
	for _, t := range labelTemplates(tokens) {
		if &masked[0] == &src[0] {
			masked = bytes.Clone(src)
		}
		inner := hcl.Range{Filename: path, Start: t.open.Range.End, End: t.close.Range.Start}
		text := bytes.Clone(masked[inner.Start.Byte:inner.End.Byte])
		expr, diags := hclsyntax.ParseTemplate(text, path, inner.Start)
		if diags.HasErrors() {
			l.broken = true
			l.syntax(diags)
		}
		if expr != nil {
			l.budget.watch(expr)
		}
		l.labels[labelPlace{path, t.open.Range.Start.Byte}] = expr
		for i := inner.Start.Byte; i < inner.End.Byte; i++ {
			masked[i] = '_'
		}
	}
	return masked, true
}

// longNumber says whether there may be a number that the parser is not to see:
// it works each out, also those in quotes that are an index.
func longNumber(src []byte) bool { return longExponent(src) >= 0 || manyDigits(src) >= 0 }

// longExponent finds where a number may have an exponent of four digits or
// more, -1 if nowhere.
func longExponent(src []byte) int {
	for i := 1; i+4 < len(src); i++ {
		if c := src[i]; c != 'e' && c != 'E' || src[i-1] < '0' || src[i-1] > '9' {
			continue
		}
		j := i + 1
		if src[j] == '+' || src[j] == '-' {
			j++
		}
		n := 0
		for j+n < len(src) && n < 4 && '0' <= src[j+n] && src[j+n] <= '9' {
			n++
		}
		if n == 4 {
			return i
		}
	}
	return -1
}

// tooDeep finds the first place that nests too deeply or is too long an
// expression.
func tooDeep(tokens hclsyntax.Tokens) (hcl.Range, string) {
	type level struct {
		newlines  bool // a newline ends an expression here
		operators int
	}
	stack := []level{{newlines: true}}
	controls := 0 // open %{ if } and %{ for }
	for i, t := range tokens {
		top := &stack[len(stack)-1]
		push := false
		switch t.Type {
		case hclsyntax.TokenOBrace:
			push = true
		case hclsyntax.TokenOBrack, hclsyntax.TokenOParen:
			top.operators++ // an index or a call adds to the chain before it
			push = true
		case hclsyntax.TokenOQuote, hclsyntax.TokenOHeredoc, hclsyntax.TokenTemplateInterp:
			push = true
		case hclsyntax.TokenTemplateControl:
			push = true
			if i+1 < len(tokens) && tokens[i+1].Type == hclsyntax.TokenIdent {
				switch string(tokens[i+1].Bytes) {
				case "if", "for":
					controls++
				case "endif", "endfor":
					controls = max(0, controls-1)
				}
			}
		case hclsyntax.TokenCBrace, hclsyntax.TokenCBrack, hclsyntax.TokenCParen,
			hclsyntax.TokenCQuote, hclsyntax.TokenCHeredoc, hclsyntax.TokenTemplateSeqEnd:
			if len(stack) > 1 {
				stack = stack[:len(stack)-1]
			}
		case hclsyntax.TokenComma:
			top.operators = 0
		case hclsyntax.TokenNewline:
			if top.newlines {
				top.operators = 0
			}
		case hclsyntax.TokenComment:
			if top.newlines && bytes.HasSuffix(t.Bytes, []byte("\n")) {
				top.operators = 0
			}
		case hclsyntax.TokenIdent, hclsyntax.TokenNumberLit, hclsyntax.TokenQuotedLit,
			hclsyntax.TokenStringLit, hclsyntax.TokenEOF, hclsyntax.TokenInvalid, hclsyntax.TokenBadUTF8:
		default:
			top.operators++
		}
		if top.operators > maxOperators {
			return t.Range, "An expression of more than 1,000 operators. " + inventory.RuleOf(inventory.CodeNesting).Cure
		}
		if push {
			stack = append(stack, level{newlines: t.Type == hclsyntax.TokenOBrace})
		}
		if len(stack)-1+controls > maxNesting {
			return t.Range, "Brackets, blocks and templates nest more than 100 deep here. " + inventory.RuleOf(inventory.CodeNesting).Cure
		}
	}
	return hcl.Range{}, ""
}

// A quotePair is a text in typographic quotes; close is the zero Token where
// the line ends first.
type quotePair struct{ open, close hclsyntax.Token }

func (q quotePair) over() hcl.Range {
	if q.close.Bytes == nil {
		return q.open.Range
	}
	return hcl.RangeBetween(q.open.Range, q.close.Range)
}

func (q quotePair) detail() string {
	return "The quote " + strings.TrimSpace(string(q.open.Bytes)) +
		" is a typographic one, as word processors and web pages make them. Write the straight quote \" on both sides."
}

// straighten writes straight quotes, and spaces for the bytes that are over.
func (q quotePair) straighten(src []byte) {
	put := func(t hclsyntax.Token, quoteLast bool) {
		at := src[t.Range.Start.Byte:t.Range.End.Byte]
		for i := range at {
			at[i] = ' '
		}
		if quoteLast {
			at[len(at)-1] = '"'
		} else {
			at[0] = '"'
		}
	}
	put(q.open, true)
	if q.close.Bytes != nil {
		put(q.close, false)
	}
}

// isTypographic knows the double and single quotes of word processors.
func isTypographic(t hclsyntax.Token) bool {
	switch string(t.Bytes) {
	case "“", "”", "„", "‟", "‘", "’", "‚", "‛", "«", "»", "‹", "›", "″", "＂":
		return t.Type == hclsyntax.TokenInvalid
	}
	return false
}

// typographic finds the quotes that stand where a straight one is meant. In
// strings and comments they are text.
func typographic(tokens hclsyntax.Tokens) []quotePair {
	var pairs []quotePair
	for i := 0; i < len(tokens); i++ {
		if !isTypographic(tokens[i]) {
			continue
		}
		p := quotePair{open: tokens[i]}
		for j := i + 1; j < len(tokens) && tokens[j].Range.Start.Line == tokens[i].Range.Start.Line; j++ {
			if isTypographic(tokens[j]) {
				p.close = tokens[j]
				i = j
				break
			}
		}
		pairs = append(pairs, p)
	}
	return pairs
}

// labelTemplates finds the labels of host blocks that hold a template.
func labelTemplates(tokens hclsyntax.Tokens) []quotePair {
	var found []quotePair
	fresh := true // a block may begin here
	for i := 0; i < len(tokens); i++ {
		t := tokens[i]
		switch {
		case t.Type == hclsyntax.TokenComment:
			fresh = fresh || bytes.HasSuffix(t.Bytes, []byte("\n"))
			continue
		case t.Type == hclsyntax.TokenNewline:
			fresh = true
			continue
		case !fresh || t.Type != hclsyntax.TokenIdent || string(t.Bytes) != "host":
			fresh = false
			continue
		}
		fresh = false
		if i+1 >= len(tokens) || tokens[i+1].Type != hclsyntax.TokenOQuote {
			continue
		}
		depth, template := 0, false
		for j := i + 1; j < len(tokens); j++ {
			switch tokens[j].Type {
			case hclsyntax.TokenOQuote:
				depth++
			case hclsyntax.TokenTemplateInterp, hclsyntax.TokenTemplateControl:
				template = true
			case hclsyntax.TokenCQuote:
				depth--
			}
			if depth == 0 {
				if template && j+1 < len(tokens) && tokens[j+1].Type == hclsyntax.TokenOBrace {
					found = append(found, quotePair{tokens[i+1], tokens[j]})
				}
				i = j
				break
			}
		}
	}
	return found
}
