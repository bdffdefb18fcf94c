package templates

import "testing"

func TestRender(t *testing.T) {
	alias := Values{"Label": "lo:0", "Addr": "192.0.2.1", "Alias": "yes", "Silent": ""}
	got, err := Render("linux/ifcfg-alias.tmpl", alias)
	const want = "# lvsfleet: virtual address of an LVS cluster\nDEVICE=lo:0\nIPADDR=192.0.2.1\nNETMASK=255.255.255.255\n" +
		"PREFIX=32\nONPARENT=yes\nNO_ALIASROUTING=yes\n"
	if err != nil || string(got) != want {
		t.Errorf("%q %v", got, err)
	}
	got, err = Render("linux/modules.tmpl", nil, Values{"Name": "ip_vs"}, Values{"Name": "ipip"})
	if err != nil || string(got) != "#!/bin/sh\n# lvsfleet: modules of an LVS cluster\nmodprobe ip_vs\nmodprobe ipip\n" {
		t.Errorf("%q %v", got, err)
	}
	if got, err := Render("linux/ifcfg-alias.tmpl", Values{"Label": "lo:0"}); err == nil {
		t.Errorf("without a value: %q", got)
	}
	if _, err := Render("linux/none.tmpl", nil); err == nil {
		t.Error("a template that is not there")
	}
}
