package ipvs

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/lvsfleet/lvsfleet/providers/host"
)

// NewFakeKernel gives the netlink table over a kernel that speaks the protocol
// from memory, for the suite.
func NewFakeKernel() Table {
	k := &fakeKernel{table: &Memory{}}
	return fake(k)
}

// NewKernel gives the running kernel's table.
func NewKernel() Table { return local(&host.Local{}) }

// NewNetlink gives the running kernel's table, read by netlink alone.
func NewNetlink() Table { return &kernel{open: openGenl} }

// NewFakeNetlink is NewFakeKernel, read by netlink alone.
func NewFakeNetlink() Table {
	k := fake(&fakeKernel{table: &Memory{}})
	k.sockopt = nil
	return k
}

// A fakeKernel answers as net/netlink/genetlink.c and ip_vs_ctl.c do.
type fakeKernel struct {
	table  *Memory
	sends  int  // datagrams of edits
	dumps  int  // lists of real servers by netlink
	asks   int  // and by getsockopt
	sets   int  // edits by setsockopt
	loads  int  // questions upon which a kernel loads ip_vs
	absent bool // no ip_vs
	mute   bool // never answers an edit
	noise  bool // answers of somebody else come between
	narrow bool // before Linux 4.1
}

const fakeFamily = 0x1f

type fakeLink struct {
	kernel *fakeKernel
	queue  [][]byte
}

func (l *fakeLink) close() error { return nil }

func (l *fakeLink) receive(buf []byte) (int, error) {
	if len(l.queue) == 0 {
		return 0, unix.EAGAIN
	}
	n := copy(buf, l.queue[0])
	l.queue = l.queue[1:]
	return n, nil
}

