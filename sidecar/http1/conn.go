package http1

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// bufferSize is that of a buffer for reading or writing. Heads that are longer are handed over.
const bufferSize = 8 << 10

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// restAfter is how long an idle connection keeps its desk. Most ask again before that, or not for long.
const restAfter = time.Second

// maxRest is how much of a body that the handler did not read is read to keep the connection. net/http has the same.
const maxRest = 256 << 10

// linger is for how long the rest of a body is read before a connection is closed: what arrives at a closed one resets it, and the answer
// with it.
const linger = 500 * time.Millisecond

// longAgo as a deadline ends what waits.
var longAgo = time.Unix(1, 0)

// conn is a connection that is served. All is of the goroutine that serves it, but for what mu guards.
type conn struct {
	server *Server
	socket net.Conn
	raw    syscall.RawConn // of socket, if that is one
	peer   string
	*desk              // nil while the connection rests
	in     []byte      // of buffer: what was read and is not used yet
	body   *Body       // of the request that is being answered; nil: it has none
	posted bool        // the request before was a POST
	moved  atomic.Bool // a deadline, by somebody who had to do with the answer

	mu    sync.Mutex
	phase phase
	since int64 // in ticks, of phase
	woken bool  // the deadline for reading has been moved to get it out of the wait that phase is
}

type phase uint8

const (
	idle   phase = iota // it waits for the first byte of a request
	rests               // as idle, without a desk
	asking              // it waits for the rest of a head
	busy                // a request is being answered
	ending              // the end of the answer is being sent
)

// desk is all that is needed to answer requests. Desks go round.
type desk struct {
	buffer *[bufferSize]byte // nil in the midst of an answer, if nothing is in it
	message
	writer  writer
	reading transfer
	writing transfer
	sight   *sight
}

var desks = sync.Pool{New: func() any {
	d := &desk{message: message{request: &http.Request{}, header: http.Header{}}, writer: writer{header: http.Header{}}, sight: newSight()}
	d.reading.try, d.writing.try = d.reading.receive, d.writing.send
	return d
}}

// sit gives the connection a desk.
func (c *conn) sit() {
	c.desk = desks.Get().(*desk) //nolint:forcetypeassert // it holds nothing else
	c.writer.conn = c
	c.fetch()
}

// fetch gives the desk a buffer, if it has none.
func (c *conn) fetch() {
	if c.buffer == nil {
		c.buffer = buffers.Get().(*[bufferSize]byte) //nolint:forcetypeassert // likewise
	}
	c.in = c.buffer[:0]
}

// spare gives the buffer back while nothing is in it that anybody still has to read.
func (c *conn) spare() {
	if c.buffer != nil && (c.body == nil || c.body.left.Load() == 0) && len(c.in) == 0 {
		buffers.Put(c.buffer)
		c.buffer, c.in = nil, nil
	}
}

// stand gives it back.
func (c *conn) stand() {
	if c.desk != nil {
		c.writer.conn = nil
		desks.Put(c.desk)
		c.desk, c.in = nil, nil
	}
}

func newConn(s *Server, socket net.Conn) *conn {
	return &conn{server: s, socket: socket, raw: rawOf(socket), peer: socket.RemoteAddr().String(), since: s.tick.Load().now}
}

// serve returns when the connection has ended; or before, with the connection, when somebody else has to go on with it.
func (c *conn) serve() net.Conn {
	defer c.stand()
	for {
		head, err := c.readHead()
		if err == nil {
			*c.request = *c.server.pristine // whatever was noted in the one before
			c.request.Header, c.request.RemoteAddr = c.header, c.peer
		}
		if err == nil && c.read(string(head)) {
			c.in, c.posted = c.in[len(head):], c.request.Method == http.MethodPost
			if c.answer() {
				continue
			}
			err = io.EOF
		}
		if err == nil || errors.Is(err, errElsewhere) {
			return &rewound{Conn: c.socket, read: bytes.Clone(c.in), asked: err == nil && !bytes.HasPrefix(head, preface)}
		}
		_ = c.socket.Close()
		return nil
	}
}

// errElsewhere says that what comes can be no request of ours.
var errElsewhere = errors.New("not read here")

var headEnd = []byte("\r\n\r\n")

// preface begins a connection of HTTP/2 (RFC 9113 section 3.4). It looks like a head, and asks for nothing yet.
var preface = []byte("PRI * HTTP/2.0\r\n")

// readHead waits for a head. It stays in c.in.
func (c *conn) readHead() ([]byte, error) {
	forgiven := 0 // bytes of line ends after a POST, as net/http does
	for known := 0; ; {
		for c.posted && forgiven < 4 && len(c.in) > 0 && (c.in[0] == '\r' || c.in[0] == '\n') {
			c.in = c.in[1:]
			forgiven++
		}
		if end := bytes.Index(c.in[max(0, known-len(headEnd)):], headEnd); end >= 0 {
			c.enter(busy)
			return c.in[:max(0, known-len(headEnd))+end+len(headEnd)], nil
		}
		if len(c.in) >= min(bufferSize, c.server.limits.HeadBytes) || !begins(c.in) {
			c.enter(busy)
			return nil, errElsewhere
		}
		if known = len(c.in); known > 0 {
			c.enter(asking)
		}
		switch err := c.readMore(); {
		case errors.Is(err, io.EOF) && len(c.in) > 0:
			c.enter(busy)
			return nil, errElsewhere
		case err != nil:
			return nil, err
		}
	}
}

