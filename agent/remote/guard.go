package remote

import (
	"context"
	"fmt"
	"path"
	"strconv"
	"time"

	"github.com/lvsfleet/lvsfleet/agent"
	"github.com/lvsfleet/lvsfleet/providers/host"
)

// guardScript is a guard (agent.Duty) where no agent can run. It counts the
// seconds that it has slept, which nobody can set. What is open in the end it
// undoes by undo.sh, or finishes by finish.sh, that lie beside the journal.
// Its arguments: as lockScript's, then the run, the state folder, the limit in
// seconds, and the folder of the files by which guard and session talk.
const guardScript = `trap '' 1 2 3
` + takeScript + `run=$4 root=$5 limit=$6 talk=$7
count=0 turn=0
nonce=$$.$turn
echo $nonce >"$talk/guard.nonce"
while test $count -lt $limit
do
	if test "` + "`cat \"$talk/guard.done\" 2>/dev/null`" + `" = "$who"
	then break
	fi
	if test "` + "`cat \"$talk/guard.word\" 2>/dev/null`" + `" = $nonce
	then
		count=0
		turn=` + "`expr $turn + 1`" + `
		nonce=$$.$turn
		echo $nonce >"$talk/guard.nonce"
	fi
	sleep 1
	count=` + "`expr $count + 1`" + `
done
journal=$root/journal/$run
tries=0
while test -f "$journal/undo.sh" && test $tries -lt 5
do
	test -f "$journal/open" && mv "$journal/open" "$journal/undo" 2>/dev/null
	if test -f "$journal/commit"
	then /bin/sh "$journal/finish.sh"
	else /bin/sh "$journal/undo.sh"
	fi
	test -d "$journal" && sleep 2
	tries=` + "`expr $tries + 1`" + `
done
rm -f "$talk/guard.nonce" "$talk/guard.word" "$talk/guard.done"
rm -rf "$lock"
exit 0
`

// Guard puts the guard's script on h and gives the argv that starts it: an
// Engine's Guard for hosts without an agent. host.RunDir is there.
func Guard(ctx context.Context, h host.Host, d agent.Duty) ([]string, error) {
	script := path.Join(host.RunDir, "guard.sh")
	if err := host.Replace(ctx, h, script, host.File{Mode: 0o700, Data: []byte(guardScript)}); err != nil {
		return nil, fmt.Errorf("write the guard: %w", err)
	}
	seconds := int((d.Timeout + time.Second - 1) / time.Second)
	return []string{
		"/bin/sh", script, host.LockFolder(agent.Lease), agent.Lease, d.Holder,
		d.Run, d.Root, strconv.Itoa(seconds), host.RunDir,
	}, nil
}

// spawnScript starts its arguments in the background. No system has setsid(1)
// for sure; what ignores the hang-up and holds none of the login's streams
// outlives it all the same.
const spawnScript = `trap "" 1 2 3; "$@" </dev/null >/dev/null 2>&1 &`

// Spawn starts argv by the login's own shell.
func (h *Host) Spawn(ctx context.Context, argv []string) error {
	_, err := h.Run(ctx, host.Cmd{Argv: append([]string{"/bin/sh", "-c", spawnScript, "sh"}, argv...)})
	if err != nil {
		return fmt.Errorf("spawn %s: %w", argv[0], err)
	}
	return nil
}
