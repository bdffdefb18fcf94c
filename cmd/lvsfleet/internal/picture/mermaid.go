package picture

import (
	"fmt"
	"strings"
	"unicode"
)

// Mermaid tells the picture as a Mermaid flowchart: one node for each box.
func (p *Picture) Mermaid() string {
	var b strings.Builder
	b.WriteString("flowchart LR\n")
	node := func(id, head string, cells []string, filled bool) {
		fmt.Fprintf(&b, "  %s[\"%s", id, mermaidText(head))
		const room = 24 // characters that fit in one line of a node
		used := room
		for _, c := range cells {
			used += len(c) + 3
			if filled && used < room {
				b.WriteString(" | ")
			} else {
				b.WriteString("<br/>")
				used = len(c)
			}
			b.WriteString(mermaidText(c))
		}
		b.WriteString("\"]\n")
	}
	node("clients", "Clients", p.clients, false)
	for _, k := range p.blocks {
		cells, columns := k.cells()
		node(k.id, k.title, cells, columns > 1)
	}
	if len(p.tunnels) > 0 {
		node("tunnels", "Plain IP-in-IP tunnels", p.tunnels, false)
	}
	for _, k := range p.blocks {
		if k.kind == directors {
			fmt.Fprintf(&b, "  clients --> %s\n", k.id)
		}
		for _, e := range k.to {
			switch methodName(e.method) {
			case "":
				fmt.Fprintf(&b, "  %s --> %s\n", k.id, e.to.id)
			case "TUN":
				fmt.Fprintf(&b, "  %s ==>|TUN| %s\n", k.id, e.to.id)
			case "DR":
				fmt.Fprintf(&b, "  %s -.->|DR| %s\n", k.id, e.to.id)
			default:
				fmt.Fprintf(&b, "  %s -->|%s| %s\n", k.id, methodName(e.method), e.to.id)
			}
		}
	}
	return b.String()
}

// mermaidText writes all but letters, digits and what is harmless as an entity
// code: Mermaid reads labels as Markdown and HTML, and knows no other escape.
func mermaidText(s string) string {
	var b strings.Builder
	for _, r := range clean(s) {
		if unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune(" .,:-/", r) {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, "#%d;", r)
		}
	}
	return b.String()
}
