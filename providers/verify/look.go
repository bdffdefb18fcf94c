package verify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lvsfleet/lvsfleet/inventory"
	"github.com/lvsfleet/lvsfleet/providers"
	"github.com/lvsfleet/lvsfleet/providers/host"
)

// A Looker does checks on one host. It asks once who listens there, however
// many services want to know: the list has a line for each connection too.
type Looker struct {
	h  host.Host
	id host.Identity

	mu      sync.Mutex
	sockets map[listening]func() ([]Socket, error)
}

// listening is one question for sockets.
type listening struct {
	protocol string
	v6       bool
}

// NewLooker gives a Looker on h, which is what id says. It is for one round of
// checks: what it was told is not asked again.
func NewLooker(h host.Host, id host.Identity) *Looker {
	return &Looker{h: h, id: id, sockets: map[listening]func() ([]Socket, error){}}
}

// listeners is Sockets, asked once.
func (l *Looker) listeners(ctx context.Context, protocol string, v6 bool) ([]Socket, error) {
	l.mu.Lock()
	k := listening{protocol, v6}
	ask := l.sockets[k]
	if ask == nil {
		ask = sync.OnceValues(func() ([]Socket, error) { return Sockets(ctx, l.h, l.id, protocol, v6) })
		l.sockets[k] = ask
	}
	l.mu.Unlock()
	return ask()
}

// Look does a check that reads only. A Path is none: it is proven by the
// engine. What cannot be found out is Unproven; an error is a line that was
// lost, or an end of ctx.
func (l *Looker) Look(ctx context.Context, c Check) (Result, error) {
	if c.Why != "" {
		return NotProvable(c.Why), nil
	}
	var r Result
	var err error
	switch c.Kind {
	case Listener:
		r, err = l.listener(ctx, c)
	case Gateway:
		r, err = lookGateway(ctx, l.h, l.id, c)
	case Alone:
		r, err = lookAlone(ctx, l.h, c)
	case Reach:
		r, err = lookReach(ctx, l.h, c)
	case Forward:
		r, err = lookForward(ctx, l.h, c)
	default:
		return NotProvable(fmt.Sprintf("a check of unknown kind %q", c.Kind)), nil
	}
	if err == nil {
		return r, nil
	}
	if errors.Is(err, host.ErrLost) || ctx.Err() != nil {
		return Result{}, fmt.Errorf("%s: %w", c.Kind, err)
	}
	return NotProvable(err.Error()), nil
}

func (l *Looker) listener(ctx context.Context, c Check) (Result, error) {
	sockets, err := l.listeners(ctx, c.Protocol, c.Addr.Is6())
	if err != nil {
		return Result{}, err
	}
	where := fmt.Sprintf("%s %s", c.Protocol, netip.AddrPortFrom(c.Addr, uint16(c.Port)))
	for _, s := range sockets {
		if s.Accepts(c.Protocol, c.Addr, c.Port) {
			return Result{Status: Proven, Detail: "somebody listens on " + where}, nil
		}
	}
	r := Result{Status: Warned, Detail: "nobody listens on " + where + ": clients are refused"}
	if c.Required {
		r.Status = Broken
	}
	return r, nil
}

