package session

import "net/netip"

// The networks within which a client counts as where it was: what one site or one subscriber has, as a rule.
const (
	networkBits4 = 24
	networkBits6 = 64
)

// siteBits6 is how much of IPv6 anybody can have: tunnels with 65,536 networks are given away.
const siteBits6 = 48

// Network is the network of an address, such as 192.0.2.0/24, or the address itself where it is none.
func Network(address string) string { return within(address, networkBits6) }

// Site is the same for what one party may have altogether: it is never narrower than Network.
func Site(address string) string { return within(address, siteBits6) }

func within(address string, bits int) string {
	parsed, err := netip.ParseAddr(address)
	if err != nil {
		return address
	}
	parsed = parsed.Unmap().WithZone("")
	if parsed.Is4() {
		bits = networkBits4
	}
	prefix, err := parsed.Prefix(bits)
	if err != nil { // not reached: the bits fit the kind
		return address
	}
	return prefix.String()
}

// Moved reports whether a client is in another network than it was. Of an address that is not known nothing is proven.
func Moved(before, now string) bool {
	return before != "" && now != "" && Network(before) != Network(now)
}
