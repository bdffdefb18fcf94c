package step

import (
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
)

// A Shell renders operations as lines of V7 Bourne shell, which old systems
// still run: no $( ), no functions, no test -e. The lines ask for the same
// state before they act as Op.Do does. They use the variables dir, the folder
// in which the files of Files lie, and egrep, a program that knows POSIX
// extended regular expressions; they set bad to 1 where something failed and
// left to 1 where somebody else's change was left alone, which they tell on
// standard error.
//
// Two things a shell cannot do: probe for an address (Unanswered: the
// operation runs) and announce one (Announce is passed over).
type Shell struct{ files map[Sum]host.File }

// NewShell gives a Shell for operations among ops: a change's Do and Undo go
// together, since what one of them expects is what the other leaves.
func NewShell(ops ...[]Op) *Shell {
	s := &Shell{files: map[Sum]host.File{}}
	for _, list := range ops {
		for _, op := range list {
			if op.Kind == Write {
				s.files[nodeSum(*op.File)] = *op.File
			}
		}
	}
	return s
}

// Files are the regular files that the lines compare with and copy from, by
// the name that each must have in the folder $dir.
func (s *Shell) Files() map[string]host.File {
	files := map[string]host.File{}
	for sum, f := range s.files {
		if f.Mode.IsRegular() {
			files[savedName(sum)] = f
		}
	}
	return files
}

func savedName(sum Sum) string { return "file." + string(sum) }

// Op renders one operation. Staged is the temporary file that has what a Write
// puts in place; "" where there is none.
func (s *Shell) Op(op Op, staged string) (string, error) {
	var b strings.Builder
	for line := range strings.Lines(op.String()) {
		fmt.Fprintf(&b, "# %s\n", printable(strings.TrimRight(line, "\n")))
	}
	var err error
	switch op.Kind {
	case Write, Remove:
		err = s.file(&b, op, staged)
	case Run:
		run(&b, op)
	case IPVS:
		table(&b, op.Edits)
	case Notify:
		notify(&b, op)
	case Announce:
	default:
		err = fmt.Errorf("operation of unknown kind %q", op.Kind)
	}
	return b.String(), err
}

// printable keeps a comment within its line.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' {
			return '?'
		}
		return r
	}, text)
}