// Sockets lists what waits for clients of a protocol on h: on Linux from
// /proc/net, which every kernel has, elsewhere from `netstat -an`.
func Sockets(ctx context.Context, h host.Host, id host.Identity, protocol string, v6 bool) ([]Socket, error) {
	if id.OS != host.Linux {
		if protocol == "sctp" {
			return nil, errors.New("who listens for SCTP is not known on " + id.OS)
		}
		argv := []string{"netstat", "-an"}
		if id.OS == host.FreeBSD {
			// The families are apart there, and a table of all kinds of
			// socket is long.
			family := "inet"
			if v6 {
				family = "inet6"
			}
			argv = append(argv, "-f", family)
		}
		res, err := host.Query(ctx, h, argv...)
		if err != nil {
			return nil, fmt.Errorf("ask who listens: %w", err)
		}
		return parseNetstat(string(res.Stdout)), nil
	}
	var list []Socket
	found := false
	files := []string{"/proc/net/" + protocol, "/proc/net/" + protocol + "6"}
	if protocol == "sctp" {
		files = []string{"/proc/net/sctp/eps"}
	}
	for _, name := range files {
		f, err := h.ReadFile(ctx, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a kernel without that family, or that has not loaded SCTP
		}
		if err != nil {
			return nil, fmt.Errorf("ask who listens: %w", err)
		}
		found = true
		if protocol == "sctp" {
			list = append(list, parseSCTPEndpoints(string(f.Data))...)
		} else {
			list = append(list, parseProcNet(protocol, string(f.Data))...)
		}
	}
	if !found && protocol != "sctp" {
		return nil, fmt.Errorf("who listens is not known: there is no %s", files[0])
	}
	return list, nil
}

func lookGateway(ctx context.Context, h host.Host, id host.Identity, c Check) (Result, error) {
	have, err := defaultGateways(ctx, h, id, c.IPv6)
	if err != nil {
		return Result{}, err
	}
	want := "the director " + oneOf(c.Gateways)
	var wrong []string
	for _, gw := range have {
		if !slices.ContainsFunc(c.Gateways, func(a netip.Addr) bool { return gw == a.String() }) {
			wrong = append(wrong, gw)
		}
	}
	switch {
	case len(have) == 0:
		return Result{Status: Broken, Detail: "there is no default route: it must lead to " + want}, nil
	case len(wrong) > 0:
		return Result{Status: Broken, Detail: fmt.Sprintf("the default route leads to %s, not to %s: answers pass the director by", strings.Join(wrong, " and "), want)}, nil
	}
	return Result{Status: Proven, Detail: "the default route leads to " + want}, nil
}

func oneOf(list []netip.Addr) string {
	var words []string
	for _, a := range list {
		words = append(words, a.String())
	}
	return strings.Join(words, " or ")
}

// defaultGateways gives the gateways of the default routes that count.
func defaultGateways(ctx context.Context, h host.Host, id host.Identity, v6 bool) ([]string, error) {
	s, ok := providers.Lookup(inventory.OS(id.OS))
	if !ok {
		return nil, fmt.Errorf("the routes of system %q are not read", id.OS)
	}
	return s.Gateways(ctx, h, v6)
}

// Holds says whether h, a director, has addr as one of its own now, or else
// whether it has any route there.
func Holds(ctx context.Context, h host.Host, addr netip.Addr) (held, routed bool, err error) {
	argv := []string{"ip", "route", "get", addr.String()}
	if addr.Is6() {
		argv = []string{"ip", "-6", "route", "get", addr.String()}
	}
	res, err := host.Query(ctx, h, argv...)
	var exit *host.ExitError
	if errors.As(err, &exit) && exit.Exit != 127 {
		return false, false, nil // "Network is unreachable"
	}
	if err != nil {
		return false, false, fmt.Errorf("ask for the route to %s: %w", addr, err)
	}
	f := strings.Fields(string(res.Stdout))
	return len(f) > 0 && f[0] == "local", len(f) > 0, nil
}

func lookAlone(ctx context.Context, h host.Host, c Check) (Result, error) {
	n, ok := host.As[host.Neighbours](h)
	if !ok {
		return NotProvable("the director has no agent, and cannot ask its neighbours"), nil
	}
	held, _, err := Holds(ctx, h, c.Addr)
	if err != nil {
		return Result{}, err
	}
	mac, err := n.Probe(ctx, c.Dev, c.Addr)
	if err != nil {
		return Result{}, fmt.Errorf("ask on %s for %s: %w", c.Dev, c.Addr, err)
	}
	switch {
	case mac == "":
		return Result{Status: Proven, Detail: fmt.Sprintf("nobody else answers for %s on %s", c.Addr, c.Dev)}, nil
	case !held && !c.Required:
		return NotProvable(fmt.Sprintf("this director does not hold %s now; %s answers for it on %s", c.Addr, mac, c.Dev)), nil
	}
	return Result{
		Status: Broken, MAC: mac,
		Detail: fmt.Sprintf("%s answers for %s on %s, and is not the director", mac, c.Addr, c.Dev),
	}, nil
}

