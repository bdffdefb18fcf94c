package state

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/lvsfleet/lvsfleet/inventory"
)

func host(name, addr string) inventory.Host {
	return inventory.Host{
		Name: name, OS: inventory.Linux, Address: addr, SSH: inventory.SSH{User: "op", Port: 22}, Become: "sudo", Connection: "ssh",
		Roles:      []string{"web"},
		Interfaces: []inventory.Interface{{Device: "eth0", Addresses: []netip.Prefix{netip.MustParsePrefix(addr + "/24")}}},
	}
}

func TestHostsAreRemembered(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	h := OpenHosts(dir)
	if got, err := h.Read(); err != nil || len(got) > 0 {
		t.Fatalf("nothing yet: %v %v", got, err)
	}
	if err := h.Remember([]inventory.Host{host("a", "192.0.2.1"), host("b", "192.0.2.2")}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, "hosts.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	got, err := OpenHosts(dir).Read()
	if err != nil || len(got) != 2 {
		t.Fatalf("%v %v", got, err)
	}
	a := got["a"]
	if a.Address != "192.0.2.1" || a.SSH.User != "op" || a.Become != "sudo" || a.Interfaces[0].Addresses[0].String() != "192.0.2.1/24" || len(a.Roles) != 1 || a.Roles[0] != "web" {
		t.Errorf("%+v", a)
	}
	one, renamed := host("a", "192.0.2.1"), host("c", "192.0.2.2")
	for _, tt := range []struct {
		site []*inventory.Host
		want string
	}{
		{[]*inventory.Host{&one}, "b"},
		{[]*inventory.Host{&one, &renamed}, ""}, // it has another name
		{nil, "ab"},
	} {
		names := ""
		for _, d := range Departed(got, &inventory.Site{Hosts: tt.site}) {
			names += d.Name
		}
		if names != tt.want {
			t.Errorf("departed: %q, want %q", names, tt.want)
		}
	}
	if err := h.Forget("b", "nobody"); err != nil {
		t.Fatal(err)
	}
	if got, _ = h.Read(); len(got) != 1 {
		t.Errorf("%v", got)
	}
	if err := os.WriteFile(filepath.Join(dir, "hosts.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Read(); err == nil {
		t.Error("a torn file was read")
	}
	if err := h.Remember([]inventory.Host{one}); err == nil {
		t.Error("a torn file was written over")
	}
}
