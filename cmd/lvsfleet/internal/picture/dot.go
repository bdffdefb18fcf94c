package picture

import (
	"fmt"
	"html"
	"strings"
)

// DOT tells the picture in graphviz' language: one node for each box.
func (p *Picture) DOT() string {
	var b strings.Builder
	fmt.Fprintf(&b, "digraph %s {\n", dotQuote(p.name))
	b.WriteString("  rankdir=LR\n  node [shape=plain fontname=\"Helvetica\" fontsize=11]\n  edge [fontname=\"Helvetica\" fontsize=11]\n")
	clients := []string{"Clients"}
	clients = append(clients, p.clients...)
	fmt.Fprintf(&b, "  clients [label=<%s>]\n", dotTable(clients[0], clients[1:], 1))
	for _, k := range p.blocks {
		cells, columns := k.cells()
		fmt.Fprintf(&b, "  %s [label=<%s>]\n", k.id, dotTable(k.title, cells, columns))
	}
	if len(p.tunnels) > 0 {
		fmt.Fprintf(&b, "  tunnels [label=<%s>]\n", dotTable("Plain IP-in-IP tunnels", p.tunnels, 1))
	}
	for _, k := range p.blocks {
		if k.kind == directors {
			fmt.Fprintf(&b, "  clients -> %s\n", k.id)
		}
		for _, e := range k.to {
			fmt.Fprintf(&b, "  %s -> %s%s\n", k.id, e.to.id, dotMethod(e))
		}
	}
	b.WriteString("}\n")
	return b.String()
}

func dotMethod(e edge) string {
	if e.method == "" {
		return ""
	}
	style := map[string]string{"NAT": "solid", "DR": "dashed", "TUN": "dotted"}[methodName(e.method)]
	return fmt.Sprintf(" [label=%s style=%s]", dotQuote(methodName(e.method)), style)
}

// dotTable is a label with a heading and cells, in so many columns.
func dotTable(head string, cells []string, columns int) string {
	var b strings.Builder
	b.WriteString(`<TABLE BORDER="1" CELLBORDER="0" CELLSPACING="2" CELLPADDING="3">`)
	fmt.Fprintf(&b, `<TR><TD COLSPAN="%d"><B>%s</B></TD></TR>`, columns, dotHTML(head))
	for i := 0; i < len(cells); i += columns {
		b.WriteString("<TR>")
		for j := i; j < i+columns; j++ {
			text := ""
			if j < len(cells) {
				text = cells[j]
			}
			fmt.Fprintf(&b, `<TD ALIGN="LEFT">%s</TD>`, dotHTML(text))
		}
		b.WriteString("</TR>")
	}
	b.WriteString("</TABLE>")
	return b.String()
}

// cells tells what is in the block, a text for each, and in how many columns
// it reads well.
func (b *block) cells() (list []string, columns int) {
	for _, s := range b.services {
		list = append(list, strings.Join(append([]string{s.name, s.address, s.scheduler}, s.extra...), ", "))
	}
	for i := range b.hosts {
		n := &b.hosts[i]
		if len(b.hosts) > 24 {
			list = append(list, n.name)
			continue
		}
		text := n.name + ", " + n.address
		if w, _ := n.weightText(nil); w != "" {
			text += ", " + w
		}
		if n.role != "" {
			text += ", " + n.role
		}
		list = append(list, text)
	}
	if len(list) > 24 {
		return list, densityOf(len(list), false).fit(len(list))
	}
	return list, 1
}

// dotQuote makes a double-quoted string of DOT: the quotation mark is escaped,
// and the backslash too, since labels give it a meaning (\N is the node's
// name).
func dotQuote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(clean(s)) + `"`
}

// dotHTML escapes text of an HTML-like label.
func dotHTML(s string) string { return html.EscapeString(clean(s)) }
