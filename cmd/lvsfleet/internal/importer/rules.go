package importer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/lvsfleet/lvsfleet/providers/ipvs"
)

// A command is one command line of a file of rules, expanded.
type command struct {
	line int
	argv []string
}

// readRules reads rules of ipvsadm, or a shell script that runs it: each command
// is carried out on a table in memory, as ipvsadm would, and the table at the end
// is what was found.
func readRules(text []byte) (*Found, error) {
	f := &Found{Form: "rules of ipvsadm"}
	s := script{note: f.note}
	commands, isScript := s.read(string(text))
	if isScript {
		f.Form = "shell script of ipvsadm commands"
	}
	t := &ipvs.Memory{Schedulers: func(string) bool { return true }}
	understood := 0
	var edits []ipvs.Edit
	var from []command // of each edit
	var other []command
	for _, c := range commands {
		args, ok := ipvsadmArgs(c.argv)
		if !ok {
			other = append(other, c)
			continue
		}
		understood++
		e, ok, clears, err := f.rule(c.line, args, isScript)
		if err != nil {
			return nil, err
		}
		if clears {
			edits, from = nil, nil
		}
		if ok {
			edits, from = append(edits, e), append(from, command{c.line, args})
		}
	}
	if understood == 0 {
		if len(other) > 0 {
			return nil, fmt.Errorf("line %d: %q is not understood: %w", other[0].line, other[0].argv[0], errNeither)
		}
		return nil, errNeither
	}
	for _, c := range other {
		if !isScript {
			return nil, fmt.Errorf("line %d: %q is not understood (is it the output of `ipvsadm -Sn`?)", c.line, c.argv[0])
		}
		f.note("line %d: %s is not a command of ipvsadm, and not imported", c.line, strings.Join(c.argv, " "))
	}
	order, err := f.carryOut(t, edits, from)
	if err != nil {
		return nil, err
	}
	services, err := t.Dump(context.Background())
	if err != nil {
		return nil, err
	}
	slices.SortFunc(services, func(a, b ipvs.Service) int { return cmp.Compare(order[a.Key], order[b.Key]) })
	for _, s := range services {
		f.Services = append(f.Services, Service{Service: s})
	}
	return f, nil
}

// ipvsadmArgs are the arguments of ipvsadm, where argv runs it or is a line of a
// rules file.
func ipvsadmArgs(argv []string) ([]string, bool) {
	if len(argv) > 0 && strings.HasPrefix(argv[0], "-") {
		return argv, true
	}
	if len(argv) > 0 && (argv[0] == "sudo" || argv[0] == "doas" || argv[0] == "exec") {
		argv = argv[1:]
	}
	if len(argv) > 0 && path.Base(argv[0]) == "ipvsadm" {
		return argv[1:], true
	}
	return nil, false
}

// maxRefused is how many commands of a file ipvsadm may refuse.
const maxRefused = 100

// carryOut makes the edits, as ipvsadm would, and gives the places of the
// services in their order. What the kernel would refuse is noted and passed over.
func (f *Found) carryOut(t *ipvs.Memory, edits []ipvs.Edit, from []command) (map[ipvs.Key]int, error) {
	order := map[ipvs.Key]int{}
	for i, e := range edits {
		if _, there := order[e.Service.Key]; !there && e.Verb == ipvs.AddService {
			order[e.Service.Key] = i
		}
	}
	for refused := 0; len(edits) > 0; refused++ {
		err := t.Apply(context.Background(), edits)
		var at *ipvs.EditError
		if !errors.As(err, &at) {
			return order, err
		}
		c := from[at.Index]
		if refused == maxRefused {
			return nil, fmt.Errorf("line %d: ipvsadm would refuse more than %d of these commands, among them %s: %w", c.line, maxRefused, strings.Join(c.argv, " "), at.Err)
		}
		f.note("line %d: ipvsadm refuses %s where it stands, so it is not imported: %s", c.line, strings.Join(c.argv, " "), at.Err)
		edits, from = edits[at.Index+1:], from[at.Index+1:]
	}
	return order, nil
}

// rule reads one command of ipvsadm: an edit, where ok; or one that clears the
// table; or neither.
func (f *Found) rule(line int, args []string, script bool) (e ipvs.Edit, ok, clears bool, err error) {
	text := strings.Join(args, " ")
	if len(args) == 0 {
		f.note("line %d: ipvsadm without arguments lists the table: passed over", line)
		return e, false, false, nil
	}
	switch name, _, _ := strings.Cut(args[0], "="); name {
	case "-C", "--clear":
		return e, false, true, nil
	case "--set":
		f.note("line %d: %s is left out: an inventory has no timeouts of IPVS", line, text)
		return e, false, false, nil
	case "--start-daemon", "--stop-daemon":
		f.note("line %d: %s is left out: an inventory has no sync daemon", line, text)
		return e, false, false, nil
	case "-L", "-l", "--list", "-Ln", "-ln", "-S", "-Sn", "--save", "-Z", "--zero", "-R", "--restore", "-h", "--help", "-v", "--version":
		f.note("line %d: ipvsadm %s changes no rule: passed over", line, text)
		return e, false, false, nil
	}
	parse := ipvs.ParseArgs
	if !script {
		parse = ipvs.ParseSavedArgs
	}
	if e, err = parse(args); err != nil {
		return e, false, false, fmt.Errorf("line %d: %w (is it the output of `ipvsadm -Sn`?)", line, err)
	}
	return e, true, false, nil
}