// dialTimeout is what an answer may take: the first packet of a connection is
// repeated after 1 and after 3 seconds (RFC 6298, 2.1).
const dialTimeout = 4 * time.Second

func lookReach(ctx context.Context, h host.Host, c Check) (Result, error) {
	n, ok := host.As[host.Neighbours](h)
	if !ok {
		return ping(ctx, h, c.Addr)
	}
	if c.Dev != "" {
		mac, err := n.Probe(ctx, c.Dev, c.Addr)
		if err != nil {
			return Result{}, fmt.Errorf("ask on %s for %s: %w", c.Dev, c.Addr, err)
		}
		if mac == "" {
			return Result{Status: Broken, Detail: fmt.Sprintf("nobody answers for %s on %s", c.Addr, c.Dev)}, nil
		}
		return Result{Status: Proven, MAC: mac, Detail: fmt.Sprintf("%s is at %s on %s", c.Addr, mac, c.Dev)}, nil
	}
	d, ok := DialerOf(h)
	if !ok {
		return ping(ctx, h, c.Addr)
	}
	a, err := d.Dial(ctx, Dial{Protocol: "tcp", To: netip.AddrPortFrom(c.Addr, uint16(c.Port)), Timeout: dialTimeout})
	if err != nil {
		return Result{}, err
	}
	switch a.Kind {
	case Accepted, Refused:
		return Result{Status: Proven, Detail: fmt.Sprintf("%s answers", c.Addr)}, nil
	case Unreachable:
		return Result{Status: Broken, Detail: fmt.Sprintf("%s cannot be reached: %s", c.Addr, a.Text)}, nil
	}
	// A filter may let in what comes out of a tunnel, and nothing else.
	return NotProvable(fmt.Sprintf("%s does not answer by itself; the path says more", c.Addr)), nil
}

// ping asks as a director without an agent can. No answer says little: many
// filters drop pings.
func ping(ctx context.Context, h host.Host, addr netip.Addr) (Result, error) {
	argv := []string{"ping", "-c", "1", "-w", "4", addr.String()}
	if addr.Is6() {
		argv[0] = "ping6"
	}
	res, err := host.Query(ctx, h, argv...)
	var exit *host.ExitError
	switch {
	case err == nil:
		return Result{Status: Proven, Detail: fmt.Sprintf("%s answers", addr)}, nil
	case !errors.As(err, &exit) || exit.Exit == 127:
		return Result{}, err
	}
	if text := string(res.Stdout) + exit.Stderr; strings.Contains(text, "nreachable") {
		return Result{Status: Broken, Detail: fmt.Sprintf("%s cannot be reached", addr)}, nil
	}
	return NotProvable(fmt.Sprintf("%s answers no ping, which a filter may have dropped", addr)), nil
}

func lookForward(ctx context.Context, h host.Host, c Check) (Result, error) {
	key := "net.ipv4.ip_forward"
	if c.IPv6 {
		key = "net.ipv6.conf.all.forwarding"
	}
	res, err := host.Query(ctx, h, "sysctl", "-n", key)
	if err != nil {
		return Result{}, fmt.Errorf("read %s: %w", key, err)
	}
	if strings.TrimSpace(string(res.Stdout)) == "0" {
		return Result{Status: Broken, Detail: key + " is 0: answers of NAT real servers end at the director"}, nil
	}
	return Result{Status: Proven, Detail: "the director forwards"}, nil
}
