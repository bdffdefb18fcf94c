package ipvs_test

import (
	"context"
	"os/exec"
	"testing"

	moby "github.com/moby/ipvs"

	"github.com/lvsfleet/lvsfleet/providers/host"
	"github.com/lvsfleet/lvsfleet/providers/ipvs"
	"github.com/lvsfleet/lvsfleet/providers/ipvs/ipvstest"
)

func TestFakeKernel(t *testing.T) {
	ipvstest.Run(t, ipvstest.Lacks{}, func(*testing.T) ipvs.Table { return ipvs.NewFakeKernel() })
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
	t.Run("netlink", func(t *testing.T) {
		ipvstest.Run(t, ipvstest.Lacks{}, func(t *testing.T) ipvs.Table {
			ipvs.OwnNamespace(t)
			return ipvs.NewKernel()
		})
	})
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
