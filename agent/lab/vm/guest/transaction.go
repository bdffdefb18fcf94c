//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/lvsfleet/lvsfleet/agent/lab/vm/fabric"
)

// The services of the site: the first by DR, the second by TUN, and one that
// comes.
const (
	nearVIP = "192.168.0.200"
	farVIP  = "192.168.0.201"
	newVIP  = "192.168.0.202"
)

const coming = `
virtual_service "new" {
  director  = "director"
  pool      = "web"
  address   = "` + newVIP + `"
  port      = 81
  scheduler = "rr"
  method    = "dr"
}
`

// The limits of what is waited for. Each is much longer than it takes.
const (
	reactTime = 180 * time.Second // until lvsfleet does what it was started for
	runTime   = 300 * time.Second // until it has ended
)

// confirmTime is the site's confirm_timeout.
const confirmTime = 20 * time.Second

const (
	transactionSite = "/root/transaction.hcl"
	comingSite      = "/root/coming.hcl"
	otherGateway    = "gateway=192.168.0.251"
)

// transactionCluster is one of Linux real servers, so that all of it is the
// real thing. Its controller can also reach it from where the clients are:
// answers go by a real server's default gateway then.
func transactionCluster() cluster {
	c := cluster{
		name: "transaction", vip: nearVIP, seg: "lan", lb: "eth0",
		hosts: []fabric.Spec{
			managed("lb", "linux", "", 254, card("eth0", "lan", "192.168.0.254/24")),
			router("in", card("eth0", "world", "172.16.1.251/24"), card("eth1", "lan", "192.168.0.251/24")),
			router("out", card("eth0", "world", "172.16.1.252/24"), card("eth1", "lan", "192.168.0.252/24")),
			via(plain("client", card("eth0", "world", "172.16.1.77/24")), "192.168.0.0/24", "172.16.1.251"),
		},
		controller: via(plain("", card("eth0", "world", "172.16.1.5/24")), "192.168.0.0/24", "172.16.1.251"),
	}
	for n := 160; n <= 164; n++ {
		rs := managed(fmt.Sprintf("rs%d", n), "linux", "", n, card("eth0", "lan", fmt.Sprintf("192.168.0.%d/24", n)))
		rs.Web = n != 164 // where nobody listens
		c.hosts = append(c.hosts, rs)
	}
	return c
}

// transactions makes the checks of what must hold when a run is cut short.
func (s *suite) transactions() {
	c := transactionCluster()
	var fresh map[string]string
	booted := s.check("transaction: the hosts boot", func() (err error) {
		// What a module brings stays when it is not needed any more, and is
		// left out of every comparison: it is there from the beginning.
		if out, err := exec.Command("modprobe", "-a", "ipip", "ip_vs").CombinedOutput(); err != nil {
			return fmt.Errorf("modprobe: %w: %s", err, out)
		}
		if err := s.build(c); err != nil {
			return err
		}
		fresh, err = s.states(c.servers()...)
		return err
	})
	if !booted {
		return
	}
	ok := s.check("transaction: converge", func() error {
		if err := s.inBand(); err != nil {
			return err
		}
		text, err := sites.ReadFile("sites/transaction.hcl")
		if err == nil {
			err = s.site("coming.hcl", string(text)+coming)
		}
		return errors.Join(err, s.converge(transactionSite))
	})
	if !ok {
		return
	}
	s.served("a gateway that cuts off management is taken back by the host itself", s.cutOff)
	s.served("the controller is killed in mid-drain", s.killed)
	s.served("the director loses power in mid-drain", s.powerCut)
	s.served("the director loses power between prepare and admit", s.powerCutBeforeAdmit)
	s.served("a run is taken back", s.takenBack)
	s.served("a real server is taken out, and a running download ends by itself", func(all *clients) ([]outage, error) {
		return nil, s.takenOut(all, fresh["rs160"])
	})
	s.served("broken real servers are proposed, and get no client", s.proposed)
	s.check("transaction: all of it is removed", func() error { return s.removed(fresh) })
	s.check("transaction: every host could do its part", faultless)
}

