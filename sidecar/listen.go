package sidecar

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
)

// listenAll binds one port on every address, or none at all: a port that is held on some of the pod's addresses only would leave the
// others to the app.
func listenAll(ctx context.Context, addresses []netip.Addr, port uint16) ([]net.Listener, error) {
	var bound []net.Listener
	var config net.ListenConfig
	config.SetMultipathTCP(false) // the pod has one way to the network; and lastOrders needs plain TCP
	for _, address := range addresses {
		listener, err := config.Listen(ctx, "tcp", netip.AddrPortFrom(address, port).String())
		if err != nil {
			return nil, errors.Join(fmt.Errorf("listening (the app must listen on the pod's loopback address only): %w", err), closeAll(bound))
		}
		bound = append(bound, listener)
	}
	return bound, nil
}

func closeAll(listeners []net.Listener) error {
	var failed []error
	for _, listener := range listeners {
		failed = append(failed, listener.Close())
	}
	return errors.Join(failed...)
}