// Word quotes text so that a shell takes it as one word, and as it is.
func Word(text string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-,:+@%", r)
	}
	if text != "" && strings.IndexFunc(text, func(r rune) bool { return !plain(r) }) < 0 {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

func words(argv []string) string {
	quoted := make([]string, len(argv))
	for i, a := range argv {
		quoted[i] = Word(a)
	}
	return strings.Join(quoted, " ")
}

// run renders a command and its conditions. What a command of a condition
// prints is kept in a variable, for a disk may be full.
func run(b *strings.Builder, op Op) {
	b.WriteString("ok=1\n")
	for _, c := range op.If {
		fmt.Fprintf(b, "out=`%s 2>/dev/null` || out=\n", backquoted(words(c.Argv)))
		match := fmt.Sprintf(`test -n "$out" && echo "$out" | $egrep -e %s >/dev/null`, Word(c.Match))
		if c.Not {
			fmt.Fprintf(b, "if %s\nthen ok=0\nfi\n", match)
		} else {
			fmt.Fprintf(b, "if %s\nthen :\nelse ok=0\nfi\n", match)
		}
	}
	fmt.Fprintf(b, "if test $ok = 1\nthen %s </dev/null >/dev/null || bad=1\nfi\n", words(op.Argv))
}

// notify renders a command whose failure is only told of.
func notify(b *strings.Builder, op Op) {
	fmt.Fprintf(b, "if %s </dev/null >/dev/null 2>&1\nthen :\nelse echo %s >&2\nfi\n", words(op.Argv), Word(printable(op.String())+": failed; it is read at the next boot"))
}

// backquoted escapes what a shell would take out of a command between
// backquotes.
func backquoted(text string) string {
	return strings.NewReplacer(`\`, `\\`, "`", "\\`", `$`, `\$`).Replace(text)
}

// tempFor is the temporary file beside target, always the same.
func tempFor(target string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(target))
	return path.Join(path.Dir(target), ".lvsfleet-"+hex.EncodeToString(h.Sum(nil))+".tmp")
}

func (s *Shell) file(b *strings.Builder, op Op, staged string) error {
	want, mode := Absent, fs.FileMode(0)
	if op.File != nil {
		mode = op.File.Mode
	}
	if op.Kind == Write {
		want = nodeSum(*op.File)
	}
	p := Word(op.Path)
	if mode.IsDir() {
		if op.Kind == Remove {
			// A folder that has something in it is somebody's.
			fmt.Fprintf(b, "if test -d %s\nthen rmdir %s 2>/dev/null || :\nfi\n", p, p)
			return nil
		}
		fmt.Fprintf(b, "if test -d %s\nthen :\nelse mkdir %s && chmod %o %s && chown %d %s && chgrp %d %s || bad=1\nfi\n",
			p, p, mode.Perm(), p, op.File.UID, p, op.File.GID, p)
		return nil
	}
	link := mode&fs.ModeSymlink != 0
	if link {
		fmt.Fprintf(b, "now=`ls -ld %s 2>/dev/null`\n", backquoted(p))
	}
	is := func(sum Sum) (string, error) { return s.is(op.Path, sum, link) }
	done, err := is(want)
	if err != nil {
		return err
	}
	fmt.Fprintf(b, "if %s\nthen ", done)
	if staged != "" {
		fmt.Fprintf(b, "rm -f %s\n", Word(staged))
	} else {
		b.WriteString(":\n")
	}
	if op.Expect != "" {
		expected, err := is(op.Expect)
		if err != nil {
			return err
		}
		fmt.Fprintf(b, "elif %s\nthen\n", expected)
	} else {
		b.WriteString("else\n")
	}
	tmp := Word(tempFor(op.Path))
	copied := fmt.Sprintf("rm -f %s\ncp -p \"$dir/%s\" %s && mv -f %s %s || bad=1\n", tmp, savedName(want), tmp, tmp, p)
	switch {
	case op.Kind == Remove:
		fmt.Fprintf(b, "rm -f %s || bad=1\n", p)
	case link:
		fmt.Fprintf(b, "rm -f %s\nln -s %s %s || bad=1\n", p, Word(string(op.File.Data)), p)
		if staged != "" {
			fmt.Fprintf(b, "rm -f %s\n", Word(staged))
		}
	case staged != "":
		fmt.Fprintf(b, "if test -f %s\nthen mv -f %s %s || bad=1\nelse\n%sfi\n", Word(staged), Word(staged), p, copied)
	default:
		b.WriteString(copied)
	}
	if op.Expect != "" {
		fmt.Fprintf(b, "else\necho %s >&2\nleft=1\n", Word(printable(op.Path)+": changed by somebody else meanwhile, left as it is"))
	}
	b.WriteString("fi\n")
	return nil
}

// is renders the question whether what is at path has that sum: for a file,
// its content, permission and owner; for a link, of which $now tells, its
// target.
func (s *Shell) is(path string, sum Sum, link bool) (string, error) {
	p := Word(path)
	if sum == Absent {
		if link {
			return `test -z "$now"`, nil
		}
		return fmt.Sprintf("test ! -f %s", p), nil
	}
	f, known := s.files[sum]
	if !known {
		return "", fmt.Errorf("%s: no operation has the file that is expected there", path)
	}
	if link {
		return fmt.Sprintf("echo \"$now\" | $egrep -e %s >/dev/null", Word(" -> "+Quote(string(f.Data))+"$")), nil
	}
	return fmt.Sprintf("test -f %s && cmp -s \"$dir/%s\" %s && test -n \"`find %s -perm %04o -user %d -group %d -print`\"",
		p, savedName(sum), p, backquoted(p), f.Mode.Perm(), f.UID, f.GID), nil
}

// table renders edits of the IPVS table. They are many where a large table is
// undone, so it is read once for all those that do not depend on each other,
// and the rules of a service are picked out once for what concerns it.
func table(b *strings.Builder, edits []ipvs.Edit) {
	for _, round := range rounds(edits) {
		b.WriteString("table=`ipvsadm -Sn 2>/dev/null`\n")
		for i, e := range round {
			if i == 0 || e.Service.Key != round[i-1].Service.Key {
				key := strings.Join(e.Service.Key.Args(), " ")
				fmt.Fprintf(b, "rules=`echo \"$table\" | $egrep -e %s`\n", backquoted(Word("^-[Aa] "+Quote(key)+"( |$)")))
			}
			edit(b, e)
		}
	}
}

// rounds parts edits so that what one does is not asked for by another of its
// round. Those of a service stay in their order.
func rounds(edits []ipvs.Edit) [][]ipvs.Edit {
	type service struct {
		round int
		whole bool                  // the service itself is concerned in this round
		dests map[ipvs.DestKey]bool // that are
	}
	at := map[ipvs.Key]*service{}
	var out [][]ipvs.Edit
	for _, e := range edits {
		s := at[e.Service.Key]
		if s == nil {
			s = &service{dests: map[ipvs.DestKey]bool{}}
			at[e.Service.Key] = s
		}
		ofDest := e.Verb == ipvs.AddDest || e.Verb == ipvs.EditDest || e.Verb == ipvs.DeleteDest
		if s.whole || s.dests[e.Dest.DestKey] || !ofDest && len(s.dests) > 0 {
			s.round++
			s.whole = false
			clear(s.dests)
		}
		if ofDest {
			s.dests[e.Dest.DestKey] = true
		} else {
			s.whole = true
		}
		if s.round == len(out) {
			out = append(out, nil)
		}
		out[s.round] = append(out[s.round], e)
	}
	return out
}

