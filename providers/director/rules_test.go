package director

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lvsfleet/lvsfleet/providers/ipvs"
)

func wants(t testing.TB, text string) []ipvs.Want {
	t.Helper()
	services, err := ipvs.ParseRules([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var w []ipvs.Want
	for _, s := range services {
		w = append(w, ipvs.Want{Service: s})
	}
	return w
}

const shop = `-A -t 192.0.2.1:80 -s wlc
-a -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 1
-a -t 192.0.2.1:80 -r 10.0.0.2:80 -g -w 1
`

func TestEditRules(t *testing.T) {
	tests := []struct {
		name, old, want, new string
		gone                 bool
	}{
		{name: "no file", want: shop, new: shop},
		{name: "no newline at the end", old: "-A -f 9 -s rr", want: shop, new: "-A -f 9 -s rr\n" + shop},
		{
			name: "lines that contradict each other are written once",
			old: `-A -t 192.0.2.1:80 -s rr
-E -t 192.0.2.1:80 -s sh
# between
-a -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 1
`,
			want: shop,
			new:  shop + "# between\n",
		},
		{
			name: "what is flushed later does not count",
			old:  shop + "-C\n",
			want: shop,
			new:  shop + "-C\n" + shop,
		},
		{
			name: "a real server whose service comes later is no real server",
			old: `-a -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 1
-A -t 192.0.2.1:80 -s wlc
-a -t 192.0.2.1:80 -r 10.0.0.2:80 -g -w 1
`,
			want: shop,
			new:  shop,
		},
		{
			name: "a service that must go takes its lines along",
			old:  "# one\n" + shop + "# two",
			want: shop, gone: true,
			new: "# one\n# two",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := wants(t, tt.want)
			w[0].Gone = tt.gone
			var old []byte
			if tt.old != "" {
				old = []byte(tt.old)
			}
			if d := cmp.Diff(tt.new, string(editRules(old, w))); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

// FuzzEditRules: whatever the file says, afterwards it makes the services as
// they are wanted, a second look changes nothing, and no line of others is
// touched.
func FuzzEditRules(f *testing.F) {
	f.Add([]byte(shop))
	f.Add([]byte("# x\n-A -t 192.0.2.1:http -s wlc\n-a -t 192.0.2.1:80 -r 10.0.0.9 -m\n-C\n-A -f 9\n-a -f 9 -r 10.0.0.1"))
	f.Add([]byte("-A -t 192.0.2.1:80\n-D -t 192.0.2.1:80\n-A -t 192.0.2.1:80\n-a -t 192.0.2.1:80 -r 10.0.0.1\n-e -t 192.0.2.1:80 -r 10.0.0.1 -w 5"))
	f.Add([]byte("ipvsadm -C # all\nnonsense\n\n"))
	f.Fuzz(func(t *testing.T, old []byte) {
		w := wants(t, shop)
		got := editRules(old, w)
		if edits, _ := ipvs.Diff(loaded(readRules(got)), w); len(edits) != 0 {
			t.Fatalf("%q became %q, which still lacks %v", old, got, edits)
		}
		if again := editRules(got, w); string(again) != string(got) {
			t.Fatalf("%q became %q and then %q", old, got, again)
		}
		others := func(text []byte) (list []string) {
			for _, l := range readRules(text) {
				if !l.rule || l.past || l.edit.Service.Key != w[0].Key {
					list = append(list, strings.TrimSuffix(l.text, "\n"))
				}
			}
			return list
		}
		if a, b := others(old), others(got); !slices.Equal(a, b) {
			t.Fatalf("lines of others: %q became %q", a, b)
		}
	})
}

func TestAssign(t *testing.T) {
	for old, want := range map[string]string{
		"":                             "AUTO=\"true\"\n",
		"X=1":                          "X=1\nAUTO=\"true\"\n",
		"AUTO=true\n":                  "AUTO=true\n",
		"AUTO='true' # yes\n":          "AUTO='true' # yes\n",
		"  export AUTO=false; X=1\n":   "  export AUTO=\"true\"; X=1\n",
		"# AUTO=true\nAUTOMATIC=no\n":  "# AUTO=true\nAUTOMATIC=no\nAUTO=\"true\"\n",
		"AUTO=true\nAUTO=false\n":      "AUTO=true\nAUTO=\"true\"\n",
		"AUTO=\nX=2\n":                 "AUTO=\"true\"\nX=2\n",
		"AUTO=\"false\t# not closed\n": "AUTO=\"true\"\n",
	} {
		got, err := assign("AUTO", "true")([]byte(old))
		if err != nil || string(got) != want {
			t.Errorf("%q became %q (%v), want %q", old, got, err, want)
		}
	}
}

func FuzzAssign(f *testing.F) {
	f.Add("AUTO=\"false\" # x\n")
	f.Add("export AUTO='")
	f.Fuzz(func(t *testing.T, old string) {
		got, err := assign("AUTO", "true")([]byte(old))
		if err != nil {
			t.Fatal(err)
		}
		again, _ := assign("AUTO", "true")(got)
		if string(again) != string(got) {
			t.Fatalf("%q became %q and then %q", old, got, again)
		}
	})
}

// A rules file is given back as a table: what saved the live table over it has
// changed order and spelling, and lost comments.
func TestRulesAreGivenBack(t *testing.T) {
	const orig = "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 192.0.2.9:80 -g -w 7\n"
	taken := []ipvs.Taken{{Key: keyOf(t, "-A -t 192.0.2.1:80 -s rr")}, {Key: keyOf(t, "-A -t 192.0.2.2:80 -s rr")}}
	for _, s := range Rules([]byte(orig)) {
		taken[0].Boot = &s
	}
	const now = "-A -u 192.0.2.3:53 -s wlc\n" +
		"-A -t 192.0.2.2:80 -s wlc\n-a -t 192.0.2.2:80 -r 192.0.2.8:80 -g -w 1\n" +
		"-A -t 192.0.2.1:80 -s wlc\n-a -t 192.0.2.1:80 -r 192.0.2.8:80 -g -w 1\n"
	const want = "-A -u 192.0.2.3:53 -s wlc\n" + orig
	if got := string(GiveBack([]byte(now), []byte(orig), taken)); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	mine := "-A -t 192.0.2.2:80 -s wlc\n-a -t 192.0.2.2:80 -r 192.0.2.8:80 -g -w 1\n"
	if got := GiveBack([]byte(mine), nil, taken[1:]); got != nil {
		t.Errorf("of a file that was not there: %q", got)
	}
	if got := GiveBack(nil, []byte(orig), taken); got != nil {
		t.Errorf("of a file that somebody took away: %q", got)
	}
}

func keyOf(t *testing.T, rule string) ipvs.Key {
	t.Helper()
	e, ok, err := ipvs.ParseRule(rule)
	if err != nil || !ok {
		t.Fatal(rule, err)
	}
	return e.Service.Key
}
