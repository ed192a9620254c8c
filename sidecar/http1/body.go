package http1

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Body is that of a request, whose length is known. Unlike the rest of a connection it may be read and closed by several goroutines: a client
// that sends it on may still be at it when the handler has returned.
type Body struct {
	mu     sync.Mutex
	conn   *conn
	left   atomic.Int64
	closed bool
}

func (b *Body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0, http.ErrBodyReadAfterClose
	}
	return b.read(p)
}

func (b *Body) read(p []byte) (n int, err error) {
	if b.left.Load() == 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > b.left.Load() {
		p = p[:b.left.Load()]
	}
	if c := b.conn; len(c.in) > 0 {
		n = copy(p, c.in)
		c.in = c.in[n:]
	} else {
		n, err = c.socket.Read(p)
	}
	b.left.Add(-int64(n))
	switch {
	case b.left.Load() == 0:
		return n, io.EOF
	case errors.Is(err, io.EOF):
		return n, io.ErrUnexpectedEOF
	}
	return n, err
}

// Close ends reading. The rest is seen to when the answer is sent.
func (b *Body) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	return nil
}

// shortly is for how long Whole waits. Many callers send a body right after its head, in a packet of its own. Who waits for longer, for an answer
// perhaps, gets it from a client that sends a body as it comes.
const shortly = 20 * time.Millisecond

// Whole returns the body, and takes it as read, if all of it has arrived or arrives shortly, and is not long. It is good until the answer is flushed.
func (b *Body) Whole() ([]byte, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c, left := b.conn, b.left.Load()
	if b.closed || left > bufferSize || int64(len(c.in)) < left && !b.gather(int(left)) {
		return nil, false
	}
	whole := c.in[:left]
	c.in = c.in[left:]
	b.left.Store(0)
	return whole, true
}

// gather waits until so much of the body is in the connection's buffer. Whatever has come stays there.
func (b *Body) gather(left int) bool {
	c := b.conn
	if cap(c.in) < left {
		c.in = c.buffer[:copy(c.buffer[:], c.in)] // the head has been read
	}
	_ = c.socket.SetReadDeadline(time.Now().Add(shortly))
	defer func() { _ = c.socket.SetReadDeadline(time.Time{}) }()
	for len(c.in) < left {
		n, err := c.socket.Read(c.in[len(c.in):left])
		c.in = c.in[:len(c.in)+n]
		if n == 0 || err != nil {
			return len(c.in) == left
		}
	}
	return true
}

// finish reads what is left after the answer, for a while, and reports whether the connection can go on. Where it can not, that is for the caller's sake:
// what arrives at a closed connection resets it, and the answer with it.
func (b *Body) finish(goesOn bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	if b.left.Load() == 0 {
		return goesOn
	}
	socket := b.conn.socket
	if !goesOn {
		_ = closeWrite(socket)
	}
	b.conn.moved.Store(true)
	_ = socket.SetReadDeadline(time.Now().Add(linger))
	scrap := make([]byte, 4<<10)
	for b.left.Load() > 0 {
		if _, err := b.read(scrap); err != nil && !errors.Is(err, io.EOF) {
			return false
		}
	}
	return goesOn
}
