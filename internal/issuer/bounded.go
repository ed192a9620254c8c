package issuer

import (
	"net"
	"sync"
	"sync/atomic"
)

// maxConnections bounds what those of one port take that say nothing, up to 38 KB each of the 512 MiB that the container has. It leaves requests of sidecars
// room beside their streams.
const maxConnections = maxStreams + 2_000

// bounded is a listener with so many connections at most. Those beyond are closed at once, before TLS costs anything.
type bounded struct {
	net.Listener
	open atomic.Int64
}

// Accept returns the next connection that there is room for.
func (b *bounded) Accept() (net.Conn, error) {
	for {
		connection, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if b.open.Add(1) <= maxConnections {
			return &counted{connection, sync.OnceFunc(func() { b.open.Add(-1) })}, nil
		}
		b.open.Add(-1)
		_ = connection.Close() // nobody is left to tell
	}
}

// counted is a connection that counts until it is closed.
type counted struct {
	net.Conn
	left func()
}

// Close closes it, and lets another one in.
func (c *counted) Close() error {
	defer c.left()
	return c.Conn.Close()
}
