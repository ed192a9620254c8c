package http1

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Server serves connections. It has no timers: whoever runs it calls Sweep some times a second.
type Server struct {
	handler   http.Handler
	elsewhere func(net.Conn)
	limits    Limits
	pristine  *http.Request // with the context of all requests, that ends with the process
	tick      atomic.Pointer[tick]
	single    atomic.Bool

	mu     sync.Mutex
	conns  map[*conn]struct{}
	closed bool
	ended  chan struct{} // of capacity 1: there may be no connections any more
}

// Limits bound what callers may take.
type Limits struct {
	HeadBytes    int           // larger heads are handed over
	HeadTimeout  time.Duration // from the first byte of a head to its last
	IdleTimeout  time.Duration // between requests
	StallTimeout time.Duration // how long the end of an answer may find no room
}

// tick is the time of the last sweep.
type tick struct {
	now  int64  // Unix nanoseconds
	date string // the header field, with its end of line
}

// NewServer returns a server whose handler gets what net/http would give it. What this package does not serve goes to elsewhere: connections from
// which everything that was read, and not answered, can be read again. All requests have the context base, which outlives the server.
func NewServer(base context.Context, handler http.Handler, elsewhere func(net.Conn), limits Limits) *Server {
	// A proxy looks for it to know that it may end a connection by a panic.
	base = context.WithValue(base, http.ServerContextKey, &http.Server{}) //nolint:gosec // it serves nobody
	s := &Server{
		handler: handler, elsewhere: elsewhere, limits: limits, conns: map[*conn]struct{}{}, ended: make(chan struct{}, 1),
	}
	s.pristine = (&http.Request{Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}).WithContext(base)
	s.Sweep(time.Now())
	return s
}

// Serve serves a connection, until it has ended or is somebody else's.
func (s *Server) Serve(socket net.Conn) {
	c := newConn(s, socket)
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		_ = socket.Close()
		return
	}
	s.conns[c] = struct{}{}
	s.mu.Unlock()
	if over := c.serve(); over != nil {
		s.elsewhere(over)
	}
	s.mu.Lock()
	delete(s.conns, c)
	none := len(s.conns) == 0
	s.mu.Unlock()
	if none {
		s.none()
	}
}

func (s *Server) none() {
	select {
	case s.ended <- struct{}{}:
	default:
	}
}

// Sweep ends what waits for too long, and takes the buffers of what has waited for long.
func (s *Server) Sweep(now time.Time) {
	s.tick.Store(&tick{now.UnixNano(), "Date: " + now.UTC().Format(http.TimeFormat) + "\r\n"})
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.sweep(now)
	}
}

// SetKeepAlives says whether connections carry further requests after the one that they are at.
func (s *Server) SetKeepAlives(keep bool) { s.single.Store(!keep) }

// Shutdown closes idle connections, and each other one after its answer. It returns when none is left, or when ctx ends.
func (s *Server) Shutdown(ctx context.Context) error {
	s.SetKeepAlives(false)
	for {
		s.mu.Lock()
		for c := range s.conns {
			c.closeIdle()
		}
		left := len(s.conns)
		s.mu.Unlock()
		if left == 0 {
			s.none() // others may wait for it, too
			return nil
		}
		select {
		case <-s.ended:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Close closes all connections at once.
func (s *Server) Close() {
	s.SetKeepAlives(false)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for c := range s.conns {
		_ = c.socket.Close()
	}
}
