package tokenservice

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// trustedProxies are the networks of the proxies whose word about who called them is taken.
type trustedProxies []netip.Prefix

func parseProxies(networks []string) (trustedProxies, error) {
	var proxies trustedProxies
	for i, network := range networks {
		prefix, err := netip.ParsePrefix(network)
		if err != nil {
			return nil, fmt.Errorf("[%d]: must be a network such as 10.0.0.0/8", i)
		}
		proxies = append(proxies, prefix)
	}
	return proxies, nil
}

// client is the address of whoever sent a request: the peer, or where that is a trusted proxy the last in X-Forwarded-For that is none. What
// stands further to the left is what the client says of itself.
func (p trustedProxies) client(r *http.Request) string {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	address := peer.Addr().Unmap().WithZone("")
	hops := strings.Split(strings.Join(r.Header["X-Forwarded-For"], ","), ",")
	for _, hop := range slices.Backward(hops) {
		if !p.trust(address) {
			break
		}
		before, err := parseHop(strings.TrimSpace(hop))
		if err != nil {
			break // the proxy does not say; so it is the last that is known
		}
		address = before
	}
	return address.String()
}

func (p trustedProxies) trust(address netip.Addr) bool {
	return slices.ContainsFunc(p, func(network netip.Prefix) bool { return network.Contains(address) })
}

// parseHop reads an address, with a port as some proxies write it.
func parseHop(hop string) (netip.Addr, error) {
	address, err := netip.ParseAddr(strings.Trim(hop, "[]"))
	if err != nil {
		withPort, refused := netip.ParseAddrPort(hop)
		if refused != nil {
			return netip.Addr{}, err
		}
		address = withPort.Addr()
	}
	return address.Unmap().WithZone(""), nil
}
