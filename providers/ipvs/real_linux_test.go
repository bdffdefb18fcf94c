package ipvs_test

import (
	"context"
	"os/exec"
	"reflect"
	"testing"

	moby "github.com/moby/ipvs"

	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
	"github.com/lvsfleet/lvsfleet/providers/ipvs/ipvstest"
)

func TestFakeKernel(t *testing.T) {
	ipvstest.Run(t, ipvstest.Lacks{}, func(*testing.T) ipvs.Table { return ipvs.NewFakeKernel() })
	t.Run("netlink alone", func(t *testing.T) {
		ipvstest.Run(t, ipvstest.Lacks{}, func(*testing.T) ipvs.Table { return ipvs.NewFakeNetlink() })
	})
}

// bothWays reads one table by netlink alone, and by getsockopt where that says
// all.
func bothWays(t *testing.T) {
	ipvs.OwnNamespace(t)
	ctx := context.Background()
	services := append(ipvstest.Rules(t, ipvstest.Everything+ipvstest.Families+ipvstest.Tunnels), ipvstest.Large(100, 30)...)
	var want []ipvs.Want
	for _, s := range services {
		want = append(want, ipvs.Want{Service: s})
	}
	edits, _ := ipvs.Diff(nil, want)
	if err := ipvs.NewKernel().Apply(ctx, edits); err != nil {
		t.Fatal(err)
	}
	quick, err := ipvs.NewKernel().Dump(ctx)
	if err != nil {
		t.Fatal(err)
	}
	long, err := ipvs.NewNetlink().Dump(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(long) != len(services) || !reflect.DeepEqual(ipvs.Sorted(quick), ipvs.Sorted(long)) {
		t.Errorf("netlink reads\n%s\nand with getsockopt it is\n%s", ipvs.Format(ipvs.Sorted(long)), ipvs.Format(ipvs.Sorted(quick)))
	}
	if n := ipvs.QuickReads(t, long); n < 100 {
		t.Errorf("getsockopt read %d services", n)
	}
}

// TestRunningKernel tries the netlink table, and the real ipvsadm, on the
// kernel that runs the test, in network namespaces of its own. A kernel
// without ip_vs has only the empty table to show.
func TestRunningKernel(t *testing.T) {
	if !ipvs.HasIPVS(t) {
		got, err := ipvs.NewKernel().Dump(context.Background())
		if err != nil || len(got) != 0 {
			t.Errorf("a kernel without IPVS: %v, %v", got, err)
		}
		t.Log("this kernel has no ip_vs (or this is not root): only its empty table was tried")
		return
	}
	for name, open := range map[string]func() ipvs.Table{"netlink and getsockopt": ipvs.NewKernel, "netlink": ipvs.NewNetlink} {
		t.Run(name, func(t *testing.T) {
			ipvstest.Run(t, ipvstest.Lacks{}, func(t *testing.T) ipvs.Table {
				ipvs.OwnNamespace(t)
				return open()
			})
		})
	}
	t.Run("both ways read the same", bothWays)
	t.Run("read by moby/ipvs", func(t *testing.T) {
		ipvs.OwnNamespace(t)
		large := ipvstest.Large(3, 700)
		var want []ipvs.Want
		for _, s := range large {
			want = append(want, ipvs.Want{Service: s})
		}
		edits, _ := ipvs.Diff(nil, want)
		if err := ipvs.NewKernel().Apply(context.Background(), edits); err != nil {
			t.Fatal(err)
		}
		h, err := moby.New("")
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		services, err := h.GetServices()
		if err != nil || len(services) != 3 {
			t.Fatalf("%d services, %v", len(services), err)
		}
		dests, err := h.GetDestinations(services[0])
		if err != nil || len(dests) != 700 {
			t.Fatalf("%d real servers, %v", len(dests), err)
		}
	})
	if _, err := exec.LookPath("ipvsadm"); err != nil {
		t.Log("there is no ipvsadm here")
		return
	}
	t.Run("ipvsadm", func(t *testing.T) {
		ipvstest.Run(t, ipvstest.Lacks{}, func(t *testing.T) ipvs.Table {
			ipvs.OwnNamespace(t) // a child runs in that of the thread that starts it
			return ipvs.NewTool(&host.Local{})
		})
	})
}
