package remote

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/lvsfleet/lvsfleet/providers/host"
)

// lockScript takes the lock and holds it for as long as its input stays open.
// The lock is a folder, since mkdir is what an old shell can do atomically;
// in it are its holder's pid, asked with kill -0, and name. One whose holder is
// dead is taken away by whoever has made the folder LOCK.take, and by nobody
// else, so that a lock that is new is never taken for the old one; one without
// a pid (its maker was killed, or FreeBSD has booted, which empties /var/run
// of files and keeps the folders) once it has been so for a while. The one
// group is read whole before it runs, so that "read" gets what comes after it.
// Its arguments: the folder, the file by which agents lock, the holder.
const lockScript = "{\n" + takeScript + `echo held
read line
rm -rf "$lock"
exit 0
}
`

// takeScript is the taking of the lock.
const takeScript = `umask 077
lock=$1 file=$2 who=$3
parent=` + "`dirname \"$lock\"`" + `
test -d "$parent" || mkdir "$parent" || exit 1
if test -f "$file"; then
	pid=` + "`sed -n 2p \"$file\"`" + `
	if test -n "$pid" && kill -0 "$pid" 2>/dev/null; then
		echo taken
		sed -n 1p "$file"
		exit 0
	fi
fi
tries=0
until mkdir "$lock" 2>/dev/null; do
	tries=` + "`expr $tries + 1`" + `
	if test $tries -gt 9; then
		rmdir "$lock.take" 2>/dev/null
		mkdir "$lock"
		exit 1
	fi
	pid=` + "`cat \"$lock/pid\" 2>/dev/null`" + `
	if test -n "$pid" && kill -0 "$pid" 2>/dev/null; then
		echo taken
		cat "$lock/holder"
		exit 0
	fi
	if test -z "$pid" && test $tries -lt 4; then
		sleep 1
		continue
	fi
	if mkdir "$lock.take" 2>/dev/null; then
		now=` + "`cat \"$lock/pid\" 2>/dev/null`" + `
		if test "X$now" = "X$pid"; then
			test -z "$pid" || rm -f "$lock/pid" "$lock/holder"
			rmdir "$lock" 2>/dev/null
		fi
		rmdir "$lock.take"
	else
		sleep 1
	fi
done
echo "$who" >"$lock/holder" && echo $$ >"$lock/pid" || exit 1
if test "` + "`cat \"$lock/pid\"`" + `" != $$; then
	echo taken
	cat "$lock/holder"
	exit 0
fi
`

// holderScript prints who holds the lock, if anybody does.
const holderScript = `{
lock=$1 file=$2
for where in "$lock/pid" "$file"; do
	test -f "$where" || continue
	case $where in
	"$file") pid=` + "`sed -n 2p \"$where\"`" + ` name=$file ;;
	*) pid=` + "`sed -n 1p \"$where\"`" + ` name=$lock/holder ;;
	esac
	if test -n "$pid" && kill -0 "$pid" 2>/dev/null; then
		sed -n 1p "$name"
		exit 0
	fi
done
exit 0
}
`

// Scripts are the shell scripts that run on hosts without an agent, by what
// they are for: all of them V7 Bourne shell.
func Scripts() map[string]string {
	return map[string]string{
		"lock": lockScript, "holder": holderScript, "guard": guardScript, "gate": gate, "probe": probeScript,
		"look": lookScript, "read": readScript, "list": listScript, "new file": fileScript, "new folder": folderScript,
		"new link": linkScript, "move": moveScript, "remove": removeScript,
		"deliver": deliverScript, "catch up": catchUpScript, "rename": renameScript,
	}
}

// script is the argv that runs what comes on standard input.
func script(args ...string) []string { return append([]string{"/bin/sh", "-s"}, args...) }

// Lock takes the lock by a shell that lives as long as this login.
func (h *Host) Lock(ctx context.Context, file, holder string) (func(), error) {
	if strings.ContainsFunc(holder, func(r rune) bool { return r < ' ' || r == '\\' }) {
		return nil, fmt.Errorf("lock %s: holder %q is not plain text", file, holder)
	}
	line, first, err := h.command(script(host.LockFolder(path.Clean(file)), file, holder))
	if err != nil {
		return nil, err
	}
	s, err := h.session(ctx)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", file, err)
	}
	fail := func(err error) (func(), error) {
		_ = s.Close()
		return nil, fmt.Errorf("%s: lock %s: %w", h.name, file, h.lost(err))
	}
	in, err := s.StdinPipe()
	if err != nil {
		return fail(err)
	}
	out, err := s.StdoutPipe()
	if err != nil {
		return fail(err)
	}
	var stderr capped
	s.Stderr = &stderr
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	if err := s.Start(line); err != nil {
		return fail(err)
	}
	if _, err := io.WriteString(in, string(first)+lockScript); err != nil {
		return fail(err)
	}
	r := bufio.NewReader(out)
	said, err := r.ReadString('\n')
	if !stop() {
		return fail(ctx.Err())
	}
	switch said {
	case "held\n":
	case "taken\n":
		by, _ := r.ReadString('\n')
		_ = s.Close()
		if by = strings.TrimSpace(by); by == "" {
			by = "a process that has not said its name yet"
		}
		return nil, &host.TakenError{Path: file, Holder: by}
	default:
		if werr := s.Wait(); werr != nil && stderr.Len() > 0 {
			err = fmt.Errorf("%w: %s", werr, strings.TrimSpace(stderr.String()))
		}
		if err == nil {
			err = fmt.Errorf("the host says %q", said)
		}
		return fail(err)
	}
	return sync.OnceFunc(func() {
		_ = in.Close()
		timer := time.AfterFunc(settle, func() { _ = s.Close() })
		defer timer.Stop()
		_ = s.Wait()
		_ = s.Close()
	}), nil
}

// Holder asks who holds the lock.
func (h *Host) Holder(ctx context.Context, file string) (string, error) {
	res, err := h.Run(ctx, host.Cmd{
		Argv:  script(host.LockFolder(path.Clean(file)), file),
		Stdin: []byte(holderScript),
	})
	var exit *host.ExitError
	if errors.As(err, &exit) {
		return "", fmt.Errorf("look at lock %s: %w", file, err)
	}
	return strings.TrimSpace(string(res.Stdout)), err
}
