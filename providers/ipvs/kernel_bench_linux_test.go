package ipvs

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// A cannedKernel answers with bytes that were made before: what a benchmark
// over it takes is this package's own time.
type cannedKernel struct {
	services [][]byte            // datagrams that list the services
	dests    map[string][][]byte // and the real servers of each, by its attributes
	quick    []byte              // the answer to getServices
	asked    map[quickKey][]byte // and to getDests
	edits    int
}

type cannedLink struct {
	*cannedKernel
	queue [][]byte
	seq   uint32
}

func (l *cannedLink) close() error { return nil }

func (l *cannedLink) send(b []byte) error {
	l.queue = l.queue[:0]
	for len(b) > 0 {
		m, rest, err := nextMessage(b)
		if err != nil {
			return err
		}
		l.seq = m.Seq
		switch {
		case m.Type == genlController:
			f := fakeLink{kernel: &fakeKernel{}}
			f.families(m.Seq, binary.NativeEndian.Uint16(b[6:])&unix.NLM_F_DUMP == 0)
			l.queue = f.queue
		case m.body[0] == cmdGetService:
			l.queue = append(l.queue, l.services...)
		case m.body[0] == cmdGetDest:
			l.queue = append(l.queue, l.dests[string(m.body[genlHeader:])]...)
		default:
			l.edits++
			if binary.NativeEndian.Uint16(b[6:])&unix.NLM_F_ACK != 0 {
				f := fakeLink{}
				f.result(m.Seq, 0)
				l.queue = f.queue
			}
		}
		b = rest
	}
	return nil
}

func (l *cannedLink) receive(buf []byte) (int, error) {
	if len(l.queue) == 0 {
		return 0, unix.EAGAIN
	}
	n := copy(buf, l.queue[0])
	l.queue = l.queue[1:]
	for b := buf[:n]; len(b) > 0; b = b[align(int(binary.NativeEndian.Uint32(b))):] {
		binary.NativeEndian.PutUint32(b[8:], l.seq)
	}
	return n, nil
}

func (l *cannedLink) get(option int, buf []byte) error {
	switch option {
	case getInfo:
		binary.NativeEndian.PutUint32(buf[8:], uint32((len(l.quick)-servicesHead)/serviceEntrySize))
	case getServices:
		copy(buf, l.quick)
	case getDests:
		key := quickKey{mark: binary.NativeEndian.Uint32(buf[12:])}
		if key.mark == 0 {
			key = quickKey{protocol: binary.NativeEndian.Uint16(buf), addr: [4]byte(buf[4:8]), port: binary.BigEndian.Uint16(buf[8:])}
		}
		copy(buf[destsHead:], l.asked[key][destsHead:])
	}
	return nil
}

func (l *cannedLink) set(int, []byte) error { l.edits++; return nil }

// can records what the kernel would say about the services: datagrams of 16
// KiB, each entry with both sets of statistics.
func can(services []Service) *cannedKernel {
	k := &cannedKernel{dests: map[string][][]byte{}, asked: map[quickKey][]byte{}}
	stats := func(w *writer, kind uint16, size int) {
		at := w.nest(kind)
		for i := range 10 {
			n := 4
			if size == 8 || i == 3 || i == 4 {
				n = 8
			}
			w.header(uint16(i+1), n)
			w.b = append(w.b, make([]byte, n)...)
		}
		w.nested(at)
	}
	type pile struct{ datagrams [][]byte }
	add := func(p *pile, kind uint16, body []byte) {
		f := fakeLink{}
		f.put(kind, 0, body)
		if n := len(p.datagrams); n > 0 && len(p.datagrams[n-1]) < 16<<10 && kind != unix.NLMSG_DONE {
			p.datagrams[n-1] = append(p.datagrams[n-1], f.queue[0]...)
		} else {
			p.datagrams = append(p.datagrams, f.queue[0])
		}
	}
	var all pile
	var fake fakeSockopt
	fake.kernel = &fakeKernel{table: &Memory{Services: services}}
	for _, s := range services {
		w := writer{b: make([]byte, genlHeader)}
		w.service(&s, true)
		stats(&w, 10, 4)
		stats(&w, 12, 8)
		w.nested(genlHeader)
		add(&all, fakeFamily, w.b)
		var own pile
		for _, d := range s.Dests {
			w := writer{b: make([]byte, genlHeader)}
			w.dest(&d, true)
			stats(&w, destStats, 4)
			stats(&w, destStats64, 8)
			w.nested(genlHeader)
			add(&own, fakeFamily, w.b)
		}
		add(&own, unix.NLMSG_DONE, make([]byte, 4))
		var q writer
		q.service(&s, false)
		k.dests[string(q.b)] = own.datagrams
		if !s.Key.IPv6() {
			buf := make([]byte, destsHead+len(s.Dests)*destEntrySize)
			key := keyOf(s.Key)
			binary.NativeEndian.PutUint16(buf, key.protocol)
			copy(buf[4:], key.addr[:])
			binary.BigEndian.PutUint16(buf[8:], key.port)
			binary.NativeEndian.PutUint32(buf[12:], key.mark)
			binary.NativeEndian.PutUint32(buf[16:], uint32(len(s.Dests)))
			if err := fake.get(getDests, buf); err != nil {
				panic(err)
			}
			k.asked[key] = buf
		}
	}
	add(&all, unix.NLMSG_DONE, make([]byte, 4))
	k.services = all.datagrams
	info := make([]byte, infoSize)
	_ = fake.get(getInfo, info)
	n := binary.NativeEndian.Uint32(info[8:])
	k.quick = make([]byte, servicesHead+int(n)*serviceEntrySize)
	binary.NativeEndian.PutUint32(k.quick, n)
	if err := fake.get(getServices, k.quick); err != nil {
		panic(err)
	}
	return k
}

