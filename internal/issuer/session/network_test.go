package session_test

import (
	"testing"

	"github.com/latchkey-dev/latchkey/internal/issuer/session"
)

func TestMoved(t *testing.T) {
	for _, tc := range []struct {
		name, before, now string
		want              bool
	}{
		{"the same address", "192.0.2.7", "192.0.2.7", false},
		{"a neighbour in the same /24", "192.0.2.7", "192.0.2.200", false},
		{"another /24", "192.0.2.7", "192.0.3.7", true},
		{"the same /64 of IPv6", "2001:db8::1", "2001:db8::ffff:1", false},
		{"another /64", "2001:db8:0:1::1", "2001:db8:0:2::1", true},
		{"IPv4 written as IPv6", "192.0.2.7", "::ffff:192.0.2.8", false},
		{"from IPv4 to IPv6", "192.0.2.7", "2001:db8::1", true},
		{"a link-local address with another zone", "fe80::1%eth0", "fe80::1%eth1", false},
		{"an address that was not known", "", "192.0.2.7", false},
		{"an address that is not known", "192.0.2.7", "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := session.Moved(tc.before, tc.now); got != tc.want {
				t.Errorf("Moved(%q, %q): got %v, want %v", tc.before, tc.now, got, tc.want)
			}
		})
	}
}

func TestSite(t *testing.T) {
	for _, tc := range []struct{ address, want string }{
		{"192.0.2.7", "192.0.2.0/24"},
		{"::ffff:192.0.2.7", "192.0.2.0/24"},
		{"2001:db8:7:1::1", "2001:db8:7::/48"},
		{"2001:db8:7:ffff::1", "2001:db8:7::/48"},
		{"", ""},
	} {
		if got := session.Site(tc.address); got != tc.want {
			t.Errorf("Site(%q): got %q, want %q", tc.address, got, tc.want)
		}
	}
}
