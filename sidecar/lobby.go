package sidecar

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"

	"github.com/latchkey-dev/latchkey/internal/bundle"
)

// lobby is where connections to the app's ports arrive. It turns away those beyond the limits, begins TLS, and hands each to an http.Server
// with the limits that are in force then. So a change of limits or certificate is for connections to come, and touches none that is open.
type lobby struct {
	current func() *snapshot
	refused func(limit string)
	tls     *tls.Config
	open    *flight // connections, from their acceptance to their close

	mu      sync.Mutex
	limits  bundle.Limits
	leaving bool                 // the pod goes: connections to come carry one request each
	clients map[netip.Addr]int32 // connections by the caller's address
	doors   []*door
}

func newLobby(current func() *snapshot, refused func(limit string)) *lobby {
	l := &lobby{current: current, refused: refused, open: newFlight(), clients: map[netip.Addr]int32{}, limits: bundle.Limits{}.WithDefaults()}
	l.tls = &tls.Config{
		MinVersion: tls.VersionTLS12,
		// For TLS 1.2, those with forward secrecy and authenticated encryption; TLS 1.3 has no others.
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		NextProtos: []string{"h2", "http/1.1"},
		// One Config for the life of the process, so that crypto/tls changes the keys of session tickets by itself, every day.
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			if now := l.current(); now != nil && now.traffic.certificate != nil {
				return now.traffic.certificate, nil
			}
			return nil, errors.New("the policy in force has no certificate")
		},
	}
	return l
}

// admit puts limits in force for connections to come.
func (l *lobby) admit(limits bundle.Limits) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.limits == limits {
		return
	}
	l.limits = limits
	for _, d := range l.doors {
		d.refit()
	}
}

// count takes a connection in, or names the limit that keeps it out.
func (l *lobby) count(client netip.Addr) (limit string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch most := l.limits.MaxConnectionsPerClient; {
	case l.open.n.Load() >= int64(l.limits.MaxConnections):
		return "maxConnections"
	case most > 0 && l.clients[client] >= most:
		return "maxConnectionsPerClient"
	}
	l.clients[client]++
	l.open.enter()
	return ""
}

func (l *lobby) discount(client netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.clients[client]--; l.clients[client] == 0 {
		delete(l.clients, client)
	}
	l.open.leave()
}

// arrived is a connection that is counted until it is closed.
type arrived struct {
	net.Conn
	close func() error
}

func (a *arrived) Close() error { return a.close() }

// CloseWrite is what net/http and httputil look for.
func (a *arrived) CloseWrite() error {
	if half, ok := a.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// SyscallConn is for a look at the socket.
func (a *arrived) SyscallConn() (syscall.RawConn, error) {
	if socket, ok := a.Conn.(syscall.Conn); ok {
		return socket.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

// receive counts a new connection and begins TLS where it is spoken. It returns nil when the connection was turned away.
func (l *lobby) receive(conn net.Conn) net.Conn {
	var client netip.Addr
	if address, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		client = address.AddrPort().Addr().Unmap()
	}
	now := l.current()
	encrypted := now != nil && now.traffic.certificate != nil
	if limit := l.count(client); limit != "" {
		l.refused(limit)
		if !encrypted { // it fits into the socket's buffer, so nobody is waited for
			_, _ = io.WriteString(conn, tooManyConnections)
		}
		_ = conn.Close()
		return nil
	}
	var received net.Conn = &arrived{conn, sync.OnceValue(func() error {
		l.discount(client)
		return conn.Close()
	})}
	if encrypted {
		received = tls.Server(received, l.tls)
	}
	return received
}

const tooManyConnections = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"
