package ipvs

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The older way to the table, getsockopt(2) and setsockopt(2) on any socket of
// IPv4 (include/uapi/linux/ip_vs.h, net/netfilter/ipvs/ip_vs_ctl.c,
// do_ip_vs_get_ctl and do_ip_vs_set_ctl). To read takes a tenth of the time of
// netlink, which sends every statistic along, to change an entry half of it;
// but it knows neither IPv6 nor types of tunnel nor the names of persistence
// engines.
const (
	getInfo     = 64 + 1024 + 64 + 1 // IP_VS_SO_GET_INFO
	getServices = 64 + 1024 + 64 + 2 // IP_VS_SO_GET_SERVICES
	getDests    = 64 + 1024 + 64 + 4 // IP_VS_SO_GET_DESTS
	setEditDest = 64 + 1024 + 64 + 9 // IP_VS_SO_SET_EDITDEST
)

// The sizes of what is exchanged, on a kernel of 64 bits.
const (
	serviceUserSize  = 44  // struct ip_vs_service_user
	destUserSize     = 24  // struct ip_vs_dest_user
	infoSize         = 12  // struct ip_vs_getinfo
	servicesHead     = 8   // struct ip_vs_get_services, before its entries
	serviceEntrySize = 104 // struct ip_vs_service_entry
	destsHead        = 24  // struct ip_vs_get_dests, before its entries
	destEntrySize    = 96  // struct ip_vs_dest_entry
)

// A sockopt is a socket with the options of IPVS.
type sockopt interface {
	// get is getsockopt: buf holds the question and takes the answer.
	get(option int, buf []byte) error
	// set is setsockopt.
	set(option int, buf []byte) error
	close() error
}

// A quick takes the older way, where that says all that there is to say. To
// read never fails: what it cannot read is left to netlink.
type quick struct {
	sockopt sockopt // nil: not open
	entries []byte  // struct ip_vs_service_entry, one after the other
	next    int     // of them, where the next one that is asked for should be
	buf     []byte
}

// A quickKey names a service of IPv4.
type quickKey struct {
	mark     uint32
	addr     [4]byte
	port     uint16
	protocol uint16
}

func keyOf(k Key) quickKey {
	if k.Mark != 0 {
		return quickKey{mark: k.Mark}
	}
	return quickKey{addr: k.Addr.As4(), port: k.Port, protocol: protocolNumber(k.Protocol)}
}

// open says whether there is an older way, on this kernel and with the rights
// that this process has.
func (q *quick) open(k *kernel) bool {
	if q.sockopt != nil {
		return true
	}
	if k.sockopt == nil || unsafe.Sizeof(uintptr(0)) != 8 {
		return false // a program of 32 bits does not know how wide its kernel is
	}
	s, err := k.sockopt()
	if err != nil {
		return false
	}
	if err := s.get(getInfo, make([]byte, infoSize)); err != nil {
		_ = s.close()
		return false
	}
	q.sockopt = s
	return true
}

// list asks how many real servers each service of IPv4 has: that is how many
// the answer about it must name. The services themselves come from netlink,
// which names those of both families, and the persistence engine.
func (q *quick) list(k *kernel) {
	if !q.open(k) {
		return
	}
	info := make([]byte, infoSize)
	if q.sockopt.get(getInfo, info) != nil {
		return
	}
	n := int(binary.NativeEndian.Uint32(info[8:]))
	buf := make([]byte, servicesHead+n*serviceEntrySize)
	binary.NativeEndian.PutUint32(buf, uint32(n))
	if q.sockopt.get(getServices, buf) != nil {
		return
	}
	q.entries = buf[servicesHead:]
}

// services says how many services of IPv4 there are, as far as is known.
func (q *quick) services() int { return len(q.entries) / serviceEntrySize }

// servers says how many real servers they have.
func (q *quick) servers() (n int) {
	for b := q.entries; len(b) >= serviceEntrySize; b = b[serviceEntrySize:] {
		n += int(binary.NativeEndian.Uint32(b[44:]))
	}
	return min(n, 1<<20)
}

// count gives how many real servers the service has. Both ways list the
// services in the order of the kernel's table: it looks behind the one that was
// found last.
func (q *quick) count(k quickKey) (n int, ok bool) {
	all := q.services()
	for i := range all {
		at := (q.next + i) % all
		e := q.entries[at*serviceEntrySize:]
		key := quickKey{mark: binary.NativeEndian.Uint32(e[12:])}
		if key.mark == 0 {
			key.protocol = binary.NativeEndian.Uint16(e)
			key.addr = [4]byte(e[4:8])
			key.port = binary.BigEndian.Uint16(e[8:])
		}
		if key == k {
			q.next = at + 1
			n := binary.NativeEndian.Uint32(e[44:])
			return int(n), n <= 1<<20
		}
	}
	return 0, false
}