// edit renders an edit of the IPVS table, with what ipvs.Make asks before of
// the rules of its service.
func edit(b *strings.Builder, e ipvs.Edit) {
	has := func(re string) string { return fmt.Sprintf(`echo "$rules" | $egrep -e %s >/dev/null`, Word(re)) }
	key := strings.Join(e.Service.Key.Args(), " ")
	service, dests := "^-A "+Quote(key)+"( |$)", "^-a "+Quote(key)+" "
	dest := "^-a " + Quote(key+" -r "+e.Dest.String()) + "( |$)"
	serviceIs := func(s ipvs.Service) string {
		return "^" + Quote(ipvs.Edit{Verb: ipvs.AddService, Service: &s}.Rule()) + " *$"
	}
	destIs := func(d ipvs.Destination) string {
		// -Sn leaves the thresholds out, and newer ones name the kind of tunnel.
		d.Upper, d.Lower = 0, 0
		rule := Quote(ipvs.Edit{Verb: ipvs.AddDest, Service: e.Service, Dest: d}.Rule())
		if e.AnyWeight {
			rule = strings.Replace(rule, fmt.Sprintf(" -w %d", d.Weight), " -w [0-9]+", 1)
		}
		// A real server that is the director itself reads as -g, whatever it
		// was made as.
		for _, method := range []string{" -m", " -i"} {
			rule = strings.Replace(rule, method+" -w", "("+method+"| -g) -w", 1)
		}
		return "^" + rule + "( --tun-type ipip)? *$"
	}
	make := "ipvsadm " + words(e.Args()) + " || bad=1"
	no := fmt.Sprintf("echo %s >&2\nleft=1", Word(e.Rule()+": changed by somebody else meanwhile, left as it is"))
	var when [][2]string // the first that holds; an empty condition is the rest
	switch e.Verb {
	case ipvs.AddService:
		when = [][2]string{{has(serviceIs(*e.Service)), ":"}, {has(service), no}, {"", make}}
	case ipvs.EditService:
		when = [][2]string{{has(serviceIs(*e.Service)), ":"}}
		if e.WasService != nil {
			when = append(when, [2]string{has(serviceIs(*e.WasService)), make}, [2]string{"", no})
		} else {
			when = append(when, [2]string{has(service), make}, [2]string{"", no})
		}
	case ipvs.DeleteService:
		if e.WasService != nil {
			when = [][2]string{{has(dests), no}, {has(serviceIs(*e.WasService)), make}, {has(service), no}}
		} else {
			when = [][2]string{{has(service), make}}
		}
	case ipvs.AddDest:
		when = [][2]string{{has(destIs(e.Dest)), ":"}, {has(dest), no}, {has(service), make}, {"", no}}
	case ipvs.EditDest:
		if e.AnyWeight {
			// The weight is a health checker's: the present one stays.
			argv := strings.Replace(words(e.Args()), fmt.Sprintf(" -w %d", e.Dest.Normal().Weight), ` -w "$w"`, 1)
			make = fmt.Sprintf("line=`echo \"$rules\" | $egrep -e %s`\nw=`expr \"$line\" : '.* -w \\\\([0-9]*\\\\)'`\nipvsadm %s || bad=1",
				backquoted(Word(dest)), argv)
		}
		was := dest
		if e.WasDest != nil {
			was = destIs(*e.WasDest)
		}
		when = [][2]string{{has(was), make}, {has(destIs(e.Dest)), ":"}, {"", no}}
	case ipvs.DeleteDest:
		when = [][2]string{{has(dest), make}}
		if e.WasDest != nil {
			when = [][2]string{{has(destIs(*e.WasDest)), make}, {has(dest), no}}
		}
	}
	for i, w := range when {
		switch {
		case w[0] == "":
			b.WriteString("else\n")
		case i == 0:
			fmt.Fprintf(b, "if %s\nthen\n", w[0])
		default:
			fmt.Fprintf(b, "elif %s\nthen\n", w[0])
		}
		b.WriteString(w[1] + "\n")
	}
	b.WriteString("fi\n")
}

// SavedFiles lists Files by name, in order.
func (s *Shell) SavedFiles() []string { return slices.Sorted(maps.Keys(s.Files())) }
