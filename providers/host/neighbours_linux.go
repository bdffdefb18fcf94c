package host

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Probe and Announce make Local a Neighbours, on Linux.

// Probe asks the link of dev who has addr: see Neighbours.
func (l *Local) Probe(ctx context.Context, dev string, addr netip.Addr) (string, error) {
	return probeLink(ctx, dev, addr)
}

// Announce tells the link of dev that addr is here now: see Neighbours.
func (l *Local) Announce(ctx context.Context, dev string, addr netip.Addr) error {
	return announceLink(ctx, dev, addr)
}

// RFC 5227, 1.1, spaces three probes by one to two seconds, for machines that
// all come up at once and for links that are still being switched through.
// Here the link has long been up, an answer takes a millisecond, and a VIP
// waits: three probes, and the time for the last one to be answered, in
// 900 ms. Announcements are sent three times where the RFC has two, for the
// same reason close to each other.
const (
	probes        = 3
	probeEvery    = 300 * time.Millisecond
	announcements = 3
	announceEvery = 50 * time.Millisecond
)

// probeLink asks on dev. A device without Ethernet addresses (loopback,
// tunnels) has nobody to ask: "".
func probeLink(ctx context.Context, dev string, addr netip.Addr) (string, error) {
	addr = addr.Unmap()
	s, err := openLink(dev, addr)
	if s == nil || err != nil {
		return "", err
	}
	defer s.close()
	question, answer := arpRequest(s.mac, netip.IPv4Unspecified(), addr), arpSender
	if addr.Is6() {
		question, answer = solicitation(s.mac, addr), advertised
	}
	for range probes {
		if err := s.send(question); err != nil {
			return "", err
		}
		who, err := s.await(ctx, time.Now().Add(probeEvery), addr, answer)
		if who != "" || err != nil {
			return who, err
		}
	}
	return "", nil
}

// announceLink tells dev. A device without Ethernet addresses has nobody to
// tell.
func announceLink(ctx context.Context, dev string, addr netip.Addr) error {
	addr = addr.Unmap()
	s, err := openLink(dev, addr)
	if s == nil || err != nil {
		return err
	}
	defer s.close()
	news := arpRequest(s.mac, addr, addr)
	if addr.Is6() {
		forwarding, err := os.ReadFile("/proc/sys/net/ipv6/conf/" + dev + "/forwarding")
		if err != nil {
			return fmt.Errorf("ask whether %s forwards IPv6: %w", dev, err)
		}
		news = advertisement(s.mac, addr, strings.TrimSpace(string(forwarding)) != "0")
	}
	for i := range announcements {
		if i > 0 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(announceEvery):
			}
		}
		if err := s.send(news); err != nil {
			return err
		}
	}
	return nil
}

// A linkSocket sends and receives whole frames on one device (packet(7)).
type linkSocket struct {
	fd    int
	index int
	dev   string
	mac   mac
}

// openLink opens dev for the protocol of addr's neighbour questions. nil: the
// device has no Ethernet addresses.
func openLink(dev string, addr netip.Addr) (*linkSocket, error) {
	if !addr.IsValid() {
		return nil, errors.New("no address")
	}
	card, err := net.InterfaceByName(dev)
	if err != nil {
		return nil, fmt.Errorf("look up interface %s: %w", dev, err)
	}
	if len(card.HardwareAddr) != 6 || card.Flags&net.FlagLoopback != 0 || card.Flags&net.FlagBroadcast == 0 {
		return nil, nil
	}
	kind := uint16(etherTypeARP)
	if addr.Is6() {
		kind = etherTypeIPv6
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open a packet socket: %w", err)
	}
	s := &linkSocket{fd: fd, index: card.Index, dev: dev, mac: mac(card.HardwareAddr)}
	if err := s.listen(kind); err != nil {
		s.close()
		return nil, fmt.Errorf("listen on %s: %w", dev, err)
	}
	return s, nil
}

// listen begins to receive: only then, so that nothing of another protocol or
// device comes in before the filter stands.
func (s *linkSocket) listen(kind uint16) error {
	if kind == etherTypeIPv6 {
		// Of IPv6 only neighbour advertisements: next header at 14+6, type
		// at 14+40.
		filter := []unix.SockFilter{
			{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 14 + 6},
			{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 3, K: protoICMPv6},
			{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 14 + 40},
			{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: icmpAdvertise},
			{Code: unix.BPF_RET | unix.BPF_K, K: 0xffff},
			{Code: unix.BPF_RET | unix.BPF_K, K: 0},
		}
		prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
		if err := unix.SetsockoptSockFprog(s.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog); err != nil {
			return err
		}
		// Who has the address tells all nodes (RFC 4861, 7.2.4, for a
		// question from the unspecified address); the card listens to that
		// group by itself only where IPv6 is in use.
		all := groupMAC(netip.IPv6LinkLocalAllNodes())
		group := unix.PacketMreq{Ifindex: int32(s.index), Type: unix.PACKET_MR_MULTICAST, Alen: 6}
		copy(group.Address[:], all[:])
		if err := unix.SetsockoptPacketMreq(s.fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &group); err != nil {
			return err
		}
	}
	return unix.Bind(s.fd, &unix.SockaddrLinklayer{Protocol: swap(kind), Ifindex: s.index})
}

// swap gives a number in network order.
func swap(n uint16) uint16 {
	return binary.NativeEndian.Uint16([]byte{byte(n >> 8), byte(n)})
}

func (s *linkSocket) close() { _ = unix.Close(s.fd) }

func (s *linkSocket) send(frame []byte) error {
	to := &unix.SockaddrLinklayer{Ifindex: s.index, Halen: 6}
	copy(to.Addr[:], frame[:6])
	if err := unix.Sendto(s.fd, frame, 0, to); err != nil {
		return fmt.Errorf("send on %s: %w", s.dev, err)
	}
	return nil
}

// await reads frames until one answers for addr, or the time is up.
func (s *linkSocket) await(ctx context.Context, until time.Time, addr netip.Addr, read func([]byte) (mac, netip.Addr, bool)) (string, error) {
	buf := make([]byte, 2048)
	for {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		left := time.Until(until)
		if left <= 0 {
			return "", nil
		}
		// In slices, so that an end of ctx is seen.
		wait := min(left, 100*time.Millisecond)
		fds := []unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, int(wait.Milliseconds())+1); err != nil && !errors.Is(err, unix.EINTR) {
			return "", fmt.Errorf("wait on %s: %w", s.dev, err)
		}
		n, from, err := unix.Recvfrom(s.fd, buf, 0)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("receive on %s: %w", s.dev, err)
		}
		if ll, ok := from.(*unix.SockaddrLinklayer); ok && ll.Pkttype == unix.PACKET_OUTGOING {
			continue // our own question, or this machine's own answer to another
		}
		if who, has, ok := read(buf[:n]); ok && has == addr && who != s.mac {
			return net.HardwareAddr(who[:]).String(), nil
		}
	}
}
