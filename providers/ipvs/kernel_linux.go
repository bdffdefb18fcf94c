package ipvs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	moby "github.com/moby/ipvs"
	"golang.org/x/sys/unix"

	"github.com/lvsfleet/lvsfleet/providers/host"
)

// local gives this machine's table where h is this machine, else nil.
func local(h host.Host) Table {
	if _, ok := host.As[*host.Local](h); ok {
		return &kernel{open: openGenl, sockopt: openSockopt}
	}
	return nil
}

// A kernel is the table of the running kernel, in the network namespace of the
// calling thread. github.com/moby/ipvs is its base: its types, and its way of
// loading ip_vs. What that library cannot do is done here beside it, against
// include/uapi/linux/ip_vs.h: weights above 65535 (it reads 16 bits), the
// family of each real server, the name of the persistence engine on reading,
// tunnel types, many edits in one send, and a receive that gives up.
type kernel struct {
	open    func() (link, error)
	sockopt func() (sockopt, error) // nil: netlink alone
}

// A link is a netlink conversation with the kernel.
type link interface {
	send([]byte) error
	// receive reads one datagram into buf.
	receive(buf []byte) (int, error)
	close() error
}

// answerTimeout is how long the kernel may take for one datagram. Its edits
// wait for nothing but other edits, and a change of scheduler for a grace
// period (synchronize_rcu).
const answerTimeout = 10 * time.Second

// receiveBuffer is room for one datagram. The kernel fills one of a dump with as
// much as it has seen the receiver to have room for, or 8 KiB
// (net/netlink/af_netlink.c, netlink_dump), and takes memory for that before
// it knows how little there is to say: it is asked for no more than is usual.
const receiveBuffer = 16 << 10

// Dump reads the table: one request for the services, and one for the real
// servers of each, by the shorter way where that says all that there is (see
// quick). Only what belongs to the rules is decoded. The kernel lists the real
// server that came last first; here it is last, which is where one that was
// added in order belongs.
func (k *kernel) Dump(ctx context.Context) ([]Service, error) { return k.dump(ctx, false) }

// statistics is Dump with the kernel's counts, which the shorter way leaves out.
func (k *kernel) statistics(ctx context.Context) ([]Service, error) { return k.dump(ctx, true) }

