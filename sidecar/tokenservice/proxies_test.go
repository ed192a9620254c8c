package tokenservice

import (
	"net/http"
	"testing"
)

func TestAddressOfAClient(t *testing.T) {
	for _, tc := range []struct {
		name      string
		trusted   []string
		peer      string
		forwarded []string
		want      string
	}{
		{"nobody is trusted", nil, "10.0.0.1:999", []string{"192.0.2.7"}, "10.0.0.1"},
		{"the proxy says who called it", []string{"10.0.0.0/8"}, "10.0.0.1:999", []string{"192.0.2.7"}, "192.0.2.7"},
		{"a client puts another in front", []string{"10.0.0.0/8"}, "10.0.0.1:999", []string{"198.51.100.1, 192.0.2.7"}, "192.0.2.7"},
		{"in a header of its own", []string{"10.0.0.0/8"}, "10.0.0.1:999", []string{"198.51.100.1", "192.0.2.7"}, "192.0.2.7"},
		{"two proxies", []string{"10.0.0.0/8", "172.16.0.0/12"}, "10.0.0.1:999", []string{"192.0.2.7, 172.16.0.9"}, "192.0.2.7"},
		{"a stranger says who called it", []string{"10.0.0.0/8"}, "203.0.113.9:999", []string{"192.0.2.7"}, "203.0.113.9"},
		{"a stranger behind the proxy", []string{"10.0.0.0/8"}, "10.0.0.1:999", []string{"192.0.2.7, 203.0.113.9"}, "203.0.113.9"},
		{"the proxy says nothing", []string{"10.0.0.0/8"}, "10.0.0.1:999", nil, "10.0.0.1"},
		{"the proxy says unknown", []string{"10.0.0.0/8"}, "10.0.0.1:999", []string{"192.0.2.7, unknown"}, "10.0.0.1"},
		{"all are proxies", []string{"10.0.0.0/8"}, "10.0.0.1:999", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"with a port", []string{"10.0.0.0/8"}, "10.0.0.1:999", []string{"192.0.2.7:4711"}, "192.0.2.7"},
		{"IPv6 with a port", []string{"fd00::/8"}, "[fd00::1]:999", []string{"[2001:db8::7]:4711"}, "2001:db8::7"},
		{"IPv6 in brackets", []string{"fd00::/8"}, "[fd00::1]:999", []string{"[2001:db8::7]"}, "2001:db8::7"},
		{"IPv4 as IPv6", []string{"10.0.0.0/8"}, "[::ffff:10.0.0.1]:999", []string{"::ffff:192.0.2.7"}, "192.0.2.7"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			proxies, err := parseProxies(tc.trusted)
			if err != nil {
				t.Fatal(err)
			}
			got := proxies.client(&http.Request{RemoteAddr: tc.peer, Header: http.Header{"X-Forwarded-For": tc.forwarded}})
			if got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}
