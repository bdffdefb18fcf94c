// Package note holds what lvsfleet tells of a host and does not change: as a
// code with what it is about, which stay, and the sentence that a person reads,
// which may be put better any time.
package note

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A Note is something that was found and is told. Code and Subject say which
// one it is: two looks that found the same gave the same. Args may change
// meanwhile (a number of real servers).
type Note struct {
	Code    Code     `json:"code"`
	Subject string   `json:"subject,omitempty"`
	Args    []string `json:"args,omitempty"`
}

// New makes a note. The args are those of the code's wording; some of them are
// the subject.
func New(code Code, args ...any) Note {
	texts := make([]string, len(args))
	for i, a := range args {
		texts[i] = fmt.Sprint(a)
	}
	return made(code, texts)
}

func made(code Code, args []string) Note {
	n := Note{Code: code, Args: args}
	var about []string
	for _, i := range wordings[code].about {
		if i <= len(args) {
			about = append(about, args[i-1])
		}
	}
	n.Subject = strings.Join(about, " ")
	return n
}

// Is says whether the two tell of the same.
func (n Note) Is(o Note) bool { return n.Code == o.Code && n.Subject == o.Subject }

// String is the sentence.
func (n Note) String() string {
	w, ok := wordings[n.Code]
	if w.variants != nil && len(n.Args) > 0 {
		w.text = w.variants[n.Args[0]]
	}
	if !ok || w.text == "" || len(n.Args) < w.args() {
		return strings.TrimSpace(string(n.Code) + " " + strings.Join(n.Args, " ")) // of no build that is known
	}
	return placeholder.ReplaceAllStringFunc(w.text, func(p string) string {
		i, _ := strconv.Atoi(p[1 : len(p)-1]) // digits, by the expression
		return n.Args[i-1]
	})
}

// Texts are the sentences of a list.
func Texts(list []Note) []string {
	var texts []string
	for _, n := range list {
		texts = append(texts, n.String())
	}
	return texts
}

// A wording is the sentence of a code: {1} is its first argument.
type wording struct {
	text  string
	about []int // the arguments that are the subject
	// variants are the sentences of a code whose first argument says which.
	variants map[string]string
	// earlier are sentences that builds which recorded no codes had for it.
	earlier []string
}

var placeholder = regexp.MustCompile(`\{[0-9]+\}`)

// args is how many arguments the wording has.
func (w wording) args() int {
	most := 0
	for _, p := range placeholder.FindAllString(w.text, -1) {
		n, _ := strconv.Atoi(p[1 : len(p)-1])
		most = max(most, n)
	}
	return most
}

// Earlier reads a sentence as a build before codes recorded it; false: it is
// none that a code is known of.
func Earlier(text string) (Note, bool) {
	for _, r := range readers() {
		m := r.pattern.FindStringSubmatch(text)
		if m == nil {
			continue
		}
		if r.variant != "" {
			return made(r.code, []string{r.variant}), true
		}
		args := make([]string, wordings[r.code].args())
		for i, at := range r.order {
			if at <= len(args) {
				args[at-1] = m[i+1]
			}
		}
		return made(r.code, args), true
	}
	return Note{}, false
}

// A reader recognizes one sentence.
type reader struct {
	code    Code
	variant string
	pattern *regexp.Regexp
	order   []int // which argument each group is
	fixed   int   // how much of it is given: the most particular comes first
}

// particular is how much of a sentence must be given for it to be recognized.
const particular = 16

// readers are those of all wordings. Sentences of builds before codes are read
// once after an update, so they are put together each time.
func readers() []reader {
	var list []reader
	add := func(code Code, variant, text string) {
		r := reader{code: code, variant: variant}
		pattern, at := "^", 0
		for _, m := range placeholder.FindAllStringIndex(text, -1) {
			n, _ := strconv.Atoi(text[m[0]+1 : m[1]-1])
			pattern += regexp.QuoteMeta(text[at:m[0]]) + "(.*?)"
			r.order, r.fixed = append(r.order, n), r.fixed+m[0]-at
			at = m[1]
		}
		if r.fixed += len(text) - at; r.fixed < particular {
			return
		}
		r.pattern = regexp.MustCompile("(?s)" + pattern + regexp.QuoteMeta(text[at:]) + "$")
		list = append(list, r)
	}
	for code, w := range wordings {
		for variant, text := range w.variants {
			add(code, variant, text)
		}
		if w.text != "" {
			add(code, "", w.text)
		}
		for _, text := range w.earlier {
			add(code, "", text)
		}
	}
	slices.SortFunc(list, func(a, b reader) int {
		if a.fixed != b.fixed {
			return b.fixed - a.fixed
		}
		return strings.Compare(string(a.code), string(b.code))
	})
	return list
}
