package ipvs_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lvsfleet/lvsfleet/providers/ipvs"
	"github.com/lvsfleet/lvsfleet/providers/ipvs/ipvstest"
)

// TestParse: what people and older versions write comes out in one form.
func TestParse(t *testing.T) {
	tests := []struct{ in, out string }{
		{"-A -t 192.0.2.1:80", "-A -t 192.0.2.1:80 -s wlc"},
		{"ipvsadm -A -t 192.0.2.1:http -s rr # the shop", "-A -t 192.0.2.1:80 -s rr"},
		{"-At 192.0.2.1:80 -s rr -p", "-A -t 192.0.2.1:80 -s rr -p 300"},
		{"-A -t192.0.2.1:80 -s=rr -p 60 -M 255.255.255.255", "-A -t 192.0.2.1:80 -s rr -p 60"},
		{"--add-service --tcp-service=192.0.2.1:80 --scheduler rr", "-A -t 192.0.2.1:80 -s rr"},
		{"-A -u 192.0.2.1:53 -s rr ops", "-A -u 192.0.2.1:53 -s rr -o"},
		{"-A -u 192.0.2.1:53 -s rr -p 60 pe sip -o", "-A -u 192.0.2.1:53 -s rr -p 60 --pe sip -o"},
		{"-A -f -1 -s rr", "-A -f 4294967295 -s rr"},
		{"-A -t [2001:db8::1]:80 -s rr -p 60 -M 128", "-A -t [2001:db8::1]:80 -s rr -p 60"},
		{"-A -t 192.0.2.1:80 -b sh-port -s sh", "-A -t 192.0.2.1:80 -s sh -b sh-port"},
		{"-A -t 192.0.2.1:80 -s lblc -b flag-1,flag-3", "-A -t 192.0.2.1:80 -s lblc -b flag-1,flag-3"},
		{"-a -t 192.0.2.1:80 -r 10.0.0.1", "-a -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 1"},
		{"-a -t 192.0.2.1:80 -r 10.0.0.1:8080 -g", "-a -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 1"},
		{"-a -t 192.0.2.1:80 -r 10.0.0.1:8080 -m", "-a -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 1"},
		{"-a -f 7 -r 10.0.0.1 -g", "-a -f 7 -r 10.0.0.1:0 -g -w 1"},
		{"-a -t 192.0.2.1:80 -r 10.0.0.1:80 -i -w 1 --tun-type ipip", "-a -t 192.0.2.1:80 -r 10.0.0.1:80 -i -w 1"},
		{"-d -t 192.0.2.1:80 -r 10.0.0.1:80", "-d -t 192.0.2.1:80 -r 10.0.0.1:80"},
		{"-D -f 7 -6", "-D -f 7 -6"},
		{"", ""},
		{"  # nothing", ""},
	}
	for _, tt := range tests {
		e, ok, err := ipvs.ParseRule(tt.in)
		if err != nil {
			t.Errorf("%s: %v", tt.in, err)
		} else if got := e.Rule(); got != tt.out || ok != (tt.out != "") {
			t.Errorf("%s\n got %s\nwant %s", tt.in, got, tt.out)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for in, says := range map[string]string{
		"-C":                                "-C is not understood",
		"-A":                                "no service is named",
		"-t 192.0.2.1:80":                   "no command",
		"-A -D -t 192.0.2.1:80":             "multiple commands",
		"-A -t 192.0.2.1:80 -u 192.0.2.1:1": "multiple services",
		"-A -t www.example.com:80":          "is not an address",
		"-A -t 192.0.2.1:999999":            "is not a number from 0 to 65535",
		"-A -t 192.0.2.1:80 -s":             "has no value",
		"-A -t 192.0.2.1:80 -s a;b":         "is not a name",
		"-A -t 192.0.2.1:80 -b sh-port":     "incompatible scheduler flag",
		"-A -t [2001:db8::1]:80 -p 5 -M 255.255.255.0":     "is not a number from 1 to 128",
		"-A -t [2001:db8::1 -s rr":                         "no closing bracket",
		"-A -t ::ffff:192.0.2.1":                           "is not an address",
		"-A -f 0":                                          "invalid fwmark",
		"-A -f 4294967296":                                 "invalid fwmark",
		"-6 -A -f 7":                                       "-6 used before -f",
		"-A -t 192.0.2.1:80 -r 10.0.0.1":                   "only to them",
		"-a -t 192.0.2.1:80":                               "only to them",
		"-a -t 192.0.2.1:80 -r 10.0.0.1 -w -1":             "is not a number from 0",
		"-a -t 192.0.2.1:80 -r 10.0.0.1 -g -m":             "multiple forwarding methods",
		"-a -t 192.0.2.1:80 -r 10.0.0.1 -i --tun-type x":   "is not known",
		"-a -t 192.0.2.1:80 -r 10.0.0.1 -i --tun-type gue": "needs --tun-port",
		"-A -t 192.0.2.1:80 extra":                         "is not understood",
		"-A -t 192.0.2.1:80 -s rr -s wlc":                  "given twice",
	} {
		if e, _, err := ipvs.ParseRule(in); err == nil {
			t.Errorf("%s: %s", in, e.Rule())
		} else if !strings.Contains(err.Error(), says) {
			t.Errorf("%s: error %q does not say %q", in, err, says)
		}
	}
}

// TestFormat: the suite's tables are written exactly as they are read.
func TestFormat(t *testing.T) {
	for _, text := range []string{ipvstest.Everything, ipvstest.Families, ipvstest.Tunnels} {
		services := ipvstest.Rules(t, text)
		again := ipvstest.Rules(t, ipvs.Format(services))
		if d := cmp.Diff(ipvs.Sorted(services), again, equal()); d != "" {
			t.Errorf("-written +read:\n%s", d)
		}
	}
	const sorted = `-A -t 192.0.2.1:80 -s wlc -p 300 -M 255.255.255.0 -o -b flag-1
-a -t 192.0.2.1:80 -r 10.0.0.2:80 -g -w 0 -x 9 -y 4
-a -t 192.0.2.1:80 -r 10.0.0.10:80 -m -w 1
-A -u 192.0.2.1:53 -s rr
-A -t [2001:db8::1]:80 -s rr
-A -f 3 -s rr
`
	services := ipvstest.Rules(t, sorted)
	services[0], services[3] = services[3], services[0]
	if d := cmp.Diff(sorted, ipvs.Format(services)); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func FuzzParseRule(f *testing.F) {
	for _, text := range []string{ipvstest.Everything, ipvstest.Families, ipvstest.Tunnels} {
		for line := range strings.Lines(text) {
			f.Add(line)
		}
	}
	f.Add("ipvsadm -At192.0.2.1:http -p -M 1.2.3.4 ops pe sip # x")
	f.Add("--add-server --fwmark-service=-5 -6 -r [::1] -gw7")
	f.Fuzz(func(t *testing.T, line string) {
		e, ok, err := ipvs.ParseRule(line)
		if err != nil || !ok {
			return
		}
		again, ok, err := ipvs.ParseRule(e.Rule())
		if err != nil || !ok {
			t.Fatalf("%q was written as %q: %v", line, e.Rule(), err)
		}
		if d := cmp.Diff(e, again, equal()); d != "" {
			t.Fatalf("%q was written as %q (-read +read again):\n%s", line, e.Rule(), d)
		}
	})
}

func FuzzParseRules(f *testing.F) {
	f.Add([]byte(ipvstest.Everything))
	f.Add([]byte("# only a comment\n\n-A -t 192.0.2.1:80 -s rr"))
	f.Fuzz(func(t *testing.T, text []byte) {
		services, err := ipvs.ParseRules(text)
		if err != nil {
			return
		}
		again, err := ipvs.ParseRules([]byte(ipvs.Format(services)))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(ipvs.Sorted(services), again, equal()); d != "" {
			t.Fatalf("-read +written and read:\n%s", d)
		}
	})
}
