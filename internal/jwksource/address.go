package jwksource

import (
	"errors"
	"net/netip"
)

// AddressRule says why an address must not be dialled, or nil. It is asked about the address of each connection that is about to be made,
// after names were resolved: a name that means something else the second time gains nothing.
type AddressRule func(netip.Addr) error

// metadata are the addresses at which clouds hand out credentials to whoever asks from inside, those that are not link-local anyway.
var metadata = []netip.Addr{
	netip.MustParseAddr("100.100.100.200"), // Alibaba Cloud
	netip.MustParseAddr("168.63.129.16"),   // Azure's WireServer
	netip.MustParseAddr("192.0.0.192"),     // Oracle Cloud, Classic
	netip.MustParseAddr("fd00:ec2::254"),   // AWS
	netip.MustParseAddr("fd20:ce::254"),    // Google Cloud
}

// local are the rest of the networks that do not lead to another machine.
var local = []struct {
	network netip.Prefix
	why     string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "no other machine's"},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved"},
	{netip.MustParsePrefix("::/96"), "no other machine's"},
	{netip.MustParsePrefix("fec0::/10"), "site-local"}, // deprecated long ago; some systems route it as link-local
	{netip.MustParsePrefix("64:ff9b:1::/48"), "a translation of an IPv4 address that cannot be known"},
	{netip.MustParsePrefix("2001::/32"), "a Teredo tunnel's"},
}

// The networks that hold an IPv4 address in each of theirs, with the byte at which it begins.
var embedding = []struct {
	network netip.Prefix
	at      int
}{
	{netip.MustParsePrefix("64:ff9b::/96"), 12}, // NAT64 (RFC 6052)
	{netip.MustParsePrefix("2002::/16"), 2},     // 6to4 (RFC 3056)
}

// Strict is the AddressRule for every program that users run. It lets pass public and private addresses, since identity providers in the cluster
// or the company are common, and nothing that is this machine, this link, or a cloud's metadata service.
func Strict(address netip.Addr) error {
	address = address.Unmap().WithZone("")
	switch {
	case !address.IsValid():
		return errors.New("is no address")
	case address.IsUnspecified():
		return errors.New("is the unspecified address")
	case address.IsLoopback():
		return errors.New("is a loopback address")
	case address.IsLinkLocalUnicast():
		return errors.New("is a link-local address, as those of metadata services are")
	case address.IsMulticast():
		return errors.New("is a multicast address")
	}
	for _, m := range metadata {
		if address == m {
			return errors.New("is that of a metadata service")
		}
	}
	for _, l := range local {
		if l.network.Contains(address) {
			return errors.New("is " + l.why)
		}
	}
	for _, e := range embedding {
		if e.network.Contains(address) {
			outer := address.As16()
			return Strict(netip.AddrFrom4([4]byte(outer[e.at : e.at+4])))
		}
	}
	return nil
}
