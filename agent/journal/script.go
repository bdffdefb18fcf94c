package journal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/step"
)

// The scripts beside a journal. UndoScript takes the transaction back, before
// its commit or after it; FinishScript puts the staged files of one that is
// decided in place. Both are V7 Bourne shell, look for what they need in their
// own folder, and settle the journal in the end, so that a person can run them
// at the console where there is no lvsfleet.
const (
	UndoScript   = "undo.sh"
	FinishScript = "finish.sh"
)

// scriptHead begins both. Solaris keeps the egrep(1) that knows POSIX
// expressions apart.
const scriptHead = `PATH=` + host.AdminPath + `
LC_ALL=C
IFCONFIG_FORMAT=inet:hex
export PATH LC_ALL IFCONFIG_FORMAT
umask 077
dir=` + "`dirname \"$0\"`" + `
dir=` + "`cd \"$dir\" && pwd`" + `
test -f "$dir/` + "000001" + `" || exit 1
case ` + "`uname -s`" + ` in
SunOS) egrep=/usr/xpg4/bin/egrep ;;
*) egrep=egrep ;;
esac
bad=0 left=0
`

// scriptTail ends both: the journal goes to the history where all went well.
const scriptTail = `sync
test $bad = 0 || exit 1
case $dir in
*/journal/*) ;;
*) exit 0 ;;
esac
root=` + "`dirname \"$dir\"`" + `
root=` + "`dirname \"$root\"`" + `
name=` + "`basename \"$dir\"`" + `
test -d "$root/history" || mkdir "$root/history" || exit 1
n=1
while test -d "$root/history/$name.$n"
do n=` + "`expr $n + 1`" + `
done
mv "$dir" "$root/history/$name.$n" || exit 1
sync
exit 0
`

// Scripts renders the scripts of a transaction, by name, with the files that
// they need beside them.
func Scripts(h Header, live, files []Record) (map[string]host.File, error) {
	var ops [][]step.Op
	for _, r := range slices.Concat(live, files) {
		ops = append(ops, r.Do, r.Undo)
	}
	sh := step.NewShell(ops...)
	undo, err := undoScript(sh, h, live, files)
	if err != nil {
		return nil, fmt.Errorf("render %s: %w", UndoScript, err)
	}
	finish, err := finishScript(sh, h, files)
	if err != nil {
		return nil, fmt.Errorf("render %s: %w", FinishScript, err)
	}
	all := sh.Files()
	all[UndoScript] = host.File{Mode: 0o700, Data: []byte(undo)}
	all[FinishScript] = host.File{Mode: 0o700, Data: []byte(finish)}
	return all, nil
}

func undoScript(sh *step.Shell, h Header, live, files []Record) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "#!/bin/sh\n# Puts this host back as it was before run %s of lvsfleet: run it as root.\n", h.Run)
	b.WriteString("# It may be run twice, and leaves alone what somebody else has changed since.\n")
	b.WriteString(scriptHead)
	// Whoever renames the token first has decided; a person decides anew.
	b.WriteString(`test -f "$dir/open" && mv "$dir/open" "$dir/undo" 2>/dev/null
if test -f "$dir/commit" || test -f "$dir/withdrawn"
then
`)
	part := func(records []Record) error {
		b.WriteString(":\n")
		for _, r := range slices.Backward(records) {
			for _, op := range r.Undo {
				text, err := sh.Op(op, "")
				if err != nil {
					return fmt.Errorf("%s: %w", r.Step, err)
				}
				b.WriteString(text)
			}
		}
		return nil
	}
	if err := part(files); err != nil {
		return "", err
	}
	fmt.Fprintf(&b, `live=1
else
# What was live went with a reboot.
live=0
mark=`+"`cat %s 2>/dev/null`"+`
test "X$mark" = X%s && live=1
fi
if test $live = 1
then
`, bootFile, h.Boot)
	if err := part(live); err != nil {
		return "", err
	}
	b.WriteString("fi\n")
	for _, r := range files {
		for _, tmp := range r.Staged {
			if tmp != "" {
				fmt.Fprintf(&b, "rm -f %s || bad=1\n", step.Word(tmp))
			}
		}
	}
	b.WriteString(scriptTail)
	return b.String(), nil
}

func finishScript(sh *step.Shell, h Header, files []Record) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "#!/bin/sh\n# Puts the files of run %s of lvsfleet in place, which has been committed.\n", h.Run)
	b.WriteString(scriptHead)
	b.WriteString("test -f \"$dir/commit\" || exit 1\n")
	for _, r := range files {
		// What comes after a file that somebody has edited is left as well.
		b.WriteString("if test $left = 0\nthen :\n")
		for i, op := range r.Do {
			staged := ""
			if i < len(r.Staged) {
				staged = r.Staged[i]
			}
			text, err := sh.Op(op, staged)
			if err != nil {
				return "", fmt.Errorf("%s: %w", r.Step, err)
			}
			b.WriteString(text)
		}
		b.WriteString("fi\n")
		for _, tmp := range r.Staged {
			if tmp != "" {
				fmt.Fprintf(&b, "test $bad = 0 && rm -f %s\n", step.Word(tmp))
			}
		}
	}
	b.WriteString(scriptTail)
	return b.String(), nil
}

// SaveScripts writes the scripts, and the files that they need, beside the
// journal: live is every live step that is in force or about to be done. It
// may be called again when there are more.
func (j *Journal) SaveScripts(ctx context.Context, live []Record) error {
	h, _ := j.Header()
	all, err := Scripts(h, live, j.Files())
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		put := j.h.Write
		if name == UndoScript || name == FinishScript {
			put = func(ctx context.Context, p string, f host.File) error { return host.Replace(ctx, j.h, p, f) }
		}
		err := put(ctx, path.Join(j.dir, name), all[name])
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("write journal: %w", err)
		}
	}
	return nil
}
