package policy_test

import (
	"net"
	"strings"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/policy"
)

func TestNormalizeHost(t *testing.T) {
	label := strings.Repeat("a", 63)
	for _, tc := range []struct{ name, in, want, wantErr string }{
		{"leaves a plain name alone", "shop.example.com", "shop.example.com", ""},
		{"takes none for none", "", "", ""},
		{"folds case", "Shop.EXAMPLE.com", "shop.example.com", ""},
		{"leaves the port out", "shop.example:8080", "shop.example", ""},
		{"leaves the dot at the end out", "shop.example.", "shop.example", ""},
		{"leaves both out", "Shop.example.:443", "shop.example", ""},
		{"takes one label", "localhost:80", "localhost", ""},
		{"takes digits, dashes and underscores", "a_b-1.svc-2", "a_b-1.svc-2", ""},
		{"takes an IPv4 address", "10.0.0.7:80", "10.0.0.7", ""},
		{"takes an IPv6 address", "[::1]:8080", "[::1]", ""},
		{"writes IPv6 addresses one way", "[2001:DB8:0::0001]", "[2001:db8::1]", ""},
		{"takes the longest name", strings.Repeat(label+".", 3) + label[:61], strings.Repeat(label+".", 3) + label[:61], ""},
		{"refuses a longer name", strings.Repeat(label+".", 3) + label[:62], "", "too_long"},
		{"refuses a longer label", label + "a.example", "", "too_long"},
		{"refuses an empty label", "shop..example", "", "empty_label"},
		{"refuses a dot at the front", ".example", "", "empty_label"},
		{"refuses two dots at the end", "example..", "", "empty_label"},
		{"refuses a dot alone", ".", "", "empty_label"},
		{"refuses a port alone", ":80", "", "empty_label"},
		{"refuses an empty port", "shop.example:", "", "bad_port"},
		{"refuses a port that is none", "shop.example:http", "", "bad_port"},
		{"refuses a port with a sign", "shop.example:+80", "", "bad_port"},
		{"refuses a port beyond all ports", "shop.example:65536", "", "bad_port"},
		{"refuses two ports", "shop.example:80:80", "", "bad_port"},
		{"refuses a user", "user@shop.example", "", "bad_character"},
		{"refuses two hosts", "a.example,b.example", "", "bad_character"},
		{"refuses white space", "shop.example ", "", "bad_character"},
		{"refuses a tabulator", "\tshop.example", "", "bad_character"},
		{"refuses encoding", "shop%2eexample", "", "bad_character"},
		{"refuses letters beyond ASCII", "café.example", "", "bad_character"},
		{"refuses a letter that folds into ASCII", "\u212aelvin.example", "", "bad_character"},
		{"refuses NUL", "shop\x00.example", "", "bad_character"},
		{"refuses a path", "shop.example/admin", "", "bad_character"},
		{"refuses an address that is not closed", "[::1", "", "bad_address"},
		{"refuses brackets round a name", "[shop.example]", "", "bad_address"},
		{"refuses brackets round an IPv4 address", "[10.0.0.7]", "", "bad_address"},
		{"refuses a zone", "[fe80::1%25eth0]", "", "bad_address"},
		{"refuses what follows an address", "[::1]evil.example", "", "bad_port"},
		{"refuses an empty port behind an address", "[::1]:", "", "bad_port"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := policy.NormalizeHost(tc.in)
			if tc.wantErr != "" {
				if want := "ambiguous host: " + tc.wantErr; err == nil || err.Error() != want {
					t.Errorf("got %q and error %v, want error %s", got, err, want)
				}
				return
			}
			if got != tc.want || err != nil {
				t.Errorf("got %q and error %v, want %q", got, err, tc.want)
			}
		})
	}
}

func TestNormalizeHostAllocatesNothingForPlainHosts(t *testing.T) {
	if got := testing.AllocsPerRun(100, func() { _, _ = policy.NormalizeHost("shop.example.com:8080") }); got != 0 {
		t.Errorf("got %v allocations, want 0", got)
	}
}

// FuzzNormalizeHost holds that a host which is not refused has one reading.
func FuzzNormalizeHost(f *testing.F) {
	for _, seed := range []string{
		"shop.example", "Shop.Example.:443", "[::1]:80", "[2001:DB8::1]", "a..b", "a:b:c", "a,b", "a@b", "[::1%eth0]", "%61", ".", "1.2.3.4", "xn--caf-dma.example",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, host string) {
		got, err := policy.NormalizeHost(host)
		if err != nil {
			if got != "" {
				t.Errorf("got %q beside error %v", got, err)
			}
			return
		}
		if again, err := policy.NormalizeHost(got); err != nil || again != got {
			t.Errorf("got %q and error %v the second time, want %q", again, err, got)
		}
		for _, same := range []string{got, strings.ToUpper(got), got + ":80"} {
			if again, err := policy.NormalizeHost(same); got != "" && (err != nil || again != got) {
				t.Errorf("got %q and error %v for %q, want %q", again, err, same, got)
			}
		}
		if name, _, err := net.SplitHostPort(host); err == nil && !strings.EqualFold(strings.TrimSuffix(name, "."), strings.Trim(got, "[]")) && got[0] != '[' {
			t.Errorf("got %q, want %q as net splits it", got, name)
		}
	})
}

func TestHosts(t *testing.T) {
	host := func(host string, access policy.Access) policy.Rule {
		return policy.Rule{Hosts: []string{host}, Access: access}
	}
	document := policy.Document{Rules: []policy.Rule{
		host("admin.shop.example", policy.AccessDeny),
		host("*.shop.example", policy.AccessAnonymous),
		host("10.0.0.7", policy.AccessAnonymous),
		{Paths: []policy.Path{{Exact: "/healthz"}}, Access: policy.AccessAnonymous},
	}}
	program := compile(t, document)
	for _, tc := range []struct {
		name, host, path string
		want             policy.Reason
		rule             int
	}{
		{"takes an exact host", "admin.shop.example", "/", policy.ReasonDenied, 0},
		{"takes a host below", "www.shop.example", "/", policy.ReasonAnonymous, 1},
		{"takes a host far below", "a.b.c.shop.example", "/", policy.ReasonAnonymous, 1},
		{"takes a host below an exact one for one below the wildcard", "x.admin.shop.example", "/", policy.ReasonAnonymous, 1},
		{"does not take the name itself for one below it", "shop.example", "/", policy.ReasonNoRule, policy.NoRule},
		{"matches by whole labels", "myshop.example", "/", policy.ReasonNoRule, policy.NoRule},
		{"does not look on the wrong side", "shop.example.evil", "/", policy.ReasonNoRule, policy.NoRule},
		{"takes an address", "10.0.0.7", "/", policy.ReasonAnonymous, 2},
		{"takes rules without hosts for every host", "other", "/healthz", policy.ReasonAnonymous, 3},
		{"takes rules in order, with hosts and without", "admin.shop.example", "/healthz", policy.ReasonDenied, 0},
		{"refuses a request without a host, which the app would take for anything", "", "/healthz", policy.ReasonHostMissing, policy.NoRule},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := decide(program, policy.Request{Method: "GET", Host: tc.host, Path: tc.path}, nil)
			want := policy.Decision{Allow: tc.want == policy.ReasonAnonymous, Reason: tc.want, Rule: tc.rule}
			if got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
	document.Rules = document.Rules[3:]
	if got := decide(compile(t, document), policy.Request{Method: "GET", Path: "/healthz"}, nil); !got.Allow {
		t.Errorf("got %+v for a request without a host where no rule asks for one, want it allowed", got)
	}
}