// put queues one message.
func (l *fakeLink) put(kind uint16, seq uint32, body []byte) {
	b := binary.NativeEndian.AppendUint32(nil, uint32(unix.NLMSG_HDRLEN+len(body)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = binary.NativeEndian.AppendUint16(b, 0)
	b = binary.NativeEndian.AppendUint32(b, seq)
	b = binary.NativeEndian.AppendUint32(b, 0)
	l.queue = append(l.queue, append(b, body...))
}

func (l *fakeLink) result(seq uint32, errno syscall.Errno) {
	l.put(unix.NLMSG_ERROR, seq, append(binary.NativeEndian.AppendUint32(nil, uint32(-int32(errno))), make([]byte, 16)...))
}

func (l *fakeLink) send(b []byte) error {
	edits := 0
	for len(b) > 0 {
		if len(b)%4 != 0 {
			return errors.New("a message that is not aligned")
		}
		flags := binary.NativeEndian.Uint16(b[6:])
		m, rest, err := nextMessage(b)
		if err != nil {
			return err
		}
		b = rest
		if l.kernel.noise {
			l.put(fakeFamily, m.Seq+1000, nil)
			l.result(m.Seq-1000, unix.EBUSY)
		}
		if m.Type == genlController {
			l.families(m.Seq, flags&unix.NLM_F_DUMP == 0)
			continue
		}
		if m.Type != fakeFamily {
			return unix.EINVAL
		}
		if flags&unix.NLM_F_DUMP == unix.NLM_F_DUMP {
			if err := l.dump(m); err != nil {
				return err
			}
			continue
		}
		edits++
		if l.kernel.mute {
			continue
		}
		errno := l.edit(m)
		if errno != 0 || flags&unix.NLM_F_ACK != 0 {
			l.result(m.Seq, errno)
		}
	}
	if edits > 0 {
		l.kernel.sends++
	}
	return nil
}

// families answers for the controller: one family, which loads it, or all.
func (l *fakeLink) families(seq uint32, load bool) {
	family := func(id uint16, name string) {
		w := writer{b: make([]byte, genlHeader)}
		w.u16(unix.CTRL_ATTR_FAMILY_ID, id)
		w.text(unix.CTRL_ATTR_FAMILY_NAME, name)
		l.put(genlController, seq, w.b)
	}
	if load {
		l.kernel.loads++
		if l.kernel.absent {
			l.result(seq, unix.ENOENT)
		} else {
			family(fakeFamily, familyName)
		}
		return
	}
	family(genlController, "nlctrl")
	if !l.kernel.absent {
		family(fakeFamily, familyName)
	}
	family(fakeFamily+1, "TASKSTATS")
	l.put(unix.NLMSG_DONE, seq, make([]byte, 4))
}

func (l *fakeLink) dump(m message) error {
	switch m.body[0] {
	case cmdGetService:
		for _, s := range l.kernel.table.Services {
			w := writer{b: make([]byte, genlHeader)}
			w.service(&s, true)
			l.put(fakeFamily, m.Seq, w.b)
		}
	case cmdGetDest:
		l.kernel.dumps++
		nested, err := firstAttr(m.body)
		if err != nil {
			return err
		}
		key, err := decodeService(nested)
		if err != nil {
			return err
		}
		for _, s := range l.kernel.table.Services {
			for _, d := range s.Dests {
				if s.Key == key.Key {
					w := writer{b: make([]byte, genlHeader)}
					w.dest(&d, true)
					l.kernel.count(&w, d.Counted())
					l.put(fakeFamily, m.Seq, w.b)
				}
			}
		}
	}
	l.put(unix.NLMSG_DONE, m.Seq, make([]byte, 4))
	return nil
}

// count adds the counts as ip_vs_genl_fill_stats does, and from Linux 4.1 on
// ip_vs_genl_fill_stats64 after it.
func (k *fakeKernel) count(w *writer, n Counts) {
	u64 := func(kind uint16, n uint64) {
		w.header(kind, 8)
		w.b = binary.NativeEndian.AppendUint64(w.b, n)
	}
	at := w.nest(destStats)
	w.u32(statsConns, uint32(n.Connections))
	u64(statsInBytes, n.InBytes)
	u64(statsOutBytes, n.OutBytes)
	w.nested(at)
	if !k.narrow {
		at = w.nest(destStats64)
		u64(statsConns, n.Connections)
		u64(statsInBytes, n.InBytes)
		u64(statsOutBytes, n.OutBytes)
		w.nested(at)
	}
	w.nested(genlHeader) // of the real server, which all this is a part of
}

func TestStatisticsAreTheKernelsCounts(t *testing.T) {
	want := Counts{Connections: 1<<33 + 5, InBytes: 1 << 40, OutBytes: 7}
	for _, narrow := range []bool{false, true} {
		k := &fakeKernel{narrow: narrow, table: &Memory{Services: []Service{{
			Key: Key{Mark: 7}, Scheduler: "rr",
			Dests: []Destination{{DestKey: DestKey{Addr: netip.MustParseAddr("192.0.2.1")}, Method: DR, Weight: 1, Active: 3, Counts: &want}},
		}}}}
		table := &kernel{open: func() (link, error) { return &fakeLink{kernel: k}, nil }}
		got, err := Statistics(t.Context(), table)
		if err != nil || len(got) != 1 || len(got[0].Dests) != 1 {
			t.Fatalf("%v, %v", got, err)
		}
		expect := want
		if narrow {
			expect.Connections = 5 // it wraps in the kernel
		}
		if d := got[0].Dests[0]; d.Counted() != expect {
			t.Errorf("narrow %v: %+v, want %+v", narrow, d.Counts, expect)
		}
		if got, err = table.Dump(t.Context()); err != nil || got[0].Dests[0].Counts != nil {
			t.Errorf("a dump for the rules has counts: %+v, %v", got, err)
		}
	}
}

func (l *fakeLink) edit(m message) syscall.Errno {
	verb := map[byte]Verb{
		cmdNewService: AddService, cmdSetService: EditService, cmdDelService: DeleteService,
		cmdNewDest: AddDest, cmdSetDest: EditDest, cmdDelDest: DeleteDest,
	}[m.body[0]]
	e := Edit{Verb: verb, Service: &Service{}}
	for a := (attrs{rest: m.body[genlHeader:]}); a.next(); {
		var err error
		if a.kind == attrService {
			*e.Service, err = decodeService(a.value)
		} else {
			e.Dest, err = decodeDest(a.value, e.Service.Key.IPv6())
		}
		if err != nil {
			return unix.EINVAL
		}
	}
	var errno syscall.Errno
	errors.As(l.kernel.make(e), &errno)
	return errno
}

// make gives the kernel's number for what it refuses.
func (k *fakeKernel) make(e Edit) error {
	err := k.table.Apply(context.Background(), []Edit{e})
	var errno syscall.Errno
	switch {
	case err == nil:
		return nil
	case errors.As(err, &errno):
		return errno
	}
	return unix.EINVAL
}

func fake(k *fakeKernel) *kernel {
	return &kernel{
		open:    func() (link, error) { return &fakeLink{kernel: k}, nil },
		sockopt: func() (sockopt, error) { return fakeSockopt{k}, nil },
	}
}

// A fakeSockopt answers as ip_vs_ctl.c does: do_ip_vs_get_ctl,
// __ip_vs_get_service_entries, __ip_vs_get_dest_entries, do_ip_vs_set_ctl.
type fakeSockopt struct{ kernel *fakeKernel }

func (fakeSockopt) close() error { return nil }

func (a fakeSockopt) get(option int, buf []byte) error {
	le := binary.NativeEndian
	var four []Service
	for _, s := range a.kernel.table.Services {
		if !s.Key.IPv6() {
			four = append(four, s)
		}
	}
	switch option {
	case getInfo:
		if len(buf) < infoSize {
			return unix.EINVAL
		}
		le.PutUint32(buf, 0x010201)
		le.PutUint32(buf[4:], 4096)
		le.PutUint32(buf[8:], uint32(len(four)))
		return nil
	case getServices:
		n := int(le.Uint32(buf))
		if len(buf) != servicesHead+n*serviceEntrySize {
			return unix.EINVAL
		}
		for i, s := range four[:min(n, len(four))] {
			b := buf[servicesHead+i*serviceEntrySize:]
			le.PutUint16(b, protocolNumber(s.Key.Protocol))
			if s.Key.Mark == 0 {
				copy(b[4:8], s.Key.Addr.AsSlice())
			}
			binary.BigEndian.PutUint16(b[8:], s.Key.Port)
			le.PutUint32(b[12:], s.Key.Mark)
			copy(b[16:32], s.Scheduler)
			le.PutUint32(b[44:], uint32(len(s.Dests)))
		}
		return nil
	case getDests:
		a.kernel.asks++
		n := int(le.Uint32(buf[16:]))
		if len(buf) != destsHead+n*destEntrySize {
			return unix.EINVAL
		}
		key := quickKey{mark: le.Uint32(buf[12:])}
		if key.mark == 0 {
			key = quickKey{protocol: le.Uint16(buf), addr: [4]byte(buf[4:8]), port: binary.BigEndian.Uint16(buf[8:])}
		}
		at := slices.IndexFunc(four, func(s Service) bool { return keyOf(s.Key) == key })
		if at < 0 {
			return unix.ESRCH
		}
		b := buf[destsHead:]
		for _, d := range four[at].Dests {
			if d.Addr.Is6() || len(b) == 0 {
				continue
			}
			copy(b, d.Addr.AsSlice())
			binary.BigEndian.PutUint16(b[4:], d.Port)
			le.PutUint32(b[8:], 0x100|connMethod(d.Method)) // with IP_VS_CONN_F_INACTIVE
			le.PutUint32(b[12:], uint32(d.Weight))
			le.PutUint32(b[16:], d.Upper)
			le.PutUint32(b[20:], d.Lower)
			le.PutUint32(b[24:], d.Active)
			le.PutUint32(b[28:], d.Inactive)
			le.PutUint32(b[32:], d.Persistent)
			le.PutUint32(b[40:], 7) // a statistic
			b = b[destEntrySize:]
		}
		return nil
	}
	return unix.ENOPROTOOPT
}

func (a fakeSockopt) set(option int, buf []byte) error {
	if option != setEditDest || len(buf) != serviceUserSize+destUserSize {
		return unix.EINVAL
	}
	a.kernel.sets++
	ne := binary.NativeEndian
	e := Edit{Verb: EditDest, Service: &Service{Key: Key{
		Mark: ne.Uint32(buf[12:]), Protocol: protocolName(ne.Uint16(buf)),
		Addr: netip.AddrFrom4([4]byte(buf[4:8])), Port: binary.BigEndian.Uint16(buf[8:]),
	}}}
	switch {
	case e.Service.Key.Protocol == "":
		return unix.EFAULT
	case e.Service.Key.Mark != 0:
		return unix.ESRCH // of another protocol
	}
	buf = buf[serviceUserSize:]
	e.Dest = Destination{
		DestKey: DestKey{Addr: netip.AddrFrom4([4]byte(buf[:4])), Port: binary.BigEndian.Uint16(buf[4:])},
		Method:  methodOf(ne.Uint32(buf[8:])), Weight: int(int32(ne.Uint32(buf[12:]))),
		Upper: ne.Uint32(buf[16:]), Lower: ne.Uint32(buf[20:]),
	}
	return a.kernel.make(e)
}

// TestQuick: the older way is taken where it says all, and only there.
func TestQuick(t *testing.T) {
	ctx := context.Background()
	rules := []struct {
		rules string
		quick bool
	}{
		{"-A -t 192.0.2.1:80\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 3\n-a -t 192.0.2.1:80 -r 10.0.0.2:8080 -m -x 9 -y 5", true},
		{"-A -t 192.0.2.2:80", true},
		{"-A -f 7\n-a -f 7 -r 10.0.0.1:0 -g", true},
		{"-A -f 8 -6\n-a -f 8 -6 -r [2001:db8::a]:0 -g", false},
		{"-A -t [2001:db8::1]:80\n-a -t [2001:db8::1]:80 -r [2001:db8::a]:80 -g", false},
		{"-A -u 192.0.2.1:53\n-a -u 192.0.2.1:53 -r 10.0.0.1:53 -i", false},
		{"-A -u 192.0.2.1:54\n-a -u 192.0.2.1:54 -r [2001:db8::a]:54 -i\n-a -u 192.0.2.1:54 -r 10.0.0.1:54 -m", false},
	}
	for _, r := range rules {
		services, err := ParseRules([]byte(r.rules))
		if err != nil {
			t.Fatal(err)
		}
		k := &fakeKernel{table: &Memory{Services: services}}
		both := fake(k)
		got, err := both.Dump(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if (k.dumps == 0) != r.quick || k.dumps > 1 {
			t.Errorf("%d lists by netlink, %d by getsockopt, for\n%s", k.dumps, k.asks, r.rules)
		}
		both.sockopt = nil
		want, err := both.Dump(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(Sorted(got), Sorted(want)) {
			t.Errorf("got %+v\nwant %+v", got, want)
		}
	}
}

// A racingSockopt has an old count of each service's real servers.
type racingSockopt struct {
	fakeSockopt
	off int
	err error
}

func (a racingSockopt) get(option int, buf []byte) error {
	if a.err != nil {
		return a.err
	}
	err := a.fakeSockopt.get(option, buf)
	if option == getServices {
		for b := buf[servicesHead:]; len(b) > 0; b = b[serviceEntrySize:] {
			n := binary.NativeEndian.Uint32(b[44:])
			binary.NativeEndian.PutUint32(b[44:], uint32(max(0, int(n)+a.off)))
		}
	}
	return err
}

// TestQuickWhileTheTableChanges: an answer that may leave something out is not
// believed, nor a kernel that does not answer at all.
func TestQuickWhileTheTableChanges(t *testing.T) {
	services, err := ParseRules([]byte("-A -t 192.0.2.1:80\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -g\n-a -t 192.0.2.1:80 -r 10.0.0.2:80 -g\n-a -t 192.0.2.1:80 -r 10.0.0.3:80 -g"))
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []racingSockopt{{off: -3}, {off: -2}, {off: -1}, {off: 1}, {off: 2}, {err: unix.ENOPROTOOPT}, {err: unix.EPERM}} {
		k := &fakeKernel{table: &Memory{Services: services}}
		both := fake(k)
		a.fakeSockopt = fakeSockopt{k}
		both.sockopt = func() (sockopt, error) { return a, nil }
		got, err := both.Dump(context.Background())
		if err != nil || len(got) != 1 || len(got[0].Dests) != 3 || k.dumps != 1 {
			t.Errorf("%d off, %v: %+v, %v; %d lists by netlink", a.off, a.err, got, err, k.dumps)
		}
	}
}

func edits(t *testing.T, lines ...string) []Edit {
	t.Helper()
	var out []Edit
	for _, l := range lines {
		e, _, err := ParseRule(l)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

func TestKernelSendsInBatches(t *testing.T) {
	k := &fakeKernel{table: &Memory{}, noise: true}
	es := edits(t, "-A -t 192.0.2.1:80")
	for i := range maxBatch {
		e, service := es[0], *es[0].Service
		service.Key.Port = uint16(1000 + i)
		e.Service = &service
		es = append(es, e)
	}
	if err := fake(k).Apply(context.Background(), es); err != nil {
		t.Fatal(err)
	}
	if k.sends != 2 || len(k.table.Services) != maxBatch+1 {
		t.Errorf("%d services in %d sends", len(k.table.Services), k.sends)
	}
}

// TestKernelKeepsServers: where a new real server cannot be added, the one
// that it was to replace is still there.
func TestKernelKeepsServers(t *testing.T) {
	k := &fakeKernel{table: &Memory{}}
	ctx := context.Background()
	if err := fake(k).Apply(ctx, edits(t, "-A -t 192.0.2.1:80", "-a -t 192.0.2.1:80 -r 10.0.0.1:80 -g")); err != nil {
		t.Fatal(err)
	}
	for _, last := range []string{"-d -t 192.0.2.1:80 -r 10.0.0.1:80", "-e -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 0", "-D -t 192.0.2.1:80"} {
		err := fake(k).Apply(ctx, edits(t, "-a -t 192.0.2.1:80 -r 224.0.0.1:80 -g", last))
		var failed *EditError
		if !errors.As(err, &failed) || failed.Index != 0 {
			t.Errorf("error %v", err)
		}
		if d := k.table.Services[0].Dests; len(d) != 1 || d[0].Weight != 1 {
			t.Errorf("after %q there is %+v", last, d)
		}
	}
}

// TestQuickEdits: many changes of real servers go the older way where that can
// say them, and come to the same; all else, and few, go by netlink.
func TestQuickEdits(t *testing.T) {
	ctx := context.Background()
	const service = "-t 192.0.2.1:80"
	var rules, change []string
	rules = append(rules, "-A "+service, "-A -f 7", "-A -t [2001:db8::1]:80")
	for i := range 10 {
		for _, r := range []string{service + " -r 10.0.0.%d:80 -m -w 5", "-f 7 -r 10.0.0.%d:80 -m -w 5", "-t [2001:db8::1]:80 -r [2001:db8::%d]:80 -m -w 5"} {
			rules = append(rules, fmt.Sprintf("-a "+r, i+1))
			change = append(change, fmt.Sprintf("-e "+strings.Replace(r, "-w 5", "-w 70000 -x 9 -y 3", 1), i+1))
		}
	}
	slices.Sort(change)
	few := edits(t, change...)
	var tunnels []Edit
	for _, e := range few {
		e.Dest.Method = TUN
		tunnels = append(tunnels, e)
	}
	for _, c := range []struct {
		name  string
		edits []Edit
		sets  int
	}{
		{"ten of a service, a mark's and those of IPv6", few, 10},
		{"tunnels", tunnels, 0},
		{"few", few[len(few)-worthwhile+1:], 0},
	} {
		var tables [2][]Service
		for i := range tables {
			k := &fakeKernel{table: &Memory{}}
			table := fake(k)
			if i == 1 {
				table.sockopt = nil
			}
			if err := table.Apply(ctx, edits(t, rules...)); err != nil {
				t.Fatal(err)
			}
			if err := table.Apply(ctx, c.edits); err != nil {
				t.Fatal(err)
			}
			if want := []int{c.sets, 0}[i]; k.sets != want {
				t.Errorf("%s: %d edits by setsockopt, want %d", c.name, k.sets, want)
			}
			tables[i] = k.table.Services
		}
		if !reflect.DeepEqual(tables[0], tables[1]) {
			t.Errorf("%s: it comes to\n%s\nand by netlink to\n%s", c.name, Format(tables[0]), Format(tables[1]))
		}
	}
}

// TestQuickEditsFail: the first that the kernel does not take is named, in the
// same words as by netlink, and those behind it have not been made.
func TestQuickEditsFail(t *testing.T) {
	ctx := context.Background()
	for _, bad := range []string{
		"-e -t 192.0.2.1:80 -r 10.0.0.99:80 -m -w 2", // no such real server
		"-e -t 192.0.2.9:80 -r 10.0.0.1:80 -m -w 2",  // no such service
		"-e -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 2 -x 1 -y 2",
	} {
		var texts [2]string
		for i := range texts {
			k := &fakeKernel{table: &Memory{}}
			table := fake(k)
			if i == 1 {
				table.sockopt = nil
			}
			rules, change := []string{"-A -t 192.0.2.1:80"}, []string{}
			for n := range 20 {
				rules = append(rules, fmt.Sprintf("-a -t 192.0.2.1:80 -r 10.0.0.%d:80 -m -w 1", n+1))
				change = append(change, fmt.Sprintf("-e -t 192.0.2.1:80 -r 10.0.0.%d:80 -m -w 2", n+1))
			}
			change[12] = bad
			if err := table.Apply(ctx, edits(t, rules...)); err != nil {
				t.Fatal(err)
			}
			err := table.Apply(ctx, edits(t, change...))
			var failed *EditError
			if !errors.As(err, &failed) || failed.Index != 12 {
				t.Fatalf("%s: error %v", bad, err)
			}
			texts[i] = err.Error()
			if i == 1 {
				continue
			}
			for n, d := range k.table.Services[0].Dests {
				if made := d.Weight == 2; made != (n < 12) {
					t.Errorf("%s: real server %d has weight %d", bad, n, d.Weight)
				}
			}
		}
		if texts[0] != texts[1] {
			t.Errorf("%q, by netlink %q", texts[0], texts[1])
		}
	}
}

func TestKernelWithoutIPVS(t *testing.T) {
	k := &fakeKernel{table: &Memory{}, absent: true}
	got, err := fake(k).Dump(context.Background())
	if err != nil || len(got) != 0 {
		t.Errorf("dump: %v, %v", got, err)
	}
	k.absent = false
	if _, err := fake(k).Dump(context.Background()); err != nil {
		t.Error(err)
	}
	if k.loads != 0 {
		t.Error("a look loads ip_vs")
	}
}

func TestKernelThatDoesNotAnswer(t *testing.T) {
	k := fake(&fakeKernel{table: &Memory{}, mute: true})
	err := k.Apply(context.Background(), edits(t, "-A -t 192.0.2.1:80"))
	if err == nil || !strings.Contains(err.Error(), "did not answer") {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := fake(&fakeKernel{table: &Memory{}}).Dump(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// TestWire holds the bytes of one of each kind of request to those that
// include/uapi/linux/ip_vs.h and netlink(7) ask for, on a machine that stores
// the low byte first.
func TestWire(t *testing.T) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Fatal("the golden bytes are of a little-endian machine")
	}
	es := edits(t,
		"-A -t 192.0.2.1:80 -s wlc -p 300 -M 255.255.255.0",
		"-a -t [2001:db8::1]:80 -r 10.0.0.1:80 -i -w 70000 --tun-type gue --tun-port 6080 --tun-csum",
		"-D -f 7 -6")
	want := []string{`
5c000000 2000 0100 01000000 00000000 01 01 0000
4800 0100
 0600 0100 0200 0000
 0600 0200 0600 0000
 0800 0300 c0000201
 0600 0400 0050 0000
 0800 0600 776c6300
 0c00 0700 01000000 ffffffff
 0800 0800 2c010000
 0800 0900 ffffff00`, `
98000000 2000 0100 01000000 00000000 05 01 0000
3000 0100
 0600 0100 0a00 0000
 0600 0200 0600 0000
 1400 0300 20010db8000000000000000000000001
 0600 0400 0050 0000
5400 0200
 0800 0100 0a000001
 0600 0200 0050 0000
 0600 0b00 0200 0000
 0800 0300 02000000
 0800 0400 70110100
 0800 0500 00000000
 0800 0600 00000000
 0500 0d00 01 000000
 0600 0e00 17c0 0000
 0600 0f00 0100 0000`, `
28000000 2000 0100 01000000 00000000 03 01 0000
1400 0100
 0600 0100 0a00 0000
 0800 0500 07000000`}
	for i, e := range es {
		var golden []byte
		for _, w := range strings.Fields(want[i]) {
			for ; w != ""; w = w[2:] {
				golden = append(golden, unhex(w[0])<<4|unhex(w[1]))
			}
		}
		if got := editMessage(0x20, e); string(got) != string(golden) {
			t.Errorf("%s\n got %x\nwant %x", e.Rule(), got, golden)
		}
	}
}

func editMessage(family uint16, e Edit) []byte {
	var w writer
	w.edit(family, 1, 0, &e)
	return w.b
}

func unhex(c byte) byte {
	if c >= 'a' {
		return c - 'a' + 10
	}
	return c - '0'
}

// FuzzAnswers: nothing that arrives makes the decoder read out of bounds.
func FuzzAnswers(f *testing.F) {
	for _, e := range []Edit{
		{Verb: AddService, Service: &Service{Key: Key{Mark: 7}, Scheduler: "rr"}},
	} {
		f.Add(editMessage(fakeFamily, e))
	}
	var w writer
	w.family(1, true)
	f.Add(w.b)
	f.Fuzz(func(t *testing.T, b []byte) {
		for len(b) > 0 {
			m, rest, err := nextMessage(b)
			if err != nil {
				return
			}
			_ = m.errno()
			_, _, _ = decodeFamily(m.body)
			if nested, err := firstAttr(m.body); err == nil {
				_, _ = decodeService(nested)
				_, _ = decodeDest(nested, true)
				_, _ = decodeCounts(nested)
			}
			if len(rest) >= len(b) {
				t.Fatal("no end")
			}
			b = rest
		}
	})
}

// OwnNamespace gives the test a network namespace of its own, so that its
// table is nobody's. The thread is never given back: it ends with the test.
func OwnNamespace(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatalf("make a network namespace: %v", err)
	}
	// Without any address of its own a namespace takes no address for
	// unicast (inet_addr_type), so the loopback comes up.
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		t.Fatal(err)
	}
	lo.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		t.Fatalf("bring up lo: %v", err)
	}
}

// HasIPVS says whether the running kernel has IPVS loaded, and may be edited.
// Where LVSFLEET_REAL_KERNEL is set it must.
func HasIPVS(t *testing.T) bool {
	t.Helper()
	c, err := (&kernel{open: openGenl}).dial(context.Background(), false)
	switch {
	case err == nil:
		_ = c.close()
	case !errors.Is(err, unix.ENOENT):
		t.Fatal(err)
	}
	has := err == nil && os.Geteuid() == 0
	if !has && os.Getenv("LVSFLEET_REAL_KERNEL") != "" {
		t.Fatal("NOT RUN: this kernel has no ip_vs, or this is not root")
	}
	return has
}

// QuickReads counts the services of the running kernel that getsockopt reads
// whole.
func QuickReads(t *testing.T, services []Service) (n int) {
	t.Helper()
	var q quick
	q.list(&kernel{sockopt: openSockopt})
	defer q.close()
	for _, s := range services {
		s.Dests = nil
		if q.dests(&s, &slab{}) {
			n++
		}
	}
	return n
}