// inBand lets the controller log in to the real servers' own addresses too.
func (s *suite) inBand() error {
	name := filepath.Join(s.fabric.Dir, "controller/etc/lab/known_hosts")
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	more := strings.Replace(string(text), management+".*", "192.168.0.*", 1)
	return os.WriteFile(name, append(text, more...), 0o644)
}

// served makes a check with clients at both services all the time. It gives
// the outages in which they may fail. The saved rules must never hold a
// drained weight.
func (s *suite) served(name string, f func(*clients) ([]outage, error)) {
	s.check("transaction: "+name, func() error {
		clients, keeper := s.visit(nearVIP+":80", farVIP+":80"), s.keep()
		outages, err := f(clients)
		seen := clients.end()
		err = errors.Join(err, unserved(seen, outages...), keeper.end())
		s.log("%d fetches, %d failed", len(seen), failures(seen))
		for _, o := range outages {
			s.log("the outage took %s", o.to.Sub(o.from).Round(time.Millisecond))
		}
		return err
	})
}

// gateway says what the live default route of a host is.
func (s *suite) gateway(name string) (gateway string, err error) {
	err = s.fabric.In(name, func() error {
		routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
		for _, r := range routes {
			if r.Gw != nil && (r.Dst == nil || r.Dst.IP.IsUnspecified()) {
				gateway = r.Gw.String()
			}
		}
		return err
	})
	return gateway, err
}

func (s *suite) awaitGateway(name, want string, limit time.Duration) error {
	return await(fmt.Sprintf("default route of %s by %s", name, want), limit, func() (bool, error) {
		is, err := s.gateway(name)
		return is == want, err
	})
}

// hasWeight wants the director to have the real server with that weight in
// both services.
func (s *suite) hasWeight(rip, want string) error {
	table, err := s.weights()
	if near, far := table[nearVIP+" "+rip], table[farVIP+" "+rip]; err == nil && (near != want || far != want) {
		err = fmt.Errorf("%s has weight %q and %q, want %q", rip, near, far, want)
	}
	return err
}

// awaitWeight waits until the director has the real server with that weight.
func (s *suite) awaitWeight(rip, want string) error {
	var last error
	err := await(fmt.Sprintf("weight %s of %s", want, rip), reactTime, func() (bool, error) {
		last = s.hasWeight(rip, want)
		return last == nil, nil
	})
	if err != nil {
		return errors.Join(err, last)
	}
	return nil
}

// whole wants a table with exactly these real servers, each with its weight.
func (s *suite) whole(rips ...string) error {
	want := map[string]string{}
	for _, vip := range []string{nearVIP, farVIP} {
		for _, rip := range rips {
			want[vip+" "+rip] = "1"
		}
	}
	table, err := s.weights()
	if err != nil {
		return err
	}
	maps.DeleteFunc(table, func(k, _ string) bool { return strings.HasPrefix(k, newVIP) })
	if !maps.Equal(table, want) {
		return fmt.Errorf("the director's table is %v, want %v", table, want)
	}
	return nil
}

// downloadFrom starts a download that this real server serves.
func (s *suite) downloadFrom(who string) (*download, error) {
	for range 8 { // the scheduler takes turns, with the other clients
		d, err := s.download(nearVIP + ":80")
		if err != nil {
			return nil, err
		}
		if d.who == who {
			return d, nil
		}
		_, _, _ = d.end()
	}
	return nil, fmt.Errorf("no download was served by %s", who)
}

// goesOn makes sure that more of the download comes.
func (d *download) goesOn() error {
	from := d.sofar()
	return await("more of a download that is running", patience, func() (bool, error) {
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.size > from, d.err
	})
}

// awaitState waits until a host is as it was.
func (s *suite) awaitState(name, was string, limit time.Duration) error {
	var last error
	err := await(name+" as it was", limit, func() (bool, error) {
		is, err := s.state(name)
		last = unlike(was, is)
		return last == nil, err
	})
	if err != nil {
		return errors.Join(err, last)
	}
	return nil
}

