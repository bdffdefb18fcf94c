package main

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lvsfleet/lvsfleet/cmd/lvsfleet/internal/fleet"
	"github.com/lvsfleet/lvsfleet/providers/verify"
)

func newVerify(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "verify [SITE]",
		Short: "Prove the path from each director to each real server",
		Long: `Looks at the cluster as its clients meet it: each director sends every real
server a connection of its own through IPVS, by the wanted method; somebody
listens where clients arrive; nobody but the director answers for the VIP; and
with NAT the way back leads through the director. Clients notice none of it, and
what a director needs for it is taken away again. A path is proven, broken, or
not provable, and why.
` + exitHelp + `  0  nothing is broken
  1  an error, on any host: some of it could not be looked at
  2  something is broken`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runVerify(cmd.Context(), g, sitePath(args))
		},
	}
}

func runVerify(ctx context.Context, g *globals, path string) error {
	loaded, err := g.load(path, false)
	if err != nil {
		return err
	}
	p := newProgress(g, len(loaded.Site.Hosts))
	f, err := g.fleet(ctx, path, loaded.Site, p.observe)
	if err != nil {
		return err
	}
	p.start()
	verdicts, failures, err := f.Verify(ctx)
	p.stop()
	if err != nil {
		return err
	}
	printVerdicts(g, verdicts, failures)
	if len(failures) > 0 {
		return errReported
	}
	for _, v := range verdicts {
		if v.Status == verify.Broken {
			return errBroken
		}
	}
	return nil
}

// jsonVerdict is what was found of one place, for programs.
type jsonVerdict struct {
	Service    string        `json:"service"`
	Director   string        `json:"director"`
	RealServer string        `json:"real_server,omitempty"` // none: of the service itself
	Method     string        `json:"method,omitempty"`
	Protocol   string        `json:"protocol,omitempty"`
	Address    string        `json:"address,omitempty"`
	Port       int           `json:"port,omitempty"`
	FWMark     uint32        `json:"fwmark,omitempty"`
	Status     verify.Status `json:"status"`
	Checks     []jsonCheck   `json:"checks"`
}

type jsonCheck struct {
	Check  verify.Kind   `json:"check"`
	Host   string        `json:"host"` // that it was done on
	Status verify.Status `json:"status"`
	Detail string        `json:"detail"`
}

// jsonFailure is a host that could not be looked at.
type jsonFailure struct {
	Host  string `json:"host"`
	Error string `json:"error"`
}

func printVerdicts(g *globals, verdicts []fleet.Verdict, failures []fleet.Finding) {
	if g.json {
		for _, v := range verdicts {
			g.emit(verdictJSON(v))
		}
		for _, f := range failures {
			g.emit(jsonFailure{f.Host, f.Err.Error()})
		}
		return
	}
	paint := painter(g.color(g.out))
	longest := len("the VIP")
	for _, v := range verdicts {
		longest = max(longest, len(v.Host))
	}
	head := ""
	for _, v := range verdicts {
		if h := heading(v); h != head {
			if head != "" {
				fmt.Fprintln(g.out)
			}
			head = h
			fmt.Fprintln(g.out, paint.bold(h))
		}
		name := v.Host
		if name == "" {
			name = "the VIP"
		}
		line := fmt.Sprintf("%-*s  %s", longest, name, v.Status)
		fmt.Fprintln(g.out, "  "+paintStatus(paint, v.Status, line))
		for _, e := range v.Evidence {
			if worthTelling(v, e) {
				fmt.Fprintf(g.out, "      %s %s\n", paintStatus(paint, e.Status, inline(string(e.Check.Kind))+":"), hanging(told(verdicts, e), 8))
			}
		}
	}
	for _, f := range failures {
		fmt.Fprintf(g.out, "%s %s\n", paint.red("error"), hanging(f.Err.Error(), 6))
	}
	fmt.Fprintln(g.out, verdictSummary(verdicts))
}

func verdictJSON(v fleet.Verdict) jsonVerdict {
	j := jsonVerdict{
		Service: v.Service, Director: v.Director, RealServer: v.Host, Method: string(v.Method),
		Protocol: v.Protocol, Port: v.Port, FWMark: v.FWMark, Status: v.Status, Checks: []jsonCheck{},
	}
	if v.Addr.IsValid() {
		j.Address = v.Addr.String()
	}
	for _, e := range v.Evidence {
		j.Checks = append(j.Checks, jsonCheck{e.Check.Kind, e.Check.Host, e.Status, e.Detail})
	}
	return j
}

// heading names a service on a director: "http on lb: tcp 192.0.2.1:80".
func heading(v fleet.Verdict) string {
	what := fmt.Sprintf("mark %d", v.FWMark)
	if v.FWMark == 0 {
		what = v.Protocol + " " + netip.AddrPortFrom(v.Addr, uint16(v.Port)).String()
	}
	return fmt.Sprintf("%s on %s: %s", v.Service, v.Director, what)
}

func paintStatus(p painter, s verify.Status, text string) string {
	switch s {
	case verify.Proven:
		return p.green(text)
	case verify.Broken:
		return p.red(text)
	}
	return p.yellow(text)
}

// worthTelling leaves out what is well, and what a proven path has answered.
func worthTelling(v fleet.Verdict, e fleet.Evidence) bool {
	return e.Status != verify.Proven && (e.Status != verify.Unproven || v.Status != verify.Proven)
}

// told is the sentence of a check, with the name of the host whose link-layer
// address it tells of.
func told(verdicts []fleet.Verdict, e fleet.Evidence) string {
	if name := fleet.Others(verdicts, e.MAC); name != "" && e.Check.Kind == verify.Alone {
		return strings.Replace(e.Detail, e.MAC, name+" ("+e.MAC+")", 1)
	}
	return e.Detail
}

// verdictSummary counts the real servers, each in every service once.
func verdictSummary(verdicts []fleet.Verdict) string {
	counts := map[verify.Status]int{}
	places, warnings, vips := 0, 0, 0
	for _, v := range verdicts {
		if v.Host != "" {
			places++
			counts[v.Status]++
		} else if v.Status == verify.Broken {
			vips++
		}
		for _, e := range v.Evidence {
			if e.Status == verify.Warned {
				warnings++
			}
		}
	}
	var parts []string
	for _, s := range []verify.Status{verify.Proven, verify.Broken, verify.Unproven} {
		if counts[s] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", counts[s], s))
		}
	}
	line := count(places, "path")
	if len(parts) > 0 {
		line += ": " + strings.Join(parts, ", ")
	}
	if vips > 0 {
		line += fmt.Sprintf("; %s broken", count(vips, "VIP"))
	}
	if warnings > 0 {
		line += "; " + count(warnings, "warning")
	}
	return line
}
