package sidecar

import (
	"context"
	"errors"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// appDialer connects to the app. Only the port counts of the address that it is asked for.
type appDialer struct {
	net.Dialer
	hosts []netip.Addr // where the app may listen
}

// DialContext tries the next host when nobody listens on one. Who listens but is slow is waited for.
func (d appDialer) DialContext(ctx context.Context, _, address string) (net.Conn, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	var first error
	for _, host := range d.hosts {
		conn, err := d.Dialer.DialContext(ctx, "tcp", net.JoinHostPort(host.String(), port))
		if err == nil {
			return conn, nil
		}
		if first == nil {
			first = err
		}
		if !nobodyListens(err) {
			break
		}
	}
	return nil, first
}

// nobodyListens: the app may be behind another address of the pod. The others are those of a pod without IPv6.
func nobodyListens(err error) bool {
	for _, refusal := range []error{unix.ECONNREFUSED, unix.EADDRNOTAVAIL, unix.ENETUNREACH, unix.EHOSTUNREACH, unix.EAFNOSUPPORT} {
		if errors.Is(err, refusal) {
			return true
		}
	}
	return false
}
