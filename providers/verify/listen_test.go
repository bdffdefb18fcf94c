package verify

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const procTCP = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 17463 1 0000000000000000 100 0 0 10 0
   1: C800A8C0:01BB 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 17464 1 0000000000000000 100 0 0 10 0
   2: A000A8C0:0050 3200A8C0:D2A6 01 00000000:00000000 00:00000000 00000000     0        0 17465 1 0000000000000000 20 4 30 10 -1
`

const procTCP6 = `  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 17463
   1: B80D0120000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 17464
`

const freebsdAn = `Active Internet connections (including servers)
Proto Recv-Q Send-Q Local Address          Foreign Address        (state)
tcp4       0      0 192.168.0.170.22       192.168.0.50.53222     ESTABLISHED
tcp4       0      0 *.80                   *.*                    LISTEN
tcp46      0      0 *.443                  *.*                    LISTEN
tcp6       0      0 2001:db8::1.8080       *.*                    LISTEN
udp4       0      0 127.0.0.1.123          *.*
udp6       0      0 fe80::1%em0.123        *.*
udp4       0      0 192.168.0.170.5000     192.168.0.1.53
Netgraph sockets
Type  Recv-Q Send-Q Node Address   #Hooks
ctrl       0      0 ngctl1234: 0
`

const solarisAn = `
UDP: IPv4
   Local Address        Remote Address      State
-------------------- -------------------- ----------
      *.53                                  Idle
192.168.0.180.123                           Idle
      *.*                                   Unbound
192.168.0.180.32771  192.168.0.1.53         Connected

TCP: IPv4
   Local Address        Remote Address    Swind Send-Q Rwind Recv-Q    State
-------------------- -------------------- ----- ------ ----- ------ -----------
      *.*                  *.*                0      0 49152      0 IDLE
      *.80                 *.*                0      0 49152      0 LISTEN
192.168.0.200.443          *.*                0      0 49152      0 LISTEN
192.168.0.180.22     192.168.0.50.1023     8192      0 49640      0 ESTABLISHED

TCP: IPv6
   Local Address                     Remote Address                 Swind Send-Q Rwind Recv-Q   State      If
--------------------------------- --------------------------------- ----- ------ ----- ------ ----------- -----
      *.8080                            *.*                             0      0 49152      0 LISTEN

Active UNIX domain sockets
Address  Type          Vnode     Conn  Local Addr      Remote Addr
3000138f8 stream-ord 30001399980 00000000 /var/run/.inetd.uds
`

var compareAddr = cmpopts.EquateComparable(netip.Addr{})

func TestListenersAreRead(t *testing.T) {
	addr := netip.MustParseAddr
	for name, c := range map[string]struct {
		got, want []Socket
	}{
		"tcp": {parseProcNet("tcp", procTCP), []Socket{
			{Protocol: "tcp", Port: 80, V4: true},
			{Protocol: "tcp", Addr: addr("192.168.0.200"), Port: 443, V4: true},
		}},
		"tcp6": {parseProcNet("tcp", procTCP6), []Socket{
			{Protocol: "tcp", Port: 8080, V4: true, V6: true},
			{Protocol: "tcp", Addr: addr("2001:db8::1"), Port: 80, V6: true},
		}},
		"sctp": {parseSCTPEndpoints(" ENDPT     SOCK   STY SST HBKT LPORT   UID INODE LADDRS\n" +
			"ffff8800 ffff8801 2   10  29   3868      0 18533 0.0.0.0 \n" +
			"ffff8802 ffff8803 2   7   30   3869      0 18534 10.0.0.1\n"), []Socket{{Protocol: "sctp", Port: 3868, V4: true}}},
		"freebsd": {parseNetstat(freebsdAn), []Socket{
			{Protocol: "tcp", Port: 80, V4: true},
			{Protocol: "tcp", Port: 443, V4: true, V6: true},
			{Protocol: "tcp", Addr: addr("2001:db8::1"), Port: 8080, V6: true},
			{Protocol: "udp", Addr: addr("127.0.0.1"), Port: 123, V4: true},
			{Protocol: "udp", Addr: addr("fe80::1"), Port: 123, V6: true},
		}},
		"solaris": {parseNetstat(solarisAn), []Socket{
			{Protocol: "udp", Port: 53, V4: true},
			{Protocol: "udp", Addr: addr("192.168.0.180"), Port: 123, V4: true},
			{Protocol: "tcp", Port: 80, V4: true},
			{Protocol: "tcp", Addr: addr("192.168.0.200"), Port: 443, V4: true},
			{Protocol: "tcp", Port: 8080, V4: true, V6: true},
		}},
	} {
		if diff := cmp.Diff(c.want, c.got, compareAddr); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestAccepts(t *testing.T) {
	vip, rip, six := netip.MustParseAddr("192.168.0.200"), netip.MustParseAddr("192.168.0.170"), netip.MustParseAddr("2001:db8::200")
	all := Socket{Protocol: "tcp", Port: 80, V4: true}
	own := Socket{Protocol: "tcp", Addr: rip, Port: 80, V4: true}
	for _, c := range []struct {
		s     Socket
		proto string
		addr  netip.Addr
		port  int
		want  bool
	}{
		{all, "tcp", vip, 80, true},
		{all, "tcp", vip, 81, false},
		{all, "udp", vip, 80, false},
		{all, "tcp", six, 80, false},
		{own, "tcp", vip, 80, false}, // who binds to the RIP alone serves no DR client
		{own, "tcp", rip, 80, true},
		{Socket{Protocol: "tcp", Port: 80, V6: true}, "tcp", six, 80, true},
		{Socket{Protocol: "tcp", Port: 80, V6: true}, "tcp", vip, 80, false},
	} {
		if got := c.s.Accepts(c.proto, c.addr, c.port); got != c.want {
			t.Errorf("%+v, %s %s %d: %v", c.s, c.proto, c.addr, c.port, got)
		}
	}
}

func FuzzProcNet(f *testing.F) {
	f.Add("tcp", procTCP)
	f.Add("udp", procTCP6)
	f.Add("tcp", "0: :: 0 0A\n")
	f.Fuzz(func(t *testing.T, protocol, text string) {
		for _, s := range parseProcNet(protocol, text) {
			held(t, s)
		}
		for _, s := range parseSCTPEndpoints(text) {
			held(t, s)
		}
	})
}

func FuzzNetstat(f *testing.F) {
	f.Add(freebsdAn)
	f.Add(solarisAn)
	f.Add("TCP: IPv4\n.\n*.\n*.x LISTEN\n:\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, s := range parseNetstat(text) {
			held(t, s)
		}
	})
}

// held says what every socket that was read must be.
func held(t *testing.T, s Socket) {
	t.Helper()
	if s.Port < 0 || s.Port > 65535 || s.Addr.IsValid() && s.Addr.Zone() != "" || s.Addr.Is4In6() {
		t.Errorf("%+v", s)
	}
}
