package ipvs

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// NewFakeKernel gives the netlink table over a kernel that speaks the protocol
// from memory, for the suite.
func NewFakeKernel() Table {
	k := &fakeKernel{table: &Memory{}}
	return &kernel{open: func() (link, error) { return &fakeLink{kernel: k}, nil }}
}

// NewKernel gives the running kernel's table.
func NewKernel() Table { return &kernel{open: openGenl} }

// A fakeKernel answers as net/netlink/genetlink.c and ip_vs_ctl.c do.
type fakeKernel struct {
	table  *Memory
	sends  int  // datagrams of edits
	loads  int  // questions upon which a kernel loads ip_vs
	absent bool // no ip_vs
	mute   bool // never answers an edit
	noise  bool // answers of somebody else come between
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
		if m.Type == nl.GENL_ID_CTRL {
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
		a := nl.NewRtAttr(nl.GENL_CTRL_ATTR_FAMILY_ID, nl.Uint16Attr(id)).Serialize()
		b := nl.NewRtAttr(nl.GENL_CTRL_ATTR_FAMILY_NAME, nl.ZeroTerminated(name)).Serialize()
		l.put(nl.GENL_ID_CTRL, seq, slices.Concat(make([]byte, 4), a, b))
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
	family(nl.GENL_ID_CTRL, "nlctrl")
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
			l.put(fakeFamily, m.Seq, append(make([]byte, 4), encodeService(s, true).Serialize()...))
		}
	case cmdGetDest:
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
					l.put(fakeFamily, m.Seq, append(make([]byte, 4), encodeDest(d, true).Serialize()...))
				}
			}
		}
	}
	l.put(unix.NLMSG_DONE, m.Seq, make([]byte, 4))
	return nil
}

func (l *fakeLink) edit(m message) syscall.Errno {
	verb := map[byte]Verb{
		cmdNewService: AddService, cmdSetService: EditService, cmdDelService: DeleteService,
		cmdNewDest: AddDest, cmdSetDest: EditDest, cmdDelDest: DeleteDest,
	}[m.body[0]]
	e := Edit{Verb: verb}
	err := eachAttr(m.body[nl.SizeofGenlmsg:], func(kind uint16, v []byte) (err error) {
		if kind == attrService {
			e.Service, err = decodeService(v)
		} else {
			e.Dest, err = decodeDest(v, e.Service.Key.IPv6())
		}
		return err
	})
	if err != nil {
		return unix.EINVAL
	}
	err = l.kernel.table.Apply(context.Background(), []Edit{e})
	var errno syscall.Errno
	if err != nil && !errors.As(err, &errno) {
		errno = unix.EINVAL
	}
	return errno
}

func fake(k *fakeKernel) *kernel {
	return &kernel{open: func() (link, error) { return &fakeLink{kernel: k}, nil }}
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
		e := es[0]
		e.Service.Key.Port = uint16(1000 + i)
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
		if got := editRequest(0x20, 1, 0, e); string(got) != string(golden) {
			t.Errorf("%s\n got %x\nwant %x", e.Rule(), got, golden)
		}
	}
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
		{Verb: AddService, Service: Service{Key: Key{Mark: 7}, Scheduler: "rr"}},
	} {
		f.Add(editRequest(fakeFamily, 1, 0, e))
	}
	f.Add(familyRequest(1, true))
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
func HasIPVS(t *testing.T) bool {
	t.Helper()
	c, err := (&kernel{open: openGenl}).dial(context.Background(), false)
	if errors.Is(err, unix.ENOENT) {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	_ = c.close()
	return os.Geteuid() == 0
}
