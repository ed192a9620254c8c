package jwksource_test

import (
	"net/netip"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/jwksource"
)

func TestStrictRefusesWhatIsNotAnotherMachine(t *testing.T) {
	for _, tc := range []struct {
		name    string
		refused bool
		ips     []string
	}{
		{"public addresses", false, []string{"93.184.216.34", "8.8.8.8", "2606:2800:220:1::1"}},
		{"addresses of the cluster or the company", false, []string{"10.96.0.10", "172.16.5.4", "192.168.1.1", "100.64.0.1", "fd00::2", "::ffff:10.0.0.1"}},
		{"private addresses behind NAT64", false, []string{"64:ff9b::a00:1"}},
		{"loopback", true, []string{"127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"}},
		{"the unspecified address", true, []string{"0.0.0.0", "::", "::ffff:0.0.0.0", "0.1.2.3"}},
		{"link-local", true, []string{"169.254.169.254", "169.254.0.1", "fe80::1", "fe80::1%eth0", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1"}},
		{"metadata services", true, []string{"100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254", "::ffff:100.100.100.200", "64:ff9b::6464:64c8"}},
		{"multicast and broadcast", true, []string{"224.0.0.1", "239.1.1.1", "255.255.255.255", "ff02::1", "ff0e::1"}},
		{"reserved and tunnels", true, []string{"240.0.0.1", "fec0::1", "64:ff9b:1::1", "2001:0:1::1"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, ip := range tc.ips {
				if err := jwksource.Strict(netip.MustParseAddr(ip)); (err != nil) != tc.refused {
					t.Errorf("%s: got %v, want refused: %t", ip, err, tc.refused)
				}
			}
		})
	}
	if jwksource.Strict(netip.Addr{}) == nil {
		t.Error("no address at all: got it taken")
	}
}
