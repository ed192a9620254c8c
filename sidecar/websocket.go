package sidecar

import (
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// webSocket is the connection of a caller from the handshake on.
type webSocket struct {
	net.Conn
	*exchange
	frames  frames
	copying sync.Mutex // held while the app is listened to
}

func (s *webSocket) Write(p []byte) (int, error) {
	s.writing.Store(s.front.watch.tick.Load())
	defer s.writing.Store(0)
	n, err := s.Conn.Write(p)
	s.frames.follow(p[:n])
	return n, err
}

// ReadFrom and WriteTo spare the large buffers that io.Copy would take for each direction, for as long as the WebSocket lasts.

// ReadFrom sends what the app says. Where the sidecar has ended the exchange, it says so.
func (s *webSocket) ReadFrom(app io.Reader) (int64, error) {
	s.copying.Lock()
	defer s.copying.Unlock()
	buffer := streams.Get()
	defer streams.Put(buffer)
	n, err := io.CopyBuffer(struct{ io.Writer }{s}, struct{ io.Reader }{app}, buffer)
	if why := s.endedBy(); why != nil && s.frames.between() {
		s.sayFarewell(why)
	}
	return n, err
}

// WriteTo passes on what the caller says.
func (s *webSocket) WriteTo(app io.Writer) (int64, error) {
	buffer := streams.Get()
	defer streams.Put(buffer)
	return io.CopyBuffer(struct{ io.Writer }{app}, struct{ io.Reader }{s.Conn}, buffer)
}

// CloseWrite passes on that the app has said its last word.
func (s *webSocket) CloseWrite() error {
	if half, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// Close waits until the caller was told why, where there is something to tell. It is not long: the app is not listened to any more, and a sweep
// ends a write that nobody takes.
func (s *webSocket) Close() error {
	if s.endedBy() != nil {
		s.copying.Lock()
		defer s.copying.Unlock()
	}
	return s.Conn.Close()
}

// farewellWithin is how long a caller may take to hear why its WebSocket ends, and to answer. What it still says meanwhile is heard by nobody; to close
// at once would make the kernel reset the connection, and the caller might lose what it was told.
const farewellWithin = 250 * time.Millisecond

func (s *webSocket) sayFarewell(why *ending) {
	_ = s.SetDeadline(time.Now().Add(farewellWithin))
	if _, err := s.Conn.Write(closeFrame(why)); err == nil && s.CloseWrite() == nil {
		_, _ = io.Copy(io.Discard, s.Conn)
	}
}

// The codes of RFC 6455 section 7.4.1 and of its registry.
const (
	closePolicyViolation = 1008
	closeTryAgainLater   = 1013
)

// closeFrame tells a caller why its WebSocket ends, in words that browsers show to scripts.
func closeFrame(why *ending) []byte {
	code := uint16(closePolicyViolation)
	if why.Status == http.StatusServiceUnavailable { // the token may be good as ever
		code = closeTryAgainLater
	}
	reason := why.Reason.Told()
	frame := []byte{finalFrame | opcodeClose, byte(2 + len(reason))} //nolint:gosec // no reason comes near the 123 bytes that fit
	return append(binary.BigEndian.AppendUint16(frame, code), reason...)
}

// frames follows what an app sends over a WebSocket (RFC 6455 section 5.2), far enough to know where a frame ends: only there may another be
// put in. Its zero value stands at the beginning.
type frames struct {
	head [10]byte
	have int    // bytes in head: of a frame whose header is not complete
	left uint64 // bytes of the payload that are to come
	over bool   // nothing may be put in any more: the app has closed, or does not speak as it should
}

const (
	finalFrame  = 0x80
	opcode      = 0x0f
	opcodeClose = 0x8
	masked      = 0x80 // only callers may do so
	length      = 0x7f
	length16    = 126
	length64    = 127
)

// between says whether a frame may be put in.
func (f *frames) between() bool { return f.have == 0 && f.left == 0 && !f.over }

func (f *frames) follow(p []byte) {
	for len(p) > 0 && !f.over {
		if f.left > 0 {
			n := min(f.left, uint64(len(p)))
			f.left -= n
			p = p[n:]
			continue
		}
		n := copy(f.head[f.have:f.headLength()], p)
		f.have += n
		p = p[n:]
		if f.have >= 2 && f.have == f.headLength() {
			f.begin()
		}
	}
}

// headLength is how long the header is, so far as its beginning says.
func (f *frames) headLength() int {
	switch {
	case f.have < 2:
		return 2
	case f.head[1]&length == length16:
		return 2 + 2
	case f.head[1]&length == length64:
		return 2 + 8
	}
	return 2
}

// begin comes to the payload of a frame whose header is complete.
func (f *frames) begin() {
	f.over = f.head[0]&opcode == opcodeClose || f.head[1]&masked != 0
	switch f.have {
	case 2:
		f.left = uint64(f.head[1] & length)
	case 2 + 2:
		f.left = uint64(binary.BigEndian.Uint16(f.head[2:]))
	default:
		f.left = binary.BigEndian.Uint64(f.head[2:])
	}
	f.have = 0
}
