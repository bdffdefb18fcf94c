package hclfile

import "bytes"

// shallow says that the source is so plain that its bytes alone show that
// nothing in it needs the guard: no template, heredoc, escape, block comment
// or character beyond ASCII, so that brackets outside of "..." and of comments
// are brackets. Most files of many hosts are, and are spared a second lexing.
// It may say false of anything.
func shallow(src []byte) bool {
	for _, s := range []string{"${", "%{", "<<", "/*", `\`} {
		if bytes.Contains(src, []byte(s)) {
			return false
		}
	}
	var stack [maxNesting]byte
	depth, operators := 0, 0
	for i := 0; i < len(src); i++ {
		switch c := src[i]; {
		case c >= 0x80:
			return false
		case c == '"':
			end := bytes.IndexAny(src[i+1:], "\"\n")
			if end < 0 || src[i+1+end] != '"' {
				return false
			}
			for _, c := range src[i+1 : i+1+end] {
				if c >= 0x80 {
					return false
				}
			}
			i += 1 + end
		case c == '#' || c == '/' && i+1 < len(src) && src[i+1] == '/':
			for i+1 < len(src) && src[i+1] != '\n' {
				if i++; src[i] >= 0x80 {
					return false
				}
			}
		case c == '{' || c == '[' || c == '(':
			// The guard allows the full depth; what comes near it is left
			// to it.
			if depth == len(stack)-1 {
				return false
			}
			stack[depth] = c
			depth++
			operators++
		case c == '}' || c == ']' || c == ')':
			depth = max(0, depth-1)
		case c == ',':
			operators = 0
		case c == '\n':
			if depth == 0 || stack[depth-1] == '{' {
				operators = 0
			}
		case bytes.IndexByte([]byte("+-*/%!<>=&|?:."), c) >= 0:
			operators++
		}
		if operators > maxOperators/2 {
			return false
		}
	}
	return true
}
