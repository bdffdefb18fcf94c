//go:build linux

package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a client waits for an answer, in a machine without
// hardware help.
const patience = 5 * time.Second

// fetch gets a page as the client and says who served it, and how long the
// page was.
func (s *suite) fetch(addr, page string, patience time.Duration) (who string, size int, err error) {
	conn, err := s.fabric.Dial("client", addr, patience)
	if err != nil {
		return "", 0, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", 0, err
	}
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.0\r\n\r\n", page); err != nil {
		return "", 0, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return "", 0, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", 0, err
	}
	who, _, _ = strings.Cut(string(text), "\n")
	return who, len(text), nil
}

// fetches is how often a client asks.
const fetches = 40

// shares fetches the page that says who served it, and compares who did with
// what the weights say.
func (s *suite) shares(c cluster) error { return s.sharesWithin(c, patience) }

// sharesWithin gives each answer that time to come.
func (s *suite) sharesWithin(c cluster, limit time.Duration) error {
	got := map[string]int{}
	for i := range fetches {
		who, _, err := s.fetch(c.vip+":80", "/", limit)
		if err != nil {
			return fmt.Errorf("fetch %d of %d: %w; until then %v", i+1, fetches, err, got)
		}
		got[who]++
	}
	if !maps.Equal(got, c.share) {
		return fmt.Errorf("served by %v, want %v", got, c.share)
	}
	return nil
}

// passing fetches long pages and counts what the director sends meanwhile:
// answers that pass it, or none.
func (s *suite) passing(c cluster) error {
	before, err := s.sent("lb", c.lb)
	if err != nil {
		return err
	}
	total := 0
	for range 8 {
		_, n, err := s.fetch(c.vip+":80", "/big", patience)
		if err != nil {
			return err
		}
		total += n
	}
	after, err := s.sent("lb", c.lb)
	if err != nil {
		return err
	}
	// What a client sends is small: its question and its acknowledgements.
	n := int(after - before)
	s.log("the client received %d bytes, the director sent %d on %s", total, n, c.lb)
	if passed := n > total/2; passed == c.direct {
		return fmt.Errorf("the director sent %d bytes while the client received %d", n, total)
	}
	return nil
}

// sent is the number of bytes that a card of a host has sent.
func (s *suite) sent(host, dev string) (uint64, error) {
	return s.fabric.Sent(host, dev)
}

// An asker asks a segment again and again who has an address, and notes every
// Ethernet address that says it does.
type asker struct {
	stop chan struct{}
	done chan error

	mu    sync.Mutex
	seen  map[string]int
	asked int
}

// askEvery is how often the asker asks.
const askEvery = 20 * time.Millisecond

// ask starts asking who has addr on the segment that the host watch is on.
func (s *suite) ask(addr string) *asker {
	a := &asker{stop: make(chan struct{}), done: make(chan error, 1), seen: map[string]int{}}
	target := netip.MustParseAddr(addr)
	go func() {
		a.done <- s.fabric.In("watch", func() error { return a.run("eth0", target) })
	}()
	return a
}

func (a *asker) run(dev string, target netip.Addr) error {
	card, err := net.InterfaceByName(dev)
	if err != nil {
		return err
	}
	const arp = 0x0806
	proto := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, arp))
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(proto))
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: proto, Ifindex: card.Index}); err != nil {
		return err
	}
	tv := unix.NsecToTimeval(askEvery.Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
		return err
	}
	// A probe (RFC 5227, 2.1.1): the sender claims no address.
	q := append([]byte{}, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
	q = append(q, card.HardwareAddr...)
	q = append(q, 0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1)
	q = append(q, card.HardwareAddr...)
	q = append(q, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	q = append(q, target.AsSlice()...)
	buf := make([]byte, 1500)
	next := time.Now()
	for {
		select {
		case <-a.stop:
			return nil
		default:
		}
		if now := time.Now(); !now.Before(next) {
			next = now.Add(askEvery)
			if err := unix.Sendto(fd, q, 0, &unix.SockaddrLinklayer{Protocol: proto, Ifindex: card.Index, Halen: 6}); err != nil {
				return err
			}
			a.mu.Lock()
			a.asked++
			a.mu.Unlock()
		}
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		if n < 42 || binary.BigEndian.Uint16(buf[12:]) != arp {
			continue
		}
		if from := netip.AddrFrom4([4]byte(buf[28:32])); from == target {
			a.mu.Lock()
			a.seen[net.HardwareAddr(buf[22:28]).String()]++
			a.mu.Unlock()
		}
	}
}

// end stops asking and gives who answered.
func (a *asker) end() (macs []string, asked int, err error) {
	close(a.stop)
	err = <-a.done
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Sorted(maps.Keys(a.seen)), a.asked, err
}

// answering asks for a second who has the VIP.
func (s *suite) answering(c cluster) ([]string, error) {
	a := s.ask(c.vip)
	time.Sleep(time.Second)
	macs, _, err := a.end()
	return macs, err
}

// alone makes sure that the director, and nobody else, answers for the VIP.
func (s *suite) alone(c cluster) error {
	macs, err := s.answering(c)
	if err != nil {
		return err
	}
	if !slices.Equal(macs, []string{c.mac()}) {
		return fmt.Errorf("%s is answered for by %v, want %s alone", c.vip, macs, c.mac())
	}
	return nil
}