// dests reads the real servers of s, and says whether it could. There is room
// for one more than there were: the kernel fills in those of IPv4, as far as
// there is room, and leaves the rest as it was, so one that came or went
// meanwhile, or is of IPv6, makes another number. The type of a tunnel is not
// told at all.
func (q *quick) dests(s *Service, room *slab) bool {
	if q.sockopt == nil || s.Key.IPv6() {
		return false
	}
	key := keyOf(s.Key)
	n, ok := q.count(key)
	if !ok {
		return false
	}
	size := destsHead + (n+1)*destEntrySize
	if cap(q.buf) < size {
		q.buf = make([]byte, 2*size)
	}
	buf := q.buf[:size]
	for b := buf[destsHead:]; len(b) > 0; b = b[destEntrySize:] {
		clear(b[:4]) // the address: the rest is not looked at without one
	}
	clear(buf[:destsHead])
	binary.NativeEndian.PutUint16(buf, key.protocol)
	copy(buf[4:], key.addr[:])
	binary.BigEndian.PutUint16(buf[8:], key.port)
	binary.NativeEndian.PutUint32(buf[12:], key.mark)
	binary.NativeEndian.PutUint32(buf[16:], uint32(n+1))
	if q.sockopt.get(getDests, buf) != nil {
		return false
	}
	dests := room.take(n)
	left := n // filled from the end: see Dump
	for b := buf[destsHead:]; len(b) >= destEntrySize; b = b[destEntrySize:] {
		if [4]byte(b) == [4]byte{} {
			break // no real server has this address
		}
		if left--; left < 0 {
			return false
		}
		d := &dests[left]
		d.Addr = netip.AddrFrom4([4]byte(b[:4]))
		d.Port = binary.BigEndian.Uint16(b[4:])
		d.Weight = int(int32(binary.NativeEndian.Uint32(b[12:])))
		d.Upper = binary.NativeEndian.Uint32(b[16:])
		d.Lower = binary.NativeEndian.Uint32(b[20:])
		d.Active = binary.NativeEndian.Uint32(b[24:])
		d.Inactive = binary.NativeEndian.Uint32(b[28:])
		d.Persistent = binary.NativeEndian.Uint32(b[32:])
		if d.Method = methodOf(binary.NativeEndian.Uint32(b[8:])); d.Method == TUN {
			return false
		}
	}
	if left != 0 {
		return false
	}
	s.Dests = dests
	return true
}

// worthwhile is how many changes of real servers there must be for the older
// way to be the shorter one: between them and other edits a batch of netlink
// ends.
const worthwhile = 8

// isQuick says whether the older way can make the edit: the change of a real
// server, where neither a mark nor a tunnel nor IPv6 is concerned. (With a mark
// it wants to be told the protocol that the service was made with, which nobody
// reads.)
func isQuick(e *Edit) bool {
	return e.Verb == EditDest && e.Service.Key.Mark == 0 && e.Service.Key.Addr.Is4() && e.Dest.Addr.Is4() &&
		(e.Dest.Method == NAT || e.Dest.Method == DR)
}

// quickEnd gives the end of the edits from from on that it can make.
func quickEnd(edits []Edit, from int) int {
	for from < len(edits) && isQuick(&edits[from]) {
		from++
	}
	return from
}

// edit makes edits[from:to], one after the other.
func (q *quick) edit(ctx context.Context, edits []Edit, from, to int) error {
	var b [serviceUserSize + destUserSize]byte
	for i := from; i < to; i++ {
		e := &edits[i]
		if i == from || e.Service.Key != edits[i-1].Service.Key {
			if err := ctx.Err(); err != nil {
				return err
			}
			addr := e.Service.Key.Addr.As4()
			binary.NativeEndian.PutUint16(b[0:], protocolNumber(e.Service.Key.Protocol))
			copy(b[4:8], addr[:])
			binary.BigEndian.PutUint16(b[8:], e.Service.Key.Port)
		}
		d, addr := b[serviceUserSize:], e.Dest.Addr.As4()
		copy(d, addr[:])
		binary.BigEndian.PutUint16(d[4:], e.Dest.Port)
		binary.NativeEndian.PutUint32(d[8:], connMethod(e.Dest.Method))
		binary.NativeEndian.PutUint32(d[12:], uint32(e.Dest.Weight))
		binary.NativeEndian.PutUint32(d[16:], e.Dest.Upper)
		binary.NativeEndian.PutUint32(d[20:], e.Dest.Lower)
		if err := q.sockopt.set(setEditDest, b[:]); err != nil {
			var no syscall.Errno
			if errors.As(err, &no) {
				err = explain(e.Verb, no)
			}
			return &EditError{Index: i, Edit: *e, Err: err}
		}
	}
	return nil
}

func (q *quick) close() {
	if q.sockopt != nil {
		_ = q.sockopt.close()
		q.sockopt = nil
	}
}

// A rawSockopt is such a socket.
type rawSockopt int

func openSockopt() (sockopt, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	return rawSockopt(fd), err
}

func (r rawSockopt) get(option int, buf []byte) error {
	size := int32(len(buf)) // a socklen_t
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(r), unix.SOL_IP, uintptr(option),
		uintptr(unsafe.Pointer(unsafe.SliceData(buf))), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

func (r rawSockopt) set(option int, buf []byte) error {
	_, _, errno := unix.Syscall6(unix.SYS_SETSOCKOPT, uintptr(r), unix.SOL_IP, uintptr(option),
		uintptr(unsafe.Pointer(unsafe.SliceData(buf))), uintptr(len(buf)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

func (r rawSockopt) close() error { return unix.Close(int(r)) }
