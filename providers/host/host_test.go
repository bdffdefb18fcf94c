package host_test

import (
	"context"
	"errors"
	"testing"

	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/host/hosttest"
)

func TestIdentify(t *testing.T) {
	tests := []struct {
		uname string
		want  host.Identity
	}{
		{"Linux 2.6.15-1.2054_FC5 #1 Tue Mar 14 15:48:33 EST 2006 i686\n", host.Identity{OS: host.Linux, Release: "2.6.15-1.2054_FC5", Machine: "i686"}},
		// transcripts of FreeBSD 13.2: `uname -s -r -m -p -i -v` prints in uname(1)'s own order
		{"FreeBSD 13.2-RELEASE FreeBSD 13.2-RELEASE LVSVM amd64\n", host.Identity{OS: host.FreeBSD, Release: "13.2-RELEASE", Machine: "amd64"}},
		{"SunOS 5.10 Generic_127128-11 i86pc\n", host.Identity{OS: host.Solaris, Release: "5.10", Machine: "i86pc"}},
		{"SunOS 5.11 illumos-0d1a2b3c4d i86pc\n", host.Identity{OS: host.Solaris, Illumos: true, Release: "5.11", Machine: "i86pc"}},
		{"SunOS 5.11 omnios-r151050-b1c2d3e4f5 i86pc\n", host.Identity{OS: host.Solaris, Illumos: true, Release: "5.11", Machine: "i86pc"}},
		{"SunOS 5.11 11.4.0.15.0 i86pc\n", host.Identity{OS: host.Solaris, Release: "5.11", Machine: "i86pc"}},
	}
	for _, tt := range tests {
		h := &hosttest.Canned{Runs: map[string]host.Result{"uname -s -r -m -v": hosttest.Text(tt.uname)}}
		got, err := host.Identify(context.Background(), h)
		if err != nil || got != tt.want {
			t.Errorf("%q: %+v, %v", tt.uname, got, err)
		}
	}
	for _, bad := range []string{"", "Linux\n", "OpenBSD 7.5 GENERIC#82 amd64\n", "This account is currently not available.\n"} {
		h := &hosttest.Canned{Runs: map[string]host.Result{"uname -s -r -m -v": hosttest.Text(bad)}}
		if id, err := host.Identify(context.Background(), h); err == nil {
			t.Errorf("%q: %+v", bad, id)
		}
	}
}

func TestOlder(t *testing.T) {
	tests := []struct {
		release             string
		major, minor, patch int
		want                bool
	}{
		{"2.6.15", 2, 6, 31, true},
		{"2.6.31-5.el6", 2, 6, 31, false},
		{"5.4-RELEASE", 10, 0, 0, true},
		{"14.1-RELEASE-p5", 14, 0, 0, false},
		{"6.12.0", 3, 2, 0, false},
		{"3", 3, 2, 0, true},
		{"99999999999999999999.1", 3, 2, 0, false},
	}
	for _, tt := range tests {
		if got := host.Older(tt.release, tt.major, tt.minor, tt.patch); got != tt.want {
			t.Errorf("Older(%q, %d, %d, %d) = %v", tt.release, tt.major, tt.minor, tt.patch, got)
		}
	}
}

func TestTempNamesAreSeenByNoBootScript(t *testing.T) {
	name := host.TempName("/etc/hostname.lo0:1")
	if name[:len("/etc/.lvsfleet-")] != "/etc/.lvsfleet-" || !host.IsTemp(name[len("/etc/"):]) {
		t.Errorf("TempName gave %q", name)
	}
	for _, other := range []string{".lvsfleet-.tmp", ".lvsfleet-0123456g.tmp", ".lvsfleet-01234567.tmp2", "lvsfleet-01234567.tmp", ".lvsfleet-012345678.tmp"} {
		if host.IsTemp(other) {
			t.Errorf("%q passes for ours", other)
		}
	}
}

func TestCacheAsksOnceUntilSomethingChanges(t *testing.T) {
	ctx := context.Background()
	h := &hosttest.Canned{
		Runs:  map[string]host.Result{"ip addr": hosttest.Text("x"), "ip link set up": hosttest.Text("")},
		Files: map[string]host.File{"/f": hosttest.Regular("1")},
	}
	c := host.NewCache(h)
	ask := func() {
		for range 3 {
			if _, err := host.Query(ctx, c, "ip", "addr"); err != nil {
				t.Fatal(err)
			}
			if _, err := c.ReadFile(ctx, "/f"); err != nil {
				t.Fatal(err)
			}
		}
	}
	ask()
	if len(h.Log) != 1 {
		t.Errorf("three checks ran %q", h.Log)
	}
	h.Files["/f"] = hosttest.Regular("2")
	if f, _ := c.ReadFile(ctx, "/f"); string(f.Data) != "1" {
		t.Errorf("the file was read again: %q", f.Data)
	}
	if _, err := c.Run(ctx, host.Cmd{Argv: []string{"ip", "link", "set", "up"}}); err != nil {
		t.Fatal(err)
	}
	ask()
	if len(h.Log) != 3 {
		t.Errorf("after a change the checks ran %q", h.Log)
	}
	if f, _ := c.ReadFile(ctx, "/f"); string(f.Data) != "2" {
		t.Errorf("the file was not read again: %q", f.Data)
	}
	// An answer that never came is no answer to remember.
	gone, cancel := context.WithCancel(ctx)
	cancel()
	_, _ = host.Query(gone, c, "nosuch")
	if _, err := host.Query(ctx, c, "nosuch"); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled question was remembered: %v", err)
	}
}