func (k *kernel) dump(ctx context.Context, counts bool) ([]Service, error) {
	c, err := k.dial(ctx, false)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil // no ip_vs in this kernel: no services
	}
	if err != nil {
		return nil, err
	}
	defer c.close()
	q := &quick{}
	defer q.close()
	if !counts {
		q.list(k)
	}
	// Somewhat more than the older way knows of: one more is no reason to
	// copy them all.
	services := make([]Service, 0, q.services()+q.services()/8)
	err = c.dump(ctx, cmdGetService, nil, func(attrs []byte) error {
		s, err := decodeService(attrs)
		if err == nil {
			services = append(services, s)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the services: %w", err)
	}
	if len(services) == 0 {
		return nil, nil
	}
	room := slab{next: q.servers()}
	var list []Destination // of one service
	for i := range services {
		s := &services[i]
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if q.dests(s, &room) {
			continue
		}
		list = list[:0]
		err := c.dump(ctx, cmdGetDest, s, func(attrs []byte) error {
			d, err := decodeDest(attrs, s.Key.IPv6())
			if err == nil && counts {
				d.Counts, err = decodeCounts(attrs)
			}
			if err == nil {
				list = append(list, d)
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("list the real servers of %s: %w", s.Key, err)
		}
		slices.Reverse(list)
		s.Dests = room.take(len(list))
		copy(s.Dests, list)
	}
	return services, nil
}

// A slab is memory for many real servers, of which each service takes its own.
type slab struct {
	free []Destination
	next int // how many the next piece of memory is for
}

// take gives n real servers that are zero; nil where n is 0.
func (s *slab) take(n int) []Destination {
	if n == 0 {
		return nil
	}
	if len(s.free) < n {
		s.free = make([]Destination, max(n, s.next))
		s.next = 1024
	}
	list := s.free[:n:n]
	s.free = s.free[n:]
	return list
}

// Apply makes the edits, many to a send. The kernel takes a batch to its end
// whatever fails in it, so a batch never holds a deletion, or a change to
// weight 0, after another kind of edit: what was to replace a real server is
// known to be there before that one goes. Other edits that stand behind the
// one that failed may have been made.
// Where many changes of real servers follow on each other they are made one by
// one, the older way, as far as that can say them.
func (k *kernel) Apply(ctx context.Context, edits []Edit) error {
	if len(edits) == 0 {
		return nil
	}
	for i, e := range edits {
		if err := refuse(e); err != nil {
			return &EditError{Index: i, Edit: e, Err: err}
		}
	}
	var q quick
	defer q.close()
	var c *conversation // opened when it is wanted
	defer func() {
		if c != nil {
			_ = c.close()
		}
	}()
	for from := 0; from < len(edits); {
		to := quickEnd(edits, from)
		if to-from >= worthwhile && q.open(k) {
			if err := q.edit(ctx, edits, from, to); err != nil {
				return err
			}
			from = to
			continue
		}
		if c == nil {
			var err error
			if c, err = k.load(ctx); err != nil {
				return err
			}
		}
		to = batchEnd(edits, from)
		if err := c.batch(ctx, edits, from, to); err != nil {
			return err
		}
		from = to
	}
	return nil
}

// load dials where the kernel may have to load ip_vs for it.
func (k *kernel) load(ctx context.Context) (*conversation, error) {
	c, err := k.dial(ctx, true)
	if errors.Is(err, unix.ENOENT) {
		// moby/ipvs asks modprobe for ip_vs. Not before: it remembers for
		// good that the kernel had none.
		var h *moby.Handle
		if h, err = moby.New(""); err == nil {
			h.Close()
			c, err = k.dial(ctx, true)
		}
	}
	if errors.Is(err, unix.ENOENT) {
		return nil, errors.New("this kernel has no IPVS: the module ip_vs is not loaded and could not be (modprobe ip_vs)")
	}
	return c, err
}

// maxBatch bounds a send: 1,000 messages of up to 200 bytes fit the socket's
// send buffer (wmem_default, 212,992 bytes), and their error reports its
// receive buffer.
const maxBatch = 1000

// batchEnd gives the end of the batch that begins at from. It ends where many
// edits begin that the older way can make.
func batchEnd(edits []Edit, from int) int {
	takes := func(e *Edit) bool {
		return e.Verb == DeleteService || e.Verb == DeleteDest || e.Verb == EditDest && e.Dest.Weight == 0
	}
	to := from + 1
	for to < len(edits) && to-from < maxBatch && (takes(&edits[to-1]) || !takes(&edits[to])) {
		if !isQuick(&edits[to-1]) && quickEnd(edits, to)-to >= worthwhile {
			break
		}
		to++
	}
	return to
}

// A conversation is a link with its family and sequence numbers.
type conversation struct {
	link
	family uint16
	seq    uint32
	buf    []byte // of what is received
	out    writer // of what is sent
}

// dial opens a link and asks for IPVS' generic netlink family: ENOENT, where
// the kernel has no ip_vs, or, unless load is set, has not loaded it yet.
func (k *kernel) dial(ctx context.Context, load bool) (*conversation, error) {
	l, err := k.open()
	if err != nil {
		return nil, fmt.Errorf("open a netlink socket: %w", err)
	}
	c := &conversation{link: l, buf: make([]byte, receiveBuffer)}
	if c.family, err = c.askFamily(ctx, load); err != nil {
		_ = c.close()
		return nil, fmt.Errorf("ask for the netlink family IPVS: %w", err)
	}
	return c, nil
}

// askFamily asks for the family by name, upon which a kernel may load the
// module (net/netlink/genetlink.c, ctrl_getfamily; ip_vs of Linux 6.1 has the
// alias for it), or looks for it among those that there are: a look must
// change nothing.
func (c *conversation) askFamily(ctx context.Context, load bool) (uint16, error) {
	c.seq++
	c.out.b = c.out.b[:0]
	c.out.family(c.seq, load)
	if err := c.send(c.out.b); err != nil {
		return 0, err
	}
	var id uint16
	err := c.answers(ctx, c.seq, func(m message) (bool, error) {
		switch m.Type {
		case unix.NLMSG_ERROR:
			return true, m.errno()
		case unix.NLMSG_DONE:
			return true, nil
		}
		n, name, err := decodeFamily(m.body)
		if name == familyName {
			id = n
		}
		return load, err
	})
	if err == nil && id == 0 {
		err = unix.ENOENT
	}
	return id, err
}

// dump sends a dump request, for the whole table or for a service, and gives
// the nested attributes of each answer to each.
func (c *conversation) dump(ctx context.Context, cmd uint8, of *Service, each func(attrs []byte) error) error {
	c.seq++
	c.out.b = c.out.b[:0]
	at := c.out.open(c.family, c.seq, unix.NLM_F_DUMP, cmd)
	if of != nil {
		c.out.service(of, false)
	}
	c.out.done(at)
	if err := c.send(c.out.b); err != nil {
		return err
	}
	return c.answers(ctx, c.seq, func(m message) (bool, error) {
		switch m.Type {
		case unix.NLMSG_DONE:
			return true, nil
		case unix.NLMSG_ERROR:
			return true, m.errno()
		case c.family:
			nested, err := firstAttr(m.body)
			if err != nil {
				return false, err
			}
			return false, each(nested)
		}
		return false, nil
	})
}

// batch sends edits[from:to] in one datagram. Only the last asks for an
// acknowledgement, since failures are reported unasked; each report is matched
// to its edit by sequence number, and the first one counts.
func (c *conversation) batch(ctx context.Context, edits []Edit, from, to int) error {
	first := c.seq + 1
	c.out.b = c.out.b[:0]
	for i := from; i < to; i++ {
		c.seq++
		flags := 0
		if i == to-1 {
			flags = unix.NLM_F_ACK
		}
		c.out.edit(c.family, c.seq, flags, &edits[i])
	}
	if err := c.send(c.out.b); err != nil {
		return fmt.Errorf("send %d edits: %w", to-from, err)
	}
	var failed *EditError
	last := c.seq
	err := c.receiveAll(ctx, func(m message) (bool, error) {
		if m.Type != unix.NLMSG_ERROR || m.Seq < first || m.Seq > last {
			return false, nil // of an earlier conversation
		}
		if errno := m.errno(); errno != nil {
			i := from + int(m.Seq-first)
			var no syscall.Errno
			if errors.As(errno, &no) {
				errno = explain(edits[i].Verb, no)
			}
			if failed == nil || i < failed.Index {
				failed = &EditError{Index: i, Edit: edits[i], Err: errno}
			}
		}
		return m.Seq == last, nil
	})
	if failed != nil {
		return failed
	}
	if err != nil {
		return fmt.Errorf("await the acknowledgement of %d edits: %w", to-from, err)
	}
	return nil
}

// answers gives the messages that answer seq to each until that says done.
func (c *conversation) answers(ctx context.Context, seq uint32, each func(message) (bool, error)) error {
	return c.receiveAll(ctx, func(m message) (bool, error) {
		if m.Seq != seq {
			return false, nil
		}
		return each(m)
	})
}

// receiveAll gives every message to each until that says done. After an error
// of each the rest of the answer is not read: the conversation is of no more
// use.
func (c *conversation) receiveAll(ctx context.Context, each func(message) (bool, error)) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := c.receive(c.buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if errors.Is(err, unix.EAGAIN) {
			return fmt.Errorf("the kernel did not answer within %s", answerTimeout)
		}
		if err != nil {
			return err
		}
		for rest := c.buf[:n]; len(rest) > 0; {
			var m message
			if m, rest, err = nextMessage(rest); err != nil {
				return err
			}
			if done, err := each(m); done || err != nil {
				return err
			}
		}
	}
}

// A genl is a generic netlink socket.
type genl int

func openGenl() (link, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_GENERIC)
	if err != nil {
		return nil, err
	}
	tv := unix.NsecToTimeval(answerTimeout.Nanoseconds())
	err = errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &tv),
		unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}),
	)
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	// Room for the reports of a batch in which every edit fails. Without
	// CAP_NET_ADMIN no edit will be taken anyway.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4<<20)
	return genl(fd), nil
}

func (g genl) send(b []byte) error {
	return unix.Sendto(int(g), b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
}

func (g genl) receive(buf []byte) (int, error) {
	n, _, flags, _, err := unix.Recvmsg(int(g), buf, nil, 0)
	if err == nil && flags&unix.MSG_TRUNC != 0 {
		return 0, errors.New("the kernel's answer was cut short")
	}
	return n, err
}

func (g genl) close() error { return unix.Close(int(g)) }
