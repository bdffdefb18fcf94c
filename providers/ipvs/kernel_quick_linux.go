package ipvs

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The older way to read the table, getsockopt(2) on any socket of IPv4
// (include/uapi/linux/ip_vs.h, net/netfilter/ipvs/ip_vs_ctl.c,
// do_ip_vs_get_ctl). It takes a tenth of the time of netlink, which sends every
// statistic along, but knows neither IPv6 nor types of tunnel nor the names of
// persistence engines.
const (
	askInfo     = 64 + 1024 + 64 + 1 // IP_VS_SO_GET_INFO
	askServices = 64 + 1024 + 64 + 2 // IP_VS_SO_GET_SERVICES
	askDests    = 64 + 1024 + 64 + 4 // IP_VS_SO_GET_DESTS
)

// The sizes of what is exchanged, on a kernel of 64 bits.
const (
	infoSize         = 12  // struct ip_vs_getinfo
	servicesHead     = 8   // struct ip_vs_get_services, before its entries
	serviceEntrySize = 104 // struct ip_vs_service_entry
	destsHead        = 24  // struct ip_vs_get_dests, before its entries
	destEntrySize    = 96  // struct ip_vs_dest_entry
)

// An asker is a socket that the table can be asked for.
type asker interface {
	// get is getsockopt: buf holds the question and takes the answer.
	get(option int, buf []byte) error
	close() error
}

// A quick reads the real servers of services by the older way, where that says
// all that there is to say. It never fails: what it cannot read is left to
// netlink.
type quick struct {
	asker asker // nil: it reads nothing
	count map[quickKey]uint32
	buf   []byte
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

// quick asks how many real servers each service of IPv4 has: that is how many
// the answer about it must name. Services come from netlink, which names those
// of both families, and the persistence engine.
func (k *kernel) quick(services []Service) *quick {
	q := &quick{}
	if k.ask == nil || len(services) == 0 || unsafe.Sizeof(uintptr(0)) != 8 {
		return q // a program of 32 bits does not know how wide its kernel is
	}
	a, err := k.ask()
	if err != nil {
		return q
	}
	if q.count, err = countDests(a); err != nil {
		_ = a.close()
		return q
	}
	q.asker = a
	return q
}

func countDests(a asker) (map[quickKey]uint32, error) {
	info := make([]byte, infoSize)
	if err := a.get(askInfo, info); err != nil {
		return nil, err
	}
	n := binary.NativeEndian.Uint32(info[8:])
	buf := make([]byte, servicesHead+int(n)*serviceEntrySize)
	binary.NativeEndian.PutUint32(buf, n)
	if err := a.get(askServices, buf); err != nil {
		return nil, err
	}
	count := make(map[quickKey]uint32, n)
	for b := buf[servicesHead:]; len(b) >= serviceEntrySize; b = b[serviceEntrySize:] {
		key := quickKey{mark: binary.NativeEndian.Uint32(b[12:])}
		if key.mark == 0 {
			key.protocol = binary.NativeEndian.Uint16(b)
			key.addr = [4]byte(b[4:8])
			key.port = binary.BigEndian.Uint16(b[8:])
		}
		count[key] = binary.NativeEndian.Uint32(b[44:])
	}
	return count, nil
}

// dests reads the real servers of s, and says whether it could. There is room
// for one more than there were: the kernel fills in those of IPv4, as far as
// there is room, and leaves the rest as it was, so one that came or went
// meanwhile, or is of IPv6, makes another number. The type of a tunnel is not
// told at all.
func (q *quick) dests(s *Service) bool {
	if q.asker == nil || s.Key.IPv6() {
		return false
	}
	key := keyOf(s.Key)
	n, ok := q.count[key]
	if !ok || n > 1<<20 {
		return false
	}
	size := destsHead + (int(n)+1)*destEntrySize
	if cap(q.buf) < size {
		q.buf = make([]byte, 2*size)
	}
	buf := q.buf[:size]
	clear(buf)
	binary.NativeEndian.PutUint16(buf, key.protocol)
	copy(buf[4:], key.addr[:])
	binary.BigEndian.PutUint16(buf[8:], key.port)
	binary.NativeEndian.PutUint32(buf[12:], key.mark)
	binary.NativeEndian.PutUint32(buf[16:], n+1)
	if q.asker.get(askDests, buf) != nil {
		return false
	}
	var dests []Destination
	if n > 0 {
		dests = make([]Destination, n)
	}
	left := int(n) // filled from the end: see Dump
	for b := buf[destsHead:]; len(b) >= destEntrySize; b = b[destEntrySize:] {
		if bytes.Equal(b[:4], []byte{0, 0, 0, 0}) {
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
		d.Active = int(binary.NativeEndian.Uint32(b[24:]))
		d.Inactive = int(binary.NativeEndian.Uint32(b[28:]))
		d.Persistent = int(binary.NativeEndian.Uint32(b[32:]))
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

func (q *quick) close() {
	if q.asker != nil {
		_ = q.asker.close()
	}
}

// A rawAsker is a socket.
type rawAsker int

func openAsker() (asker, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	return rawAsker(fd), err
}

func (r rawAsker) get(option int, buf []byte) error {
	size := int32(len(buf)) // a socklen_t
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(r), unix.SOL_IP, uintptr(option),
		uintptr(unsafe.Pointer(unsafe.SliceData(buf))), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

func (r rawAsker) close() error { return unix.Close(int(r)) }