func (k *cannedKernel) table() *kernel {
	return &kernel{
		open:    func() (link, error) { return &cannedLink{cannedKernel: k}, nil },
		sockopt: func() (sockopt, error) { return &cannedLink{cannedKernel: k}, nil },
	}
}

// thousand is a table of 1,000 services with 10 real servers each.
func thousand(weight int, six bool) (list []Want) {
	addr := func(a, b, c byte) netip.Addr {
		if six {
			return netip.AddrFrom16([16]byte{0: 0xfd, 3: a, 14: b, 15: c})
		}
		return netip.AddrFrom4([4]byte{10, a, b, c})
	}
	for i := range 1000 {
		w := Want{Service: Service{Key: Key{Protocol: "tcp", Addr: addr(2, byte(i>>8), byte(i)), Port: 80}, Scheduler: "wrr"}}
		for j := range 10 {
			w.Dests = append(w.Dests, Destination{
				DestKey: DestKey{Addr: addr(1, byte(i>>8), byte(j+1)), Port: 80}, Method: NAT, Weight: weight,
			})
		}
		list = append(list, w)
	}
	return list
}

// BenchmarkRound is a whole round but for the kernel: open, read, compare,
// send.
func BenchmarkRound(b *testing.B) {
	for _, bench := range []struct {
		name  string
		six   bool
		have  int // weight; 0: no table
		edits int
	}{
		{"load", false, 0, 11000}, {"weights", false, 1, 10000}, {"nothing", false, 2, 0}, {"nothing-IPv6", true, 2, 0},
	} {
		var services []Service
		if bench.have > 0 {
			for i, w := range thousand(bench.have, bench.six) {
				// The kernel's table is hashed, and lists what came last first.
				services = append(services, w.Service)
				at := (i * 7919) % len(services)
				services[i], services[at] = services[at], services[i]
			}
		}
		for i := range services {
			d := services[i].Dests
			for j := range len(d) / 2 {
				d[j], d[len(d)-1-j] = d[len(d)-1-j], d[j]
			}
		}
		k := can(services)
		want := thousand(2, bench.six)
		for _, part := range []string{"read", "compare", "send"} {
			b.Run(bench.name+"/"+part, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					b.StopTimer()
					t := k.table()
					if part == "read" {
						b.StartTimer()
					}
					have, err := t.Dump(b.Context())
					if err != nil {
						b.Fatal(err)
					}
					switch part {
					case "read":
						continue
					case "compare":
						b.StartTimer()
					}
					edits, _ := Diff(have, want)
					if len(edits) != bench.edits {
						b.Fatalf("%d edits", len(edits))
					}
					if part == "send" {
						b.StartTimer()
						if err := t.Apply(b.Context(), edits); err != nil {
							b.Fatal(err)
						}
					}
				}
			})
		}
	}
}