// begins reports whether the head of a request of ours may begin so.
func begins(head []byte) bool {
	if len(head) > 0 && bytes.IndexByte([]byte("GHPDO"), head[0]) < 0 {
		return false
	}
	for line := 0; ; line++ {
		end := bytes.IndexByte(head, '\n')
		switch {
		case end < 0:
			return true
		case end == 0 || head[end-1] != '\r':
			return false
		case line == 0 && !bytes.HasSuffix(head[:end-1], []byte(" HTTP/1.1")):
			return false
		}
		head = head[end+1:]
	}
}

// readMore appends to c.in what comes next.
func (c *conn) readMore() error {
	switch {
	case c.desk == nil:
		if c.rested() {
			return c.readFirst()
		}
		c.sit()
	case len(c.in) == 0:
		c.fetch()
	case cap(c.in) < bufferSize: // pipelined: it stands somewhere within
		c.in = c.buffer[:copy(c.buffer[:], c.in)]
	}
	n, err := c.receive(c.buffer[len(c.in):])
	c.in = c.buffer[:len(c.in)+n]
	if n > 0 {
		return nil
	}
	if errors.Is(err, os.ErrDeadlineExceeded) && c.goesToRest() {
		c.stand()
		return nil
	}
	return err
}

func (c *conn) receive(p []byte) (int, error) {
	if c.raw == nil {
		return c.socket.Read(p)
	}
	c.reading.begin(p)
	return c.reading.end(c.raw.Read(c.reading.try))
}

func (c *conn) send(p []byte) (int, error) {
	if c.raw == nil {
		return c.socket.Write(p)
	}
	c.writing.begin(p)
	return c.writing.end(c.raw.Write(c.writing.try))
}

// readFirst waits without a desk.
func (c *conn) readFirst() error {
	first := make([]byte, 1)
	if _, err := io.ReadFull(c.socket, first); err != nil {
		return err
	}
	c.sit()
	c.in = append(c.in, first...)
	return nil
}

// enter begins a phase.
func (c *conn) enter(next phase) {
	now := c.server.tick.Load().now
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase == next {
		return
	}
	c.phase, c.since = next, now
	if c.woken { // too late for that
		c.woken = false
		_ = c.socket.SetDeadline(time.Time{})
	}
}

// goesToRest reports whether a connection that was woken shall give its desk back, rather than end.
func (c *conn) goesToRest() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.woken || c.phase != idle || c.late() {
		return false
	}
	c.phase, c.woken = rests, false
	_ = c.socket.SetDeadline(time.Time{})
	return true
}

func (c *conn) rested() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.phase == rests
}

// late reports whether the connection has waited for as long as it may.
func (c *conn) late() bool {
	waited := time.Duration(c.server.tick.Load().now - c.since)
	switch c.phase {
	case idle, rests:
		return waited > c.server.limits.IdleTimeout
	case asking:
		return waited > c.server.limits.HeadTimeout
	case ending:
		return waited > c.server.limits.StallTimeout
	case busy:
	}
	return false
}

func (c *conn) sweep(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.late() || c.phase == idle && now.UnixNano()-c.since > int64(restAfter) {
		c.woken = true
		_ = c.socket.SetDeadline(longAgo)
	}
}

func (c *conn) closeIdle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase == idle || c.phase == rests {
		_ = c.socket.Close()
	}
}

// answer has the request that was read answered, and reports whether the connection can carry another.
func (c *conn) answer() (again bool) {
	c.request.Body, c.body = http.NoBody, nil
	if c.request.ContentLength > 0 {
		c.body = &Body{conn: c}
		c.body.left.Store(c.request.ContentLength)
		c.request.Body = c.body
	}
	c.writer.begin()
	defer c.writer.release()
	if !c.handle() {
		_ = c.socket.Close() // gets whoever reads the body out of it
		if c.body != nil {
			_ = c.body.Close()
		}
		return false
	}
	c.enter(ending)
	again = c.writer.finish()
	if c.body != nil {
		c.enter(busy)
		again = c.body.finish(again)
	}
	if !again {
		return false
	}
	if c.moved.Swap(false) {
		_ = c.socket.SetDeadline(time.Time{})
	}
	c.enter(idle)
	// By the time that it is our turn again the caller may have asked for more, and nobody need be woken for it.
	runtime.Gosched()
	return !c.server.single.Load() // Shutdown may have begun when it was too late to say so
}

// handle reports whether the handler came to its end.
func (c *conn) handle() (whole bool) {
	defer func() {
		if cause := recover(); cause != nil && cause != http.ErrAbortHandler { //nolint:errorlint,err113 // it is this very value
			panic(cause)
		}
	}()
	c.server.handler.ServeHTTP(&c.writer, c.request)
	return true
}

// rewound is a connection from which can be read again what was read of it.
type rewound struct {
	net.Conn
	read  []byte
	asked bool
}

// Asked reports whether what can be read again begins with the whole head of a request.
func (r *rewound) Asked() bool { return r.asked }

func (r *rewound) Read(p []byte) (int, error) {
	if len(r.read) == 0 {
		return r.Conn.Read(p)
	}
	n := copy(p, r.read)
	if r.read = r.read[n:]; len(r.read) == 0 {
		r.read = nil
	}
	return n, nil
}

// CloseWrite is what net/http and httputil look for.
func (r *rewound) CloseWrite() error { return closeWrite(r.Conn) }

func closeWrite(socket net.Conn) error {
	if half, ok := socket.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
