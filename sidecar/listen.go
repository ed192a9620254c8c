package sidecar

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Sockets are all that the sidecar listens on. Callers who come while nobody accepts wait in the kernel.
type Sockets struct{ listeners []*net.TCPListener }

// Listen binds every socket that the configuration asks for, or none: a port that is held on some of the pod's addresses only would leave the
// others to the app.
func Listen(ctx context.Context, config Config) (*Sockets, error) {
	taken := config.PodIPs
	if config.EveryAddress {
		others, err := everyAddress(config.PodIPs)
		if err != nil {
			return nil, err
		}
		taken = others
	}
	s := &Sockets{}
	bind := func(port uint16, addresses ...string) error {
		for _, address := range addresses {
			if err := s.bind(ctx, net.JoinHostPort(address, strconv.Itoa(int(port)))); err != nil {
				return errors.Join(err, s.Close())
			}
		}
		return nil
	}
	const wildcard = ""
	for _, port := range config.Ports {
		addresses := []string{wildcard} // a redirect leads to the address of the interface that the caller came in by
		if port.Redirected == 0 {
			addresses = texts(taken)
		}
		if err := bind(port.listens(), addresses...); err != nil {
			return nil, fmt.Errorf("listening (the app must listen on the pod's loopback address only): %w", err)
		}
	}
	err := bind(config.ProbePort, texts(config.PodIPs)...)
	if err == nil {
		err = bind(config.AdminPort, append(texts(config.PodIPs), config.AppHosts[0].String())...)
	}
	if err != nil {
		return nil, fmt.Errorf("listening: %w", err)
	}
	return s, nil
}

// Addresses that nobody has (RFC 5737, RFC 3849). Who holds a port on one of each family keeps everybody from the wildcard addresses, also where the pod
// has no address of the family yet.
var nobodys = []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}

// everyAddress are the pod's addresses, those of its interfaces, link-local ones among them, and those that are nobody's. Loopback is left to the app. A
// pod that is reached on loopback addresses has no network of its own: then the interfaces are somebody else's.
func everyAddress(podIPs []netip.Addr) ([]netip.Addr, error) {
	if !slices.ContainsFunc(podIPs, func(ip netip.Addr) bool { return !ip.IsLoopback() }) {
		return podIPs, nil
	}
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list the pod's interfaces: %w", err)
	}
	found := slices.Clone(podIPs)
	for _, each := range interfaces {
		addresses, err := each.Addrs()
		if err != nil {
			return nil, fmt.Errorf("list the addresses of %s: %w", each.Name, err)
		}
		for _, address := range addresses {
			prefix, err := netip.ParsePrefix(address.String())
			if err != nil {
				continue // no address of IP
			}
			ip := prefix.Addr()
			if ip.IsLinkLocalUnicast() && ip.Is6() {
				ip = ip.WithZone(each.Name)
			}
			if !ip.IsLoopback() && !slices.Contains(found, ip) {
				found = append(found, ip)
			}
		}
	}
	return append(found, nobodys...), nil
}

func texts(addresses []netip.Addr) []string {
	var all []string
	for _, address := range addresses {
		all = append(all, address.String())
	}
	return all
}

func (s *Sockets) bind(ctx context.Context, address string) error {
	config := net.ListenConfig{Control: func(_, address string, raw syscall.RawConn) error {
		var refused error
		err := raw.Control(func(fd uintptr) { refused = freeBind(int(fd), address) })
		return errors.Join(err, refused)
	}}
	config.SetMultipathTCP(false) // the pod has one way to the network; and lastOrders needs plain TCP
	listener, err := config.Listen(ctx, "tcp", address)
	switch {
	case errors.Is(err, unix.EAFNOSUPPORT): // nobody in this kernel can listen there
		return nil
	case errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w: ports below 1024 need the pod's sysctl net.ipv4.ip_unprivileged_port_start", err)
	case err != nil:
		return err
	}
	s.listeners = append(s.listeners, listener.(*net.TCPListener)) //nolint:forcetypeassert // of "tcp"
	return nil
}

// freeBind lets an address be bound that is not there yet: one of IPv6 whose uniqueness the kernel is still finding out, or one that is nobody's.
func freeBind(fd int, address string) error {
	if at, err := netip.ParseAddrPort(address); err == nil && at.Addr().Is4() {
		return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_FREEBIND, 1)
	}
	return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_FREEBIND, 1)
}

// Inherit takes over the sockets that a parent process has handed down: count descriptors, from 3 on.
func Inherit(count int) (*Sockets, error) {
	s := &Sockets{}
	for fd := 3; fd < 3+count; fd++ {
		file := os.NewFile(uintptr(fd), "socket "+strconv.Itoa(fd))
		listener, err := net.FileListener(file)
		_ = file.Close() // the listener has a descriptor of its own
		tcp, ok := listener.(*net.TCPListener)
		if err != nil || !ok {
			return nil, errors.Join(fmt.Errorf("--sockets: descriptor %d is no TCP listener: %w", fd, err), s.Close())
		}
		s.listeners = append(s.listeners, tcp)
	}
	return s, nil
}

// Files are the sockets for a child process, in any order: it can tell them by their ports.
func (s *Sockets) Files() ([]*os.File, error) {
	var files []*os.File
	for _, listener := range s.listeners {
		file, err := listener.File()
		if err != nil {
			return nil, fmt.Errorf("hand down the socket of %s: %w", listener.Addr(), err)
		}
		files = append(files, file)
	}
	return files, nil
}

// Close lets go of the sockets. Those that a child process has stay open.
func (s *Sockets) Close() error {
	var failed []error
	for _, listener := range s.listeners {
		if err := listener.Close(); !errors.Is(err, net.ErrClosed) {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

func (s *Sockets) on(port uint16) []net.Listener {
	var found []net.Listener
	for _, listener := range s.listeners {
		if addressOf(listener).Port() == port {
			found = append(found, listener)
		}
	}
	return found
}

func (s *Sockets) addresses() []string {
	var all []string
	for _, listener := range s.listeners {
		all = append(all, listener.Addr().String())
	}
	return all
}

func addressOf(listener net.Listener) netip.AddrPort {
	address := listener.Addr().(*net.TCPAddr).AddrPort() //nolint:forcetypeassert // Sockets are of TCP
	return netip.AddrPortFrom(address.Addr().Unmap(), address.Port())
}

func closeAll(listeners []net.Listener) error {
	var failed []error
	for _, listener := range listeners {
		failed = append(failed, listener.Close())
	}
	return errors.Join(failed...)
}
