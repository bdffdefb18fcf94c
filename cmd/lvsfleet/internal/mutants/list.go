package main

// mutants are the rules that are broken. Names say what lvsfleet does then.
var mutants = []mutant{
	// The guard.
	{name: "a guard waits twice its time", file: "agent/guard.go", old: "g.clock.Now()-heard > g.Timeout", new: "g.clock.Now()-heard > 2*g.Timeout"},
	{name: "a guard waits half its time", file: "agent/guard.go", old: "g.clock.Now()-heard > g.Timeout", new: "g.clock.Now()-heard > g.Timeout/2"},
	{name: "a guard takes any word", file: "agent/guard.go", old: "err == nil && word == nonce", new: "err == nil && word != \"\""},
	{name: "a guard takes one word for good", file: "agent/guard.go", old: "heard, nonce = g.clock.Now(), next", new: "heard, nonce = g.clock.Now(), nonce"},
	{name: "a guard goes with somebody else's done", file: "agent/guard.go", old: "done == g.Holder || g.orphaned()", new: "done != \"\" || g.orphaned()"},
	{name: "a guard does not see that its session has died", file: "agent/guard.go", old: "done == g.Holder || g.orphaned()", new: "done == g.Holder"},
	{name: "a guard goes and leaves all as it is", file: "agent/guard.go", old: "if _, err = g.engine.settle(ctx, g.Run, nil); err == nil", new: "if err == nil"},
	{name: "a guard lets a session live that has fallen silent", file: "agent/guard.go", old: "done != g.Holder && g.Boss != 0 && g.processes", new: "done == g.Holder && g.Boss != 0 && g.processes"},
	{name: "a guard tries an undo once", file: "agent/guard.go", old: "guardTries = 5 ", new: "guardTries = 1 "},

	// The lease.
	{name: "operations go on under somebody else's lease", file: "agent/lease.go", old: "case holder == \"\":\n\t\treturn errNoGuard\n\t}\n\treturn &host.TakenError{Path: Lease, Holder: holder}", new: "case holder == \"\":\n\t\treturn errNoGuard\n\t}\n\treturn nil"},
	{name: "operations go on with no guard", file: "agent/lease.go", old: "case holder == \"\":\n\t\treturn errNoGuard", new: "case holder == \"\":\n\t\treturn nil"},
	{name: "an operation does not ask for the lease", file: "agent/apply.go", old: "err := e.mine(ctx)\n\t\t\tif err == nil {\n\t\t\t\terr = e.doOn", new: "var err error\n\t\t\tif err == nil {\n\t\t\t\terr = e.doOn"},
	{name: "a transaction is ready whose guard is dead", file: "agent/apply.go", old: "if err := e.mine(ctx); err != nil {\n\t\treturn err\n\t}\n\treturn t.journal", new: "return t.journal"},
	{name: "renames go on under somebody else's lease", file: "agent/finish.go", old: "case holder == \"\" && e.release == nil:\n\t\treturn e.hold(ctx, Transaction{Run: run})\n\t}\n\treturn &host.TakenError{Path: Lease, Holder: holder}", new: "case holder == \"\" && e.release == nil:\n\t\treturn e.hold(ctx, Transaction{Run: run})\n\t}\n\treturn nil"},
	{name: "renames go on with no lease", file: "agent/finish.go", old: "case holder == \"\" && e.release == nil:\n\t\treturn e.hold(ctx, Transaction{Run: run})", new: "case holder == \"\":\n\t\treturn nil"},
	{name: "renames do not ask for the lease", file: "agent/finish.go", old: "if err := mine(ctx); err != nil {", new: "if err := mine(ctx); err != nil && ctx.Err() != nil {"},
	{name: "a commit goes on whose guard is dead", file: "agent/finish.go", old: "if !alive {\n\t\treturn errors.New", new: "if !alive && ctx.Err() != nil {\n\t\treturn errors.New"},
	{name: "a commit is made of what is half in force", file: "agent/finish.go", old: "if !j.Ready() {", new: "if !j.Ready() && ctx.Err() != nil {"},
	{name: "a commit is made in another boot", file: "agent/finish.go", old: "if mark != head.Boot {", new: "if mark != head.Boot && ctx.Err() != nil {"},
	{name: "a finish is made under somebody else's lease", file: "agent/finish.go", old: "case runOf(holder) == j.Run():\n\t\treturn true", new: "case runOf(holder) != \"\":\n\t\treturn true"},
	{name: "a session undoes under somebody else's lease", file: "agent/lease.go", old: "case errors.As(err, &taken):\n\t\treturn false, nil", new: "case errors.As(err, &taken):\n\t\treturn true, nil"},

	// A commit that cannot be carried out.
	{name: "a commit stands that cannot be carried out", file: "agent/finish.go", old: "if refused || !errors.As(err, &failed) ||", new: "if refused || errors.As(err, &failed) ||"},
	{name: "a commit that is withdrawn leaves its files", file: "agent/settle.go", old: "if withdrawn {\n\t\tfor _, f", new: "if withdrawn && mark == \"-\" {\n\t\tfor _, f"},
	{name: "undo.sh leaves the files of a commit that was withdrawn", file: "agent/journal/script.go", old: ` || test -f "$dir/withdrawn"`, new: ""},
	{name: "what cannot be replaced is staged all the same", file: "agent/begin.go", old: "if err == nil && is {", new: "if err == nil && is && ctx.Err() != nil {"},
	{name: "an immutable file is in nobody's way", file: "providers/host/local_linux_attr.go", old: "case flags&immutableFlag != 0:", new: "case flags&immutableFlag != 0 && err != nil:"},
	{name: "a replaced file loses its ACL", file: "providers/host/local.go", old: "if err := keepAttributes(to, from); err != nil {", new: "if err := keepAttributes(from, from); err != nil {"},

	// What a host says.
	{name: "an answer may weigh what it likes", file: "agent/weigh.go", old: "if weight > maxWeight {", new: "if weight > maxWeight && depth < 0 {"},
	{name: "each nonce has a goroutine", file: "agent/client.go", old: "c.latest(h.res.Nonce)", new: "go c.answer(h.res.Nonce)"},
	{name: "answers heap up", file: "agent/client.go", old: "c.kept.Add(int64(len(frame))) > maxAnswer", new: "c.kept.Add(int64(len(frame))) < 0"},
	{name: "a password goes to who was not named", file: "agent/remote/become.go", old: "if slices.Contains(said.hosts, t.Name) {", new: "if len(said.hosts) > 0 {", run: "Password"},
	{name: "a newline of a host begins a line", file: "cmd/lvsfleet/printer.go", old: `strings.ReplaceAll(printable(s), "\n", "\u2424")`, new: "printable(s)", run: "Forge"},

	// Undo.
	{name: "what is live is undone in another boot", file: "agent/settle.go", old: "whole && mark != \"\" && mark == head.Boot", new: "whole && mark != \"\" && head.Boot != \"\""},
	{name: "what is live is undone first to last", file: "agent/settle.go", old: "range slices.Backward(steps)", new: "range slices.All(steps)"},
	{name: "what failed to be undone is forgotten", file: "agent/settle.go", old: "if len(failed) > 0 {\n\t\treturn &UndoError{Failed: failed}\n\t}\n\tsettle", new: "settle"},
	{name: "a file is overwritten that somebody has edited", file: "providers/step/op.go", old: "case o.Expect != \"\" && now != o.Expect:", new: "case o.Expect == Absent && now != o.Expect:"},
	{name: "a VIP is added that somebody has", file: "providers/step/op.go", old: "if mac != \"\" {", new: "if mac != \"\" && ctx.Err() != nil {"},

	// The scripts of a person at the console.
	{name: "a single quote ends a word of undo.sh", file: "providers/step/shell.go", old: "strings.ReplaceAll(text, \"'\", `'\\''`)", new: "text"},
	{name: "a backquote ends a question of undo.sh", file: "providers/step/shell.go", old: "\"`\", \"\\\\`\", ", new: ""},
	{name: "undo.sh undoes what is live in another boot", file: "agent/journal/script.go", old: "test \"X$mark\" = X%s && live=1", new: "test \"X$mark\" = X%s ; live=1"},
	{name: "finish.sh finishes what is not committed", file: "agent/journal/script.go", old: "test -f \\\"$dir/commit\\\" || exit 1", new: "test -d \\\"$dir\\\" || exit 1"},

	// The IPVS table.
	{name: "an upper threshold is not compared", file: "providers/ipvs/compare.go", old: "a.Upper != b.Upper || ", new: ""},
	{name: "a lower threshold is not compared", file: "providers/ipvs/compare.go", old: "a.Lower != b.Lower || ", new: ""},
	{name: "a weight is not compared", file: "providers/ipvs/compare.go", old: "a.Weight != b.Weight && !anyWeight", new: "a.Weight != b.Weight && !anyWeight && a.Weight < 0"},
	{name: "TCP and UDP of one port are one service", file: "providers/ipvs/compare.go", old: ", protocol: uint8(protocolNumber(k.Protocol))}", new: "}"},
	{name: "a port is no part of a service", file: "providers/ipvs/compare.go", old: "shortKey{mark: k.Mark, port: k.Port,", new: "shortKey{mark: k.Mark,"},
	{name: "a mark is no part of a service", file: "providers/ipvs/compare.go", old: "shortKey{mark: k.Mark,", new: "shortKey{"},
	{name: "the families of a mark are one service", file: "providers/ipvs/compare.go", old: "s.family = 6", new: "s.family = 4"},
	{name: "a scheduler is not compared", file: "providers/ipvs/compare.go", old: "return x.Key == y.Key && x.Scheduler == y.Scheduler &&", new: "return x.Key == y.Key &&"},
	{name: "persistence is not compared", file: "providers/ipvs/compare.go", old: "x.Timeout == y.Timeout && x.Netmask == y.Netmask &&", new: "x.Netmask == y.Netmask &&"},
	{name: "a service is deleted before another is made", file: "providers/ipvs/diff.go", old: "d.all.add(gone...)\n\treturn d.all.edits(), foreign", new: "all := d.all\n\td.all = pieces{}\n\td.all.add(gone...)\n\treturn append(d.all.edits(), all.edits()...), foreign"},

	// Removal.
	{name: "forwarding is not last in a removal", file: "providers/ledger/remove.go", old: "slices.Concat(forwarding, waiting, made)", new: "slices.Concat(waiting, forwarding, made)"},
	{name: "silence goes before the VIPs", file: "providers/ledger/remove.go", old: "slices.Concat(forwarding, waiting, made)", new: "slices.Concat(forwarding, made, waiting)"},
	{name: "a VIP that somebody else puts there is taken away", file: "providers/ledger/remove.go", old: "if vip, ok := s.foreign(d); ok {", new: "if vip, ok := s.foreign(d); ok && vip.IsMulticast() {"},

	// The fleet.
	{name: "a drain is not looked at before the commit", file: "cmd/lvsfleet/internal/fleet/withdraw.go", old: "if there && now.Dest.Weight > 0 && !e.foreign() {", new: "if there && now.Dest.Weight < 0 && !e.foreign() {", run: "Drain|Drained|Lost|Loan|Lend"},
	{name: "a director that is lost is as if it held its weights", file: "cmd/lvsfleet/internal/fleet/withdraw.go", old: "return fmt.Errorf(\"its director %s was lost: %w\", l.dir.host.Name, err)", new: "_ = err\n\t\t\tcontinue", run: "Drain|Drained|Lost|Loan|Lend"},
	{name: "a loan ends before the real server that it is for", file: "cmd/lvsfleet/internal/fleet/renew.go", old: "const loanFactor = 3", new: "const loanFactor = 1", run: "Drain|Drained|Lost|Loan|Lend"},
}