// states are those of several hosts, by name.
func (s *suite) states(names ...string) (map[string]string, error) {
	list := map[string]string{}
	for _, name := range names {
		var err error
		if list[name], err = s.state(name); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// awaitStates waits until each of the hosts is as it was.
func (s *suite) awaitStates(was map[string]string, limit time.Duration) error {
	var errs []error
	for name, state := range was {
		errs = append(errs, s.awaitState(name, state, limit))
	}
	return errors.Join(errs...)
}

// cutOff gives rs160 a gateway by which the controller gets no answers.
func (s *suite) cutOff(*clients) ([]outage, error) {
	before, err := s.state("rs160")
	if err != nil {
		return nil, err
	}
	run, err := s.begin("converge", transactionSite, "--var", "rs160=192.168.0.160", "--var", "rs160_gateway=192.168.0.9")
	if err != nil {
		return nil, err
	}
	if err := s.awaitGateway("rs160", "192.168.0.9", reactTime); err != nil {
		_, end := run.end(3, runTime)
		return nil, errors.Join(err, end)
	}
	begun := time.Now()
	// What it takes to undo comes to the time-out, and a poll of the guard.
	back := s.awaitGateway("rs160", "192.168.0.252", confirmTime+confirmTime/2)
	s.log("the host had its gateway back after %s", time.Since(begun).Round(time.Millisecond))
	out, err := run.end(3, runTime)
	s.log("lvsfleet ended after %s:\n%s", time.Since(begun).Round(time.Millisecond), out)
	if err := errors.Join(back, err); err != nil {
		return nil, err
	}
	return nil, errors.Join(
		s.awaitState("rs160", before, reactTime),
		s.whole("192.168.0.160", "192.168.0.161"),
		s.same(transactionSite),
	)
}

// drained starts a converge to another gateway and waits until rs160, which
// has a download running, is drained for it.
func (s *suite) drained(args ...string) (*controller, *download, error) {
	d, err := s.downloadFrom("rs160")
	if err != nil {
		return nil, nil, err
	}
	run, err := s.begin(append([]string{"converge"}, args...)...)
	if err != nil {
		return nil, nil, errors.Join(err, d.broken())
	}
	// What else changes may be drained before it.
	if err := errors.Join(run.says("withdraw: drain, "), s.awaitWeight("192.168.0.160", "0")); err != nil {
		_, end := run.end(0, runTime)
		return nil, nil, errors.Join(err, end, d.broken())
	}
	return run, d, nil
}

// broken ends a download and says what broke it.
func (d *download) broken() error {
	_, _, err := d.end()
	return err
}

// finish lets the next run do what the one before did not come to: a download
// ends in the middle of its drain.
func (s *suite) finish(args ...string) error {
	run, d, err := s.drained(args...)
	if err != nil {
		return err
	}
	err = errors.Join(d.goesOn(), run.running(), d.broken())
	out, end := run.end(0, runTime)
	s.log("%s", out)
	return errors.Join(err, end)
}

func (s *suite) killed(*clients) ([]outage, error) {
	before, err := s.states("lb", "rs160", "rs161")
	if err != nil {
		return nil, err
	}
	run, d, err := s.drained(transactionSite, "--var", otherGateway)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(run.running(), run.kill()); err != nil {
		return nil, errors.Join(err, d.broken())
	}
	begun := time.Now()
	// With no action.
	err = s.awaitStates(before, reactTime)
	s.log("all was as before after %s", time.Since(begun).Round(time.Millisecond))
	if err := errors.Join(err, d.goesOn(), d.broken()); err != nil {
		return nil, err
	}
	return nil, errors.Join(
		s.finish(transactionSite, "--var", otherGateway),
		s.whole("192.168.0.160", "192.168.0.161"),
		s.awaitGateway("rs160", "192.168.0.251", 0),
		s.awaitGateway("rs161", "192.168.0.251", 0),
	)
}

// reboot takes the director's power and boots it again. What clients see
// meanwhile is an outage.
func (s *suite) rebootDirector() (outage, error) {
	o := outage{from: time.Now()}
	err := s.fabric.Cut("lb")
	if err == nil {
		err = s.fabric.Boot("lb")
	}
	o.to = time.Now()
	return o, err
}

func (s *suite) powerCut(*clients) ([]outage, error) {
	before, err := s.states("lb", "rs160", "rs161")
	if err != nil {
		return nil, err
	}
	run, d, err := s.drained(transactionSite)
	if err != nil {
		return nil, err
	}
	o, err := s.rebootDirector()
	_, _, _ = d.end() // its connection was the director's to know
	out, end := run.end(3, runTime)
	s.log("lvsfleet ended %s after the power was cut:\n%s", time.Since(o.from).Round(time.Millisecond), out)
	if err := errors.Join(err, end); err != nil {
		return []outage{o}, err
	}
	return []outage{o}, errors.Join(
		s.awaitStates(before, reactTime),
		s.finish(transactionSite),
		s.whole("192.168.0.160", "192.168.0.161"),
		s.awaitGateway("rs160", "192.168.0.252", 0),
		s.awaitGateway("rs161", "192.168.0.252", 0),
	)
}

// powerCutBeforeAdmit cuts the director's power when it is prepared for a new
// service and its real servers are at it.
func (s *suite) powerCutBeforeAdmit(*clients) ([]outage, error) {
	args := []string{comingSite, "--var", "forward=true"}
	before, err := s.state("rs160")
	if err != nil {
		return nil, err
	}
	run, err := s.begin(append([]string{"converge"}, args...)...)
	if err != nil {
		return nil, err
	}
	err = await(newVIP+" on rs160", reactTime, func() (there bool, err error) {
		err = s.fabric.In("rs160", func() error {
			addrs, err := netlink.AddrList(nil, netlink.FAMILY_V4)
			there = slices.ContainsFunc(addrs, func(a netlink.Addr) bool { return a.IP.String() == newVIP })
			return err
		})
		return there, errors.Join(err, run.running())
	})
	if err != nil {
		_, end := run.end(0, runTime)
		return nil, errors.Join(err, end)
	}
	table, err := s.fabric.Run("lb", "ipvsadm", "-Sn")
	if err == nil && strings.Contains(table, newVIP) {
		err = fmt.Errorf("the director was not cut before it admits:\n%s", table)
	}
	o, cut := s.rebootDirector()
	out, end := run.end(3, runTime)
	s.log("lvsfleet ended %s after the power was cut:\n%s", time.Since(o.from).Round(time.Millisecond), out)
	if err := errors.Join(err, cut, end); err != nil {
		return []outage{o}, err
	}
	forward, err := s.fabric.Run("lb", "cat", "/proc/sys/net/ipv4/ip_forward")
	if err == nil && strings.TrimSpace(forward) != "1" {
		err = errors.New("the director has lost what it was prepared with")
	}
	halfway, err1 := s.state("rs160")
	next := s.converge(args...)
	after, err2 := s.state("rs160")
	if halfway != before && halfway != after {
		err = errors.Join(err, fmt.Errorf("rs160 was neither as before nor as wanted: %w", unlike(before, halfway)))
	}
	who, _, fetched := s.fetch(newVIP+":81", "/", patience)
	s.log("the new service is served by %s", who)
	return []outage{o}, errors.Join(err, err1, next, err2, fetched, s.whole("192.168.0.160", "192.168.0.161"))
}

// takenBack changes the gateways, and rolls that back.
func (s *suite) takenBack(*clients) ([]outage, error) {
	hosts := []string{"lb", "rs160", "rs161"}
	before, err := s.states(hosts...)
	if err != nil {
		return nil, err
	}
	args := []string{transactionSite, "--var", otherGateway}
	err = errors.Join(s.converge(args...), s.awaitGateway("rs160", "192.168.0.251", 0))
	if err != nil {
		return nil, err
	}
	out, err := s.exits(0, append([]string{"rollback"}, args...)...)
	s.log("%s", out)
	return nil, errors.Join(err, s.awaitStates(before, 0))
}

// takenOut takes rs160 out of the pools; fresh is what it was at first.
func (s *suite) takenOut(all *clients, fresh string) error {
	run, d, err := s.drained(transactionSite, "--var", `pool=["rs161"]`, "--var", `far=["rs161"]`)
	if err != nil {
		return err
	}
	begun := time.Now()
	from := d.sofar()
	const many = 20
	err = await("clients behind the withdrawal", reactTime, func() (bool, error) {
		return len(all.since(begun)) >= many, nil
	})
	if n := visits(all.since(begun), "rs160"); n > 0 {
		err = errors.Join(err, fmt.Errorf("rs160 got %d new clients while it was drained", n))
	}
	err = errors.Join(err, run.running(), d.goesOn(), s.hasWeight("192.168.0.160", "0"))
	size, worst, broken := d.end()
	out, end := run.end(0, runTime)
	s.log("%s%d bytes came while it was drained, the longest pause %s", out, size-from, worst.Round(time.Millisecond))
	return errors.Join(err, broken, end, s.whole("192.168.0.161"), s.awaitState("rs160", fresh, 0))
}

// removed takes all of lvsfleet off every host.
func (s *suite) removed(fresh map[string]string) error {
	out, err := s.exits(0, "remove", transactionSite, "--var", "hosts=5")
	s.log("%s", out)
	err = errors.Join(err, s.awaitStates(fresh, reactTime))
	for name := range fresh {
		left, gerr := filepath.Glob(filepath.Join(s.fabric.Dir, name, "var/lib/lvsfleet*"))
		if len(left) > 0 {
			gerr = fmt.Errorf("%s still has %v", name, left)
		}
		err = errors.Join(err, gerr)
	}
	return err
}

// proposed adds three real servers that are not fit to serve, and one that is.
func (s *suite) proposed(all *clients) ([]outage, error) {
	broken := []string{"rs162", "rs163", "rs164"}
	before, err := s.states(broken...)
	if err != nil {
		return nil, err
	}
	stop := make(chan struct{})
	spoilt := make(chan error, 2)
	go func() { spoilt <- s.spoil("rs162", stop, noVIP) }()
	go func() { spoilt <- s.spoil("rs163", stop, deafTunnel) }()
	args := []string{
		transactionSite, "--var", "hosts=5", "--var", `pool=["rs160", "rs161", "rs162", "rs164"]`, "--var", `far=["rs160", "rs161", "rs163"]`,
	}
	out, err := s.exits(3, append([]string{"converge"}, args...)...)
	close(stop)
	s.log("%s", out)
	err = errors.Join(err, <-spoilt, <-spoilt, s.whole("192.168.0.160", "192.168.0.161"))
	for name, why := range map[string]string{"rs162": "path: ", "rs163": "path: ", "rs164": "listener: "} {
		if part := ofHost(out, name); !strings.Contains(part, why) {
			err = errors.Join(err, fmt.Errorf("%s was not refused for its %q:\n%s", name, why, part))
		}
	}
	err = errors.Join(err, s.awaitStates(before, reactTime))
	// Behind the run too.
	begun := time.Now()
	const many = 20
	err = errors.Join(err, await("clients behind the run", reactTime, func() (bool, error) {
		return len(all.since(begun)) >= many, nil
	}))
	for _, name := range broken {
		if n := visits(all.since(time.Time{}), name); n > 0 {
			err = errors.Join(err, fmt.Errorf("%s got %d clients", name, n))
		}
	}
	if n := visits(all.since(begun), "rs160"); n == 0 {
		err = errors.Join(err, errors.New("rs160 got no client"))
	}
	return nil, err
}

// spoil breaks a host as soon as all that is live of a change is in force and
// was found so.
func (s *suite) spoil(name string, stop <-chan struct{}, breaks func() error) error {
	journal := filepath.Join(s.fabric.Dir, name, "var/lib/lvsfleet/journal/*/*")
	for {
		select {
		case <-stop:
			return fmt.Errorf("%s was not spoilt: no change was ready there", name)
		case <-time.After(pollEvery / 4):
		}
		files, err := filepath.Glob(journal)
		if err != nil {
			return err
		}
		ready := slices.ContainsFunc(files, func(f string) bool {
			text, err := os.ReadFile(f)
			return err == nil && bytes.Contains(text, []byte(`"kind":"ready"`))
		})
		if !ready {
			continue
		}
		if err := s.fabric.In(name, breaks); err != nil {
			return fmt.Errorf("spoil %s: %w", name, err)
		}
		return nil
	}
}

// noVIP takes the first service's VIP from the loopback.
func noVIP() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	vip, err := netlink.ParseAddr(nearVIP + "/32")
	if err != nil {
		return err
	}
	return netlink.AddrDel(lo, vip)
}

// deafTunnel lets the tunnel refuse what comes out of it.
func deafTunnel() error { return fabric.Sysctl("net/ipv4/conf/tunl0/rp_filter", "1") }
